"""Aligned dot array: sums of products of which only some bits are kept."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import Factor, pairs_layout
from hdl.fp32 import NAN, infinity, packed, rounded
from hdl.pipeline import delayed, flow, registered
from hdl.shift import leading_zeros
from hdl.sum_tree import summed
from spec.dot_arrays import AlignedDotArrayParams
from spec.formats import FP32

__all__ = ["AlignedDotArray"]


class AlignedDotArray(wiring.Component):
    """Dot products in ``bits`` bits: what tensor cores of GPUs keep, with 14.

    Each beat, the products and the sum so far are aligned to the largest exponent among them, and
    of each only what lies within ``bits - 1`` binary places behind the point of that exponent is
    kept; the sum of what was kept is cut to ``bits`` significant bits. Both cuts are towards zero.
    The golden model is :func:`golden.aligned_dot_array.aligned_dot_array`.

    :Shapes: one to ``group_beats`` beats of ``lanes`` decoded pairs per sum; ``rows`` rows, whose
        beats come in any order; one sum per row and group.
    :Formats: operands as :class:`hdl.decoder.Decoder` gives them; FP32 codes, rounded to nearest
        even where ``bits`` is more than 24 or the sum is subnormal; past the range, infinity. The
        exponent of a product is the sum of its operands' exponents, as their fields have them
        (subnormals the smallest one's); products of zero have none. NaN operands, infinity times
        zero, and infinities of both signs give NaN; else an infinite product gives its infinity.
    :Timing: latency ``AlignedDotArrayParams.LATENCY`` from the beat with ``last``; one beat per
        cycle; never stalls. Two beats of one row must be ``loop_cycles`` or more apart.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``first`` and ``last`` beat of a sum, and ``slot``,
        the row's number; always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: AlignedDotArrayParams):
        if not isinstance(params, AlignedDotArrayParams):
            raise TypeError(f"AlignedDotArray needs AlignedDotArrayParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(pairs_layout(params, slot=params.slot_bits))),
            "o": Out(flow(FP32.bits)),
        })
        # A row's sum: its leading bits (zero for none), the exponent of the first of them counted
        # as `place_bits` says, and the special values that it met.
        self._sum = data.StructLayout({
            "significand": params.bits, "place": params.place_bits, "sign": 1,
            "nan": 1, "positive": 1, "negative": 1})

    def elaborate(self, platform):
        m = Module()
        params = self.params
        beat = self.i.payload
        products, flags = self._products(m)

        # The largest exponent among products that are not zero.
        keys = [Mux(nonzero, Cat(place, Const(1, 1)), 0) for _, place, _, nonzero in products]
        while len(keys) > 1:
            pairs = [Mux(a > b, a, b) for a, b in zip(keys[::2], keys[1::2], strict=False)]
            keys = pairs + keys[2 * len(pairs):]
        # The products wait for it.
        largest = registered(m, keys[0], "largest")
        products = [[registered(m, part, f"{name}_{lane}_waiting")
                     for name, part in zip(("product", "place", "sign"), parts[:3], strict=True)]
                    for lane, parts in enumerate(products)]
        flags = [delayed(m, flag, 1, f"{name}_waiting")
                 for name, flag in zip(("nan", "positive", "negative"), flags, strict=True)]
        start = params.multiply + 1
        valid, first, last, slot = (delayed(m, signal, start, name) for name, signal in (
            ("valid", self.i.valid), ("first", beat.first), ("last", beat.last),
            ("slot", beat.slot)))

        # The exponent of the beat, with the row's sum.
        sums = Array(Signal(self._sum, name=f"sum_{row}") for row in range(params.rows))
        held = Signal(self._sum)
        with m.If(~first):
            m.d.comb += held.eq(sums[slot])
        below = params.bits - 1
        place_of_beat = Mux(largest[-1], largest[:-1] + below, 0)
        place_of_sum = Mux(held.significand.any(), held.place, 0)
        place = Signal(params.place_bits)
        m.d.sync += place.eq(Mux(place_of_beat > place_of_sum, place_of_beat, place_of_sum))
        products = [[registered(m, part, f"{name}_{lane}_placed")
                     for name, part in zip(("product", "place", "sign"), parts, strict=True)]
                    for lane, parts in enumerate(products)]
        held = data.View(self._sum, registered(m, held.as_value(), "held"))

        # Terms, their sum, and its leading bits.
        terms = [self._term(m, lane, place, *parts) for lane, parts in enumerate(products)]
        kept = Signal(params.bits, name="kept_sum")
        m.d.comb += kept.eq(held.significand >> (place - held.place)[:params.place_bits])
        terms.append(Mux(held.sign, -kept, kept))
        ranks = params.shift + params.adder_tree
        if params.shift:
            terms = [registered(m, term, f"term_{lane}") for lane, term in enumerate(terms)]
        total = summed(m, terms, params.tree_registers)
        place = delayed(m, place, ranks, "place")

        result = Signal(self._sum)
        magnitude = Signal(params.total_bits)
        m.d.comb += magnitude.eq(Mux(total < 0, -total, total))
        zeros = leading_zeros(m, magnitude, "count")
        flags = [delayed(m, flag, 1 + ranks, name)
                 for name, flag in zip(("nan", "positive", "negative"), flags, strict=True)]
        nan, positive, negative = (
            flag | before for flag, before in zip(
                flags, (delayed(m, getattr(held, name), ranks, f"held_{name}")
                        for name in ("nan", "positive", "negative")), strict=True))
        m.d.comb += [
            result.significand.eq(
                (magnitude << zeros)[:params.total_bits][params.total_bits - params.bits:]),
            result.place.eq(place + (params.total_bits - params.bits) - zeros),
            result.sign.eq(total < 0),
            result.nan.eq(nan),
            result.positive.eq(positive),
            result.negative.eq(negative),
        ]
        valid, last, slot = (delayed(m, signal, 1 + ranks, f"{name}_summed")
                             for name, signal in (("valid", valid), ("last", last),
                                                  ("slot", slot)))
        with m.If(valid):
            m.d.sync += sums[slot].eq(result)
        self._output(m, registered(m, result.as_value(), "result"),
                     registered(m, valid & last, "ends"))
        return m

    def _products(self, m):
        """Per lane the product, its exponent, its sign and whether it is not zero, behind the ranks
        of ``multiply``; and whether the beat has NaN, and infinities of each sign."""
        params, beat = self.params, self.i.payload
        products, nans, positives, negatives = [], [], [], []
        for lane in range(params.lanes):
            w, x = Factor(beat.weights[lane]), Factor(beat.activations[lane])
            sign, infinite = w.sign ^ x.sign, w.infinite | x.infinite
            nonzero = w.significand.any() & x.significand.any()
            parts = (("product", w.significand * x.significand), ("place", w.shift + x.shift),
                     ("sign", sign), ("nonzero", nonzero))
            products.append([delayed(m, part, params.multiply, f"{name}_{lane}")
                             for name, part in parts])
            nans.append(w.nan | x.nan | infinite & ~nonzero)
            positives.append(infinite & ~sign)
            negatives.append(infinite & sign)
        flags = [delayed(m, Cat(flags).any(), params.multiply, name) for name, flags in (
            ("beat_nan", nans), ("beat_positive", positives), ("beat_negative", negatives))]
        return products, flags

    def _term(self, m, lane, place, product, product_place, sign):
        """What is kept of a product: in units of the last binary place that is kept."""
        params = self.params
        below = params.bits - 1
        extra = below - params.fraction_bits
        aligned = product << extra if extra >= 0 else product >> -extra
        kept = Signal(params.bits + 1, name=f"kept_{lane}")
        term = Signal(signed(params.bits + 2), name=f"signed_{lane}")
        distance = Signal(params.place_bits, name=f"distance_{lane}")
        m.d.comb += [
            distance.eq(place - product_place - below),
            kept.eq(aligned >> distance),
            term.eq(Mux(sign, -kept, kept)),
        ]
        return term

    def _output(self, m, result, ends):
        """A row's sum as FP32."""
        params = self.params
        result = data.View(self._sum, result)
        bias = FP32.bias + params.unit_exponent - (params.bits - 1)
        field = Mux(result.significand.any(), result.place + bias, 0)
        exponent = field[:FP32.exponent_bits]
        if params.leaves_normal_fp32:
            result_bits = packed(m, field, result.significand, "packed")
        elif params.bits > FP32.significand_bits:
            result_bits = rounded(exponent, result.significand)
        else:
            result_bits = Cat(Const(0, FP32.significand_bits - params.bits),
                              result.significand[:-1], exponent)
        nan = result.nan | result.positive & result.negative
        zero = ~result.significand.any()
        with m.If(nan):
            m.d.sync += self.o.payload.eq(NAN)
        with m.Elif(result.positive | result.negative):
            m.d.sync += self.o.payload.eq(infinity(result.negative))
        with m.Else():
            m.d.sync += self.o.payload.eq(Cat(result_bits, result.sign & ~zero))
        m.d.sync += self.o.valid.eq(ends)
