"""Verilog models of library cells, made from what their Liberty text says they do.

Functions, flip-flops and latches without delay, two-valued: what gate-level simulation and
equivalence checking put in the places of the cells.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from tools.boolean import evaluate, names
from tools.console import UserError
from tools.liberty import Library
from tools.liberty_text import Group, parse_groups

__all__ = ["cell_groups", "cell_models", "cells_of", "inline_cells"]

# An instance as yosys writes it, and one of its pins.
_INSTANCE = re.compile(
    r"^  (?P<cell>\w+) (?P<name>\w+|\\\S+ ) ?\(\n(?P<pins>(?:    \.\w+\(.*\),?\n)+)  \);\n",
    re.MULTILINE)
_PIN = re.compile(r"^    \.(\w+)\((.*)\),?$", re.MULTILINE)


class _Text:
    """A Verilog expression that operators make longer; every one of them in parentheses."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __and__(self, other: "_Text") -> "_Text":
        return _Text(f"({self.text} & {other.text})")

    def __or__(self, other: "_Text") -> "_Text":
        return _Text(f"({self.text} | {other.text})")

    def __xor__(self, other: "_Text") -> "_Text":
        if self is _ONE or other is _ONE:
            return _Text(f"~{(other if self is _ONE else self).text}")
        return _Text(f"({self.text} ^ {other.text})")


_ZERO, _ONE = _Text("1'b0"), _Text("1'b1")


def cell_groups(library: Library) -> dict[str, Group]:
    """The groups of a library's cells by name; of cells with one name, the first."""
    found: dict[str, Group] = {}
    for number, text in enumerate(library.texts):
        for cell in parse_groups(f"file {number + 1} of {library.name}", text)[0].of("cell"):
            found.setdefault(cell.name, cell)
    return found


def cells_of(netlist: str, cells: Mapping[str, Group]) -> set[str]:
    """The library cells that a netlist, as yosys writes it, has instances of."""
    return {match["cell"] for match in _INSTANCE.finditer(netlist) if match["cell"] in cells}


def cell_models(cells: Mapping[str, Group], wanted: Iterable[str]) -> str:
    """Verilog modules of the ``wanted`` cells: the cell's name, its pins as ports, no delay.

    An output is its function; a flip-flop takes its next state at its clock's edge, a latch is
    open while enabled; asynchronous clear and preset act as the Liberty text says, also both at
    once. State has no initial value. Simulators do not record what is inside.

    :Errors: ``UserError`` for a cell that is not in ``cells``, and for one whose behaviour Liberty
        gives in another way (state tables, banks, three states).
    """
    models: list[str] = []
    for name in sorted(set(wanted)):
        if name not in cells:
            raise UserError(f"cell {name} of the netlist is not in the library")
        try:
            models += _model(cells[name])
        except ValueError as error:
            raise UserError(f"cell {name}: no model can be made of it: {error}") from None
    return "\n".join(["/* verilator tracing_off */", *models, "/* verilator tracing_on */", ""])


def inline_cells(netlist: str, cells: Mapping[str, Group]) -> str:
    """A netlist as yosys writes it with what each cell does in the place of its instance.

    It simulates as the netlist with :func:`cell_models` does, and a simulator is built from it in a
    fraction of the time. Cells that are not plain gates or flip-flops stay instances, and their
    models stand in front. A flip-flop's state is a variable of the instance's name with ``_state``.

    :Errors: as :func:`cell_models`.
    """
    kept: set[str] = set()

    def inlined(instance: re.Match[str]) -> str:
        cell = cells.get(instance["cell"])
        if cell is None:
            return instance[0]
        pins = {name: value.strip() + " " * value.lstrip().startswith("\\")
                for name, value in _PIN.findall(instance["pins"])}
        try:
            lines = _statements(cell, instance["name"].strip(), pins)
        except ValueError as error:
            raise UserError(f"cell {cell.name}: no model can be made of it: {error}") from None
        if lines is None:
            kept.add(cell.name)
            return instance[0]
        return "".join(f"  {line}\n" for line in lines)

    body = _INSTANCE.sub(inlined, netlist)
    return cell_models(cells, kept) + body if kept else body


