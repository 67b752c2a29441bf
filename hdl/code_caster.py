"""Code caster: elements of BF16 or FP32 to codes, by their group's scale."""

from amaranth.hdl import Array, Cat, Const, Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import cut, delayed, flow, registered
from hdl.scale_maker import is_rule, is_target, normalised, record_layout
from hdl.tensor_streams import counts
from spec.formats import BF16, E4M3, E5M2, FP32
from spec.tensor_units import QuantizerParams
from spec.tensors import ScaleRule, TensorFormat

__all__ = ["CodeCaster", "cast_layout", "code_layout", "is_wide"]

# Places of a quotient between 1 and 2 at which a rounding to some number of bits changes: i / 16.
_PLACES = range(17, 32)
_COARSE = (20, 24, 28)
# Most bits that a code loses below its last one, against three bits of mantissa.
_LARGEST_LOSS = 4


def _tie_rises(place: int) -> bool:
    """Whether a tie at ``place`` / 16, the middle of two codes, rounds up to the even one."""
    below = place & -place
    return bool(place & (below << 1))


def cast_layout(params: QuantizerParams) -> data.StructLayout:
    """An atom of elements with its place in the row and the scale of its group."""
    return data.StructLayout({
        "data": params.atom_bits, "count": params.count_bits, "group_last": 1, "last": 1,
        "record": record_layout(params)})


def code_layout(params: QuantizerParams) -> data.StructLayout:
    """The codes of one atom of elements, with their scale and their place in the row."""
    return data.StructLayout({
        "codes": 8 * params.code_lanes, "count": params.count_bits, "scale": 32,
        "group_last": 1, "last": 1})


def is_wide(params: QuantizerParams, source):
    """Whether elements are FP32; a constant where there is no choice."""
    if "fp32" not in params.sources:
        return Const(0, 1)
    return Const(1, 1) if len(params.sources) == 1 else source == TensorFormat.FP32


