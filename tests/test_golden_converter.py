from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pytest

from golden.converter import converter
from spec.formats import BF16, E4M3, E5M2, FP32
from tb.oracle import round_to_format, value_of
from tests.golden_cases import FP32_EDGES, random_fp32

EVERY_SOURCE = pytest.mark.parametrize("source", [E4M3, E5M2], ids=lambda fmt: fmt.name)
EVERY_TARGET = pytest.mark.parametrize("target", [BF16, FP32], ids=lambda fmt: fmt.name)
ALL_CODES = np.arange(256, dtype=np.uint8)


def product(a, b):
    """The exact product of two values as the oracle has them."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    if isnan(a) or isnan(b) or a == 0 or b == 0:
        return nan
    return inf if (a > 0) == (b > 0) else -inf


def expected(code, source, scale, negative_scale, target):
    """The oracle's code for one code and the value of its scale."""
    negative = bool(code & source.sign_mask) != negative_scale
    return round_to_format(product(value_of(code, source), scale), target, negative)


@EVERY_TARGET
@EVERY_SOURCE
def test_every_code_with_every_e8m0_scale_matches_the_oracle(source, target):
    codes = np.tile(ALL_CODES, (256, 1))
    scales = ALL_CODES[:, None]
    found = converter(codes, source, target, scales, group=256)
    for line, scale in zip(found.tolist(), ALL_CODES.tolist(), strict=True):
        value = nan if scale == 0xFF else Fraction(2) ** (scale - 127)
        for code in range(128):
            positive = expected(code, source, value, False, target)
            assert line[code] == positive, (code, scale)
            negative = positive if positive == target.nan_code else positive | target.sign_mask
            assert line[code | 0x80] == negative, (code, scale)


def fp32_scales():
    """Edges, random bits, and scales whose products with FP8 are about the smallest normal."""
    rng = np.random.default_rng(41)
    near = (random_fp32(rng, 60) & 0x80FFFFFF) | (rng.integers(0, 16, 60, np.uint32) << 23)
    short = random_fp32(rng, 60) & np.uint32(0xFFFF8000)
    return np.concatenate([FP32_EDGES, random_fp32(rng, 60), near, short])


@EVERY_TARGET
@EVERY_SOURCE
def test_every_code_with_fp32_scales_matches_the_oracle(source, target):
    scales = fp32_scales()
    found = converter(np.tile(ALL_CODES, (scales.size, 1)), source, target,
                      scales.view(np.float32)[:, None], group=256)
    for line, scale in zip(found.tolist(), scales.tolist(), strict=True):
        value = value_of(scale, FP32)
        for code in range(256):
            assert line[code] == expected(code, source, value, bool(scale >> 31), target), (
                code, hex(scale))


def test_one_rounding_and_not_two():
    # 1.625 times this scale is 2 + 2**-7 + 7 * 2**-26, just above a tie of BF16, and goes up;
    # FP32 has the tie itself, which goes down.
    code, scale = 0x3D, 0x3F9E2763
    exact = value_of(code, E4M3) * value_of(scale, FP32)
    assert exact == 2 + Fraction(1, 1 << 7) + 7 * Fraction(1, 1 << 26)
    scales = np.array([[scale]], np.uint32).view(np.float32)
    codes = np.array([[code]], np.uint8)
    assert converter(codes, E4M3, BF16, scales).tolist() == [[0x4001]]
    assert converter(converter(codes, E4M3, FP32, scales), FP32, BF16).tolist() == [[0x4000]]


def test_fp32_to_bf16_at_ties_and_neighbours_of_every_exponent():
    exponents = np.arange(256, dtype=np.uint32)[:, None, None] << 23
    kept = np.array([0, 1, 2, 0x7E, 0x7F], np.uint32)[:, None] << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    codes = (exponents | kept | low).reshape(1, -1)
    for line in (codes, codes | np.uint32(1 << 31)):
        found = converter(line, FP32, BF16)
        assert found.tolist()[0] == [
            round_to_format(value_of(code, FP32), BF16, negative_zero=bool(code >> 31))
            for code in line.tolist()[0]]


def test_every_bf16_code_to_fp32():
    codes = np.arange(1 << 16, dtype=np.uint16)[None]
    wide = codes.astype(np.uint32) << 16
    nan_codes = (codes & 0x7FFF) > BF16.infinity_code
    assert np.array_equal(converter(codes, BF16, FP32),
                          np.where(nan_codes, np.uint32(FP32.nan_code), wide))


@pytest.mark.parametrize("fmt", [E4M3, E5M2, BF16, FP32], ids=lambda fmt: fmt.name)
def test_equal_formats_keep_every_bit(fmt):
    codes = np.random.default_rng(42).integers(
        0, 1 << fmt.bits, (3, 500)).astype(f"u{fmt.bits // 8}")
    assert np.array_equal(converter(codes, fmt, fmt), codes)


def test_each_group_has_its_scale():
    codes = np.full((2, 5), 0x38, np.uint8)
    scales = np.array([[127, 128, 129], [126, 125, 124]], np.uint8)
    values = converter(codes, E4M3, FP32, scales, group=2).view(np.float32)
    assert values.tolist() == [[1, 1, 2, 2, 4], [0.5, 0.5, 0.25, 0.25, 0.125]]


CODES = np.zeros((2, 5), np.uint8)


@pytest.mark.parametrize(("codes", "source", "target", "scales", "message"), [
    (CODES, E4M3, BF16, None, "converter: e4m3 to bf16 needs scales"),
    (CODES, E4M3, E4M3, CODES, "converter: e4m3 to e4m3 needs no scales"),
    (CODES.astype(np.uint16), BF16, FP32, CODES, "converter: bf16 to fp32 needs no scales"),
    (CODES, E4M3, E5M2, CODES, "converter: the target must be bf16 or fp32, not e5m2"),
    (CODES, E4M3, BF16, CODES, "converter: scales must have the shape [2, 3] (one per 2 of 5 "
                               "elements), not [2, 5]"),
])
def test_rejects(codes, source, target, scales, message):
    with pytest.raises(ValueError) as error:
        converter(codes, source, target, scales, group=2)
    assert str(error.value) == message
