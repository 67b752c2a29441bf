"""Positive adder: FP32 addition of numbers that have no sign."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import is_nan, rounded, significand
from hdl.pipeline import delayed, registered
from hdl.shift import shifted_right_sticky
from spec.formats import FP32

__all__ = ["PositiveAdder", "magnitude_layout"]


def magnitude_layout(significand_bits: int) -> data.StructLayout:
    """An FP32 number without its sign, all but ``significand_bits`` of its significand zero."""
    return data.StructLayout({"mantissa": significand_bits - 1, "exponent": FP32.exponent_bits})


class PositiveAdder(wiring.Component):
    """Sum of two FP32 numbers without sign.

    Nothing is subtracted, so there is no sign, no cancellation and one place to normalise: half of
    :class:`hdl.fp32_adder.Fp32Adder`, and the same sums.

    :Formats: FP32, subnormals included, rounded to nearest even; overflow gives infinity; NaN
        operands give 0x7FC00000.
    :Timing: latency ``PositiveAdder.LATENCY``; one sum per cycle; never stalls.

    Members
    -------
    a, b : operands
    o : sum
    """

    LATENCY = 3

    def __init__(self):
        layout = magnitude_layout(FP32.significand_bits)
        super().__init__({"a": In(layout), "b": In(layout), "o": Out(layout)})

    def elaborate(self, platform):
        m = Module()
        a, b = self.a, self.b

        # Stage 1: order by the exponent.
        large, small = Signal(a.shape()), Signal(a.shape())
        swap = Signal()
        m.d.comb += [
            swap.eq(b.exponent > a.exponent),
            large.eq(Mux(swap, b, a)),
            small.eq(Mux(swap, a, b)),
        ]
        # A subnormal has the exponent of the smallest normal numbers.
        distance = registered(m, (large.exponent - small.exponent
                                  - (large.exponent.any() & ~small.exponent.any()))[:8], "distance")
        exponent_1 = registered(m, large.exponent, "exponent")
        large_1 = registered(m, significand(large), "large_significand")
        small_1 = registered(m, significand(small), "small_significand")
        nan = delayed(m, is_nan(a) | is_nan(b), 2, "nan")

        # Stage 2: align the smaller operand and add, with one more bit on top for the carry.
        aligned = shifted_right_sticky(m, Cat(Const(0, 1), small_1), distance, "aligned")
        total = registered(m, Cat(Const(0, 2), large_1) + aligned, "total")
        exponent_2 = delayed(m, exponent_1, 1, "exponent")

        # Stage 3: normalise by one place at most, round and pack. Two subnormals stay without
        # hidden bit, or carry into it, as the fields want it.
        carry = total[-1]
        normal = Mux(carry, total, total << 1)[:len(total)]
        field = Mux(exponent_2.any(), exponent_2, total[-2]) + carry
        with m.If(nan):
            m.d.sync += self.o.eq(FP32.nan_code)
        with m.Elif(exponent_2.all() | field[:FP32.exponent_bits].all()):
            m.d.sync += self.o.eq(FP32.infinity_code)
        with m.Else():
            m.d.sync += self.o.eq(rounded(field[:FP32.exponent_bits], normal))
        return m
