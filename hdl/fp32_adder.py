"""FP32 adder: IEEE-754 binary32 addition, pipelined."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.pipeline import cut, delayed, flow
from hdl.shift import (
    NEAR_BITS, leading_zeros, shifted_far_sticky, shifted_near_sticky, shifted_right_sticky,
)
from spec.arithmetic import Fp32AdderParams
from spec.formats import FP32

__all__ = ["Fp32Adder"]


class Fp32Adder(wiring.Component):
    """Sum of two FP32 numbers.

    The golden model is :func:`golden.fp32_adder.fp32_adder`.

    :Formats: FP32 in and out, subnormals included; rounded to nearest even; overflow gives
        infinity; infinities of opposite signs and NaN operands give 0x7FC00000; an exact zero is
        +0 unless both operands are negative. Source: IEEE 754-2019, sections 4.3.1, 6 and 7.
    :Timing: latency ``Fp32AdderParams.LATENCY``; one sum per cycle; never stalls.

    Members
    -------
    i : stream of ``a`` and ``b``, always ready
    o : stream of sums, always ready
    """

    def __init__(self, params: Fp32AdderParams):
        if not isinstance(params, Fp32AdderParams):
            raise TypeError(f"Fp32Adder needs Fp32AdderParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(data.StructLayout({"a": fp32_layout, "b": fp32_layout}))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        cuts = self.params.cuts
        a, b = cut(m, "operands" in cuts, a=self.i.payload.a, b=self.i.payload.b)
        # What follows is laid out for depth, rather than area.
        deep = "far" in cuts

        # Order by magnitude, so that the difference is never negative.
        swap = Signal()
        large, small = Signal(fp32_layout), Signal(fp32_layout)
        m.d.comb += [
            swap.eq(Cat(b.mantissa, b.exponent) > Cat(a.mantissa, a.exponent)),
            large.eq(Mux(swap, b, a)),
            small.eq(Mux(swap, a, b)),
        ]
        # A subnormal has the exponent of the smallest normal numbers.
        large_exponent = Mux(large.exponent.any(), large.exponent, 1)
        small_exponent = Mux(small.exponent.any(), small.exponent, 1)
        difference = large_exponent - small_exponent
        first, second = significand(large), significand(small)
        large_infinite = is_infinity(large)
        if deep:
            # From both operands, beside the comparison. Beside a NaN ``infinite`` means nothing.
            first = Mux(swap, significand(b), significand(a))
            second = Mux(swap, significand(a), significand(b))
            a_exponent, b_exponent = (Mux(x.exponent.any(), x.exponent, 1) for x in (a, b))
            large_exponent = Mux(swap, b_exponent, a_exponent)
            difference = Mux(swap, b_exponent - a_exponent, a_exponent - b_exponent)
            large_infinite = is_infinity(a) | is_infinity(b)
        first, second, distance, exponent, subtract, sign, nan, infinite = cut(
            m, "order" in cuts, large=first, small=second,
            distance=difference[:FP32.exponent_bits], exponent=large_exponent,
            subtract=a.sign ^ b.sign, sign=large.sign,
            nan=is_nan(a) | is_nan(b) | is_infinity(a) & is_infinity(b) & (a.sign ^ b.sign),
            infinite=large_infinite)

        # Align the smaller operand, with two more bits and a sticky bit to decide the rounding.
        second = Cat(Const(0, 2), second)
        if deep:
            second, distance, first, exponent, subtract, sign, nan, infinite = cut(
                m, deep, far=shifted_far_sticky(m, second, distance, "far"),
                near=distance[:NEAR_BITS], far_large=first, far_exponent=exponent,
                far_subtract=subtract, far_sign=sign, far_nan=nan, far_infinite=infinite)
        align = shifted_near_sticky if deep else shifted_right_sticky
        aligned, first, exponent, subtract, sign, nan, infinite = cut(
            m, "align" in cuts,
            aligned=align(m, second, distance, "align"),
            aligned_large=first, aligned_exponent=exponent, aligned_subtract=subtract,
            aligned_sign=sign, aligned_nan=nan, aligned_infinite=infinite)

        # Add or subtract, with one more bit on top for the carry.
        width = FP32.significand_bits + 4
        if deep:
            (limit,) = cut(m, deep, limit=Cat(exponent == width - 1 - place
                                              for place in range(width)))
        total, exponent, subtract, sign, nan, infinite = cut(
            m, "add" in cuts,
            total=(Cat(Const(0, 3), first) + Mux(subtract, -aligned, aligned))[:width],
            added_exponent=exponent, added_subtract=subtract, added_sign=sign, added_nan=nan,
            added_infinite=infinite)

        # Count the leading zeros, and normalise, but not below the exponent of the subnormals.
        if deep:
            # A one stands in ``limit`` where the count is to end.
            shift = leading_zeros(m, total | limit, "zeros")
        else:
            zeros = leading_zeros(m, total, "zeros")
            shift = Mux(zeros < exponent, zeros, exponent)[:len(zeros)]
        shift, total, exponent, subtract, sign, nan, infinite = cut(
            m, "count" in cuts, shift=shift, counted=total, counted_exponent=exponent,
            counted_subtract=subtract, counted_sign=sign, counted_nan=nan,
            counted_infinite=infinite)
        shifted = (total << shift)[:width]
        normal, exponent, result_sign, sign, nan, infinite = cut(
            m, "shift" in cuts, normal=shifted,
            shifted_exponent=Mux(shifted[-1], exponent + 1 - shift, 0)[:FP32.exponent_bits],
            result_sign=sign & (total.any() | ~subtract), shifted_sign=sign, shifted_nan=nan,
            shifted_infinite=infinite)

        # Round and pack.
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(infinite):
            m.d.sync += self.o.payload.eq(infinity(sign))
        with m.Elif(exponent.all()):
            m.d.sync += self.o.payload.eq(infinity(result_sign))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(exponent, normal), result_sign))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, len(cuts), "valid"))
        return m
