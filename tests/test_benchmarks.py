"""What benchmarks of commands on whole tensors measure, and that they notice wrong results."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import operands
from benchmarks.near_memory import cases
from benchmarks.operands import executed, random_tensor
from benchmarks.traffic import measure_cast, window_reads
from golden.tile import GoldenTile
from host.driver import Counters
from host.tensor_job import copy_job
from spec.commands import Command, ErrorCode, Opcode
from spec.load import load_tile
from spec.memory_units import Aperture
from spec.tensor_checks import TensorCheckerParams
from spec.tensors import ScaleRule, TensorFormat
from spec.tile import Tile
from tests.conftest import PROJECT
from tools.simulation import HostAnswer, HostRead, SystemRun

FULL, NATIVE = (load_tile(PROJECT / "tiles" / f"hbm3_fp8_{name}.toml")
                for name in ("full", "native_full"))
CODES, SCALES, RESULTS = (NATIVE.host_port.aperture_base(aperture) for aperture in (
    Aperture.CODES, Aperture.SCALES, Aperture.RESULTS))


class _Simulated:
    """Stands in for the simulation: the golden tile, and one wrong byte where it is told so."""

    def __init__(self, wrong: str = ""):
        self.wrong = wrong

    def __call__(self, tile: Tile, image: NDArray[np.uint8], commands: list[Command],
                 reads: Sequence[HostRead] = ()) -> SystemRun:
        golden = GoldenTile(tile, image)
        golden.window_limit = image.size
        for command in commands:
            assert golden.execute(command.pack()) == ErrorCode.NONE
        answers, atoms = [], 0
        for read in reads:
            base, data, share = {
                CODES: (CODES, lambda: golden.window_codes().tobytes(), 2),
                SCALES: (SCALES, lambda: golden.window_scales().tobytes(), 0),
                RESULTS: (RESULTS, lambda: golden.host_results.pop(0), 0),
            }.get(read.address >> NATIVE.host_port.space_bits << NATIVE.host_port.space_bits,
                  (0, image.tobytes, 1))
            size = read.atoms * tile.atom_bytes
            found = data()[read.address - base:read.address - base + size].ljust(size, b"\0")
            if self.wrong == "answer":
                found = bytes([found[0] ^ 1]) + found[1:]
            answers.append(HostAnswer(found, read.atoms, int(self.wrong == "refused")))
            atoms += read.atoms * share
        if self.wrong == "memory":
            image[-1] ^= 1
        return SystemRun([], Counters(1, 1, 0, 0, 0), dram_commands={
            "RD": atoms - 1, "RDA": 1, "WR": 0, "WRA": 0}, answers=tuple(answers))


@pytest.mark.parametrize(("wrong", "equal"), [
    ("", True), ("answer", False), ("refused", False), ("memory", False)])
def test_wrong_bytes_are_noticed(wrong: str, equal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operands, "simulate", _Simulated(wrong))
    image = random_tensor(NATIVE, TensorFormat.BF16, 1, 4096).codes.view(np.uint8).reshape(-1)
    window = Command(Opcode.MAP, k=4096, target_format=TensorFormat.E4M3,
                     rule=ScaleRule.E8M0_CEIL, group=7)
    to_host = Command(Opcode.COPY, k=4096, rows=1, source_format=TensorFormat.BF16,
                      target_format=TensorFormat.BF16, to_host=1)
    _, same = executed(NATIVE, image, [window, to_host], [
        HostRead(0, CODES + 64, 6), HostRead(0, SCALES, 2), HostRead(0, 32, 5),
        HostRead(1, RESULTS, 256, during=True)])
    assert same == equal


def test_wrong_results_in_memory_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    job = copy_job(FULL, random_tensor(FULL, TensorFormat.BF16, 2, 32), TensorFormat.BF16)
    for wrong, equal in (("", True), ("memory", False)):
        monkeypatch.setattr(operands, "simulate", _Simulated(wrong))
        assert executed(FULL, job.image, job.commands)[1] == equal


@pytest.mark.parametrize("tile", [FULL, NATIVE], ids=lambda tile: tile.name)
def test_every_case_is_a_command_of_the_tile(tile: Tile) -> None:
    params = tile.tensor_checker
    assert isinstance(params, TensorCheckerParams)
    found = list(cases(tile))
    assert len({case.what for case in found}) == len(found)
    opcodes = {case.job(tile, 1 << 20).command.opcode for case in found}
    assert opcodes == {Opcode.QUANTIZE, Opcode.TRANSPOSE, Opcode.REDUCE, Opcode.COPY}
    for case in found:
        job = case.job(tile, 1 << 20)
        assert job.sizes.source_atoms == (1 << 20) // tile.atom_bytes, case.what


@pytest.mark.parametrize("groups", [1, 56, 511, 512, 513, 14336])
def test_windows_are_read_in_pieces_that_the_tile_keeps(groups: int) -> None:
    reads, atom = window_reads(NATIVE, groups, ScaleRule.E8M0_CEIL), NATIVE.atom_bytes
    assert NATIVE.cast_window is not None
    codes = scales = 0
    for read, behind in zip(reads[::2], reads[1::2], strict=True):
        assert (read.address, behind.address) == (CODES + codes, SCALES + scales)
        assert behind.atoms <= NATIVE.cast_window.store_atoms // 2
        codes, scales = codes + read.atoms * atom, scales + behind.atoms * atom
    assert codes == groups * 128
    assert groups <= scales < groups + atom


def test_bytes_of_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operands, "simulate", _Simulated())
    rows = {line["quantity"]: line["value"] for line in measure_cast(NATIVE, 16, 2048)}
    elements = 16 * 2048
    quantized = elements + elements // 128
    assert rows == {
        "16 x 2048: host quantizes, host link": 2 * elements + 2 * quantized,
        "16 x 2048: host quantizes, memory pins": 2 * elements + 2 * quantized,
        "16 x 2048: host casts as it reads, link and pins": 2 * elements,
        "16 x 2048: cast window, host link": quantized,
        "16 x 2048: cast window, memory pins": 2 * elements,
        "16 x 2048: memory pins, cast window over host quantizes":
            elements / (elements + quantized),
        "16 x 2048: host link, cast window over host casts as it reads":
            quantized / (2 * elements),
        "16 x 2048: host link, cast window over host quantizes":
            quantized / (2 * elements + 2 * quantized),
        "16 x 2048: bytes that equal the golden model's": 1.0,
    }
