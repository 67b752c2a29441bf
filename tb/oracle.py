"""Exact oracle: what the numeric contract says, in Python integers and fractions.

Slow and plain. It shares nothing with the golden models but the formats' records: no numpy
arithmetic, no tables. A value is a ``Fraction``, or a Python float for infinity and NaN; where the
sign of zero matters, a function works on codes.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import inf, isinf, isnan, nan

from spec.description import Scaling
from spec.formats import E2M1, E4M3, FP32, IntegerFormat, NumberFormat, ZeroPointFormat

__all__ = [
    "Value", "add_fp32", "block_scaled_element", "combine_scales", "dot", "gemv_element",
    "group_quantized", "multiply_fp32", "nvfp4_quantized", "round_to_format", "round_to_fp32",
    "scale_group", "value_of", "zero_point_quantized",
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


def block_scaled_element(weights: Sequence[int], weight_scales: Sequence[int],
                         activations: Sequence[int], activation_scales: Sequence[int],
                         weight_tensor: int, activation_tensor: int, block: int) -> int:
    """The FP32 code of one result of NVFP4: E2M1 codes, E4M3 codes of the scales of their blocks,
    whose signs count for nothing, and FP32 codes of the scales of the tensors."""
    total = Fraction(0)
    for index, start in enumerate(range(0, len(weights), block)):
        scales = [value_of(codes[index] & ~E4M3.sign_mask, E4M3)
                  for codes in (weight_scales, activation_scales)]
        part = dot(weights[start:start + block], activations[start:start + block], E2M1, E2M1)
        if isinstance(part, float) or any(isinstance(scale, float) for scale in scales):
            return FP32.nan_code
        total += part * Fraction(scales[0]) * Fraction(scales[1])
    combined = multiply_fp32(activation_tensor, weight_tensor)
    return add_fp32(0, multiply_fp32(round_to_fp32(total), combined))


def _tree_sum(terms: Sequence[int], places: int) -> int:
    """The sum of the FP32 codes in ``places`` places, a power of two; empty ones are +0."""
    if places == 1:
        return terms[0] if terms else 0
    half = places // 2
    return add_fp32(_tree_sum(terms[:half], half), _tree_sum(terms[half:], half))


def group_quantized(codes: Sequence[int], fmt: NumberFormat,
                    scaling: Scaling) -> tuple[list[int], int]:
    """Quantize one group of FP32 codes: its codes of ``fmt``, and the code of its scale.

    Not for NVFP4, whose groups are parts of a tensor: :func:`nvfp4_quantized`.
    """
    assert scaling.format in ("e8m0", "fp32")
    values = [value_of(code, FP32) for code in codes]
    finite = [value for value in values if isinstance(value, Fraction)]
    if len(finite) != len(values):
        return ([fmt.nan_code] * len(values),
                0xFF if scaling.format == "e8m0" else FP32.nan_code)
    largest = value_of(fmt.largest_code, fmt)
    assert isinstance(largest, Fraction)
    amax = max(abs(value) for value in finite)
    scale_code, scale = _group_scale(amax, largest, scaling)
    quotients = [value / scale for value in finite]
    if scaling.rule == "fp32-div":
        quotients = [_rounded(quotient) for quotient in quotients]
    return ([round_to_format(quotient, fmt, negative_zero=_negative(code), saturate=True)
             for quotient, code in zip(quotients, codes, strict=True)], scale_code)


def zero_point_quantized(codes: Sequence[int], fmt: ZeroPointFormat,
                         scaling: Scaling) -> tuple[list[int], int, int]:
    """Quantize one group of FP32 codes of weights with a zero point: its codes of ``fmt``, the
    code of its scale, and its zero point."""
    values = [value_of(code, FP32) for code in codes]
    finite = [value for value in values if isinstance(value, Fraction)]
    if len(finite) != len(values):
        return ([0] * len(values), 0xFF if scaling.format == "e8m0" else FP32.nan_code, 0)
    lowest, highest = min(finite + [Fraction(0)]), max(finite + [Fraction(0)])
    width = highest - lowest
    # Rounded to 24 bits, whatever its exponent.
    width = 2 * _rounded(width / 2) if width >= 2 ** 127 else _rounded(width)
    scale_code, scale = _group_scale(width, Fraction(fmt.largest_code), scaling)
    quotients = [value / scale for value in (-lowest, *finite)]
    if scaling.rule == "fp32-div":
        quotients = [_rounded(quotient) for quotient in quotients]
    # Python rounds a fraction to the nearest integer, ties to even.
    zero = min(round(quotients[0]), fmt.largest_code)
    return ([min(max(round(quotient) + zero, 0), fmt.largest_code) for quotient in quotients[1:]],
            scale_code, zero)


def _group_scale(amax: Fraction, largest: Fraction, scaling: Scaling) -> tuple[int, Fraction]:
    """The code and the value of the scale of a group that reaches ``amax``, where codes reach
    ``largest``."""
    amax = max(amax, _rounded(Fraction(scaling.amax_floor)))
    if scaling.rule == "fp32-div":
        code = max(round_to_fp32(amax / largest), 1)
        scale = value_of(code, FP32)
        assert isinstance(scale, Fraction)
        return code, scale
    exponent = -127
    if amax and scaling.rule == "e8m0-floor":
        exponent = _floor_log2(amax) - _floor_log2(largest)
    elif amax:
        exponent = max(exponent, _floor_log2(amax / largest))
    while scaling.rule == "e8m0-ceil" and amax / Fraction(2) ** exponent > largest:
        exponent += 1
    exponent = min(max(exponent, -127), 127)
    return exponent + 127, Fraction(2) ** exponent


def nvfp4_quantized(tensor: Sequence[Sequence[int]], rows: int,
                    scaling: Scaling) -> tuple[list[list[int]], list[list[int]], int]:
    """Quantize one tensor [M][K] of FP32 codes, in blocks of ``rows`` x ``scaling.group``, by the
    rule ``e4m3-nvfp4``: its E2M1 codes, the E4M3 codes of its blocks, the FP32 code of its scale.
    """
    height, width, group = len(tensor), len(tensor[0]), scaling.group
    places = [[[(row, k) for row in range(top, min(top + rows, height))
                for k in range(left, min(left + group, width))]
               for left in range(0, width, group)] for top in range(0, height, rows)]
    amaxes = [[_finite_amax([tensor[row][k] for row, k in block]) for block in line]
              for line in places]
    amax = max([value for line in amaxes for value in line if value is not None]
               + [_rounded(Fraction(scaling.amax_floor))])
    tensor_scale = max(_rounded(amax / (448 * 6)), Fraction(1, 2 ** 149))
    codes = [[0] * width for _ in range(height)]
    blocks = []
    for line, line_amaxes in zip(places, amaxes, strict=True):
        blocks.append([0x7F] * len(line))
        for index, (block, block_amax) in enumerate(zip(line, line_amaxes, strict=True)):
            if block_amax is None:
                continue
            quotient = _rounded(_rounded(block_amax / 6) / tensor_scale)
            blocks[-1][index] = max(round_to_format(quotient, E4M3, saturate=True), 1)
            scale = value_of(blocks[-1][index], E4M3)
            assert isinstance(scale, Fraction)
            scale = _rounded(scale * tensor_scale) or Fraction(1, 2 ** 149)
            for row, k in block:
                value = value_of(tensor[row][k], FP32)
                assert isinstance(value, Fraction)
                codes[row][k] = round_to_format(_rounded(value / scale), E2M1, saturate=True,
                                                negative_zero=_negative(tensor[row][k]))
    return codes, blocks, round_to_fp32(tensor_scale)


def _finite_amax(codes: Sequence[int]) -> Fraction | None:
    """The largest magnitude of FP32 codes, or None where one is NaN or infinite."""
    values = [value_of(code, FP32) for code in codes]
    finite = [abs(value) for value in values if isinstance(value, Fraction)]
    return max(finite) if len(finite) == len(values) else None


def _rounded(value: Fraction) -> Fraction:
    """A value rounded to FP32, within its range."""
    rounded = value_of(round_to_fp32(value), FP32)
    assert isinstance(rounded, Fraction)
    return rounded
