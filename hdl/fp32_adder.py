"""FP32 adder: IEEE-754 binary32 addition, pipelined."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.pipeline import delayed, flow, registered
from hdl.shift import leading_zeros, shifted_right_sticky
from spec.formats import FP32
from spec.units import Fp32AdderParams

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
        a, b = self.i.payload.a, self.i.payload.b

        # Stage 1: order by magnitude, so that the difference is never negative.
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
        large_1 = registered(m, significand(large), "large_significand")
        small_1 = registered(m, significand(small), "small_significand")
        distance = registered(m, (large_exponent - small_exponent)[:8], "distance")
        exponent_1 = registered(m, large_exponent, "exponent")
        subtract_1 = registered(m, a.sign ^ b.sign, "subtract")
        sign_1 = registered(m, large.sign, "sign")
        nan_1 = registered(
            m, is_nan(a) | is_nan(b) | is_infinity(a) & is_infinity(b) & (a.sign ^ b.sign), "nan")
        infinite_1 = registered(m, is_infinity(large), "infinite")

        # Stage 2: align the smaller operand, with two more bits and a sticky bit to decide the
        # rounding; add or subtract, with one more bit on top for the carry.
        aligned = shifted_right_sticky(m, Cat(Const(0, 2), small_1), distance, "aligned")
        total = Signal(FP32.significand_bits + 4)
        m.d.sync += total.eq(Cat(Const(0, 3), large_1) + Mux(subtract_1, -aligned, aligned))
        exponent_2 = delayed(m, exponent_1, 1, "exponent")
        subtract_2 = delayed(m, subtract_1, 1, "subtract")
        sign_2 = delayed(m, sign_1, 1, "sign")

        # Stage 3: normalise, but not below the exponent of the subnormals.
        zeros = leading_zeros(m, total, "zeros")
        shift = Signal(5)
        normal = Signal(len(total))
        exponent_3 = Signal(FP32.exponent_bits)
        sign_3 = Signal()
        shifted = (total << shift)[:len(total)]
        m.d.comb += shift.eq(Mux(zeros < exponent_2, zeros, exponent_2))
        m.d.sync += [
            normal.eq(shifted),
            exponent_3.eq(Mux(shifted[-1], exponent_2 + 1 - shift, 0)),
            sign_3.eq(sign_2 & (total.any() | ~subtract_2)),
        ]

        # Stage 4: round and pack.
        nan_3 = delayed(m, nan_1, 2, "nan")
        infinite_3 = delayed(m, infinite_1, 2, "infinite")
        infinite_sign = delayed(m, sign_1, 2, "infinite_sign")
        with m.If(nan_3):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(infinite_3):
            m.d.sync += self.o.payload.eq(infinity(infinite_sign))
        with m.Elif(exponent_3.all()):
            m.d.sync += self.o.payload.eq(infinity(sign_3))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(exponent_3, normal), sign_3))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, 3, "valid"))
        return m
