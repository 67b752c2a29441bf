"""FP32 multiplier: IEEE-754 binary32 multiplication, pipelined."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.pipeline import cut, delayed, flow
from hdl.shift import leading_zeros, shifted_right_sticky
from spec.arithmetic import Fp32MultiplierParams
from spec.formats import FP32

__all__ = ["Fp32Multiplier"]


class Fp32Multiplier(wiring.Component):
    """Product of two FP32 numbers.

    The golden model is :func:`golden.fp32_multiplier.fp32_multiplier`.

    :Formats: FP32 in and out, subnormals included; rounded once to nearest even, also when the
        result is subnormal; overflow gives infinity; zero times infinity and NaN operands give
        0x7FC00000. Source: IEEE 754-2019, sections 4.3.1, 6 and 7.
    :Timing: latency ``Fp32MultiplierParams.LATENCY``; one product per cycle; never stalls.

    Members
    -------
    i : stream of ``a`` and ``b``, always ready
    o : stream of products, always ready
    """

    def __init__(self, params: Fp32MultiplierParams):
        if not isinstance(params, Fp32MultiplierParams):
            raise TypeError(f"Fp32Multiplier needs Fp32MultiplierParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(data.StructLayout({"a": fp32_layout, "b": fp32_layout}))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        cuts = self.params.cuts
        operands = (self.i.payload.a, self.i.payload.b)

        # Normalise subnormal operands, so that both significands have their top bit set.
        significands, exponents, zeros = [], [], []
        for name, operand in zip("ab", operands, strict=True):
            raw = Signal(FP32.significand_bits, name=f"raw_{name}")
            m.d.comb += raw.eq(significand(operand))
            value, shift, exponent, zero = cut(
                m, "count" in cuts, **{
                    f"raw_{name}_counted": raw,
                    f"shift_{name}": leading_zeros(m, raw, f"zeros_{name}"),
                    f"exponent_{name}": Mux(operand.exponent.any(), operand.exponent, 1),
                    f"zero_{name}": ~raw.any()})
            significands.append((value << shift)[:len(raw)])
            exponents.append(exponent - shift)
            zeros.append(zero)
        a, b = operands
        infinite = is_infinity(a) | is_infinity(b)
        infinite, wrong, sign = cut(m, "count" in cuts, infinite_counted=infinite,
                                    nan_counted=is_nan(a) | is_nan(b),
                                    sign_counted=a.sign ^ b.sign)
        zero = zeros[0] | zeros[1]
        # The exponent that the product has if its own top bit is set.
        exponent = Signal(signed(FP32.exponent_bits + 3), name="product_exponent")
        m.d.comb += exponent.eq(exponents[0] + exponents[1] - (FP32.bias - 1))
        first, second, exponent, nan, infinite, zero, sign = cut(
            m, "normalise" in cuts, significand_a=significands[0], significand_b=significands[1],
            exponent=exponent, nan=wrong | infinite & zero, infinite=infinite, zero=zero,
            sign=sign)

        # Multiply.
        product, exponent, nan, infinite, zero, sign = cut(
            m, "multiply" in cuts, product=first * second, multiplied_exponent=exponent,
            multiplied_nan=nan, multiplied_infinite=infinite, multiplied_zero=zero,
            multiplied_sign=sign)

        # Normalise by at most one place, then shift right where the result is subnormal.
        low = len(product) - FP32.significand_bits - 1
        top = product[-1]
        kept = Signal(FP32.significand_bits + 1)
        lost = Signal()
        adjusted = Signal(signed(FP32.exponent_bits + 3))
        below = Signal(FP32.exponent_bits + 2)
        m.d.comb += [
            kept.eq(Mux(top, product[low:], product[low - 1:])),
            lost.eq(product[:low - 1].any() | top & product[low - 1]),
            adjusted.eq(exponent - ~top),
            below.eq(Mux(adjusted < 1, 1 - adjusted, 0)),
        ]
        shifted = shifted_right_sticky(m, kept, below, "subnormal")
        normal, exponent, overflow, nan, infinite, zero, sign = cut(
            m, "adjust" in cuts, normal=Cat(shifted[0] | lost, shifted[1:]),
            adjusted_exponent=Mux(adjusted < 1, 0, adjusted)[:FP32.exponent_bits],
            overflow=adjusted > 254, adjusted_nan=nan, adjusted_infinite=infinite,
            adjusted_zero=zero, adjusted_sign=sign)

        # Round and pack.
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(zero):
            m.d.sync += self.o.payload.eq(Cat(Const(0, FP32.bits - 1), sign))
        with m.Elif(infinite | overflow):
            m.d.sync += self.o.payload.eq(infinity(sign))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(exponent, normal), sign))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, len(cuts), "valid"))
        return m
