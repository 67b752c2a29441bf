"""One frozen record of parameters per unit; those of the arithmetic are in :mod:`spec.arithmetic`,
:mod:`spec.dot_arrays` and :mod:`spec.column`.

Each record holds what its unit's RTL, golden model and testbench need, and nothing of the rest of
the tile. Widths are derived here once. ``LATENCY`` is the number of clock cycles from the edge at
which an input is taken to the edge at which its result can be taken: a promise that the RTL makes
and the testbench measures.
"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from spec.formats import (
    FLOAT_FORMATS,
    FORMATS,
    FP32,
    SCALE_FORMATS,
    FloatFormat,
    next_power_of_two,
)

__all__ = [
    "ActivationBufferParams", "Axi4Params", "CommandCheckerParams", "FifoParams", "GearboxParams",
    "RegisterFileParams", "ResultPackerParams", "ScaleBufferParams", "SequencerParams",
    "SkidBufferParams", "UnitParams", "slot_bits",
]


def slot_bits(rows: int) -> int:
    """Width of the number of one of ``rows`` rows, of one too: Verilog has no vector of no bits."""
    return max(1, (rows - 1).bit_length())


class UnitParams(BaseModel):
    """Base of all unit records: frozen, strict, no unknown keys, JSON in and out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @field_validator("*", mode="after")
    @classmethod
    def _known_format(cls, value: Any, info: Any) -> Any:
        known: tuple[str, ...] = ()
        if info.field_name in ("weights", "activations", "format"):
            known = tuple(FORMATS)
        elif info.field_name == "result":
            known = tuple(FLOAT_FORMATS)
        elif info.field_name == "scale_format":
            known = tuple(SCALE_FORMATS)
        if known and value not in known:
            raise ValueError(f"{cls.__name__}.{info.field_name} must be one of "
                             f"{', '.join(known)}, not {value!r}")
        return value


class ActivationBufferParams(UnitParams):
    """``columns`` activation vectors of up to ``depth`` beats of ``atoms_per_beat`` atoms (a power
    of two)."""

    LATENCY: ClassVar[int] = 1
    atom_bits: int = Field(ge=8, le=768)
    columns: int = Field(ge=1, le=8)
    depth: int = Field(ge=2, le=65536)
    atoms_per_beat: int = Field(1, ge=1, le=8)

    @property
    def address_bits(self) -> int:
        """Width of a beat's number."""
        return (self.depth - 1).bit_length()

    @property
    def part_bits(self) -> int:
        """Width of an atom's place within its beat."""
        return (self.atoms_per_beat - 1).bit_length()

    @property
    def beat_bits(self) -> int:
        """Width of one column's beat."""
        return self.atom_bits * self.atoms_per_beat


