"""Exact oracle: what the numeric contract says, in Python integers and fractions.

Slow and plain. It shares nothing with the golden models but the formats' records: no numpy
arithmetic, no tables. A value is a ``Fraction``, or a Python float for infinity and NaN; where the
sign of zero matters, a function works on codes.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import inf, isinf, isnan, nan

from spec.description import Scaling
from spec.formats import FP32, IntegerFormat, NumberFormat

__all__ = [
    "Value", "add_fp32", "combine_scales", "dot", "gemv_element", "group_quantized",
    "multiply_fp32", "round_to_format", "round_to_fp32", "scale_group", "value_of",
]

Value = Fraction | float


def value_of(code: int, fmt: NumberFormat) -> Value:
    """The value of a code of ``fmt``."""
    if isinstance(fmt, IntegerFormat):
        whole = code - (1 << fmt.bits) if code >> (fmt.bits - 1) else code
        return Fraction(whole, 1 << fmt.fraction_bits)
    negative = bool(code & fmt.sign_mask)
    exponent = (code & fmt.exponent_mask) >> fmt.mantissa_bits
    mantissa = code & fmt.mantissa_mask
    if exponent == (1 << fmt.exponent_bits) - 1:
        if fmt.has_infinity:
            return nan if mantissa else (-inf if negative else inf)
        if fmt.has_nan and mantissa == fmt.mantissa_mask:
            return nan
    if exponent == 0:
        magnitude = mantissa * Fraction(2) ** (1 - fmt.bias - fmt.mantissa_bits)
    else:
        magnitude = ((1 << fmt.mantissa_bits) + mantissa) * Fraction(2) ** (
            exponent - fmt.bias - fmt.mantissa_bits)
    return -magnitude if negative else magnitude


def _floor_log2(value: Fraction) -> int:
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if Fraction(2) ** guess <= value else guess - 1


def round_to_format(value: Value, fmt: NumberFormat, negative_zero: bool = False,
                    saturate: bool = False) -> int:
    """Round once, to nearest, ties to even. ``negative_zero`` is the sign of an exact zero.

    With ``saturate``, overflow and infinity give the largest finite magnitude; without, infinity.
    """
    if isinstance(value, float) and isnan(value):
        return fmt.nan_code
    if isinstance(fmt, IntegerFormat):
        if isinstance(value, float):
            whole = fmt.largest_code if value > 0 else -fmt.largest_code
        else:
            whole = round(value * (1 << fmt.fraction_bits))
            whole = min(max(whole, -fmt.largest_code), fmt.largest_code)
        return whole % (1 << fmt.bits)
    negative = value < 0 or (value == 0 and negative_zero)
    sign = fmt.sign_mask if negative else 0
    overflow = fmt.largest_code if saturate else fmt.infinity_code
    assert overflow is not None, f"{fmt.name} has no infinity"
    if isinstance(value, float):
        assert isinf(value)
        return sign | overflow
    magnitude = abs(value)
    if magnitude == 0:
        return sign
    smallest = 1 - fmt.bias
    exponent = max(_floor_log2(magnitude), smallest)
    # Python rounds a fraction to the nearest integer, ties to even.
    count = round(magnitude / Fraction(2) ** (exponent - fmt.mantissa_bits))
    # A subnormal has the exponent field 0; a carry goes into the exponent field by itself.
    code = count + ((exponent - smallest) << fmt.mantissa_bits)
    return sign | (overflow if code > fmt.largest_code else code)


def round_to_fp32(value: Value, negative_zero: bool = False) -> int:
    """The FP32 code of a value, rounded once."""
    return round_to_format(value, FP32, negative_zero)


def _negative(code: int) -> bool:
    return bool(code & FP32.sign_mask)


def add_fp32(a: int, b: int) -> int:
    """The code of ``a + b``, all FP32 codes."""
    x, y = value_of(a, FP32), value_of(b, FP32)
    if isinstance(x, float) or isinstance(y, float):
        special = [v for v in (x, y) if isinstance(v, float)]
        return round_to_fp32(sum(special))
    return round_to_fp32(x + y, negative_zero=_negative(a) and _negative(b))


def multiply_fp32(a: int, b: int) -> int:
    """The code of ``a * b``, all FP32 codes."""
    x, y = value_of(a, FP32), value_of(b, FP32)
    negative = _negative(a) != _negative(b)
    if isinstance(x, float) or isinstance(y, float):
        if x == 0 or y == 0 or x != x or y != y:
            return FP32.nan_code
        return round_to_fp32(-inf if negative else inf)
    return round_to_fp32(x * y, negative_zero=negative)


def dot(weights: Sequence[int], activations: Sequence[int], weight_format: NumberFormat,
        activation_format: NumberFormat) -> Value:
    """The exact sum of products of one group, or the infinity or NaN that IEEE-754 gives."""
    total: Fraction = Fraction(0)
    infinities = set()
    for w_code, x_code in zip(weights, activations, strict=True):
        w, x = value_of(w_code, weight_format), value_of(x_code, activation_format)
        if isinstance(w, float) or isinstance(x, float):
            if w != w or x != x or w == 0 or x == 0:
                return nan
            infinities.add(inf if (w > 0) == (x > 0) else -inf)
        else:
            total += w * x
    if len(infinities) == 2:
        return nan
    return infinities.pop() if infinities else total


def combine_scales(activation: int, weight: int, scale_format: str) -> int | None:
    """FP32: the code of the product. E8M0: the power of two's exponent, None for NaN."""
    if scale_format == "fp32":
        return multiply_fp32(activation, weight)
    return None if 0xFF in (activation, weight) else activation + weight - 254


