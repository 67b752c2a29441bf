"""A mapped netlist (yosys's JSON) as one flat list of cells, each with its unit.

The hierarchy is dissolved: nets of all modules get numbers of their own, and a net that crosses
unit boundaries has one number. Constants have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.console import UserError
from tools.liberty import LibertyCell

__all__ = ["Instance", "Netlist", "flatten", "net_names", "one_module"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One cell: what it is, the net of each pin, its unit, and its register or own name."""

    cell: LibertyCell
    nets: dict[str, int]
    unit: str
    name: str


@dataclass
class Netlist:
    """A flat netlist. ``starts`` and ``ends`` are the nets of its boundary, each with its name."""

    nets: int
    cells: list[Instance] = field(default_factory=list)
    starts: list[tuple[int, str]] = field(default_factory=list)
    ends: list[tuple[int, str]] = field(default_factory=list)


def net_names(module: Mapping[str, Any]) -> dict[int, str]:
    """The best name of each bit of a module: one that the RTL gave, and of these the shortest."""
    names: dict[int, str] = {}
    for name, net in sorted(module["netnames"].items(),
                            key=lambda item: (item[1]["hide_name"], len(item[0]), item[0])):
        for place, bit in enumerate(net["bits"]):
            if isinstance(bit, int) and bit not in names:
                names[bit] = _bit(name, place, len(net["bits"]))
    return names


def one_module(module: Mapping[str, Any], cells: Mapping[str, LibertyCell]) -> Netlist:
    """One module alone: pins of what is no library cell (units, memories) are its boundary."""
    names = net_names(module)
    last = max((bit for net in module["netnames"].values() for bit in net["bits"]
                if isinstance(bit, int)), default=0)
    found = Netlist(last + 1)
    for name, port in sorted(module["ports"].items()):
        side = found.starts if port["direction"] == "input" else found.ends
        side += [(bit, _bit(name, place, len(port["bits"])))
                 for place, bit in enumerate(port["bits"]) if isinstance(bit, int)]
    for name, cell in module["cells"].items():
        if cell["type"] in cells:
            nets = {pin: bits[0] for pin, bits in cell["connections"].items()
                    if bits and isinstance(bits[0], int)}
            found.cells.append(_instance(cells[cell["type"]], nets, nets, names, "", name))
            continue
        for pin, bits in cell["connections"].items():
            side = found.starts if cell["port_directions"].get(pin) == "output" else found.ends
            # A memory takes a signal once, however many of its bits it enables.
            once = list(dict.fromkeys(bits)) if cell["type"] == "$mem_v2" else bits
            side += [(bit, _bit(f"{name}.{pin}", place, len(bits)))
                     for place, bit in enumerate(once) if isinstance(bit, int)]
    return found


def _bit(name: str, place: int, bits: int) -> str:
    return f"{name}[{place}]" if bits > 1 else name


def _instance(cell: LibertyCell, nets: dict[str, int], local: Mapping[str, int],
              names: Mapping[int, str], unit: str, name: str) -> Instance:
    """``local`` has the nets by their numbers in the module, whose ``names`` a register takes."""
    if cell.flop and not name.startswith("$") and "$_" in name:
        name = name.partition("$_")[0]  # As yosys names a flop after its register.
    elif cell.flop:
        held = min((local[pin.name] for pin in cell.pins.values()
                    if pin.direction == "output" and pin.name in local), default=None)
        name = names.get(held, name) if held is not None else name
    return Instance(cell, nets, unit, name)


def flatten(modules: Mapping[str, Any], top: str, cells: Mapping[str, LibertyCell]) -> Netlist:
    """Dissolve the hierarchy below ``top``; every cell must be in ``cells`` or be a module.

    :Errors: ``UserError`` for a cell that is neither.
    """
    parent: list[int] = []  # Nets that unit boundaries join point to one of their number.
    names = {name: net_names(module) for name, module in modules.items()}
    placed: list[tuple[LibertyCell, dict[str, int], dict[str, int], str, str, str]] = []

    def find(net: int) -> int:
        while parent[net] != net:
            parent[net] = parent[parent[net]]
            net = parent[net]
        return net

    def visit(kind: str, unit: str, outer: Mapping[str, list[int | str]]) -> None:
        module = modules[kind]
        local: dict[int, int | str] = {}

        def net(bit: int | str) -> int | str:
            if isinstance(bit, str):
                return bit
            if bit not in local:
                parent.append(len(parent))
                local[bit] = len(parent) - 1
            return local[bit]

        for port, described in module["ports"].items():
            for bit, outside in zip(described["bits"], outer.get(port, ()), strict=False):
                if isinstance(bit, str):
                    continue
                inside = local.setdefault(bit, outside)
                if isinstance(inside, int) and isinstance(outside, int):
                    parent[find(inside)] = find(outside)
        for name, cell in module["cells"].items():
            joined = {pin: [net(bit) for bit in bits]
                      for pin, bits in cell["connections"].items()}
            if cell["type"] in cells:
                pins = {pin: bits[0] for pin, bits in joined.items()
                        if bits and isinstance(bits[0], int)}
                inner = {pin: cell["connections"][pin][0] for pin in pins}
                placed.append((cells[cell["type"]], pins, inner, kind, unit, name))
            elif cell["type"] in modules:
                visit(cell["type"], f"{unit}.{name}", joined)
            elif cell["type"] != "$scopeinfo":
                raise UserError(f"unit {unit}: nothing in the library implements {cell['type']} "
                                f"({name}), so the design cannot be timed")

    ports = modules[top]["ports"]
    outer: dict[str, list[int | str]] = {}
    for port, described in ports.items():
        outer[port] = list(range(len(parent), len(parent) + len(described["bits"])))
        parent.extend(range(len(parent), len(parent) + len(described["bits"])))
    visit(top, top, outer)
    found = Netlist(len(parent))
    for port, described in sorted(ports.items()):
        side = found.starts if described["direction"] == "input" else found.ends
        side += [(find(bit), _bit(port, place, len(outer[port])))
                 for place, bit in enumerate(_numbers(outer[port]))]
    for cell, pins, inner, kind, unit, name in placed:
        found.cells.append(_instance(cell, {pin: find(bit) for pin, bit in pins.items()}, inner,
                                     names[kind], unit, name))
    return found


def _numbers(bits: list[int | str]) -> Iterator[int]:
    return (bit for bit in bits if isinstance(bit, int))
