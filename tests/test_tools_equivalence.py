"""Formal equivalence on one unit with a memory and a unit inside, whole and broken."""

import re
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from hdl.verilog import unit_rtlil
from spec.load import load_tile
from tests.conftest import DESCRIPTIONS
from tools.aig import Aig, Function, read_constants
from tools.benches import component
from tools.boolean import evaluate
from tools.cell_models import cell_groups
from tools.equivalence import UnitProof, prove_netlist
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty
from tools.rtlil import merge_equal_modules
from tools.synthesis import synthesise

UNIT = "result_packer"


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The unit's RTLIL and its netlist in the embedded library."""
    folder = tmp_path_factory.mktemp("equivalence")
    params = load_tile(DESCRIPTIONS[2]).units[UNIT]
    text = merge_equal_modules(unit_rtlil(component(UNIT, params), UNIT), UNIT)
    (folder / "unit.il").write_text(text)
    synthesise(folder / "unit.il", UNIT, None, 100.0, folder)
    return text, (folder / "netlist.v").read_text()


def _proofs(rtl: str, netlist: str, folder: Path) -> Mapping[str, UnitProof]:
    cells = cell_groups(parse_liberty([("library", generic_liberty())]))
    return {proof.module: proof for proof in prove_netlist(rtl, netlist, UNIT, cells, folder)}


@pytest.mark.slow
def test_a_netlist_is_its_rtl(design: tuple[str, str], tmp_path: Path) -> None:
    proofs = _proofs(*design, tmp_path)
    assert set(proofs) == {UNIT, f"{UNIT}.queue", f"{UNIT}.head"}
    assert {proof.result for proof in proofs.values()} == {"equal"}
    # Every register, and more: ports, the queue's and its memory's inputs.
    registers = len(re.findall(r"^  DFF_X1 ", design[1], re.MULTILINE))
    assert registers > 100 and sum(proof.points for proof in proofs.values()) > registers
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("module", [UNIT, f"{UNIT}.queue"])
def test_a_swapped_gate_is_found(design: tuple[str, str], module: str, tmp_path: Path) -> None:
    rtl, netlist = design
    begin = re.search(rf"^module \\?{re.escape(module)} ?\(", netlist, re.MULTILINE)
    assert begin is not None
    place = netlist.index("  NAND2_X1 ", begin.start())
    assert place < netlist.index("endmodule", begin.start())
    broken = netlist[:place] + "  NOR2_X1 " + netlist[place + len("  NAND2_X1 "):]
    proofs = _proofs(rtl, broken, tmp_path)
    assert proofs[module].result == "different"
    assert re.search(r" is [01] in the RTL and [01] in the netlist where \S+=[01]",
                     proofs[module].detail or "")
    others = {name for name, proof in proofs.items() if proof.result == "different"}
    assert others == {module}


@pytest.mark.slow
def test_a_lost_register_is_not_called_equal(design: tuple[str, str], tmp_path: Path) -> None:
    """A flip-flop whose output has no name of the RTL any more: nothing is known of it."""
    rtl, netlist = design
    match = re.search(r"^  DFF_X1 \S+ +\(\n    \.CK\(clk\),\n    \.D\(\S+\),\n    \.Q\((.*)\)\n"
                      r"  \);\n", netlist, re.MULTILINE)
    assert match is not None
    lost = match[0].replace(match[1], "lost_") + f"  assign {match[1]} = lost_ & clk;\n"
    proofs = _proofs(rtl, netlist.replace(match[0], "  wire lost_;\n" + lost, 1), tmp_path)
    assert "not proved" in {proof.result for proof in proofs.values()}
    assert any("has no counterpart" in (proof.detail or "") for proof in proofs.values())


def test_graphs_compute_what_expressions_say() -> None:
    graph = Aig()
    names = "abcd"
    literals = {name: graph.variable() for name in names}
    values = {name: Function(graph, literal) for name, literal in literals.items()}
    found = evaluate("(a ^ b) & !(c | d') | a b c", values, Function(graph, 1)).literal
    words = graph.simulate(4096, Random(1))
    for place in range(4096):
        a, b, c, d = (words[literals[name] >> 1] >> place & 1 for name in names)
        expected = (a ^ b) & (1 - (c | (1 - d))) | a & b & c
        assert words[found >> 1] >> place & 1 ^ found & 1 == expected
    assert graph.support([found]) == {literal >> 1 for literal in literals.values()}
    assert graph.both(literals["a"], literals["a"] ^ 1) == 0
    assert graph.differ(found, found) == 0 and graph.differ(found, found ^ 1) == 1


def test_graphs_are_written_as_aiger(tmp_path: Path) -> None:
    graph = Aig()
    a, b = graph.variable(), graph.variable()
    assert graph.write(tmp_path / "x.aig", [graph.both(a, b ^ 1), 1, 0, a ^ 1]) == [1, 2]
    assert (tmp_path / "x.aig").read_bytes() == b"aig 3 2 0 4 1\n6\n1\n0\n3\n\x01\x03"
    assert read_constants(tmp_path / "x.aig") == [None, True, False, None]
