"""Formal equivalence of a netlist with the RTL it was made from, unit by unit.

Both sides of a unit become Boolean functions between the same cut points: ports, registers,
memories and the units inside. A register of the RTL is the flip-flop whose net has its name. Then
every output, every input of a memory or unit, and every register's next state must be equal: by
structure, by random simulation (which finds most differences), or by abc's SAT sweeping.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tools.aig import Aig, read_constants
from tools.cell_models import cell_models, cells_of
from tools.console import UserError
from tools.cut import GateCut, RtlCut
from tools.liberty_text import Group
from tools.recipe import WORD_RECIPE
from tools.yosys import run_yosys

__all__ = ["UnitProof", "prove_netlist"]

_PATTERNS = 4096
# Memories keep the form they have in the netlist's Verilog: registers of read ports outside.
_READ_GATES = ("proc", "opt_expr", "memory_collect", "simplemap", "dffunmap", "aigmap", "opt_clean")
_MAP_RTL = ("memory_nordff", "memory_map t:$mem_v2 r:SIZE=1 %i", "techmap", "dffunmap",
            "simplemap", "aigmap", "opt_clean")
_READ_RTL = ("proc", "chformal -remove", "opt_expr", "opt_clean", "memory -nomap -norom", *_MAP_RTL)
# The same with the arithmetic as the recipe arranges it: trees of adders do not prove otherwise.
_ARRANGEMENTS = {
    "with the arithmetic arranged as yosys's alumacc has it": (*WORD_RECIPE, *_MAP_RTL),
    "with the arithmetic arranged as yosys's alumacc and maccmap have it":
        (*WORD_RECIPE, "maccmap", *_MAP_RTL),
}


@dataclass(frozen=True)
class UnitProof:
    """What was found of one unit.

    ``result`` is "equal", "different" or "not proved"; ``points`` were compared. ``detail`` has the
    counterexample or the reason.
    """

    module: str
    result: str
    points: int
    detail: str | None = None


def prove_netlist(design: str, netlist: str, top: str, cells: Mapping[str, Group], out: Path,
                  progress: Callable[[str], None] | None = None) -> list[UnitProof]:
    """Compare every module of a netlist with the module of the same name in the RTLIL ``design``.

    ``netlist`` is Verilog as yosys writes it, of library cells; modules inside a module are cut
    points, so that all proofs together are one of the whole. What is not part of it: power-up (the
    registers are only compared from one state on; the bench begins at random), and the memories
    themselves.
    """
    tell = progress or (lambda text: None)
    folder = Path(tempfile.mkdtemp(prefix=".equivalence-", dir=out))
    try:
        (folder / "design.il").write_text(design, encoding="utf-8")
        (folder / "netlist.v").write_text(netlist, encoding="utf-8")
        (folder / "models.v").write_text(cell_models(cells, cells_of(netlist, cells)),
                                        encoding="utf-8")
        tell("yosys reads RTL and netlist")
        run_yosys("\n".join([
            "read_verilog -lib models.v", "read_verilog -sv netlist.v", f"hierarchy -top {top}",
            *_READ_GATES, "write_json gates.json", "design -reset",
            "read_rtlil design.il", f"hierarchy -top {top}", *_READ_RTL, "write_json rtl.json", "",
        ]), folder, progress)
        proofs = _prove(_modules(folder, "rtl"), gates := _modules(folder, "gates"), cells, folder,
                        tell)
        for how, script in _ARRANGEMENTS.items():
            hard = [name for name, proof in proofs.items() if proof.result == "not proved"]
            if not hard:
                break
            tell("yosys arranges the arithmetic")
            run_yosys("\n".join(["read_rtlil design.il", f"hierarchy -top {top}", *script,
                                 "write_json arranged.json", ""]), folder, progress)
            arranged = _modules(folder, "arranged")
            again = _prove({name: arranged[name] for name in hard if name in arranged}, gates,
                           cells, folder, tell)
            proofs |= {name: UnitProof(name, proof.result, proof.points, how)
                       for name, proof in again.items() if proof.result == "equal"}
        return list(proofs.values())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _modules(folder: Path, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(
        (folder / f"{name}.json").read_text(encoding="utf-8"))["modules"]
    return found


def _prove(rtl: Mapping[str, Any], gates: Mapping[str, Any], cells: Mapping[str, Group],
           folder: Path, tell: Callable[[str], None]) -> dict[str, UnitProof]:
    proofs = {}
    for name in sorted(rtl):
        tell(f"comparing {name}")
        if name not in gates:
            proofs[name] = UnitProof(name, "not proved", 0, "the netlist has no such module")
            continue
        try:
            proofs[name] = _Unit(name, rtl[name], gates[name], cells).prove(folder)
        except UserError as error:
            proofs[name] = UnitProof(name, "not proved", 0, f"{error}; simulated only")
    return proofs


class _Unit:
    """One unit's two sides in one graph."""

    def __init__(self, name: str, rtl: Mapping[str, Any], gates: Mapping[str, Any],
                 cells: Mapping[str, Group]) -> None:
        self.name = name
        self.graph = Aig()
        self.gates = GateCut(gates, self.graph, cells)
        self.rtl = RtlCut(rtl, self.graph, self.gates)
        self.names = self.rtl.names | self.gates.names

    def prove(self, folder: Path) -> UnitProof:
        """Compare the two sides."""
        found, wanted = self.gates.functions(), self.rtl.functions()
        differ = sorted(found.keys() ^ wanted.keys()) or sorted(
            name for name in self.rtl.facts if self.rtl.facts[name] != self.gates.facts.get(name))
        if differ:
            return UnitProof(self.name, "not proved", 0,
                             f"{differ[0]} is not the same on both sides; simulated only")
        points = {name: (wanted[name], found[name]) for name in wanted}
        points |= {f"next state of {name}": (self.rtl.literal(bit), self.gates.next_state(twin))
                   for name, (twin, bit) in self.rtl.twins.items()}
        open_points, wrong = self._simulate(points)
        if wrong:
            return wrong
        if open_points:
            constants = _swept(self.graph, [self.graph.differ(*points[name])
                                            for name in open_points], folder)
            left = [name for name, constant in zip(open_points, constants, strict=True)
                    if constant is not False]
            if left:
                found_values = _falsified(self.graph, [self.graph.differ(*points[name])
                                                       for name in left], folder)
                for name in left if found_values else ():
                    wanted_value, value = (found_values[literal >> 1] ^ literal & 1
                                           for literal in points[name])
                    if wanted_value != value:
                        return self._different(name, points[name], len(points), found_values)
                return UnitProof(self.name, "not proved", len(points),
                                 f"{len(left)} of {len(points)} points were not proved within the "
                                 f"limits, the first {left[0]}; simulated only")
        return UnitProof(self.name, "equal", len(points))

    def _simulate(self, points: Mapping[str, tuple[int, int]]
                  ) -> tuple[list[str], UnitProof | None]:
        """The points that random values do not tell apart, or what is known of one that differs."""
        values = self.graph.simulate(_PATTERNS, Random(self.name))
        ones = (1 << _PATTERNS) - 1
        same, unclear = [], None
        for name, (wanted, found) in points.items():
            if wanted == found:
                continue
            wrong = values[wanted >> 1] ^ values[found >> 1] ^ (ones if (wanted ^ found) & 1 else 0)
            if not wrong:
                same.append(name)
                continue
            first = (wrong & -wrong).bit_length() - 1
            proof = self._different(name, (wanted, found), len(points),
                                    [value >> first & 1 for value in values])
            if proof.result == "different":
                return [], proof
            unclear = unclear or proof
        return same, unclear

    def _different(self, name: str, literals: tuple[int, int], points: int,
                   values: Sequence[int]) -> UnitProof:
        support = sorted(self.graph.support(literals))
        twins = {literal >> 1 for literal, _ in self.rtl.twins.values()}
        alone = [node for node in support
                 if node in self.rtl.alone or node in self.gates.registers.keys() - twins
                 or "undefined" in self.names[node]]
        if alone:
            return UnitProof(self.name, "not proved", points,
                             f"{name} depends on {self.names[alone[0]]}, which has no counterpart "
                             "on the other side; simulated only")
        where = ", ".join(f"{self.names[node]}={values[node]}" for node in support[:12])
        more = f" and {len(support) - 12} more inputs" if len(support) > 12 else ""
        right = values[literals[0] >> 1] ^ literals[0] & 1
        return UnitProof(self.name, "different", points,
                         f"{name} is {right} in the RTL and {1 - right} in the netlist where "
                         f"{where}{more}")


