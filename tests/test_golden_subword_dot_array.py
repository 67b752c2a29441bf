from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from golden.fp32_rounder import fp32_rounder
from golden.subword_decoder import subword_decoder
from golden.subword_dot_array import subword_dot_array
from spec.arithmetic import Fp32RounderParams, SubwordDecoderParams
from spec.dot_arrays import DotArrayParams, SubwordDotArrayParams
from spec.formats import IntegerFormat
from tb.oracle import dot, round_to_fp32, value_of
from tests.golden_cases import finite_codes, random_codes

PAIRS = [*((w, x, "e2m1") for w in ("e4m3", "e5m2") for x in ("e4m3", "e5m2")),
         ("int8", "int8", "int4")]
# Lanes and the lengths of a wide and a narrow group: two groups in a narrow beat, one, and one of
# several beats; two beside a wide group of several beats.
SHAPES = [(32, 32, 32), (32, 64, 64), (32, 256, 256), (32, 128, 32)]
# Atoms of 8 and of 64 bytes, with the shortest groups, those of one narrow beat, and the longest;
# the most lanes that a record may have.
ENDS = [(8, 8, 8), (8, 16, 16), (8, 8, 4096), (8, 4096, 8), (8, 4096, 4096), (64, 64, 64),
        (64, 64, 4096), (64, 128, 128), (64, 4096, 4096), (128, 256, 256), (256, 256, 256)]


