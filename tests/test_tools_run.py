"""``pnmtile run``: golden model and simulated RTL on arrays in files, and what it refuses."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from golden.scales import BLOCK_SCALE, block_scales, weight_scale_dtype
from spec.dram_rules import DramCommand
from spec.load import load_tile
from spec.memory_units import MemoryControllerParams
from spec.tile import Tile
from tb.dram_checker import check_trace, read_trace
from tb.dram_model import model_text
from tb.simulator import SimulationFailed, SimulatorError
from tests.conftest import DESCRIPTIONS, PROJECT
from tb.operands import random_codes
from tests.golden_cases import random_scales, random_weight_scales
from tb.oracle import gemv_element
from tests.processes import interrupted
from tests.run_verb import Runner, save
from tools.cli import HELD, NOT_HELD, WRONG_INPUT
from tools.simulation import simulate

(DEFAULT, X4, SMALLEST, ODD, NATIVE, NATIVE_DDR5, NATIVE_SMALL, TENSORS) = map(
    str, DESCRIPTIONS[:8])
NVFP4, UINT4, MXFP4 = (str(PROJECT / "tests" / "descriptions" / f"{name}.toml")
                       for name in ("nvfp4", "uint4", "mxfp4"))

pytestmark = pytest.mark.usefixtures("working_folder")

GEMV = ("gemv", "--weights", "w.npy", "--activations", "x.npy", "--out", "y.npy")
CODES = (*GEMV, "--weight-scales", "sw.npy", "--activation-scales", "sx.npy")


def _as_float(codes: NDArray[Any], tile: Tile) -> NDArray[np.float32]:
    if tile.result_format.name == "bf16":
        codes = codes.astype(np.uint32) << 16
    return codes.view(np.float32)


def _operands(rng: np.random.Generator, tile: Tile, rows: int, k: int, vectors: int,
              special: bool) -> dict[str, NDArray[Any]]:
    """Codes with scales; any at all with ``special``."""
    weight_rows = -(-rows // tile.description.scaling.weight_rows)
    return {"w": random_codes(rng, tile.weight_format, (rows, k), special=1.0),
            "x": random_codes(rng, tile.activation_format, (vectors, k), special=1.0),
            "sw": random_weight_scales(rng, tile, weight_rows, tile.groups(k), special=special),
            "sx": random_scales(rng, tile, vectors, tile.groups(k), special=special)}


# What it computes


def test_floats_are_quantized_by_the_tiles_rules(tile: Tile, description_path: Path,
                                                 run: Runner) -> None:
    rng = np.random.default_rng(41)
    k = min(tile.k_max, tile.group + 3)
    w = rng.normal(size=(tile.description.scaling.weight_rows + 1, k)).astype(np.float32)
    x = rng.normal(size=(tile.columns + 1, k)).astype(np.float32)
    save(w=w, x=x)
    code, answer = run(str(description_path), *GEMV)
    assert code == HELD
    assert (answer["rows"], answer["k"], answer["columns"], answer["passes"]) == (
        *w.shape, tile.columns + 1, 2)
    assert answer["cycles"] is None and "no clock" in answer["reason"]
    scaling = tile.description.scaling
    expected = gemv(*quantize_blocks(w, tile.weight_format, scaling),
                    *quantize(x, tile.activation_format, scaling), tile)
    y = np.load("y.npy")
    assert y.dtype == np.float32 and np.array_equal(
        y.view(np.uint32), _as_float(expected, tile).view(np.uint32))
    # Not nonsense: near what float64 gives.
    exact = w.astype(np.float64) @ x.T.astype(np.float64)
    share = 0.2 if tile.weight_format.bits > 4 else 0.4
    assert np.abs(y - exact).max() < share * np.abs(exact).max()


def test_quantize_writes_what_gemv_would_use(run: Runner) -> None:
    rng = np.random.default_rng(42)
    w = rng.normal(size=(3, 300)).astype(np.float32)
    x = rng.normal(size=(300,)).astype(np.float32)
    tile = load_tile(Path(DEFAULT))
    save(w=w, x=x)
    assert run(DEFAULT, "quantize", "--input", "x.npy", "--codes", "codes.npy", "--scales",
               "sx.npy", "--rule", "e8m0-ceil")[0] == HELD
    codes, scales = np.load("codes.npy"), np.load("sx.npy")
    assert codes.shape == (300,) and codes.dtype == np.uint8
    assert scales.shape == (1, 3) and scales.dtype == np.uint8
    assert run(DEFAULT, *GEMV)[0] == HELD
    first = np.load("y.npy")
    w_codes, w_scales = quantize_blocks(w, tile.weight_format, tile.description.scaling)
    # One vector may come as [K], and its scales as [groups].
    save(w=w_codes, sw=w_scales, x=codes, sx=scales[0])
    assert run(DEFAULT, *CODES)[0] == HELD
    assert np.array_equal(np.load("y.npy"), first) and first.shape == (3, 1)


def _safetensors(path: str, **tensors: tuple[str, NDArray[Any]]) -> None:
    """Write a file by the format's own words: length, JSON header, data."""
    header, data = {}, b""
    for name, (kind, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": kind, "shape": array.shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_safetensors_give_what_npy_files_give(run: Runner) -> None:
    rng = np.random.default_rng(43)
    tile = load_tile(Path(DEFAULT))
    operands = _operands(rng, tile, 5, 200, 2, special=False)
    bf16 = (rng.normal(size=(2, 200)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    save(**operands)
    _safetensors("all.safetensors", w=("F8_E4M3", operands["w"]), sw=("F8_E8M0", operands["sw"]),
                 plain=("U8", operands["x"]), sx=("U8", operands["sx"]), bf16=("BF16", bf16),
                 empty=("F32", np.zeros((0, 3), np.float32)), **{"a.b": ("I64", np.zeros(2))})
    assert run(DEFAULT, *CODES)[0] == HELD
    expected = np.load("y.npy")
    assert run(DEFAULT, "gemv", "--weights", "all.safetensors:w", "--activations",
               "all.safetensors:plain", "--weight-scales", "all.safetensors:sw",
               "--activation-scales", "all.safetensors:sx", "--out", "y2.npy")[0] == HELD
    assert np.array_equal(np.load("y2.npy").view(np.uint32), expected.view(np.uint32))
    # BF16 comes as codes; the same values as float32 give the same.
    save(x=(bf16.astype(np.uint32) << 16).view(np.float32))
    arguments = ("--weights", "w.npy", "--weight-scales", "sw.npy", "--out", "y3.npy")
    assert run(DEFAULT, "gemv", "--activations", "x.npy", *arguments)[0] == HELD
    floats = np.load("y3.npy")
    assert run(DEFAULT, "gemv", "--activations", "all.safetensors:bf16", *arguments)[0] == HELD
    assert np.array_equal(np.load("y3.npy").view(np.uint32), floats.view(np.uint32))


@pytest.mark.parametrize("fields", [
    BLOCK_SCALE, np.dtype([("tensor", ">f4"), ("block", "u1")]),
    np.dtype([("block", "u1"), ("tensor", "<f4")], align=True)],
    ids=["own", "big-endian", "aligned"])
def test_nvfp4_scales_come_as_two_fields(fields: np.dtype[Any], run: Runner) -> None:
    rng = np.random.default_rng(48)
    tile = load_tile(Path(NVFP4))
    scaling = tile.description.scaling
    w, x = (rng.normal(size=(rows, 100)).astype(np.float32) for rows in (5, 3))
    save(w=w, x=x)
    assert run(NVFP4, *GEMV)[0] == HELD
    expected = np.load("y.npy")
    assert expected.shape == (5, 3)
    own = []
    for codes, scales in (quantize_blocks(w, tile.weight_format, scaling),
                          quantize(x, tile.activation_format, scaling)):
        # Signs of blocks count for nothing.
        scales["block"] |= rng.integers(0, 2, scales.shape, dtype=np.uint8) << 7
        found = np.zeros(scales.shape, fields)
        for name in ("block", "tensor"):
            found[name] = scales[name]
        own += [codes, found]
    w, sw, x, sx = own
    save(w=w, sw=sw, x=x, sx=sx)
    assert run(NVFP4, *CODES)[0] == HELD
    assert np.array_equal(np.load("y.npy"), expected)
    # One vector and its scales may have one dimension.
    save(x=x[1], sx=sx[1])
    assert run(NVFP4, *CODES)[0] == HELD
    assert np.array_equal(np.load("y.npy"), expected[:, 1:2])


_NEEDED = ("NVFP4 has two scales in each: needed is a .npy file of the fields block, uint8 (E4M3 "
           "of the block), and tensor, float32 (of the whole tensor); "
           "golden.scales.block_scales(block, tensor) makes such an array")


@pytest.mark.parametrize(("scales", "message"), [
    (np.zeros((1, 1), np.uint8), f"--weight-scales has elements of type uint8; {_NEEDED}"),
    (np.zeros((1, 1), np.float32), f"--weight-scales has elements of type float32; {_NEEDED}"),
    (np.zeros((1, 1), [("block", "i1"), ("tensor", "f4")]),
     f"--weight-scales has elements of type block int8 and tensor float32; {_NEEDED}"),
    (np.zeros((1, 1), [("block", "u1")]),
     f"--weight-scales has elements of type block uint8; {_NEEDED}"),
    (block_scales(np.zeros((2, 1), np.uint8), 1.0),
     "--weight-scales has the shape [2, 1]; needed: [1, 2], one for 2 x 16 elements"),
    (block_scales(np.zeros((1, 2), np.uint8)[..., None], np.array([[1.0, 2.0]]))[..., 0],
     "--weight-scales has different values of the field tensor in one row; each row must have one, "
     "that of its tensor"),
])
def test_wrong_scales_of_nvfp4_are_refused(scales: NDArray[Any], message: str,
                                           run: Runner) -> None:
    save(w=np.zeros((2, 20), np.uint8), x=np.zeros(20, np.float32), sw=scales)
    code, answer = run(NVFP4, *GEMV, "--weight-scales", "sw.npy")
    assert code == WRONG_INPUT and answer["problems"] == [{"message": message}]
    assert not Path("y.npy").exists()


def test_safetensors_cannot_hold_scales_of_nvfp4(run: Runner) -> None:
    _safetensors("s.safetensors", sw=("F8_E4M3", np.zeros((1, 1), np.uint8)),
                 powers=("F8_E8M0", np.zeros((1, 1), np.uint8)))
    save(w=np.zeros((2, 8), np.uint8), x=np.zeros(8, np.float32))
    for name, message in (
            ("sw", f"--weight-scales has elements of type uint8; {_NEEDED}"),
            ("powers", "--weight-scales s.safetensors:powers holds e8m0 codes, and this tile needs "
                       "e4m3 there")):
        code, answer = run(NVFP4, *GEMV, "--weight-scales", f"s.safetensors:{name}")
        assert code == WRONG_INPUT and answer["problems"] == [{"message": message}]


@pytest.mark.parametrize("fields", [
    [("scale", "<f4"), ("zero", "u1")], [("zero", "u1"), ("scale", ">f4")],
    np.dtype([("zero", "u1"), ("scale", "<f4")], align=True)],
    ids=["own", "big-endian", "aligned"])
@pytest.mark.parametrize("engine", ["golden", pytest.param("rtl", marks=[pytest.mark.cosim,
                                                                        pytest.mark.slow])])
def test_scales_with_zero_points_come_as_two_fields(fields: Any, engine: str, run: Runner) -> None:
    rng = np.random.default_rng(49)
    tile = load_tile(Path(UINT4))
    scaling = tile.description.scaling
    # All of one sign in some rows, so that zero points reach their ends.
    w = rng.normal(size=(9, 100)).astype(np.float32)
    w[:4], w[4:8] = np.abs(w[:4]), -np.abs(w[4:8])
    x = rng.normal(size=(3, 100)).astype(np.float32)
    save(w=w, x=x)
    code, answer = run(UINT4, *GEMV, "--engine", engine)
    assert (code, answer["equals_golden"]) == (HELD, True if engine == "rtl" else None)
    expected = np.load("y.npy")
    exact = w.astype(np.float64) @ x.T.astype(np.float64)
    assert np.abs(expected - exact).max() < 0.1 * np.abs(exact).max()
    codes, scales = quantize_blocks(w, tile.weight_format, scaling)
    assert set(scales["zero"][:2].ravel().tolist()) == {0, 15}
    found = np.zeros(scales.shape, fields)
    for name in ("scale", "zero"):
        found[name] = scales[name]
    x_codes, x_scales = quantize(x, tile.activation_format, scaling)
    save(w=codes, sw=found, x=x_codes, sx=x_scales)
    code, answer = run(UINT4, *CODES, "--engine", engine)
    assert (code, answer["equals_golden"]) == (HELD, True if engine == "rtl" else None)
    assert np.array_equal(np.load("y.npy"), expected)


_ZERO_POINTS = ("uint4 has a scale and a zero point for each group: needed is a .npy file of the "
                "fields scale, float32 (scales), and zero, uint8 (below 16)")


@pytest.mark.parametrize(("change", "message"), [
    ({"sw": np.zeros((1, 2), np.float32)},
     f"--weight-scales has elements of type float32; {_ZERO_POINTS}"),
    ({"sw": np.zeros((1, 2), [("scale", "f4")])},
     f"--weight-scales has elements of type scale float32; {_ZERO_POINTS}"),
    ({"sw": np.zeros((1, 2), [("scale", "f4"), ("zero", "i1")])},
     f"--weight-scales has elements of type scale float32 and zero int8; {_ZERO_POINTS}"),
    ({"sw": np.zeros((2, 2), [("scale", "f4"), ("zero", "u1")])},
     "--weight-scales has the shape [2, 2]; needed: [1, 2], one for 4 x 16 elements"),
    ({"sw": np.array([[(1, 15), (1, 16)]], [("scale", "f4"), ("zero", "u1")])},
     "--weight-scales has the zero point 16; those of uint4 are below 16"),
    ({"w": np.full((2, 20), 16, np.uint8)},
     "--weights has the code 16; codes of uint4 are below 16"),
    ({"w": np.zeros((2, 20), np.int8)},
     "--weights has elements of type int8; allowed: uint8 (codes, as scales are given); convert it "
     "with array.astype"),
    ({"sx": np.zeros((1, 2), [("scale", "f4"), ("zero", "u1")])},
     "--activation-scales has elements of type void40; allowed: float32 (scales); convert it with "
     "array.astype"),
])
def test_wrong_zero_points_are_refused(change: dict[str, NDArray[Any]], message: str,
                                       run: Runner) -> None:
    right = np.zeros((1, 2), weight_scale_dtype(load_tile(Path(UINT4))))
    save(**{"w": np.zeros((2, 20), np.uint8), "sw": right, "x": np.zeros(20, np.uint8),
            "sx": np.zeros((1, 2), np.float32)} | change)
    code, answer = run(UINT4, *CODES)
    assert code == WRONG_INPUT and answer["problems"] == [{"message": message}]
    assert not Path("y.npy").exists()


@pytest.mark.parametrize(("place", "message"), [
    ("all.safetensors", r"may hold several tensors; it holds a, e5m2, empty; name one as "
                        r"all.safetensors:TENSOR"),
    ("all.safetensors:", r"may hold several tensors"),
    ("all.safetensors:b", r"holds no tensor 'b'; it holds a, e5m2, empty"),
    ("all.safetensors:empty", r"has the shape \[0, 3\]; needed: \[columns, K\] or \[K\]"),
    ("all.safetensors:a", r"has elements of type int64; allowed: float32 \(values\) or uint16"),
    ("all.safetensors:e5m2", r"holds e5m2 codes, and this tile needs e4m3 there"),
    ("none.safetensors:a", r"none.safetensors cannot be read: No such file or directory"),
    ("bad.safetensors:a", r"bad.safetensors is no safetensors file"),
])
def test_wrong_safetensors_are_refused(place: str, message: str, run: Runner) -> None:
    _safetensors("all.safetensors", a=("I64", np.zeros((2, 8), np.int64)),
                 empty=("F32", np.zeros((0, 3), np.float32)),
                 e5m2=("F8_E5M2", np.zeros((2, 8), np.uint8)))
    Path("bad.safetensors").write_bytes(b"\xff" * 64)
    save(w=np.zeros((2, 8), np.float32))
    code, answer = run(DEFAULT, "gemv", "--weights", "w.npy", "--activations", place, "--out",
                       "y.npy")
    assert code == WRONG_INPUT and answer["held"] is None
    assert run.err.startswith("pnmtile: --activations") and re.search(message, run.err)
    assert not Path("y.npy").exists()


# The simulated RTL


@pytest.mark.parametrize("engine", ["golden", pytest.param("rtl", marks=pytest.mark.cosim)])
def test_transposed_weights(run: Runner, engine: str) -> None:
    """Results by transposed weights are those that the contract gives, element by element."""
    tile, rng = load_tile(TENSORS), np.random.default_rng(47)
    rows, k, vectors = tile.group + 7, 2 * tile.group + 3, tile.columns + 1
    operands = _operands(rng, tile, rows, k, vectors, special=False)
    operands["x"] = random_codes(rng, tile.activation_format, (vectors, rows), special=1.0)
    operands["sx"] = random_scales(rng, tile, vectors, tile.groups(rows), special=False)
    save(**operands)
    code, answer = run(TENSORS, *CODES, "--transposed", "--engine", engine)
    assert code == HELD and answer["transposed"] is True
    y = np.load("y.npy").view(np.uint32)
    assert y.shape == (k, vectors)
    w, x, sw, sx = (operands[name] for name in ("w", "x", "sw", "sx"))
    for row, vector in ((0, 0), (k - 1, vectors - 1), *zip(
            rng.integers(0, k, 20), rng.integers(0, vectors, 20), strict=True)):
        expected = gemv_element(
            w[:, row].tolist(), sw[:, row // tile.group].view(np.uint32).tolist(),
            x[vector].tolist(), sx[vector].view(np.uint32).tolist(), tile.weight_format,
            tile.activation_format, tile.scale_format.name, tile.group)
        assert y[row, vector] == expected, (row, vector)


def test_transposed_weights_are_refused_where_they_cannot_be(run: Runner) -> None:
    save(w=np.zeros((4, 8), np.float32), x=np.zeros(4, np.float32))
    assert run(DEFAULT, *GEMV, "--transposed")[0] == WRONG_INPUT
    assert "hbm3_fp8 cannot multiply by transposed weights: that takes [transpose]" in (
        " ".join(run.err.split()))
    save(x=np.zeros(8, np.float32))
    assert run(TENSORS, *GEMV, "--transposed")[0] == WRONG_INPUT
    assert "--weights has M = 4, --activations K = 8; they must agree" in " ".join(run.err.split())
    save(w=np.zeros((201, 8), np.float32), x=np.zeros(201, np.float32))
    assert run(TENSORS, *GEMV, "--transposed")[0] == WRONG_INPUT
    assert "M = 201 is more than this tile's k_max = 200" in " ".join(run.err.split())
    assert not Path("y.npy").exists()



@pytest.mark.cosim
@pytest.mark.slow
def test_rtl_equals_golden_bit_for_bit(tile: Tile, description_path: Path, run: Runner) -> None:
    rng = np.random.default_rng(44)
    group, most = tile.group, tile.k_max
    weight_rows = tile.description.scaling.weight_rows
    sizes = [(1, 1), (70, min(most, 600)), (min(weight_rows, 128) + 1, min(most, 2 * group)),
             (int(rng.integers(2, 40)), int(rng.integers(1, min(most, 3 * group) + 1)))]
    for number, (rows, k) in enumerate(sizes):
        some = int(rng.integers(1, tile.columns + 1))
        vectors = (1, tile.columns + 1, tile.columns, some)[number]
        save(**_operands(rng, tile, rows, k, vectors, special=number % 2 == 1))
        assert run(str(description_path), *CODES)[0] == HELD
        golden = Path("y.npy").read_bytes()
        assert np.load("y.npy").shape == (rows, vectors)
        code, answer = run(str(description_path), *CODES, "--engine", "rtl")
        assert (code, answer["equals_golden"]) == (HELD, True), (rows, k, vectors)
        assert Path("y.npy").read_bytes() == golden
        passes = -(-vectors // tile.columns)
        atoms = passes * tile.weight_stream_atoms(rows, k) + vectors * (
            tile.activation_atoms(k) + tile.activation_scale_atoms(k))
        assert answer["passes"] == passes
        assert answer["atoms_read"] == atoms
        assert answer["atoms_written"] == passes * tile.result_atoms(rows)
        assert answer["cycles"] >= atoms + answer["stall_memory"]
        assert 0 < answer["bandwidth_share"] <= 1 and answer["origin"] == "simulated"


@pytest.mark.cosim
@pytest.mark.slow
def test_a_waveform_is_written(run: Runner) -> None:
    save(w=np.ones((2, 9), np.float32), x=np.ones(9, np.float32))
    code, answer = run(SMALLEST, *GEMV, "--engine", "rtl", "--vcd", "waves.vcd")
    assert (code, answer["equals_golden"]) == (HELD, True)
    with Path("waves.vcd").open() as file:
        head = file.read(20_000)
    assert "$timescale" in head and "m_axi_arvalid" in head and "interrupt" in head
    assert sorted(os.listdir()) == ["w.npy", "waves.vcd", "x.npy", "y.npy"]


@pytest.mark.cosim
@pytest.mark.slow
@pytest.mark.parametrize("description", [NATIVE_SMALL, NATIVE, NATIVE_DDR5])
def test_traces_are_what_the_dram_saw(description: str, run: Runner) -> None:
    tile = load_tile(Path(description))
    assert tile.grade is not None
    rng = np.random.default_rng(46)
    rows, k = 37, min(tile.k_max, 300)
    save(**_operands(rng, tile, rows, k, 1, special=False))
    code, answer = run(description, *CODES, "--engine", "rtl", "--trace", "dram.csv",
                       "--accesses", "accesses.txt")
    assert (code, answer["equals_golden"]) == (HELD, True)
    assert (answer["trace"], answer["accesses"]) == ("dram.csv", "accesses.txt")
    assert sorted(os.listdir()) == ["accesses.txt", "dram.csv", "sw.npy", "sx.npy", "w.npy",
                                    "x.npy", "y.npy"]
    checker = check_trace("dram.csv", tile.grade)
    checker.require()
    names = [DramCommand(row[1]).name for row in read_trace("dram.csv").tolist()]
    assert answer["dram_commands"] == {name: names.count(name) for name in DramCommand.__members__}
    # The loads and stores of the job, each atom once; besides them, inline check bits alone.
    lines = [line.split() for line in Path("accesses.txt").read_text().splitlines()]
    data = [(kind, int(place, 16)) for kind, place in lines if int(place, 16) < tile.memory_bytes]
    kinds, places = zip(*data, strict=True)
    assert (kinds.count("LD"), kinds.count("ST")) == (
        answer["atoms_read"], answer["atoms_written"])
    assert len(set(places)) == len(places) and not any(at % tile.atom_bytes for at in places)
    assert (len(lines) > len(data)) == tile.memory_controller.ecc_inline
    assert 0 < answer["bandwidth_share"] <= 1 and "dram_commands" in answer["units"]
    said = ", ".join(f"{number} {name}" for name, number in answer["dram_commands"].items()
                     if number)
    assert f"DRAM commands: {said}; each checked against {tile.grade.name}" in " ".join(
        run.err.split())


@pytest.mark.cosim
@pytest.mark.slow
def test_a_broken_rule_fails_and_leaves_its_trace(run: Runner,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    # The model believes in a slower part than the controller.
    def slower(params: MemoryControllerParams) -> str:
        timing = params.grade.timing
        timing = timing.model_copy(update={"nRCDRD": timing.nRCDRD + params.cycle_ck})
        grade = params.grade.model_copy(update={"timing": timing})
        return model_text(params.model_copy(update={"grade": grade}))

    monkeypatch.setattr("tb.dram_model.model_text", slower)
    save(w=np.ones((2, 9), np.float32), x=np.ones(9, np.float32))
    code, answer = run(NATIVE_SMALL, *GEMV, "--engine", "rtl", "--trace", "dram.csv")
    assert (code, answer["held"]) == (NOT_HELD, False)
    assert "dram_model: tRCDRD violated: RD" in answer["problems"][0]["message"]
    assert sorted(os.listdir()) == ["dram.csv", "w.npy", "x.npy"]
    assert read_trace("dram.csv")[-1, 1] in (DramCommand.RD, DramCommand.RDA)


def test_a_result_that_differs_does_not_hold(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    from golden.tile import GoldenTile
    from host.driver import Counters
    from tools.simulation import SystemRun

    def simulate(tile: Tile, image: NDArray[np.uint8], commands: list[Any],
                 **options: Any) -> SystemRun:
        golden = GoldenTile(tile, image)
        golden.window_limit = image.size
        for command in commands:
            golden.execute(command.pack())
        image[-tile.atom_bytes] ^= 1
        return SystemRun(errors=[], counters=Counters(0, 0, 0, 0, 0))

    monkeypatch.setattr("tools.simulation.simulate", simulate)
    save(w=np.ones((1, 8), np.float32), x=np.ones(8, np.float32))
    code, answer = run(SMALLEST, *GEMV, "--engine", "rtl")
    assert (code, answer["held"], answer["equals_golden"]) == (NOT_HELD, False, False)
    assert "the RTL's result differs from the golden model's" in run.err


@pytest.mark.parametrize(("error", "code"), [
    (SimulationFailed("the tile hangs"), NOT_HELD), (SimulatorError("g++ failed"), WRONG_INPUT)])
def test_a_simulation_that_fails_writes_no_result(
        error: Exception, code: int, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("tools.simulation.simulate", simulate)
    save(w=np.ones((1, 8), np.float32), x=np.ones(8, np.float32))
    found, answer = run(SMALLEST, *GEMV, "--engine", "rtl")
    assert found == code and answer["problems"] == [{"message": str(error)}]
    assert str(error) in run.err and not Path("y.npy").exists()


@pytest.mark.cosim
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_the_simulation(number: int, tmp_path: Path) -> None:
    save(w=np.ones((30_000, 200), np.float32), x=np.ones(200, np.float32))
    with subprocess.Popen(
            [sys.executable, "-c", "from tools.cli import main; main()", "run", ODD, *GEMV,
             "--engine", "rtl"], env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=subprocess.PIPE, text=True) as process:
        interrupted(process, "system", number, 240)
    assert sorted(os.listdir()) == ["w.npy", "x.npy"]
    left = Path(os.environ["PNMTILE_BUILD"]) / "runs" / f"odd-{process.pid}"
    assert not (left / "memory.bin").exists()


# Bad input


@pytest.mark.parametrize(("change", "message"), [
    ({"w": np.zeros(8, np.float32)}, r"--weights has the shape \[8\]; needed: \[M, K\]"),
    ({"w": np.zeros((2, 8, 1), np.float32)}, r"--weights has the shape \[2, 8, 1\]"),
    ({"w": np.zeros((0, 8), np.float32)}, r"--weights has the shape \[0, 8\]"),
    ({"w": np.float32(1)}, r"--weights has the shape \[\]"),
    ({"x": np.zeros((1, 8, 1), np.float32)}, r"--activations has the shape \[1, 8, 1\]; needed: "
                                             r"\[columns, K\] or \[K\]"),
    ({"w": np.zeros((2, 8))}, r"--weights has elements of type float64; allowed: float32 "
                              r"\(values\) or uint16 \(BF16 codes\); convert it with array.astype"),
    ({"x": np.zeros((2, 8), np.int8)}, r"--activations has elements of type int8"),
    ({"x": np.zeros(8, "U3")}, r"--activations has elements of type str"),
    ({"x": np.zeros(8, [("a", "f4")])}, r"--activations has elements of type void"),
    ({"x": np.zeros((2, 8), np.uint8)}, r"--activations holds codes \(uint8\): name their scales "
                                        r"with --activation-scales"),
    ({"w": np.zeros((2, 9), np.float32)}, r"--weights has K = 9, --activations K = 8; they must "
                                          r"agree"),
    ({"w": np.zeros((2, 25), np.float32), "x": np.zeros(25, np.float32)},
     r"K = 25 is more than this tile's k_max = 24; split the job along K, or raise compute.k_max"),
    ({"w": np.zeros((7000, 24), np.float32), "x": np.zeros(24, np.float32)},
     r"the job takes \d+ bytes, more than the 65536 that memory.address_bits = 16 can address"),
])
def test_wrong_arrays_are_refused(change: dict[str, NDArray[Any]], message: str,
                                  run: Runner) -> None:
    save(**{"w": np.zeros((2, 8), np.float32), "x": np.zeros(8, np.float32)} | change)
    for engine in ("golden", "rtl"):
        assert run(SMALLEST, *GEMV, "--engine", engine)[0] == WRONG_INPUT
        assert run.err.startswith("pnmtile: ") and re.search(message, run.err)
    assert not Path("y.npy").exists()


@pytest.mark.parametrize(("tile", "change", "message"), [
    (DEFAULT, {"w": np.zeros((2, 8), np.float32)},
     r"--weights has elements of type float32; allowed: uint8 \(codes, as scales are given\)"),
    (DEFAULT, {"sw": np.zeros((1, 2), np.uint8)},
     r"--weight-scales has the shape \[1, 2\]; needed: \[1, 1\], one for 128 x 128 elements"),
    (DEFAULT, {"sx": np.zeros((1, 1), np.uint8)},
     r"--activation-scales has the shape \[1, 1\]; needed: \[2, 1\], one for 1 x 128 elements"),
    (DEFAULT, {"sw": np.zeros((1, 1), np.float32)},
     r"--weight-scales has elements of type float32; allowed: uint8 \(E8M0\)"),
    (X4, {"sw": np.zeros((1, 1), np.uint8)},
     r"--weight-scales has elements of type uint8; allowed: float32 \(scales\)"),
])
def test_wrong_scales_are_refused(tile: str, change: dict[str, NDArray[Any]], message: str,
                                  run: Runner) -> None:
    kind = np.float32 if tile == X4 else np.uint8
    save(**{"w": np.zeros((2, 8), np.uint8), "x": np.zeros((2, 8), np.uint8),
             "sw": np.zeros((1, 1), kind), "sx": np.zeros((2, 1), kind)} | change)
    assert run(tile, *CODES)[0] == WRONG_INPUT
    assert re.search(message, run.err) and not Path("y.npy").exists()


@pytest.mark.parametrize(("tile", "arguments", "message"), [
    (DEFAULT, ("--engine", "rtl", "--trace", "t.csv"),
     r'--trace needs a tile with memory.interface = "native": the memory of hbm3_fp8 is behind '
     r"AXI4, and it sends no DRAM commands"),
    (DEFAULT, ("--accesses", "a.txt"), r'--accesses needs a tile with memory.interface'),
    (NATIVE, ("--trace", "t.csv"), r"--trace needs --engine rtl: the golden model has no clock"),
    (NATIVE, ("--engine", "rtl", "--trace", "none/t.csv"),
     r"--trace none/t.csv: there is no directory"),
    (NATIVE, ("--engine", "rtl", "--trace", "t", "--accesses", "t"),
     r"--trace and --accesses are both t; name two files"),
])
def test_wrong_traces_are_refused(tile: str, arguments: tuple[str, ...], message: str,
                                  run: Runner) -> None:
    save(w=np.zeros((2, 8), np.float32), x=np.zeros(8, np.float32))
    assert run(tile, *GEMV, *arguments)[0] == WRONG_INPUT
    assert re.search(message, re.sub(r"\s*[│\n]\s*", " ", run.err))
    assert sorted(os.listdir()) == ["w.npy", "x.npy"]


def test_only_a_native_tile_can_be_traced() -> None:
    with pytest.raises(ValueError, match=r"^hbm3_fp8 sends no DRAM commands that could be traced: "
                                         r"its memory is behind AXI4$"):
        simulate(load_tile(Path(DEFAULT)), np.zeros(0, np.uint8), [], trace=Path("t.csv"))


@pytest.mark.parametrize(("arguments", "message"), [
    (("gemv", "--weights", "w.npy", "--out", "y.npy"), r"run gemv needs --activations; it takes "
     r"--weights, --activations, --out, --weight-scales, --activation-scales, --transposed, "
     r"--weight-format, --vcd, --trace, --accesses"),
    (("quantize", "--input", "x.npy", "--codes", "c.npy"), r"run quantize needs --scales"),
    ((*GEMV, "--rule", "e8m0-ceil"), r"--rule does not belong to gemv"),
    ((*GEMV, "--vcd", "y.vcd"), r"--vcd needs --engine rtl: the golden model has no clock"),
    ((*GEMV, "--engine", "rtl", "--vcd", "none/y.vcd"), r"--vcd none/y.vcd: there is no directory"),
    ((*GEMV, "--engine", "rtl", "--vcd", "y.npy"), r"--out and --vcd are both y.npy"),
    (("quantize", "--input", "x.npy", "--codes", "c.npy", "--scales", "./c.npy"),
     r"--codes and --scales are both c.npy; name two files"),
    (("quantize", "--input", "x.npy", "--codes", "c.npy", "--scales", "s.npy", "--rule",
      "fp32-div"), r"--rule fp32-div is not the tile's; allowed: e8m0-ceil"),
    (("quantize", "--input", "x.npy", "--codes", "c.npy", "--scales", "s.npy", "--engine", "rtl"),
     r"this tile has no quantizer unit; use --engine golden"),
    ((*GEMV[:-1], "."), r"--out . is a directory; name a file"),
    ((*GEMV[:-1], "w.npy/y.npy"), r"--out w.npy/y.npy: .*/w.npy is no directory"),
    ((*GEMV[:-1], "/proc/none/y.npy"),
     r"cannot write to /proc/none: .*; nothing was changed there"),
    (("gemv", "--weights", "none.npy", *GEMV[3:]),
     r"--weights none.npy cannot be read: No such file or directory"),
    (("gemv", "--weights", ".", *GEMV[3:]), r"--weights . cannot be read: Is a directory"),
    (("gemm",), r"Invalid value for '\{gemv\|quantize\}|'gemm' is not one of"),
])
def test_wrong_options_are_refused(arguments: tuple[str, ...], message: str, run: Runner) -> None:
    save(w=np.zeros((2, 8), np.float32), x=np.zeros(8, np.float32))
    assert run(DEFAULT, *arguments)[0] == WRONG_INPUT
    assert re.search(message, re.sub(r"\s*[│\n]\s*", " ", run.err))
    assert sorted(os.listdir()) == ["w.npy", "x.npy"]


_MADE = "makes codes of e4m3 or e5m2 by the rules e8m0-ceil, e8m0-floor, fp32-div, but"
_INSTEAD = ("name another tile, or give gemv the values, which it quantizes by this tile's rules "
            "(golden.quantizer.quantize does, too)")
_QUANTIZED = ("--codes", "c.npy", "--scales", "s.npy")


@pytest.mark.parametrize(("tile", "arguments", "message"), [
    (NVFP4, ("quantize", *_QUANTIZED),
     f"quantize {_MADE} nvfp4 has compute.activations = 'e2m1' and scaling.rule = 'e4m3-nvfp4'; "
     f"{_INSTEAD}"),
    (NVFP4, ("quantize", *_QUANTIZED, "--format", "e4m3", "--rule", "e8m0-ceil"),
     f"quantize {_MADE} nvfp4 has compute.activations = 'e2m1'; {_INSTEAD}"),
    (NVFP4, ("quantize", *_QUANTIZED, "--rule", "e4m3-nvfp4"),
     "--rule e4m3-nvfp4 is unknown; allowed: e8m0-ceil, e8m0-floor, fp32-div"),
    (MXFP4, ("quantize", *_QUANTIZED),
     f"quantize {_MADE} mxfp4 has compute.activations = 'e2m1'; {_INSTEAD}"),
    (MXFP4, ("transpose", *_QUANTIZED),
     f"transpose {_MADE} mxfp4 has compute.activations = 'e2m1'; {_INSTEAD}"),
    (NVFP4, ("copy", "--to", "e5m2", *_QUANTIZED),
     f"copy {_MADE} nvfp4 has compute.activations = 'e2m1' and scaling.rule = 'e4m3-nvfp4'; "
     f"{_INSTEAD}"),
    (str(PROJECT / "tests" / "descriptions" / "int8.toml"), ("quantize", *_QUANTIZED),
     f"quantize {_MADE} int8 has compute.activations = 'int8'; {_INSTEAD}"),
    # What the tile knows is used, whatever its weights are.
    (UINT4, ("quantize", *_QUANTIZED, "--rule", "e8m0-ceil"),
     "--rule e8m0-ceil is not the tile's; allowed: fp32-div (scaling.rule in the description), or "
     "add the section [quantize]"),
    (UINT4, ("quantize", *_QUANTIZED, "--rule", "none"),
     "--rule none is unknown; allowed: e8m0-ceil, e8m0-floor, fp32-div"),
])
def test_what_commands_on_whole_tensors_do_not_know_is_refused(
        tile: str, arguments: tuple[str, ...], message: str, run: Runner) -> None:
    save(x=np.zeros((2, 40), np.float32))
    code, answer = run(tile, *arguments, "--input", "x.npy")
    assert code == WRONG_INPUT and answer["problems"] == [{"message": message}]
    assert sorted(os.listdir()) == ["x.npy"]


@pytest.mark.parametrize("arguments", [
    ("reduce", "--kind", "sum", "--out", "y.npy"), ("transpose", "--out", "y.npy"),
    ("copy", "--to", "bf16", "--out", "y.npy")])
def test_codes_that_commands_on_whole_tensors_do_not_know_are_refused(
        arguments: tuple[str, ...], run: Runner) -> None:
    save(x=np.zeros((2, 40), np.uint8))
    code, answer = run(MXFP4, *arguments, "--input", "x.npy")
    assert code == WRONG_INPUT and answer["problems"] == [{
        "message": f"--input holds codes (uint8); {arguments[0]} takes those of e4m3 or e5m2, but "
                   "mxfp4 has compute.activations = 'e2m1'; name another tile"}]


def test_activations_of_weights_with_zero_points_are_quantized_alone(run: Runner) -> None:
    x = np.random.default_rng(50).normal(size=(3, 100)).astype(np.float32)
    tile = load_tile(Path(UINT4))
    save(x=x)
    assert run(UINT4, "quantize", *_QUANTIZED, "--input", "x.npy")[0] == HELD
    codes, scales = quantize(x, tile.activation_format, tile.description.scaling)
    assert np.array_equal(np.load("c.npy"), codes) and np.array_equal(np.load("s.npy"), scales)


def _npy(header: str) -> bytes:
    text = header.encode().ljust(118 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("content", [
    b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x09\x00\x10\x00",
    _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000), }"),
    _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, ), }"),
    _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }"),
    _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, ), }"),
    _npy("{'descr': '<f4'"), _npy("([{"), _npy("'" + "\\x00" * 20),
])
def test_damaged_files_are_refused(content: bytes, run: Runner) -> None:
    save(w=np.zeros((2, 8), np.float32))
    Path("x.npy").write_bytes(content)
    assert run(DEFAULT, *GEMV)[0] == WRONG_INPUT
    assert "--activations x.npy is no whole .npy file of numbers" in run.err


def test_archives_are_refused(run: Runner) -> None:
    save(w=np.zeros((2, 8), np.float32))
    with Path("x.npy").open("wb") as file:
        np.savez(file, a=np.zeros(8))
    assert run(DEFAULT, *GEMV)[0] == WRONG_INPUT
    assert "--activations x.npy holds several arrays (.npz); one .npy is needed" in run.err


def test_other_byte_orders_and_layouts_are_read(run: Runner) -> None:
    rng = np.random.default_rng(45)
    w, x = (rng.normal(size=(4, 40)).astype(np.float32) for _ in "wx")
    save(w=w, x=x)
    assert run(DEFAULT, *GEMV)[0] == HELD
    expected = Path("y.npy").read_bytes()
    save(w=np.asfortranarray(w), x=x.astype(">f4"))
    assert run(DEFAULT, *GEMV)[0] == HELD
    assert Path("y.npy").read_bytes() == expected


def test_no_number_makes_it_fail(run: Runner) -> None:
    # NaN, infinities and the largest values have their codes, or saturate.
    w = np.array([[np.nan, 1.0], [np.inf, 0.0], [3.4e38, -3.4e38], [1e-45, 0.0]], np.float32)
    save(w=w, x=np.array([1.0, np.nan], np.float32))
    for tile in map(str, DESCRIPTIONS):
        assert run(tile, *GEMV)[0] == HELD
        assert np.isnan(np.load("y.npy")).all()
