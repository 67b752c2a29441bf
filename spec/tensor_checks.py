"""Checks of commands on whole tensors: what the tile can do, and the sizes of all regions.

Layouts are those of :mod:`spec.tensors`.
"""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from spec.commands import Command, Opcode
from spec.formats import SCALE_FORMATS
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat, scale_bits, wide_results
from spec.units import Axi4Params, UnitParams

__all__ = ["FP8", "TensorCheckerParams", "TensorSizes", "copies_scales", "makes_scales",
           "reads_scales", "tensor_sizes"]

FP8 = (TensorFormat.E4M3, TensorFormat.E5M2)


class TensorCheckerParams(UnitParams):
    """Everything that decides whether a command on a whole tensor may start.

    ``memory_atoms`` are the atoms that a command may use, the lowest of the memory. ``group`` and
    ``scale_format`` are those of FP8 tensors that are read; with ``load_format`` and ``load_rule``
    they are those that LOAD quantizes to. ``formats``, ``rules`` and ``groups`` are the
    quantizer's, empty without one; ``requantized`` are the formats that TRANSPOSE takes where it
    makes new scales, ``transpose_block`` is 0 without a transposer. ``host`` says whether results
    can go to the host, ``window`` whether there is a cast window.
    """

    memory: Axi4Params
    memory_atoms: int = Field(ge=1)
    columns: int = Field(ge=1, le=8)
    k_max: int = Field(ge=1, le=65536)
    rows_max: int = Field(ge=1, lt=1 << 24)
    group: int = Field(ge=8, le=4096)
    scale_format: str
    load_format: str
    load_rule: str
    formats: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    reduce_formats: tuple[str, ...] = ()
    transpose_block: int = Field(0, ge=0, le=256)
    requantized: tuple[str, ...] = ()
    copy_formats: tuple[str, ...] = ()
    host: bool = False
    window: bool = False
    # Longest row of a tensor without scales, and longest cast window.
    ROW_MAX: ClassVar[int] = (1 << 24) - 1
    WINDOW_MAX: ClassVar[int] = (1 << 32) - 1
    REGIONS: ClassVar[int] = 4

    @property
    def opcodes(self) -> tuple[Opcode, ...]:
        """The commands that some unit was built for; LOAD is always one."""
        built = {Opcode.QUANTIZE: self.formats, Opcode.REDUCE: self.reduce_formats,
                 Opcode.TRANSPOSE: self.transpose_block, Opcode.COPY: self.copy_formats,
                 Opcode.MAP: self.window}
        return (Opcode.LOAD, *(opcode for opcode, unit in built.items() if unit))

    @property
    def load(self) -> bool:
        """Whether the quantizer can make what LOAD needs."""
        return (self.load_format in self.formats and self.load_rule in self.rules
                and self.group in self.groups)

    @property
    def atom_bytes(self) -> int:
        """Bytes of an atom."""
        return self.memory.atom_bits // 8

    @property
    def scale_bytes(self) -> int:
        """Bytes of one scale of an FP8 tensor that is read."""
        return SCALE_FORMATS[self.scale_format].bits // 8

    @property
    def column_bits(self) -> int:
        """Width of the number of a column."""
        return self.columns.bit_length()

    @property
    def k_bits(self) -> int:
        """Width of K."""
        return (self.WINDOW_MAX if self.window else self.ROW_MAX).bit_length()

    @property
    def rows_bits(self) -> int:
        """Width of a number of rows."""
        return self.rows_max.bit_length()

    @property
    def row_bits(self) -> int:
        """Width of a number of atoms of one row: of results of REDUCE, or of a cast window."""
        longest = max(self.ROW_MAX * 8, self.WINDOW_MAX * 2 if self.window else 0)
        return (-(-longest // self.atom_bytes)).bit_length()

    @property
    def times_bits(self) -> int:
        """Width of a number of rows of a region; a transposed tensor has K."""
        return max(self.rows_bits, self.ROW_MAX.bit_length())

    @property
    def atoms_bits(self) -> int:
        """Width of a number of atoms of a region, whether it fits memory or not."""
        return self.row_bits + self.times_bits

    @property
    def cycles(self) -> int:
        """Cycles from a descriptor to its result: five and one per bit of the rows, per region."""
        return 3 + self.REGIONS * (self.times_bits + 5)


def makes_scales(command: Command) -> bool:
    """Whether the command quantizes to ``rule`` and ``group``."""
    return (command.opcode == Opcode.QUANTIZE
            or command.opcode == Opcode.MAP and command.k != 0
            or command.opcode == Opcode.TRANSPOSE and command.rule != ScaleRule.NONE
            or command.opcode == Opcode.COPY and command.target_format in FP8
            and command.source_format != command.target_format)


def copies_scales(command: Command) -> bool:
    """Whether the command copies codes and scales as they are."""
    return (command.opcode == Opcode.COPY and command.target_format in FP8
            and command.source_format == command.target_format)


def reads_scales(command: Command) -> bool:
    """Whether the source has scales."""
    return command.source_format in FP8 and (
        command.opcode in (Opcode.REDUCE, Opcode.COPY)
        or command.opcode == Opcode.TRANSPOSE and makes_scales(command))


@dataclass(frozen=True)
class TensorSizes:
    """Sizes in atoms: of one row of each region, and of all its rows; 0 for no region.

    The results of REDUCE are one row. The target of LOAD is what it fills the buffers with, that
    of MAP what the window shows; of both, and of what goes to the host, nothing is in memory.
    """

    source_row: int
    source_scale_row: int
    target_row: int
    target_scale_row: int
    source_atoms: int
    source_scale_atoms: int
    target_atoms: int
    target_scale_atoms: int


def _ceil_divide(value: int, divisor: int) -> int:
    return -(-value // divisor)


def tensor_sizes(command: Command, params: TensorCheckerParams) -> TensorSizes:
    """Return the sizes of a command whose formats, rule, reduction and group are legal."""
    opcode, k, rows = command.opcode, command.k, command.rows

    def atoms(elements: int, element_bytes: int) -> int:
        return _ceil_divide(elements * element_bytes, params.atom_bytes)

    def element_bytes(name: int) -> int:
        return TensorFormat(name).float_format.bits // 8

    target, rule, group = command.target_format, command.rule, 1 << command.group
    source = command.source_format
    if opcode in (Opcode.LOAD, Opcode.MAP):
        source, rows = TensorFormat.BF16, 1
    if opcode == Opcode.LOAD:
        target, rule = TensorFormat[params.load_format.upper()], RULE_NAMES[params.load_rule]
        group = params.group
    if opcode == Opcode.MAP and not k:
        target = TensorFormat.BF16

    source_row = atoms(k, element_bytes(source))
    source_scale_row = target_scale_row = 0
    if reads_scales(command):
        source_scale_row = atoms(_ceil_divide(k, params.group), params.scale_bytes)
    new_scales = opcode == Opcode.LOAD or makes_scales(command)
    scale_bytes = scale_bits(ScaleRule(rule)) // 8

    target_rows = target_scale_rows = rows
    if opcode == Opcode.REDUCE:
        results = 1 if command.whole else rows
        target_rows = 1
        target_row = atoms(results, 8 if wide_results(Reduction(command.reduction)) else 4)
    elif opcode == Opcode.TRANSPOSE:
        target_rows, target_scale_rows = k, _ceil_divide(rows, params.transpose_block)
        target_row = atoms(rows, element_bytes(target))
        target_scale_row = atoms(k, scale_bytes) if new_scales else 0
    else:
        target_row = atoms(k, element_bytes(target))
        if copies_scales(command):
            target_scale_row = source_scale_row
        elif new_scales:
            target_scale_row = atoms(_ceil_divide(k, group), scale_bytes)
    return TensorSizes(
        source_row, source_scale_row, target_row, target_scale_row,
        rows * source_row, rows * source_scale_row,
        target_rows * target_row, target_scale_rows * target_scale_row)
