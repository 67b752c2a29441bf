"""The gate-level netlist of a tile, and the tile's own bench run on it."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from spec.tile import Tile
from tb.simulator import (
    SimulationFailed, build_directory, build_simulation, random_power_up, run_simulation,
)
from tools.benches import UnitRun
from tools.cell_models import inline_cells
from tools.console import UserError
from tools.liberty_text import Group

__all__ = ["check_ports", "run_gates", "simulation_netlist"]

_INITIAL = re.compile(
    r"^  initial begin\n(?:    (?P<memory>\w+|\\\S+ )\[\d+\] = \d+'[bhd][0-9a-fx]+;\n)+  end\n",
    re.MULTILINE)
_PORT = re.compile(r"^  (?P<direction>input|output) (?P<width>(?!))?(?:\[(?P<left>\d+):0\] )?"
                   r"(?P<name>\w+|\\\S+ ?);$", re.MULTILINE)
_RTL_PORT = re.compile(r"^  wire (?:width (?P<width>\d+) )?(?P<direction>input|output) \d+ +"
                       r"(?P<left>(?!))?(?P<name>\S+)$", re.MULTILINE)


def simulation_netlist(netlist: str, cells: Mapping[str, Group]) -> str:
    """The netlist for a simulator: cells replaced by what they do, memories without initial values.

    A chip's memories hold anything when power comes, whatever the RTL's simulation begins with;
    those that nothing writes, tables, keep what they have.
    """
    text = inline_cells(netlist, cells)

    def without(initial: re.Match[str]) -> str:
        module = text[initial.end():text.index("endmodule", initial.end())]
        written = re.search(rf"^\s+{re.escape(initial['memory'])}\[.*\] *(?:\[.*\] )?<= ", module,
                            re.MULTILINE)
        return "" if written else initial[0]

    return _INITIAL.sub(without, text)


def check_ports(rtl: str, netlist: str, top: str) -> None:
    """Compare the ports of ``top`` in RTLIL and in the netlist: names, directions, widths.

    :Errors: ``UserError`` that names the ports that differ.
    """
    sides = []
    for text, module, port in ((rtl, rf"^module \\{re.escape(top)}\n.*?^end$", _RTL_PORT),
                               (netlist, rf"^module {re.escape(top)} ?\(.*?^endmodule$", _PORT)):
        found = re.search(module, text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise UserError(f"there is no module {top}")
        sides.append({match["name"].strip().removeprefix("\\"): (
            match["direction"], int(match["width"] or match["left"] or 0) + (not match["width"]))
            for match in port.finditer(found[0])})
    wrong = sorted(name for name in sides[0].keys() | sides[1].keys()
                   if sides[0].get(name) != sides[1].get(name))
    if wrong:
        raise UserError(f"the netlist's ports are not the RTL's: {', '.join(wrong[:5])} "
                        f"({len(wrong)} in all) are missing, too many, or of another width")


def run_gates(tile: Tile, netlist: str, cells: Mapping[str, Group], seed: int) -> UnitRun:
    """Run the tile's bench, ``tb.tile``, on its netlist; flops and memories power up at random.

    ``seed`` gives the bench's data and the power-up state. The log stays in the build directory. A
    simulation that dies counts as a failed test.

    :Errors: ``UserError`` for cells that have no model; :class:`tb.simulator.SimulatorError` when
        it cannot be built or started.
    """
    started = time.monotonic()
    # Compiling takes longer than the bench: nothing is optimised.
    executable = build_simulation(simulation_netlist(netlist, cells), tile.name, optimise="-O0",
                                  power_up="unique")
    folder = build_directory() / "runs" / executable.parent.name / str(seed)
    try:
        tests = run_simulation(executable, "tb.tile", seed=seed, folder=folder,
                               arguments=random_power_up(seed),
                               environment={"PNMTILE_PARAMS": tile.model_dump_json()}).tests
    except SimulationFailed as error:
        tests = {"simulation": str(error)}
    return UnitRun("tile (gates)", tests, seed, time.monotonic() - started,
                   Path(folder / "simulation.log"))
