"""``pnmtile accuracy``: what it measures, what it writes, and what it refuses."""

import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.scales import block_scales, weight_scale_dtype
from spec.description import Description
from spec.formats import E4M3, FP32
from spec.load import load_tile
from spec.tile import Tile
from tb.oracle import (
    block_scaled_element, gemv_element, group_quantized, nvfp4_quantized, value_of,
    zero_point_quantized,
)
from tests.conftest import PROJECT
from tests.run_verb import save
from tests.test_docs import table
from tools.accuracy_study import (
    BUCKETS, INPUTS, ErrorStatistics, Study, _dequantized, _statistics, drawn, study,
)
from tools.cli import HELD, WRONG_INPUT, run_command

DEFAULT = str(PROJECT / "tiles" / "hbm3_fp8.toml")
ALIGNED, MXFP4, INT8, INT4, BF16, NVFP4, UINT4 = (
    str(PROJECT / "tests" / "descriptions" / f"{name}.toml")
    for name in ("aligned", "mxfp4", "int8", "int4_fp8", "bf16", "nvfp4", "uint4"))
SMALL = ("--rows", "5", "--columns", "3", "--k", "70")


class Answer:
    """What the verb said: exit code, JSON, text for people in one line."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.err = code, err
        self.json: dict[str, Any] = json.loads(out) if out else {}
        self.words = re.sub(r"[\s│]+", " ", err)


@pytest.fixture
def accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
             capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the verb in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run_command(["accuracy", *arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Answer(code, captured.out, captured.err)

    return run


def codes_of(values: NDArray[np.float32]) -> list[int]:
    codes: list[int] = values.view(np.uint32).tolist()
    return codes


# The verb

def test_the_answer_has_every_study(accuracy: Callable[..., Answer]) -> None:
    answer = accuracy(DEFAULT, ALIGNED, MXFP4, *SMALL, "--seed", "3", "--json")
    assert answer.code == HELD
    assert list(answer.json) == ["held", "seed", "tiles", "buckets", "studies", "origin"]
    assert answer.json["held"] is True and answer.json["seed"] == 3
    assert answer.json["origin"] == "golden model against float64"
    assert answer.json["tiles"] == {
        tile.name: tile.digest for tile in map(load_tile, (DEFAULT, ALIGNED, MXFP4))}
    assert answer.json["buckets"] == list(range(-40, 9))
    studies = answer.json["studies"]
    assert [(one["inputs"], one["tile"]) for one in studies] == [
        (name, tile) for name in ("normal", "heavy-tailed", "outlier-channel", "uniform")
        for tile in ("hbm3_fp8", "aligned", "mxfp4")]
    for one in studies:
        assert list(one) == [field.name for field in fields(Study)]
        assert (one["k"], one["rows"], one["columns"]) == (70, 5, 3)
        for kind in ("arithmetic", "with_quantization"):
            errors = one[kind]
            assert list(errors) == [field.name for field in fields(ErrorStatistics)]
            assert errors["results"] == 15 and errors["not_finite"] == 0
            assert len(errors["counts"]) == len(BUCKETS)
            assert errors["exact"] + sum(errors["counts"]) == 15
            shares = errors["percentiles"]
            assert list(shares) == ["50", "90", "99", "99.9"]
            assert sorted(shares.values()) == list(shares.values())
            assert shares["99.9"] <= errors["maximum"]
            assert 0 <= errors["rms"] <= errors["maximum"]
            assert (errors["signal_to_noise_db"] is None) == (errors["rms"] == 0)


def test_the_report_is_the_answer_and_the_plot_names_every_tile(
        accuracy: Callable[..., Answer], tmp_path: Path) -> None:
    answer = accuracy(DEFAULT, INT8, *SMALL, "--inputs", "uniform", "--inputs", "normal", "--out",
                      "deep/here", "--json")
    assert answer.code == HELD
    here = tmp_path / "deep" / "here"
    assert {path.name for path in here.iterdir()} == {"accuracy.json", "accuracy.svg"}
    assert json.loads((here / "accuracy.json").read_text()) == answer.json
    assert [one["inputs"] for one in answer.json["studies"]] == ["uniform"] * 2 + ["normal"] * 2
    svg = (here / "accuracy.svg").read_text()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    for text in ("hbm3_fp8", "int8", "uniform, K = 70", "normal, K = 70"):
        assert f">{text}</text>" in svg
    assert "heavy-tailed" not in svg
    one = answer.json["studies"][0]
    assert (f"<desc>{one['tile']}, uniform, K = 70: largest error over rms "
            f"{one['arithmetic']['maximum']:.2g}, with quantization ") in svg
    assert "report: deep/here/accuracy.json, plot: deep/here/accuracy.svg" in answer.err


def test_people_read_a_table(accuracy: Callable[..., Answer], tmp_path: Path) -> None:
    answer = accuracy(DEFAULT, ALIGNED, *SMALL, "--inputs", "normal")
    assert answer.code == HELD and answer.json == {}
    assert (tmp_path / "build" / "accuracy" / "accuracy.svg").is_file()
    assert "error over the rms of 5 x 3 results, K = 70" in answer.words
    report = json.loads((tmp_path / "build" / "accuracy" / "accuracy.json").read_text())
    for one in report["studies"]:
        for errors in (one["arithmetic"], one["with_quantization"]):
            noise = errors["signal_to_noise_db"]
            shown = "no error" if noise is None else f"{noise:.1f}"
            assert f" {errors['maximum']:.2e} {errors['rms']:.2e} {shown} " in answer.words


def test_the_same_seed_gives_the_same_bytes(accuracy: Callable[..., Answer],
                                            tmp_path: Path) -> None:
    def files(folder: str) -> list[bytes]:
        return [(tmp_path / folder / name).read_bytes() for name in ("accuracy.json",
                                                                     "accuracy.svg")]

    arguments = ["accuracy", ALIGNED, MXFP4, *SMALL, "--inputs", "heavy-tailed", "--seed"]
    for folder, seed in (("a", "7"), ("b", "8")):
        assert accuracy(*arguments[1:], seed, "--out", folder).code == HELD
    # And in another process, whatever its hash seed.
    found = subprocess.run(
        [sys.executable, "-c", "from tools.cli import main; main()", *arguments, "7", "--out",
         str(tmp_path / "c")], cwd=PROJECT, env={**os.environ, "PYTHONHASHSEED": "12345"},
        text=True, capture_output=True, timeout=120, check=False)
    assert found.returncode == HELD, found.stderr
    assert files("a") == files("c")
    assert all(one != other for one, other in zip(files("a"), files("b"), strict=True))


# The user's own tensors

def test_own_tensors_come_as_float32_or_bf16(accuracy: Callable[..., Answer]) -> None:
    rng = np.random.default_rng(5)
    w = (rng.standard_normal((6, 40), np.float32).view(np.uint32) >> 16).astype(np.uint16)
    x = (rng.standard_normal((1, 40), np.float32).view(np.uint32) >> 16).astype(np.uint16)
    wide = [(codes.astype(np.uint32) << 16).view(np.float32) for codes in (w, x)]
    save(w=w, x=x, w32=wide[0], x32=wide[1], vector=x[0])
    answers = [accuracy(DEFAULT, "--weights", f"{weights}.npy", "--activations",
                        f"{activations}.npy", "--json")
               for weights, activations in (("w", "x"), ("w32", "x32"), ("w32", "vector"))]
    assert [answer.code for answer in answers] == [HELD] * 3
    assert answers[0].json == answers[1].json == answers[2].json
    assert answers[0].json["seed"] is None
    (one,) = answers[0].json["studies"]
    assert one == json.loads(json.dumps(asdict(study(load_tile(DEFAULT), "own", *wide))))
    assert (one["inputs"], one["rows"], one["columns"], one["k"]) == ("own", 6, 1, 40)


def test_results_that_are_not_finite_are_counted(accuracy: Callable[..., Answer]) -> None:
    rng = np.random.default_rng(6)
    # Weights of a row of their own scale, so that a NaN stays in its row.
    w, x = rng.standard_normal((6, 40), np.float32), rng.standard_normal((2, 40), np.float32)
    save(w=w[[0, 1, 3, 4, 5]], x=x)
    without = accuracy(MXFP4, "--weights", "w.npy", "--activations", "x.npy", "--json").json
    w[2, 7] = np.nan
    save(w=w)
    answer = accuracy(MXFP4, "--weights", "w.npy", "--activations", "x.npy", "--json")
    assert answer.code == HELD
    for kind in ("arithmetic", "with_quantization"):
        found, expected = (one["studies"][0][kind] for one in (answer.json, without))
        assert (found.pop("results"), found.pop("not_finite")) == (12, 2)
        assert (expected.pop("results"), expected.pop("not_finite")) == (10, 0)
        assert found == expected


@pytest.mark.parametrize("arguments, message", [
    ((DEFAULT, "--inputs", "gaussian"),
     "--inputs gaussian is unknown; allowed: normal, heavy-tailed, outlier-channel, uniform"),
    ((DEFAULT, ALIGNED, DEFAULT),
     "two of the descriptions have the same name (hbm3_fp8, aligned, hbm3_fp8); compare tiles of "
     "different names"),
    ((DEFAULT, "--k", "0"), "--k must be in [1, 65536], not 0"),
    ((DEFAULT, "--k", "65537"), "--k must be in [1, 65536], not 65537"),
    ((DEFAULT, "--rows", "0"), "--rows must be in [1, 16777216], not 0"),
    ((DEFAULT, "--columns", "-2"), "--columns must be in [1, 65536], not -2"),
    ((DEFAULT, "--seed", "-1"), "--seed must be 0 or more, not -1"),
    ((DEFAULT, "--rows", "16777216", "--k", "65536"),
     "--k 65536 x --rows 16777216 x --columns 16 are 1.76e+13 products; allowed: at most 2.75e+11"),
    ((DEFAULT, "--weights", "w.npy"),
     "your own tensors are two: give both --weights and --activations"),
    ((DEFAULT, "--activations", "x.npy"),
     "your own tensors are two: give both --weights and --activations"),
    ((DEFAULT, "--weights", "w.npy", "--activations", "x.npy", "--inputs", "normal"),
     "--inputs and your own tensors (--weights, --activations) exclude each other"),
    ((DEFAULT, "--weights", "w.npy", "--activations", "short.npy"),
     "--activations has the shape [2, 39]; needed: [columns, 40] or [40], with the weights' K"),
    ((DEFAULT, "--weights", "vector.npy", "--activations", "x.npy"),
     "--weights has the shape [40]; needed: [M, K]"),
    ((DEFAULT, "--weights", "integers.npy", "--activations", "x.npy"),
     "--weights has elements of type int64; allowed: float32 (values) or uint16 (BF16 codes); "
     "convert it with array.astype"),
    ((DEFAULT, "--weights", "w.npy", "--activations", "codes.npy"),
     "--activations has elements of type uint8; allowed: float32 (values) or uint16 (BF16 codes); "
     "convert it with array.astype"),
    ((DEFAULT, "--weights", "none.npy", "--activations", "x.npy"),
     "--weights none.npy cannot be read: No such file or directory"),
    (("none.toml",), "none.toml: there is no such file"),
])
def test_wrong_input_ends_with_2(accuracy: Callable[..., Answer], arguments: tuple[str, ...],
                                 message: str, tmp_path: Path) -> None:
    save(w=np.ones((6, 40), np.float32), x=np.ones((2, 40), np.float32),
         short=np.ones((2, 39), np.float32), vector=np.ones(40, np.float32),
         integers=np.ones((6, 40), np.int64), codes=np.ones((2, 40), np.uint8))
    answer = accuracy(*arguments, "--json")
    assert answer.code == WRONG_INPUT
    assert answer.words.strip().removeprefix("pnmtile: ") == message
    assert answer.json["held"] is None
    assert answer.json["problems"][0]["message"] in answer.words
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("arguments, message", [
    ((), "Missing argument 'TILE.toml...'."), ((DEFAULT, "--k", "many"), "Invalid value for '--k'"),
    ((DEFAULT, "--row", "4"), "No such option: --row"),
])
def test_wrong_usage_ends_with_2(accuracy: Callable[..., Answer], arguments: tuple[str, ...],
                                 message: str) -> None:
    answer = accuracy(*arguments)
    assert answer.code == WRONG_INPUT and message in answer.words


def test_a_place_that_cannot_be_written_ends_with_2(accuracy: Callable[..., Answer]) -> None:
    save(w=np.ones((1, 1), np.float32))
    answer = accuracy(DEFAULT, "--rows", "1", "--columns", "1", "--k", "1", "--out", "w.npy")
    assert answer.code == WRONG_INPUT and "cannot write to w.npy" in answer.words


# What is drawn

def test_the_kinds_of_inputs_are_what_the_page_says() -> None:
    k = 300
    kinds = {name: drawn(name, 40, 20, k, seed=9) for name in INPUTS}
    rng = np.random.default_rng(9)
    normal = [rng.standard_normal((rows, k), dtype=np.float32) for rows in (40, 20)]
    rng = np.random.default_rng(9)
    student = [rng.standard_t(2, (rows, k)).astype(np.float32) for rows in (40, 20)]
    rng = np.random.default_rng(9)
    uniform = [rng.uniform(-1, 1, (rows, k)).astype(np.float32) for rows in (40, 20)]
    for name, expected in (("normal", normal), ("heavy-tailed", student), ("uniform", uniform)):
        assert all(map(np.array_equal, kinds[name], expected))
    weights, activations = kinds["outlier-channel"]
    assert np.array_equal(weights, normal[0])
    ratio = activations / normal[1]
    outliers = np.flatnonzero((ratio != 1).any(axis=0))
    # One channel in 128, the same ones in every vector.
    assert outliers.size == 2
    assert np.array_equal(activations[:, outliers], normal[1][:, outliers] * np.float32(50))
    assert (np.delete(ratio, outliers, axis=1) == 1).all()
    assert all(side.dtype == np.float32 for pair in kinds.values() for side in pair)


def test_short_vectors_have_an_outlier_too() -> None:
    _, activations = drawn("outlier-channel", 1, 4, 5, seed=1)
    _, normal = drawn("normal", 1, 4, 5, seed=1)
    assert (activations != normal).any(axis=0).sum() == 1


# What is measured

def quantized(values: NDArray[np.float32], rows: int, tile: Tile,
              weights: bool) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Codes [n][K], the codes of the scales [ceil(n / rows)][groups] and, of NVFP4, the FP32 codes
    of the scales of each row's tensor, by the oracle; codes of weights with zero points as they are
    multiplied, a bit wider."""
    scaling = tile.description.scaling
    fmt: Any = tile.weight_format if weights else tile.activation_format
    n, k = values.shape
    if tile.block_scaled:
        tensors = [values] if weights else [values[row:row + 1] for row in range(n)]
        parts = [nvfp4_quantized([codes_of(line) for line in tensor], rows, scaling)
                 for tensor in tensors]
        return (sum((part[0] for part in parts), []), sum((part[1] for part in parts), []),
                [part[2] for part, tensor in zip(parts, tensors, strict=True) for _ in tensor])
    codes = [[0] * k for _ in range(n)]
    scales = []
    for top in range(0, n, rows):
        line = []
        for left in range(0, k, scaling.group):
            block = values[top:top + rows, left:left + scaling.group]
            if weights and tile.zero_points:
                found, scale, zero = zero_point_quantized(codes_of(block.ravel()), fmt, scaling)
                found = [(code - zero) % (2 << fmt.bits) for code in found]
            else:
                found, scale = group_quantized(codes_of(block.ravel()), fmt, scaling)
            line.append(scale)
            for index, code in enumerate(found):
                codes[top + index // block.shape[1]][left + index % block.shape[1]] = code
        scales.append(line)
    return codes, scales, []


def fraction(code: int, fmt: Any) -> Fraction:
    value = value_of(code, fmt)
    assert isinstance(value, Fraction)
    return value


@pytest.mark.parametrize("path, rows, columns, k", [
    (DEFAULT, 3, 2, 140), (DEFAULT, 130, 1, 9), (MXFP4, 3, 2, 150), (INT8, 3, 2, 140),
    (INT4, 5, 1, 70), (NVFP4, 5, 3, 150), (UINT4, 5, 2, 150)])
def test_equals_exact_rational_arithmetic(path: str, rows: int, columns: int, k: int) -> None:
    tile = load_tile(path)
    weights, activations = drawn("heavy-tailed", rows, columns, k, seed=11)
    found = study(tile, "heavy-tailed", weights, activations)

    weight_rows, group = tile.description.scaling.weight_rows, tile.group
    w, ws, wt = quantized(weights, weight_rows, tile, True)
    x, xs, xt = quantized(activations, 1, tile, False)

    def scale(codes: list[int], tensors: list[int], row: int, element: int) -> Fraction:
        code = codes[element // group]
        if tile.block_scaled:
            return fraction(code, E4M3) * fraction(tensors[row], FP32)
        return (fraction(code, FP32) if tile.scale_format.name == "fp32"
                else Fraction(2) ** (code - 127))

    def element_of(row: int, column: int) -> int:
        line = ws[row // weight_rows]
        if tile.block_scaled:
            return block_scaled_element(w[row], line, x[column], xs[column], wt[row], xt[column],
                                        group)
        return gemv_element(w[row], line, x[column], xs[column], tile.factor_format,
                            tile.activation_format, tile.scale_format.name, group,
                            groups_per_beat=tile.groups_per_beat)

    pairs: dict[str, list[tuple[Fraction, Fraction]]] = {"arithmetic": [], "with_quantization": []}
    for row in range(rows):
        for column in range(columns):
            result = fraction(element_of(row, column), FP32)
            pairs["arithmetic"].append((result, sum((
                fraction(w[row][i], tile.factor_format) * scale(ws[row // weight_rows], wt, row, i)
                * fraction(x[column][i], tile.activation_format) * scale(xs[column], xt, column, i)
                for i in range(k)), Fraction(0))))
            pairs["with_quantization"].append((result, sum((
                Fraction(float(weights[row, i])) * Fraction(float(activations[column, i]))
                for i in range(k)), Fraction(0))))
    for kind, results in pairs.items():
        errors: ErrorStatistics = getattr(found, kind)
        n = len(results)
        power = sum(exact ** 2 for _, exact in results) / n
        noise = sum((result - exact) ** 2 for result, exact in results) / n
        assert errors.results == n == rows * columns
        # float64's own rounding is 2**-53 of what is summed: some errors of 1e-9 of FP32's.
        assert errors.rms == pytest.approx(math.sqrt(noise / power), rel=1e-6)
        assert errors.maximum == pytest.approx(math.sqrt(max(
            (result - exact) ** 2 for result, exact in results) / power), rel=1e-6)
        if noise:
            assert errors.signal_to_noise_db == pytest.approx(
                10 * math.log10(power / noise), rel=1e-6)
        else:
            assert errors.signal_to_noise_db is None
        assert errors.exact == sum(result == exact for result, exact in results)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("path, bound", [(DEFAULT, 2.0 ** -24), (MXFP4, 0.0), (INT8, 2.0 ** -23)])
def test_exact_sums_of_one_group_are_rounded_only(inputs: str, path: str, bound: float) -> None:
    """E8M0: the rounding of the sum. FP32 scales: the combined scale's and the product's."""
    tile = load_tile(path)
    weights, activations = drawn(inputs, 64, 16, tile.group, seed=12)
    errors = study(tile, inputs, weights, activations).arithmetic
    assert errors.rms <= bound
    for row, column in ((0, 0), (5, 3), (63, 15)):
        # Of one result, the rms is its magnitude, so that this is the relative error.
        one = study(tile, inputs, weights[[row]], activations[[column]]).arithmetic
        assert one.maximum == one.rms <= bound


def test_values_of_nvfp4_are_codes_times_both_scales() -> None:
    """Every E4M3 code, its sign ignored, and an FP32 scale of 24 bits: exact in float64."""
    tile = load_tile(NVFP4)
    tensor = np.float32(1.9999999) * np.float32(2.0 ** -100)
    scales = block_scales(np.arange(256, dtype=np.uint8).reshape(8, 32), tensor)
    codes = np.tile(np.arange(16, dtype=np.uint8), (16, 32))
    found = _dequantized(codes, scales, tile, 2, True)
    assert found.shape == (16, 512)
    for row in range(16):
        for group in range(32):
            scale = value_of(int(scales["block"][row // 2, group]) & 0x7F, E4M3)
            values = found[row, group * 16:(group + 1) * 16]
            if isinstance(scale, float):
                assert np.isnan(values).all()
            else:
                assert [Fraction(value) for value in values.tolist()] == [
                    fraction(code, tile.weight_format) * scale * Fraction(float(tensor))
                    for code in range(16)]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scaling", [{"format": "fp32", "rule": "fp32-div"}, {}],
                         ids=["fp32", "e8m0"])
def test_values_with_zero_points_are_differences_times_the_scale(
        bits: int, scaling: dict[str, str]) -> None:
    """Every code less every zero point, in blocks of two rows, and NaN."""
    count = 1 << bits
    tile = Tile(description=Description.model_validate({
        "name": "t", "compute": {"weights": f"uint{bits}", "activations": "int8"},
        "scaling": {"group": 16, "weight_rows": 2, **scaling}}))
    scales = np.empty((count // 2, count), weight_scale_dtype(tile))
    scales["zero"] = np.arange(count)
    scales["scale"] = np.arange(count // 2)[:, None] + 120 - count // 4
    codes = np.repeat(np.arange(count, dtype=np.uint8)[:, None], 16 * count, axis=1)[:, :-3]
    scales["scale"][0, 1] = 255 if tile.scale_format.name == "e8m0" else np.nan
    found = _dequantized(codes, scales, tile, 2, True)
    assert found.shape == (count, 16 * count - 3)
    for row in range(count):
        for group in range(count):
            scale = scales["scale"][row // 2, group]
            expected = (row - group) * (2.0 ** (int(scale) - 127)
                                        if tile.scale_format.name == "e8m0" else float(scale))
            values = found[row, group * 16:(group + 1) * 16]
            if (row // 2, group) == (0, 1):
                assert np.isnan(values).all()
            else:
                assert (values == expected).all()


def test_zero_points_make_weights_of_one_sign_more_accurate() -> None:
    """In steps of the range, not of twice the largest magnitude: some 6 dB."""
    rng = np.random.default_rng(15)
    weights = rng.uniform(0, 1, (64, 512)).astype(np.float32)
    activations = rng.standard_normal((8, 512), np.float32)
    described = load_tile(UINT4).description
    tiles = [Tile(description=described.model_copy(update={
        "compute": described.compute.model_copy(update={"weights": name})}))
        for name in ("uint4", "int4")]
    errors = [study(tile, "own", weights, activations).with_quantization for tile in tiles]
    signal = [one.signal_to_noise_db for one in errors]
    assert signal[0] is not None and signal[1] is not None and 4 < signal[0] - signal[1] < 8


def test_what_an_aligned_sum_cuts_is_an_error_of_the_arithmetic() -> None:
    # All of these are codes: the largest values make both scales 1.
    weights = np.array([[448, -448, 2.0 ** -9]], np.float32)
    activations = np.array([[57344, 57344, 2.0 ** -16]], np.float32)
    found = study(load_tile(ALIGNED), "own", weights, activations)
    for errors in (found.arithmetic, found.with_quantization):
        assert (errors.maximum, errors.rms, errors.exact) == (1.0, 1.0, 0)
        assert errors.signal_to_noise_db == 0
    activations = np.array([[448, 448, 2.0 ** -9]], np.float32)
    errors = study(load_tile(DEFAULT), "own", weights, activations).with_quantization
    assert (errors.maximum, errors.rms, errors.exact, errors.signal_to_noise_db) == (0, 0, 1, None)


def test_bf16_tensors_on_a_bf16_tile_are_not_changed_by_quantization() -> None:
    rng = np.random.default_rng(14)
    weights, activations = (
        (rng.standard_normal((rows, 100), np.float32).view(np.uint32) >> 16).astype(np.uint16)
        for rows in (5, 3))
    found = study(load_tile(BF16), "own", weights, activations)
    assert found.arithmetic == found.with_quantization
    # 28 bits: what is cut is below what FP32 rounds.
    assert 0 < found.arithmetic.maximum < 2.0 ** -20


def test_more_rows_than_are_worked_on_at_once() -> None:
    tile = load_tile(DEFAULT)
    weights, activations = drawn("normal", 2100, 2, 130, seed=13)
    found = study(tile, "normal", weights, activations)
    assert found.rows == 2100 and found.arithmetic.results == 4200
    # Blocks of 1024 rows are whole blocks of weight scales.
    parts = [study(tile, "normal", weights[start:start + 1024], activations)
             for start in range(0, 2100, 1024)]
    assert found.arithmetic.exact == sum(part.arithmetic.exact for part in parts)
    assert found.arithmetic.rms < 2.0 ** -23


def test_statistics_of_a_hand_made_array() -> None:
    # The rms of the exact results is 5; errors over it: 1/8, 0, 2**-41 and 512.
    exact = np.array([[6.0, 8.0, np.nan], [0.0, 0.0, 1.0]])
    results = np.array([[6.625, 8.0, 1.0], [5 * 2.0 ** -41, -2560.0, np.inf]], np.float32)
    found = _statistics(results, exact)
    assert (found.results, found.not_finite, found.exact) == (6, 2, 1)
    assert found.maximum == 512
    rms = math.sqrt((512 ** 2 + 1 / 64) / 4)
    assert found.rms == pytest.approx(rms, rel=1e-12)
    assert found.signal_to_noise_db == pytest.approx(-20 * math.log10(rms), rel=1e-12)
    # Linear between the sorted errors, the first at 0 % and the last at 100 %.
    assert found.percentiles == pytest.approx({
        "50": (2.0 ** -41 + 0.125) / 2, "90": 0.125 + 0.7 * (512 - 0.125),
        "99": 0.125 + 0.97 * (512 - 0.125), "99.9": 0.125 + 0.997 * (512 - 0.125)})
    # What lies outside of the borders is counted at the ends.
    assert {BUCKETS[place]: count for place, count in enumerate(found.counts) if count} == {
        -40: 1, -3: 1, 8: 1}


@pytest.mark.parametrize("error, place", [
    (2.0 ** -40, -40), (2.0 ** -39, -39), (0.24999999, -3), (0.25, -2), (255.0, 7), (256.0, 8)])
def test_a_bucket_begins_at_its_border(error: float, place: int) -> None:
    found = _statistics(np.array([1 + error, 1]).astype(np.float64), np.array([1.0, 1.0]))
    if error < 2.0 ** -30:
        found = _statistics(np.array([error, 2 ** 0.5]), np.array([0.0, 2 ** 0.5]))
    assert [BUCKETS[index] for index, count in enumerate(found.counts) if count] == [place]


def test_results_that_are_all_zero_have_absolute_errors() -> None:
    found = _statistics(np.array([0.25, 0.0], np.float32), np.zeros(2))
    assert (found.maximum, found.exact) == (0.25, 1)
    nothing = _statistics(np.array([np.nan], np.float32), np.zeros(1))
    assert (nothing.results, nothing.not_finite, nothing.maximum, nothing.rms) == (1, 1, 0, 0)
    assert nothing.signal_to_noise_db is None and sum(nothing.counts) == 0


def test_the_table_of_the_page_is_what_the_command_gives(accuracy: Callable[..., Answer],
                                                         monkeypatch: pytest.MonkeyPatch,
                                                         tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    (command,) = set(re.findall(r"^ {4}pnmtile accuracy (.* --rows 256)$", page, re.MULTILINE))
    monkeypatch.chdir(PROJECT)
    answer = accuracy(*command.split(), "--out", str(tmp_path / "out"), "--json")
    assert answer.code == HELD
    rows = table("accuracy.md", "inputs")
    assert len(rows) == len(answer.json["studies"])
    for row, one in zip(rows, answer.json["studies"], strict=True):
        cells = [one["inputs"], one["tile"]]
        for kind in ("arithmetic", "with_quantization"):
            noise = one[kind]["signal_to_noise_db"]
            cells += [f"{one[kind]['maximum']:.2e}", f"{one[kind]['rms']:.2e}",
                      "no error" if noise is None else f"{noise:.1f}"]
        assert row == cells
