"""Commands on tiles of two pairs of formats: which is meant, and what both cost."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec.load import load_tile
from tests.conftest import PROJECT
from tests.run_verb import Runner, save
from tools.cli import HELD, WRONG_INPUT, run_command
from tools.explain import explanation

SEVERAL, INTEGERS, MXFP4 = (
    str(PROJECT / "tests" / "descriptions" / f"{name}.toml")
    for name in ("several", "int8_int4", "mxfp4"))
GEMV = ("gemv", "--weights", "w.npy", "--activations", "x.npy", "--out", "y.npy")

pytestmark = pytest.mark.usefixtures("working_folder")


def _random(rows: int, columns: int, k: int) -> None:
    rng = np.random.default_rng(3)
    save(w=rng.standard_normal((rows, k), np.float32),
         x=rng.standard_normal((columns, k), np.float32))


@pytest.mark.cosim
@pytest.mark.parametrize(("weight_format", "activation_format"), [
    (None, "e4m3"), ("e5m2", "e4m3"), ("e2m1", "e2m1")])
def test_gemv_of_each_format_on_the_rtl(run: Runner, weight_format: str | None,
                                        activation_format: str) -> None:
    _random(9, 3, 333)
    named = () if weight_format is None else ("--weight-format", weight_format)
    code, answer = run(SEVERAL, *GEMV, *named, "--engine", "rtl")
    assert code == HELD and answer["equals_golden"] is True, run.err
    assert answer["weight_format"] == weight_format or weight_format is None
    assert answer["activation_format"] == activation_format
    # Two passes over the weights, and two atoms of results at least.
    index = int(weight_format == "e2m1")
    tile = load_tile(SEVERAL).formats[index]
    assert answer["atoms_read"] == 2 * tile.weight_stream_atoms(9, 333) + 3 * (
        tile.activation_atoms(333) + tile.activation_scale_atoms(333))


def test_gemv_is_that_of_the_tile_with_the_pair_alone(run: Runner) -> None:
    _random(17, 2, 500)
    results = []
    for tile, named in ((SEVERAL, ("--weight-format", "e2m1")), (MXFP4, ())):
        code, _ = run(tile, *GEMV, *named)
        assert code == HELD, run.err
        results.append(np.load("y.npy"))
    assert np.array_equal(results[0].view(np.uint32), results[1].view(np.uint32))


def test_a_format_that_was_not_built_is_refused(run: Runner) -> None:
    _random(4, 1, 64)
    assert run(SEVERAL, *GEMV, "--weight-format", "int4")[0] == WRONG_INPUT
    assert "--weight-format int4 is not built into several; allowed: e5m2, e2m1" in run.words
    code, _ = run(SEVERAL, "reduce", "--input", "x.npy", "--kind", "sum", "--out", "y.npy",
                  "--weight-format", "e2m1")
    assert code == WRONG_INPUT
    assert "--weight-format does not belong to reduce" in run.words
    # Of a tile with one format, that may be named, too.
    assert run(MXFP4, *GEMV, "--weight-format", "e2m1")[0] == HELD


def test_codes_are_those_of_the_format_that_is_named(run: Runner) -> None:
    save(w=np.full((4, 64), 16, np.uint8), x=np.ones((1, 64), np.uint8),
         sw=np.full((4, 2), 127, np.uint8), sx=np.full((1, 2), 127, np.uint8))
    codes = ("--weight-scales", "sw.npy", "--activation-scales", "sx.npy")
    code, _ = run(SEVERAL, *GEMV, *codes, "--weight-format", "e2m1")
    assert code == WRONG_INPUT
    assert "--weights has the code 16; codes of e2m1 are below 16" in run.words
    save(sw=np.full((1, 1), 127, np.uint8), sx=np.full((1, 1), 127, np.uint8))
    assert run(SEVERAL, *GEMV, *codes)[0] == HELD


def test_explain_shows_both_pairs_and_the_layout_of_one() -> None:
    tile = load_tile(SEVERAL)
    both = [explanation(tile, 8, 256, index) for index in (0, 1)]
    assert both[0]["pairs"] == both[1]["pairs"]
    assert [(pair["weights"], pair["activations"], pair["lanes"], pair["group"],
             pair["rates"][0]["value"]) for pair in both[0]["pairs"]] == [
        ("e5m2", "e4m3", 32, 128, 51.2), ("e2m1", "e2m1", 64, 32, 102.4)]
    assert [one["format_index"] for one in both] == [0, 1]
    assert [one["geometry"]["lanes"] for one in both] == [32, 64]
    assert [one["example"]["atoms"]["weight_stream"] for one in both] == [
        8 * 8 + 1, 2 * (4 * 4 + 1)]
    # What both share.
    for name in ("latencies", "buffers", "digest"):
        assert both[0][name] == both[1][name]


def test_explain_takes_the_format_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", SEVERAL, "--weight-format", "e2m1"]) == HELD
    said = capsys.readouterr().err
    assert "what follows is of e2m1 weights" in said and "256 bits of an atom / 4 bits" in said
    assert run_command(["explain", SEVERAL, "--weight-format", "e4m3"]) == WRONG_INPUT
    assert "allowed: e5m2, e2m1" in capsys.readouterr().err


def test_generate_names_the_formats_of_commands(tmp_path: Path) -> None:
    for tile, defined in ((SEVERAL, [("E5M2", "0"), ("E2M1", "1")]), (MXFP4, [])):
        assert run_command(["generate", tile, "--output", str(tmp_path)]) == HELD
        name = Path(tile).stem
        header = (tmp_path / f"{name}_registers.h").read_text(encoding="utf-8")
        assert re.findall(rf"^#define {name.upper()}_FORMAT_INDEX_(E\w+) (\d)u$", header,
                          re.MULTILINE) == defined
        tables = (tmp_path / f"{name}_registers.md").read_text(encoding="utf-8")
        assert ("| e2m1 | 1 |" in tables) == bool(defined)


def test_accuracy_has_a_line_for_each_format(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command(["accuracy", SEVERAL, "--inputs", "normal", "--rows", "32", "--k", "256",
                        "--columns", "2", "--out", "accuracy", "--json"])
    assert code == HELD
    studies = json.loads(capsys.readouterr().out)["studies"]
    assert [one["tile"] for one in studies] == ["several e5m2", "several e2m1"]
    noise = [one["with_quantization"]["signal_to_noise_db"] for one in studies]
    assert noise[0] > noise[1] > 10


@pytest.mark.slow
def test_synth_puts_one_array_beside_an_array_for_each(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.toml"
    text = Path(INTEGERS).read_text(encoding="utf-8")
    small.write_text(text.replace("atom_bytes = 32", "atom_bytes = 8"), encoding="utf-8")
    monkeypatch.setenv("PNMTILE_BUILD", str(tmp_path / "build"))
    assert run_command(["synth", str(small), "--json"]) == HELD
    captured = capsys.readouterr()
    answer: dict[str, Any] = json.loads(captured.out)
    found = answer["dot_arrays"]
    alone = [one["area"] for one in found["alone"]]
    assert [one["formats"] for one in found["alone"]] == ["int8 x int8", "int4 x int4"]
    assert found["unit"] == "GE" and found["origin"] == "synthesised"
    assert max(alone) < found["both"] < sum(alone)
    assert found["both_over_larger"] == pytest.approx(found["both"] / max(alone))
    assert found["both_over_sum"] == pytest.approx(found["both"] / sum(alone))
    # The array of the tile is the one that was synthesised alone.
    areas = {unit["path"]: unit["total_ge"] for unit in answer["units"]}
    assert areas["int8_int4.column_0.subword_dot_array"] == pytest.approx(found["both"], rel=0.02)
    assert "both formats in one dot array:" in captured.err
    (written,) = tmp_path.glob("build/*/synth/dot_arrays.json")
    assert json.loads(written.read_text(encoding="utf-8")) == found
