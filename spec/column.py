"""Record of a column: all units from decoded codes to sums of rows."""

from pydantic import Field

from spec.arithmetic import (
    Fp32RounderParams, GroupScalerParams, RowAccumulatorParams, ScaleCombinerParams,
)
from spec.dot_arrays import (
    AnyDotArrayParams, BlockDotArrayParams, DotArrayParams, InterleavedParams,
    SubwordDotArrayParams,
)
from spec.formats import NumberFormat
from spec.units import UnitParams

__all__ = ["ColumnParams"]


class ColumnParams(UnitParams):
    """All units of one column.

    Where a beat has several scale groups (``groups_per_beat``, a power of two), ``dot_array`` is
    that of one of them, and each has its own, its rounder and its scaler; a tree of FP32 adders
    joins what they give. Another ``dot_array`` than the exact one adds the beats of rows in turn,
    gives FP32 by itself, and makes ``sums_per_group`` sums of a group. One with blocks takes their
    scales beside; the group is then the row, and its scales those of the tensors. One of two pairs
    of formats makes the sums of all groups by itself: ``groups_per_beat`` is of the narrow ones,
    and a wide beat has one group.
    """

    dot_array: AnyDotArrayParams
    groups_per_beat: int = Field(1, ge=1, le=32)
    sums_per_group: int = Field(1, ge=1, le=512)
    scale_format: str
    rows: int = Field(ge=1, le=256)
    fp32: int = Field(4, ge=1, le=8)

    @property
    def lanes(self) -> int:
        """Products of one beat; of two pairs of formats, of the wide one."""
        return self.dot_array.lanes * (1 if self.several else self.groups_per_beat)

    @property
    def several(self) -> bool:
        """Whether there are two pairs of formats."""
        return isinstance(self.dot_array, SubwordDotArrayParams)

    @property
    def formats(self) -> tuple["ColumnParams", ...]:
        """The column as it is with each pair of formats alone; itself, if there is one."""
        if not isinstance(self.dot_array, SubwordDotArrayParams):
            return (self,)
        return (self.model_copy(update={"dot_array": self.dot_array.wide, "groups_per_beat": 1}),
                self.model_copy(update={"dot_array": self.dot_array.narrow}))

    @property
    def weight_format(self) -> NumberFormat:
        """Format of the weights."""
        return self.dot_array.weight_format

    @property
    def activation_format(self) -> NumberFormat:
        """Format of the activations."""
        return self.dot_array.activation_format

    @property
    def span(self) -> int:
        """Elements of a row that are added before the next row of a strip has its turn: a scale
        group, or a beat that has several, or of which several have the same scale."""
        return self.lanes * (1 if self.interleaved else self.dot_array.group_beats)

    @property
    def interleaved(self) -> bool:
        """Whether the beats of rows follow each other in turn."""
        return isinstance(self.dot_array, InterleavedParams)

    @property
    def block_scale_bits(self) -> int:
        """Width of the scales of a beat's blocks on one side, 0 where there are none."""
        if not isinstance(self.dot_array, BlockDotArrayParams):
            return 0
        return self.dot_array.blocks * self.dot_array.SCALE.bits

    @property
    def fp32_rounder(self) -> Fp32RounderParams:
        """Rounder behind the exact dot array."""
        assert isinstance(self.dot_array, DotArrayParams | BlockDotArrayParams)
        return Fp32RounderParams(sum_bits=self.dot_array.sum_bits, fp32=self.fp32,
                                 lsb_exponent=self.dot_array.lsb_exponent)

    @property
    def fp32_rounders(self) -> tuple[Fp32RounderParams, ...]:
        """Rounder of each group of a beat."""
        if not isinstance(self.dot_array, SubwordDotArrayParams):
            return (self.fp32_rounder,) * self.groups_per_beat
        narrow = self.formats[1].fp32_rounder
        return (self.fp32_rounder, narrow)[:self.groups_per_beat]

    @property
    def scale_combiner(self) -> ScaleCombinerParams:
        """Product of the two scales."""
        return ScaleCombinerParams(scale_format=self.scale_format, fp32=self.fp32)

    @property
    def group_scaler(self) -> GroupScalerParams:
        """Group sum times combined scale."""
        return GroupScalerParams(scale_format=self.scale_format, fp32=self.fp32)

    @property
    def row_accumulator(self) -> RowAccumulatorParams:
        """Accumulation over groups."""
        return RowAccumulatorParams(rows=self.rows, fp32=self.fp32)

    @property
    def sum_cycles(self) -> int:
        """Cycles from the last beat of a group to its rounded sum: no less than the combined scale
        takes, which waits for it."""
        rounding = 0 if self.interleaved else self.fp32_rounder.LATENCY
        return self.dot_array.LATENCY + rounding

    @property
    def scaled_cycles(self) -> int:
        """Cycles from the last beat of a group to what is added to its row: the scaled sum, or
        those of a beat, joined."""
        levels = (self.groups_per_beat - 1).bit_length()
        return (self.sum_cycles + self.group_scaler.LATENCY
                + levels * self.row_accumulator.adder.LATENCY)

    @property
    def LATENCY(self) -> int:
        """The sum of the units in a row: dot product, rounding, scaling, joining, accumulation."""
        return self.scaled_cycles + self.row_accumulator.LATENCY
