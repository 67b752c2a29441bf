"""Power of a gate-level netlist from the toggles of its nets and its library's tables."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tools.gate_netlist import GateNetlist
from tools.liberty import Table
from tools.power_tables import CellPower, PowerLibrary

__all__ = ["Power", "UnitPower", "estimate", "unit_powers"]

# Rises and falls of a net within the time that is looked at.
Toggles = tuple[float, float]
_Energy = Callable[[Table, float], float]


@dataclass(frozen=True)
class Power:
    """Power in W: charging nets, inside the cells, leakage; ``clock`` is the part of switching and
    internal that clock pins take."""

    switching: float = 0.0
    internal: float = 0.0
    leakage: float = 0.0
    clock: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.switching + self.internal + self.leakage

    def __add__(self, other: "Power") -> "Power":
        return Power(self.switching + other.switching, self.internal + other.internal,
                     self.leakage + other.leakage, self.clock + other.clock)


@dataclass(frozen=True)
class UnitPower:
    """One unit: its own power and, with the units inside, its total."""

    path: str
    module: str
    gates: int
    own: Power
    total: Power


def estimate(netlist: GateNetlist, library: PowerLibrary, toggles: Sequence[Toggles],
             seconds: float, slew: float) -> list[Power]:
    """The power of every gate of the netlist, where its nets toggled so often in so many seconds.

    A gate charges the net that it drives: half of C V^2 per toggle, C of the pins on it. A net that
    no gate drives (ports, memories, the clock) is charged by the gates whose pins are on it, each
    its own. All edges take ``slew`` seconds.
    """
    loads: dict[int, float] = defaultdict(float)
    driven: set[int] = set()
    for gate in netlist.gates:
        cell = library.cells[gate.cell]
        for pin, net in gate.nets.items():
            loads[net] += cell.capacitance[pin]
            if pin in cell.outputs:
                driven.add(net)
    clocks = {gate.nets[clock] for gate in netlist.gates
              for clock in (library.cells[gate.cell].clock,) if clock in gate.nets}
    edges = max((sum(toggles[net]) / 2 for net in clocks), default=0.0)
    energies: dict[tuple[int, float], float] = {}

    def energy(table: Table, load: float) -> float:
        # Equal loads are many; a table is known by its place, as its numbers take long to compare.
        key = id(table), load
        if key not in energies:
            energies[key] = table.at(slew, load)
        return energies[key]

    half = library.voltage**2 / 2
    found = []
    for gate in netlist.gates:
        cell = library.cells[gate.cell]
        switching = internal = clock = 0.0
        changing = _changing(cell, gate.nets, toggles, edges)
        for pin, net in gate.nets.items():
            if pin in cell.outputs:
                switching += half * loads[net] * sum(toggles[net])
                internal += _output(cell, pin, gate.nets, toggles, loads[net], changing, energy)
                continue
            charged = 0.0 if net in driven else half * cell.capacitance[pin] * sum(toggles[net])
            inside = sum(arc.share(changing) * _edges(arc.rise, arc.fall, toggles[net], 0.0, energy)
                         for arc in cell.arcs[pin] if arc.related is None)
            switching, internal = switching + charged, internal + inside
            if pin == cell.clock:
                clock = charged + inside
        found.append(Power(switching / seconds, internal / seconds, cell.leakage or 0.0,
                           clock / seconds))
    return found


def _changing(cell: CellPower, nets: Mapping[str, int], toggles: Sequence[Toggles],
              edges: float) -> float:
    """How often a flip-flop changes, of the clock's edges that let it."""
    if cell.clock is None or not edges:
        return 0.0
    return min(1.0, max((sum(toggles[nets[pin]]) / edges for pin in cell.outputs if pin in nets),
                        default=0.0))


def _output(cell: CellPower, pin: str, nets: Mapping[str, int], toggles: Sequence[Toggles],
            load: float, changing: float, energy: _Energy) -> float:
    """Energy inside for the transitions of an output: that of its inputs' arcs, each counted as
    often as the input toggles and its condition holds."""
    arcs = [arc for arc in cell.arcs[pin] if arc.related is None or arc.related in nets]
    weights = [arc.share(changing) * (sum(toggles[nets[arc.related]]) if arc.related else 1.0)
               for arc in arcs]
    if not sum(weights):
        weights = [arc.share(changing) for arc in arcs]
    whole = sum(weights)
    return sum(weight / whole * _edges(arc.rise, arc.fall, toggles[nets[pin]], load, energy)
               for weight, arc in zip(weights, arcs, strict=True) if whole)


def _edges(rise: Table | None, fall: Table | None, toggles: Toggles, load: float,
           energy: _Energy) -> float:
    return ((toggles[0] * energy(rise, load) if rise and toggles[0] else 0.0)
            + (toggles[1] * energy(fall, load) if fall and toggles[1] else 0.0))


def unit_powers(netlist: GateNetlist, gates: Sequence[Power]) -> list[UnitPower]:
    """The power of every unit, in the order of the hierarchy."""
    own: dict[str, Power] = {path: Power() for path in netlist.units}
    total = dict(own)
    count: dict[str, int] = dict.fromkeys(netlist.units, 0)
    for gate, power in zip(netlist.gates, gates, strict=True):
        own[gate.unit] += power
        count[gate.unit] += 1
    for path, power in own.items():
        above = path
        while above:
            if above in total:
                total[above] += power
            above = above.rpartition(".")[0]
    return [UnitPower(path, module, count[path], own[path], total[path])
            for path, module in netlist.units.items()]
