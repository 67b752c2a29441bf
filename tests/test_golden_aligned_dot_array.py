import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from golden.aligned_dot_array import aligned_dot_array
from golden.aligned_matmul import aligned_matmul, aligned_operand
from golden.decoder import code_dtype
from golden.dot_array import dot_array
from golden.fp32 import to_fp32_codes
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import Fp32RounderParams
from spec.dot_arrays import AlignedDotArrayParams, DotArrayParams

FP8_PAIRS = [(w, x) for w in ("e4m3", "e5m2") for x in ("e4m3", "e5m2")]
NARROW_PAIRS = [*FP8_PAIRS, ("e2m1", "e2m1"), ("e2m1", "e4m3"), ("e2m1", "e5m2"),
                ("e2m3", "e2m3"), ("e3m2", "e3m2"), ("e2m3", "e5m2"), ("e2m1", "e3m2")]
PAIRS = [*NARROW_PAIRS, ("bf16", "bf16"), ("fp16", "fp16"), ("fp16", "bf16"), ("bf16", "fp16"),
         ("e4m3", "bf16"), ("e5m2", "fp16"), ("e2m1", "bf16"), ("e3m2", "bf16")]
EVERY_PAIR = pytest.mark.parametrize("weights, activations", PAIRS)

# The value of each code by ml_dtypes and numpy, and the smallest exponent of a normal number.
TYPES = {"e4m3": (ml_dtypes.float8_e4m3fn, -6), "e5m2": (ml_dtypes.float8_e5m2, -14),
         "e3m2": (ml_dtypes.float6_e3m2fn, -2), "e2m3": (ml_dtypes.float6_e2m3fn, 0),
         "e2m1": (ml_dtypes.float4_e2m1fn, 0), "bf16": (ml_dtypes.bfloat16, -126),
         "fp16": (np.float16, -14)}


def params_of(weights, activations, bits, lanes=32, group_beats=4):
    return AlignedDotArrayParams(weights=weights, activations=activations, lanes=lanes,
                                 group_beats=group_beats, bits=bits, rows=4)


# The oracle: by definition, in fractions.

def values_of(codes, name):
    return [float(value) for value in codes.view(TYPES[name][0]).astype(np.float64)]


