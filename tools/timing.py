"""Static timing analysis without wires: the longest paths of a unit or of the whole design.

Each cell's delay comes from its Liberty tables, with the steepest-case slew of its input and the
load of the pins that it drives. Clock edges are ideal. Paths are kept apart by where they begin:
at the boundary, or at a register (a flop, or a memory with a clock).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tools.liberty import LibertyCell, Library, Table
from tools.netlist import Netlist, one_module

__all__ = ["CombinationalLoopError", "Delay", "Path", "Stop", "longest_paths", "module_delay"]

_FALL, _RISE = 0, 1
_SOURCES = {"positive_unate": ((_FALL,), (_RISE,)), "negative_unate": ((_RISE,), (_FALL,))}
_EITHER = ((_FALL, _RISE), (_FALL, _RISE))
_BOUNDARY, _REGISTER = 0, 1
_NEVER = float("-inf")


class CombinationalLoopError(ValueError):
    """The logic has a loop without a flop."""


@dataclass(frozen=True)
class Delay:
    """The longest path: ps, and the names where it starts and ends."""

    ps: float
    start: str
    end: str


class Stop(NamedTuple):
    """One cell that a path passes: its unit, and when (ps) its output changes."""

    unit: str
    ps: float


class Path(NamedTuple):
    """The longest path to one end from the boundary or from registers; ``ps`` includes setup.

    Units are None at the boundary. ``end_pin`` tells ends of one name apart.
    """

    ps: float
    start_unit: str | None
    start: str
    end_unit: str | None
    end: str
    end_pin: str
    node: tuple[int, int]


class _Analysis:
    """One netlist. A node is an edge of a net, ``2 * net + edge``."""

    def __init__(self, netlist: Netlist, library: Library, driver: LibertyCell | None) -> None:
        self.netlist = netlist
        self.clock_slew = library.fo4[1]
        self.load = [0.0] * netlist.nets
        for net, _ in netlist.ends:
            self.load[net] += 4 * library.input_ff
        for one in netlist.cells:
            for pin, net in one.nets.items():
                self.load[net] += one.cell.pins[pin].capacitance
        self.start_names = dict(reversed(netlist.starts))
        nodes = 2 * netlist.nets
        self.slew = [0.0] * nodes
        self.arrival = ([_NEVER] * nodes, [_NEVER] * nodes)
        # The node before, and the cell between: an index into the cells, or -1 at the boundary.
        self.cause: tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]] = ({}, {})
        self._start(driver)
        for number in self._ordered():
            self._pass(number)

    def _start(self, driver: LibertyCell | None) -> None:
        arc = None if driver is None else next(
            arc for pin in driver.pins.values() for arc in pin.arcs)
        for net, _ in self.netlist.starts:
            for edge in (_FALL, _RISE):
                node, arrival, slew = 2 * net + edge, 0.0, self.clock_slew
                if arc is not None:
                    # What the driver's own delay has without a load is outside the design.
                    table, load = arc.delays[edge], self.load[net]
                    arrival = table.at(0.0, load) - table.at(0.0, 0.0)
                    slew = arc.slews[edge].at(0.0, load)
                self.arrival[_BOUNDARY][node] = max(self.arrival[_BOUNDARY][node], arrival)
                self.slew[node] = max(self.slew[node], slew)
                self.cause[_BOUNDARY][node] = (-1, -1)
        for number, one in enumerate(self.netlist.cells):
            for pin in one.cell.pins.values():
                net = one.nets.get(pin.name, -1)
                for arc in pin.arcs if net >= 0 else ():
                    for edge in (_FALL, _RISE) if arc.clocked else ():
                        node = 2 * net + edge
                        self._reach(_REGISTER, node, -1, number,
                                    arc.delays[edge].at(self.clock_slew, self.load[net]))
                        self.slew[node] = max(self.slew[node], arc.slews[edge].at(
                            self.clock_slew, self.load[net]))

    def _reach(self, kind: int, node: int, before: int, cell: int, arrival: float) -> None:
        if arrival > self.arrival[kind][node]:
            self.arrival[kind][node] = arrival
            self.cause[kind][node] = (before, cell)

    def _ordered(self) -> list[int]:
        """The cells that signals pass, each after those that drive it."""
        through = [[(net, one.nets[arc.related]) for pin in one.cell.pins.values()
                    if (net := one.nets.get(pin.name, -1)) >= 0 for arc in pin.arcs
                    if not arc.clocked and arc.related in one.nets]
                   for one in self.netlist.cells]
        driven = {net for pairs in through for net, _ in pairs}
        readers: defaultdict[int, list[int]] = defaultdict(list)
        waiting = []
        for number, pairs in enumerate(through):
            inputs = {net for _, net in pairs} & driven
            waiting.append(len(inputs))
            for net in inputs:
                readers[net].append(number)
        ready = [number for number, count in enumerate(waiting) if count == 0]
        for number in ready:
            for net in {net for net, _ in through[number]}:
                for reader in readers[net]:
                    waiting[reader] -= 1
                    if waiting[reader] == 0:
                        ready.append(reader)
        if len(ready) != len(through):
            raise CombinationalLoopError("the logic has a loop without a flop")
        return ready

    def _pass(self, number: int) -> None:
        """Move arrivals from a cell's inputs to its outputs."""
        one = self.netlist.cells[number]
        for pin in one.cell.pins.values():
            output = one.nets.get(pin.name, -1)
            for arc in pin.arcs if output >= 0 else ():
                related = one.nets.get(arc.related, -1)
                if arc.clocked or related < 0:
                    continue
                load = self.load[output]
                for edge, sources in enumerate(_SOURCES.get(arc.sense, _EITHER)):
                    node = 2 * output + edge
                    for source in sources:
                        self._move(number, 2 * related + source, node, arc.delays[edge],
                                   arc.slews[edge], load)

    def _move(self, number: int, before: int, node: int, delays: Table, slews: Table,
              load: float) -> None:
        arrivals = [kind for kind in (_BOUNDARY, _REGISTER)
                    if self.arrival[kind][before] != _NEVER]
        if arrivals:
            slew = self.slew[before]
            delay = delays.at(slew, load)
            self.slew[node] = max(self.slew[node], slews.at(slew, load))
            for kind in arrivals:
                self._reach(kind, node, before, number, self.arrival[kind][before] + delay)

    def paths(self) -> list[Path]:
        """The longest path of each kind to each end."""
        found: dict[tuple[int, str | None, str], Path] = {}

        def take(net: int, unit: str | None, name: str, pin: str,
                 setups: tuple[tuple[Table, ...], ...] | None) -> None:
            for kind in (_BOUNDARY, _REGISTER):
                for edge in (_FALL, _RISE):
                    node = 2 * net + edge
                    arrival = self.arrival[kind][node]
                    if arrival == _NEVER:
                        continue
                    if setups is not None:
                        arrival += max((table.at(self.clock_slew, self.slew[node])
                                        for table in setups[edge]), default=0.0)
                    key = (kind, unit, pin)
                    if key not in found or arrival > found[key].ps:
                        found[key] = Path(arrival, None, "", unit, name, pin, (kind, node))

        for net, name in self.netlist.ends:
            take(net, None, name, name, None)
        for number, one in enumerate(self.netlist.cells):
            for pin in one.cell.pins.values():
                net = one.nets.get(pin.name, -1)
                if net >= 0 and any(pin.setups):
                    take(net, one.unit, one.name, f"{number}.{pin.name}", pin.setups)
        return [self._named(path) for path in found.values()]

    def _named(self, path: Path) -> Path:
        kind, node = path.node
        cell = -1
        while (before := self.cause[kind][node])[0] >= 0:
            node, cell = before[0], before[1]
        cell = self.cause[kind][node][1]
        if kind == _REGISTER:
            first = self.netlist.cells[cell]
            return path._replace(start_unit=first.unit, start=first.name)
        return path._replace(start=self.start_names[node >> 1])

    def trace(self, path: Path) -> list[Stop]:
        """The cells of a path in order, the first register included."""
        kind, node = path.node
        stops: list[Stop] = []
        while node >= 0:
            before, cell = self.cause[kind][node]
            if cell >= 0:
                stops.append(Stop(self.netlist.cells[cell].unit, self.arrival[kind][node]))
            node = before
        return stops[::-1]