class CodeCaster(wiring.Component):
    """Elements divided by the scale of their group, and rounded to codes.

    :func:`golden.quantizer.quantize` says what the codes are.

    Nothing is divided. Let S and X be the significands of scale and element, X doubled if below S,
    so that X / S is in [1, 2). Wherever a code of three bits of mantissa, or of fewer, changes to
    the next, X / S is a multiple i / 16; and at each i a tie goes to the even code either always
    up or always down. The lanes share the thresholds i * S, and find the last that X passes, first
    among every fourth. The quotient is rounded to FP32 before it is rounded to a code: so X passes
    when ``16 X >= i S - S / 2**20`` where a tie goes up, when ``16 X > i S + S / 2**20`` where it
    goes down, as the thresholds are that far from any quotient that FP32 holds. Where S is a power
    of two this is the plain comparison with ``i S``.

    :Formats: BF16 or FP32 in; codes of :class:`spec.tensors.TensorFormat` E4M3 or E5M2 out, zero
        past ``count``. With FP32 there are half as many. ``scale`` is FP32, or E8M0 in its low
        byte.
    :Timing: ``latency`` cycles; one atom per cycle; never stalls.

    Members
    -------
    source, target : :class:`spec.tensors.TensorFormat`
    rule : :class:`spec.tensors.ScaleRule`
    i : stream of ``cast_layout``, always ready
    o : stream of ``code_layout``, always ready
    """

    def __init__(self, params: QuantizerParams):
        if not isinstance(params, QuantizerParams):
            raise TypeError(f"CodeCaster needs QuantizerParams, not {params!r}")
        self.params = params
        self.latency = (5 if params.divides else 3) + params.ranks
        super().__init__({
            "source": In(3),
            "target": In(3),
            "rule": In(2),
            "i": In(flow(cast_layout(params))),
            "o": Out(flow(code_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        divide = is_rule(params, self.rule, ScaleRule.FP32_DIV)
        e5m2 = is_target(params, self.target, TensorFormat.E5M2)
        item = self.i.payload
        record = item.record

        # What the lanes share.
        bias = Mux(e5m2, E5M2.bias, E4M3.bias)
        offset = bias - record.exponent
        if params.divides:
            offset = registered(m, offset, "offset")
            places = None
        else:
            places = cut(m, True, **self._places(offset, e5m2))
        if params.divides:
            scale = _Thresholds(m, Cat(record.mantissa, Const(1, 1)))
            code = (record.code if params.keeps_subnormals
                    else Cat(record.mantissa, record.exponent))
            fp32_scale = Mux(record.special, FP32.nan_code, code)
        else:
            scale, fp32_scale = None, Const(0, 1)
        e8m0_scale = record.exponent[:8] | record.special.replicate(8)
        scale_code = Cat(Mux(divide, fp32_scale, e8m0_scale), Const(0, 32))[:32]
        tags = Cat(item.count, scale_code, item.group_last, item.last)
        tags = delayed(m, tags, self.latency - 1, "tags")
        special = delayed(m, record.special, self.latency - 1, "special")
        count = tags[:params.count_bits]

        codes = []
        for lane in range(params.code_lanes):
            code = self._lane(m, lane, offset, places, scale, e5m2, special)
            codes.append(Mux(counts(count, lane), code, Const(0, 8)))
        m.d.sync += [
            self.o.payload.eq(Cat(*codes, tags)),
            self.o.valid.eq(delayed(m, self.i.valid, self.latency - 1, "valid")),
        ]
        return m

    def _element(self, lane):
        """Return a lane's FP32 code, and how many of its bits may be other than zero."""
        atom = self.i.payload.data
        narrow = Cat(Const(0, 16), atom.word_select(lane, 16))
        if "fp32" not in self.params.sources or lane >= self.params.lanes("fp32"):
            return narrow, BF16.significand_bits
        wide = atom.word_select(lane, 32)
        return Mux(is_wide(self.params, self.source), wide, narrow), FP32.significand_bits

    def _lane(self, m, lane, offset, places, scale, e5m2, special):
        """Cast one element: its code, still to be registered."""
        name = f"lane_{lane}"
        element, bits = self._element(lane)
        magnitude = element[:-1]
        if self.params.keeps_subnormals:
            exponent, significand = normalised(m, magnitude, name)
            zero = ~significand[-1]
        else:
            # A subnormal number is as good as zero.
            exponent = magnitude[FP32.mantissa_bits:]
            significand = Cat(magnitude[:FP32.mantissa_bits], Const(1, 1))
            zero = ~exponent.any()
        sign = delayed(m, element[-1], self.latency - 1, f"{name}_sign")
        zero = delayed(m, zero, self.latency - 1, f"{name}_zero")
        exponent = registered(m, exponent, f"{name}_exponent")
        significand = registered(m, significand[-bits:], f"{name}_significand")

        # The exponent field that the code would have, and the thresholds that X passes.
        if scale is None:
            passed, more = self._exact(significand)
            passed = registered(m, passed, f"{name}_passed")
            more = registered(m, more, f"{name}_more")
        else:
            exponent = registered(m, exponent + offset, f"{name}_quotient_exponent")
            less, passed, more = self._divided(m, significand, scale, name)
            places = self._places(Mux(less, -1, 0), e5m2).values()
        loss, tiny, base = self._position(exponent, e5m2, *places)
        cycles = 2 if self.params.divides else 1
        loss = delayed(m, loss, cycles, f"{name}_loss")
        tiny = delayed(m, tiny, cycles, f"{name}_tiny")
        base = delayed(m, base, cycles, f"{name}_base")

        # Rounded to the bits that the code has.
        rounded = Array([*((16 + passed + (1 << cut)) >> (cut + 1)
                           for cut in range(_LARGEST_LOSS)), more])[loss]
        rounded, tiny, base = cut(m, self.params.ranks, **{
            f"{name}_rounded": rounded, f"{name}_tiny_rounded": tiny,
            f"{name}_base_rounded": base})
        code = Mux(e5m2, base << E5M2.mantissa_bits, base << E4M3.mantissa_bits) + rounded
        largest = Mux(e5m2, E5M2.largest_code, E4M3.largest_code)
        code = Mux(zero | tiny, 0, Mux(code > largest, largest, code))
        nan = Mux(e5m2, E5M2.nan_code, E4M3.nan_code)
        return Mux(special, nan, Cat(code[:7], sign))[:8]

    @staticmethod
    def _places(offset, e5m2):
        """What :meth:`_position` adds to an exponent, where ``offset`` makes the field of it."""
        return {"offset_normal": offset - 1, "offset_missing": 1 - offset + e5m2,
                "offset_tiny": offset + (_LARGEST_LOSS - 1) - e5m2}

    @staticmethod
    def _position(exponent, e5m2, normal, missing, tiny):
        """Return bits lost, whether all are, and what the code's exponent field adds to it.

        One addition deep: the field less one is that of a normal number unless negative; one less
        the field, and a bit of mantissa less with E5M2, are bits that a subnormal number loses.
        """
        above, room = exponent + normal, exponent + tiny
        is_normal = ~above[-1]
        # All that a normal number loses is the bit that E5M2 does not have.
        loss = Mux(is_normal, e5m2, (missing - exponent)[:3])
        return loss, room[-1], Mux(is_normal, above, 0)[:E5M2.exponent_bits]

    @staticmethod
    def _exact(significand):
        """Thresholds passed by a significand where S is 1, and whether it is above 1."""
        fraction = significand[:-1]
        place, rest = fraction[-4:], fraction[:-4].any()
        ties_fall = Const(sum(1 << (i - 16) for i in _PLACES if not _tie_rises(i)), 16)
        return (place - (ties_fall.bit_select(place, 1) & ~rest))[:4], fraction.any()

    @staticmethod
    def _divided(m, significand, scale, name):
        """As :meth:`_exact` for any S; also whether X is below S. Takes two and three cycles."""
        bits = len(significand)
        cut = FP32.significand_bits - bits
        less = registered(m, significand <= scale.below_one[cut:], f"{name}_less")
        equal = (significand == scale.one[cut:]) & ~scale.one[:cut].any()
        more = delayed(m, ~equal, 3, f"{name}_more")
        significand = registered(m, significand, f"{name}_x")
        doubled = Mux(less, Cat(Const(0, 1), significand), significand)

        coarse = [doubled > scale.coarse[place][cut:] for place in _COARSE]
        quarter = registered(m, coarse[0] + coarse[1] + coarse[2], f"{name}_quarter")
        doubled = registered(m, doubled, f"{name}_doubled")
        fine = [doubled > Array(scale.fine[start + step][cut:] for start in (16, 20, 24, 28))[
            quarter] for step in (1, 2, 3)]
        passed = registered(m, Cat((fine[0] + fine[1] + fine[2])[:2], quarter), f"{name}_passed")
        return less, passed, more


class _Thresholds:
    """The thresholds of a scale's significand S, in the cycles in which the lanes compare.

    A significand X, doubled or not, passes ``i`` when it is above the threshold.
    """

    def __init__(self, m, significand):
        one = registered(m, significand, "scale_one")
        below_one = registered(m, (significand - 1)[:len(significand)], "scale_below_one")
        multiples = {k: registered(m, (significand * k)[:len(significand) + 3], f"scale_{k}")
                     for k in (3, 5, 7)}
        self.one, self.below_one = one, below_one
        self.coarse = {place: registered(m, self._threshold(place, one, below_one, multiples),
                                         f"threshold_{place}") for place in _COARSE}
        one, below_one = (registered(m, one, "scale_one_2"),
                          registered(m, below_one, "scale_below_one_2"))
        multiples = {k: registered(m, multiple, f"scale_{k}_2")
                     for k, multiple in multiples.items()}
        self.fine = {place: registered(m, self._threshold(place, one, below_one, multiples),
                                       f"threshold_{place}")
                     for place in _PLACES if place not in _COARSE}

    @staticmethod
    def _threshold(place, one, below_one, multiples):
        """``(place * S + slack) // 16``, where ``slack`` is S / 2**20, or one less than minus
        that if a tie goes up."""
        slack = one[-4:]
        start, slack = (below_one, ~slack) if _tie_rises(place) else (one, slack)

        def multiple(factor):
            shift = (factor & -factor).bit_length() - 1
            odd = factor >> shift
            return (one if odd == 1 else multiples[odd]) << shift

        if place <= 24:
            total = Cat(slack, start) + multiple(place - 16)
        else:
            total = Cat(slack, Const(int(_tie_rises(place)), 1), start) - multiple(32 - place)
        return total[4:4 + len(one) + 1]
