"""Command descriptors as data: twelve little-endian 32-bit words.

The RTL decoder, the Python driver, the golden tile, the C header and the documentation all read
this module.
"""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["COMMAND_WORDS", "ERROR_MEANINGS", "FIELDS", "Command", "ErrorCode", "Field", "Opcode"]

COMMAND_WORDS = 12


class Opcode(IntEnum):
    """What a command does."""

    LOAD = 1
    GEMV = 2
    FENCE = 3
    QUANTIZE = 4
    REDUCE = 5
    TRANSPOSE = 6
    COPY = 7
    MAP = 8


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
    FORMAT = 3
    GROUP = 4
    COLUMNS = 5
    K = 6
    ROWS = 7
    ALIGNMENT = 8
    WINDOW = 9
    NOT_LOADED = 10
    OVERLAP = 11
    READ = 12
    WRITE = 13
    ECC = 14
    TIMEOUT = 15


ERROR_MEANINGS = {
    ErrorCode.NONE: "the command succeeded",
    ErrorCode.OPCODE: "an opcode that is unknown, or whose unit the description did not build",
    ErrorCode.RESERVED: "a field that this command does not use is not zero",
    ErrorCode.FORMAT: "a format, rule or reduction that is unknown or was not built, or formats "
                      "that do not go together",
    ErrorCode.GROUP: "a group size that was not built, or that this command cannot have",
    ErrorCode.COLUMNS: "LOAD: no such column; GEMV: columns is 0 or more than the tile has",
    ErrorCode.K: "k is 0 or more than this command can have",
    ErrorCode.ROWS: "rows is 0 or more than this command can have",
    ErrorCode.ALIGNMENT: "an address is no multiple of the atom",
    ErrorCode.WINDOW: "a region leaves the window that the host opened",
    ErrorCode.NOT_LOADED: "a column that GEMV uses holds no vector of this k and format",
    ErrorCode.OVERLAP: "a region that is written overlaps another",
    ErrorCode.READ: "the memory answered a read with an error; results are invalid",
    ErrorCode.WRITE: "the memory answered a write with an error; results are invalid",
    ErrorCode.ECC: "a word with two wrong bits was read; results are invalid",
    ErrorCode.TIMEOUT: "the memory did not answer in time; results are invalid",
}


@dataclass(frozen=True)
class Field:
    """One field of a descriptor: ``bits`` bits from bit ``offset`` of the descriptor."""

    name: str
    offset: int
    bits: int
    meaning: str
    used_by: tuple[Opcode, ...]


_L, _G, _F = Opcode.LOAD, Opcode.GEMV, Opcode.FENCE
_Q, _R, _T, _C, _M = (Opcode.QUANTIZE, Opcode.REDUCE, Opcode.TRANSPOSE, Opcode.COPY, Opcode.MAP)

FIELDS = (
    Field("opcode", 0, 8, "what to do", tuple(Opcode)),
    Field("columns", 8, 8, "LOAD: the column to fill; GEMV: how many columns to use", (_L, _G)),
    Field("tag", 16, 16, "the host's number for the command, reported with an error or a fence",
          tuple(Opcode)),
    Field("k", 32, 32, "elements of a row; MAP: elements of the window, 0 closes it",
          (_L, _G, _Q, _R, _T, _C, _M)),
    Field("rows", 64, 32, "rows", (_G, _Q, _R, _T, _C)),
    Field("source_format", 96, 4, "format of the source's elements; LOAD: BF16 to quantize, "
          "else 0", (_L, _Q, _R, _T, _C)),
    Field("target_format", 100, 4, "format of the target's elements", (_Q, _T, _C, _M)),
    Field("rule", 104, 4, "rule by which the target's scales are made", (_Q, _T, _C, _M)),
    Field("group", 108, 4, "binary logarithm of the target's group size, 0 without scales",
          (_Q, _T, _C, _M)),
    Field("reduction", 112, 4, "what to make of a row", (_R,)),
    Field("whole", 116, 1, "one result for all rows together", (_R,)),
    Field("to_host", 117, 1, "results go to the host port, not to memory", (_Q, _R, _T, _C)),
    Field("transposed", 118, 1, "multiply by the transposed weights", (_G,)),
    Field("format_index", 119, 4, "which of the formats that compute.weights lists: 0 the first",
          (_L, _G)),
    Field("reserved", 123, 5, "zero", ()),
    Field("source", 128, 64, "byte address of what is read: codes, values, the weight stream",
          (_L, _G, _Q, _R, _T, _C, _M)),
    Field("source_scales", 192, 64, "byte address of the scales of an FP8 source",
          (_L, _R, _T, _C)),
    Field("target", 256, 64, "byte address of the results", (_G, _Q, _R, _T, _C)),
    Field("target_scales", 320, 64, "byte address of the scales of FP8 results", (_Q, _T, _C)),
)


@dataclass(frozen=True)
class Command:
    """One command, field by field. :meth:`pack` and :meth:`unpack` are the words' only home."""

    opcode: int
    columns: int = 0
    tag: int = 0
    k: int = 0
    rows: int = 0
    source_format: int = 0
    target_format: int = 0
    rule: int = 0
    group: int = 0
    reduction: int = 0
    whole: int = 0
    to_host: int = 0
    transposed: int = 0
    format_index: int = 0
    reserved: int = 0
    source: int = 0
    source_scales: int = 0
    target: int = 0
    target_scales: int = 0

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
