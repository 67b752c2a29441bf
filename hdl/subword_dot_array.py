"""Subword dot array: exact sums of products, of which a lane makes one or two of half the width."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.booth import booth_digits, booth_product, booth_surplus
from hdl.decoder import decoded_layout, pairs_layout
from hdl.dot_array import flagged, group_sum_layout, signed_products
from hdl.pipeline import cut, delayed, flow
from hdl.sum_tree import summed
from spec.dot_arrays import SubwordDotArrayParams

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
    the even one. The odd one has its own, and stands in the low bits of the lane's term, which even
    ones leave free: the adder tree adds both at once. A lane of integers makes both in the rows of
    one wide product. The golden model is :func:`golden.subword_dot_array.subword_dot_array`.

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
        groups = self._integer_terms(m) if params.integers else self._terms(m)
        sums = [summed(m, terms, params.tree_registers) for terms in groups]

        # The surplus of terms that are never negative, of one group of them.
        place, odd_bits = params.narrow_place, params.odd_bits
        lanes = params.lanes // params.narrow_groups
        surplus = lanes * (booth_surplus(params.weight_format.bits // 2,
                                         params.activation_format.bits)
                           if params.integers else 1 << params.product_bits - 1)
        odd_surplus = lanes << params.narrow.product_bits - 1 if odd_bits else 0

        def joined(terms, groups):
            """The sum of a narrow group, or of ``groups`` groups of wide terms its upper bits."""
            odd = Mux(narrow, terms[:odd_bits], 0) if odd_bits else 0
            return terms[place:] + odd - Mux(narrow, (surplus >> place) + odd_surplus,
                                             groups * surplus >> place)

        both = sums[0]
        if params.narrow_groups > 1:
            both = both + Mux(narrow, 0, sums[1])
        upper = Signal(signed(max(params.sum_bits - place, params.narrow.sum_bits)))
        wide = Cat(both[:place], upper).as_signed()
        m.d.comb += upper.eq(joined(both, params.narrow_groups))
        beat_sum = Mux(narrow, upper << params.narrow_shift, wide)

        # Accumulate over the beats of the group; a beat with two groups is all of them.
        total = Signal(subword_sum_layout(params))
        with m.If(valid):
            m.d.sync += total.value.eq(beat_sum + Mux(first, 0, total.value))
            if params.narrow_groups > 1:
                m.d.sync += total.second.eq(Mux(narrow, joined(sums[1], 1), 0))
        m.d.sync += self.o.valid.eq(valid & last)
        m.d.comb += self.o.payload.eq(total)
        flagged(m, beat, params, total, self.o.payload, valid, first)
        return m

    def _terms(self, m):
        """What is added in one narrow group, or in a half of the lanes, none of it negative: as in
        the dot array, sign bits are inverted."""
        params, beat = self.params, self.i.payload
        narrow = delayed(m, beat.narrow, params.multiply, "narrow_terms")
        even = signed_products(m, beat.weights, beat.activations, params, "")
        odd = signed_products(m, beat.odd_weights, beat.odd_activations, params.narrow, "odd_")
        lanes = params.lanes // params.narrow_groups
        groups = [[] for _ in range(params.narrow_groups)]
        for lane, ((product, shift), (odd_product, odd_shift)) in enumerate(
                zip(even, odd, strict=True)):
            term = Signal(signed(params.product_bits), name=f"term_{lane}")
            odd_term = Signal(signed(params.narrow.product_bits), name=f"odd_term_{lane}")
            m.d.comb += [term.eq(product << shift), odd_term.eq(odd_product << odd_shift)]
            # Of a wide beat, odd products are 0.
            low = Cat(odd_term[:-1], ~odd_term[-1] & narrow)
            groups[lane // lanes] += cut(m, params.shift, **{
                f"fixed_{lane}": Cat(term[:len(low)] | low, term[len(low):-1], ~term[-1])})
        return groups

    def _integer_terms(self, m):
        """The same of integers: a lane makes a wide product out of two by a half of the weight, or
        adds two narrow ones, which then stand where the upper of these does."""
        params, beat = self.params, self.i.payload
        half, lanes = params.narrow.weight_format.bits, params.lanes // params.narrow_groups
        groups = [[] for _ in range(params.narrow_groups)]
        for lane in range(params.lanes):
            weight, activation, odd_weight, odd_activation = (
                side[lane].significand for side in (
                    beat.weights, beat.activations, beat.odd_weights, beat.odd_activations))
            code = Cat(weight[:half], Mux(beat.narrow, odd_weight.as_unsigned(), weight[half:]))
            digits = booth_digits(code)
            upper, middle, lower = digits[half // 2]
            digits[half // 2] = upper, middle, lower & ~beat.narrow
            low = Mux(beat.narrow, activation << half, activation)[:2 * half]
            high = Mux(beat.narrow, odd_activation, activation)
            values = [low] * (half // 2) + [high] * (half // 2)
            product = booth_product(m, digits, values, params.multiply, f"product_{lane}")
            groups[lane // lanes] += cut(m, params.shift, **{f"fixed_{lane}": product})
        return groups
