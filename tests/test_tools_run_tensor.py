"""``pnmtile run`` of quantize, reduce, transpose and copy, and the traffic account."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.converter import converter
from golden.quantizer import quantize
from golden.tile import GoldenTile
from host.driver import Counters
from spec.commands import ErrorCode
from spec.description import Scaling
from spec.formats import BF16, E4M3, E5M2, FP32
from spec.load import load_tile
from spec.tensors import TensorFormat
from spec.tile import Tile
from tb.dram_checker import check_trace
from tests.conftest import PROJECT
from tests.run_verb import Runner, save
from tests.tensor_cases import BLOCKS, FULL, NATIVE_FULL, NATIVE_SMALL, SMALL, random_tensor
from tools.cli import HELD, NOT_HELD, WRONG_INPUT
from tools.simulation import SystemRun
from tools.traffic_account import JobTraffic, traffic_account

DEFAULT = PROJECT / "tiles" / "hbm3_fp8.toml"
EVERY_TILE = pytest.mark.parametrize("path", [SMALL, FULL, NATIVE_FULL],
                                     ids=lambda path: path.stem)

pytestmark = pytest.mark.usefixtures("working_folder")


def _bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _values(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(51).normal(size=shape).astype(np.float32)


QUANTIZE = ("quantize", "--input", "x.npy", "--codes", "c.npy", "--scales", "s.npy")
REDUCE = ("reduce", "--input", "x.npy", "--out", "r.npy")
TRANSPOSE = ("transpose", "--input", "x.npy")
COPY = ("copy", "--input", "x.npy")
FP8 = ("--codes", "c.npy", "--scales", "s.npy")


def _codes(tile: Tile, *shape: int) -> dict[str, NDArray[Any]]:
    """FP8 codes ``x`` and their scales ``sx``."""
    codes, scales = quantize(_values(*shape), E4M3, tile.description.scaling)
    return {"x": codes, "sx": scales}


# What they compute


@EVERY_TILE
def test_quantize_does_what_was_asked_for(path: Path, run: Runner) -> None:
    tile = load_tile(path)
    values = _values(3, 190)
    save(x=_bf16(values))
    scaling = tile.description.scaling
    code, answer = run(path, *QUANTIZE)
    assert code == HELD and (answer["rule"], answer["group"]) == (scaling.rule, scaling.group)
    expected = quantize(_bf16(values), E4M3, scaling)
    for name, array in zip("cs", expected, strict=True):
        assert np.load(f"{name}.npy").dtype == array.dtype
        assert np.array_equal(np.load(f"{name}.npy"), array)
    assert answer["equals_golden"] is None and "no clock" in answer["reason"]
    if path == NATIVE_FULL:
        return
    code, answer = run(path, *QUANTIZE, "--rule", "e8m0-floor", "--group", "64", "--format", "e5m2")
    assert (code, answer["rule"], answer["group"], answer["format"]) == (
        HELD, "e8m0-floor", 64, "e5m2")
    scaling = Scaling(rule="e8m0-floor", group=64, amax_floor=scaling.amax_floor)
    for name, array in zip("cs", quantize(_bf16(values), E5M2, scaling), strict=True):
        assert np.array_equal(np.load(f"{name}.npy"), array)


@pytest.mark.parametrize("path", [DEFAULT, FULL], ids=lambda path: path.stem)
def test_quantize_of_float32_is_the_hosts_work(path: Path, run: Runner) -> None:
    tile = load_tile(path)
    values = _values(190)
    save(x=values)
    code, answer = run(path, *QUANTIZE)
    assert code == HELD and answer["traffic"] is None
    assert "the host does it" in answer["traffic_reason"]
    codes, scales = quantize(values[None], E4M3, tile.description.scaling)
    assert np.array_equal(np.load("c.npy"), codes[0]) and np.load("c.npy").shape == (190,)
    assert np.array_equal(np.load("s.npy"), scales)


@EVERY_TILE
def test_reduce_makes_every_kind(path: Path, run: Runner) -> None:
    # Small integers: every sum is exact in any order.
    x = np.random.default_rng(52).integers(-8, 9, (4, 70)).astype(np.float32)
    x[2, 5] = 9.0
    for array in (x, _bf16(x)):
        save(x=array)
        for whole in (False, True):
            rows = x.reshape(1, -1) if whole else x
            arguments = ("--whole",) if whole else ()
            for kind, expected in (
                    ("sum", rows.sum(axis=1)), ("sum-squares", (rows * rows).sum(axis=1)),
                    ("max", rows.max(axis=1)), ("min", rows.min(axis=1)),
                    ("amax", np.abs(rows).max(axis=1))):
                code, answer = run(path, *REDUCE, "--kind", kind, *arguments)
                assert (code, answer["kind"], answer["whole"]) == (HELD, kind, whole)
                found = np.load("r.npy")
                assert found.dtype == np.float32 and np.array_equal(found, expected), kind
            assert run(path, *REDUCE, "--kind", "argmax", *arguments)[0] == HELD
            found = np.load("r.npy")
            assert np.array_equal(found["index"], rows.argmax(axis=1))
            assert np.array_equal(found["value"], rows.max(axis=1))
            assert run(path, *REDUCE, "--kind", "moments", *arguments)[0] == HELD
            found = np.load("r.npy")
            assert np.array_equal(found["sum"], rows.sum(axis=1))
            assert np.array_equal(found["sum_squares"], (rows * rows).sum(axis=1))


@EVERY_TILE
def test_reduce_takes_codes_with_scales(path: Path, run: Runner) -> None:
    tile = load_tile(path)
    tensor = _codes(tile, 4, 150)
    save(**tensor)
    code, _ = run(path, *REDUCE, "--input-scales", "sx.npy", "--kind", "max")
    exact = converter(tensor["x"], E4M3, FP32, tensor["sx"], tile.group).view(np.float32)
    assert code == HELD and np.array_equal(np.load("r.npy"), exact.max(axis=1))


@EVERY_TILE
def test_transpose_as_it_is(path: Path, run: Runner) -> None:
    rng = np.random.default_rng(53)
    for dtype in (np.uint8, np.uint16):
        x = rng.integers(0, np.iinfo(dtype).max + 1, (37, 150), dtype)
        save(x=x)
        assert run(path, *TRANSPOSE, "--out", "y.npy")[0] == HELD
        found = np.load("y.npy")
        assert found.dtype == dtype and np.array_equal(found, x.T)


@EVERY_TILE
def test_transpose_with_new_scales(path: Path, run: Runner) -> None:
    tile = load_tile(path)
    assert tile.transposer is not None
    block, scaling = tile.transposer.block, tile.description.scaling
    tensor = _codes(tile, 37, 150)
    arguments: tuple[str, ...] = ("--input-scales", "sx.npy")
    values = converter(tensor["x"], E4M3, BF16, tensor["sx"], tile.group)
    if tile.group != block:
        tensor, arguments = {"x": values}, ()
    save(**tensor)
    code, answer = run(path, *TRANSPOSE, *arguments, *FP8)
    assert (code, answer["group"], answer["rule"]) == (HELD, block, scaling.rule)
    codes, scales = quantize(np.ascontiguousarray(values.T), E4M3,
                             scaling.model_copy(update={"group": block}))
    assert np.array_equal(np.load("c.npy"), codes)
    assert np.array_equal(np.load("s.npy"), scales.T) and scales.T.shape == (-(-37 // block), 150)


@EVERY_TILE
def test_copy_converts(path: Path, run: Runner) -> None:
    tile = load_tile(path)
    values = _values(3, 150)
    save(x=values)
    assert run(path, *COPY, "--to", "bf16", "--out", "y.npy")[0] == HELD
    rounded = converter(values.view(np.uint32), FP32, BF16)
    assert np.array_equal(np.load("y.npy"), rounded) and np.load("y.npy").dtype == np.uint16
    save(x=rounded)
    assert run(path, *COPY, "--to", "fp32", "--out", "y.npy")[0] == HELD
    assert np.array_equal(np.load("y.npy").view(np.uint32), rounded.astype(np.uint32) << 16)
    save(x=values)
    assert run(path, *COPY, "--to", "e4m3", *FP8)[0] == HELD
    codes, scales = quantize(values, E4M3, tile.description.scaling)
    assert np.array_equal(np.load("c.npy"), codes) and np.array_equal(np.load("s.npy"), scales)
    Path("c.npy").rename("x.npy")
    Path("s.npy").rename("sx.npy")
    assert run(path, *COPY, "--input-scales", "sx.npy", "--to", "fp32", "--out",
               "y.npy")[0] == HELD
    assert np.array_equal(np.load("y.npy").view(np.uint32),
                          converter(codes, E4M3, FP32, scales, tile.group))
    # In one format nothing changes.
    assert run(path, *COPY, "--input-scales", "sx.npy", "--to", "e4m3", *FP8)[0] == HELD
    assert np.array_equal(np.load("c.npy"), codes) and np.array_equal(np.load("s.npy"), scales)
    # One vector stays one.
    save(x=values[0])
    assert run(path, *COPY, "--to", "bf16", "--out", "y.npy")[0] == HELD
    assert np.array_equal(np.load("y.npy"), rounded[0])


def test_codes_may_be_of_the_other_format(run: Runner) -> None:
    tile = load_tile(FULL)
    codes, scales = quantize(_values(3, 150), E5M2, tile.description.scaling)
    save(x=codes, sx=scales)
    arguments = (*COPY, "--input-scales", "sx.npy", "--to", "fp32", "--out", "y.npy")
    assert run(FULL, *arguments, "--input-format", "e5m2")[0] == HELD
    assert np.array_equal(np.load("y.npy").view(np.uint32),
                          converter(codes, E5M2, FP32, scales, 128))
    assert run(FULL, *arguments)[0] == HELD
    assert np.array_equal(np.load("y.npy").view(np.uint32),
                          converter(codes, E4M3, FP32, scales, 128), equal_nan=False)


# The traffic account


def _traffic(answer: dict[str, Any]) -> list[int]:
    account = answer["traffic"]
    assert list(account) == ["memory_read", "memory_written", "host_to_tile_operands",
                             "host_to_tile_commands", "tile_to_host_results"]
    assert all(entry["unit"] == "bytes" and entry["origin"] == "analytic"
               for entry in account.values())
    return [entry["value"] for entry in account.values()]


@pytest.mark.parametrize(("arguments", "arrays", "expected"), [
    # Rows of 300 BF16 elements are 19 atoms of 32 bytes, of codes 10, of FP32 38; scales one.
    (QUANTIZE, {"x": np.zeros((7, 300), np.uint16)}, (7 * 19, 7 * 11)),
    ((*QUANTIZE, "--rule", "fp32-div", "--group", "16"), {"x": np.zeros((7, 300), np.uint16)},
     (7 * 19, 7 * 13)),
    ((*REDUCE, "--kind", "sum"), {"x": np.zeros((9, 300), np.float32)}, (9 * 38, 2)),
    ((*REDUCE, "--kind", "moments"), {"x": np.zeros((9, 300), np.float32)}, (9 * 38, 3)),
    ((*REDUCE, "--kind", "moments", "--whole"), {"x": np.zeros((9, 300), np.float32)}, (9 * 38, 1)),
    ((*REDUCE, "--kind", "sum", "--input-scales", "sx.npy"),
     {"x": np.zeros((7, 300), np.uint8), "sx": np.zeros((7, 3), np.uint8)}, (7 * 11, 1)),
    ((*TRANSPOSE, "--out", "y.npy"), {"x": np.zeros((7, 300), np.uint16)}, (7 * 19, 300)),
    ((*TRANSPOSE, *FP8), {"x": np.zeros((7, 300), np.uint16)}, (7 * 19, 300 + 10)),
    ((*COPY, "--to", "fp32", "--out", "y.npy"), {"x": np.zeros((7, 300), np.uint16)},
     (7 * 19, 7 * 38)),
])
def test_traffic_is_what_the_layouts_hold(arguments: tuple[str, ...],
                                          arrays: dict[str, NDArray[Any]],
                                          expected: tuple[int, int], run: Runner) -> None:
    save(**arrays)
    code, answer = run(FULL, *arguments)
    read, written = (32 * atoms for atoms in expected)
    # One command and the FENCE behind it: twelve words and the doorbell each.
    assert code == HELD and _traffic(answer) == [read, written, read, 104, written]
    assert (f"memory pins: {read} bytes read, {written} written (analytic); host link: {read} "
            f"bytes of operands and 104 of commands to the tile, {written} of results from it "
            "(analytic)") in run.words


def test_traffic_of_gemv_counts_every_pass(run: Runner) -> None:
    save(w=np.zeros((5, 160), np.float32), x=np.zeros((3, 160), np.float32))
    code, answer = run(DEFAULT, "gemv", "--weights", "w.npy", "--activations", "x.npy", "--out",
                       "y.npy")
    # As docs/commands.md draws it: 41 atoms of weights, 6 of activations, 1 of results a pass.
    assert code == HELD and _traffic(answer) == [
        32 * 3 * (41 + 6), 32 * 3, 32 * (41 + 3 * 6), 52 * 7, 32 * 3]


# What is refused


ZEROS = {"x": np.zeros((2, 40), np.uint16)}
WIDE = {"x": np.zeros((2, 40), np.float32)}
NARROW = {"x": np.zeros((2, 40), np.uint8), "sx": np.full((2, 1), 127, np.uint8)}


@pytest.mark.parametrize(("path", "arguments", "arrays", "message"), [
    (DEFAULT, (*REDUCE, "--kind", "sum"), ZEROS, r"the tile hbm3_fp8 has no reducer; add the "
     r"section \[reduce\] to its description"),
    (DEFAULT, (*TRANSPOSE, "--out", "y.npy"), ZEROS, r"has no transposer; add the section "
     r"\[transpose\]"),
    (DEFAULT, (*TRANSPOSE, *FP8), ZEROS, r"has no transposer; add the section \[transpose\]"),
    (DEFAULT, (*COPY, "--to", "fp32", "--out", "y.npy"), ZEROS, r"has no converter; add the "
     r"section \[convert\]"),
    (DEFAULT, (*QUANTIZE, "--engine", "rtl"), ZEROS, r"this tile has no quantizer unit; use "
     r"--engine golden, or add the section \[quantize\]"),
    (DEFAULT, (*QUANTIZE, "--group", "64"), ZEROS, r"--group 64 is not the tile's; allowed: 128 "
     r"\(scaling.group in the description\), or add the section \[quantize\]"),
    (DEFAULT, (*QUANTIZE, "--format", "e5m2"), ZEROS, r"--format e5m2 is not the tile's; allowed: "
     r"e4m3 \(compute.activations in the description\)"),
    (FULL, (*QUANTIZE, "--rule", "ceil"), ZEROS, r"--rule ceil is unknown; allowed: e8m0-ceil, "
     r"e8m0-floor, fp32-div"),
    (FULL, (*QUANTIZE, "--group", "100"), ZEROS, r"groups of 100 were not built; allowed: 16, 32, "
     r"64, 128, 256 \(quantize.groups\)"),
    (FULL, (*QUANTIZE, "--group", "100"), WIDE, r"groups of 100 were not built"),
    (FULL, (*QUANTIZE, "--group", "0"), ZEROS, r"groups of 0 were not built"),
    (FULL, (*QUANTIZE, "--group", "-16"), ZEROS, r"groups of -16 were not built"),
    (FULL, (*QUANTIZE, "--engine", "rtl"), WIDE, r"QUANTIZE reads BF16, not fp32"),
    (NATIVE_FULL, (*QUANTIZE, "--rule", "fp32-div"), ZEROS, r"the rule fp32-div was not built; "
     r"allowed: e8m0-ceil \(quantize.rules\)"),
    (FULL, QUANTIZE, NARROW, r"--input has elements of type uint8; allowed: float32 \(values\) or "
     r"uint16 \(BF16 codes\)"),
    (FULL, QUANTIZE, {"x": np.zeros((2, 0), np.uint16)}, r"--input has the shape \[2, 0\]"),
    (FULL, QUANTIZE, {"x": np.zeros((2, 2, 2), np.uint16)}, r"--input has the shape \[2, 2, 2\]; "
     r"needed: \[rows, K\] or \[K\]"),
    (SMALL, QUANTIZE, {"x": np.zeros((1, 201), np.uint16)}, r"k = 201 is more than 200, .* raise "
     r"compute.k_max"),
    (SMALL, QUANTIZE, {"x": np.zeros((5000, 200), np.uint16)}, r"the job takes \d+ bytes, more "
     r"than the 1048576 that memory.address_bits = 20 can address"),
    (FULL, (*REDUCE, "--kind", "mean"), ZEROS, r"'mean' is not one of 'sum', 'sum-squares'"),
    (FULL, REDUCE, ZEROS, r"run reduce needs --kind"),
    (FULL, (*REDUCE, "--kind", "sum", "--to", "bf16"), ZEROS, r"--to does not belong to reduce"),
    (FULL, (*REDUCE, "--kind", "sum"), NARROW, r"--input holds codes \(uint8\): name their scales "
     r"with --input-scales"),
    (FULL, (*REDUCE, "--kind", "sum", "--input-scales", "sx.npy"), {**ZEROS, "sx": NARROW["sx"]},
     r"--input-scales belongs to FP8 codes \(uint8\), but --input holds uint16"),
    (FULL, (*REDUCE, "--kind", "sum", "--input-format", "e5m2"), ZEROS, r"--input-format belongs "
     r"to FP8 codes \(uint8\)"),
    (FULL, (*REDUCE, "--kind", "sum", "--input-scales", "sx.npy", "--input-format", "e5m2"), NARROW,
     r"REDUCE of e5m2 was not built; allowed: bf16, e4m3, fp32 \(reduce.formats\)"),
    (FULL, (*REDUCE, "--kind", "sum", "--input-scales", "sx.npy"),
     {**NARROW, "sx": np.zeros((1, 2), np.uint8)}, r"--input-scales has the shape \[1, 2\]; "
     r"needed: \[2, 1\], one for 1 x 128 elements"),
    (SMALL, (*REDUCE, "--kind", "sum", "--input-scales", "sx.npy"), NARROW,
     r"--input-scales has elements of type uint8; allowed: float32 \(scales\)"),
    (FULL, (*TRANSPOSE, "--out", "y.npy"), WIDE, r"TRANSPOSE moves elements of 8 or 16 bits, not "
     r"fp32"),
    (FULL, (*TRANSPOSE, "--out", "y.npy", "--input-scales", "sx.npy"), NARROW,
     r"--input-scales does not belong to --out"),
    (FULL, (*TRANSPOSE, "--out", "y.npy", "--rule", "fp32-div"), ZEROS,
     r"--format and --rule say how --codes and --scales are made"),
    (FULL, TRANSPOSE, ZEROS, r"this makes one tensor: name --out"),
    (FULL, (*TRANSPOSE, "--codes", "c.npy"), ZEROS, r"name --codes and --scales"),
    (FULL, (*TRANSPOSE, *FP8, "--out", "y.npy"), ZEROS, r"name --codes and --scales, and leave out "
     r"--out"),
    (FULL, (*COPY, "--to", "bf16", *FP8), WIDE, r"this makes one tensor: name --out, and leave out "
     r"--codes and --scales"),
    (FULL, (*COPY, "--to", "e4m3", "--out", "y.npy"), WIDE, r"this makes codes with scales: name "
     r"--codes and --scales, and leave out --out"),
    (FULL, (*COPY, "--to", "bf16", "--out", "y.npy", "--group", "16"), WIDE,
     r"--rule and --group say how FP8 is made of another format"),
    (FULL, (*COPY, "--to", "fp16", "--out", "y.npy"), WIDE, r"'fp16' is not one of 'bf16', 'fp32'"),
    (NATIVE_FULL, (*COPY, "--to", "e5m2", *FP8), WIDE, r"COPY to e5m2 was not built; allowed: "
     r"bf16, fp32, e4m3 \(convert.formats\)"),
    (FULL, (*COPY, "--to", "e4m3", *FP8, "--format", "e4m3"), WIDE, r"--format does not belong to "
     r"copy"),
    (FULL, (*COPY, "--to", "e4m3", "--codes", "c.npy", "--scales", "./c.npy"), WIDE,
     r"--codes and --scales are both c.npy"),
    (FULL, (*COPY, "--to", "bf16", "--out", "none/../x.npy/y"), WIDE, r"--out .* is no directory"),
    (FULL, (*COPY, "--to", "bf16", "--out", "y.npy", "--vcd", "y.vcd"), WIDE,
     r"--vcd needs --engine rtl"),
    (FULL, ("copy", "--input", "none.npy", "--to", "bf16", "--out", "y.npy"), WIDE,
     r"--input none.npy cannot be read: No such file"),
])
def test_what_cannot_be_done_is_refused(path: Path, arguments: tuple[str, ...],
                                        arrays: dict[str, NDArray[Any]], message: str,
                                        run: Runner) -> None:
    save(**arrays)
    code, answer = run(path, *arguments)
    assert code == WRONG_INPUT and answer.get("held") is None
    assert re.search(message, run.words), run.words
    assert set(os.listdir()) == {f"{name}.npy" for name in arrays}


COUNTERS = Counters(cycles=100, atoms_read=7, atoms_written=5, stall_memory=0, stall_result=0)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ErrorCode]]:
    """Stands for the simulation: commands do nothing, but end with the errors that this lists."""
    errors: list[tuple[int, ErrorCode]] = []

    def simulate(tile: Tile, image: NDArray[np.uint8], commands: list[Any],
                 **options: Any) -> SystemRun:
        return SystemRun(errors=errors, counters=COUNTERS)

    monkeypatch.setattr("tools.simulation.simulate", simulate)
    monkeypatch.setattr("tools.doctor.require", lambda *tools: None)
    return errors


def test_what_the_simulated_tile_gets_wrong_is_said(
        run: Runner, simulated: list[tuple[int, ErrorCode]]) -> None:
    save(x=_bf16(_values(3, 190)))
    # Nothing was written: zeros, which differ.
    code, answer = run(FULL, *QUANTIZE, "--engine", "rtl")
    assert (code, answer["equals_golden"], answer["cycles"]) == (NOT_HELD, False, 100)
    assert not np.load("c.npy").any() and "differs from the golden model's" in run.words
    account = answer["traffic"]
    assert account["memory_read"] == {"value": 7 * 32, "unit": "bytes", "origin": "simulated"}
    assert account["memory_written"] == {"value": 5 * 32, "unit": "bytes", "origin": "simulated"}
    assert account["tile_to_host_results"]["origin"] == "analytic"
    # Zeros are right where everything is zero, but for the sign.
    save(x=np.zeros((3, 190), np.uint16))
    code, answer = run(FULL, *TRANSPOSE, "--out", "y.npy", "--engine", "rtl")
    assert (code, answer["equals_golden"]) == (HELD, True)
    save(x=np.full((3, 190), -0.0, np.float32))
    assert run(FULL, *COPY, "--to", "fp32", "--out", "y.npy", "--engine", "rtl")[0] == NOT_HELD
    simulated.append((0, ErrorCode.READ))
    Path("y.npy").unlink()
    code, answer = run(FULL, *TRANSPOSE[:-1], "c.npy", "--out", "y.npy", "--engine", "rtl")
    assert code == NOT_HELD and not Path("y.npy").exists()
    assert answer["problems"] == [
        {"message": "command 0 ended with READ on the simulated tile"}]


def test_nan_equals_nan(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(tile: Tile, image: NDArray[np.uint8], commands: list[Any],
                 **options: Any) -> SystemRun:
        golden = GoldenTile(tile, image)
        golden.window_limit = image.size
        assert [golden.execute(command.pack()) for command in commands] == [ErrorCode.NONE]
        return SystemRun(errors=[], counters=COUNTERS)

    monkeypatch.setattr("tools.simulation.simulate", simulate)
    monkeypatch.setattr("tools.doctor.require", lambda *tools: None)
    save(x=np.full((3, 5), np.nan, np.float32))
    code, answer = run(FULL, *REDUCE, "--kind", "sum", "--engine", "rtl")
    assert (code, answer["equals_golden"]) == (HELD, True)
    assert np.isnan(np.load("r.npy")).all() and np.load("r.npy").shape == (3,)


def test_traffic_counts_inline_check_bits() -> None:
    text = NATIVE_FULL.read_text().replace('ecc = "none"', 'ecc = "secded"')
    Path("hbm3_fp8_native_full.toml").write_text(text)
    commands = {"ACT": 9, "RD": 10, "RDA": 4, "WR": 4, "WRA": 2}
    job = JobTraffic(atoms_read=7, atoms_written=5, operand_bytes=0, result_bytes=0, commands=1)
    done = SystemRun(errors=[], counters=COUNTERS, dram_commands=commands)
    for path, expected in ((NATIVE_FULL, (7, 5)), (Path("hbm3_fp8_native_full.toml"), (14, 6))):
        account = traffic_account(load_tile(path), job, done)
        assert (account["memory_read"]["value"], account["memory_written"]["value"]) == tuple(
            32 * atoms for atoms in expected)


# The simulated RTL. A tile is generated once per process: all that is run on it is one test.


KINDS = ("sum", "sum-squares", "max", "min", "amax", "argmax", "moments")


def _given(tile: Tile, name: str, rows: int, k: int, special: bool = False) -> tuple[str, ...]:
    """Save a random tensor, of any codes at all if ``special``; the options that it needs."""
    rng = np.random.default_rng([54, rows, k])
    tensor = random_tensor(rng, tile, TensorFormat[name.upper()], rows, k)
    codes = tensor.codes
    if special:
        codes = rng.integers(0, 256, codes.nbytes, np.uint8).view(codes.dtype).reshape(rows, k)
    save(x=codes)
    if tensor.scales is None:
        return ()
    save(sx=tensor.scales)
    return ("--input-scales", "sx.npy", "--input-format", name)


def _rtl_equals_golden(run: Runner, path: Path, *arguments: str) -> dict[str, Any]:
    """Run on both engines; the files must be the same, and the bytes that pass the pins."""
    results = [name for name in arguments if name in ("y.npy", "c.npy", "s.npy", "r.npy")]
    code, golden = run(path, *arguments)
    assert code == HELD, run.words
    expected = [Path(name).read_bytes() for name in results]
    for name in results:
        Path(name).unlink()
    code, answer = run(path, *arguments, "--engine", "rtl")
    assert (code, answer["equals_golden"]) == (HELD, True), (arguments, run.words)
    assert [Path(name).read_bytes() for name in results] == expected, arguments
    atom = load_tile(path).atom_bytes
    for name, counter in (("memory_read", "atoms_read"), ("memory_written", "atoms_written")):
        assert answer["traffic"][name] == {
            "value": answer[counter] * atom, "unit": "bytes", "origin": "simulated"}
        assert answer["traffic"][name]["value"] == golden["traffic"][name]["value"], arguments
    for name in ("host_to_tile_operands", "host_to_tile_commands", "tile_to_host_results"):
        assert answer["traffic"][name] == golden["traffic"][name]
    # A waiting cycle moves no atom, and no cycle more than one each way.
    assert answer["cycles"] >= answer["atoms_read"] + answer["stall_memory"]
    assert answer["cycles"] >= answer["atoms_written"] and 0 < answer["bandwidth_share"] <= 1
    return answer


@pytest.mark.cosim
@pytest.mark.slow
def test_rtl_equals_golden_bit_for_bit(run: Runner) -> None:
    tile = load_tile(SMALL)
    rules, formats = ("e8m0-ceil", "e8m0-floor", "fp32-div"), ("bf16", "fp32", "e4m3", "e5m2")
    for number, rule in enumerate(rules):
        for name, group in (("e4m3", (16, 32, 64)[number]), ("e5m2", (64, 16, 32)[number])):
            _given(tile, "bf16", 3 + number, 67 + 33 * number, special=number == 1)
            _rtl_equals_golden(run, SMALL, *QUANTIZE, "--rule", rule, "--format", name, "--group",
                               str(group))
    for number, kind in enumerate(KINDS):
        for name, whole in ((formats[number % 4], ()), (formats[(number + 1) % 4], ("--whole",))):
            options = _given(tile, name, 5 + number, 41 + number, special=kind == "argmax")
            _rtl_equals_golden(run, SMALL, *REDUCE, "--kind", kind, *options, *whole)
    for name, rows, k in (("bf16", 33, 37), ("bf16", 3, 1), ("e4m3", 37, 65), ("e5m2", 64, 32)):
        _given(tile, name, rows, k, special=True)
        _rtl_equals_golden(run, SMALL, *TRANSPOSE, "--out", "y.npy")
    for name, rule, target in (("bf16", "fp32-div", "e4m3"), ("bf16", "e8m0-floor", "e5m2"),
                               ("e4m3", "e8m0-ceil", "e4m3"), ("e5m2", "fp32-div", "e5m2")):
        options = _given(tile, name, 45, 71)
        _rtl_equals_golden(run, SMALL, *TRANSPOSE, *options, *FP8, "--rule", rule, "--format",
                           target)
    for name in formats:
        for number, target in enumerate(formats):
            options = _given(tile, name, 4, 70 + number, special=number % 2 == 0)
            results = FP8 if target in ("e4m3", "e5m2") else ("--out", "y.npy")
            _rtl_equals_golden(run, SMALL, *COPY, *options, "--to", target, *results)


@pytest.mark.cosim
@pytest.mark.slow
def test_native_rtl_equals_golden_bit_for_bit(run: Runner) -> None:
    tile = load_tile(NATIVE_SMALL)
    assert tile.grade is not None
    for rule, group in (("e8m0-ceil", "16"), ("fp32-div", "32")):
        _given(tile, "bf16", 5, 101)
        _rtl_equals_golden(run, NATIVE_SMALL, *QUANTIZE, "--rule", rule, "--group", group)
    for kind in KINDS:
        _given(tile, "bf16", 9, 45)
        _rtl_equals_golden(run, NATIVE_SMALL, *REDUCE, "--kind", kind)
    for name in ("bf16", "e4m3"):
        _given(tile, name, 19, 33, special=True)
        _rtl_equals_golden(run, NATIVE_SMALL, *TRANSPOSE, "--out", "y.npy")
    # With new scales, and every DRAM command and every access written down.
    _given(tile, "bf16", 35, 39)
    arguments = (*TRANSPOSE, *FP8)
    answer = _rtl_equals_golden(run, NATIVE_SMALL, *arguments)
    code, traced = run(NATIVE_SMALL, *arguments, "--engine", "rtl", "--trace", "dram.csv",
                       "--accesses", "accesses.txt")
    assert (code, traced["trace"], traced["accesses"]) == (HELD, "dram.csv", "accesses.txt")
    assert traced["dram_commands"] == answer["dram_commands"]
    checker = check_trace("dram.csv", tile.grade)
    checker.require()
    kinds, places = zip(*(line.split() for line in Path("accesses.txt").read_text().splitlines()),
                        strict=True)
    assert (kinds.count("LD"), kinds.count("ST")) == (
        answer["atoms_read"], answer["atoms_written"])
    assert len(set(places)) == len(places)


@pytest.mark.cosim
@pytest.mark.slow
def test_a_waveform_shows_the_units(run: Runner) -> None:
    _given(load_tile(BLOCKS), "bf16", 5, 19)
    code, answer = run(BLOCKS, *COPY, "--to", "e4m3", *FP8, "--engine", "rtl", "--vcd", "waves.vcd")
    assert (code, answer["equals_golden"], answer["vcd"]) == (HELD, True, "waves.vcd")
    text = Path("waves.vcd").read_text()
    assert "$timescale" in text and all(
        f" {unit} $end" in text for unit in ("quantizer", "transposer", "converter"))


@pytest.mark.parametrize(("path", "arguments", "arrays", "message"), [
    (NATIVE_SMALL, (*COPY, "--to", "bf16", "--out", "y.npy"), WIDE, r"has no converter"),
    (NATIVE_SMALL, (*QUANTIZE, "--format", "e5m2"), ZEROS, r"quantizing to e5m2 was not built"),
    (NATIVE_SMALL, (*QUANTIZE, "--group", "64"), ZEROS, r"groups of 64 were not built"),
    (NATIVE_SMALL, (*REDUCE, "--kind", "sum"), WIDE, r"REDUCE of fp32 was not built"),
    (NATIVE_SMALL, (*TRANSPOSE, "--input-scales", "sx.npy", *FP8),
     {"x": np.zeros((2, 40), np.uint8), "sx": np.full((2, 2), 127, np.uint8)},
     r"reads codes whose scales are those of transpose.block = 16 elements"),
    (NATIVE_SMALL, (*QUANTIZE,), {"x": np.zeros((1, 129), np.uint16)}, r"k = 129 is more than 128"),
    (SMALL, QUANTIZE, WIDE, r"QUANTIZE reads BF16, not fp32"),
    (SMALL, (*TRANSPOSE, "--out", "y.npy"), WIDE, r"TRANSPOSE moves elements of 8 or 16 bits"),
    (SMALL, (*REDUCE, "--kind", "sum", "--trace", "t.csv"), ZEROS, r"--trace needs a tile with"),
])
def test_refused_before_anything_is_simulated(
        path: Path, arguments: tuple[str, ...], arrays: dict[str, NDArray[Any]], message: str,
        run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.simulation.simulate", None)
    save(**arrays)
    code, answer = run(path, *arguments, "--engine", "rtl")
    assert code == WRONG_INPUT and answer["held"] is None
    assert re.search(message, run.words), run.words
    assert set(os.listdir()) == {f"{name}.npy" for name in arrays}
