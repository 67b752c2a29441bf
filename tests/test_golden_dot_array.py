from fractions import Fraction

import numpy as np
import pytest

from golden.dot_array import dot_array
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import Fp32RounderParams
from spec.dot_arrays import DotArrayParams
from spec.formats import IntegerFormat
from tb.oracle import dot, round_to_fp32
from tests.golden_cases import finite_codes, random_codes

PAIRS = [
    *[(w, x) for w in ("e4m3", "e5m2") for x in ("e4m3", "e5m2")],
    ("int8", "int8"), ("int4", "int4"), ("e2m1", "e2m1"), ("int4", "e4m3"), ("e2m1", "e5m2"),
    ("mxint8", "mxint8"), ("int8", "e5m2"),
    ("e2m3", "e2m3"), ("e3m2", "e3m2"), ("e2m3", "e3m2"), ("e3m2", "e4m3"), ("e2m3", "mxint8"),
    ("e2m1", "e2m3"), ("int4", "e3m2"),
]
EVERY_PAIR = pytest.mark.parametrize("weights, activations", PAIRS)


def params_of(weights, activations, lanes=32, group_beats=4):
    return DotArrayParams(weights=weights, activations=activations, lanes=lanes,
                          group_beats=group_beats)


def rounder_of(params):
    return Fp32RounderParams(sum_bits=params.sum_bits, lsb_exponent=params.lsb_exponent)


def every_code(fmt):
    return np.arange(1 << fmt.bits, dtype=np.uint8)


def negative(code, fmt):
    return -code & ((1 << fmt.bits) - 1) if isinstance(fmt, IntegerFormat) else code | fmt.sign_mask


def lowest_code(fmt):
    """The code of the largest magnitude: -448, but of integers -128."""
    return fmt.sign_mask if isinstance(fmt, IntegerFormat) else negative(fmt.largest_code, fmt)


@EVERY_PAIR
def test_the_product_of_every_two_codes_is_exact(weights, activations):
    params = params_of(weights, activations)
    formats = params.weight_format, params.activation_format
    w, x = every_code(formats[0]), every_code(formats[1])
    sums = dot_array(w[:, None, None], x[None, :, None], params)
    assert sums.value.shape == (w.size, x.size)
    unit = Fraction(2) ** params.lsb_exponent
    flags = {"nan": sums.nan, "inf": sums.positive_infinity, "-inf": sums.negative_infinity}
    for a in w.tolist():
        expected = [dot([a], [b], *formats) for b in x.tolist()]
        special = np.array([isinstance(value, float) for value in expected])
        assert [int(value) * unit for value in sums.value[a, ~special]] == [
            value for value in expected if isinstance(value, Fraction)]
        for name, flag in flags.items():
            assert flag[a].tolist() == [str(value) == name for value in expected]


@EVERY_PAIR
def test_sums_and_their_rounding_are_exact(weights, activations):
    params = params_of(weights, activations)
    rng = np.random.default_rng(7)
    for n in (1, 5, 128):
        w = finite_codes(rng, params.weight_format, 60, n)
        x = finite_codes(rng, params.activation_format, 60, n)
        sums = dot_array(w, x, params)
        expected = [dot(a.tolist(), b.tolist(), params.weight_format, params.activation_format)
                    for a, b in zip(w, x, strict=True)]
        unit = Fraction(2) ** params.lsb_exponent
        assert [int(value) * unit for value in sums.value] == expected
        assert fp32_rounder(sums, rounder_of(params)).tolist() == [
            round_to_fp32(v) for v in expected]


@EVERY_PAIR
def test_special_codes_match_the_oracle(weights, activations):
    params = params_of(weights, activations)
    rng = np.random.default_rng(8)
    w, x = random_codes(rng, 3000, 4), random_codes(rng, 3000, 4)
    # Zeros and infinities often enough to meet.
    w[rng.random(w.shape) < 0.2] = 0x80
    x[rng.random(x.shape) < 0.2] = 0x7C
    w[rng.random(w.shape) < 0.1] = 0xFC
    w &= every_code(params.weight_format)[-1]
    x &= every_code(params.activation_format)[-1]
    sums = dot_array(w, x, params)
    expected = [round_to_fp32(dot(a.tolist(), b.tolist(), params.weight_format,
                                  params.activation_format)) for a, b in zip(w, x, strict=True)]
    assert fp32_rounder(sums, rounder_of(params)).tolist() == expected
    assert not (sums.nan & (sums.positive_infinity | sums.negative_infinity)).any()


