"""Slews of a netlist's nets, from the library's tables: the slowest of the arcs that drive each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tools.gate_netlist import Gate, GateNetlist
from tools.liberty import LibertyCell

__all__ = ["net_slews"]

# Fall and rise, in ps.
Slews = tuple[float, float]


def net_slews(netlist: GateNetlist, cells: Mapping[str, LibertyCell], loads: Mapping[int, float],
              port: float) -> list[Slews]:
    """The slews of every net, falling and rising, in ps. ``loads`` are in fF.

    Nets that no gate drives have the slew ``port``, and so have those in a loop of gates; the
    clock's edges are ideal.
    """
    slews: list[Slews] = [(port, port)] * len(netlist.names)
    clocks = {gate.nets[pin] for gate in netlist.gates if cells[gate.cell].flop
              for pin in _causes(cells[gate.cell]) if pin in gate.nets}
    for net in clocks:
        slews[net] = 0.0, 0.0
    for gate in _ordered(netlist.gates, cells):
        cell = cells[gate.cell]
        for name, net in gate.nets.items():
            pin = cell.pins[name]
            if pin.direction != "output":
                continue
            edges = [0.0, 0.0]
            for arc in pin.arcs:
                if arc.related not in gate.nets:
                    continue
                source = slews[gate.nets[arc.related]]
                for edge in (0, 1):
                    slew = {"positive_unate": source[edge], "negative_unate": source[1 - edge]
                            }.get(arc.sense, max(source))
                    edges[edge] = max(edges[edge], arc.slews[edge].at(slew, loads.get(net, 0.0)))
            if any(edges):
                slews[net] = edges[0], edges[1]
    return slews


def _causes(cell: LibertyCell) -> set[str]:
    """The inputs at whose edges some output changes."""
    return {arc.related for pin in cell.pins.values() for arc in pin.arcs}


def _ordered(gates: Sequence[Gate], cells: Mapping[str, LibertyCell]) -> list[Gate]:
    """The gates, each behind those that drive it; flip-flops first, loops left out."""
    waiting: dict[int, int] = {}
    readers: dict[int, list[int]] = defaultdict(list)
    drivers = {net for gate in gates if not cells[gate.cell].flop
               for pin, net in gate.nets.items()
               if cells[gate.cell].pins[pin].direction == "output"}
    for number, gate in enumerate(gates):
        inputs = [] if cells[gate.cell].flop else [
            net for pin, net in gate.nets.items()
            if cells[gate.cell].pins[pin].direction == "input" and net in drivers]
        waiting[number] = len(inputs)
        for net in inputs:
            readers[net].append(number)
    ready = [number for number, count in waiting.items() if not count]
    # Flip-flops drive nothing that is waited for, yet their nets must be known first.
    ready.sort(key=lambda number: not cells[gates[number].cell].flop)
    found = []
    for number in ready:
        gate = gates[number]
        found.append(gate)
        if cells[gate.cell].flop:
            continue
        for pin, net in gate.nets.items():
            if cells[gate.cell].pins[pin].direction == "output":
                for reader in readers[net]:
                    waiting[reader] -= 1
                    if not waiting[reader]:
                        ready.append(reader)
    return found
