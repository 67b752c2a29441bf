"""Scale maker: the scale of a group from its largest magnitude."""

from amaranth.hdl import Cat, Const, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import rounded
from hdl.pipeline import delayed, flow, registered
from hdl.shift import leading_zeros, shifted_right_sticky
from spec.formats import E4M3, E5M2, FP32
from spec.tensor_units import QuantizerParams
from spec.tensors import RULE_NAMES, ScaleRule, TensorFormat

__all__ = ["MAGNITUDE_BITS", "ScaleMaker", "is_rule", "is_target", "normalised", "record_layout"]

MAGNITUDE_BITS = FP32.bits - 1
# 1.75, the significand of the largest value of both formats, as an FP32 mantissa.
_LARGEST_MANTISSA = 0x600000
# Exponents of normalised subnormal numbers, and of them less the formats' own.
_EXPONENT = signed(10)
_DIGIT_BITS = 3
_DIGITS = FP32.significand_bits // _DIGIT_BITS
_DIGITS_PER_STAGE = 2


def record_layout(params: QuantizerParams) -> data.StructLayout:
    """A group's scale, as the casts need it.

    ``exponent`` and ``mantissa`` are of ``1.mantissa * 2**(exponent - 127)``; an E8M0 scale has no
    mantissa, and its exponent is its code. ``code`` is the FP32 code without its sign, where it is
    not just these two fields side by side. ``special`` is set for a group with NaN or infinity;
    the rest means nothing then.
    """
    fields = {"special": 1, "exponent": FP32.exponent_bits}
    if params.divides:
        fields["mantissa"] = FP32.mantissa_bits
    if params.keeps_subnormals:
        fields["exponent"] = _EXPONENT
        if params.divides:
            fields["code"] = MAGNITUDE_BITS
    return data.StructLayout(fields)


def is_rule(params: QuantizerParams, rule, wanted: ScaleRule):
    """Whether ``rule`` is ``wanted``; a constant where there is no choice."""
    built = [RULE_NAMES[name] for name in params.rules]
    if wanted not in built:
        return Const(0, 1)
    return Const(1, 1) if len(built) == 1 else rule == wanted


def is_target(params: QuantizerParams, target, wanted: TensorFormat):
    """Whether ``target`` is ``wanted``; a constant where there is no choice."""
    if wanted.float_format.name not in params.formats:
        return Const(0, 1)
    return Const(1, 1) if len(params.formats) == 1 else target == wanted


def normalised(m: Module, magnitude, name: str):
    """Return exponent and significand (hidden bit set, unless zero) of an FP32 magnitude.

    The exponent of a subnormal is below 1.
    """
    mantissa, field = magnitude[:FP32.mantissa_bits], magnitude[FP32.mantissa_bits:]
    significand = Cat(mantissa, field.any())
    zeros = leading_zeros(m, significand, f"{name}_zeros")
    return Mux(field.any(), field, 1) - zeros, (significand << zeros)[:FP32.significand_bits]


