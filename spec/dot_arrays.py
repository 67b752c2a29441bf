"""Records of the dot arrays: sums of products, of each kind of accumulation and of formats.

As in :mod:`spec.arithmetic`, ``LATENCY`` follows from where registers stand.
"""

from typing import ClassVar

from pydantic import Field

from spec.arithmetic import Fp32AdderParams, RowAccumulatorParams
from spec.formats import E4M3, FORMATS, FP32, FloatFormat, IntegerFormat, NumberFormat
from spec.units import UnitParams, slot_bits

__all__ = [
    "AlignedDotArrayParams", "AnyDotArrayParams", "BlockDotArrayParams", "DotArrayParams",
    "Fp32DotArrayParams", "InterleavedParams", "ProductsParams", "SubwordDotArrayParams",
]


class ProductsParams(UnitParams):
    """Sums of products: ``lanes`` of them a beat, of ``group_beats`` beats at most.

    ``multiply``, ``shift`` and ``adder_tree`` are ranks of registers: behind the product of two
    significands, behind the shift that aligns it, and in the tree that adds the lanes, where the
    last stands behind its sum.
    """

    weights: str
    activations: str
    lanes: int = Field(ge=1, le=256)
    group_beats: int = Field(ge=1, le=4096)
    multiply: int = Field(1, ge=0, le=2)
    shift: int = Field(0, ge=0, le=1)
    adder_tree: int = Field(1, ge=0, le=8)

    @property
    def tree_registers(self) -> tuple[int, ...]:
        """Levels of the adder tree behind which registers stand, evenly, a level once for each."""
        levels = (self.lanes - 1).bit_length()
        return tuple(-(-levels * (rank + 1) // self.adder_tree) for rank in range(self.adder_tree))

    @property
    def weight_format(self) -> NumberFormat:
        """Format of the weights."""
        return FORMATS[self.weights]

    @property
    def activation_format(self) -> NumberFormat:
        """Format of the activations."""
        return FORMATS[self.activations]

    @property
    def lsb_exponent(self) -> int:
        """Exponent of the least significant bit of every product (E4M3 x E4M3: -18)."""
        return self.weight_format.smallest_exponent + self.activation_format.smallest_exponent

    @property
    def has_infinity(self) -> bool:
        """Whether either operand format has infinities."""
        return self.weight_format.has_infinity or self.activation_format.has_infinity


class DotArrayParams(ProductsParams):
    """Exact dot product of one scale group.

    Of two ranks of ``multiply``, one stands in front of the sign of the product. The sum of the
    group stands in registers in any case.
    """

    @property
    def LATENCY(self) -> int:
        """One cycle to accumulate, and one for each rank of registers."""
        return 1 + self.multiply + self.shift + self.adder_tree

    @property
    def largest_product(self) -> int:
        """Largest magnitude of one product, in units of ``2**lsb_exponent``."""
        return self.weight_format.lowest_magnitude * self.activation_format.lowest_magnitude

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
    def integers(self) -> bool:
        """Whether both operand formats are integers."""
        return all(isinstance(fmt, IntegerFormat)
                   for fmt in (self.weight_format, self.activation_format))

    @property
    def recoded(self) -> bool:
        """Whether products are rows of Booth's recoding. Of weights of 8 bits, yosys makes these by
        itself, and smaller ones where the library is mapped for speed."""
        return self.integers and self.weight_format.bits < 8

    @property
    def has_sign_bits(self) -> bool:
        """Whether either operand format has its sign beside its significand."""
        return any(isinstance(fmt, FloatFormat)
                   for fmt in (self.weight_format, self.activation_format))


class SubwordDotArrayParams(DotArrayParams):
    """A dot array whose lanes hold one product each, or two of formats of half as many bits.

    ``narrow`` is the dot array of these, or of one of the two groups of a beat of them, where its
    lanes are no more than those here. Values of its formats are values of the wide formats, too.
    """

    narrow: DotArrayParams

    @property
    def wide(self) -> DotArrayParams:
        """The dot array of the wide formats alone."""
        return DotArrayParams(**self.model_dump(exclude={"narrow"}))

    @property
    def narrow_groups(self) -> int:
        """Groups of one beat of narrow products: 1 or 2."""
        return 2 * self.lanes // self.narrow.lanes

    @property
    def narrow_shift(self) -> int:
        """Shift that brings a narrow product to ``2**lsb_exponent`` (E2M1 beside E4M3: 16)."""
        return self.narrow.lsb_exponent - self.lsb_exponent

    @property
    def narrow_place(self) -> int:
        """Place of narrow products in the terms of lanes."""
        return self.narrow.weight_format.bits if self.integers else self.narrow_shift

    @property
    def odd_bits(self) -> int:
        """Bits of the sum of a beat's odd products, never negative, below the even ones, which are
        multiples of ``2**narrow_shift``; 0 of integers, whose lanes add both."""
        if self.integers:
            return 0
        lanes = self.lanes // self.narrow_groups
        return self.narrow.product_bits + (lanes - 1).bit_length()

    @property
    def sum_bits(self) -> int:
        """Two's complement width of the sum of one group of either formats."""
        return max(super().sum_bits, self.narrow.sum_bits + self.narrow_shift)


class BlockDotArrayParams(ProductsParams):
    """Exact dot product of a whole row, whose blocks of ``block`` elements have E4M3 scales of
    their own on both sides (NVFP4).

    Registers stand in any case behind the sum of a block, behind its product with the significands
    of the scales, behind its shift, and behind the sum of the row.
    """

    SCALE: ClassVar[FloatFormat] = E4M3
    block: int = Field(ge=2, le=256)

    @property
    def blocks(self) -> int:
        """Blocks of one beat."""
        return self.lanes // self.block

    @property
    def dot_array(self) -> DotArrayParams:
        """The dot array of one block of a beat."""
        return DotArrayParams(
            lanes=self.block, group_beats=1,
            **self.model_dump(include={"weights", "activations", "multiply", "shift",
                                       "adder_tree"}))

    @property
    def LATENCY(self) -> int:
        """The sum of a block, times significand, shifted, and added to the row."""
        return self.dot_array.LATENCY + 3

    @property
    def lsb_exponent(self) -> int:
        """Exponent of the least significant bit of a scaled product (-20)."""
        return super().lsb_exponent + 2 * self.SCALE.smallest_exponent

    @property
    def shift_bits(self) -> int:
        """Width of the sum of the shifts of two scales."""
        return (2 * self.SCALE.largest_shift).bit_length()

    @property
    def scaled_bits(self) -> int:
        """Two's complement width of the sum of a block times two significands of scales."""
        return self.dot_array.sum_bits + 2 * self.SCALE.significand_bits

    @property
    def largest_product(self) -> int:
        """Largest magnitude of one scaled product, in units of ``2**lsb_exponent``."""
        return self.dot_array.largest_product * self.SCALE.largest_magnitude ** 2

    @property
    def block_bits(self) -> int:
        """Two's complement width of the scaled sum of a block."""
        return (self.largest_product * self.block).bit_length() + 1

    @property
    def beat_bits(self) -> int:
        """Two's complement width of the sum of one beat."""
        return (self.largest_product * self.lanes).bit_length() + 1

    @property
    def product_bits(self) -> int:
        """Two's complement width of one product, before its scales."""
        return self.dot_array.product_bits

    @property
    def sum_bits(self) -> int:
        """Two's complement width of the sum of one row (NVFP4, 16384 products: 58)."""
        return (self.largest_product * self.lanes * self.group_beats).bit_length() + 1


class InterleavedParams(ProductsParams):
    """Sums of products of ``rows`` rows, whose beats follow each other in turn."""

    rows: int = Field(ge=1, le=256)

    @property
    def slot_bits(self) -> int:
        """Width of a row's number."""
        return slot_bits(self.rows)


class AlignedDotArrayParams(InterleavedParams):
    """Sums of products in ``bits`` bits.

    Registers stand in any case behind the largest exponent of a beat, behind that of beat and sum,
    behind the sum, and behind the result.
    """

    bits: int = Field(ge=8, le=40)

    @property
    def loop_cycles(self) -> int:
        """Least cycles between two beats of one row: the exponents, the terms and their sum, and
        its leading one."""
        return 2 + self.shift + self.adder_tree

    @property
    def LATENCY(self) -> int:
        """Products, their largest exponent, the loop, and the result."""
        return self.multiply + 1 + self.loop_cycles + 1

    @property
    def fraction_bits(self) -> int:
        """Bits behind the point of a product of significands."""
        return self.weight_format.significand_bits + self.activation_format.significand_bits - 2

    @property
    def unit_exponent(self) -> int:
        """Exponent of a product of significands that is not shifted and whose leading bits are in
        front of the point (E4M3 x E4M3: -12)."""
        return self.lsb_exponent + self.fraction_bits

    @property
    def product_bits(self) -> int:
        """Two's complement width of what is kept of a product."""
        return self.bits + 2

    @property
    def beat_bits(self) -> int:
        """Two's complement width of the sum of one beat and the row's sum."""
        return self.total_bits + 1

    @property
    def sum_bits(self) -> int:
        """Significant bits of a sum."""
        return self.bits

    @property
    def total_bits(self) -> int:
        """Width of the magnitude of the sum of all terms of a beat and the row's sum: a term is
        below 4, in units of which ``bits - 1`` bits are behind the point."""
        return self.bits + 1 + self.lanes.bit_length()

    @property
    def largest_place(self) -> int:
        """Largest exponent that the sum of a group can have, less ``unit_exponent``."""
        shifts = self.weight_format.largest_shift + self.activation_format.largest_shift
        return shifts + 2 + (self.lanes * self.group_beats).bit_length()

    @property
    def leaves_normal_fp32(self) -> bool:
        """Whether a sum may be too small for a normal FP32 number, or too large for any."""
        return (self.unit_exponent - (self.bits - 1) < 1 - FP32.bias
                or self.unit_exponent + self.largest_place > FP32.bias)

    @property
    def place_bits(self) -> int:
        """Width of an exponent that counts from ``unit_exponent - (bits - 1)``."""
        return (self.largest_place + self.bits - 1).bit_length()


class Fp32DotArrayParams(InterleavedParams):
    """Sums of products in FP32.

    The FP32 additions are cut as ``fp32`` says: ``shift`` and ``adder_tree`` have no meaning here.
    Behind the ranks of ``multiply``, the product stands in registers once more as FP32.
    """

    fp32: int = Field(4, ge=1, le=8)

    @property
    def adder(self) -> Fp32AdderParams:
        """Each adder of the tree."""
        return Fp32AdderParams(fp32=self.fp32)

    @property
    def row_accumulator(self) -> RowAccumulatorParams:
        """What adds the beats of each row."""
        return RowAccumulatorParams(rows=self.rows, fp32=self.fp32)

    @property
    def magnitude_bits(self) -> int:
        """Width of the magnitude of a product of significands."""
        return self.weight_format.significand_bits + self.activation_format.significand_bits

    @property
    def leaves_normal_fp32(self) -> bool:
        """Whether a product may be too small for a normal FP32 number, or too large for any."""
        shifts = self.weight_format.largest_shift + self.activation_format.largest_shift
        return (self.lsb_exponent < 1 - FP32.bias
                or self.lsb_exponent + shifts + self.magnitude_bits - 1 > FP32.bias)

    @property
    def beat_cycles(self) -> int:
        """Cycles from a beat to its sum."""
        levels = (self.lanes - 1).bit_length()
        return self.multiply + 1 + levels * self.adder.LATENCY

    @property
    def LATENCY(self) -> int:
        """Products, tree, and the addition to the row."""
        return self.beat_cycles + self.row_accumulator.LATENCY

    @property
    def product_bits(self) -> int:
        """Width of a product: FP32."""
        return FP32.bits

    @property
    def beat_bits(self) -> int:
        """Width of the sum of one beat: FP32."""
        return FP32.bits

    @property
    def sum_bits(self) -> int:
        """Width of a sum: FP32."""
        return FP32.bits


# The dot array of each kind of accumulation.
AnyDotArrayParams = (SubwordDotArrayParams | DotArrayParams | BlockDotArrayParams
                     | AlignedDotArrayParams | Fp32DotArrayParams)
