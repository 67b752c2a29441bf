import re
from fractions import Fraction

import numpy as np
import pytest

from golden.column import column
from golden.decoder import decode
from golden.encoder import encode
from golden.gemv import gemv, gemv_fp32
from golden.scales import BLOCK_SCALE, block_scales, weight_scale_dtype
from spec.description import Axi4Memory, Compute, Description, Scaling
from spec.formats import BF16
from spec.tile import Tile
from tb.oracle import dot, round_to_fp32
from tests.golden_cases import (
    ALL_TILES, factors, finite_codes, oracle_result, random_codes, random_scales,
    random_weight_scales, scale_codes,
)

TILES = {tile.name: tile for tile in ALL_TILES}
USUAL = TILES["usual"]
EVERY_TILE = pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)


def operands(rng, tile, rows, columns, k, kind):
    """Finite codes and usual scales; or all codes and scales; or few special codes."""
    weight_rows = tile.description.scaling.weight_rows
    w = finite_codes(rng, tile.weight_format, rows, k)
    x = finite_codes(rng, tile.activation_format, columns, k)
    if kind == "all":
        w = random_codes(rng, rows, k, bits=tile.weight_format.bits)
        x = random_codes(rng, columns, k, bits=tile.activation_format.bits)
    elif kind == "few":
        for codes, fmt in ((w, tile.weight_format), (x, tile.activation_format)):
            few = rng.random(codes.shape) < 1 / (1 + codes.shape[1])
            special = np.array([0x7C, 0xFC, 0x7F, 0], np.uint8) & np.uint8((1 << fmt.bits) - 1)
            codes[few] = rng.choice(special, codes.shape)[few]
    special = kind == "all"
    return (w, random_weight_scales(rng, tile, -(-rows // weight_rows), tile.groups(k),
                                    special=special),
            x, random_scales(rng, tile, columns, tile.groups(k), special=special))


def with_zeros(tile, scales, zero=0):
    """Scales of weights with this zero point, where they have one."""
    if not tile.zero_points:
        return scales
    both = np.empty(scales.shape, weight_scale_dtype(tile))
    both["scale"], both["zero"] = scales, zero
    return both


def neutral(tile, rows, zero=0):
    """Scales of one group that change nothing; the weights may have this zero point."""
    shape = (-(-rows // tile.description.scaling.weight_rows), 1)
    if tile.block_scaled:
        one = np.uint8(0x38)
        return (block_scales(np.full(shape, one), np.float32(1)),
                block_scales(np.full((1, 1), one), np.float32(1)))
    if tile.scale_format.name == "fp32":
        return with_zeros(tile, np.ones(shape, np.float32), zero), np.ones((1, 1), np.float32)
    return (with_zeros(tile, np.full(shape, 127, np.uint8), zero),
            np.full((1, 1), 127, np.uint8))


def composed(w, ws, x, xs, tile):
    """The unit goldens, one behind the other."""
    row = np.arange(w.shape[0]) // tile.description.scaling.weight_rows
    w, ws = factors(tile, w, ws[row])
    xs = scale_codes(xs)
    return np.stack([column(w, ws, x[index], xs[index], tile.column)
                     for index in range(x.shape[0])], axis=1)


@EVERY_TILE
@pytest.mark.parametrize("kind", ["finite", "all", "few"])
def test_equals_the_composition_of_the_units(tile, kind):
    rng = np.random.default_rng(13)
    for rows, columns, k in ((1, 1, 1), (5, 3, tile.group), (7, 2, 3 * tile.group + 1),
                             (37, 9, tile.group + tile.lanes + 3)):
        arrays = operands(rng, tile, rows, columns, k, kind)
        result = gemv_fp32(*arrays, tile)
        assert result.dtype == np.uint32 and result.shape == (rows, columns)
        assert np.array_equal(result, composed(*arrays, tile))


@EVERY_TILE
@pytest.mark.parametrize("kind", ["finite", "all", "few"])
def test_equals_exact_rational_arithmetic(tile, kind):
    rng = np.random.default_rng(14)
    rows, columns, k = 3, 2, 2 * min(tile.span, 200) + min(tile.group, 32) + 5
    w, ws, x, xs = operands(rng, tile, rows, columns, k, kind)
    result = gemv_fp32(w, ws, x, xs, tile)
    weight_rows = tile.description.scaling.weight_rows
    for row in range(rows):
        for index in range(columns):
            expected = oracle_result(tile, w[row], ws[row // weight_rows], x[index], xs[index])
            assert int(result[row, index]) == expected


@EVERY_TILE
def test_the_largest_codes_sum_exactly(tile):
    w = np.full((2, tile.group), tile.weight_format.largest_code, np.uint8)
    x = np.full((2, tile.group), tile.activation_format.largest_code, np.uint8)
    # One product less, and one that is the smallest: every bit of the sum counts.
    w[1, -1], x[1, -1] = 1, 1
    ws, xs = neutral(tile, 2)
    arrays = w, ws, x, np.repeat(xs, 2, axis=0)
    assert np.array_equal(gemv_fp32(*arrays, tile), composed(*arrays, tile))


@pytest.mark.parametrize("tile", [t for t in ALL_TILES if not t.block_scaled
                                  and t.column.dot_array.sum_bits > 53], ids=lambda tile: tile.name)
def test_wide_sums_do_not_round_twice(tile):
    # Sums of a tie of FP32 and one unit more or less, which float64 would round to the tie.
    formats = tile.weight_format, tile.activation_format
    largest = tile.column.dot_array.largest_product
    top = (largest * (tile.group - 3)).bit_length() - 1

    def factors(power):
        """Codes whose product is 2**power units."""
        second = min(power, formats[1].largest_shift + formats[1].mantissa_bits)
        return [int(encode(np.float32([2.0 ** (part + fmt.smallest_exponent)]), fmt)[0])
                for part, fmt in zip((power - second, second), formats, strict=True)]

    odd, half = factors(top - 23), factors(top - 24)
    w = np.full((4, tile.group), formats[0].largest_code, np.uint8)
    x = np.full((1, tile.group), formats[1].largest_code, np.uint8)
    x[0, -3:] = [odd[1], half[1], 1]
    w[:, -3:] = [[0, half[0], 0x01], [0, half[0], 0x81],
                 [odd[0], half[0], 0x01], [odd[0], half[0], 0x81]]
    ws, xs = neutral(tile, 4)
    sums = [dot(line.tolist(), x[0].tolist(), *formats) for line in w]
    expected = [round_to_fp32(value) for value in sums]
    twice = [int(np.float32(float(value)).view(np.uint32)) for value in sums]
    assert expected != twice
    assert gemv_fp32(w, ws, x, xs, tile)[:, 0].tolist() == expected


def test_long_sums_of_integers_round_once():
    # Of more than 24 bits, odd and even: float32 would round while it adds.
    tile, rng = TILES["int8_long"], np.random.default_rng(32)
    w, x = (rng.integers(100, 128, (count, tile.group), dtype=np.uint8) for count in (16, 4))
    ws, xs = neutral(tile, 16)
    expected = (w.astype(np.int64) @ x.T.astype(np.int64)).astype(np.float32)
    assert (expected > 2.0 ** 25).all()
    result = gemv_fp32(w, ws, x, np.repeat(xs, 4, axis=0), tile)
    assert np.array_equal(result.view(np.float32), expected)


@pytest.mark.parametrize("tile", [t for t in ALL_TILES if t.scale_format.name == "e8m0"],
                         ids=lambda tile: tile.name)
@pytest.mark.parametrize("scales", [(82, 82), (81, 127), (82, 172), (172, 172), (173, 127),
                                    (127, 61), (61, 193)])
def test_scales_at_the_border_of_the_mild_ones(tile, scales):
    # Where scales are still mild, and where the sums are made group by group.
    rng = np.random.default_rng(27)
    k = 2 * tile.group + 3
    w, x = finite_codes(rng, tile.weight_format, 6, k), finite_codes(
        rng, tile.activation_format, 3, k)
    w[:3] = w[:3] & 1
    ws = with_zeros(tile, np.full(
        (-(-6 // tile.description.scaling.weight_rows), tile.groups(k)), scales[0], np.uint8), 1)
    xs = np.full((3, tile.groups(k)), scales[1], np.uint8)
    assert np.array_equal(gemv_fp32(w, ws, x, xs, tile), composed(w, ws, x, xs, tile))


def test_cancellation_keeps_the_smallest_product():
    w = np.zeros((1, 128), np.uint8)
    x = np.full((1, 128), 0x7E, np.uint8)
    w[0, :3], x[0, 2] = [0x7E, 0xFE, 0x01], 0x01
    one = np.full((1, 1), 127, np.uint8)
    assert gemv(w, one, x, one, USUAL).view(np.float32)[0, 0] == 2.0 ** -18


def test_scales_that_compensate_each_other():
    w = np.full((1, 1), 0x38, np.uint8)
    scales = [np.full((1, 1), code, np.uint8) for code in (254, 0)]
    assert gemv(w, scales[0], w, scales[1], USUAL)[0, 0] == 0x3F800000
    assert gemv(w, scales[0], w, scales[0], USUAL)[0, 0] == 0x7F800000
    assert gemv(w, scales[1], w, scales[1], USUAL)[0, 0] == 0
    assert gemv(w, scales[1], w, np.full((1, 1), 255, np.uint8), USUAL)[0, 0] == 0x7FC00000


@pytest.mark.parametrize("terms, total", [
    # In pairs of neighbours: one after the other, each 1 would be lost beside 2**24.
    ([2.0 ** 24, 0, 1, 1], 2.0 ** 24 + 2),
    ([1, 1, 0, 2.0 ** 24], 2.0 ** 24 + 2),
    ([2.0 ** 24, 1, 1, 0], 2.0 ** 24),
    # The beats one after the other, each as a whole; the last may have fewer groups.
    ([2.0 ** 24, 0, 0, 0, 1, 1], 2.0 ** 24 + 2),
    ([2.0 ** 24, 0, 0, 1, 0, 0, 1], 2.0 ** 24),
    ([1, 0, 0, 0, 1, 0, 0, 0, 2.0 ** 24], 2.0 ** 24 + 2),
    ([2.0 ** 24, 0, 0, 0, 1, 0, 0, 0, 1], 2.0 ** 24),
])
def test_the_groups_of_one_beat_are_added_to_each_other_first(terms, total):
    tile = TILES["int4_fp8"]
    assert (tile.group, tile.groups_per_beat) == (16, 4)
    w, x = np.ones((1, 16 * len(terms)), np.uint8), np.zeros((1, 16 * len(terms)), np.uint8)
    x[0, ::16] = 0x38
    ws, xs = np.array([terms], np.float32), np.ones((1, len(terms)), np.float32)
    assert gemv_fp32(w, ws, x, xs, tile).view(np.float32)[0, 0] == total
    assert composed(w, ws, x, xs, tile).view(np.float32)[0, 0] == total


@pytest.mark.parametrize("name, w, x, result", [
    ("mxfp4", [0x7, 0xF, 0x1, 0x3], [0x7, 0x6, 0x1, 0xB], 36 - 24 + 0.25 - 2.25),
    ("int4_fp8", [0x7, 0x8, 0xF, 0x1], [0x38, 0x40, 0x30, 0x7E], 7 - 16 - 0.5 + 448),
    ("int8", [0x7F, 0x80, 0x80, 0xFF], [0x7F, 0x80, 0x7F, 0x02], 16129 + 16384 - 16256 - 2),
    ("mxint8", [0x7F, 0x80, 0x40, 0x01], [0x40, 0x40, 0x20, 0x01], 1.984375 - 2 + 0.5 + 2.0 ** -12),
    ("int8_fp8", [0x7F, 0x80, 0xFF, 0x03], [0x3C, 0x3C, 0x40, 0x38], 127 - 128 - 2 + 1.5),
])
def test_formats_multiply_as_their_values_do(name, w, x, result):
    tile = TILES[name]
    ws, xs = neutral(tile, 1)
    arrays = np.array([w], np.uint8), ws, np.array([x], np.uint8), xs
    assert gemv_fp32(*arrays, tile).view(np.float32)[0, 0] == result


@pytest.mark.parametrize("name, zero, w, x, result", [
    ("uint4", 0, [0xF, 0x0, 0x1], [0x38, 0x7E, 0x40], 15 + 2),
    ("uint4", 15, [0xF, 0x0, 0x1], [0x7E, 0x38, 0x40], -15 - 28),
    ("uint4", 6, [0xF, 0x0, 0x6], [0x38, 0xB8, 0x7E], 9 + 6),
    ("uint4_narrow", 15, [0xF, 0x0, 0x7], [0x7, 0x8, 0xF], 120 + 8),
    ("uint8", 0, [0xFF, 0x80, 0x00], [0x80, 0x7F, 0x80], -255 * 128 + 128 * 127),
    ("uint8", 255, [0xFF, 0x00, 0x80], [0x80, 0x80, 0x01], 255 * 128 - 127),
])
def test_zero_points_are_taken_from_every_weight(name, zero, w, x, result):
    tile = TILES[name]
    ws, xs = neutral(tile, 1, zero)
    arrays = np.array([w], np.uint8), ws, np.array([x], np.uint8), xs
    assert gemv_fp32(*arrays, tile).view(np.float32)[0, 0] == result


def test_every_group_of_every_block_has_its_own_zero_point():
    tile = TILES["uint4"]
    assert (tile.group, tile.description.scaling.weight_rows) == (16, 2)
    w, x = np.full((5, 40), 9, np.uint8), np.full((1, 40), 0x38, np.uint8)
    ws = with_zeros(tile, np.ones((3, 3), np.float32), [[9, 8, 10], [0, 15, 9], [1, 2, 3]])
    # Groups of 16, 16 and 8.
    expected = [16 - 8] * 2 + [9 * 16 - 6 * 16] * 2 + [8 * 16 + 7 * 16 + 6 * 8]
    result = gemv_fp32(w, ws, x, np.ones((1, 3), np.float32), tile)
    assert result.view(np.float32)[:, 0].tolist() == expected


@pytest.mark.parametrize("weights, activations", [
    ("uint4", "int4"), ("uint4", "e4m3"), ("uint8", "e5m2"), ("uint8", "bf16")])
def test_zero_points_go_with_sums_by_a_tree_of_fp32_additions(weights, activations):
    tile = Tile(description=Description(
        name="tree", memory=Axi4Memory(atom_bytes=8),
        compute=Compute(weights=weights, activations=activations, accumulation="fp32-tree"),
        scaling=Scaling(format="fp32", rule="fp32-div", group=32, weight_rows=4)))
    rng = np.random.default_rng(48)
    for rows, columns, k in ((1, 1, 1), (9, 3, 77)):
        w = finite_codes(rng, tile.weight_format, rows, k)
        x = encode(rng.normal(size=(columns, k)).astype(np.float32), tile.activation_format)
        ws = random_weight_scales(rng, tile, -(-rows // 4), tile.groups(k))
        xs = random_scales(rng, tile, columns, tile.groups(k))
        result = gemv_fp32(w, ws, x, xs, tile)
        assert np.array_equal(result, composed(w, ws, x, xs, tile))
        # Near what float64 gives: the sums have few additions.
        lines = np.arange(rows) // 4
        factor, scale = (np.repeat(ws[name][lines].astype(float), 32, axis=1)[:, :k]
                         for name in ("zero", "scale"))
        values = [(w - factor) * scale,
                  decode(x, tile.activation_format) * np.repeat(xs, 32, axis=1)[:, :k]]
        bound = np.abs(values[0]) @ np.abs(values[1]).T * 2.0 ** -20
        assert (np.abs(result.view(np.float32) - values[0] @ values[1].T) <= bound).all()


@pytest.mark.parametrize("name", ["uint4", "uint8"])
def test_infinity_times_a_weight_that_is_its_zero_point_is_nan(name):
    description = TILES[name].description
    tile = TILES[name].model_copy(update={"description": description.model_copy(update={
        "compute": description.compute.model_copy(update={"activations": "e5m2"})})})
    # Below the zero point, on it, and above.
    w, x = np.array([[2], [3], [4], [0]], np.uint8), np.array([[0x7C], [0xFC]], np.uint8)
    ws, xs = neutral(tile, 4, 3)
    arrays = w, ws, x, np.repeat(xs, 2, axis=0)
    inf, minus = 0x7F800000, 0xFF800000
    expected = [[minus, inf], [0x7FC00000] * 2, [inf, minus], [minus, inf]]
    assert gemv_fp32(*arrays, tile).tolist() == expected
    assert composed(*arrays, tile).tolist() == expected


@pytest.mark.parametrize("name", ["int8_fp8", "int4_fp8"])
def test_infinity_times_an_integer_has_the_sign_of_both(name):
    tile = TILES[name]
    description = tile.description
    tile = tile.model_copy(update={"description": description.model_copy(update={
        "compute": description.compute.model_copy(update={"activations": "e5m2"})})})
    lowest = tile.weight_format.sign_mask
    # One of each sign, zero, and the lowest and the largest that there are.
    w = np.array([[1], [lowest - 1], [2 * lowest - 1], [lowest], [0]], np.uint8)
    x = np.array([[0x7C], [0xFC]], np.uint8)
    ws, xs = neutral(tile, 5)
    arrays = w, ws, x, np.repeat(xs, 2, axis=0)
    inf, minus = 0x7F800000, 0xFF800000
    expected = [[inf, minus]] * 2 + [[minus, inf]] * 2 + [[0x7FC00000] * 2]
    assert gemv_fp32(*arrays, tile).tolist() == expected
    assert composed(*arrays, tile).tolist() == expected


def test_the_number_of_columns_does_not_change_a_result():
    rng = np.random.default_rng(16)
    w, ws, x, xs = operands(rng, USUAL, 700, 130, 300, "few")
    together = gemv(w, ws, x, xs, USUAL)
    for index in (0, 64, 129):
        alone = gemv(w, ws, x[[index]], xs[[index]], USUAL)
        assert np.array_equal(alone[:, 0], together[:, index])


def test_bf16_results_are_rounded_once():
    tile = TILES["odd"]
    assert tile.result_format == BF16
    arrays = operands(np.random.default_rng(17), tile, 40, 3, 100, "all")
    result = gemv(*arrays, tile)
    assert result.dtype == np.uint16
    assert np.array_equal(result, encode(gemv_fp32(*arrays, tile).view(np.float32), BF16))


def test_does_not_change_its_operands_and_takes_any_stride():
    rng = np.random.default_rng(18)
    arrays = operands(rng, USUAL, 20, 3, 256, "few")
    copies = [array.copy() for array in arrays]
    strided = [np.asfortranarray(array) for array in arrays]
    assert np.array_equal(gemv(*arrays, USUAL), gemv(*strided, USUAL))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, copies, strict=True))


@pytest.mark.parametrize("index, shape, dtype, error, message", [
    (0, (4, 300), np.float32, TypeError,
     "gemv: weights must be an array of uint8, not of float32"),
    (0, (4,), np.uint8, ValueError, r"gemv: weights must have 2 dimensions, not the shape \[4\]"),
    (2, (2, 299), np.uint8, ValueError,
     r"gemv: activations must have the shape \[2, 300\] \(\[C, K\] with the weights' K\), "
     r"not \[2, 299\]"),
    (1, (1, 2), np.uint8, ValueError,
     r"gemv: weight_scales must have the shape \[1, 3\] \(one per 128 x 128 weights\), "
     r"not \[1, 2\]"),
    (3, (2, 3), np.float32, TypeError,
     "gemv: activation_scales must be an array of uint8, not of float32"),
    (0, (0, 300), np.uint8, ValueError, r"gemv: needs at least one row, one column and k = 1, but "
     r"weights have the shape \[0, 300\] and activations \[2, 300\]"),
])
def test_rejects_wrong_arrays(index, shape, dtype, error, message):
    arrays = [np.zeros(shape, np.uint8) for shape in ((4, 300), (1, 3), (2, 300), (2, 3))]
    arrays[index] = np.zeros(shape, dtype)
    with pytest.raises(error, match=f"^{message}$"):
        gemv(*arrays, USUAL)


@pytest.mark.parametrize("name, index, code, message", [
    ("mxfp4", 0, 16, "weights: e2m1 codes have 4 bits, but the largest is 16"),
    ("mxfp4", 2, 255, "activations: e2m1 codes have 4 bits, but the largest is 255"),
    ("int4_fp8", 0, 0x80, "weights: int4 codes have 4 bits, but the largest is 128"),
    ("uint4", 0, 16, "weights: uint4 codes have 4 bits, but the largest is 16"),
])
def test_rejects_codes_that_are_too_wide(name, index, code, message):
    arrays = list(operands(np.random.default_rng(15), TILES[name], 3, 2, 40, "finite"))
    arrays[index][-1, -1] = code
    with pytest.raises(ValueError, match=f"^gemv: {message}$"):
        gemv(*arrays, TILES[name])
    arrays[index][-1, -1] = 15
    assert gemv(*arrays, TILES[name]).shape == (3, 2)


@pytest.mark.parametrize("dtype", [
    np.float32, [("scale", np.uint8), ("zero", np.uint8)], [("scale", np.float32)],
    [("zero", np.uint8), ("scale", np.float32)], [("scale", np.float32), ("zero", np.int8)]])
def test_rejects_scales_of_weights_without_their_zero_points(dtype):
    tile = TILES["uint4"]
    arrays = list(operands(np.random.default_rng(46), tile, 3, 2, 40, "finite"))
    arrays[1] = np.zeros((2, 3), dtype)
    with pytest.raises(TypeError) as caught:
        gemv(*arrays, tile)
    assert str(caught.value) == (
        "gemv: weight_scales must be an array of [('scale', '<f4'), ('zero', 'u1')], not of "
        f"{np.dtype(dtype)}")
    arrays[1] = [[1.0] * 3] * 2
    with pytest.raises(TypeError, match=r"^gemv: weight_scales must be an array of \[.*\], not "
                                        r"list$"):
        gemv(*arrays, tile)


def test_rejects_zero_points_of_activations_and_zero_points_that_are_too_large():
    tile = TILES["uint4"]
    arrays = list(operands(np.random.default_rng(47), tile, 3, 2, 40, "finite"))
    scales = arrays[3]
    arrays[3] = with_zeros(tile, scales)
    with pytest.raises(TypeError, match="^gemv: activation_scales must be an array of float32, not "
                                        r"of \[\('scale', '<f4'\), \('zero', 'u1'\)\]$"):
        gemv(*arrays, tile)
    arrays[3] = scales
    arrays[1]["zero"][1, 2] = 16
    with pytest.raises(ValueError, match="^gemv: zero points: uint4 codes have 4 bits, but the "
                                         "largest is 16$"):
        gemv(*arrays, tile)
    arrays[1]["zero"][1, 2] = 15
    assert gemv(*arrays, tile).shape == (3, 2)
    arrays[1] = arrays[1][:, :2]
    with pytest.raises(ValueError, match=r"^gemv: weight_scales must have the shape \[2, 3\] \(one "
                                         r"per 2 x 16 weights\), not \[2, 2\]$"):
        gemv(*arrays, tile)


# Scales of blocks within the sum of a row

NVFP4 = TILES["nvfp4"]


def longer(tile, k_max):
    description = tile.description
    return tile.model_copy(update={"description": description.model_copy(update={
        "compute": description.compute.model_copy(update={"k_max": k_max})})})


LONG_NVFP4 = longer(NVFP4, 16384)


def blocks_of(*shape, code):
    """Scales of blocks that are all ``code``, of tensors whose scale is 1."""
    return block_scales(np.full(shape, code, np.uint8), np.float32(1))


@pytest.mark.parametrize("k", [1168, 1184, 1200, 16384])
def test_rows_whose_sums_may_or_may_not_pass_the_bits_of_float64(k):
    # All largest, which Cauchy and Schwarz bound to the last bit: 2**53 is passed at 1189.
    w, x = np.full((20, k), 0x7, np.uint8), np.full((3, k), 0x7, np.uint8)
    w[np.arange(19), np.arange(19)] = 0x1
    w[10:], x[1] = w[10:] ^ 0x8, 0xF
    ws, xs = (blocks_of(rows, k // 16, code=0x7E) for rows in (20, 3))
    ws["block"][3:7, -1], xs["block"][2, -2:] = [0x01, 0x7D, 0x02, 0x81], [0xFE, 0x03]
    result = gemv_fp32(w, ws, x, xs, LONG_NVFP4)
    assert np.array_equal(result, composed(w, ws, x, xs, LONG_NVFP4))
    assert result[19].view(np.float32).tolist()[:2] == [-k * 2688.0 ** 2, k * 2688.0 ** 2]


@pytest.mark.parametrize("k, small", [(16384, 0x28), (8192, 0x20)])
def test_sums_that_float64_would_bring_to_a_tie(k, small):
    """``k * 2**40`` units, a half or three of what FP32 tells apart there, and one more or less."""
    # Beside a row and a vector of zeros, whose norms say nothing about the others.
    w, x = np.zeros((7, k), np.uint8), np.zeros((2, k), np.uint8)
    ws, xs = blocks_of(7, k // 16, code=0x78), blocks_of(2, k // 16, code=0x78)
    # 4 * 4 * 2**16 are 2**40 units; some 6 * 4 make up for two blocks that hold other things.
    x[0], w[:6], w[:6, :64], w[:6, -32:] = 0x6, 0x6, 0x7, 0
    w[:3, -32], w[3:6, -32:-29], xs["block"][0, -2] = 0x6, 0x6, small
    w[:6, -1], x[0, -1] = [0, 0x1, 0x9] * 2, 0x1
    ws["block"][:, -1], xs["block"][0, -1] = 0x01, 0x01
    total, last = k * 2 ** 40, k * 2 ** 17
    units = [total + half * last // 2 + one for half in (1, 3) for one in (0, 1, -1)]
    rounded = [total + count * last for count in (0, 1, 0, 2, 2, 1)]
    assert [round_to_fp32(Fraction(count)) for count in units] == [
        round_to_fp32(Fraction(value)) for value in rounded]
    assert len({float(count) for count in units}) == 2
    result = gemv_fp32(w, ws, x, xs, LONG_NVFP4)
    assert result.view(np.float32)[:6, 0].tolist() == [value * 2.0 ** -20 for value in rounded]
    assert np.array_equal(result, composed(w, ws, x, xs, LONG_NVFP4))
    assert int(result[1, 0]) == oracle_result(LONG_NVFP4, w[1], ws[1], x[0], xs[0])


def test_each_part_of_the_rows_has_its_own_norm():
    # Sixteen rows are worked on together: few of them are large, and only in some parts.
    rng = np.random.default_rng(43)
    w, ws, x, xs = operands(rng, LONG_NVFP4, 40, 5, 16384, "finite")
    ws["block"][20:24], w[20:24], xs["block"][:], x[:] = 0x7E, 0x7, 0x7E, 0x7
    xs["block"][1, 700], ws["block"][[3, 21], 5] = 0x7F, 0xFF
    w[21, 80:96] = 0
    result = gemv_fp32(w, ws, x, xs, LONG_NVFP4)
    assert np.array_equal(result, composed(w, ws, x, xs, LONG_NVFP4))
    nan = result == 0x7FC00000
    assert nan[:, 1].all() and nan[[3, 21]].all() and np.count_nonzero(nan) == 40 + 2 * 4


@pytest.mark.parametrize("w, x, scale, result", [
    # The combined scale of the tensors is rounded, or overflows, before it multiplies the sum.
    (1e-30, 1e-30, 0x78, 0x00000000), (1e30, 1e30, 0x00, 0x7FC00000),
    (1e30, 1e30, 0x38, 0x7F800000), (2.0 ** 90, 2.0 ** -90, 0x38, 0x43800000),
    (np.nan, 1.0, 0x38, 0x7FC00000),
    # A zero is added to +0, whatever its sign.
    (-1.0, 1.0, 0x00, 0x00000000), (-1e-30, 1e-20, 0x38, 0x00000000),
    (-2.0, 1.0, 0x38, 0xC4000000),
])
def test_the_scales_of_tensors_multiply_each_other_first(w, x, scale, result):
    codes, scales = np.full((1, 16), 0x6, np.uint8), np.full((1, 1), scale, np.uint8)
    arrays = (codes, block_scales(scales, np.float32(w)), codes, block_scales(
        np.full((1, 1), 0x38, np.uint8), np.float32(x)))
    assert gemv_fp32(*arrays, NVFP4).tolist() == composed(*arrays, NVFP4).tolist() == [[result]]


def test_a_row_may_be_longer_than_the_tile_takes():
    rng = np.random.default_rng(44)
    k = 3 * NVFP4.span + 37
    arrays = operands(rng, NVFP4, 5, 2, k, "finite")
    assert np.array_equal(gemv_fp32(*arrays, NVFP4), composed(*arrays, longer(NVFP4, k)))


_BLOCK_SCALE = re.escape(str(BLOCK_SCALE))


@pytest.mark.parametrize("index, scales, error, message", [
    (1, np.ones((2, 3), np.float32), TypeError,
     f"gemv: weight_scales must be an array of {_BLOCK_SCALE}, not of float32"),
    (3, [[1, 2, 3]], TypeError,
     f"gemv: activation_scales must be an array of {_BLOCK_SCALE}, not list"),
    (3, blocks_of(1, 4, code=0), ValueError,
     r"gemv: activation_scales must have the shape \[1, 3\] \(one per 16 activations\), "
     r"not \[1, 4\]"),
    (1, np.array([[(0, 1), (1, 1), (2, 1)], [(0, 1), (0, 1), (0, 2)]], BLOCK_SCALE), ValueError,
     "tensor_scales: all scales of a row must have the same scale of the tensor"),
])
def test_rejects_wrong_scales_of_blocks(index, scales, error, message):
    arrays = list(operands(np.random.default_rng(45), NVFP4, 2, 1, 48, "finite"))
    arrays[index] = scales
    with pytest.raises(error, match=f"^{message}$"):
        gemv(*arrays, NVFP4)


def test_rejects_a_row_that_is_too_long_to_be_one_sum():
    k = (1 << 20) + 16
    codes, scales = np.zeros((1, k), np.uint8), blocks_of(1, k // 16, code=0)
    with pytest.raises(ValueError, match="^gemv: a row whose blocks are scaled within its sum may "
                                         f"have {1 << 20} elements, not {k}$"):
        gemv(codes, scales, codes, scales, NVFP4)
    # One that is not, and fills all but one of the 64 bits.
    codes, scales = codes[:, 16:] + np.uint8(7), blocks_of(1, 1 << 16, code=0x7E)
    assert gemv(codes, scales, codes, scales, NVFP4).view(np.float32)[0, 0] == 2 ** 20 * 2688.0 ** 2
