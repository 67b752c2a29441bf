"""Dot array: the exact sum of the exact products of one scale group."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.booth import booth_digits, booth_product, booth_surplus
from hdl.decoder import Factor, pairs_layout
from hdl.pipeline import cut, delayed, flow
from hdl.sum_tree import summed
from spec.dot_arrays import DotArrayParams

__all__ = ["DotArray", "flagged", "group_sum_layout", "signed_products"]


def group_sum_layout(sum_bits: int) -> data.StructLayout:
    """Layout of an exact group sum with the special values that it met."""
    return data.StructLayout({
        "value": signed(sum_bits),
        "nan": 1,
        "positive_infinity": 1,
        "negative_infinity": 1,
    })


def signed_products(m: Module, weights, activations, params: DotArrayParams, name: str) -> list:
    """The products of significands with their signs, lane by lane, and their shifts, behind the
    registers of ``params.multiply``."""
    made = []
    for lane, sides in enumerate(zip(weights, activations, strict=True)):
        weight, activation = map(Factor, sides)
        # Multiply significands, add shifts. The sign goes in before the shift: the negation is
        # then as narrow as the product of the significands.
        magnitude, negative, shift = cut(m, params.multiply > 1, **{
            f"{name}magnitude_{lane}": weight.significand * activation.significand,
            f"{name}sign_{lane}": weight.sign ^ activation.sign,
            f"{name}shifts_{lane}": weight.shift + activation.shift})
        made.append(cut(m, params.multiply > 0, **{
            f"{name}product_{lane}": (Mux(negative, -magnitude, magnitude)
                                      if params.has_sign_bits else magnitude),
            f"{name}shift_{lane}": shift}))
    return made


def flagged(m: Module, beat, params: DotArrayParams, total, result, valid, first) -> None:
    """Keep the special values of a group in ``total``, and show in ``result`` what they make;
    ``valid`` and ``first`` are the beat's when it is added to the sum."""
    nans = Signal(params.lanes)
    positives = Signal(params.lanes)
    negatives = Signal(params.lanes)
    for lane in range(params.lanes):
        weight, activation = (Factor(side[lane]) for side in (beat.weights, beat.activations))
        infinite = weight.infinite | activation.infinite
        zero = ((~weight.infinite & ~weight.significand.any())
                | (~activation.infinite & ~activation.significand.any()))
        m.d.comb += [
            nans[lane].eq(weight.nan | activation.nan | infinite & zero),
            positives[lane].eq(infinite & (weight.negative == activation.negative)),
            negatives[lane].eq(infinite & (weight.negative != activation.negative)),
        ]
    cycles = params.LATENCY - 1
    nan = delayed(m, nans.any(), cycles, "nan")
    positive = delayed(m, positives.any(), cycles, "positive")
    negative = delayed(m, negatives.any(), cycles, "negative")
    with m.If(valid):
        m.d.sync += [
            total.nan.eq(nan | total.nan & ~first),
            total.positive_infinity.eq(positive | total.positive_infinity & ~first),
            total.negative_infinity.eq(negative | total.negative_infinity & ~first),
        ]
    m.d.comb += result.nan.eq(total.nan | total.positive_infinity & total.negative_infinity)


def _term_surplus(params: DotArrayParams) -> int:
    """What a term of the adder tree is larger by than the product, so that it is never negative."""
    if params.recoded:
        return booth_surplus(-(-params.weight_format.bits // 2), params.activation_format.bits)
    return 1 << params.product_bits - 1


def _terms(m: Module, beat, params: DotArrayParams) -> list:
    """The products of a beat in fixed point, with their surplus."""
    terms = []
    for lane, (product, shift) in enumerate(
            signed_products(m, beat.weights, beat.activations, params, "")):
        # No legal product needs more than product_bits.
        term = Signal(signed(params.product_bits), name=f"term_{lane}")
        m.d.comb += term.eq(product << shift)
        # With the sign bit inverted, the term is larger by the weight of that bit, and never
        # negative: the tree extends no signs.
        terms += cut(m, params.shift > 0, **{f"fixed_{lane}": Cat(term[:-1], ~term[-1])})
    return terms


def _recoded_terms(m: Module, beat, params: DotArrayParams) -> list:
    """The same by Booth's recoding of the weights."""
    terms = []
    for lane, sides in enumerate(zip(beat.weights, beat.activations, strict=True)):
        weight, activation = (side.significand for side in sides)
        digits = booth_digits(weight)
        product = booth_product(m, digits, [activation] * len(digits), params.multiply,
                                f"product_{lane}")
        terms += cut(m, params.shift > 0, **{f"fixed_{lane}": product})
    return terms


class DotArray(wiring.Component):
    """Exact dot product of one scale group, ``lanes`` products per beat.

    The golden model is :func:`golden.dot_array.dot_array`.

    :Shapes: one to ``group_beats`` beats of ``lanes`` decoded pairs per group; one sum per group.
    :Formats: operands as :class:`hdl.decoder.Decoder` gives them; sum s{sum_bits} in units of
        ``2**lsb_exponent``, exact: no rounding, no saturation, no order. NaN operands, infinity
        times zero, and infinities of both signs set ``nan``; else infinite products set the flag
        of their sign. With a flag set, ``value`` means nothing.
    :Timing: latency ``DotArrayParams.LATENCY`` from the beat with ``last``; one beat per cycle;
        never stalls. Beats may come with gaps.
    :Errors: more than ``group_beats`` beats in a group wrap modulo ``2**sum_bits``; not detected.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``first`` and ``last`` of a group, always ready
    o : stream of group sums, always ready
    """

    def __init__(self, params: DotArrayParams):
        if not isinstance(params, DotArrayParams):
            raise TypeError(f"DotArray needs DotArrayParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(pairs_layout(params))),
            "o": Out(flow(group_sum_layout(params.sum_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        beat = self.i.payload
        terms = (_recoded_terms if params.recoded else _terms)(m, beat, params)
        # All lanes' surplus is a constant.
        surplus = params.lanes * _term_surplus(params)
        beat_sum = summed(m, terms, params.tree_registers) - surplus
        cycles = params.LATENCY - 1
        valid = delayed(m, self.i.valid, cycles, "valid")
        first = delayed(m, beat.first, cycles, "first")
        last = delayed(m, beat.last, cycles, "last")

        # Accumulate over the beats of the group.
        total = Signal(group_sum_layout(params.sum_bits))
        with m.If(valid):
            m.d.sync += total.value.eq(beat_sum + Mux(first, 0, total.value))
        m.d.sync += self.o.valid.eq(valid & last)
        m.d.comb += self.o.payload.eq(total)
        flagged(m, beat, params, total, self.o.payload, valid, first)
        return m
