"""Command descriptors as data: eight little-endian 32-bit words.

The RTL decoder, the Python driver, the golden tile, the C header and the documentation all read
this module.
"""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["COMMAND_WORDS", "ERROR_MEANINGS", "FIELDS", "Command", "ErrorCode", "Field", "Opcode"]

COMMAND_WORDS = 8


class Opcode(IntEnum):
    """What a command does."""

    LOAD = 1
    GEMV = 2
    FENCE = 3


class ErrorCode(IntEnum):
    """How a command ended.

    Codes up to OVERLAP are found before the command starts, by checks in ascending order; the first
    that fails is reported, and nothing was read or written. The others come from memory while the
    command runs: the first atom read with a fault decides (READ, ECC or TIMEOUT), and if there was
    none, the first fault of the writes (WRITE or TIMEOUT).
    """

    NONE = 0
    OPCODE = 1
    RESERVED = 2
    COLUMNS = 3
    K = 4
    ROWS = 5
    ALIGNMENT = 6
    WINDOW = 7
    NOT_LOADED = 8
    OVERLAP = 9
    READ = 10
    WRITE = 11
    ECC = 12
    TIMEOUT = 13


ERROR_MEANINGS = {
    ErrorCode.NONE: "the command succeeded",
    ErrorCode.OPCODE: "unknown opcode",
    ErrorCode.RESERVED: "a field that this opcode does not use is not zero",
    ErrorCode.COLUMNS: "LOAD: no such column; GEMV: columns is 0 or more than the tile has",
    ErrorCode.K: "k is 0 or more than k_max",
    ErrorCode.ROWS: "rows is 0 or more than 2^24 - 1",
    ErrorCode.ALIGNMENT: "an address is no multiple of the atom",
    ErrorCode.WINDOW: "a region leaves the window that the host opened",
    ErrorCode.NOT_LOADED: "a column that GEMV uses holds no vector of this k",
    ErrorCode.OVERLAP: "the result region overlaps the weights",
    ErrorCode.READ: "the memory answered a read with an error; results are invalid",
    ErrorCode.WRITE: "the memory answered a write with an error; results are invalid",
    ErrorCode.ECC: "a word with two wrong bits was read; results are invalid",
    ErrorCode.TIMEOUT: "the memory did not answer in time; results are invalid",
}


@dataclass(frozen=True)
class Field:
    """One field of a descriptor: ``bits`` bits from bit ``offset`` of the 256."""

    name: str
    offset: int
    bits: int
    meaning: str
    used_by: tuple[Opcode, ...]


_ALL = (Opcode.LOAD, Opcode.GEMV, Opcode.FENCE)
_WORK = (Opcode.LOAD, Opcode.GEMV)

FIELDS = (
    Field("opcode", 0, 8, "what to do", _ALL),
    Field("columns", 8, 8, "LOAD: the column to fill; GEMV: how many columns to use", _WORK),
    Field("tag", 16, 16, "the host's number for the command, reported with an error or a fence",
          _ALL),
    Field("k", 32, 32, "elements along K", _WORK),
    Field("rows", 64, 32, "rows of weights", (Opcode.GEMV,)),
    Field("reserved", 96, 32, "zero", ()),
    Field("source", 128, 64, "byte address of the codes (LOAD) or the weight stream (GEMV)", _WORK),
    Field("other", 192, 64, "byte address of the scales (LOAD) or the results (GEMV)", _WORK),
)


@dataclass(frozen=True)
class Command:
    """One command, field by field. :meth:`pack` and :meth:`unpack` are the words' only home."""

    opcode: int
    columns: int = 0
    tag: int = 0
    k: int = 0
    rows: int = 0
    reserved: int = 0
    source: int = 0
    other: int = 0

    def pack(self) -> tuple[int, ...]:
        """Return the descriptor's words; ``ValueError`` when a field does not fit."""
        bits = 0
        for field in FIELDS:
            value = getattr(self, field.name)
            if not 0 <= value < 1 << field.bits:
                raise ValueError(f"command field {field.name} must fit u{field.bits}, not {value}")
            bits |= value << field.offset
        return tuple(bits >> 32 * word & 0xFFFFFFFF for word in range(COMMAND_WORDS))

    @classmethod
    def unpack(cls, words: tuple[int, ...]) -> "Command":
        """Read a descriptor of ``COMMAND_WORDS`` words."""
        bits = sum(word << 32 * index for index, word in enumerate(words))
        return cls(**{field.name: bits >> field.offset & ((1 << field.bits) - 1)
                      for field in FIELDS})
