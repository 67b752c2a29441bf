"""Subword dot array: exact sums of products, of which a lane makes one or two of half the width."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import decoded_layout, pairs_layout
from hdl.dot_array import flagged, group_sum_layout, signed_products
from hdl.pipeline import cut, delayed, flow
from hdl.sum_tree import summed
from spec.arithmetic import SubwordDotArrayParams

__all__ = ["SubwordDotArray", "odd_layouts", "subword_sum_layout"]


def odd_layouts(params: SubwordDotArrayParams) -> dict[str, data.ArrayLayout]:
    """Layouts of the odd operands of a narrow beat; they are of code 0 in a wide one."""
    narrow = params.narrow
    return {"odd_weights": data.ArrayLayout(decoded_layout(narrow.weight_format), params.lanes),
            "odd_activations": data.ArrayLayout(
                decoded_layout(narrow.activation_format), params.lanes)}


def subword_sum_layout(params: SubwordDotArrayParams) -> data.StructLayout:
    """Layout of a group sum, and where a narrow beat has two groups, that of the second."""
    members = dict(group_sum_layout(params.sum_bits).members)
    if params.narrow_groups > 1:
        members["second"] = signed(params.narrow.sum_bits)
    return data.StructLayout(members)


class SubwordDotArray(wiring.Component):
    """Exact dot products of scale groups of one of two pairs of formats, beat by beat.

    A lane has the multiplier and the shifter of a wide product; of two narrow products, it makes
    the even one. The odd one has its own, and stands in the low bits of the lane's term, which the
    even one leaves free: the adder tree adds both in one. The golden model is
    :func:`golden.subword_dot_array.subword_dot_array`.

    :Shapes: one to ``group_beats`` beats of ``lanes`` wide pairs per group, or one to
        ``narrow.group_beats`` beats of ``2 * lanes`` narrow pairs, the first half of which are
        their own group where a beat has two; one sum per group.
    :Formats: operands as :class:`hdl.subword_decoder.SubwordDecoder` gives them; sums exact, as of
        :class:`hdl.dot_array.DotArray`, in units of ``2**lsb_exponent``; ``second`` s{sum_bits} of
        ``narrow`` in units of its ``2**lsb_exponent``, 0 of a wide beat.
    :Timing: latency ``SubwordDotArrayParams.LATENCY`` from the beat with ``last``; one beat per
        cycle; never stalls. Beats may come with gaps.
    :Errors: more beats in a group than it may have wrap; not detected.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``odd_weights``, ``odd_activations``, ``narrow``,
        ``first`` and ``last`` of a group, always ready
    o : stream of group sums, always ready
    """

    def __init__(self, params: SubwordDotArrayParams):
        if not isinstance(params, SubwordDotArrayParams):
            raise TypeError(f"SubwordDotArray needs SubwordDotArrayParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(pairs_layout(params, narrow=1, **odd_layouts(params)))),
            "o": Out(flow(subword_sum_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params, beat = self.params, self.i.payload
        cycles = params.LATENCY - 1
        valid = delayed(m, self.i.valid, cycles, "valid")
        first = delayed(m, beat.first, cycles, "first")
        last = delayed(m, beat.last, cycles, "last")
        narrow = delayed(m, beat.narrow, cycles, "narrow")
        terms = self._terms(m)
        lanes = params.lanes // params.narrow_groups
        sums = [summed(m, terms[start:start + lanes], params.tree_registers)
                for start in range(0, params.lanes, lanes)]

        # The even sums above the odd ones, less the surplus of both.
        place = params.even_place
        surplus = lanes << params.term_bits - 1 - place
        odd_surplus = lanes << params.narrow.product_bits - 1

        def joined(total, surplus):
            low = Mux(narrow, total[:place], 0)
            return total[place:] + low - Mux(narrow, surplus + odd_surplus, surplus)

        both = sums[0]
        if params.narrow_groups > 1:
            both = both + Mux(narrow, 0, sums[1])
        high = Signal(signed(params.sum_bits))
        beat_sum = Signal(signed(params.sum_bits))
        m.d.comb += [
            high.eq(joined(both, Mux(narrow, surplus, surplus * params.narrow_groups))),
            beat_sum.eq(Mux(narrow, high << params.narrow_shift, Cat(both[:place], high))),
        ]
        total = Signal(subword_sum_layout(params))
        with m.If(valid):
            m.d.sync += total.value.eq(beat_sum + Mux(first, 0, total.value))
            if params.narrow_groups > 1:
                # A beat with two groups is all of them.
                m.d.sync += total.second.eq(Mux(narrow, joined(sums[1], surplus), 0))
        m.d.sync += self.o.valid.eq(valid & last)
        m.d.comb += self.o.payload.eq(total)
        flagged(m, beat, params, total, self.o.payload, valid, first)
        return m

    def _terms(self, m):
        """What each lane gives to the tree, never negative."""
        params, beat = self.params, self.i.payload
        narrow = delayed(m, beat.narrow, params.multiply, "narrow_terms")
        even = signed_products(m, beat.weights, beat.activations, params, "")
        odd = signed_products(m, beat.odd_weights, beat.odd_activations, params.narrow, "odd_")
        terms = []
        up = params.even_place - params.narrow_shift
        for lane, ((product, shift), (odd_product, odd_shift)) in enumerate(
                zip(even, odd, strict=True)):
            term = Signal(signed(params.term_bits), name=f"term_{lane}")
            odd_term = Signal(signed(params.narrow.product_bits), name=f"odd_term_{lane}")
            shifted = product << shift
            m.d.comb += [
                term.eq(Mux(narrow, shifted << up, shifted) if up else shifted),
                odd_term.eq(odd_product << odd_shift),
            ]
            # As in the dot array, the sign bits are inverted; of a wide beat, odd products are 0.
            low = Cat(odd_term[:-1], ~odd_term[-1] & narrow)
            joined = Cat(term[:len(low)] | low, term[len(low):-1], ~term[-1])
            terms += cut(m, params.shift, **{f"fixed_{lane}": joined})
        return terms