def floor_log2(value):
    """The exponent of a magnitude that is not zero."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if abs(value) >= Fraction(2) ** exponent else exponent - 1


def cut(value, place):
    """Towards zero to a multiple of ``2**place``."""
    unit = Fraction(2) ** place
    return math.trunc(value / unit) * unit


def aligned_sum(products, lanes, bits):
    """The sum of ``products``, pairs of value and exponent, beat after beat."""
    total = Fraction(0)
    for start in range(0, len(products), lanes):
        beat = [product for product in products[start:start + lanes] if product[0]]
        exponents = [exponent for _, exponent in beat] + [floor_log2(total)] * bool(total)
        if exponents:
            place = max(exponents) - (bits - 1)
            total = cut(total, place) + sum(cut(value, place) for value, _ in beat)
            total = cut(total, floor_log2(total) - (bits - 1)) if total else total
    return total


def expected_code(w, x, params):
    """The FP32 code of the sum of one group."""
    pairs = list(zip(values_of(w, params.weights), values_of(x, params.activations), strict=True))
    special = [a * b for a, b in pairs if not math.isfinite(a * b)]
    if special:
        return int(to_fp32_codes(np.float32(sum(special))))
    smallest = TYPES[params.weights][1], TYPES[params.activations][1]
    products = []
    for pair in pairs:
        fractions = [Fraction(value) for value in pair]
        products.append((fractions[0] * fractions[1], sum(
            max(floor_log2(value), least) if value else 0
            for value, least in zip(fractions, smallest, strict=True))))
    total = aligned_sum(products, params.lanes, params.bits)
    # float64 holds 53 bits: the only rounding is numpy's, to nearest even. A sum of 0 is +0.
    assert Fraction(float(total)) == total
    with np.errstate(over="ignore", under="ignore"):
        return int(np.float64(float(total)).astype(np.float32).view(np.uint32))


def check(w, x, params):
    """Rows of ``w`` by rows of ``x``, in pairs, against the oracle."""
    expected = [expected_code(*pair, params) for pair in zip(w, x, strict=True)]
    found = aligned_dot_array(w, x, params)
    assert found.dtype == np.uint32 and found.tolist() == expected


def random_codes(rng, fmt, *shape):
    """Any codes."""
    return rng.integers(0, 1 << fmt.bits, shape).astype(code_dtype(fmt))


def finite_codes(rng, fmt, *shape):
    """Codes that are neither NaN nor infinite."""
    codes = rng.integers(0, fmt.largest_code + 1, shape) + rng.choice([0, fmt.sign_mask], shape)
    return codes.astype(code_dtype(fmt))


def narrow_codes(rng, fmt, *shape):
    """Finite codes of which many are small, and of which some follow with the other sign. Those of
    16 bits lie within some exponents of each other."""
    codes = finite_codes(rng, fmt, *shape)
    if fmt.bits == 16:
        values = np.ldexp(rng.standard_normal(shape), rng.integers(-9, 9, shape))
        codes = values.astype(TYPES[fmt.name][0]).view(np.uint16)
    else:
        small = rng.random(shape) < 0.4
        codes = np.where(small, codes & (fmt.sign_mask | max(fmt.sign_mask >> 4, 2) - 1), codes)
    again = rng.random(shape) < 0.3
    again[..., 0] = False
    codes = np.where(again, np.roll(codes, 1, axis=-1) ^ fmt.sign_mask, codes)
    return codes.astype(code_dtype(fmt))


@EVERY_PAIR
@pytest.mark.parametrize("bits", [8, 9, 14, 17, 18, 22, 24, 25, 34, 35, 40])
def test_equals_the_definition_at_every_length(weights, activations, bits):
    params = params_of(weights, activations, bits, lanes=8, group_beats=3)
    rng = np.random.default_rng(bits)
    formats = params.weight_format, params.activation_format
    for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24):
        check(*(finite_codes(rng, fmt, 3, n) for fmt in formats), params)
        w, x = (narrow_codes(rng, fmt, 4, n) for fmt in formats)
        check(w, x, params)
        # The same activation beside a pair of weights that cancel.
        x[:, 1::2] = x[:, :n // 2 * 2:2]
        check(w, x, params)


@pytest.mark.parametrize("bits", range(8, 41))
def test_equals_the_definition_at_every_width(bits):
    params = params_of("e4m3", "e4m3", bits)
    rng = np.random.default_rng(bits)
    for n in (1, 31, 32, 33, 128):
        check(narrow_codes(rng, params.weight_format, 3, n),
              narrow_codes(rng, params.activation_format, 3, n), params)


@EVERY_PAIR
@pytest.mark.parametrize("lanes, group_beats", [(1, 8), (2, 5), (16, 2), (64, 2), (32, 128)])
def test_equals_the_definition_with_beats_of_every_size(weights, activations, lanes, group_beats):
    params = params_of(weights, activations, 14, lanes, group_beats)
    rng = np.random.default_rng(lanes)
    n = lanes * group_beats
    check(narrow_codes(rng, params.weight_format, 2, n),
          finite_codes(rng, params.activation_format, 2, n), params)


@pytest.mark.parametrize("weights, activations", NARROW_PAIRS)
def test_the_product_of_every_two_codes(weights, activations):
    """At 8 bits nothing is lost of a single product of 4 by 4 bits."""
    params = params_of(weights, activations, 8)
    w, x = (np.arange(1 << fmt.bits, dtype=np.uint8)
            for fmt in (params.weight_format, params.activation_format))
    with np.errstate(invalid="ignore"):
        products = np.multiply.outer(values_of(w, weights), values_of(x, activations))
    expected = to_fp32_codes((products + 0.0).astype(np.float32))
    assert np.array_equal(aligned_dot_array(w[:, None, None], x[None, :, None], params), expected)


@EVERY_PAIR
@pytest.mark.parametrize("bits", [8, 14, 17, 18, 24, 40])
def test_many_rows_and_vectors_at_once_give_the_same(weights, activations, bits):
    params = params_of(weights, activations, bits, lanes=16, group_beats=3)
    rng = np.random.default_rng(bits)
    formats = params.weight_format, params.activation_format
    for n in (1, 15, 16, 17, 48):
        for w, x in [
                [random_codes(rng, fmt, rows, n)
                 for rows, fmt in zip((9, 5), formats, strict=True)],
                [narrow_codes(rng, fmt, rows, n)
                 for rows, fmt in zip((9, 5), formats, strict=True)],
                # Few special codes: many sums are finite.
                [np.where(rng.random((rows, n)) < 0.01, random_codes(rng, fmt, rows, n),
                          narrow_codes(rng, fmt, rows, n))
                 for rows, fmt in zip((30, 20), formats, strict=True)]]:
            operands = [aligned_operand(codes, fmt, params)
                        for codes, fmt in zip((w, x), formats, strict=True)]
            with np.errstate(all="ignore"):
                found = to_fp32_codes(aligned_matmul(*operands, params))
            expected = aligned_dot_array(w[:, None, :], x[None], params)
            # A sum of BF16 that is too small for FP32 is a zero, of either sign here: the row's
            # sum, which starts at +0, has the sign of neither.
            found, expected = (np.where(codes == 0x80000000, 0, codes)
                               for codes in (found, expected))
            assert np.array_equal(found, expected)


def test_more_rows_than_are_worked_on_at_once():
    params = params_of("e4m3", "e5m2", 14)
    rng = np.random.default_rng(3)
    w, x = (narrow_codes(rng, fmt, rows, 128) for rows, fmt in (
        (2100, params.weight_format), (2, params.activation_format)))
    found = to_fp32_codes(aligned_matmul(aligned_operand(w, params.weight_format, params),
                                         aligned_operand(x, params.activation_format, params),
                                         params))
    assert np.array_equal(found, aligned_dot_array(w[:, None, :], x[None], params))


# E4M3 codes of 448, -448, 2**-9, 1, 1.875, -1.875, 2**-6 and 2**-7.
TOP, LOW, LEAST, ONE, BIG, NEGATIVE, NORMAL, HALF = (
    0x7E, 0xFE, 0x01, 0x38, 0x3F, 0xBF, 0x08, 0x04)


@pytest.mark.parametrize("bits, pairs, result", [
    # 448 * 448 has the exponent 16: 14 bits end at 2**3, 34 bits at 2**-17, 35 bits at 2**-18.
    (14, [(TOP, TOP), (LOW, TOP), (LEAST, LEAST)], 0.0),
    (34, [(TOP, TOP), (LOW, TOP), (LEAST, LEAST)], 0.0),
    (35, [(TOP, TOP), (LOW, TOP), (LEAST, LEAST)], 2.0 ** -18),
    (35, [(LEAST, LEAST), (TOP, TOP), (LOW, TOP)], 2.0 ** -18),
    (14, [(LEAST, LEAST)] * 3, 3 * 2.0 ** -18),
    # In the next beat the large ones are gone.
    (14, [(TOP, TOP), (LOW, TOP), *[(0, 0)] * 30, (LEAST, LEAST)], 2.0 ** -18),
    # As a sum, 448 * 448 has the exponent 17.
    (35, [(TOP, TOP), *[(0, 0)] * 31, (LOW, TOP), (LEAST, LEAST)], 0.0),
    (36, [(TOP, TOP), *[(0, 0)] * 31, (LOW, TOP), (LEAST, LEAST)], 2.0 ** -18),
    # 32 of them have the exponent 22 as a sum, and the next beat's small ones are cut by it.
    (35, [(TOP, TOP)] * 32 + [(LOW, TOP)] * 31 + [(LEAST, LEAST)], 448.0 ** 2),
    # The exponent of 1.875 * 1.875 is 0, though the product is above 2.
    (14, [(BIG, BIG), (BIG, NEGATIVE), (NORMAL, HALF)], 2.0 ** -13),
    (13, [(BIG, BIG), (BIG, NEGATIVE), (NORMAL, HALF)], 0.0),
    # A subnormal has the exponent of the smallest normal number: 2**-9 times 1 has -6, not -9.
    (8, [(LEAST, ONE), (LEAST, NORMAL)], 2.0 ** -9),
    (10, [(LEAST, ONE), (LEAST, NORMAL)], 2.0 ** -9 + 2.0 ** -15),
    # Zero times 448 has no exponent.
    (8, [(0x80, TOP), (TOP, 0), (LEAST, LEAST)], 2.0 ** -18),
    # Both cuts are towards zero.
    (8, [(ONE, ONE), (NORMAL, HALF)], 1.0),
    (8, [(0xB8, ONE), (NORMAL, HALF | 0x80)], -1.0),
    (8, [(0xB8, ONE), (NORMAL, HALF)], -1.0),
    (8, [(BIG, BIG), (ONE, NORMAL)], 3.53125),
    (8, [(BIG, NEGATIVE), (ONE, NORMAL | 0x80)], -3.53125),
])
def test_known_sums(bits, pairs, result):
    params = params_of("e4m3", "e4m3", bits)
    w, x = np.array(pairs, np.uint8).T
    assert aligned_dot_array(w, x, params).view(np.float32) == result
    check(w[None], x[None], params)


def test_the_example_of_the_page():
    # Here, so that the rest of this file runs beside the emulator with few packages.
    from tests.test_docs import table

    params = params_of("e4m3", "e4m3", 8)
    kept = table("numerics.md", "beat")
    after = table("numerics.md", "after beat")
    sides, total = [[], []], Fraction(0)
    for beat, largest, last, joined, result, exact in after:
        rows = [[Fraction(cell) for cell in row[1:]] for row in kept if row[0] == beat]
        pairs = np.array([row[:2] for row in rows], np.float64).T
        assert last == f"2^{int(largest) - 7}"
        place = int(largest) - 7
        assert int(largest) == max([row[3] for row in rows] + [floor_log2(total)] * bool(total))
        for w, x, product, exponent, left in rows:
            assert product == w * x and left == cut(product, place)
            assert exponent == sum(max(floor_log2(side), -6) for side in (w, x))
        assert cut(total, place) + sum(row[4] for row in rows) == Fraction(joined)
        total = Fraction(result)
        for side, values in zip(sides, pairs, strict=True):
            codes = values.astype(TYPES["e4m3"][0])
            assert np.array_equal(codes.astype(np.float64), values)
            side += codes.view(np.uint8).tolist() + [0] * (32 - values.size)
        w, x = np.array(sides, np.uint8)
        assert aligned_dot_array(w, x, params).view(np.float32) == float(result)
        assert float(exact) == np.dot(values_of(w, "e4m3"), values_of(x, "e4m3"))
    assert len(after) == 2


def test_35_bits_lose_no_product_of_a_beat_of_e4m3():
    params = params_of("e4m3", "e4m3", 35, group_beats=1)
    exact = DotArrayParams(weights="e4m3", activations="e4m3", lanes=32, group_beats=1)
    rounder = Fp32RounderParams(sum_bits=exact.sum_bits, lsb_exponent=exact.lsb_exponent)
    rng = np.random.default_rng(35)
    w = narrow_codes(rng, params.weight_format, 3000, 32)
    x = narrow_codes(rng, params.activation_format, 3000, 32)
    sums = dot_array(w, x, exact)
    short = np.abs(sums.value) < 1 << 35
    assert 1000 < short.sum() < 3000
    found = aligned_dot_array(w, x, params)
    assert np.array_equal(found[short], fp32_rounder(sums, rounder)[short])
    # Only what the sum itself has beyond 35 bits is lost.
    magnitudes = [abs(int(value)) for value in sums.value]
    kept = [value >> max(value.bit_length() - 35, 0) << max(value.bit_length() - 35, 0)
            for value in magnitudes]
    assert np.array_equal(
        found & 0x7FFFFFFF, np.ldexp(np.array(kept, np.float64), -18).astype(np.float32).view(
            np.uint32))


def test_even_40_bits_are_not_exact():
    """A sum of 41 bits that lies one unit above a tie of FP32: cut, it is the tie."""
    params = params_of("e4m3", "e4m3", 40)
    exact = DotArrayParams(weights="e4m3", activations="e4m3", lanes=32, group_beats=4)
    rounder = Fp32RounderParams(sum_bits=exact.sum_bits, lsb_exponent=exact.lsb_exponent)
    # 64 times 2**8 by 2**8, 2**-2 by 1 and the least product: an ulp of FP32 is 2**-1 there.
    pairs = [(0x78, 0x78)] * 64 + [(0x28, ONE), (LEAST, LEAST)]
    w, x = np.array(pairs, np.uint8).T
    assert int(dot_array(w, x, exact).value) == (1 << 40) + (1 << 16) + 1
    found = aligned_dot_array(w, x, params), fp32_rounder(dot_array(w, x, exact), rounder)
    assert [float(code.view(np.float32)) for code in found] == [2.0 ** 22, 2.0 ** 22 + 0.5]


def test_sums_above_24_bits_are_rounded_to_nearest_even():
    # 2**15 by 2**15; then an ulp of FP32 at 2**30, half of it, and 1.
    first, ulp, half, one = (0x78, 0x78), (0x58, 0x3C), (0x54, 0x3C), (0x3C, 0x3C)
    assert values_of(np.array([side for pair in (first, ulp, half, one) for side in pair],
                              np.uint8), "e5m2") == [2.0 ** 15, 2.0 ** 15, 128, 1, 64, 1, 1, 1]
    for bits, terms, above in ((25, [half], 0), (25, [ulp, half], 256), (25, [half, one], 0),
                               (24, [ulp, half], 128), (30, [half, one], 0),
                               (31, [half, one], 128)):
        w, x = np.array([first, *terms], np.uint8).T
        found = aligned_dot_array(w, x, params_of("e5m2", "e5m2", bits))
        assert found.view(np.float32) == 2.0 ** 30 + above, (bits, terms)


@pytest.mark.parametrize("w, x, code", [
    ([0x7D], [0], 0x7FC00000), ([0], [0xFF], 0x7FC00000), ([0x7C], [0], 0x7FC00000),
    ([0x80], [0xFC], 0x7FC00000), ([0x7C], [0x01], 0x7F800000), ([0xFC], [0x01], 0xFF800000),
    ([0xFC], [0xFC], 0x7F800000), ([0x7C, 0x7C], [0x3C, 0xBC], 0x7FC00000),
    ([0x7C, 0x7B], [0x3C, 0xFB], 0x7F800000), ([0x80, 0x80], [0x3C, 0x3C], 0),
    ([0x3C, 0xBC], [0x3C, 0x3C], 0), ([0x7B, 0x7D], [0x7B, 0x3C], 0x7FC00000),
])
def test_special_codes(w, x, code):
    params = params_of("e5m2", "e5m2", 14)
    for before in (0, 31, 32):
        arrays = [np.array([0x3C] * before + side, np.uint8) for side in (w, x)]
        if code or not before:
            assert int(aligned_dot_array(*arrays, params)) == code
        check(*(array[None] for array in arrays), params)


@pytest.mark.parametrize("pairs, code", [
    # The largest by the largest: past the range of FP32. Of both signs they cancel before that.
    ([(0x7F7F, 0x7F7F)], 0x7F800000), ([(0x7F7F, 0xFF7F)], 0xFF800000),
    ([(0x7F7F, 0x7F7F), (0xFF7F, 0x7F7F), (0x3F80, 0x3F80)], 0),
    ([(0x7F7F, 0x7F7F), (0xFF7F, 0x7F7F), *[(0, 0)] * 30, (0x3F80, 0x3F80)], 0x3F800000),
    # 2**-133 by 2**-16 is the smallest FP32; by 2**-17 a tie that goes to zero; 1.5 of it does not.
    ([(0x0001, 0x3780)], 1), ([(0x0001, 0x3700)], 0), ([(0x0001, 0x3740)], 1),
    ([(0x0001, 0x3780), (0x0001, 0x3700)], 2), ([(0x0001, 0x3780)] * 3 + [(0x0001, 0x3700)], 4),
    # 2**-266: far below.
    ([(0x0001, 0x0001)], 0),
])
def test_bf16_sums_past_both_ends_of_fp32(pairs, code):
    params = params_of("bf16", "bf16", 28)
    w, x = np.array(pairs, np.uint16).T
    assert int(aligned_dot_array(w, x, params)) == code
    check(w[None], x[None], params)


def test_operands_broadcast():
    params = params_of("e4m3", "e5m2", 14)
    rng = np.random.default_rng(9)
    w = finite_codes(rng, params.weight_format, 3, 1, 40)
    x = finite_codes(rng, params.activation_format, 2, 40)
    found = aligned_dot_array(w, x, params)
    assert found.shape == (3, 2)
    assert int(found[2, 1]) == int(aligned_dot_array(w[2, 0], x[1], params))


@pytest.mark.parametrize("w, x, error, message", [
    (np.zeros(129, np.uint8), np.zeros(129, np.uint8), ValueError,
     "a group must have the same 1 to 128 elements on both sides, not 129 weights and 129 "
     "activations"),
    (np.zeros(3, np.uint8), np.zeros(4, np.uint8), ValueError,
     "a group must have the same 1 to 128 elements on both sides, not 3 weights and 4 "
     "activations"),
    (np.zeros((2, 0), np.uint8), np.zeros((2, 0), np.uint8), ValueError,
     "a group must have the same 1 to 128 elements on both sides, not 0 weights and 0 "
     "activations"),
    (np.zeros(3, np.float32), np.zeros(3, np.uint8), TypeError,
     "weights must be an array of uint8, not of float32"),
    (np.zeros(3, np.uint8), np.array(0, np.uint8), ValueError,
     "activations must have at least one dimension"),
])
def test_rejects_wrong_arrays(w, x, error, message):
    with pytest.raises(error, match=f"^aligned_dot_array: {message}$"):
        aligned_dot_array(w, x, params_of("e4m3", "e4m3", 14))


@pytest.mark.parametrize("weights, activations", FP8_PAIRS)
def test_equals_an_emulator_of_hopper(weights, activations):
    """Against the package mmaemu, which needs torch; neither is in the locks."""
    torch = pytest.importorskip("torch")
    chain = pytest.importorskip("mmaemu.model.chain")
    params = params_of(weights, activations, 14, group_beats=128)
    rng = np.random.default_rng(14)
    types = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
    formats = params.weight_format, params.activation_format
    for n, kind in ((4096, finite_codes), (4096, narrow_codes), (1000, narrow_codes),
                    (33, narrow_codes), (32, finite_codes)):
        w, x = kind(rng, formats[0], 24, n), kind(rng, formats[1], 24, n)
        if n == 33:
            w, x = (random_codes(rng, fmt, 200, n) for fmt in formats)
        sides = [torch.from_numpy(codes).view(types[name])
                 for codes, name in ((w, weights), (x, activations))]
        expected = chain.dot(*sides, preset="hopper").numpy()
        assert np.array_equal(aligned_dot_array(w, x, params), to_fp32_codes(expected))
