"""Timing of the whole design against its clock, by OpenSTA or by the project's own analysis.

OpenSTA computes it where it is installed and the library has a technology; otherwise
``tools/timing.py`` does, and the report says which. docs/timing.md has what is computed how.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.console import UserError
from tools.constraints import EXTERNAL_SHARE, render_constraints
from tools.liberty import Library
from tools.liberty_cell import LibertyCell
from tools.netlist import Netlist, flatten
from tools.sta import StaPath, StaResult, opensta, run_opensta
from tools.timing import CombinationalLoopError, Stop, longest_paths
from tools.timing_report import TimedPath, TimingReport, summarise

__all__ = ["OWN_ENGINE", "design_constraints", "design_timing"]

OWN_ENGINE = "pnmtile's own analysis"


def design_timing(modules: Mapping[str, Any], top: str, library: Library,
                  memories: Mapping[str, LibertyCell], memory_text: str, clock_mhz: float,
                  folder: Path) -> TimingReport | str:
    """Time the whole design; returns the reason when it has no paths that could be timed.

    ``memories`` are the cells that stand for memories, and ``memory_text`` their Liberty text.
    Where OpenSTA fails, the report's engine says so and why.
    """
    netlist = flatten(modules, top, {**library.cells, **memories})
    ports = modules[top]["ports"]
    clock = _clock(ports)
    engine = OWN_ENGINE
    if library.technology and (found := opensta()) is not None:
        program, version = found
        try:
            answer = run_opensta(program, netlist, ports, clock, library, memory_text, clock_mhz,
                                 folder)
        except UserError as error:
            engine = f"{OWN_ENGINE}, as {error}"
        else:
            return _of_opensta(f"OpenSTA {version}", answer, netlist, library, clock_mhz)
    try:
        longest, trace = longest_paths(netlist, library, library.driver)
    except CombinationalLoopError as error:
        return str(error)
    # The clock reaches flops as a net without paths.
    pairs = [(TimedPath(*path[:6]), path) for path in longest]
    if not pairs:
        return "the design has no path"
    known = {id(timed): path for timed, path in pairs}
    return summarise(engine, [timed for timed, _ in pairs],
                     lambda timed: trace(known[id(timed)]), library, clock_mhz, None)


def _clock(ports: Mapping[str, Any]) -> str:
    """The clock's port; none in a design without one."""
    return "clk" if ports.get("clk", {}).get("direction") == "input" else ""


def design_constraints(ports: Mapping[str, Any], top: str, clock_mhz: float, library: Library
                       ) -> str:
    """The constraints (SDC) that a design with these ports is timed against."""
    clock = _clock(ports)
    inputs = sorted(name for name, port in ports.items()
                    if port["direction"] == "input" and name != clock)
    return render_constraints(top, clock_mhz, inputs, clock=clock, library=library)


def _of_opensta(engine: str, answer: StaResult, netlist: Netlist, library: Library,
                clock_mhz: float) -> TimingReport | str:
    if answer.period_ps is None:
        return "the design has no path that a clock bounds"
    name = _names(netlist)
    paths = [_path(name, path, 1e6 / clock_mhz) for path in answer.paths]
    # The time that an input arrives at belongs to what is outside.
    outside = (float(EXTERNAL_SHARE) * 1e6 / clock_mhz
               if answer.points and name(answer.points[0][0])[0] is None else 0.0)
    stops = [Stop(unit, ps - outside) for pin, ps in answer.points
             if (unit := name(pin)[0]) is not None and _drives(netlist, pin)]
    return summarise(engine, paths, lambda path: stops, library, clock_mhz,
                     (answer.period_ps, "OpenSTA, by bisection of the period"),
                     answer.points[-1][0])


def _names(netlist: Netlist) -> Callable[[str], tuple[str | None, str]]:
    """From OpenSTA's name of a pin to unit and register, or None and the port."""
    def name(pin: str) -> tuple[str | None, str]:
        cell, inside, _ = pin.partition("/")
        if not inside:
            return None, pin
        one = netlist.cells[int(cell[1:])]
        return one.unit, one.name

    return name


def _drives(netlist: Netlist, pin: str) -> bool:
    cell, _, port = pin.partition("/")
    return netlist.cells[int(cell[1:])].cell.pins[port].direction == "output"


def _path(name: Callable[[str], tuple[str | None, str]], found: StaPath, period: float
          ) -> TimedPath:
    path = TimedPath(0.0, *name(found.start), *name(found.end), found.end)
    return replace(path, ps=path.share * period - found.slack_ps)
