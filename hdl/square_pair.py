"""Square pair: the squares of two FP8 codes, added in FP32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import rounded
from hdl.pipeline import registered
from hdl.shift import leading_zeros, shifted_right_sticky
from spec.formats import E4M3, FLOAT_FORMATS, FP32
from spec.tensors import TensorFormat

__all__ = ["SquarePair"]

# Significands of all 8-bit formats, and their squares.
_ROOT_BITS = E4M3.significand_bits
_SQUARE_BITS = 2 * _ROOT_BITS
# A square of a normal number has its leading one in one of the two upper bits. 24 bits from there
# on, and one to round, reach so far below it; what is lost further down only counts as zero or not.
_BELOW = FP32.significand_bits + 1 - (_SQUARE_BITS - 1)


class SquarePair(wiring.Component):
    """``fl32(a * a + b * b)`` of two FP8 values.

    The squares are not made FP32 numbers: they are short, so that the addition is too.

    :Formats: the FP8 ones of ``formats``; FP32 without sign, rounded once to nearest even. NaN
        gives 0x7FC00000, infinity infinity. Neither overflow nor a subnormal result is possible.
    :Timing: latency ``SquarePair.LATENCY``; one pair per cycle; never stalls.

    Parameters
    ----------
    formats : names of the 8-bit formats

    Members
    -------
    format : the codes' ``TensorFormat``; holds still
    a, b : codes without sign
    o : sum
    """

    LATENCY = 2

    def __init__(self, formats: tuple[str, ...]):
        self.formats = formats
        super().__init__({
            "format": In(3),
            "a": In(E4M3.bits - 1),
            "b": In(E4M3.bits - 1),
            "o": Out(FP32.bits - 1),
        })

    def elaborate(self, platform):
        m = Module()
        operand = data.StructLayout({"root": _ROOT_BITS, "shift": 5, "nan": 1, "infinite": 1})
        large, small = Signal(operand), Signal(operand)
        # The exponent field of a result whose leading one is the carry of the unshifted squares.
        top = Signal(FP32.exponent_bits)
        swap = Signal()
        m.d.comb += swap.eq(self.b > self.a)
        for name in self.formats:
            fmt = FLOAT_FORMATS[name]
            short = _ROOT_BITS - fmt.significand_bits
            with m.If(self.format == TensorFormat[name.upper()]):
                m.d.comb += top.eq(2 * (fmt.smallest_exponent - short) + _SQUARE_BITS + FP32.bias)
                for signal, code in ((large, Mux(swap, self.b, self.a)),
                                     (small, Mux(swap, self.a, self.b))):
                    mantissa, exponent = code[:fmt.mantissa_bits], code[fmt.mantissa_bits:]
                    special = exponent.all() & (Const(1, 1) if fmt.has_infinity
                                                else mantissa.all())
                    m.d.comb += [
                        signal.root.eq(Cat(Const(0, short), mantissa, exponent.any())),
                        signal.shift.eq(exponent - exponent.any()),
                        signal.nan.eq(special & mantissa.any()),
                        signal.infinite.eq(special),
                    ]

        # Stage 1: square, align and add. Each place of difference counts twice.
        squares = [Signal(_SQUARE_BITS, name=f"square_{name}") for name in ("large", "small")]
        distance = Signal(5)
        m.d.comb += [
            squares[0].eq(large.root * large.root),
            squares[1].eq(small.root * small.root),
            distance.eq(large.shift - small.shift),
        ]
        aligned = shifted_right_sticky(m, Cat(Const(0, _BELOW), squares[1]),
                                       Cat(Const(0, 1), distance), "aligned")
        total = Signal(_SQUARE_BITS + 1 + _BELOW + 1)
        m.d.sync += total.eq(Cat(Const(0, _BELOW + 1), squares[0]) + aligned)
        exponent = registered(m, (top + (large.shift << 1))[:FP32.exponent_bits], "exponent")
        # The larger code is the special one, and NaN is larger than infinity.
        nan = registered(m, large.nan, "nan")
        infinite = registered(m, large.infinite, "infinite")

        # Stage 2: normalise, round and pack.
        upper = total[-_SQUARE_BITS - 1:]
        zeros = leading_zeros(m, upper, "zeros")
        field = Mux(upper.any(), exponent - zeros, 0)[:FP32.exponent_bits]
        with m.If(nan):
            m.d.sync += self.o.eq(FP32.nan_code)
        with m.Elif(infinite):
            m.d.sync += self.o.eq(FP32.infinity_code)
        with m.Else():
            m.d.sync += self.o.eq(rounded(field, (total << zeros)[:len(total)]))
        return m
