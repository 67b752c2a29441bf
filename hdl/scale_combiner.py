"""Scale combiner: the product of an activation scale and a weight scale."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32_multiplier import Fp32Multiplier
from hdl.pipeline import flow
from spec.arithmetic import ScaleCombinerParams

__all__ = ["ScaleCombiner"]


class ScaleCombiner(wiring.Component):
    """Activation scale times weight scale.

    The golden model is :func:`golden.scale_combiner.scale_combiner`.

    :Formats: FP32: one multiplication, rounded to nearest even. E8M0: the sum of both exponent
        fields in bits 8:0 (the scale is 2 to the power of it, less 254), which cannot overflow,
        and bit 9 set when either scale is 0xFF (NaN).
    :Timing: latency ``ScaleCombinerParams.LATENCY``; one pair per cycle; never stalls.

    Members
    -------
    i : stream of ``activation`` and ``weight``, always ready
    o : stream of combined scales, always ready
    """

    def __init__(self, params: ScaleCombinerParams):
        if not isinstance(params, ScaleCombinerParams):
            raise TypeError(f"ScaleCombiner needs ScaleCombinerParams, not {params!r}")
        self.params = params
        bits = params.format.bits
        super().__init__({
            "i": In(flow(data.StructLayout({"activation": bits, "weight": bits}))),
            "o": Out(flow(params.combined_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        activation, weight = self.i.payload.activation, self.i.payload.weight
        if self.params.scale_format == "fp32":
            m.submodules.multiplier = multiplier = Fp32Multiplier(self.params.multiplier)
            m.d.comb += [
                multiplier.i.payload.a.eq(activation),
                multiplier.i.payload.b.eq(weight),
                multiplier.i.valid.eq(self.i.valid),
                self.o.payload.eq(multiplier.o.payload),
                self.o.valid.eq(multiplier.o.valid),
            ]
        else:
            m.d.sync += [
                self.o.payload.eq(Cat(activation + weight, activation.all() | weight.all())),
                self.o.valid.eq(self.i.valid),
            ]
        return m
