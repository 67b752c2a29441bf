"""Memory macros that a Liberty file describes, and which of them holds a memory of the design."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.console import UserError
from tools.liberty_text import Group
from tools.memory_area import Memory

if TYPE_CHECKING:
    from tools.liberty import Library

__all__ = ["Macro", "MacroFit", "fit", "macros_of"]


@dataclass(frozen=True)
class Macro:
    """One macro: its shape, area in um2, and times in ps under its own tables.

    ``ports`` says of each address port whether it reads and whether it writes.
    """

    name: str
    words: int
    width: int
    ports: tuple[tuple[bool, bool], ...]
    area: float
    access_ps: float
    setup_ps: float
    input_ff: float


@dataclass(frozen=True)
class MacroFit:
    """``count`` macros that make one memory; words beyond one macro's cost a selector of
    ``select_levels`` two-way levels behind the data."""

    macro: Macro
    count: int
    select_levels: int

    @property
    def area(self) -> float:
        """Area in um2 of all of them."""
        return self.count * self.macro.area


def fit(memory: Memory, macros: Sequence[Macro]) -> MacroFit | None:
    """The fit of the smallest area, or None when no macro has the ports.

    Each write port needs one of its own; read ports beyond the macro's are further copies.
    """
    fits = []
    for macro in macros:
        writers = sorted(ports for ports in macro.ports if ports[1])[:memory.write_ports]
        others = list(macro.ports)
        for used in writers:  # Those that only write are taken first.
            others.remove(used)
        readers = sum(reads for reads, _ in others)
        if len(writers) < memory.write_ports or not readers:
            continue
        copies = math.ceil(memory.read_ports / readers)
        down = math.ceil(memory.words / macro.words)
        across = math.ceil(memory.width / macro.width)
        fits.append(MacroFit(macro, copies * down * across, math.ceil(math.log2(down))))
    return min(fits, default=None, key=lambda one: (one.area, one.count, one.macro.name))


def macros_of(library: Group, owner: "Library", slew_ps: float, load_ff: float) -> list[Macro]:
    """The cells with a ``memory`` group; ``owner`` knows their units and table templates.

    Times are those at an input edge of ``slew_ps`` and a load of ``load_ff`` on the data.
    """
    found = []
    for cell in library.of("cell"):
        for memory in cell.of("memory"):
            pins = [(group, owner.pin(group)) for group in cell.of("bus", "pin")]
            ports: dict[str, list[bool]] = {}
            for group, _ in pins:
                for way, kind in enumerate(("memory_read", "memory_write")):
                    for port in group.of(kind):
                        ports.setdefault(port.get("address"), [False, False])[way] = True
            access = [arc.delays[edge].at(slew_ps, load_ff) for _, pin in pins
                      for arc in pin.arcs for edge in (0, 1)]
            setup = [table.at(slew_ps, slew_ps) for _, pin in pins
                     for edge in pin.setups for table in edge]
            found.append(Macro(
                cell.name, 1 << _number(cell, memory, "address_width"),
                _number(cell, memory, "word_width"),
                tuple((reads, writes) for reads, writes in ports.values()),
                _area(cell), max(access, default=0.0), max(setup, default=0.0),
                max((pin.capacitance for _, pin in pins if pin.direction == "input"),
                    default=0.0)))
    return found


def _area(cell: Group) -> float:
    try:
        return float(cell.get("area"))
    except ValueError:
        raise UserError(f"memory macro {cell.name} has the area {cell.get('area')!r}; a number "
                        "is needed") from None


def _number(cell: Group, group: Group, name: str) -> int:
    try:
        return int(group.get(name))
    except ValueError:
        raise UserError(f"memory macro {cell.name} has the {name} {group.get(name)!r}; a number "
                        "is needed") from None
