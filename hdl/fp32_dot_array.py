"""FP32 dot array: products added in FP32, with a rounding at each addition."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import Factor, pairs_layout
from hdl.fp32 import NAN, ZERO, infinity, packed
from hdl.fp32_adder import Fp32Adder
from hdl.pipeline import delayed, flow, registered
from hdl.row_accumulator import RowAccumulator
from hdl.shift import leading_zeros
from spec.dot_arrays import Fp32DotArrayParams
from spec.formats import FP32

__all__ = ["Fp32DotArray"]


class Fp32DotArray(wiring.Component):
    """Dot products by a tree of FP32 adders, and the sums of beats one after the other.

    The golden model is :func:`golden.fp32_dot_array.fp32_dot_array`.

    :Shapes: one to ``group_beats`` beats of ``lanes`` decoded pairs per sum; ``rows`` rows, whose
        beats come in any order; one sum per row and group.
    :Formats: operands as :class:`hdl.decoder.Decoder` gives them; products are rounded to FP32
        (exact but for 16-bit formats), with the sign of zero; neighbours are added, then pairs of
        neighbours and so on, a lane that is left over as it is; the beat's sum is added to the
        row's, which starts at +0. Additions are :class:`hdl.fp32_adder.Fp32Adder`'s. FP32 codes
        out.
    :Timing: latency ``Fp32DotArrayParams.LATENCY`` from the beat with ``last``; one beat per
        cycle; never stalls. Two beats of one row must be an FP32 addition or more apart.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``first`` and ``last`` beat of a sum, and ``slot``,
        the row's number; always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: Fp32DotArrayParams):
        if not isinstance(params, Fp32DotArrayParams):
            raise TypeError(f"Fp32DotArray needs Fp32DotArrayParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(pairs_layout(params, slot=params.slot_bits))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        beat = self.i.payload
        sums = [self._product(m, lane) for lane in range(params.lanes)]
        valid = delayed(m, self.i.valid, params.multiply + 1, "valid")
        level = 0
        while len(sums) > 1:
            level += 1
            joined = []
            for place in range(0, len(sums) - 1, 2):
                m.submodules[f"fp32_adder_{level}_{place // 2}"] = adder = Fp32Adder(params.adder)
                m.d.comb += [
                    adder.i.valid.eq(valid),
                    adder.i.payload.a.eq(sums[place]),
                    adder.i.payload.b.eq(sums[place + 1]),
                ]
                joined.append(adder.o.payload)
            if len(sums) % 2:
                joined.append(delayed(m, sums[-1], params.adder.LATENCY, f"left_{level}"))
            sums = joined
            valid = delayed(m, valid, params.adder.LATENCY, f"valid_{level}")
        wait = params.beat_cycles
        m.submodules.row_accumulator = rows = RowAccumulator(params.row_accumulator)
        m.d.comb += [
            rows.i.valid.eq(valid),
            rows.i.payload.term.eq(sums[0]),
            rows.i.payload.row.slot.eq(delayed(m, beat.slot, wait, "slot")),
            rows.i.payload.row.first.eq(delayed(m, beat.first, wait, "first")),
            rows.i.payload.row.last.eq(delayed(m, beat.last, wait, "last")),
            self.o.valid.eq(rows.o.valid),
            self.o.payload.eq(rows.o.payload),
        ]
        return m

    def _product(self, m, lane):
        """The product of a lane as an FP32 code."""
        params = self.params
        w, x = (Factor(side[lane])
                for side in (self.i.payload.weights, self.i.payload.activations))
        product = w.significand * x.significand
        infinite = w.infinite | x.infinite
        product, place, sign, nan, infinite = (
            delayed(m, part, params.multiply, f"{name}_{lane}") for name, part in (
                ("product", product), ("place", w.shift + x.shift), ("sign", w.sign ^ x.sign),
                ("nan", w.nan | x.nan | infinite & (product == 0)), ("infinite", infinite)))
        magnitude = Signal(params.magnitude_bits, name=f"magnitude_{lane}")
        m.d.comb += magnitude.eq(Mux(product < 0, -product, product))
        negative = sign ^ (product < 0)
        zeros = leading_zeros(m, magnitude, f"zeros_{lane}")
        normal = (magnitude << zeros)[:params.magnitude_bits]
        top = params.lsb_exponent + params.magnitude_bits - 1 + FP32.bias
        code = Signal(FP32.bits, name=f"code_{lane}")
        if params.leaves_normal_fp32:
            unsigned = packed(m, place + top - zeros, normal, f"packed_{lane}")
        else:
            unsigned = Cat(Const(0, FP32.significand_bits - params.magnitude_bits), normal[:-1],
                           (place + top - zeros)[:FP32.exponent_bits])
        m.d.comb += code.eq(Cat(unsigned, negative))
        code = Mux(magnitude.any(), code, Cat(ZERO[:-1], negative))
        code = Mux(infinite, infinity(negative), code)
        return registered(m, Mux(nan, NAN, code), f"product_{lane}_fp32")
