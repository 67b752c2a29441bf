from fractions import Fraction

import numpy as np
import pytest

from golden.dot_array import dot_array
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import DotArrayParams, Fp32RounderParams
from tb.oracle import dot, round_to_fp32
from tests.golden_cases import finite_codes, random_codes

PAIRS = [(w, x) for w in ("e4m3", "e5m2") for x in ("e4m3", "e5m2")]


def params_of(weights, activations, lanes=32, group_beats=4):
    return DotArrayParams(weights=weights, activations=activations, lanes=lanes,
                          group_beats=group_beats)


def rounder_of(params):
    return Fp32RounderParams(sum_bits=params.sum_bits, lsb_exponent=params.lsb_exponent)


@pytest.mark.parametrize("weights, activations", PAIRS)
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


@pytest.mark.parametrize("weights, activations", PAIRS)
def test_special_codes_match_the_oracle(weights, activations):
    params = params_of(weights, activations)
    rng = np.random.default_rng(8)
    w, x = random_codes(rng, 3000, 4), random_codes(rng, 3000, 4)
    # Zeros and infinities often enough to meet.
    w[rng.random(w.shape) < 0.2] = 0x80
    x[rng.random(x.shape) < 0.2] = 0x7C
    w[rng.random(w.shape) < 0.1] = 0xFC
    sums = dot_array(w, x, params)
    expected = [round_to_fp32(dot(a.tolist(), b.tolist(), params.weight_format,
                                  params.activation_format)) for a, b in zip(w, x, strict=True)]
    assert fp32_rounder(sums, rounder_of(params)).tolist() == expected
    assert not (sums.nan & (sums.positive_infinity | sums.negative_infinity)).any()


def test_a_smallest_product_survives_the_largest_ones_at_every_lane():
    params = params_of("e4m3", "e4m3")
    weights, activations = np.zeros((126, 128), np.uint8), np.zeros((126, 128), np.uint8)
    for lane in range(126):
        weights[lane, lane:lane + 3] = [0x7E, 0xFE, 0x01]
        activations[lane, lane:lane + 3] = [0x7E, 0x7E, 0x01]
    assert dot_array(weights, activations, params).value.tolist() == [1] * 126


@pytest.mark.parametrize("weights, activations", PAIRS)
def test_the_largest_sum_fits_its_width(weights, activations):
    params = params_of(weights, activations, lanes=64, group_beats=64)
    w = np.full((1, 4096), params.weight_format.largest_code, np.uint8)
    x = np.full((1, 4096), params.activation_format.largest_code, np.uint8)
    value = int(dot_array(w, x, params).value[0])
    assert value == 4096 * params.largest_product
    assert value.bit_length() + 1 == params.sum_bits


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
