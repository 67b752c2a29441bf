"""What a tile is made of: its memory, formats and geometry, and the layouts that follow."""

from pydantic import BaseModel, ConfigDict, model_validator

from spec.arithmetic import Fp32AdderParams
from spec.description import Axi4Memory, Description, NativeMemory, Pipeline, resolved
from spec.dot_arrays import (
    AlignedDotArrayParams, AnyDotArrayParams, BlockDotArrayParams, DotArrayParams,
    Fp32DotArrayParams,
)
from spec.formats import (
    FLOAT_FORMATS, FORMATS, SCALE_FORMATS, WEIGHT_FORMATS, FloatFormat, NumberFormat, ScaleFormat,
    WeightFormat, ZeroPointFormat, lanes_of, next_power_of_two, packed,
)
from spec.grade import Grade
from spec.memory_units import MemoryControllerParams
from spec.units import Axi4Params

__all__ = ["ROWS_MAX", "TileGeometry"]

# Most rows of one GEMV: the width of the row counters, not of any storage.
ROWS_MAX = (1 << 24) - 1


class TileGeometry(BaseModel):
    """The part of :class:`spec.tile.Tile` from which all its units follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Description
    grade: Grade | None = None

    @model_validator(mode="after")
    def _has_the_grade_it_needs(self) -> "TileGeometry":
        interface = self.description.memory.interface
        if self.native != (self.grade is not None):
            raise ValueError(
                f"a tile with memory.interface = {interface!r} needs "
                + ("a grade: Tile(description=..., grade=load_grade(...)); spec.load.load_tile "
                   "reads both" if self.native else "no grade"))
        return self

    @property
    def name(self) -> str:
        """The tile's name, and that of its top module."""
        return self.description.name

    # Memory and clock

    @property
    def native(self) -> bool:
        """Whether the tile controls its pseudo-channel itself."""
        return isinstance(self.description.memory, NativeMemory)

    @property
    def clock_mhz(self) -> float:
        """Clock target in MHz."""
        mhz = resolved(self.description, self.grade).clock.target_mhz
        assert mhz is not None
        return mhz

    @property
    def address_bits(self) -> int:
        """Width of a byte address within the memory."""
        if self.grade is not None:
            return (self.grade.capacity_bytes - 1).bit_length()
        memory = self.description.memory
        assert isinstance(memory, Axi4Memory)
        return memory.address_bits

    @property
    def memory_bytes(self) -> int:
        """Bytes that commands and the host may use, from address 0; not those of check bits."""
        if self.native:
            return self.memory_controller.memory_atoms * self.atom_bytes
        return 1 << self.address_bits

    @property
    def axi4(self) -> Axi4Params:
        """The AXI4 manager; of a native memory, which has no bursts, the addresses and atoms."""
        memory = self.description.memory
        bursts = memory if isinstance(memory, Axi4Memory) else Axi4Memory()
        return Axi4Params(address_bits=self.address_bits, atom_bits=self.atom_bits,
                          burst_atoms=bursts.burst_atoms,
                          outstanding_bursts=bursts.outstanding_bursts)

    @property
    def memory_controller(self) -> MemoryControllerParams:
        """The controller of the pseudo-channel; ``ValueError`` for an AXI4 memory."""
        memory, grade = resolved(self.description, self.grade).memory, self.grade
        if not isinstance(memory, NativeMemory) or grade is None:
            raise ValueError(f"the tile {self.name} has memory.interface = {memory.interface!r}; "
                             "only a native memory has a controller")
        assert memory.refresh is not None
        return MemoryControllerParams(grade=grade, refresh=memory.refresh,
                                      host_share=memory.host_share, ecc=memory.ecc,
                                      phy_cycles=memory.phy_cycles)

    # Formats

    @property
    def weight_format(self) -> WeightFormat:
        """Format of the weights in memory; of two, the first."""
        return WEIGHT_FORMATS[self.description.compute.pairs[0][0]]

    @property
    def zero_points(self) -> bool:
        """Whether weights have zero points."""
        return isinstance(self.weight_format, ZeroPointFormat)

    @property
    def factor_format(self) -> NumberFormat:
        """Format of the weights as they are multiplied."""
        fmt = self.weight_format
        return FORMATS[fmt.difference] if isinstance(fmt, ZeroPointFormat) else fmt

    @property
    def activation_format(self) -> NumberFormat:
        """Format of the activations; of two, the first."""
        return FORMATS[self.description.compute.pairs[0][1]]

    @property
    def result_format(self) -> FloatFormat:
        """Format of the results in memory."""
        return FLOAT_FORMATS[self.description.compute.result]

    @property
    def scale_format(self) -> ScaleFormat:
        """Format of the group scales."""
        return SCALE_FORMATS[self.description.scaling.format]

    # Geometry

    @property
    def columns(self) -> int:
        """Activation vectors that share one pass over the weights."""
        return self.description.compute.columns

    @property
    def atom_bytes(self) -> int:
        """Bytes of one access."""
        if self.grade is not None:
            return self.grade.atom_bytes
        memory = self.description.memory
        assert isinstance(memory, Axi4Memory)
        return memory.atom_bytes

    @property
    def atom_bits(self) -> int:
        """Bits of one access."""
        return self.atom_bytes * 8

    @property
    def lanes(self) -> int:
        """Weights in one atom, and multipliers in one column."""
        return lanes_of(self.atom_bits, self.weight_format)

    @property
    def weight_beat_bits(self) -> int:
        """Bits of a beat of weights: an atom, or of 6-bit codes one and a half."""
        return self.lanes * self.weight_format.bits

    @property
    def group(self) -> int:
        """Elements along K that share a scale."""
        return self.description.scaling.group

    @property
    def groups_per_beat(self) -> int:
        """Groups that one atom of weights holds, 1 where a group is no shorter than an atom."""
        return max(1, self.lanes // self.group)

    @property
    def group_beats(self) -> int:
        """Atoms of one full group; 1 where an atom holds several."""
        return max(1, self.group // self.lanes)

    @property
    def interleaved(self) -> bool:
        """Whether rows take turns atom by atom: sums that are not exact take a few cycles for each
        beat of a row."""
        return self.description.compute.accumulation != "exact"

    @property
    def block_scaled(self) -> bool:
        """Whether scales go into the sum of a row, which is then scaled once more by those of the
        tensors: NVFP4."""
        return self.scale_format.name == "e4m3"

    @property
    def span(self) -> int:
        """Elements of a row that stand together in a strip: of a group, or of the groups of an
        atom; of one atom, where rows take turns atom by atom; of the longest row, where blocks are
        scaled within its sum."""
        if self.block_scaled:
            return next_power_of_two(self.k_atoms(self.k_max)) * self.lanes
        return self.lanes if self.interleaved else self.group_beats * self.lanes

    @property
    def sum_elements(self) -> int:
        """Elements of one sum of the dot array: a group, what is promoted together, or a row."""
        if self.block_scaled:
            return self.span
        return self.description.compute.promotion_interval or self.group

    @property
    def activation_atoms_per_beat(self) -> int:
        """Atoms of the activations that one beat of weights is multiplied by; of 6-bit codes, one
        beat, which is one and a half atoms."""
        if packed(self.activation_format):
            return 1
        return self.lanes * self.activation_format.bits // self.atom_bits

    @property
    def k_max(self) -> int:
        """Longest activation vector."""
        return self.description.compute.k_max

    @property
    def pipeline(self) -> Pipeline:
        """Where registers stand; every value is filled in."""
        return resolved(self.description, self.grade).pipeline

    @property
    def fp32_adder(self) -> Fp32AdderParams:
        """The adder of a column, whose latency decides how rows are interleaved."""
        assert self.pipeline.fp32 is not None
        return Fp32AdderParams(fp32=self.pipeline.fp32)

    def dot_array_of(self, rows: int) -> AnyDotArrayParams:
        """The dot array of one column, or of one of the groups of a beat; where rows are
        interleaved, of ``rows``."""
        compute = self.description.compute
        values = {"weights": self.factor_format.name,
                  "activations": self.activation_format.name,
                  "lanes": self.lanes if self.block_scaled else min(self.lanes, self.group),
                  "group_beats": max(1, self.sum_elements // self.lanes),
                  **self.pipeline.model_dump(include={"multiply", "shift", "adder_tree"})}
        if self.block_scaled:
            return BlockDotArrayParams(**values, block=self.group)
        if compute.accumulation_bits is not None:
            return AlignedDotArrayParams(**values, bits=compute.accumulation_bits, rows=rows)
        if self.interleaved:
            return Fp32DotArrayParams(**values, rows=rows, fp32=self.fp32_adder.fp32)
        return DotArrayParams(**values)

    @property
    def row_distance(self) -> int:
        """Least cycles between two spans of one row, where it may have several: the latency of what
        adds them."""
        if self.block_scaled:
            return 1
        dot = self.dot_array_of(rows=1)
        loop = dot.loop_cycles if isinstance(dot, AlignedDotArrayParams) else 1
        return max(loop, self.fp32_adder.LATENCY)

    @property
    def rows_per_strip(self) -> int:
        """Rows that are interleaved span by span, a power of two.

        Where beats are one and a half atoms, they are two or more, so that strips are whole atoms.
        Two spans of the strip's last row are ``rows_per_strip`` beats apart when the second is a
        tail of one atom; that distance must cover the latency of the accumulation.
        """
        return max(next_power_of_two(self.row_distance), 2 if packed(self.weight_format) else 1)

    @property
    def rows_per_block(self) -> int:
        """Rows whose weight scales stand together in front of their weights."""
        return max(self.description.scaling.weight_rows, self.rows_per_strip)

    @property
    def scale_rows(self) -> int:
        """Rows of weight scales in one block (1 unless a strip spans several)."""
        return self.rows_per_block // self.description.scaling.weight_rows

    # Layouts in memory, in atoms

    def k_atoms(self, k: int) -> int:
        """Beats of one row of weights of ``k`` elements: atoms, or of 6-bit codes one and a half
        each."""
        return -(-k // self.lanes)

    def activation_atoms(self, k: int) -> int:
        """Atoms of one activation vector of ``k`` elements: those of whole beats."""
        return -(-self.k_atoms(k) * self.lanes * self.activation_format.bits // self.atom_bits)

    def weight_atoms(self, rows: int, k: int) -> int:
        """Atoms of the codes of ``rows`` rows, in whole strips."""
        return self.padded_rows(rows) * self.k_atoms(k) * self.weight_beat_bits // self.atom_bits

    def groups(self, k: int) -> int:
        """Groups of a row of ``k`` elements; the last may be shorter."""
        return -(-k // self.group)

    def stored_groups(self, k: int) -> int:
        """Groups whose scales are stored for a row of ``k`` elements: those of whole beats."""
        return -(-k // max(self.group, self.lanes)) * self.groups_per_beat

    def padded_rows(self, rows: int) -> int:
        """Rows as stored: whole strips."""
        return -(-rows // self.rows_per_strip) * self.rows_per_strip

    def blocks(self, rows: int) -> int:
        """Blocks of ``rows`` rows; the last may hold fewer strips."""
        return -(-rows // self.rows_per_block)

    @property
    def tensor_scale_atoms(self) -> int:
        """Atoms of the scale of a tensor, behind each part of the scales of its groups."""
        return int(self.block_scaled)

    def activation_scale_atoms(self, k: int) -> int:
        """Atoms of the scales of one activation vector."""
        bits = self.stored_groups(k) * self.scale_format.bits
        return -(-bits // self.atom_bits) + self.tensor_scale_atoms

    def weight_scale_atoms(self, k: int) -> int:
        """Atoms of the weight scales in front of one block."""
        bits = self.stored_groups(k) * self.scale_rows * self.scale_format.bits
        return -(-bits // self.atom_bits) + self.tensor_scale_atoms

    def weight_zero_atoms(self, k: int) -> int:
        """Atoms of the zero points behind the scales of one block, 0 where weights have none."""
        if not self.zero_points:
            return 0
        bits = self.stored_groups(k) * self.scale_rows * self.weight_format.bits
        return -(-bits // self.atom_bits)

    def weight_stream_atoms(self, rows: int, k: int) -> int:
        """Atoms of a whole weight stream: scales, zero points and codes, in the order in which they
        are read."""
        return (self.weight_atoms(rows, k)
                + self.blocks(rows) * (self.weight_scale_atoms(k) + self.weight_zero_atoms(k)))

    def transposed_stream_atoms(self, rows: int, k: int) -> int:
        """Atoms that are read of a weight stream of ``rows`` rows to multiply by it transposed: of
        each block one with its scale, and its codes."""
        return (self.padded_rows(rows) * self.k_atoms(k)
                + self.blocks(rows) * self.groups(k))
