"""FP32 multiplier: IEEE-754 binary32 multiplication, pipelined."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.pipeline import delayed, flow, registered
from hdl.shift import leading_zeros, shifted_right_sticky
from spec.formats import FP32
from spec.units import Fp32MultiplierParams

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
        operands = (self.i.payload.a, self.i.payload.b)

        # Stage 1: normalise subnormal operands, so that both significands have their top bit set.
        significands, exponents, zeros = [], [], []
        for name, operand in zip("ab", operands, strict=True):
            raw = Signal(FP32.significand_bits, name=f"raw_{name}")
            shift = Signal(range(FP32.significand_bits), name=f"shift_{name}")
            m.d.comb += [
                raw.eq(significand(operand)),
                shift.eq(leading_zeros(m, raw, f"zeros_{name}")),
            ]
            significands.append(registered(m, (raw << shift)[:len(raw)], f"significand_{name}"))
            exponents.append(Mux(operand.exponent.any(), operand.exponent, 1) - shift)
            zeros.append(~raw.any())
        # The exponent that the product has if its own top bit is set.
        exponent_1 = Signal(signed(FP32.exponent_bits + 3))
        m.d.sync += exponent_1.eq(exponents[0] + exponents[1] - (FP32.bias - 1))
        a, b = operands
        infinite = is_infinity(a) | is_infinity(b)
        nan_1 = registered(m, is_nan(a) | is_nan(b) | infinite & (zeros[0] | zeros[1]), "nan")
        infinite_1 = registered(m, infinite, "infinite")
        zero_1 = registered(m, zeros[0] | zeros[1], "zero")
        sign_1 = registered(m, a.sign ^ b.sign, "sign")

        # Stage 2: multiply.
        product = registered(m, significands[0] * significands[1], "product")
        exponent_2 = delayed(m, exponent_1, 1, "exponent")

        # Stage 3: normalise by at most one place, then shift right where the result is subnormal.
        low = len(product) - FP32.significand_bits - 1
        top = product[-1]
        kept = Signal(FP32.significand_bits + 1)
        lost = Signal()
        exponent = Signal(signed(FP32.exponent_bits + 3))
        below = Signal(FP32.exponent_bits + 2)
        m.d.comb += [
            kept.eq(Mux(top, product[low:], product[low - 1:])),
            lost.eq(product[:low - 1].any() | top & product[low - 1]),
            exponent.eq(exponent_2 - ~top),
            below.eq(Mux(exponent < 1, 1 - exponent, 0)),
        ]
        shifted = shifted_right_sticky(m, kept, below, "subnormal")
        normal = registered(m, Cat(shifted[0] | lost, shifted[1:]), "normal")
        exponent_3 = Signal(FP32.exponent_bits)
        overflow = Signal()
        m.d.sync += [
            exponent_3.eq(Mux(exponent < 1, 0, exponent)),
            overflow.eq(exponent > 254),
        ]

        # Stage 4: round and pack.
        sign_3 = delayed(m, sign_1, 2, "sign")
        nan_3 = delayed(m, nan_1, 2, "nan")
        zero_3 = delayed(m, zero_1, 2, "zero")
        infinite_3 = delayed(m, infinite_1, 2, "infinite")
        with m.If(nan_3):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(zero_3):
            m.d.sync += self.o.payload.eq(Cat(Const(0, FP32.bits - 1), sign_3))
        with m.Elif(infinite_3 | overflow):
            m.d.sync += self.o.payload.eq(infinity(sign_3))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(exponent_3, normal), sign_3))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, 3, "valid"))
        return m
