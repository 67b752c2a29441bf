from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from golden.subword_decoder import subword_decoder
from spec.arithmetic import SubwordDecoderParams
from spec.formats import FORMATS, WIDER_FORMATS

EVERY_BYTE = np.arange(256, dtype=np.uint8)
EVERY_NIBBLE = EVERY_BYTE[:16]
# The value of each code, by ml_dtypes.
VALUES = {
    "e4m3": EVERY_BYTE.view(ml_dtypes.float8_e4m3fn).astype(np.float64),
    "e5m2": EVERY_BYTE.view(ml_dtypes.float8_e5m2).astype(np.float64),
    "int8": EVERY_BYTE.view(np.int8).astype(np.float64),
    "e2m1": EVERY_NIBBLE.view(ml_dtypes.float4_e2m1fn).astype(np.float64),
    "int4": EVERY_NIBBLE.view(ml_dtypes.int4).astype(np.float64),
}
# What a significand that is not shifted counts in: the smallest subnormal.
UNITS = {"e4m3": Fraction(1, 1 << 9), "e5m2": Fraction(1, 1 << 16), "e2m1": Fraction(1, 2),
         "int8": Fraction(1), "int4": Fraction(1)}
PAIRS = [(wide, narrow) for narrow, names in WIDER_FORMATS.items() for wide in names]
EVERY_PAIR = pytest.mark.parametrize("wide, narrow", PAIRS)


def params_of(wide, narrow, lanes=256):
    return SubwordDecoderParams(wide=wide, narrow=narrow, lanes=lanes)


def pairs_of_codes():
    """One beat of 256 lanes with every two narrow codes: the even ones, the odd ones, and both."""
    even, odd = (side.ravel() for side in np.meshgrid(EVERY_NIBBLE, EVERY_NIBBLE))
    return even, odd, np.stack([even, odd], axis=-1).ravel()


def values_of(parts, name):
    """The values of decoded codes, as float64 with the sign of zero."""
    found = [float(significand * UNITS[name] * 2 ** shift) * (-1.0 if sign else 1.0)
             for sign, significand, shift in zip(parts.sign.tolist(), parts.significand.tolist(),
                                                 parts.shift.tolist(), strict=True)]
    return np.array(found)


def same(a, b):
    """Equal values, and zeros of the same sign."""
    return np.array_equal(a, b) and np.array_equal(np.signbit(a), np.signbit(b))


def test_each_narrow_format_has_its_wide_ones():
    assert sorted(PAIRS) == [("e4m3", "e2m1"), ("e5m2", "e2m1"), ("int8", "int4")]
    assert {FORMATS[wide].bits for wide, _ in PAIRS} == {8}
    assert {FORMATS[narrow].bits for _, narrow in PAIRS} == {4}


@EVERY_PAIR
def test_every_narrow_value_is_one_of_the_wide_ones(wide, narrow):
    assert set(VALUES[narrow].tolist()) <= set(VALUES[wide].tolist())
    # And where zero has a sign, both zeros are.
    signs = [set(np.signbit(VALUES[name][VALUES[name] == 0]).tolist()) for name in (narrow, wide)]
    assert signs[0] == signs[1]


@EVERY_PAIR
def test_even_codes_become_wide_ones_of_the_same_value_beside_every_odd_code(wide, narrow):
    even, odd, codes = pairs_of_codes()
    factors, odd_factors = subword_decoder(codes, True, params_of(wide, narrow))
    assert same(values_of(factors, wide), VALUES[narrow][even])
    assert same(values_of(odd_factors, narrow), VALUES[narrow][odd])
    for parts in (factors, odd_factors):
        assert not (parts.nan | parts.infinite).any()


@pytest.mark.parametrize("wide", WIDER_FORMATS["e2m1"])
def test_e2m1_has_the_values_of_the_standard(wide):
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    expected = np.concatenate([magnitudes, -magnitudes])
    for part, name in zip(subword_decoder(np.repeat(EVERY_NIBBLE, 2), True,
                                          params_of(wide, "e2m1", 16)), (wide, "e2m1"),
                          strict=True):
        assert same(values_of(part, name), expected)


@pytest.mark.parametrize("wide", WIDER_FORMATS["e2m1"])
def test_no_even_factor_is_subnormal(wide):
    """The RTL's table of wide codes has none of these."""
    _, _, codes = pairs_of_codes()
    factors, _ = subword_decoder(codes, True, params_of(wide, "e2m1"))
    hidden = 1 << FORMATS[wide].mantissa_bits
    assert {value >= hidden for value in factors.significand.tolist() if value} == {True}


@EVERY_PAIR
def test_wide_codes_keep_their_values_and_odd_factors_are_zero(wide, narrow):
    factors, odd = subword_decoder(EVERY_BYTE, False, params_of(wide, narrow))
    finite = np.isfinite(VALUES[wide])
    assert same(values_of(factors, wide)[finite], VALUES[wide][finite])
    assert np.array_equal(factors.nan, np.isnan(VALUES[wide]))
    assert np.array_equal(factors.infinite, np.isinf(VALUES[wide]))
    assert odd.significand.shape == factors.significand.shape
    assert not any(np.any(part) for part in odd)


@EVERY_PAIR
def test_the_last_axis_is_halved_where_codes_are_narrow(wide, narrow):
    rng = np.random.default_rng(71)
    params = params_of(wide, narrow, lanes=8)
    for is_narrow, width, limit in ((False, 8, 256), (True, 16, 16)):
        codes = rng.integers(0, limit, (3, 5, width), dtype=np.uint8)
        copy = codes.copy()
        both = subword_decoder(codes, is_narrow, params)
        assert {part.shape for parts in both for part in parts} == {(3, 5, 8)}
        assert np.array_equal(codes, copy)
        for parts, line in zip(both, subword_decoder(codes[2, 1], is_narrow, params), strict=True):
            for part, alone in zip(parts, line, strict=True):
                assert np.array_equal(part[2, 1], alone)


@pytest.mark.parametrize("narrow", [False, True])
def test_rejects_codes_that_are_no_bytes(narrow):
    with pytest.raises(TypeError, match="^decoder: codes must be an array of uint8, not of int64$"):
        subword_decoder(np.zeros(16 if narrow else 8, np.int64), narrow,
                        params_of("e4m3", "e2m1", lanes=8))


@pytest.mark.parametrize("narrow, length", [(False, 16), (True, 8), (True, 15)])
def test_rejects_other_lanes(narrow, length):
    with pytest.raises(ValueError, match=r"^subword_decoder: codes must have the shape \[\.\.\., "
                                         rf"{16 if narrow else 8}\], not \[3, {length}\]$"):
        subword_decoder(np.zeros((3, length), np.uint8), narrow,
                        params_of("e4m3", "e2m1", lanes=8))