def longest_paths(netlist: Netlist, library: Library,
                  driver: LibertyCell | None) -> tuple[list[Path], Callable[[Path], list[Stop]]]:
    """The longest path from the boundary and from registers to each end, and how to trace one.

    ``driver`` drives each input of the boundary; without one, inputs arrive with the slew of an
    inverter that drives four. Each output drives four inverters.

    :Errors: :class:`CombinationalLoopError` for logic that feeds itself.
    """
    analysis = _Analysis(netlist, library, driver)
    return analysis.paths(), analysis.trace


def module_delay(module: Mapping[str, Any], library: Library) -> Delay | None:
    """Return the longest path of one module of a yosys JSON netlist; None if it has no path.

    A module without cells of the library has none. Cells that are not in the library (submodules,
    memories) end paths and start new ones. Inputs arrive at time 0 with the slew of an inverter
    that drives four; each output drives four inverters. Clock edges are ideal, with that slew.

    :Errors: :class:`CombinationalLoopError` for logic that feeds itself.
    """
    netlist = one_module(module, library.cells)
    paths, _ = longest_paths(netlist, library, None) if netlist.cells else ([], None)
    worst = max(paths, default=None, key=lambda path: (path.ps, path.end, path.start))
    return None if worst is None else Delay(worst.ps, worst.start, worst.end)