@EVERY_PAIR
def test_a_smallest_product_survives_the_largest_ones_at_every_lane(weights, activations):
    params = params_of(weights, activations)
    a, b = params.weight_format.largest_code, params.activation_format.largest_code
    w, x = np.zeros((126, 128), np.uint8), np.zeros((126, 128), np.uint8)
    for lane in range(126):
        w[lane, lane:lane + 3] = [a, negative(a, params.weight_format), 1]
        x[lane, lane:lane + 3] = [b, b, 1]
    assert dot_array(w, x, params).value.tolist() == [1] * 126


@EVERY_PAIR
def test_the_largest_sum_fits_its_width(weights, activations):
    params = params_of(weights, activations, lanes=64, group_beats=64)
    formats = params.weight_format, params.activation_format
    w, x = (np.full((1, 4096), lowest_code(fmt), np.uint8) for fmt in formats)
    value = int(dot_array(w, x, params).value[0])
    assert value == 4096 * params.largest_product
    assert value * Fraction(2) ** params.lsb_exponent == 4096 * dot(
        w[0, :1].tolist(), x[0, :1].tolist(), *formats)
    assert value.bit_length() + 1 == params.sum_bits
    # And the lowest, where one side is positive.
    for sides in ((w, x * 0 + formats[1].largest_code), (w * 0 + formats[0].largest_code, x)):
        assert -(1 << params.sum_bits - 1) <= int(dot_array(*sides, params).value[0]) < 0


@pytest.mark.parametrize("name, bits", [
    ("e2m1", (14, 16, 21)), ("int8", (21, 23, 28)), ("int4", (13, 15, 20)),
    ("mxint8", (21, 23, 28)), ("e4m3", (42, 44, 49)), ("e2m3", (18, 20, 25)),
    ("e3m2", (24, 26, 31)),
])
def test_exact_widths_of_groups_of_32_and_128_and_4096(name, bits):
    found = [params_of(name, name, lanes=lanes, group_beats=beats).sum_bits
             for lanes, beats in ((32, 1), (32, 4), (64, 64))]
    assert found == list(bits)


@pytest.mark.parametrize("name, one, lowest, value", [
    ("int8", 0x01, 0x80, 1 << 26), ("int4", 0x1, 0x8, 1 << 18), ("mxint8", 0x40, 0x80, 1 << 14)])
def test_the_lowest_integers_times_themselves_and_times_one(name, one, lowest, value):
    params = params_of(name, name, lanes=64, group_beats=64)
    codes = np.full((1, 4096), lowest, np.uint8)
    sums = dot_array(codes, codes, params)
    assert int(sums.value[0]) * 2.0 ** params.lsb_exponent == value
    assert fp32_rounder(sums, rounder_of(params)).view(np.float32)[0] == value
    ones = dot_array(codes, np.full((1, 4096), one, np.uint8), params)
    assert fp32_rounder(ones, rounder_of(params)).view(np.float32)[0] == -(value * 4096) ** 0.5


def test_operands_broadcast():
    params = params_of("e4m3", "e5m2")
    rng = np.random.default_rng(9)
    w, x = finite_codes(rng, params.weight_format, 3, 1, 8), finite_codes(
        rng, params.activation_format, 2, 8)
    assert dot_array(w, x, params).value.shape == (3, 2)


def test_rejects_too_long_a_group():
    with pytest.raises(ValueError, match="^dot_array: a group must have the same 1 to 128 elements "
                                         "on both sides, not 129 weights and 129 activations$"):
        dot_array(np.zeros(129, np.uint8), np.zeros(129, np.uint8), params_of("e4m3", "e4m3"))
