"""``pnmtile synth`` on a small tile with the embedded library."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from spec.load import load_tile
from tests.conftest import DESCRIPTIONS
from tools.cli import HELD, NOT_HELD, WRONG_INPUT, run_command
from tools.generic_library import generic_liberty

SMALLEST = DESCRIPTIONS[2]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer to --json, the text for people under "said"."""
    import contextlib
    import io

    with pytest.MonkeyPatch.context() as patch, \
            contextlib.redirect_stdout(io.StringIO()) as out, \
            contextlib.redirect_stderr(io.StringIO()) as err:
        patch.setenv("PNMTILE_BUILD", str(tmp_path_factory.mktemp("build")))
        code = run_command(["synth", str(SMALLEST), "--json"])
    assert code == HELD, err.getvalue()
    answer: dict[str, Any] = json.loads(out.getvalue())
    return {**answer, "said": err.getvalue()}


@pytest.mark.slow
def test_every_unit_of_the_tile_has_its_area(result: dict[str, Any]) -> None:
    areas = {unit["path"]: unit["total_ge"] for unit in result["units"]}
    assert {f"smallest.{unit}" for unit in (
        "activation_buffer", "activation_decoder_0", "activation_scales_0", "axi4_reader",
        "axi4_reader.skid", "axi4_writer", "column_0", "column_0.dot_array",
        "column_0.row_accumulator.adder", "command_checker", "register_file", "result_packer",
        "sequencer", "weight_decoder", "weight_scales")} <= set(areas)
    assert all(area > 0 for area in areas.values())
    assert areas["smallest"] == max(areas.values()) == result["area"]["logic"]["value"]
    assert result["area"]["logic"]["unit"] == "GE"
    assert result["delay"]["unit"] == "FO4" and result["delay"]["value"] > 10


@pytest.mark.slow
def test_buffers_are_memories_with_their_bits(result: dict[str, Any]) -> None:
    tile = load_tile(SMALLEST)
    bits = {memory["path"]: memory["bits"] for memory in result["memories"]}
    packer, checked = tile.result_packer, {
        "activation_buffer": tile.activation_buffer.depth * tile.atom_bits,
        "activation_scales_0": tile.activation_scale_buffer.depth * tile.atom_bits,
        "weight_scales": tile.weight_scale_buffer.depth * tile.atom_bits,
    }
    for unit, expected in checked.items():
        assert bits[f"smallest.{unit}"] == expected
    # One word of a queue stands in the output register of its memory.
    assert bits["smallest.result_packer.queue"] == (packer.depth - 1) * 32 * packer.columns
    assert all(value > 0 for value in bits.values())
    assert result["area"]["memory_bits"]["value"] == sum(bits.values())
    assert all(memory["ge"] > 0 and memory["kind"] for memory in result["memories"])
    # And they are no flops: the buffers' units have fewer than their bits.
    for unit in result["units"]:
        if unit["path"].removeprefix("smallest.") in checked:
            assert unit["total_flops"] < checked[unit["path"].removeprefix("smallest.")] / 4


@pytest.mark.slow
def test_people_read_a_table(result: dict[str, Any]) -> None:
    assert re.search(r"smallest: [\d,]+ GE of logic, [\d,]+ bits of memory", result["said"])
    assert re.search(r"│\s+dot_array\s+│", result["said"])
    report = Path(re.findall(r"^report: (.*)$", result["said"], re.MULTILINE)[0])
    assert json.loads(report.read_text())["area"] == result["area"]


@pytest.mark.slow
def test_a_clock_that_is_missed_ends_with_exit_code_1(
        result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    # The embedded library as if it had a technology: 1 FO4 is 1 ns.
    (tmp_path / "slow.lib").write_text(generic_liberty())
    monkeypatch.setenv("PNMTILE_BUILD", str(tmp_path))
    assert run_command(["synth", str(SMALLEST), "--liberty", str(tmp_path / "slow.lib"),
                        "--json"]) == NOT_HELD
    said = capsys.readouterr()
    answer = json.loads(said.out)
    timing = answer["timing"]
    assert answer["held"] is timing["met"] is answer["clock"]["met"] is False
    worst = timing["critical_path"]
    assert worst["slack"] == min(group["slack"] for group in timing["groups"]) < 0
    assert timing["verdict"] in said.err
    assert f"is missed by {-worst['slack']:.1f} ps at " in timing["verdict"]
    assert worst["start"] in timing["verdict"] and worst["end"] in timing["verdict"]
    # Where the embedded library has FO4, this one has as many nanoseconds.
    assert 1000 * result["timing"]["critical_path"]["length"] == pytest.approx(
        worst["length"], rel=0.2)
    assert {unit["unit"] for unit in timing["units"]} <= {unit["path"] for unit in answer["units"]}


@pytest.mark.slow
def test_the_embedded_library_is_timed_without_a_verdict(result: dict[str, Any]) -> None:
    timing = result["timing"]
    assert result["held"] is True and result["clock"]["met"] is None
    assert timing["engine"] == "pnmtile's own analysis" and timing["unit"] == "FO4"
    assert {group["group"] for group in timing["groups"]} <= {
        "in2out", "in2reg", "reg2out", "reg2reg"}
    # No path of the whole is shorter than the longest inside one of its units.
    assert timing["critical_path"]["length"] >= result["delay"]["value"] * 0.9
    assert sum(segment["delay"] for segment in timing["critical_path"]["segments"]) <= (
        timing["critical_path"]["length"] + 0.1)


@pytest.mark.parametrize(("liberty", "message"), [
    ("none.lib", r"none\.lib"), ("bad.lib", r"bad\.lib")])
def test_wrong_libraries_are_refused(liberty: str, message: str, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PNMTILE_BUILD", str(tmp_path / "build"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.lib").write_text("no library (x) {")
    assert run_command(["synth", str(SMALLEST), "--liberty", liberty]) == WRONG_INPUT
    assert re.search(message, capsys.readouterr().err)
