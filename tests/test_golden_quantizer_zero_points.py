"""Weights with zero points, as the quantizer makes them."""

import numpy as np
import pytest

from golden.quantizer import quantize_blocks
from golden.scales import zero_point_dtype
from spec.description import Scaling
from spec.formats import SCALE_FORMATS, WEIGHT_FORMATS
from tb.oracle import zero_point_quantized
from tests.golden_cases import FP32_EDGES, random_fp32
from tests.test_golden_quantizer import EVERY_SCALING, codes_of, groups_with_amax

UINT4, UINT8 = WEIGHT_FORMATS["uint4"], WEIGHT_FORMATS["uint8"]
EVERY_ZERO_POINT = pytest.mark.parametrize("fmt", [UINT4, UINT8], ids=lambda fmt: fmt.name)


def zero_points_agree(bits, fmt, scaling, rows=1):
    """Blocks of ``rows`` rows of weights [M, K] of FP32 codes, against the oracle."""
    scaling = scaling.model_copy(update={"weight_rows": rows})
    codes, scales = quantize_blocks(bits.view(np.float32), fmt, scaling)
    assert codes.dtype == np.uint8 and codes.shape == bits.shape
    assert scales.dtype == zero_point_dtype(SCALE_FORMATS[scaling.format])
    assert scales.shape == (-(-bits.shape[0] // rows), -(-bits.shape[1] // scaling.group))
    found = codes_of(np.ascontiguousarray(scales["scale"]))
    for (line, group), scale in np.ndenumerate(found):
        block = np.s_[line * rows:(line + 1) * rows,
                      group * scaling.group:(group + 1) * scaling.group]
        expected, expected_scale, zero = zero_point_quantized(bits[block].ravel().tolist(), fmt,
                                                              scaling)
        assert int(scale) == expected_scale, bits[block]
        assert int(scales["zero"][line, group]) == zero, bits[block]
        assert codes[block].ravel().tolist() == expected, bits[block]


def dequantized(codes, scales, scaling):
    """Values [M, K] in float64, exact."""
    factors = scales["scale"].astype(np.float64)
    if scaling.format == "e8m0":
        factors = np.ldexp(1.0, scales["scale"].astype(int) - 127)
    spread = [np.repeat(np.repeat(part, scaling.weight_rows, axis=0), scaling.group, axis=1)
              [:codes.shape[0], :codes.shape[1]] for part in (factors, scales["zero"].astype(int))]
    return (codes.astype(int) - spread[1]) * spread[0]


@EVERY_ZERO_POINT
@EVERY_SCALING
@pytest.mark.parametrize("rows, shape", [(1, (6, 24)), (4, (9, 29)), (16, (17, 8)), (1, (1, 1)),
                                         (4, (3, 7))])
def test_zero_points_match_the_oracle(fmt, scaling, rows, shape):
    rng = np.random.default_rng(34)
    normal, tailed = rng.normal(size=shape), rng.standard_t(2, shape)
    for values in (normal, tailed, np.abs(normal), -np.abs(tailed), normal + 3, tailed - 100,
                   normal * 10.0 ** rng.integers(-9, 30, shape), np.full(shape, 0.3),
                   np.full(shape, -7.0), np.zeros(shape), np.maximum(normal, 0)):
        zero_points_agree(values.astype(np.float32).view(np.uint32), fmt, scaling, rows)


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_zero_points_of_random_bits_and_edges_match_the_oracle(fmt, scaling):
    """NaN, infinities, subnormals, and ranges beyond the largest FP32 among them."""
    rng = np.random.default_rng(35)
    zero_points_agree(random_fp32(rng, 60, 40), fmt, scaling)
    zero_points_agree(rng.choice(FP32_EDGES, (60, 40)), fmt, scaling, 2)
    # Pairs of edges are the whole of a group.
    pairs = np.stack(np.meshgrid(FP32_EDGES, FP32_EDGES), axis=-1).reshape(-1, 2)
    groups = np.repeat(pairs[:, :1], 8, axis=1)
    groups[:, 5] = pairs[:, 1]
    zero_points_agree(groups, fmt, scaling)


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_zero_points_of_every_exponent_and_threshold_match_the_oracle(fmt, scaling):
    """The lowest value alone or the highest alone makes the range, or both do."""
    rng = np.random.default_rng(36)
    own = int(np.float32(fmt.largest_code).view(np.uint32)) & 0x7FFFFF
    mantissas = np.array([0, 1, own - 1, own, own + 1, 0x7FFFFF], np.uint32)
    tops = ((np.arange(0, 255, dtype=np.uint32) << 23)[:, None] | mantissas).ravel()
    groups = groups_with_amax(rng, tops)
    magnitudes = groups & 0x7FFFFFFF
    for bits in (groups, magnitudes, magnitudes | 0x80000000):
        zero_points_agree(bits, fmt, scaling)


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_zero_points_of_subnormals_match_the_oracle(fmt, scaling):
    rng = np.random.default_rng(37)
    for top in (1, 2, 7, 8, 15, 16, 22, 23, 127, 128, 255, 256, 383, 700, 1 << 16, 1 << 23):
        magnitudes = rng.integers(0, top + 1, (30, 8), dtype=np.uint32)
        for signs in (random_fp32(rng, 30, 8) & 0x80000000, 0x00000000, 0x80000000):
            zero_points_agree(magnitudes | np.uint32(signs), fmt, scaling)


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_every_tie_between_codes_with_zero_points_matches_the_oracle(fmt, scaling):
    """Codes and the middles between two, times the scale, and their neighbours; for zero points
    too, where the lowest value is such a middle."""
    largest = fmt.largest_code
    for unit in (2.0 ** -9, 3.0 * 2.0 ** 20):
        for low in (0, 1, largest // 2, largest - 1, largest):
            places = np.arange(0, 2 * largest + 1) / 2 - low
            bits = (places * unit).astype(np.float32).view(np.uint32)
            bits = np.concatenate([bits, bits + np.uint32(1), np.maximum(bits, 1) - np.uint32(1)])
            ends = (np.array([-low, largest - low]) * unit).astype(np.float32).view(np.uint32)
            # A group for each; the neighbours of both ends make their own range a bit wider.
            groups = np.concatenate([np.repeat(ends[None], bits.size, axis=0), bits[:, None]],
                                    axis=1)
            zero_points_agree(groups, fmt, scaling)
        for low in np.arange(0, 2 * largest + 1) / 2:
            ends = (np.array([[-low, largest - low]]) * unit).astype(np.float32)
            zero_points_agree(ends.view(np.uint32), fmt, scaling)


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_ranges_beyond_the_largest_fp32_match_the_oracle(fmt, scaling):
    rng = np.random.default_rng(38)
    top = 0x7F7FFFFF
    magnitudes = np.concatenate([
        rng.integers(0x7E000000, top + 1, (200, 8), dtype=np.uint32),
        # hi - lo is the largest FP32, the middle above, which rounds up, and its neighbours.
        *(np.array([[top, low] * 4], np.uint32)
          for low in (0x72FFFFFF, 0x73000000, 0x73000001, 0x73800000, 0x7F7FFFFF, 0))])
    zero_points_agree(magnitudes | (np.arange(8, dtype=np.uint32) % 2 << 31), fmt, scaling)
    # It is no more clipped than any other range.
    values = np.array([[-3e38, -1.5e38, 0, 1.5e38, 3e38]], np.float32)
    codes, scales = quantize_blocks(values, fmt, scaling)
    unit = 6e38 / fmt.largest_code
    slack = unit * (1 if scaling.rule == "fp32-div" else 2)
    assert np.isfinite(dequantized(codes, scales, scaling)).all()
    assert np.abs(dequantized(codes, scales, scaling) - values).max() <= slack


@EVERY_ZERO_POINT
def test_fp32_div_with_zero_points_equals_the_formula_in_numpy(fmt):
    rng = np.random.default_rng(39)
    # Parts of several chunks, and tails of both.
    for rows, shape in ((4, (70, 3000)), (128, (300, 333)), (1, (50, 2048 * 8 + 3))):
        scaling = Scaling(format="fp32", rule="fp32-div", group=32, weight_rows=rows,
                          amax_floor=0.25)
        values = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, (1, shape[1]))).astype(
            np.float32)
        values[:, :64] *= np.float32(1e-3)
        codes, scales = quantize_blocks(values, fmt, scaling)
        padded = np.zeros((-(-shape[0] // rows) * rows, -(-shape[1] // 32) * 32), np.float32)
        padded[:shape[0], :shape[1]] = values
        blocks = padded.reshape(-1, rows, padded.shape[1] // 32, 32)
        low, high = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        scale = np.maximum(high - low, np.float32(0.25)) / np.float32(fmt.largest_code)
        assert scale.dtype == np.float32 and np.array_equal(scales["scale"], scale)
        zero = np.rint(-low / scale)
        assert np.array_equal(scales["zero"], zero)
        found = np.rint(blocks / scale[:, None, :, None]) + zero[:, None, :, None]
        found = np.clip(found, 0, fmt.largest_code).reshape(padded.shape)
        assert np.array_equal(codes, found[:shape[0], :shape[1]])


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_zero_is_kept_and_all_else_is_near(fmt, scaling):
    rng = np.random.default_rng(40)
    values = (rng.normal(size=(40, 80)) + rng.uniform(-4, 4, (40, 1))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = 0
    values[3, 7] = -0.0
    codes, scales = quantize_blocks(values, fmt, scaling)
    found = dequantized(codes, scales, scaling)
    assert (found[values == 0] == 0).all()
    # Half a step of the largest scale that there is; twice, where both ends may be rounded away.
    wide = np.maximum(values.max(), 0) - np.minimum(values.min(), 0)
    step = wide / fmt.largest_code * (1 if scaling.rule == "fp32-div" else 2)
    assert np.abs(found - values).max() <= step


def test_zero_points_by_hand():
    scaling = Scaling(format="fp32", rule="fp32-div", group=8, weight_rows=2, amax_floor=0.0)
    values = np.array([[-2.0, -1.75, 0.0, 0.5, 0.75, 1.25, 5.5, 5.0, 3.75, 1.0, 2.25],
                       [-1.0, -1.25, 4.0, 4.25, 0.25, -0.25, 3.0, 0.0, 3.0, 0.0, 0.0]], np.float32)
    codes, scales = quantize_blocks(values, UINT4, scaling)
    # From -2 to 5.5 in steps of 0.5: ties go to even numbers of steps. All positive: from zero.
    assert scales.tolist() == [[(0.5, 4), (0.25, 0)]]
    assert codes.tolist() == [[0, 0, 4, 5, 6, 6, 15, 14, 15, 4, 9],
                              [2, 2, 12, 12, 4, 4, 10, 4, 12, 0, 0]]
    codes, scales = quantize_blocks(-values, UINT4, scaling)
    assert scales.tolist() == [[(0.5, 11), (0.25, 15)]]
    for rule, scale in (("e8m0-ceil", 126), ("e8m0-floor", 126)):
        codes, scales = quantize_blocks(values[:, :8], UINT4, Scaling(
            rule=rule, group=8, weight_rows=2))
        assert scales.tolist() == [[(scale, 4)]]
    # 7.75 is 15.5 halves: ceil takes ones, floor saturates.
    values[0, 6] = 5.75
    for rule, scale, zero, highest in (("e8m0-ceil", 127, 2, 8), ("e8m0-floor", 126, 4, 15)):
        codes, scales = quantize_blocks(values[:, :8], UINT4, Scaling(
            rule=rule, group=8, weight_rows=2))
        assert scales.tolist() == [[(scale, zero)]]
        assert codes.max() == highest


@EVERY_ZERO_POINT
@EVERY_SCALING
def test_groups_of_zeros_or_with_nan_have_the_zero_point_0(fmt, scaling):
    scaling = scaling.model_copy(update={"weight_rows": 2})
    values = np.zeros((2, 40), np.float32)
    values[1, ::3] = -0.0
    values[:, 8:32] = [[-3.0], [5.0]]
    for place, special in ((9, np.nan), (17, np.inf), (25, -np.inf)):
        values[place % 2, place] = special
    values.view(np.uint32)[0, 10] = 0xFFC00001
    codes, scales = quantize_blocks(values, fmt, scaling)
    assert not codes.any() and not scales["zero"].any()
    nan = scales["scale"] == 0xFF if scaling.format == "e8m0" else np.isnan(scales["scale"])
    assert nan.tolist() == [[False, True, True, True, False]]
    if scaling.format == "fp32":
        assert (np.ascontiguousarray(scales["scale"]).view(np.uint32)[nan] == 0x7FC00000).all()
        assert (scales["scale"][~nan] > 0).all()


@EVERY_SCALING
def test_zero_points_of_bf16_codes_are_those_of_their_values(scaling):
    codes = np.random.default_rng(41).integers(0, 65536, (60, 50), dtype=np.uint16)
    floats = (codes.astype(np.uint32) << 16).view(np.float32)
    from_codes, from_floats = (quantize_blocks(each, UINT8, scaling) for each in (codes, floats))
    assert all(one.tobytes() == other.tobytes()
               for one, other in zip(from_codes, from_floats, strict=True))