class ScaleMaker(wiring.Component):
    """Scales of groups by any of the rules that were built.

    :func:`golden.quantizer.quantize` says what they are.

    Both formats' largest value is 1.75 times a power of two, so that ``fp32-div`` divides a
    significand by 7 and shifts. In base 8 each digit of that division is a small table, and all
    digits behind the point repeat the remainder: a quotient is a tie of rounding only when it is
    exact.

    :Formats: FP32 magnitudes in, without a sign; :func:`record_layout` out.
    :Timing: ``latency`` cycles; one group per cycle; never stalls.

    Members
    -------
    rule, target : :class:`spec.tensors.ScaleRule` and :class:`spec.tensors.TensorFormat`
    i : stream of largest magnitudes, always ready
    o : stream of records, always ready
    """

    def __init__(self, params: QuantizerParams):
        if not isinstance(params, QuantizerParams):
            raise TypeError(f"ScaleMaker needs QuantizerParams, not {params!r}")
        self.params = params
        stages = 3
        if params.keeps_subnormals:
            stages += 1
        if params.divides:
            stages += _DIGITS // _DIGITS_PER_STAGE + 2 * params.keeps_subnormals
        self.latency = stages
        super().__init__({
            "rule": In(2),
            "target": In(3),
            "i": In(flow(MAGNITUDE_BITS)),
            "o": Out(flow(record_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        divide = is_rule(params, self.rule, ScaleRule.FP32_DIV)
        ceil = is_rule(params, self.rule, ScaleRule.E8M0_CEIL)
        wide = is_target(params, self.target, TensorFormat.E5M2)

        # The largest magnitude, or the floor.
        amax = self.i.payload
        floor = params.floor_code
        special = amax[FP32.mantissa_bits:].all()
        floored = registered(m, Mux(amax < floor, Const(floor, MAGNITUDE_BITS), amax)
                             if floor else amax, "floored")
        if params.keeps_subnormals:
            exponent, significand = normalised(m, floored, "amax")
            exponent = registered(m, exponent, "amax_exponent")
            significand = registered(m, significand, "amax_significand")
        else:
            exponent = floored[FP32.mantissa_bits:]
            significand = Cat(floored[:FP32.mantissa_bits], Const(1, 1))

        above = significand[:-1] > _LARGEST_MANTISSA
        if params.divides:
            quotient, remainder = self._seventh(m, significand)
            cycles = _DIGITS // _DIGITS_PER_STAGE
            exponent = delayed(m, exponent, cycles, "exponent")
            above = delayed(m, above, cycles, "above")
            # 8/7 of the significand, or 4/7 of one from 1.75 on; then what is left of it.
            eighths = Cat(remainder, quotient)[:FP32.significand_bits + 1]
            large = eighths[-1]
            exact = Mux(large, Cat(remainder.any(), eighths),
                        Cat(remainder.any(), remainder >= 4, eighths[:-1]))
            exact = registered(m, exact, "exact")
            # -1 below 1.75, 0 from there on.
            step = (~large).as_signed()
            carry = Mux(divide, step, ceil & above)
        else:
            carry = ceil & above
        largest = Mux(wide, E5M2.largest_exponent, E4M3.largest_exponent)
        exponent = registered(m, exponent - largest + carry, "scale_exponent")

        record = self.o.payload
        power = Mux(exponent < 0, 0, exponent)[:FP32.exponent_bits]
        if not params.divides:
            m.d.sync += record.exponent.eq(power)
        elif not params.keeps_subnormals:
            code = rounded(exponent[:FP32.exponent_bits], exact)
            m.d.sync += [
                record.exponent.eq(Mux(divide, code[FP32.mantissa_bits:], power)),
                record.mantissa.eq(Mux(divide, code[:FP32.mantissa_bits], 0)),
            ]
        else:
            self._small(m, divide, exponent, power, exact)
        m.d.sync += [
            record.special.eq(delayed(m, special, self.latency - 1, "special")),
            self.o.valid.eq(delayed(m, self.i.valid, self.latency - 1, "valid")),
        ]
        return m

    @staticmethod
    def _seventh(m, word):
        """Divide ``word`` by 7: quotient and remainder, two digits of base 8 per cycle."""
        remainder = Const(0, _DIGIT_BITS)
        for last in range(_DIGITS - 1, 0, -_DIGITS_PER_STAGE):
            digits = [word.word_select(place, _DIGIT_BITS) for place in range(_DIGITS)]
            for place in range(last, last - _DIGITS_PER_STAGE, -1):
                # 8 r + d = 7 r + (r + d)
                total = remainder + digits[place]
                over = total >= 7
                digits[place] = (remainder + over)[:_DIGIT_BITS]
                remainder = Mux(over, total - 7, total)[:_DIGIT_BITS]
            word = registered(m, Cat(*digits), f"quotient_{last}")
            remainder = registered(m, remainder, f"remainder_{last}")
        return word, remainder

    def _small(self, m, divide, exponent, power, exact):
        """Round a scale that may be a subnormal FP32 number, but at least the smallest."""
        normal = exponent > 0
        shifted = shifted_right_sticky(m, exact, Mux(normal, 0, 1 - exponent)[:9], "exact")
        shifted = registered(m, shifted, "shifted")
        field = registered(m, Mux(normal, exponent, 0)[:FP32.exponent_bits], "field")
        code = rounded(field, shifted)
        code = registered(m, Mux(code.any(), code, 1), "code")
        exponent, significand = normalised(m, code, "code")
        power = delayed(m, power, 2, "power")
        record = self.o.payload
        m.d.sync += [
            record.exponent.eq(Mux(divide, exponent, power)),
            record.mantissa.eq(Mux(divide, significand[:-1], 0)),
            record.code.eq(code),
        ]