def scale_group(p: int, combined: int | None, scale_format: str) -> int:
    """The FP32 code of a group sum's code ``p``, scaled."""
    if scale_format == "fp32":
        assert combined is not None
        return multiply_fp32(p, combined)
    value = value_of(p, FP32)
    if combined is None or isinstance(value, float):
        return FP32.nan_code if combined is None else round_to_fp32(value)
    return round_to_fp32(value * Fraction(2) ** combined, negative_zero=_negative(p))


def gemv_element(weights: Sequence[int], weight_scales: Sequence[int], activations: Sequence[int],
                 activation_scales: Sequence[int], weight_format: NumberFormat,
                 activation_format: NumberFormat, scale_format: str, group: int,
                 groups_per_beat: int = 1) -> int:
    """The FP32 code of one result: one row of weights times one activation vector.

    Scales are given per group, as codes (E8M0 or FP32). The groups of one beat are added to each
    other first, as a tree.
    """
    terms = []
    for index, start in enumerate(range(0, len(weights), group)):
        p = round_to_fp32(dot(weights[start:start + group], activations[start:start + group],
                              weight_format, activation_format))
        combined = combine_scales(activation_scales[index], weight_scales[index], scale_format)
        terms.append(scale_group(p, combined, scale_format))
    total = 0
    for first in range(0, len(terms), groups_per_beat):
        total = add_fp32(total, _tree_sum(terms[first:first + groups_per_beat], groups_per_beat))
    return total


def _tree_sum(terms: Sequence[int], places: int) -> int:
    """The sum of the FP32 codes in ``places`` places, a power of two; empty ones are +0."""
    if places == 1:
        return terms[0] if terms else 0
    half = places // 2
    return add_fp32(_tree_sum(terms[:half], half), _tree_sum(terms[half:], half))


def group_quantized(codes: Sequence[int], fmt: NumberFormat,
                    scaling: Scaling) -> tuple[list[int], int]:
    """Quantize one group of FP32 codes: its codes of ``fmt``, and the code of its scale."""
    values = [value_of(code, FP32) for code in codes]
    finite = [value for value in values if isinstance(value, Fraction)]
    if len(finite) != len(values):
        return ([fmt.nan_code] * len(values),
                0xFF if scaling.format == "e8m0" else FP32.nan_code)
    floor = value_of(round_to_fp32(Fraction(scaling.amax_floor)), FP32)
    largest = value_of(fmt.largest_code, fmt)
    assert isinstance(floor, Fraction) and isinstance(largest, Fraction)
    amax = max([abs(value) for value in finite] + [floor])
    if scaling.rule == "fp32-div":
        scale_code = max(round_to_fp32(amax / largest), 1)
        scale = value_of(scale_code, FP32)
        assert isinstance(scale, Fraction)
        quotients = [value_of(round_to_fp32(value / scale), FP32) for value in finite]
    else:
        exponent = -127
        if amax and scaling.rule == "e8m0-floor":
            exponent = _floor_log2(amax) - _floor_log2(largest)
        elif amax:
            exponent = max(exponent, _floor_log2(amax / largest))
        while scaling.rule == "e8m0-ceil" and amax / Fraction(2) ** exponent > largest:
            exponent += 1
        exponent = min(max(exponent, -127), 127)
        scale_code = exponent + 127
        quotients = [value / Fraction(2) ** exponent for value in finite]
    return ([round_to_format(quotient, fmt, negative_zero=_negative(code), saturate=True)
             for quotient, code in zip(quotients, codes, strict=True)], scale_code)
