"""One unit of a design as Boolean functions between its ports, registers, memories and units."""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.aig import Aig, Function
from tools.boolean import evaluate
from tools.console import UserError
from tools.liberty_text import Group

__all__ = ["GateCut", "RtlCut"]

Bit = int | str
# Inputs of a memory that matter; its read ports have no clock (see tools.equivalence).
_MEMORY_INPUTS = ("RD_ADDR", "WR_ADDR", "WR_DATA", "WR_EN", "WR_CLK")
_MEMORY_FACTS = ("SIZE", "WIDTH", "OFFSET", "RD_PORTS", "WR_PORTS", "RD_CLK_ENABLE",
                 "WR_CLK_ENABLE", "WR_CLK_POLARITY", "WR_PRIORITY_MASK")


class _Cut:
    """A module of yosys's JSON as literals of a graph.

    ``variables`` are what comes in from ports, memories and units inside, ``functions`` what goes
    out to them, by name; ``names`` say what a variable's node is. ``registers`` hold, by the node
    of a register's state, its name; :meth:`next_state` is what it takes at the clock's edge.
    """

    def __init__(self, module: Mapping[str, Any], graph: Aig,
                 known: Mapping[str, int] | None = None) -> None:
        self.module, self.graph = module, graph
        self.variables: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.registers: dict[int, str] = {}
        self.literals: dict[Bit, int] = {"0": 0, "1": 1}
        self.drivers: dict[Bit, tuple[str, str]] = {}
        self.facts: dict[str, tuple[str, ...]] = {}
        self.outputs: dict[str, Bit] = {}
        known = known or {}
        for name, port in module["ports"].items():
            self._ends(name, port["bits"], port["direction"] == "input", known)
        for name, cell in module["cells"].items():
            if self.is_gate(cell["type"]):
                for pin, bits in cell["connections"].items():
                    if bits and self.is_output(cell, pin):
                        self.drivers[bits[0]] = name, pin
                continue
            memory = cell["type"] == "$mem_v2"
            if memory:
                self.facts[name] = tuple(cell["parameters"][fact] for fact in _MEMORY_FACTS)
            elif cell["type"].startswith("$"):
                raise UserError(f"{name} is a {cell['type']}, that equivalence does not know")
            for pin, bits in cell["connections"].items():
                output = self.is_output(cell, pin)
                if output or not memory or pin in _MEMORY_INPUTS:
                    self._ends(f"{name}.{pin}", bits, output, known)
        for bit in ("x", "z"):
            self.literals[bit] = self._variable("an undefined value")

    def is_gate(self, kind: str) -> bool:
        """Whether a cell is evaluated here, and not a cut point."""
        return kind.startswith("$_")

    def is_output(self, cell: Mapping[str, Any], pin: str) -> bool:
        """Whether a cell drives a pin."""
        direction: str = cell["port_directions"][pin]
        return direction == "output"

    def _ends(self, name: str, bits: list[Bit], drives: bool, known: Mapping[str, int]) -> None:
        for place, bit in enumerate(bits):
            label = _label(name, place, len(bits))
            if not drives:
                self.outputs[label] = bit
            elif not isinstance(bit, str):
                literal = known[label] if label in known else self._variable(label)
                self.variables[label] = literal
                self.literals[bit] = literal

    def _variable(self, name: str) -> int:
        literal = self.graph.variable()
        self.names[literal >> 1] = name
        return literal

    def literal(self, bit: Bit) -> int:
        """The literal of a net."""
        waiting = [bit]
        while waiting:
            last = waiting[-1]
            if last in self.literals:
                waiting.pop()
                continue
            if last not in self.drivers:
                self.literals[last] = self._variable("a net that nothing drives")
                continue
            name, pin = self.drivers[last]
            cell = self.module["cells"][name]
            missing = [found for found in self.reads(cell, pin) if found not in self.literals]
            if missing:
                if len(waiting) > len(self.drivers):
                    raise UserError(f"there is a loop of gates through {name}")
                waiting += missing
            else:
                self.literals[last] = self.compute(cell, pin)
        return self.literals[bit]

    def reads(self, cell: Mapping[str, Any], pin: str) -> Iterator[Bit]:
        """The nets that a gate's output depends on."""
        return (bits[0] for name, bits in cell["connections"].items()
                if bits and not self.is_output(cell, name))

    def compute(self, cell: Mapping[str, Any], pin: str) -> int:
        """A gate's output, of whose inputs the literals are known."""
        first, *second = (self.literals[cell["connections"][name][0]]
                          for name in ("A", "B") if name in cell["connections"])
        if cell["type"] == "$_NOT_":
            return first ^ 1
        if cell["type"] == "$_AND_":
            return self.graph.both(first, second[0])
        raise UserError(f"{cell['type']} is a gate that equivalence does not know")

    def functions(self) -> dict[str, int]:
        """What goes out, by name; what a memory gets counts where it is written."""
        found = {name: self.literal(bit) for name, bit in self.outputs.items()}
        for name in self.facts:
            connections = self.module["cells"][name]["connections"]
            ports = int(self.module["cells"][name]["parameters"]["WR_PORTS"], 2)
            enables = [self.literal(bit) for bit in connections["WR_EN"]]
            width = len(enables) // max(ports, 1)
            for port in range(ports):
                some = 0
                for enable in enables[port * width:(port + 1) * width]:
                    some = self.graph.both(some ^ 1, enable ^ 1) ^ 1
                bits = len(connections["WR_ADDR"]) // ports
                for place in range(port * bits, (port + 1) * bits):
                    label = _label(f"{name}.WR_ADDR", place, len(connections["WR_ADDR"]))
                    found[label] = self.graph.both(found[label], some)
            for place, enable in enumerate(enables):
                label = _label(f"{name}.WR_DATA", place, len(enables))
                found[label] = self.graph.both(found[label], enable)
        return found

    def names_of(self) -> dict[Bit, list[str]]:
        """The names of every net."""
        found: dict[Bit, list[str]] = {}
        for name, net in self.module["netnames"].items():
            for place, bit in enumerate(net["bits"]):
                found.setdefault(bit, []).append(_label(name, place, len(net["bits"])))
        return found


