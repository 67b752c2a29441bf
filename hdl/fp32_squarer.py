"""FP32 squarer: the square of an FP32 number, pipelined."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import is_infinity, is_nan, rounded
from hdl.pipeline import delayed, registered
from hdl.positive_adder import magnitude_layout
from hdl.shift import shifted_right_sticky
from spec.formats import FP32

__all__ = ["Fp32Squarer"]


class Fp32Squarer(wiring.Component):
    """Square of an FP32 number; half the partial products of a multiplier.

    :Formats: FP32 without sign, rounded once to nearest even, also where the square is subnormal;
        overflow gives infinity, NaN 0x7FC00000.
    :Timing: latency ``Fp32Squarer.LATENCY``; one square per cycle; never stalls.

    Parameters
    ----------
    significand_bits : int
        Width of the operand's significand, hidden bit included; 24 is any FP32 number.

    Members
    -------
    i : operand
    o : square
    """

    LATENCY = 3

    def __init__(self, significand_bits: int):
        self.significand_bits = significand_bits
        super().__init__({
            "i": In(magnitude_layout(significand_bits)),
            "o": Out(magnitude_layout(FP32.significand_bits)),
        })

    def elaborate(self, platform):
        m = Module()

        # Stage 1: square the significand. Squares of subnormals are far below half of the smallest
        # FP32 number, so they become zero whatever their hidden bit.
        root = Cat(self.i.mantissa, Const(1, 1))
        product = Signal(2 * len(root))
        # Each pair of different bits counts twice.
        m.d.sync += product.eq(sum(
            Mux(bit, Cat(Const(1, 2), root[place + 1:]), 0) << 2 * place
            for place, bit in enumerate(root)))
        # The exponent that the square has if the top bit of the product is set.
        exponent = Signal(signed(FP32.exponent_bits + 2))
        m.d.sync += exponent.eq((self.i.exponent << 1) - (FP32.bias - 1))
        nan = delayed(m, is_nan(self.i), 2, "nan")
        infinite = registered(m, is_infinity(self.i), "infinite")

        # Stage 2: normalise by one place at most, then shift right where the square is subnormal.
        normal = Signal(max(len(product), FP32.significand_bits + 1))
        padding = Const(0, len(normal) - len(product))
        m.d.comb += normal.eq(Cat(padding, Mux(product[-1], product, product << 1)[:len(product)]))
        dropped = len(normal) - FP32.significand_bits - 1
        field = Signal(signed(FP32.exponent_bits + 2))
        below = Signal(FP32.exponent_bits)
        m.d.comb += [
            field.eq(exponent - ~product[-1]),
            below.eq(Mux(field < 1, 1 - field, 0)),
        ]
        shifted = shifted_right_sticky(m, normal[dropped:], below, "subnormal")
        significand_2 = registered(
            m, Cat(shifted[0] | normal[:dropped].any(), shifted[1:]), "significand")
        exponent_2 = registered(m, Mux(field < 1, 0, field)[:FP32.exponent_bits], "exponent")
        infinite_2 = registered(m, infinite | (field > 254), "infinite")

        # Stage 3: round and pack.
        with m.If(nan):
            m.d.sync += self.o.eq(FP32.nan_code)
        with m.Elif(infinite_2):
            m.d.sync += self.o.eq(FP32.infinity_code)
        with m.Else():
            m.d.sync += self.o.eq(rounded(exponent_2, significand_2))
        return m
