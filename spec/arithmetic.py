"""Records of the arithmetic units: a column, from codes to sums of rows.

As in :mod:`spec.units`, ``LATENCY`` is a promise in clock cycles. Here it follows from where the
description's ``[pipeline]`` puts registers; results do not.
"""

from typing import ClassVar

from pydantic import Field

from spec.formats import FLOAT_FORMATS, SCALE_FORMATS, FloatFormat, ScaleFormat
from spec.units import UnitParams

__all__ = [
    "ColumnParams", "DecoderParams", "DotArrayParams", "Fp32AdderParams", "Fp32MultiplierParams",
    "Fp32RounderParams", "GroupScalerParams", "RowAccumulatorParams", "ScaleCombinerParams",
]


class DecoderParams(UnitParams):
    """Codes of ``format``, ``lanes`` at a time."""

    LATENCY: ClassVar[int] = 1
    format: str
    lanes: int = Field(ge=1, le=256)

    @property
    def float_format(self) -> FloatFormat:
        """The format's record."""
        return FLOAT_FORMATS[self.format]


class DotArrayParams(UnitParams):
    """Exact dot product of one scale group: ``lanes`` products a beat, ``group_beats`` at most.

    ``multiply``, ``shift`` and ``adder_tree`` are the ranks of registers behind the product of two
    significands, behind the shift to fixed point, and in the tree that adds the lanes, where the
    last stands behind its sum. The sum of the group stands in registers in any case.
    """

    weights: str
    activations: str
    lanes: int = Field(ge=1, le=256)
    group_beats: int = Field(ge=1, le=1024)
    multiply: int = Field(1, ge=0, le=1)
    shift: int = Field(0, ge=0, le=1)
    adder_tree: int = Field(1, ge=0, le=8)

    @property
    def LATENCY(self) -> int:
        """One cycle to accumulate, and one for each rank of registers."""
        return 1 + self.multiply + self.shift + self.adder_tree

    @property
    def tree_registers(self) -> tuple[int, ...]:
        """Levels of the adder tree behind which registers stand, evenly, a level once for each."""
        levels = (self.lanes - 1).bit_length()
        return tuple(-(-levels * (rank + 1) // self.adder_tree) for rank in range(self.adder_tree))

    @property
    def weight_format(self) -> FloatFormat:
        """Format of the weights."""
        return FLOAT_FORMATS[self.weights]

    @property
    def activation_format(self) -> FloatFormat:
        """Format of the activations."""
        return FLOAT_FORMATS[self.activations]

    @property
    def lsb_exponent(self) -> int:
        """Exponent of the least significant bit of every product (E4M3 x E4M3: -18)."""
        return self.weight_format.smallest_exponent + self.activation_format.smallest_exponent

    @property
    def largest_product(self) -> int:
        """Largest magnitude of one product, in units of ``2**lsb_exponent``."""
        result = 1
        for fmt in (self.weight_format, self.activation_format):
            significand = (fmt.largest_code & fmt.mantissa_mask) | (1 << fmt.mantissa_bits)
            result *= significand << fmt.largest_shift
        return result

    @property
    def product_bits(self) -> int:
        """Two's complement width of one product."""
        return self.largest_product.bit_length() + 1

    @property
    def beat_bits(self) -> int:
        """Two's complement width of the sum of one beat."""
        return (self.largest_product * self.lanes).bit_length() + 1

    @property
    def sum_bits(self) -> int:
        """Two's complement width of the sum of one group (E4M3, 128 products: 44)."""
        return (self.largest_product * self.lanes * self.group_beats).bit_length() + 1

    @property
    def has_infinity(self) -> bool:
        """Whether either operand format has infinities."""
        return self.weight_format.has_infinity or self.activation_format.has_infinity


class _Fp32Params(UnitParams):
    """A unit of FP32 arithmetic, cut by registers as fine as ``fp32`` asks: the cycles of an FP32
    addition.

    ``CUTS`` are the registers inside the unit for each value of ``fp32``, named for what stands in
    front of them; the result stands in registers in any case.
    """

    CUTS: ClassVar[tuple[tuple[str, ...], ...]]
    fp32: int = Field(4, ge=1, le=6)

    @property
    def cuts(self) -> tuple[str, ...]:
        """Where registers stand inside the unit."""
        return self.CUTS[self.fp32 - 1]

    @property
    def LATENCY(self) -> int:
        """One cycle for each cut, and one for the result."""
        return len(self.cuts) + 1


class Fp32RounderParams(_Fp32Params):
    """Fixed point s{``sum_bits``} in units of ``2**lsb_exponent``, to FP32.

    Within these limits no result is subnormal (``lsb_exponent >= -126``) and none overflows.
    """

    CUTS = ((), ("count",), ("magnitude", "shift"), ("magnitude", "shift"),
            ("magnitude", "count", "shift"), ("magnitude", "count", "shift"))
    sum_bits: int = Field(ge=2, le=128)
    lsb_exponent: int = Field(ge=-126, le=0)


class Fp32MultiplierParams(_Fp32Params):
    """FP32 multiplication."""

    CUTS = ((), ("multiply",), ("normalise", "multiply"), ("normalise", "multiply", "adjust"),
            ("count", "normalise", "multiply", "adjust"),
            ("count", "normalise", "multiply", "adjust"))


class Fp32AdderParams(_Fp32Params):
    """FP32 addition."""

    CUTS = ((), ("add",), ("align", "count"), ("order", "add", "shift"),
            ("order", "add", "count", "shift"), ("order", "align", "add", "count", "shift"))


class ScaleCombinerParams(UnitParams):
    """The product of an activation scale and a weight scale."""

    scale_format: str
    fp32: int = Field(4, ge=1, le=6)

    @property
    def multiplier(self) -> Fp32MultiplierParams:
        """The multiplier of FP32 scales."""
        return Fp32MultiplierParams(fp32=self.fp32)

    @property
    def LATENCY(self) -> int:
        """One cycle for E8M0 (an addition), the multiplier's for FP32."""
        return 1 if self.scale_format == "e8m0" else self.multiplier.LATENCY

    @property
    def format(self) -> ScaleFormat:
        """The scales' format."""
        return SCALE_FORMATS[self.scale_format]

    @property
    def combined_bits(self) -> int:
        """Width of the combined scale: a NaN flag above u9 for E8M0, 32 for FP32."""
        return 10 if self.scale_format == "e8m0" else 32


class GroupScalerParams(_Fp32Params):
    """Group sum times combined scale; ``CUTS`` are those with E8M0 scales."""

    CUTS = ((), *(("exponent",),) * 3, *(("exponent", "shift"),) * 2)
    scale_format: str

    @property
    def combiner(self) -> ScaleCombinerParams:
        """The record of the unit that makes the combined scale."""
        return ScaleCombinerParams(scale_format=self.scale_format, fp32=self.fp32)

    @property
    def LATENCY(self) -> int:
        """As the cuts say for E8M0 (exponent, rounding), the multiplier's for FP32."""
        return (len(self.cuts) + 1 if self.scale_format == "e8m0"
                else self.combiner.multiplier.LATENCY)


class RowAccumulatorParams(UnitParams):
    """FP32 accumulation of ``rows`` interleaved rows (a power of two)."""

    # More sums than these stand in a memory, fewer in flops.
    FLOP_ROWS: ClassVar[int] = 16
    rows: int = Field(ge=1, le=256)
    fp32: int = Field(4, ge=1, le=6)

    @property
    def in_memory(self) -> bool:
        """Whether the sums stand in a memory."""
        return self.rows > self.FLOP_ROWS

    @property
    def adder(self) -> Fp32AdderParams:
        """The adder, whose latency is the least distance of two groups of one row."""
        return Fp32AdderParams(fp32=self.fp32)

    @property
    def LATENCY(self) -> int:
        """The adder's, and one cycle to read a memory."""
        return self.adder.LATENCY + self.in_memory

    @property
    def slot_bits(self) -> int:
        """Width of a row's number within its strip."""
        return (self.rows - 1).bit_length()


class ColumnParams(UnitParams):
    """All units of one column."""

    dot_array: DotArrayParams
    scale_format: str
    rows: int = Field(ge=1, le=256)
    fp32: int = Field(4, ge=1, le=6)

    @property
    def fp32_rounder(self) -> Fp32RounderParams:
        """Rounder behind the dot array."""
        return Fp32RounderParams(sum_bits=self.dot_array.sum_bits, fp32=self.fp32,
                                 lsb_exponent=self.dot_array.lsb_exponent)

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
        return self.dot_array.LATENCY + self.fp32_rounder.LATENCY

    @property
    def LATENCY(self) -> int:
        """The sum of the units in a row: dot product, rounding, scaling, accumulation."""
        return self.sum_cycles + self.group_scaler.LATENCY + self.row_accumulator.LATENCY
