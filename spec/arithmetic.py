"""Records of the arithmetic units around the dot arrays: decoders, and all of FP32 and scales.

As in :mod:`spec.units`, ``LATENCY`` is a promise in clock cycles. Here it follows from where the
description's ``[pipeline]`` puts registers; results do not.
"""

from typing import ClassVar

from pydantic import Field

from spec.formats import FORMATS, SCALE_FORMATS, NumberFormat, ScaleFormat
from spec.units import UnitParams, slot_bits

__all__ = [
    "DecoderParams", "Fp32AdderParams", "Fp32MultiplierParams", "Fp32RounderParams",
    "GroupScalerParams", "RowAccumulatorParams", "ScaleCombinerParams", "SubwordDecoderParams",
    "ZeroSubtractorParams",
]


class DecoderParams(UnitParams):
    """Codes of ``format``, ``lanes`` at a time."""

    LATENCY: ClassVar[int] = 1
    format: str
    lanes: int = Field(ge=1, le=256)

    @property
    def number_format(self) -> NumberFormat:
        """The format's record."""
        return FORMATS[self.format]


class SubwordDecoderParams(UnitParams):
    """Codes of ``wide``, ``lanes`` at a time, or twice as many of ``narrow``."""

    LATENCY: ClassVar[int] = 1
    wide: str
    narrow: str
    lanes: int = Field(ge=1, le=256)

    @property
    def wide_decoder(self) -> DecoderParams:
        """Decoder of the wide codes and of the even narrow ones."""
        return DecoderParams(format=self.wide, lanes=self.lanes)

    @property
    def narrow_decoder(self) -> DecoderParams:
        """Decoder of the odd narrow codes."""
        return DecoderParams(format=self.narrow, lanes=self.lanes)


class ZeroSubtractorParams(UnitParams):
    """Codes of ``bits`` bits less the zero points of their groups: ``lanes`` at a time, in
    ``groups`` groups of the same length."""

    LATENCY: ClassVar[int] = 1
    bits: int = Field(ge=4, le=8)
    lanes: int = Field(ge=1, le=256)
    groups: int = Field(ge=1, le=32)

    @property
    def difference(self) -> NumberFormat:
        """Format of what is multiplied."""
        return FORMATS[f"int{self.bits + 1}"]


class _Fp32Params(UnitParams):
    """A unit of FP32 arithmetic, cut by registers as fine as ``fp32`` asks: the cycles of an FP32
    addition.

    ``CUTS`` are the registers inside the unit for each value of ``fp32``, named for what stands in
    front of them; the result stands in registers in any case.
    """

    CUTS: ClassVar[tuple[tuple[str, ...], ...]]
    fp32: int = Field(4, ge=1, le=8)

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

    CUTS = ((), ("count",), *(("magnitude", "shift"),) * 2,
            *(("magnitude", "count", "shift"),) * 3, ("magnitude", "count", "far", "shift"))
    sum_bits: int = Field(ge=2, le=128)
    lsb_exponent: int = Field(ge=-126, le=0)


class Fp32MultiplierParams(_Fp32Params):
    """FP32 multiplication."""

    CUTS = ((), ("multiply",), ("normalise", "multiply"), ("normalise", "multiply", "adjust"),
            *(("count", "normalise", "multiply", "adjust"),) * 4)


class Fp32AdderParams(_Fp32Params):
    """FP32 addition."""

    CUTS = ((), ("add",), ("align", "count"), ("order", "add", "shift"),
            ("order", "add", "count", "shift"), ("order", "align", "add", "count", "shift"),
            ("operands", "order", "align", "add", "count", "shift"),
            ("operands", "order", "far", "align", "add", "count", "shift"))


class ScaleCombinerParams(UnitParams):
    """The product of an activation scale and a weight scale."""

    scale_format: str
    fp32: int = Field(4, ge=1, le=8)

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

    CUTS = ((), *(("exponent",),) * 3, *(("exponent", "shift"),) * 3, ("exponent", "far", "shift"))
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
    fp32: int = Field(4, ge=1, le=8)

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
        return slot_bits(self.rows)