def _label(name: str, place: int, bits: int) -> str:
    return f"{name}[{place}]" if bits > 1 else name


class GateCut(_Cut):
    """A module of library cells."""

    def __init__(self, module: Mapping[str, Any], graph: Aig, cells: Mapping[str, Group]) -> None:
        self.library = cells
        self._pins = {name: {pin.name: pin for pin in cell.of("pin")}
                      for name, cell in cells.items()}
        super().__init__(module, graph)
        self._states: dict[str, int] = {}
        self._cells_of: dict[int, str] = {}
        names = self.names_of()
        for name, cell in module["cells"].items():
            if cell["type"] == "$_DFF_P_" or self._sequential(cell["type"]):
                output = next(bits[0] for pin, bits in cell["connections"].items()
                              if bits and self.is_output(cell, pin))
                state = self._variable(names.get(output, [name])[0])
                self._states[name] = state
                self._cells_of[state >> 1] = name
                self.registers[state >> 1] = self.names[state >> 1]
        self.nets = {name: bit for bit, found in names.items() for name in found}

    def _sequential(self, kind: str) -> bool:
        return kind in self.library and any(self.library[kind].of("ff", "latch", "statetable"))

    def is_gate(self, kind: str) -> bool:
        return kind in self.library or super().is_gate(kind)

    def is_output(self, cell: Mapping[str, Any], pin: str) -> bool:
        if cell["type"] in self._pins:
            return self._pins[cell["type"]][pin].get("direction") == "output"
        return super().is_output(cell, pin)

    def reads(self, cell: Mapping[str, Any], pin: str) -> Iterator[Bit]:
        if cell["type"] == "$_DFF_P_" or self._sequential(cell["type"]):
            return iter(())  # Of the state alone.
        return super().reads(cell, pin)

    def compute(self, cell: Mapping[str, Any], pin: str) -> int:
        kind = cell["type"]
        if kind == "$_DFF_P_":
            return self._states[self.drivers[cell["connections"]["Q"][0]][0]]
        if kind not in self.library:
            return super().compute(cell, pin)
        values = self._values(cell)
        if self._sequential(kind):
            name = self.drivers[cell["connections"][pin][0]][0]
            values |= self._state_values(kind, self._states[name])
        found: Function = evaluate(self._pins[kind][pin].get("function"), values,
                                   Function(self.graph, 1))
        return found.literal

    def _values(self, cell: Mapping[str, Any]) -> dict[str, Function]:
        return {"0": Function(self.graph, 0)} | {
            pin: Function(self.graph, self.literals[bits[0]])
            for pin, bits in cell["connections"].items()
            if bits and bits[0] in self.literals and not self.is_output(cell, pin)}

    def _state_values(self, kind: str, state: int) -> dict[str, Function]:
        (group,) = self.library[kind].of("ff", "latch", "statetable")
        if group.kind != "ff" or {"clear", "preset"} & set(group.values):
            raise UserError(f"{kind} is no plain flip-flop")
        true, false = (part.strip().strip('"') for part in group.name.split(","))
        return {true: Function(self.graph, state), false: Function(self.graph, state ^ 1)}

    def next_state(self, literal: int) -> int:
        """What a register's literal, or a constant, is after the clock's edge."""
        if literal < 2:
            return literal
        cell = self.module["cells"][self._cells_of[literal >> 1]]
        for pin, bits in cell["connections"].items():
            if bits and not self.is_output(cell, pin):
                self.literal(bits[0])
        if cell["type"] == "$_DFF_P_":
            return self.literals[cell["connections"]["D"][0]] ^ (literal & 1)
        (group,) = self.library[cell["type"]].of("ff")
        values = self._values(cell) | self._state_values(cell["type"], literal & ~1)
        found: Function = evaluate(group.get("next_state"), values, Function(self.graph, 1))
        return found.literal ^ (literal & 1)


class RtlCut(_Cut):
    """A module of yosys's ANDs, inverters and flip-flops, whose registers are those of a netlist.

    ``twins`` are, by the netlist's name of a register bit, the netlist's literal for it and its
    next state; ``alone`` are the nodes of registers that the netlist has not.
    """

    def __init__(self, module: Mapping[str, Any], graph: Aig, gates: GateCut) -> None:
        super().__init__(module, graph, gates.variables)
        self.twins: dict[str, tuple[int, Bit]] = {}
        self.alone: set[int] = set()
        names = self.names_of()
        for name, cell in module["cells"].items():
            if not self.is_gate(cell["type"]) or "Q" not in cell["connections"]:
                continue
            if cell["type"] != "$_DFF_P_":
                raise UserError(f"{name} is a {cell['type']}; registers of a rising clock edge "
                                "without asynchronous reset are compared")
            bit = cell["connections"]["Q"][0]
            label = names.get(bit, [name])[0]
            twin = next((literal for literal in (
                gates.literal(gates.nets[found]) for found in names.get(bit, ())
                if found in gates.nets) if literal < 2 or literal >> 1 in gates.registers), None)
            if twin is None:
                self.literals[bit] = self._variable(label)
                self.alone.add(self.literals[bit] >> 1)
            else:
                self.literals[bit] = twin
                self.twins[label] = twin, cell["connections"]["D"][0]
