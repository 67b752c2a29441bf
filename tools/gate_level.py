"""The gate-level netlist of a tile, and the tile's own bench run on it."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from amaranth.hdl import Value
from amaranth.lib.wiring import In

from spec.tile import Tile
from tb.simulator import (
    SimulationFailed, build_directory, build_simulation, random_power_up, run_simulation,
)
from tools.benches import UnitRun, component
from tools.cell_models import inline_cells
from tools.console import UserError
from tools.liberty_text import Group

__all__ = ["check_ports", "run_gates", "simulation_netlist"]

_INITIAL = re.compile(
    r"^  initial begin\n(?:    (?P<memory>\w+|\\\S+ )\[\d+\] = \d+'[bhd][0-9a-fx]+;\n)+  end\n",
    re.MULTILINE)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+|\\\S+ ?);$", re.MULTILINE)


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


def check_ports(tile: Tile, netlist: str) -> None:
    """Compare the netlist's ports with the RTL's: names, directions, widths.

    :Errors: ``UserError`` that names the ports that differ.
    """
    rtl = component("tile", tile)
    expected = {name: ("input" if member.flow is In else "output",
                       len(Value.cast(getattr(rtl, name))))
                for name, member in rtl.signature.members.items()}
    expected |= {"clk": ("input", 1), "rst": ("input", 1)}
    top = re.search(rf"^module {re.escape(tile.name)}\(.*?^endmodule", netlist,
                    re.MULTILINE | re.DOTALL)
    if top is None:
        raise UserError(f"the netlist has no module {tile.name}")
    found = {name.strip().removeprefix("\\"): (direction, int(left or 0) + 1)
             for direction, left, name in _PORT.findall(top[0])}
    wrong = sorted(name for name in expected.keys() | found.keys()
                   if expected.get(name) != found.get(name))
    if wrong:
        raise UserError(f"the netlist's ports are not the RTL's: {', '.join(wrong[:5])} "
                        f"({len(wrong)} in all) are missing, too many, or of another width")


def run_gates(tile: Tile, netlist: str, cells: Mapping[str, Group], seed: int) -> UnitRun:
    """Run the tile's bench, ``tb.tile``, on its netlist; flops and memories power up at random.

    ``seed`` gives the bench's data and the power-up state. The log stays in the build directory. A
    simulation that dies counts as a failed test.

    :Errors: ``UserError`` for a netlist whose ports are not the tile's, or with cells that have no
        model; :class:`tb.simulator.SimulatorError` when it cannot be built or started.
    """
    started = time.monotonic()
    check_ports(tile, netlist)
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
