"""The memory controller under random traffic, every DRAM command and every answer checked."""

import random

import numpy as np
import pytest

from spec.dram_rules import DramCommand
from spec.grade import load_grade
from spec.memory_units import MemoryControllerParams, ReadFault
from tb.memory_traffic import Accesses, Requester, Traffic
from tb.simulator import SimulationFailed
from tools.traffic import run_traffic

pytestmark = pytest.mark.cosim

# One grade with each kind of command bus: two buses, a shared one with room for both commands in
# a tile cycle, and a shared one on which ACT needs the whole cycle.
KINDS = (("hbm3_6400", "per-bank"), ("ddr5_6400", "all-bank"), ("lpddr5_6400", "per-bank"))
FAULTS = 10_000
READS = 30_000


def _params(name: str, refresh: str, **more: object) -> MemoryControllerParams:
    return MemoryControllerParams.model_validate(
        {"grade": load_grade(name), "refresh": refresh, **more})


@pytest.mark.parametrize(("name", "refresh"), KINDS)
def test_random_traffic_of_two_requesters(name: str, refresh: str) -> None:
    params = _params(name, refresh)
    atoms = 1 << params.index_bits
    # The host reads and writes few atoms again and again; the tile streams and scatters.
    done = run_traffic(params, Traffic(
        tile=Requester(reads=Accesses(40_000, atoms // 3, atoms // 2, idle=0.3),
                       writes=Accesses(6_000, 0, atoms, random=True, idle=0.8), stall=0.1),
        host=Requester(reads=Accesses(9_000, 7, 96, random=True, idle=0.6),
                       writes=Accesses(5_000, 7, 96, random=True, idle=0.8), stall=0.3,
                       partial=0.5), seed=5))
    assert done.wrong == 0
    assert done.faults == {ReadFault.NONE: 49_000, ReadFault.RESPONSE: 0,
                           ReadFault.UNCORRECTABLE: 0, ReadFault.TIMEOUT: 0}
    refreshes = done.commands["REFpb" if refresh == "per-bank" else "REFab"]
    intervals = done.cycles * params.cycle_ck // params.grade.timing.nREFI
    owed = params.grade.organisation.refresh_postponed_max
    banks = params.banks if refresh == "per-bank" else 1
    assert intervals > 2 * owed and refreshes >= (intervals - owed - 1) * banks


def test_the_host_gets_its_share() -> None:
    # Both requesters want all they can get, in different banks.
    params = _params("hbm3_6400", "per-bank", host_share=0.25)
    reads = 20_000
    done = run_traffic(params, Traffic(
        tile=Requester(reads=Accesses(3 * reads, 0, 256)),
        host=Requester(reads=Accesses(reads, 512, 64))))
    tile, host = done.last
    # The tile had three quarters of the cycles until the host was done, and all of them then.
    assert host == pytest.approx(tile, rel=0.2)


def test_lost_answers_time_out_and_nothing_else() -> None:
    params = _params("hbm3_6400", "per-bank")
    done = run_traffic(params, Traffic(tile=Requester(reads=Accesses(3_000, 0, 1 << 20))),
                       faults="silent 100 7\nsilent 2000 1\n")
    assert done.faults[ReadFault.TIMEOUT] == 8
    assert done.faults[ReadFault.NONE] == 2_992
    assert done.wrong == 0


def test_no_flip_is_silent() -> None:
    params = _params("hbm2_2000", "per-bank", ecc="secded")
    rng = random.Random(17)
    lines, corrected, uncorrectable = [], 0, 0
    for read in sorted(rng.sample(range(READS), FAULTS)):
        # Bits of an atom: its data, then its check bits, one byte per word.
        bits = rng.sample(range(params.atom_bits * 9 // 8), rng.choice((1, 2)))
        words = {bit // 64 if bit < params.atom_bits else (bit - params.atom_bits) // 8
                 for bit in bits}
        if len(words) < len(bits):
            uncorrectable += 1
        else:
            corrected += len(bits)
        lines.append(f"read {read} {' '.join(map(str, bits))}")
    image = np.random.default_rng(3).integers(0, 256, 1 << 16, np.uint8)
    done = run_traffic(
        params, Traffic(tile=Requester(reads=Accesses(READS, 0, 1 << 12, random=True))),
        image=image, faults="\n".join([*lines, ""]))
    assert uncorrectable > 500
    assert done.wrong == 0
    assert done.faults[ReadFault.UNCORRECTABLE] == uncorrectable
    assert done.corrected == corrected
    assert done.faults[ReadFault.NONE] == READS - uncorrectable


def test_without_ecc_flips_are_found_by_the_judge() -> None:
    # The judge of these tests can fail.
    with pytest.raises(SimulationFailed, match="read"):
        run_traffic(_params("hbm3_6400", "per-bank"),
                    Traffic(tile=Requester(reads=Accesses(200, 0, 1 << 20))),
                    faults="read 100 7\n")


def test_a_sequential_stream_opens_each_row_once() -> None:
    params = _params("hbm3_6400", "per-bank")
    rows = 64
    done = run_traffic(params, Traffic(
        tile=Requester(reads=Accesses(rows * params.grade.row_atoms, 0, 1 << 20))))
    assert done.commands["ACT"] == done.commands["RDA"] == rows
    assert done.commands[DramCommand.PRE.name] == 0
    assert done.share(params) > 0.9
