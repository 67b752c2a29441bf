"""Exact oracle of reductions: the contract of the reducer, element by element, in fractions.

As :mod:`tb.oracle`, it shares nothing with the golden models but the formats' records.
"""

from collections.abc import Sequence

from spec.formats import FP32, FloatFormat
from spec.tensors import Reduction
from tb.oracle import Value, add_fp32, multiply_fp32, round_to_format, round_to_fp32, value_of

__all__ = ["Beat", "reduced"]

# The codes of one atom's elements, and its scale's code (of FP8 only).
Beat = tuple[Sequence[int], int]

_IDENTITY = FP32.sign_mask
_CHAINS = 4


def _code(code: int, fmt: FloatFormat) -> int:
    """The FP32 code of an element."""
    return round_to_fp32(value_of(code, fmt), negative_zero=bool(code & fmt.sign_mask))


def _scale_code(scale: int, scale_format: str) -> int:
    """The FP32 code of a scale."""
    if scale_format == "fp32":
        return scale
    if scale == 0xFF:
        return FP32.nan_code
    # 2**(scale - 127): an exponent field, or the subnormal 2**-127.
    return scale << 23 if scale else 1 << 22


def _tree(codes: Sequence[int]) -> int:
    if len(codes) == 1:
        return codes[0]
    return _tree([add_fp32(codes[place], codes[place + 1]) for place in range(0, len(codes), 2)])


def _sum(beats: Sequence[Beat], fmt: FloatFormat, scale_format: str, lanes: int,
         squares: bool) -> int:
    chains = [_IDENTITY] * _CHAINS
    for number, (codes, scale) in enumerate(beats):
        leaves = [_code(code, fmt) for code in codes]
        if squares:
            leaves = [multiply_fp32(leaf, leaf) for leaf in leaves]
        term = _tree(leaves + [_IDENTITY] * (lanes - len(leaves)))
        if fmt.bits == 8:
            for _ in range(1 + squares):
                term = multiply_fp32(term, _scale_code(scale, scale_format))
        chain = number % _CHAINS
        chains[chain] = add_fp32(chains[chain], term)
    total = _tree(chains)
    return round_to_format(value_of(total, FP32), FP32, negative_zero=bool(total & FP32.sign_mask))


def _scaled(beats: Sequence[Beat], fmt: FloatFormat, scale_format: str) -> list[int]:
    """The FP32 codes of all elements."""
    return [_code(code, fmt) if fmt.bits > 8
            else multiply_fp32(_code(code, fmt), _scale_code(scale, scale_format))
            for codes, scale in beats for code in codes]


def _rank(code: int) -> tuple[Value, bool]:
    """Where a number stands in the order in which -0 is less than +0."""
    return value_of(code, FP32), not code & FP32.sign_mask


def reduced(beats: Sequence[Beat], reduction: Reduction, fmt: FloatFormat, scale_format: str,
            lanes: int) -> tuple[int, int]:
    """``value`` and ``second`` of one reduction over ``beats``, atoms of up to ``lanes`` codes."""
    if reduction in (Reduction.SUM, Reduction.SUM_SQUARES, Reduction.MOMENTS):
        value = _sum(beats, fmt, scale_format, lanes, reduction == Reduction.SUM_SQUARES)
        second = (_sum(beats, fmt, scale_format, lanes, True)
                  if reduction == Reduction.MOMENTS else 0)
        return value, second
    codes = _scaled(beats, fmt, scale_format)
    nans = [place for place, code in enumerate(codes)
            if value_of(code, FP32) != value_of(code, FP32)]
    if nans:
        return FP32.nan_code, nans[0] if reduction == Reduction.ARGMAX else 0
    if reduction == Reduction.AMAX:
        return max((code & (FP32.sign_mask - 1) for code in codes), key=_rank), 0
    if reduction == Reduction.MAX:
        return max(codes, key=_rank), 0
    if reduction == Reduction.MIN:
        return min(codes, key=_rank), 0
    place = 0
    for index, code in enumerate(codes):
        if value_of(code, FP32) > value_of(codes[place], FP32):
            place = index
    return codes[place], place