def _statements(cell: Group, name: str, pins: Mapping[str, str]) -> list[str] | None:
    """What an instance does, in the names of the nets at its pins; None for one that stays."""
    states = list(cell.of("ff", "latch", "statetable", "ff_bank", "latch_bank"))
    outputs = [pin for pin in cell.of("pin")
               if pin.get("direction") == "output" and pins.get(pin.name)]
    if any("three_state" in pin.values for pin in outputs):
        return None
    values = {"0": _ZERO, **{pin: _Text(net) for pin, net in pins.items()}}
    lines = []
    if states:
        (state, *others) = states
        if state.kind != "ff" or others or {"clear", "preset", "clocked_on_also"} & set(
                state.values):
            return None
        held = f"{name}_state" if not name.startswith("\\") else f"{name}_state "
        true, false = (part.strip().strip('"') for part in state.name.split(","))
        values |= {true: _Text(held), false: _Text(f"~{held}")}
        clock = state.get("clocked_on")
        if clock not in pins:
            return None
        lines = [f"reg {held};",
                 f"always @(posedge {pins[clock]}) {held} <= "
                 f"{evaluate(state.get('next_state'), values, _ONE).text};"]
    return lines + [f"assign {pins[pin.name]} = "
                    f"{evaluate(pin.get('function'), values, _ONE).text};" for pin in outputs]


def _model(cell: Group) -> Iterator[str]:
    pins = [pin for pin in cell.of("pin") if pin.get("direction") in ("input", "output")]
    for kind in ("statetable", "ff_bank", "latch_bank", "bus", "bundle"):
        if any(cell.of(kind)):
            raise ValueError(f"it has a group {kind}")
    states = list(cell.of("ff", "latch"))
    if len(states) > 1:
        raise ValueError("it has several ff or latch groups")
    known = {pin.name for pin in pins}
    yield f"module {cell.name} ({', '.join(pin.name for pin in pins)});"
    for pin in pins:
        yield f"  {pin.get('direction')} {pin.name};"
    for state in states:
        variables = [name.strip().strip('"') for name in state.name.split(",")]
        if len(variables) != 2 or known & set(variables):
            raise ValueError(f"its state has the names {state.name}")
        known |= set(variables)
        yield from _state(state, known, *variables)
    for pin in pins:
        if pin.get("direction") == "output":
            if "three_state" in pin.values:
                raise ValueError(f"its output {pin.name} has three states")
            yield f"  assign {pin.name} = {_verilog(pin.get('function'), known)};"
    yield "endmodule"


def _state(state: Group, known: set[str], true: str, false: str) -> Iterator[str]:
    """The state variables of a flip-flop or latch: the value, and its complement."""
    clear, preset = (_verilog(state.get(name), known) if name in state.values else ""
                     for name in ("clear", "preset"))
    inverse = f"~{true}"
    if clear and preset:
        both = [{"L": "1'b0", "H": "1'b1"}.get(state.get(f"clear_preset_var{number}").upper())
                for number in (1, 2)]
        if None in both:
            raise ValueError("clear and preset at once leave its state as it was, or unknown")
        inverse = f"({clear} & {preset}) ? {both[1]} : ~{true}"
        clear, preset = ((clear, f"{preset} & ~{clear}") if both[0] == "1'b0" else
                         (f"{clear} & ~{preset}", preset))
    yield f"  reg {true};"
    yield f"  wire {false} = {inverse};"
    # One of the two at a time: a change from one to the other is an edge.
    forces = [(f"{name}_", condition, value) for name, condition, value in
              (("clear", clear, "1'b0"), ("preset", preset, "1'b1")) if condition]
    yield from (f"  wire {name} = {condition};" for name, condition, _ in forces)
    if state.kind == "latch":
        data, enable = (_verilog(state.get(name), known) for name in ("data_in", "enable"))
        yield "  always @*"
        yield from (f"    if ({name}) {true} = {value}; else" for name, _, value in forces)
        yield f"    if ({enable}) {true} = {data};"
        return
    if "clocked_on_also" in state.values:
        raise ValueError("its slave has a clock of its own")
    data, clock = (_verilog(state.get(name), known) for name in ("next_state", "clocked_on"))
    edge = "negedge" if clock.startswith("~") and clock[1:] in known else "posedge"
    clock = clock.removeprefix("~") if edge == "negedge" else clock
    if clock not in known:
        yield f"  wire clock_ = {clock};"
        clock = "clock_"
    yield f"  always @({' or '.join([f'{edge} {clock}', *(f'posedge {f[0]}' for f in forces)])})"
    yield from (f"    if ({name}) {true} <= {value}; else" for name, _, value in forces)
    yield f"    {true} <= {data};"


def _verilog(expression: str, known: set[str]) -> str:
    """A Liberty function as a Verilog expression."""
    strange = names(expression) - known
    if not expression or strange:
        raise ValueError(f"{', '.join(sorted(strange))} is no pin" if strange else
                         "an output, clock or state has no function")
    values = {"0": _ZERO, **{name: _Text(name) for name in known}}
    found: _Text = evaluate(expression, values, _ONE)
    return found.text
