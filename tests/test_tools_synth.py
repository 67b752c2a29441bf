"""``pnmtile synth`` on a small tile with the embedded library."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from spec.load import load_tile
from tests.conftest import DESCRIPTIONS
from tools.cli import HELD, WRONG_INPUT, run_command

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