def _falsified(graph: Aig, outputs: list[int], folder: Path) -> list[int]:
    """Every node's value where abc finds some literal true; nothing where it finds none."""
    variables = graph.write(folder / "open.aig", outputs)
    found = folder / "counterexample.txt"
    found.unlink(missing_ok=True)
    _run_abc(folder, "read_aiger open.aig\nstrash\norpos\nsat -C 100000\n"
             f"write_cex {found.name}\n")
    if not found.exists():
        return []
    bits = found.read_text(encoding="ascii").strip()
    return graph.evaluate({node: int(bit) for node, bit in zip(variables, bits, strict=True)})


def _swept(graph: Aig, outputs: list[int], folder: Path) -> list[bool | None]:
    """What abc proves constant of some literals."""
    graph.write(folder / "miter.aig", outputs)
    (folder / "swept.aig").unlink(missing_ok=True)
    _run_abc(folder, "read_aiger miter.aig\nstrash\nfraig -C 1000\nwrite_aiger swept.aig\n")
    if not (folder / "swept.aig").exists():
        return [None] * len(outputs)
    return read_constants(folder / "swept.aig")


def _run_abc(folder: Path, commands: str) -> None:
    """Let yosys's abc do something of its own; whether it did shows in the files that it wrote."""
    (folder / "own.abc").write_text(f"{commands}strash\nmap\n")
    (folder / "one.genlib").write_text(
        "GATE INV 1 Y=!A; PIN * INV 1 999 1 1 1 1\nGATE NAND 1 Y=!(A*B); PIN * INV 1 999 1 1 1 1\n"
        "GATE _const0_ 0 Y=CONST0;\nGATE _const1_ 0 Y=CONST1;\n")
    (folder / "one.v").write_text(
        "module one(input a, b, output y); assign y = a & b; endmodule\n")
    try:
        run_yosys("\n".join(["read_verilog one.v", "prep -top one", "techmap",
                             "abc -genlib one.genlib -script own.abc", ""]), folder)
    except UserError:
        pass
