"""Delay inside one mapped module: a static timing analysis without wires.

The longest path from a flop, an input port, a memory or a submodule to a flop, an output port, a
memory or a submodule of the same module. Each cell's delay comes from its Liberty tables, with
the slew of its input and the load of the pins that it drives.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.liberty import LibertyCell, Library, Pin

__all__ = ["CombinationalLoopError", "Delay", "module_delay"]

_FALL, _RISE = 0, 1


class CombinationalLoopError(ValueError):
    """The module's logic has a loop without a flop."""


@dataclass(frozen=True)
class Delay:
    """The longest path: ps, and the names where it starts and ends."""

    ps: float
    start: str
    end: str


@dataclass(slots=True)
class _Edge:
    """Latest arrival and steepest-case slew of one edge of a net, and the net it started from."""

    arrival: float
    slew: float
    origin: int


class _Analysis:
    """One module, read once."""

    def __init__(self, module: Mapping[str, Any], library: Library) -> None:
        self.library = library
        self.load: defaultdict[int, float] = defaultdict(float)
        self.edges: dict[int, list[_Edge]] = {}
        self.names: dict[int, str] = {}
        self.starts: list[int] = []
        self.ends: list[tuple[int, str]] = []
        self.flops: list[tuple[LibertyCell, Mapping[str, list[Any]]]] = []
        self.gates: list[tuple[LibertyCell, Mapping[str, list[Any]]]] = []
        self._name(module)
        outside = 4 * library.input_ff
        for name, port in sorted(module["ports"].items()):
            self._boundary(port["bits"], port["direction"] == "input", name, outside)
        for name, cell in module["cells"].items():
            found = library.cells.get(cell["type"])
            if found is None:
                for pin, bits in cell["connections"].items():
                    drives = cell["port_directions"].get(pin) == "output"
                    # A memory takes a signal once, however many of its bits it enables.
                    once = list(dict.fromkeys(bits)) if cell["type"] == "$mem_v2" else bits
                    self._boundary(once, drives, f"{name}.{pin}", outside)
                continue
            (self.flops if found.flop else self.gates).append((found, cell["connections"]))
            for pin, bits in cell["connections"].items():
                if bits and isinstance(bits[0], int):
                    self.load[bits[0]] += found.pins[pin].capacitance

    def _name(self, module: Mapping[str, Any]) -> None:
        for name, net in sorted(module["netnames"].items(),
                                key=lambda item: (item[1]["hide_name"], len(item[0]), item[0])):
            for place, bit in enumerate(net["bits"]):
                if isinstance(bit, int) and bit not in self.names:
                    self.names[bit] = f"{name}[{place}]" if len(net["bits"]) > 1 else name

    def _boundary(self, bits: list[Any], drives: bool, name: str, load: float) -> None:
        """A pin that is no cell's: it starts paths, or ends them and is a load."""
        for place, bit in enumerate(bits):
            if isinstance(bit, int) and drives:
                self.starts.append(bit)
            elif isinstance(bit, int):
                self.load[bit] += load
                self.ends.append((bit, f"{name}[{place}]" if len(bits) > 1 else name))

    def run(self) -> Delay | None:
        slew = self.library.fo4[1]
        for bit in self.starts:
            self.edges[bit] = [_Edge(0.0, slew, bit), _Edge(0.0, slew, bit)]
        for cell, nets in self.flops:
            for pin in cell.pins.values():
                net = _net(nets, pin)
                if pin.direction == "output" and net is not None:
                    for arc in pin.arcs:
                        for edge in (_FALL, _RISE):
                            self._reach(net, edge, arc.delays[edge].at(slew, self.load[net]),
                                        arc.slews[edge].at(slew, self.load[net]), net)
        for cell, nets in self._ordered():
            self._pass(cell, nets)
        return self._longest(slew)

    def _ordered(self) -> list[tuple[LibertyCell, Mapping[str, list[Any]]]]:
        """The gates, each after those that drive it."""
        readers: defaultdict[int, list[int]] = defaultdict(list)
        waiting = []
        driven = {net for cell, nets in self.gates for pin in cell.pins.values()
                  if pin.direction == "output" and (net := _net(nets, pin)) is not None}
        for number, (cell, nets) in enumerate(self.gates):
            inputs = {net for pin in cell.pins.values() if pin.direction == "input"
                      and (net := _net(nets, pin)) is not None} & driven
            waiting.append(len(inputs))
            for net in inputs:
                readers[net].append(number)
        ready = [number for number, count in enumerate(waiting) if count == 0]
        for number in ready:
            cell, nets = self.gates[number]
            for pin in cell.pins.values():
                net = _net(nets, pin) if pin.direction == "output" else None
                if net is None:
                    continue
                for reader in readers[net]:
                    waiting[reader] -= 1
                    if waiting[reader] == 0:
                        ready.append(reader)
        if len(ready) != len(self.gates):
            raise CombinationalLoopError("the logic has a loop without a flop")
        return [self.gates[number] for number in ready]

    def _pass(self, cell: LibertyCell, nets: Mapping[str, list[Any]]) -> None:
        """Move arrivals from a gate's inputs to its outputs."""
        for pin in cell.pins.values():
            output = _net(nets, pin) if pin.direction == "output" else None
            if output is None:
                continue
            load = self.load[output]
            for arc in pin.arcs:
                bits = nets.get(arc.related, [])
                before = self.edges.get(bits[0]) if bits and isinstance(bits[0], int) else None
                if before is None:
                    continue
                for edge in (_FALL, _RISE):
                    sources = {"positive_unate": (edge,), "negative_unate": (1 - edge,)}.get(
                        arc.sense, (_FALL, _RISE))
                    for source in sources:
                        cause = before[source]
                        self._reach(output, edge,
                                    cause.arrival + arc.delays[edge].at(cause.slew, load),
                                    arc.slews[edge].at(cause.slew, load), cause.origin)

    def _reach(self, net: int, edge: int, arrival: float, slew: float, origin: int) -> None:
        edges = self.edges.setdefault(net, [_Edge(0.0, 0.0, origin), _Edge(0.0, 0.0, origin)])
        known = edges[edge]
        known.slew = max(known.slew, slew)
        if arrival > known.arrival:
            known.arrival, known.origin = arrival, origin

    def _longest(self, clock_slew: float) -> Delay | None:
        found = [(edge.arrival, edge.origin, name) for net, name in self.ends
                 for edge in self.edges.get(net, ())]
        for cell, nets in self.flops:
            held = min((net for pin in cell.pins.values() if pin.direction == "output"
                        and (net := _net(nets, pin)) is not None), default=0)
            for pin in cell.pins.values():
                net = _net(nets, pin) if pin.direction == "input" else None
                for edge in self.edges.get(net, ()) if net is not None else ():
                    setup = max((table.at(clock_slew, edge.slew) for table in pin.setups),
                                default=None)
                    if setup is not None:
                        found.append((edge.arrival + setup, edge.origin, self.names[held]))
        if not found:
            return None
        ps, origin, end = max(found, key=lambda item: (item[0], item[2]))
        return Delay(ps, self.names[origin], end)


def _net(nets: Mapping[str, list[Any]], pin: Pin) -> int | None:
    bits = nets.get(pin.name, [])
    return bits[0] if bits and isinstance(bits[0], int) else None


def module_delay(module: Mapping[str, Any], library: Library) -> Delay | None:
    """Return the longest path of one module of a yosys JSON netlist; None if it has no path.

    A module without cells of the library has none. Cells that are not in the library (submodules,
    memories) end paths and start new ones. Inputs arrive at time 0 with the slew of an inverter
    that drives four; each output drives four inverters. Clock edges are ideal, with that slew.

    :Errors: :class:`CombinationalLoopError` for logic that feeds itself.
    """
    analysis = _Analysis(module, library)
    return analysis.run() if analysis.gates or analysis.flops else None
