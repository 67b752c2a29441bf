"""Cells of a Liberty library: pins, functions and timing tables."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from tools.boolean import truth_table
from tools.liberty_text import Group

__all__ = ["Arc", "LibertyCell", "Pin", "PinMaker", "Table"]


@dataclass(frozen=True)
class Table:
    """A look-up table in ps over input slew (ps, rows) and load (fF, columns)."""

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, slew: float, load: float) -> float:
        """Interpolate bilinearly; beyond the table the outermost slope goes on."""
        row = _interval(self.slews, slew)
        column = _interval(self.loads, load)
        low = _between(self.loads, self.values[row], column, load)
        if len(self.slews) == 1:
            return low
        high = _between(self.loads, self.values[row + 1], column, load)
        share = (slew - self.slews[row]) / (self.slews[row + 1] - self.slews[row])
        return low + share * (high - low)


def _interval(axis: tuple[float, ...], value: float) -> int:
    last = len(axis) - 2
    index = 0
    while index < last and axis[index + 1] <= value:
        index += 1
    return index


def _between(axis: tuple[float, ...], row: tuple[float, ...], index: int, value: float) -> float:
    if len(axis) == 1:
        return row[0]
    share = (value - axis[index]) / (axis[index + 1] - axis[index])
    return row[index] + share * (row[index + 1] - row[index])


@dataclass(frozen=True)
class Arc:
    """Timing from one input pin to one output pin; ``sense`` as Liberty has it.

    ``delays`` and ``slews`` are indexed by the output's edge: 0 falls, 1 rises. ``clocked``: the
    output changes at an edge of the input, as a flop's does, and does not follow it.
    """

    related: str
    sense: str
    delays: tuple[Table, Table]
    slews: tuple[Table, Table]
    clocked: bool = False


@dataclass(frozen=True)
class Pin:
    """A pin: direction, capacitance in fF, function (outputs) and timing.

    ``setups`` are indexed by the pin's own edge, as delays are.
    """

    name: str
    direction: str
    capacitance: float
    function: str
    arcs: tuple[Arc, ...]
    setups: tuple[tuple[Table, ...], tuple[Table, ...]]


class PinMaker(Protocol):
    """What makes pins of their groups: a library, which knows units and table templates."""

    def pin(self, group: Group) -> Pin:
        """Make a pin with its timing from its group."""


@dataclass
class LibertyCell:
    """A cell: area in the library's unit, pins, and whether it holds state."""

    name: str
    area: float
    flop: bool
    latch: bool
    _pins: list[Group]
    _owner: "PinMaker"

    @cached_property
    def pins(self) -> dict[str, Pin]:
        """The pins by name, timing included.

        Timing from one output to another is left out: what goes that way is in the timing from
        the inputs, too.
        """
        outputs = {pin.name for pin in self._pins if pin.get("direction") == "output"}
        pins = (self._owner.pin(group) for group in self._pins)
        return {pin.name: replace(pin, arcs=tuple(arc for arc in pin.arcs
                                                  if arc.related not in outputs))
                for pin in pins}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The input pins in the library's order."""
        return tuple(pin.name for pin in self._pins if pin.get("direction") == "input")

    @cached_property
    def tables(self) -> dict[str, int]:
        """Truth tables over ``inputs`` of all outputs; empty unless all are combinational."""
        outputs = [pin for pin in self._pins if pin.get("direction") == "output"]
        if (self.flop or self.latch or len(self.inputs) > 6
                or any("three_state" in pin.values for pin in outputs)):
            return {}
        try:
            return {pin.name: truth_table(pin.get("function"), list(self.inputs))
                    for pin in outputs}
        except ValueError:
            return {}

    @property
    def function(self) -> tuple[int, int] | None:
        """Number of inputs and truth table of a cell with one combinational output, or None."""
        tables = list(self.tables.values())
        return (len(self.inputs), tables[0]) if len(tables) == 1 else None
