import numpy as np
import pytest

from golden.column import column
from golden.encoder import encode
from golden.gemv import gemv, gemv_fp32
from spec.formats import BF16
from tb.oracle import dot, gemv_element, round_to_fp32
from tests.golden_cases import ALL_TILES, finite_codes, random_codes, random_scales

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
    return (w, random_scales(rng, tile, -(-rows // weight_rows), tile.groups(k), special=special),
            x, random_scales(rng, tile, columns, tile.groups(k), special=special))


def neutral(tile, rows):
    """Scales of one group that change nothing."""
    shape = (-(-rows // tile.description.scaling.weight_rows), 1)
    if tile.scale_format.name == "fp32":
        return np.ones(shape, np.float32), np.ones((1, 1), np.float32)
    return np.full(shape, 127, np.uint8), np.full((1, 1), 127, np.uint8)


def composed(w, ws, x, xs, tile):
    """The unit goldens, one behind the other."""
    if tile.scale_format.name == "fp32":
        ws, xs = ws.view(np.uint32), xs.view(np.uint32)
    row = np.arange(w.shape[0]) // tile.description.scaling.weight_rows
    return np.stack([column(w, ws[row], x[index], xs[index], tile.column)
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
    if tile.scale_format.name == "fp32":
        ws, xs = ws.view(np.uint32), xs.view(np.uint32)
    for row in range(rows):
        for index in range(columns):
            expected = gemv_element(
                w[row].tolist(), ws[row // tile.description.scaling.weight_rows].tolist(),
                x[index].tolist(), xs[index].tolist(), tile.weight_format,
                tile.activation_format, tile.scale_format.name, tile.group,
                groups_per_beat=tile.groups_per_beat)
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


@pytest.mark.parametrize("tile", [t for t in ALL_TILES if t.column.dot_array.sum_bits > 53],
                         ids=lambda tile: tile.name)
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
    ws = np.full((-(-6 // tile.description.scaling.weight_rows), tile.groups(k)), scales[0],
                 np.uint8)
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
])
def test_rejects_codes_that_are_too_wide(name, index, code, message):
    arrays = list(operands(np.random.default_rng(15), TILES[name], 3, 2, 40, "finite"))
    arrays[index][-1, -1] = code
    with pytest.raises(ValueError, match=f"^gemv: {message}$"):
        gemv(*arrays, TILES[name])
    arrays[index][-1, -1] = 15
    assert gemv(*arrays, TILES[name]).shape == (3, 2)
