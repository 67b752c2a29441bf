"""Whole native tiles on the simulated RTL: wrong bits, lost answers, a host at work meanwhile."""

from dataclasses import replace

import numpy as np
import pytest

from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from host.job import GemvJob, gemv_job
from spec.commands import ErrorCode, Opcode
from spec.load import load_tile
from spec.tile import Tile
from tb.memory_traffic import Accesses, Requester, Traffic
from tests.conftest import PROJECT
from tools.simulation import simulate

pytestmark = pytest.mark.cosim

PLAIN = PROJECT / "tiles" / "hbm3_fp8_native.toml"
PROTECTED = ("native_ddr5", "native_small")


def _job(tile: Tile, rows: int, k: int) -> tuple[GemvJob, np.ndarray]:
    rng = np.random.default_rng(9)
    scaling = tile.description.scaling
    w, sw = quantize_blocks(rng.standard_normal((rows, k), np.float32), tile.weight_format, scaling)
    x, sx = quantize(rng.standard_normal((tile.columns, k), np.float32), tile.activation_format,
                     scaling)
    return gemv_job(tile, w, sw, x, sx), gemv(w, sw, x, sx, tile)


def _weights_at(job: GemvJob) -> int:
    """The byte address of the weight stream."""
    return next(command.source for command in job.commands if command.opcode == Opcode.GEMV)


def _protected(name: str) -> tuple[Tile, GemvJob, np.ndarray]:
    tile = load_tile(PROJECT / "tests" / "descriptions" / f"{name}.toml")
    return (tile, *_job(tile, 12, tile.k_max))


@pytest.mark.parametrize("name", PROTECTED)
def test_single_flips_are_corrected_and_counted(name: str) -> None:
    tile, job, expected = _protected(name)
    first = _weights_at(job)
    # One bit in a data word and one check bit, in different atoms and words.
    faults = (f"store {first + 2 * tile.atom_bytes} 5\n"
              f"store {first + 3 * tile.atom_bytes} {tile.atom_bits + 3}\n")
    done = simulate(tile, job.image, job.commands, faults=faults)
    assert done.errors == []
    assert done.corrected == 2
    assert done.uncorrectable is None
    assert np.array_equal(job.results(job.image), expected)


@pytest.mark.parametrize("name", PROTECTED)
def test_double_flips_end_the_command_and_tell_where(name: str) -> None:
    tile, job, _ = _protected(name)
    place = _weights_at(job) + 3 * tile.atom_bytes
    done = simulate(tile, job.image, job.commands, faults=f"store {place} 9 20\n")
    assert [code for _, code in done.errors] == [ErrorCode.ECC]
    assert done.uncorrectable == place


def test_a_lost_answer_ends_its_command_alone() -> None:
    tile = load_tile(PLAIN)
    job, expected = _job(tile, 12, 512)
    # The same work again, behind the command that fails.
    commands = [replace(command, tag=tag) for tag, command in enumerate(2 * job.commands)]
    reads = len(job.commands)
    done = simulate(tile, job.image, commands, faults="silent 40 1\n")
    assert len(done.errors) == 1 and done.errors[0][1] == ErrorCode.TIMEOUT
    assert done.errors[0][0] < reads
    assert np.array_equal(job.results(job.image), expected)


def test_host_and_commands_share_the_memory() -> None:
    tile = load_tile(PLAIN)
    job, expected = _job(tile, 64, 4096)
    first = -(-job.image.size // tile.atom_bytes)
    host = Requester(reads=Accesses(2_000, first, 4_000, random=True, idle=0.5),
                     writes=Accesses(1_500, first, 200, random=True, idle=0.7), stall=0.2,
                     partial=0.3)
    done = simulate(tile, job.image, job.commands, host=Traffic(host=host))
    assert done.errors == []
    assert np.array_equal(job.results(job.image), expected)
    assert done.dram_commands is not None
    assert done.dram_commands["WR"] + done.dram_commands["WRA"] > 1_500
