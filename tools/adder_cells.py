"""Full and half adders among a library's cells, found by what they compute."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.liberty import LibertyCell

__all__ = ["AdderCell", "adders"]

# Truth tables over the inputs: bit i is the value where input k is bit k of i.
_ONES = {3: 0xFF, 2: 0xF}
_CARRY = {3: 0b11101000, 2: 0b1000}
_SUM = {3: 0b10010110, 2: 0b0110}


@dataclass(frozen=True)
class AdderCell:
    """A cell of two outputs that adds its two or three inputs, which are interchangeable.

    ``carry_inverted`` and ``sum_inverted`` say that the pin gives the complement (ASAP7's CON and
    SN do).
    """

    name: str
    area: float
    inputs: tuple[str, ...]
    carry: str
    sum: str
    carry_inverted: bool
    sum_inverted: bool


def adders(cells: Iterable["LibertyCell"], inputs: int) -> list[AdderCell]:
    """The half (two ``inputs``) or full (three) adders among some cells, in their order."""
    found = []
    for cell in cells:
        tables = cell.tables
        if len(cell.inputs) != inputs or len(tables) != 2:
            continue
        for carry, total in (tuple(tables), tuple(tables)[::-1]):
            if (tables[carry] in (_CARRY[inputs], _CARRY[inputs] ^ _ONES[inputs])
                    and tables[total] in (_SUM[inputs], _SUM[inputs] ^ _ONES[inputs])):
                found.append(AdderCell(
                    cell.name, cell.area, cell.inputs, carry, total,
                    tables[carry] != _CARRY[inputs], tables[total] != _SUM[inputs]))
    return found