class ScaleBufferParams(UnitParams):
    """Up to ``scales`` scales, or zero points, of ``scale_bits`` bits, written an atom at a time,
    read ``scales_per_read`` at a time (a power of two, no more than an atom holds)."""

    LATENCY: ClassVar[int] = 2
    atom_bits: int = Field(ge=8, le=512)
    scale_bits: int = Field(ge=4, le=32)
    scales: int = Field(ge=1, le=65536)
    scales_per_read: int = Field(1, ge=1, le=32)

    @property
    def scales_per_atom(self) -> int:
        """Scales in one atom."""
        return self.atom_bits // self.scale_bits

    @property
    def depth(self) -> int:
        """Atoms that the buffer holds, at least two."""
        return max(2, -(-self.scales // self.scales_per_atom))

    @property
    def address_bits(self) -> int:
        """Width of an atom's number."""
        return (self.depth - 1).bit_length()

    @property
    def read_bits(self) -> int:
        """Width of the scales that are read together."""
        return self.scale_bits * self.scales_per_read

    @property
    def reads_per_atom(self) -> int:
        """Reads that one atom serves."""
        return self.scales_per_atom // self.scales_per_read

    @property
    def index_bits(self) -> int:
        """Width of a read's number: the atom's above the position within it."""
        return self.address_bits + (self.reads_per_atom - 1).bit_length()


class GearboxParams(UnitParams):
    """Three atoms of ``atom_bits`` bits to two beats."""

    atom_bits: int = Field(ge=8, le=512)

    @property
    def beat_bits(self) -> int:
        """Width of a beat."""
        return self.atom_bits * 3 // 2


class FifoParams(UnitParams):
    """``depth`` places of ``bits`` bits."""

    LATENCY: ClassVar[int] = 2
    bits: int = Field(ge=1, le=2048)
    depth: int = Field(ge=2, le=2048)


class ResultPackerParams(UnitParams):
    """Rows of ``columns`` FP32 results to atoms of ``result`` format."""

    atom_bits: int = Field(ge=8, le=512)
    columns: int = Field(ge=1, le=8)
    result: str
    depth: int = Field(ge=2, le=1024)
    rows_bits: int = Field(ge=1, le=32)

    @property
    def result_format(self) -> FloatFormat:
        """The results' format in memory."""
        return FLOAT_FORMATS[self.result]

    @property
    def pitch(self) -> int:
        """Elements from one row to the next: ``columns`` rounded up to a power of two."""
        return next_power_of_two(self.columns)

    @property
    def rows_per_atom(self) -> int:
        """Result rows in one atom."""
        return self.atom_bits // (self.pitch * self.result_format.bits)

    @property
    def queue(self) -> FifoParams:
        """Queue of the rows that are done."""
        return FifoParams(bits=FP32.bits * self.columns, depth=self.depth)


class SkidBufferParams(UnitParams):
    """Two entries of ``bits`` bits."""

    LATENCY: ClassVar[int] = 1
    bits: int = Field(ge=1, le=1024)


class Axi4Params(UnitParams):
    """An AXI4 manager's side: ``atom_bits`` of data, bursts of at most ``burst_atoms`` beats.

    A memory that owes something and neither takes nor answers anything for ``timeout_cycles``
    clock cycles is given up.
    """

    address_bits: int = Field(ge=12, le=63)
    atom_bits: int = Field(ge=8, le=512)
    burst_atoms: int = Field(ge=1, le=256)
    outstanding_bursts: int = Field(ge=1, le=64)
    timeout_cycles: int = Field(16384, ge=16, le=1 << 20)

    @property
    def offset_bits(self) -> int:
        """Address bits within one atom."""
        return (self.atom_bits // 8 - 1).bit_length()

    @property
    def index_bits(self) -> int:
        """Width of an atom's number: the address without the bits within an atom."""
        return self.address_bits - self.offset_bits

    @property
    def count_bits(self) -> int:
        """Width of a count of atoms: the whole memory can be counted."""
        return self.index_bits + 1

    @property
    def write_queue_atoms(self) -> int:
        """Atoms that the writer holds: one burst under way, one that gathers, one in a register."""
        return 2 * self.burst_atoms + 1

    @property
    def write_queue(self) -> FifoParams:
        """Queue of the atoms to write."""
        return FifoParams(bits=self.atom_bits, depth=self.write_queue_atoms)

    @property
    def skid_buffer(self) -> SkidBufferParams:
        """Buffer of the atoms read: data, and the two bits of their fault."""
        return SkidBufferParams(bits=self.atom_bits + 2)


class CommandCheckerParams(UnitParams):
    """Everything that decides whether a command may start.

    ``memory_atoms`` are the atoms that a command may use, the lowest of the memory. ``transposed``
    says whether GEMV can multiply by transposed weights. ``lanes`` weights make an atom, and their
    activations ``activation_atoms``. ``group`` are the elements of a row that stand together, and
    their scales, of which ``scales_per_atom`` fit an atom, count as one: a scale group, or the
    groups of one beat. Behind them come ``tensor_scale_atoms`` with the scale of the tensor, or
    the zero points of weights, of which as many as belong to ``zeros_per_atom`` scales fit an atom;
    0 where weights have none. A beat of codes that are packed is one and a half atoms, and their
    counts are those of beats. ``narrow`` is the record of the second format, where there is one.
    """

    memory: Axi4Params
    memory_atoms: int = Field(ge=1)
    columns: int
    k_max: int
    rows_max: int
    lanes: int
    group: int
    rows_per_strip: int
    rows_per_block: int
    scale_rows: int
    scales_per_atom: int
    rows_per_result_atom: int
    transposed: bool = False
    activation_atoms: int = 1
    tensor_scale_atoms: int = 0
    zeros_per_atom: int = 0
    weights_packed: bool = False
    activations_packed: bool = False
    narrow: "CommandCheckerParams | None" = None

    @property
    def narrow_bits(self) -> int:
        """Width of what says which of the formats is meant, 0 where there is one."""
        return int(self.narrow is not None)

    @property
    def loaded_bits(self) -> int:
        """Width of what is known of a column's vector: its K, and above that its format."""
        return self.k_bits + self.narrow_bits

    @property
    def formats(self) -> tuple["CommandCheckerParams", ...]:
        """The record of each format, by the number that a command names."""
        return (self,) if self.narrow is None else (self, self.narrow)

    @property
    def packed(self) -> bool:
        """Whether any beats are one and a half atoms."""
        return self.weights_packed or self.activations_packed

    @property
    def beat_bits(self) -> int:
        """Width of what is taken from memory at a time: an atom, or one and a half."""
        return self.memory.atom_bits * (3 if self.packed else 2) // 2

    @property
    def weight_bits(self) -> int:
        """Width of a beat of weights."""
        return self.memory.atom_bits * (3 if self.weights_packed else 2) // 2

    @property
    def k_bits(self) -> int:
        """Width of K."""
        return self.k_max.bit_length()

    @property
    def k_atoms_bits(self) -> int:
        """Width of the atoms of one row of weights or one vector of activations."""
        return (-(-self.k_max // self.lanes) * self.activation_atoms).bit_length()

    @property
    def groups_max(self) -> int:
        """Most groups of one row."""
        return -(-self.k_max // self.group)

    @property
    def scales_max(self) -> int:
        """Most scales in front of one block of rows, in counts of ``group``."""
        own = self.groups_max * self.scale_rows
        return own if self.narrow is None else max(own, self.narrow.scales_max)

    @property
    def scale_atoms_bits(self) -> int:
        """Width of the scale atoms of one block of rows, or of one activation vector."""
        own = (-(-self.groups_max * self.scale_rows // self.scales_per_atom)
               + self.tensor_scale_atoms).bit_length()
        return own if self.narrow is None else max(own, self.narrow.scale_atoms_bits)

    @property
    def zero_atoms_bits(self) -> int:
        """Width of the atoms of zero points of one block of rows, 0 where weights have none."""
        if not self.zeros_per_atom:
            return 0
        return (-(-self.groups_max * self.scale_rows // self.zeros_per_atom)).bit_length()

    @property
    def rows_bits(self) -> int:
        """Width of a count of rows."""
        return self.rows_max.bit_length()

    @property
    def block_atoms_bits(self) -> int:
        """Width of the atoms in front of the weights of one block of rows."""
        return max(self.scale_atoms_bits, self.zero_atoms_bits) + bool(self.zeros_per_atom)

    @property
    def column_bits(self) -> int:
        """Width of a count of columns."""
        return self.columns.bit_length()

    @property
    def atoms_bits(self) -> int:
        """Width of a count of atoms: the longest weight stream, whether it fits memory or not."""
        return self.rows_bits + max(self.k_atoms_bits, self.block_atoms_bits) + 1 + self.packed

    @property
    def size_cycles(self) -> int:
        """Most cycles that the sizes of a command take, one per bit of the smaller factor."""
        return max((-(-self.k_max // self.lanes)).bit_length(), self.block_atoms_bits)


class SequencerParams(UnitParams):
    """Command execution: what the checker knows, the buffers, and the room for results.

    Rows take turns after ``span_beats`` beats: those of a group, or fewer. ``row_distance`` are the
    least cycles between two such turns of one row: the latency of their sum. A sum of the dot array
    is over ``sum_beats`` beats at most, a whole number of spans.
    """

    checker: CommandCheckerParams
    activation_buffer: ActivationBufferParams
    weight_scale_buffer: ScaleBufferParams
    weight_zero_buffer: ScaleBufferParams | None = None
    activation_scale_buffer: ScaleBufferParams
    result_rows: int = Field(ge=2, le=1024)
    row_distance: int = Field(ge=1, le=16)
    span_beats: int = Field(ge=1, le=4096)
    sum_beats: int = Field(ge=1, le=4096)

    @property
    def spans_max(self) -> int:
        """Most spans of one row."""
        own = self.checker.lanes * self.span_beats
        if self.checker.narrow is not None:
            own = min(own, self.checker.narrow.group)
        return -(-self.checker.k_max // own)

    @property
    def group_beats(self) -> tuple[int, ...]:
        """Atoms of one full group, of each format."""
        return tuple(one.group // one.lanes for one in self.checker.formats)

    @property
    def turn_beats(self) -> tuple[int, ...]:
        """Beats after which rows take turns, of each format; of a second one, those of a group."""
        return self.span_beats, *self.group_beats[1:]

    @property
    def scale_part_bits(self) -> int:
        """Width of a scale's place among those that are read together for the second format, where
        one of the first format is one of these."""
        return (self.weight_scale_buffer.scales_per_read.bit_length() - 1
                if self.checker.narrow is not None else 0)

    @property
    def slot_bits(self) -> int:
        """Width of a row's number within its strip; by transposed weights, within its block."""
        checker = self.checker
        rows = checker.rows_per_block if checker.transposed else checker.rows_per_strip
        return slot_bits(rows)

    @property
    def strips_per_block(self) -> tuple[int, ...]:
        """Strips of a full block, of each format."""
        return tuple(one.rows_per_block // one.rows_per_strip for one in self.checker.formats)


class RegisterFileParams(UnitParams):
    """The AXI4-Lite registers and the command queue behind them."""

    address_bits: int = Field(ge=12, le=63)
    queue_depth: int = Field(ge=2, le=64)
    identity: int = Field(ge=0, le=0xFFFFFFFF)

    @property
    def window_bits(self) -> int:
        """Width of a window address: one more than an address, so that the limit may stand behind
        the last byte."""
        return self.address_bits + 1