def params_of(weights, activations, narrow, lanes=32, group=32, narrow_group=32):
    """The record as a tile of ``lanes`` wide weights in an atom has it."""
    return SubwordDotArrayParams(
        weights=weights, activations=activations, lanes=lanes, group_beats=group // lanes,
        narrow=DotArrayParams(weights=narrow, activations=narrow,
                              lanes=min(2 * lanes, narrow_group),
                              group_beats=max(1, narrow_group // (2 * lanes))))


def every_record(shapes):
    return pytest.mark.parametrize("params", [params_of(*pair, *shape) for pair in PAIRS
                                              for shape in shapes], ids=name_of)


def name_of(params):
    names = params.weights, params.activations, params.narrow.weights
    return "-".join(map(str, (*names, params.lanes, length(params), length(params.narrow))))


def length(params):
    """Elements of a group."""
    return params.lanes * params.group_beats


def unit(params):
    return Fraction(2) ** params.lsb_exponent


def exact(weights, activations, params):
    """The oracle's sum of products of each row."""
    return [dot(w, x, params.weight_format, params.activation_format)
            for w, x in zip(weights.tolist(), activations.tolist(), strict=True)]


def rounded(total, params):
    return fp32_rounder(total, Fp32RounderParams(sum_bits=params.sum_bits,
                                                 lsb_exponent=params.lsb_exponent)).tolist()


def random_pair(rng, params, rows, n):
    return (finite_codes(rng, params.weight_format, rows, n),
            finite_codes(rng, params.activation_format, rows, n))


def lowest_code(fmt):
    """The code of the largest magnitude: -448, but of integers -128."""
    return fmt.sign_mask if isinstance(fmt, IntegerFormat) else fmt.largest_code | fmt.sign_mask


def products_of(params):
    """Products of every two narrow codes, as Python integers in units of their own."""
    values = [value_of(code, params.narrow.weight_format) for code in range(16)]
    found = [a * b / unit(params.narrow) for a in values for b in values]
    assert {value.denominator for value in found} == {1}
    return [int(value) for value in found]


@every_record(SHAPES)
def test_sums_of_wide_groups_and_their_rounding_are_exact(params):
    rng = np.random.default_rng(72)
    for n in {1, params.lanes - 1, length(params)}:
        w, x = random_pair(rng, params, 20, n)
        sums = subword_dot_array(w, x, False, params)
        expected = exact(w, x, params)
        assert [int(value) * unit(params) for value in sums.first.value] == expected
        assert rounded(sums.first, params) == [round_to_fp32(value) for value in expected]
        assert sums.second.shape == (20,) and not sums.second.any()


@every_record(SHAPES)
def test_sums_of_narrow_groups_and_their_rounding_are_exact(params):
    rng = np.random.default_rng(73)
    narrow, group = params.narrow, length(params.narrow)
    lengths = {1, 2, group - 1, group}
    if params.narrow_groups == 2:
        lengths |= {group + 1, 2 * group - 1, 2 * group}
    for n in lengths:
        w, x = random_pair(rng, narrow, 40, n)
        sums = subword_dot_array(w, x, True, params)
        expected = [exact(w[:, part], x[:, part], narrow)
                    for part in (slice(group), slice(group, None))]
        # The first in units of wide products, the second in units of narrow ones.
        assert [int(value) * unit(params) for value in sums.first.value] == expected[0]
        assert [int(value) * unit(narrow) for value in sums.second] == expected[1]
        assert rounded(sums.first, params) == [round_to_fp32(value) for value in expected[0]]
        second = sums.first._replace(value=sums.second)
        assert rounded(second, narrow) == [round_to_fp32(value) for value in expected[1]]
        assert not any(np.any(flag) for flag in sums.first[1:])


@every_record(SHAPES)
def test_every_two_narrow_codes_multiply_exactly_at_either_end_of_a_beat(params):
    codes = np.arange(16, dtype=np.uint8)
    formats = params.narrow.weight_format, params.narrow.activation_format
    expected = [[dot([a], [b], *formats) for b in range(16)] for a in range(16)]
    none = [[0] * 16] * 16
    for place in (0, 1, 2 * params.lanes - 2, 2 * params.lanes - 1):
        w, x = (np.zeros((*shape, 2 * params.lanes), np.uint8) for shape in ((16, 1), (1, 16)))
        w[..., place], x[..., place] = codes[:, None], codes[None, :]
        sums = subword_dot_array(w, x, True, params)
        found = [[[int(value) * one for value in line] for line in values]
                 for values, one in ((sums.first.value, unit(params)),
                                     (sums.second, unit(params.narrow)))]
        in_second = params.narrow_groups == 2 and place >= params.lanes
        assert found == ([none, expected] if in_second else [expected, none])


@every_record(ENDS)
@pytest.mark.parametrize("narrow", [False, True])
def test_no_sum_leaves_its_width(params, narrow):
    one = params.narrow if narrow else params
    group = length(one)
    n = group * (params.narrow_groups if narrow else 1)
    limits = [1 << bits - 1 for bits in (params.sum_bits, params.narrow.sum_bits)]
    formats = one.weight_format, one.activation_format
    ends = [(lowest_code(fmt), fmt.largest_code) for fmt in formats]
    for codes in product(*ends):
        w, x = (np.full(n, code, np.uint8) for code in codes)
        sums = subword_dot_array(w, x, narrow, params)
        expected = group * value_of(codes[0], formats[0]) * value_of(codes[1], formats[1])
        found = int(sums.first.value), int(sums.second)
        assert found[0] * unit(params) == expected
        assert found[1] * unit(params.narrow) == (expected if n > group else 0)
        assert all(-limit <= value < limit for value, limit in zip(found, limits, strict=True))


@every_record([shape for shape in ENDS if shape[1] == shape[2]])
def test_odd_products_never_reach_the_even_ones_above_them(params):
    """Where there is room, a lane's term has the odd product in its low bits, with its sign made
    good by a constant, and the even one above: a tree adds both in one."""
    narrow, shift, bits = params.narrow, params.narrow_shift, params.odd_bits
    products, lanes = products_of(params), params.lanes // params.narrow_groups
    surplus = 1 << narrow.product_bits - 1
    assert min(products) + surplus >= 0 and max(products) + surplus < 1 << narrow.product_bits
    if not bits:
        # Integers: both are added as they are.
        assert shift == 0
        return
    assert lanes * (max(products) + surplus) < 1 << bits <= 1 << shift
    limit, ends = 1 << params.product_bits - 1, (min(products), 0, max(products))
    assert all(-limit <= (even << shift) + odd + surplus < limit for even in ends for odd in ends)
    rng = np.random.default_rng(74)
    extremes = [[(even, odd)] * lanes for even in ends for odd in ends]
    for beat in extremes + rng.choice(products, (50, lanes, 2)).tolist():
        total = sum((even << shift) + odd + surplus for even, odd in beat)
        assert total % (1 << bits) - lanes * surplus == sum(odd for _, odd in beat)
        assert total >> shift == sum(even for even, _ in beat)


@pytest.mark.parametrize("weights, activations, narrow", PAIRS)
def test_the_multiplier_of_a_lane_makes_even_products_whose_low_bits_are_free(weights, activations,
                                                                              narrow):
    params = params_of(weights, activations, narrow)
    codes = np.repeat(np.arange(16, dtype=np.uint8), 2)
    sides = [subword_decoder(codes, True, SubwordDecoderParams(
        wide=name, narrow=narrow, lanes=16))[0] for name in (weights, activations)]
    found = [(-1) ** (w_sign ^ x_sign) * (w * x << w_shift + x_shift)
             for w_sign, w, w_shift in zip(*(part.tolist() for part in sides[0][:3]), strict=True)
             for x_sign, x, x_shift in zip(*(part.tolist() for part in sides[1][:3]), strict=True)]
    assert found == [value << params.narrow_shift for value in products_of(params)]


@pytest.mark.parametrize("weights, activations, shift", [
    ("e4m3", "e4m3", 16), ("e4m3", "e5m2", 23), ("e5m2", "e4m3", 23), ("e5m2", "e5m2", 30),
    ("int8", "int8", 0)])
def test_places_of_32_lanes(weights, activations, shift):
    narrow = "int4" if weights == "int8" else "e2m1"
    two, one = (params_of(weights, activations, narrow, 32, group, group) for group in (32, 64))
    assert (two.narrow_groups, one.narrow_groups) == (2, 1)
    assert two.narrow_shift == one.narrow_shift == shift
    # Products of E2M1 have 9 bits, the sums of 16 or 32 lanes 4 or 5 more; INT4 leaves no room.
    assert (two.odd_bits, one.odd_bits) == ((0, 0) if narrow == "int4" else (13, 14))
    assert one.wide == DotArrayParams(weights=weights, activations=activations, lanes=32,
                                      group_beats=2)
    assert one.LATENCY == one.wide.LATENCY == one.narrow.LATENCY


@pytest.mark.parametrize("weights, activations, narrow", PAIRS)
def test_special_codes_of_wide_formats_match_the_oracle(weights, activations, narrow):
    params = params_of(weights, activations, narrow)
    rng = np.random.default_rng(75)
    w, x = random_codes(rng, 2000, 4), random_codes(rng, 2000, 4)
    # Zeros and infinities often enough to meet.
    w[rng.random(w.shape) < 0.2] = 0x80
    x[rng.random(x.shape) < 0.2] = 0x7C
    w[rng.random(w.shape) < 0.1] = 0xFC
    sums = subword_dot_array(w, x, False, params)
    expected = exact(w, x, params)
    for name, flag in zip(("nan", "inf", "-inf"), sums.first[1:], strict=True):
        assert flag.tolist() == [isinstance(value, float) and str(value) == name
                                 for value in expected]
    assert rounded(sums.first, params) == [round_to_fp32(value) for value in expected]
    assert not sums.second.any()
    # Each special value comes up, where the formats have it.
    names = {str(value) for value in expected if isinstance(value, float)}
    assert names == (set() if narrow == "int4" else {"nan", "inf", "-inf"} if "e5m2" in
                     (weights, activations) else {"nan"})


@pytest.mark.parametrize("narrow", [False, True])
def test_operands_broadcast(narrow):
    params = params_of("e4m3", "e5m2", "e2m1")
    rng = np.random.default_rng(76)
    n, bits = (64, 4) if narrow else (32, 6)
    w, x = random_codes(rng, 3, 1, n, bits=bits), random_codes(rng, 2, n, bits=bits)
    sums = subword_dot_array(w, x, narrow, params)
    single = subword_dot_array(w[2, 0], x[1], narrow, params)
    for part, alone in zip((*sums.first, sums.second), (*single.first, single.second), strict=True):
        assert part.shape == (3, 2) and alone.shape == () and part[2, 1] == alone


@pytest.mark.parametrize("narrow, weights, activations, said", [
    (False, 33, 33, "dot_array: a group must have the same 1 to 32"),
    (True, 65, 65, "subword_dot_array: narrow operands must have the same 1 to 64"),
    (True, 64, 40, "subword_dot_array: narrow operands must have the same 1 to 64")])
def test_rejects_too_long_a_group_and_sides_that_differ(narrow, weights, activations, said):
    with pytest.raises(ValueError, match=f"^{said} elements on both sides, not {weights} weights "
                                         f"and {activations} activations$"):
        subword_dot_array(np.zeros(weights, np.uint8), np.zeros(activations, np.uint8), narrow,
                          params_of("e4m3", "e4m3", "e2m1"))
