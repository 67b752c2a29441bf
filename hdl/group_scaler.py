"""Group scaler: a group sum times the combined scale."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, rounded, significand
from hdl.fp32_multiplier import Fp32Multiplier
from hdl.pipeline import cut, delayed, flow
from hdl.shift import (
    NEAR_BITS, shifted_far_sticky, shifted_near_sticky, shifted_right_sticky,
)
from spec.arithmetic import GroupScalerParams
from spec.formats import FP32

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
            m.submodules.multiplier = multiplier = Fp32Multiplier(
                self.params.combiner.multiplier)
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

        cuts = self.params.cuts

        # Add the exponents. A result below the normal numbers shifts its significand.
        exponent = Signal(signed(FP32.exponent_bits + 3))
        below = Signal(FP32.exponent_bits + 1)
        m.d.comb += [
            exponent.eq(total.exponent + scale[:9] - 2 * FP32.bias),
            below.eq(Mux(exponent < 1, 1 - exponent, 0)),
        ]
        below, field, fraction, zero, sign, nan, infinite = cut(
            m, "exponent" in cuts, below=below,
            exponent=Mux(exponent < 1, 0, exponent)[:FP32.exponent_bits],
            significand=significand(total), zero=~total.exponent.any(), sign=total.sign,
            nan=is_nan(total) | scale[9], infinite=is_infinity(total) | (exponent > 254))
        fraction, shift = Cat(Const(0, 1), fraction), shifted_right_sticky
        if "far" in cuts:
            fraction, below, field, zero, sign, nan, infinite = cut(
                m, True, far=shifted_far_sticky(m, fraction, below, "far_subnormal"),
                near=below[:NEAR_BITS], far_exponent=field, far_zero=zero, far_sign=sign,
                far_nan=nan, far_infinite=infinite)
            shift = shifted_near_sticky
        shifted, field, zero, sign, nan, infinite = cut(
            m, "shift" in cuts, shifted=shift(m, fraction, below, "subnormal"),
            shifted_exponent=field, shifted_zero=zero, shifted_sign=sign, shifted_nan=nan,
            shifted_infinite=infinite)

        # Round and pack.
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(zero):
            m.d.sync += self.o.payload.eq(Cat(Const(0, FP32.bits - 1), sign))
        with m.Elif(infinite):
            m.d.sync += self.o.payload.eq(infinity(sign))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(rounded(field, shifted), sign))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, len(cuts), "valid"))
