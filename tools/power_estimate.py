"""Power of a gate-level netlist from the toggles of its nets and its library's tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.gate_netlist import GateNetlist
from tools.liberty import LibertyCell
from tools.power_tables import CellPower, PowerArc, PowerLibrary
from tools.slews import net_slews

__all__ = ["Power", "UnitPower", "estimate", "unit_powers"]

# Rises and falls of a net within the time that is looked at.
Toggles = tuple[float, float]


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


def estimate(netlist: GateNetlist, library: PowerLibrary, cells: Mapping[str, LibertyCell],
             toggles: Sequence[Toggles], seconds: float, port_ps: float,
             independent: bool = False) -> list[Power]:
    """The power of every gate of the netlist, where its nets toggled so often in so many seconds.

    A gate charges the net that it drives: half of C V^2 per toggle, C of the pins on it. A net that
    no gate drives (ports, memories, the clock) is charged by the gates whose pins are on it, each
    its own. Slews are :func:`tools.slews.net_slews`, with ``port_ps`` at ports; ``cells`` has the
    timing of the library's cells. How often a flip-flop's next state is its state, on which the
    energy of its clock pin depends, follows from its toggles; ``independent`` takes both as
    unrelated, as OpenSTA does.
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
    slews = net_slews(netlist, cells, {net: load * 1e15 for net, load in loads.items()}, port_ps)
    half = library.voltage**2 / 2
    found = []
    for gate in netlist.gates:
        cell = library.cells[gate.cell]
        changing = 0.5 if independent else _changing(cell, gate.nets, toggles, edges)
        look = _Look(cell, cells[gate.cell], gate.nets, toggles, slews, changing)
        switching = internal = clock = 0.0
        for pin, net in gate.nets.items():
            if pin in cell.outputs:
                switching += half * loads[net] * sum(toggles[net])
                internal += look.output(pin, loads[net])
                continue
            charged = 0.0 if net in driven else half * cell.capacitance[pin] * sum(toggles[net])
            inside = look.input(pin)
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


@dataclass(frozen=True)
class _Look:
    """One gate with what happens at its pins: energies in J."""

    cell: CellPower
    timing: LibertyCell
    nets: Mapping[str, int]
    toggles: Sequence[Toggles]
    slews: Sequence[tuple[float, float]]
    changing: float

    def output(self, pin: str, load: float) -> float:
        """Energy inside for an output's transitions: that of its inputs' arcs, each counted as
        often as the input toggles and its condition holds."""
        arcs = [arc for arc in self.cell.arcs[pin]
                if arc.related is None or arc.related in self.nets]
        shares = [arc.share(self.changing) for arc in arcs]
        weights = [share * (sum(self.toggles[self.nets[arc.related]]) if arc.related else 1.0)
                   for share, arc in zip(shares, arcs, strict=True)]
        weights = weights if sum(weights) else shares
        whole = sum(weights)
        senses = {arc.related: arc.sense for arc in self.timing.pins[pin].arcs}
        return sum(weight / whole * self._edges(arc, pin, arc.related or pin, load,
                                                senses.get(arc.related or "", "non_unate"))
                   for weight, arc in zip(weights, arcs, strict=True) if weight)

    def input(self, pin: str) -> float:
        """Energy inside for an input's transitions that reach no output."""
        return sum(share * self._edges(arc, pin, pin, 0.0, "positive_unate")
                   for arc in self.cell.arcs[pin] if arc.related is None
                   for share in (arc.share(self.changing),) if share)

    def _edges(self, arc: PowerArc, pin: str, cause: str, load: float, sense: str) -> float:
        falls, rises = self.slews[self.nets[cause]]
        if sense == "negative_unate":
            falls, rises = rises, falls
        elif sense != "positive_unate":
            falls = rises = (falls + rises) / 2
        up, down = self.toggles[self.nets[pin]]
        return ((up * arc.rise.at(rises * 1e-12, load) if arc.rise and up else 0.0)
                + (down * arc.fall.at(falls * 1e-12, load) if arc.fall and down else 0.0))


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
