"""``pnmtile verify --gates`` and power, on the netlist of a small tile."""

import json
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from spec.load import load_tile
from tests.conftest import DESCRIPTIONS
from tools.cell_models import cell_groups
from tools.cli import HELD, NOT_HELD, WRONG_INPUT, run_command
from tools.console import UserError
from tools.equivalence import UnitProof
from tools.gate_level import check_ports, run_gates, simulation_netlist
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty
from tools.verify_gates import GateResult

SMALLEST = DESCRIPTIONS[2]


@pytest.fixture(scope="module")
def verified() -> dict[str, Any]:
    """The answer to --json; the text for people under "said"."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = run_command(["verify", str(SMALLEST), "--gates", "--seed", "3", "--json"])
    assert code == HELD, err.getvalue()
    answer: dict[str, Any] = json.loads(out.getvalue())
    return {**answer, "said": err.getvalue()}


@pytest.mark.cosim
@pytest.mark.slow
def test_every_unit_is_equal_and_the_bench_passes(verified: dict[str, Any]) -> None:
    proofs = {proof["module"]: proof for proof in verified["equivalence"]}
    assert {"smallest", "smallest.sequencer", "smallest.column_0.dot_array",
            "smallest.column_0.row_accumulator.adder",
            "smallest.result_packer.queue"} <= set(proofs)
    assert {proof["result"] for proof in proofs.values()} == {"equal"}
    assert all(proof["points"] > 10 for proof in proofs.values())
    (bench,) = verified["units"]
    assert bench["unit"] == "tile (gates)" and len(bench["tests"]) == 8
    assert "netlist of pnmtile_generic against RTL" in verified["said"]
    netlist = Path(verified["netlist"])
    assert netlist.is_file() and (netlist.parent / "cells.v").read_text().count("module ") > 10


@pytest.mark.cosim
@pytest.mark.slow
def test_the_bench_finds_a_swapped_gate(verified: dict[str, Any]) -> None:
    netlist = Path(verified["netlist"]).read_text()
    place = netlist.index("  NAND2_X1 ", netlist.index("module \\smallest.column_0.dot_array"))
    broken = netlist[:place] + "  NOR2_X1 " + netlist[place + len("  NAND2_X1 "):]
    cells = cell_groups(parse_liberty([("library", generic_liberty())]))
    run = run_gates(load_tile(SMALLEST), broken, cells, 3)
    assert not run.passed and any(run.tests.values())


def test_memories_power_up_with_anything_and_tables_do_not() -> None:
    text = ("module top(clk, q);\n  initial begin\n    m[0] = 8'h00;\n    m[1] = 8'h00;\n  end\n"
            "  always @(posedge clk) begin\n    if (e)\n      m[a] <= d;\n  end\nendmodule\n"
            "module other(clk, q);\n  initial begin\n    m[0] = 8'h12;\n  end\n"
            "  assign q = m[a];\nendmodule\n")
    found = simulation_netlist(text, {})
    assert found.count("initial") == 1 and "8'h12" in found and "m[a] <= d" in found


RTL = ("module \\other\n  wire input 0 \\x\nend\nmodule \\top\n  wire input 0 \\clk\n"
       "  wire width 8 output 1 \\q\n  wire width 3 \\inside\nend\n")
NETLIST = ("module other(x);\n  input x;\nendmodule\nmodule top(clk, q);\n  input clk;\n"
           "  wire clk;\n  output [7:0] q;\n  wire [2:0] inside;\nendmodule\n")


@pytest.mark.parametrize(("old", "new", "port"), [
    ("  output [7:0] q;\n", "", "q"), ("  input clk;\n", "  output clk;\n", "clk"),
    ("[7:0] q", "[6:0] q", "q"), ("  input clk;\n", "  input clk;\n  input more;\n", "more"),
    ("  input clk;\n", "  input [1:0] clk;\n", "clk")])
def test_ports_that_are_not_the_rtls_are_named(old: str, new: str, port: str) -> None:
    check_ports(RTL, NETLIST, "top")
    assert old in NETLIST
    with pytest.raises(UserError, match=f"the netlist's ports are not the RTL's: {port} "):
        check_ports(RTL, NETLIST.replace(old, new, 1), "top")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--gates", "--unit", "column"], "--gates is about the whole tile; leave --unit out"),
    (["--liberty", "x.lib"], "--pdk, --liberty, --dont-use and --effort are about the netlist"),
    (["--gates", "--liberty", "none.lib"], r"none\.lib"),
])
def test_wrong_input(arguments: list[str], message: str,
                     capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["verify", str(SMALLEST), *arguments]) == WRONG_INPUT
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("result", "code"), [
    ("equal", HELD), ("not proved", HELD), ("different", NOT_HELD)])
def test_a_unit_that_differs_does_not_hold(result: str, code: int, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    from tools.benches import UnitRun

    proof = UnitProof("smallest.queue", result, 7, "o is 1 in the RTL")
    run = UnitRun("tile (gates)", {"a": None}, 1, 0.5, tmp_path / "log")
    monkeypatch.setattr("tools.verify_gates.verify_gates", lambda *_: GateResult(
        "lib", tmp_path / "netlist.v", (proof,), run))
    assert run_command(["verify", str(SMALLEST), "--gates", "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["held"] is (code == HELD)
    assert f"smallest.queue: {result}: o is 1 in the RTL" in captured.err


@pytest.mark.cosim
@pytest.mark.slow
def test_power_of_a_tile_at_work(verified: dict[str, Any], tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.liberty import read_liberty
    from tools.power_report import measure_power

    # The embedded library with a leakage for every cell, and an energy for every clock edge.
    text = generic_liberty().replace("    area : ", "    cell_leakage_power : 2;\n    area : ")
    text = text.replace("      clock : true;\n", "      clock : true;\n      internal_power () {\n"
                        '        power (scalar) { values ("1.5"); }\n      }\n')
    (tmp_path / "power.lib").write_text(text)
    monkeypatch.setattr("tools.power_workload._ATOMS", 64)
    tile = load_tile(SMALLEST)
    (found,) = measure_power(tile, Path(verified["netlist"]).read_text(),
                             read_liberty([tmp_path / "power.lib"]), [tmp_path / "power.lib"],
                             ["gemv"], tmp_path)
    assert found.held and found.unit == "MAC" and 0 < found.work <= 64 * tile.lanes
    top = found.units[0]
    netlist = Path(verified["netlist"]).read_text()
    gates = len(re.findall(r"^  [A-Z]\w+_X\d \S+ +\(", netlist, re.MULTILINE))
    flops = len(re.findall(r"^  DFF_X1 ", netlist, re.MULTILINE))
    assert sum(unit.gates for unit in found.units) == gates
    assert top.total.leakage == pytest.approx(gates * 2e-9)
    # Per cycle, each flop's clock pin takes two edges of 1.5 fJ, and 1 fF changes twice.
    assert top.total.clock == pytest.approx(flops * 2 * (1.5e-15 + 0.5e-15) * tile.clock_mhz * 1e6)
    assert top.total.switching > top.total.clock / 4 and top.own.total < top.total.total
    assert 0 < found.share("dot_array") < 1
    assert found.joule_per_work == pytest.approx(
        top.total.total * found.cycles / (tile.clock_mhz * 1e6) / found.work)
    data = found.to_dict()
    assert data["energy"]["unit"] == "pJ per MAC" and data["equals_golden"] is True


@pytest.mark.cosim
def test_a_large_model_is_compiled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from tb.simulator import build_directory, build_simulation

    monkeypatch.setattr("tb.simulator.UNITY_BYTES", 0)
    for folder in build_directory().glob("simulators/in_parts-*"):
        shutil.rmtree(folder)
    executable = build_simulation(
        "module in_parts(input clk, output q); assign q = ~clk; endmodule", "in_parts")
    assert executable.stat().st_mode & 0o100
    model = executable.parent / "model"
    assert len(list(model.glob("*.o"))) > 3 and not (model / "unity.cpp").exists()
