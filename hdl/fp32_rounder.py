"""FP32 rounder: an exact fixed-point sum to FP32, rounded once."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.dot_array import group_sum_layout
from hdl.fp32 import NAN, infinity, rounded
from hdl.pipeline import cut, delayed, flow
from hdl.shift import NEAR_BITS, leading_zeros
from spec.arithmetic import Fp32RounderParams
from spec.formats import FP32

__all__ = ["Fp32Rounder"]


class Fp32Rounder(wiring.Component):
    """Exact group sum to FP32.

    The golden model is :func:`golden.fp32_rounder.fp32_rounder`.

    :Formats: s{sum_bits} in units of ``2**lsb_exponent`` to FP32, rounded once to nearest even.
        An exact zero gives +0; ``nan`` gives 0x7FC00000, else an infinity flag that infinity.
        Neither overflow nor a subnormal result is possible within the parameters' limits.
    :Timing: latency ``Fp32RounderParams.LATENCY``; one sum per cycle; never stalls.

    Members
    -------
    i : stream of group sums, always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: Fp32RounderParams):
        if not isinstance(params, Fp32RounderParams):
            raise TypeError(f"Fp32Rounder needs Fp32RounderParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(group_sum_layout(params.sum_bits))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        # The magnitude of the most negative value needs all bits of the two's complement.
        width = max(self.params.sum_bits, FP32.significand_bits + 2)

        cuts = self.params.cuts

        # Sign and magnitude.
        value = self.i.payload.value
        absolute = Signal(width)
        m.d.comb += absolute.eq(Mux(value < 0, -value, value))
        (magnitude,) = cut(m, "magnitude" in cuts, magnitude=absolute)

        # Normalise, so that the leading one is the top bit.
        top_exponent = self.params.lsb_exponent + width - 1 + FP32.bias
        if "far" in cuts:
            # In two parts: the empty blocks on top, then the zeros within the first other block.
            blocks = self._blocks(magnitude)
            far, magnitude, *nears = cut(
                m, "count" in cuts,
                zeros=leading_zeros(m, Cat(block.any() for block in reversed(blocks)), "count"),
                counted=magnitude, **{f"near_{place}": leading_zeros(m, block, f"count_{place}")
                                      for place, block in enumerate(blocks)})
            magnitude, far, shift = cut(
                m, True, far=(magnitude << Cat(Const(0, NEAR_BITS), far))[:width],
                far_zeros=far, near=Array(nears)[far])
            zeros = Cat(shift, far)
        else:
            zeros, magnitude = cut(m, "count" in cuts, zeros=leading_zeros(m, magnitude, "count"),
                                   counted=magnitude)
            shift = zeros
        significand, exponent = cut(
            m, "shift" in cuts, significand=(magnitude << shift)[:width],
            exponent=Mux(magnitude.any(), top_exponent - zeros, 0)[:FP32.exponent_bits])

        # Round to nearest even.
        packed = rounded(exponent, significand)

        sign = delayed(m, value[-1], len(cuts), "sign")
        nan = delayed(m, self.i.payload.nan, len(cuts), "nan")
        positive = delayed(m, self.i.payload.positive_infinity, len(cuts), "positive")
        negative = delayed(m, self.i.payload.negative_infinity, len(cuts), "negative")
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(positive | negative):
            m.d.sync += self.o.payload.eq(infinity(negative))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(packed, sign))
        m.d.sync += self.o.valid.eq(delayed(m, self.i.valid, len(cuts), "valid"))
        return m

    @staticmethod
    def _blocks(magnitude):
        """Blocks of ``2**NEAR_BITS`` bits from the top, the last filled up with ones."""
        size = 1 << NEAR_BITS
        padding = -len(magnitude) % size
        filled = Cat(Const((1 << padding) - 1, padding), magnitude)
        return [filled[end - size:end] for end in range(len(filled), 0, -size)]
