from fractions import Fraction

import numpy as np
import pytest

from golden.block_dot_array import block_dot_array
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import Fp32RounderParams
from spec.dot_arrays import BlockDotArrayParams
from spec.formats import E2M1, E4M3
from tb.oracle import block_scaled_element, value_of
from tests.golden_cases import random_codes

ONE = 0x3F800000


def params_of(lanes, group_beats, block=16):
    return BlockDotArrayParams(weights="e2m1", activations="e2m1", lanes=lanes,
                               group_beats=group_beats, block=block)


TILE = params_of(64, 256)
EVERY_RECORD = pytest.mark.parametrize(
    "params", [TILE, params_of(2, 1, block=2), params_of(96, 3, block=32)],
    ids=lambda params: f"{params.lanes}x{params.group_beats}")


def random_row(rng, params, n, rows=20, scales=(0, 256)):
    """Codes [rows, n] of both sides with the codes of their scales, from ``scales[0]`` on."""
    groups = -(-n // params.block)
    return [part for _ in range(2) for part in (
        random_codes(rng, rows, n, bits=4), rng.integers(*scales, (rows, groups), np.uint8))]


def rounded(sums, params):
    return fp32_rounder(sums, Fp32RounderParams(sum_bits=params.sum_bits,
                                                lsb_exponent=params.lsb_exponent)).tolist()


def no_infinity(sums):
    return not (sums.positive_infinity.any() or sums.negative_infinity.any())


def test_every_two_scales_multiply_exactly_and_their_signs_count_for_nothing():
    scales = np.arange(256, dtype=np.uint8)
    one = np.array([0x2], np.uint8)
    sums = block_dot_array(one, scales[:, None, None], one, scales[None, :, None], TILE)
    values = [value_of(code & 0x7F, E4M3) for code in range(256)]
    nan = np.array([isinstance(value, float) for value in values])
    assert np.array_equal(sums.nan, nan[:, None] | nan)
    assert np.flatnonzero(nan).tolist() == [0x7F, 0xFF]
    assert no_infinity(sums)
    unit = Fraction(2) ** TILE.lsb_exponent
    finite = np.flatnonzero(~nan).tolist()
    for a in finite:
        assert [int(sums.value[a, b]) * unit for b in finite] == [
            values[a] * values[b] for b in finite]


def test_every_two_codes_multiply_exactly():
    codes, one = np.arange(16, dtype=np.uint8), np.array([0x38], np.uint8)
    sums = block_dot_array(codes[:, None, None], one, codes[None, :, None], one, TILE)
    unit = Fraction(2) ** TILE.lsb_exponent
    for a in range(16):
        assert [int(value) * unit for value in sums.value[a]] == [
            value_of(a, E2M1) * value_of(b, E2M1) for b in range(16)]


@EVERY_RECORD
@pytest.mark.parametrize("scales", [(0, 256), (0x00, 0x10), (0x70, 0x7F)])
def test_sums_and_their_rounding_match_the_oracle(params, scales):
    rng = np.random.default_rng(40)
    longest = min(params.lanes * params.group_beats, 300)
    for n in {1, params.block, min(params.block + 1, longest), longest - 1, longest}:
        row = random_row(rng, params, n, scales=scales)
        sums = block_dot_array(row[0], row[1], row[2], row[3], params)
        assert sums.value.dtype == np.int64 and no_infinity(sums)
        expected = [block_scaled_element(*lines, ONE, ONE, params.block)
                    for lines in zip(*(part.tolist() for part in row), strict=True)]
        assert rounded(sums, params) == expected


def test_sums_of_the_longest_row_are_exact():
    rng = np.random.default_rng(41)
    row = random_row(rng, TILE, 16384, rows=2, scales=(0, 0x7F))
    sums = block_dot_array(*row, TILE)
    assert not sums.nan.any()
    unit = Fraction(2) ** TILE.lsb_exponent
    for index, (w, ws, x, xs) in enumerate(zip(*(part.tolist() for part in row), strict=True)):
        exact = sum(value_of(w[k], E2M1) * value_of(ws[k // 16], E4M3)
                    * value_of(x[k], E2M1) * value_of(xs[k // 16], E4M3) for k in range(16384))
        assert int(sums.value[index]) * unit == exact


@EVERY_RECORD
def test_the_largest_sum_fills_its_width(params):
    n = params.lanes * params.group_beats
    codes, scales = np.full(n, 0x7, np.uint8), np.full(n // params.block, 0x7E, np.uint8)
    value = int(block_dot_array(codes, scales, codes, scales, params).value)
    assert value * Fraction(2) ** params.lsb_exponent == n * (6 * 448) ** 2
    assert value.bit_length() + 1 == params.sum_bits
    assert int(block_dot_array(codes | np.uint8(8), scales, codes, scales, params).value) == -value


def test_the_smallest_product_survives_the_largest_ones_in_every_lane():
    lanes = 48
    w, x = np.zeros((lanes, 80), np.uint8), np.full((lanes, 80), 0x7, np.uint8)
    # The first block holds two products that cancel, the others one that counts one unit.
    w[:, :2] = [0x7, 0xF]
    w[np.arange(lanes), 16 + np.arange(lanes)] = 0x1
    x[:, 16:] = 0x9
    scales = np.full((lanes, 5), 0x01, np.uint8)
    scales[:, 0] = 0x7E
    assert block_dot_array(w, scales, x, scales, TILE).value.tolist() == [-1] * lanes


@pytest.mark.parametrize("nan", [0x7F, 0xFF])
@pytest.mark.parametrize("place", [1, 3])
def test_a_scale_that_is_nan_makes_the_row_nan_even_where_codes_are_zero(nan, place):
    scales, plain = np.full((1, 3), 0x38, np.uint8), np.full((1, 3), 0x38, np.uint8)
    scales[0, 2] = nan
    zeros, codes = np.zeros((1, 40), np.uint8), np.full((1, 40), 0x7, np.uint8)
    for first, second in ((zeros, codes), (codes, codes), (zeros, zeros)):
        row = [first, plain, second, plain]
        assert rounded(block_dot_array(*row, TILE), TILE)[0] != 0x7FC00000
        row[place] = scales
        assert rounded(block_dot_array(*row, TILE), TILE) == [0x7FC00000]


def test_scales_of_zero_and_sums_of_zero_give_plus_zero():
    w, x = np.array([[0x7] * 16, [0xF] * 16, [0x8] * 16], np.uint8), np.full(16, 0x7, np.uint8)
    for scale in (0x00, 0x80):
        sums = block_dot_array(w, np.uint8([scale]), x, np.uint8([0xB8]), TILE)
        assert rounded(sums, TILE) == [0, 0, 0]
    sums = block_dot_array(w, np.uint8([0x38]), x, np.uint8([0xB8]), TILE)
    assert np.uint32(rounded(sums, TILE)).view(np.float32).tolist() == [576, -576, 0]


def test_operands_broadcast():
    rng = np.random.default_rng(42)
    w, x = random_codes(rng, 3, 1, 40, bits=4), random_codes(rng, 2, 40, bits=4)
    ws, xs = random_codes(rng, 3), random_codes(rng, 2, 3)
    sums = block_dot_array(w, ws, x, xs, TILE)
    assert sums.value.shape == sums.nan.shape == (3, 2)
    single = block_dot_array(w[2, 0], ws, x[1], xs[1], TILE)
    assert single.value.shape == () and int(single.value) == int(sums.value[2, 1])


@pytest.mark.parametrize("index, shape, dtype, error, message", [
    (0, 16385, np.uint8, ValueError, "a group must have the same 1 to 16384 elements on both "
                                     "sides, not 16385 weights and 40 activations"),
    (0, 40, np.int64, TypeError, "weights must be an array of uint8, not of int64"),
    (1, 2, np.uint8, ValueError,
     r"weight_scales must have the shape \[..., 3\] \(one per 16 elements\), not \[2\]"),
    (3, (4, 1), np.uint8, ValueError,
     r"activation_scales must have the shape \[..., 3\] \(one per 16 elements\), not \[4, 1\]"),
    (3, 3, np.float32, TypeError, "activation_scales must be an array of uint8, not of float32"),
])
def test_rejects_wrong_arrays(index, shape, dtype, error, message):
    row = [np.zeros(size, np.uint8) for size in (40, 3, 40, 3)]
    row[index] = np.zeros(shape, dtype)
    with pytest.raises(error, match=f"^block_dot_array: {message}$"):
        block_dot_array(*row, TILE)
