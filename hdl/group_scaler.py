"""Group scaler: a group sum times the combined scale."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.fp32_multiplier import Fp32Multiplier
from hdl.pipeline import delayed, flow, registered
from hdl.shift import shifted_right_sticky
from spec.formats import FP32
from spec.units import Fp32MultiplierParams, GroupScalerParams

__all__ = ["GroupScaler"]


class GroupScaler(wiring.Component):
    """Group sum times combined scale.

    The golden model is :func:`golden.group_scaler.group_scaler`.

    :Formats: FP32 sum, combined scale as :class:`hdl.scale_combiner.ScaleCombiner` gives it, FP32
        result, rounded once to nearest even. With E8M0 one exponent addition: overflow gives
        infinity, underflow a subnormal or zero, a NaN scale 0x7FC00000.
    :Timing: latency ``GroupScalerParams.LATENCY``; one product per cycle; never stalls.
    :Errors: with E8M0 a subnormal sum is taken for zero; an exact sum of FP8 products never is
        subnormal (see :class:`hdl.fp32_rounder.Fp32Rounder`).

    Members
    -------
    i : stream of ``sum`` and ``scale``, always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: GroupScalerParams):
        if not isinstance(params, GroupScalerParams):
            raise TypeError(f"GroupScaler needs GroupScalerParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(data.StructLayout({
                "sum": fp32_layout,
                "scale": params.combiner.combined_bits,
            }))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        if self.params.scale_format == "fp32":
            m.submodules.multiplier = multiplier = Fp32Multiplier(Fp32MultiplierParams())
            m.d.comb += [
                multiplier.i.payload.a.eq(self.i.payload.sum),
                multiplier.i.payload.b.eq(self.i.payload.scale),
                multiplier.i.valid.eq(self.i.valid),
                self.o.payload.eq(multiplier.o.payload),
                self.o.valid.eq(multiplier.o.valid),
            ]
        else:
            self._shift_exponent(m)
        return m

    def _shift_exponent(self, m):
        total, scale = self.i.payload.sum, self.i.payload.scale

        # Stage 1: add the exponents. A result below the normal numbers shifts its significand.
        exponent = Signal(signed(FP32.exponent_bits + 3))
        below = Signal(FP32.exponent_bits + 1)
        m.d.comb += [
            exponent.eq(total.exponent + scale[:9] - 2 * FP32.bias),
            below.eq(Mux(exponent < 1, 1 - exponent, 0)),
        ]
        below_1 = registered(m, below, "below")
        exponent_1 = registered(m, Mux(exponent < 1, 0, exponent)[:FP32.exponent_bits], "exponent")
        significand_1 = registered(m, significand(total), "significand")
        zero = registered(m, ~total.exponent.any(), "zero")
        sign = registered(m, total.sign, "sign")
        nan = registered(m, is_nan(total) | scale[9], "nan")
        infinite = registered(m, is_infinity(total) | (exponent > 254), "infinite")

        # Stage 2: round and pack.
        shifted = shifted_right_sticky(m, Cat(Const(0, 1), significand_1), below_1, "subnormal")
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(zero):
            m.d.sync += self.o.payload.eq(Cat(Const(0, FP32.bits - 1), sign))
        with m.Elif(infinite):
            m.d.sync += self.o.payload.eq(infinity(sign))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(exponent_1, shifted), sign))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, 1, "valid"))
