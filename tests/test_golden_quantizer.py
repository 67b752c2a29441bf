import ml_dtypes
import numpy as np
import pytest

from golden.quantizer import quantize, quantize_blocks
from golden.scales import BLOCK_SCALE
from spec.description import Scaling
from spec.formats import E2M1, E2M3, E3M2, E4M3, E5M2, FORMATS, FP32, WEIGHT_FORMATS
from tb.oracle import group_quantized, nvfp4_quantized, value_of
from tests.golden_cases import FP32_EDGES, random_fp32

RULES = [("e8m0", "e8m0-ceil"), ("e8m0", "e8m0-floor"), ("fp32", "fp32-div")]
SCALINGS = [Scaling(format=fmt, rule=rule, group=8, weight_rows=4, amax_floor=floor)
            for fmt, rule in RULES for floor in (1e-4, 0.0)]
EVERY_SCALING = pytest.mark.parametrize(
    "scaling", SCALINGS, ids=lambda s: f"{s.rule}-{s.amax_floor}")
INT8, INT4, MXINT8 = (FORMATS[name] for name in ("int8", "int4", "mxint8"))
LARGEST = {E4M3: 448.0, E5M2: 57344.0, E3M2: 28.0, E2M3: 7.5, E2M1: 6.0, INT8: 127.0, INT4: 7.0,
           MXINT8: 127 / 64}
CASTS = {E4M3: ml_dtypes.float8_e4m3fn, E5M2: ml_dtypes.float8_e5m2,
         E3M2: ml_dtypes.float6_e3m2fn, E2M3: ml_dtypes.float6_e2m3fn,
         E2M1: ml_dtypes.float4_e2m1fn}
NVFP4 = Scaling(format="e4m3", rule="e4m3-nvfp4", group=16, weight_rows=16, amax_floor=0.0)
EVERY_FORMAT = pytest.mark.parametrize("fmt", LARGEST, ids=lambda fmt: fmt.name)


def codes_of(scales):
    return scales.view(np.uint32) if scales.dtype == np.float32 else scales


def nearest_codes(quotients, fmt):
    """The codes of float32 within the format's range, by ml_dtypes or numpy."""
    if fmt in CASTS:
        return quotients.astype(CASTS[fmt]).view(np.uint8)
    whole = np.rint(quotients * 2.0 ** fmt.fraction_bits).astype(np.int8)
    return whole.view(np.uint8) & np.uint8((1 << fmt.bits) - 1)


def agrees(bits, fmt, scaling):
    """Groups [n, 8] of FP32 codes, against the oracle."""
    codes, scales = quantize(bits.view(np.float32), fmt, scaling)
    for line, code_line, scale in zip(bits, codes, codes_of(scales)[:, 0], strict=True):
        expected_codes, expected_scale = group_quantized(line.tolist(), fmt, scaling)
        assert int(scale) == expected_scale, line
        assert code_line.tolist() == expected_codes, (line, scale)


def groups_with_amax(rng, amax):
    """A group per amax (FP32 codes), its other values smaller and often ties."""
    exponent = (amax >> 23).astype(np.int64)[:, None] - rng.integers(0, 22, (amax.size, 8))
    bits = (np.maximum(exponent, 0).astype(np.uint32) << 23) | (
        random_fp32(rng, amax.size, 8) & 0x00780000)
    bits = np.minimum(bits, amax[:, None])
    bits[:, 3] = amax
    return bits | (random_fp32(rng, amax.size, 8) & 0x80000000)


@EVERY_FORMAT
@EVERY_SCALING
def test_every_exponent_and_threshold_matches_the_oracle(fmt, scaling):
    rng = np.random.default_rng(19)
    # Around the largest value's: 0x600000 for 448 and 28 (1.75), 0x700000 for 7.5 (1.875), 0x400000
    # for 6, 0x7E0000 for 127.
    own = int(np.float32(LARGEST[fmt]).view(np.uint32)) & 0x7FFFFF
    mantissas = np.array([0, 1, own - 1, own, own + 1, own + 0x10000, 0x7FFFFF], np.uint32)
    amax = ((np.arange(0, 255, dtype=np.uint32) << 23)[:, None] | mantissas).ravel()
    agrees(groups_with_amax(rng, amax), fmt, scaling)


@EVERY_FORMAT
@EVERY_SCALING
def test_random_bits_match_the_oracle(fmt, scaling):
    rng = np.random.default_rng(20)
    agrees(random_fp32(rng, 200, 8), fmt, scaling)
    agrees(rng.choice(FP32_EDGES, (200, 8)), fmt, scaling)
    agrees(rng.normal(0, 1e-3, (200, 8)).astype(np.float32).view(np.uint32), fmt, scaling)


@EVERY_FORMAT
@EVERY_SCALING
def test_extreme_groups_match_the_oracle(fmt, scaling):
    floor = int(np.float32(1e-4).view(np.uint32))
    singles = [0, 1, 0x007FFFFF, floor - 1, floor, floor + 1, 0x7F7F0000, 0x7F7FFFFF, 0x7F800000,
               0x7FC00000, 0x7F800001] + [
        int(np.float32(top * 2.0 ** k).view(np.uint32)) for k in (-20, -3, 0, 5) for top in (
            448, 450, 57344, 61440, 28, 30, 7.5, 7.75, 6, 7, 127, 128)]
    groups = np.zeros((2 * len(singles), 8), np.uint32)
    groups[:, 7] = np.array(singles + [code | 0x80000000 for code in singles], np.uint32)
    groups[1::2, :7] = 0x80000000
    agrees(groups, fmt, scaling)


@pytest.mark.parametrize("fmt, emax, threshold", [(E3M2, 4, 1.75), (E2M3, 2, 1.875)],
                         ids=["e3m2", "e2m3"])
def test_fp6_scales_by_hand(fmt, emax, threshold):
    above = np.nextafter(np.float32(threshold), np.float32(2))
    values = np.array([[1], [threshold], [above], [1.99]], np.float32)
    for rule, exponents in (("e8m0-ceil", [-emax, -emax, 1 - emax, 1 - emax]),
                            ("e8m0-floor", [-emax] * 4)):
        codes, scales = quantize(values, fmt, Scaling(rule=rule))
        assert (scales[:, 0].astype(int) - 127).tolist() == exponents
        # By the floor rule, what is above the largest value saturates.
        assert codes[1, 0] == fmt.largest_code
        assert (codes[2:, 0] == fmt.largest_code).all() == (rule == "e8m0-floor")


def test_fp32_div_equals_the_public_formula():
    rng = np.random.default_rng(21)
    values = (rng.normal(size=(500, 256)) * 10.0 ** rng.integers(-6, 6, (500, 1))).astype(
        np.float32)
    codes, scales = quantize(values, E4M3, Scaling(format="fp32", rule="fp32-div"))
    blocks = values.reshape(500, 2, 128)
    amax = np.maximum(np.abs(blocks).max(axis=2), np.float32(1e-4))
    expected = amax / np.float32(448.0)
    assert np.array_equal(scales, expected)
    # The cast of the public kernel, from tests of the encoder against ml_dtypes.
    cast = (blocks / expected[:, :, None]).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    assert np.array_equal(codes.reshape(blocks.shape), cast)


@EVERY_FORMAT
@pytest.mark.parametrize("floor", [1e-4, 0.0])
def test_fp32_div_equals_numpy_on_every_bf16_value_under_an_amax_of_every_exponent(fmt, floor):
    """All 65536 codes, those above the amax as the amax, in groups of 128 that hold it."""
    largest = np.float32(LARGEST[fmt])
    scaling = Scaling(format="fp32", rule="fp32-div", amax_floor=floor)
    mantissas = np.random.default_rng(24).integers(0, 128, 255)
    values = np.zeros(517 * 127, np.uint32)
    values[:65536] = np.arange(65536, dtype=np.uint32) << 16
    values = values.reshape(517, 127)
    for exponent, mantissa in enumerate(mantissas.tolist()):
        amax = np.uint32(exponent << 23 | mantissa << 16)
        magnitude = np.minimum(values & 0x7FFFFFFF, amax)
        rows = np.concatenate([np.full((517, 1), amax), magnitude | values & 0x80000000], axis=1)
        codes, scales = quantize((rows >> 16).astype(np.uint16), fmt, scaling)
        # A scale is never 0; below 2**-149 times the largest value, a quotient may saturate.
        scale = np.maximum(np.maximum(amax.view(np.float32), np.float32(floor)) / largest,
                           np.float32(2.0 ** -149))
        assert np.array_equal(scales, np.full((517, 1), scale)), hex(amax)
        quotients = np.clip(rows.view(np.float32) / scale, -largest, largest)
        assert np.array_equal(codes, nearest_codes(quotients, fmt)), hex(amax)


@EVERY_FORMAT
@pytest.mark.parametrize("floor", [1e-4, 0.0])
def test_e8m0_scales_on_every_bf16_amax(fmt, floor):
    """By what the rules mean, in exact float64; the codes clamp at both ends."""
    amax = np.arange(0x7F80, dtype=np.uint16)
    floored = np.maximum((amax.astype(np.uint32) << 16).view(np.float32), np.float32(floor))
    exact = floored.astype(np.float64)
    largest = LARGEST[fmt]
    _, codes = quantize(amax[:, None], fmt, Scaling(rule="e8m0-ceil", amax_floor=floor))
    exponents = codes[:, 0].astype(int) - 127
    # Above 127/64 * 2**127 MXINT8 saturates; the others' largest values are further up.
    assert (np.ldexp(exact, -exponents) <= largest)[exponents < 127].all()
    assert fmt is MXINT8 or exponents.max() < 127
    assert (np.ldexp(exact, 1 - exponents) > largest)[exponents > -127].all()
    _, codes = quantize(amax[:, None], fmt, Scaling(rule="e8m0-floor", amax_floor=floor))
    exponents = codes[:, 0].astype(int) - 127
    octave = np.ldexp(exact, -exponents) / 2.0 ** np.floor(np.log2(largest))
    assert ((octave >= 1) & (octave < 2) | (exponents == -127) & (octave < 1)).all()


@EVERY_FORMAT
@EVERY_SCALING
def test_every_tie_and_its_neighbours_match_the_oracle(fmt, scaling):
    """Codes and the middles between two, times the scale of the group's largest value."""
    values = np.array([float(value_of(code, fmt)) for code in range(fmt.largest_code + 1)])
    places = np.concatenate([values, (values[1:] + values[:-1]) / 2])
    for top in (416.0 * 2.0 ** -12, LARGEST[fmt] * 2.0 ** 7, 3.0e-40):
        amax = np.array([top], np.float32)
        _, scale = quantize(amax, fmt, scaling)
        unit = float(scale[0]) if scale.dtype == np.float32 else 2.0 ** (int(scale[0]) - 127)
        bits = (places * unit).astype(np.float32).view(np.uint32)
        bits = np.concatenate([bits, bits + np.uint32(1), np.maximum(bits, 1) - np.uint32(1)])
        bits = np.unique(np.minimum(bits, amax.view(np.uint32)))[:, None]
        groups = np.concatenate([np.repeat(amax.view(np.uint32)[:, None], bits.size, axis=0),
                                 bits], axis=1)
        agrees(groups, fmt, scaling)


@EVERY_FORMAT
@EVERY_SCALING
def test_groups_of_subnormals_match_the_oracle(fmt, scaling):
    rng = np.random.default_rng(25)
    for top in (1, 2, 200, 449, 700, 1 << 16, 1 << 22, 1 << 23):
        agrees(rng.integers(0, top + 1, (30, 8), dtype=np.uint32)
               | (random_fp32(rng, 30, 8) & 0x80000000), fmt, scaling)


def test_the_default_floor_bounds_the_exponent():
    scaling = Scaling(group=8)
    _, scales = quantize(np.zeros((1, 8), np.float32), E4M3, scaling)
    assert scales.tolist() == [[127 - 22]]
    _, scales = quantize(np.zeros((1, 8), np.float32), E4M3,
                         scaling.model_copy(update={"amax_floor": 0.0}))
    assert scales.tolist() == [[0]]


@EVERY_SCALING
@pytest.mark.parametrize("fmt, negative_zero", [
    (E4M3, 0x80), (E3M2, 0x20), (E2M3, 0x20), (E2M1, 0x8), (INT8, 0x00), (INT4, 0x0),
    (MXINT8, 0x00)])
def test_zeros_keep_their_sign_where_there_are_two(fmt, negative_zero, scaling):
    values = np.array([[0.0, -0.0] * 4], np.float32)
    codes, scales = quantize(values, fmt, scaling)
    assert codes.tolist() == [[0x00, negative_zero] * 4]
    assert np.isfinite(scales).all() and (codes_of(scales) > 0).all() | (scales.dtype == np.uint8)


@EVERY_SCALING
def test_bf16_codes_are_taken_as_their_values(scaling):
    codes = np.random.default_rng(22).integers(0, 65536, (300, 24), dtype=np.uint16)
    floats = (codes.astype(np.uint32) << 16).view(np.float32)
    from_codes, from_floats = quantize(codes, E4M3, scaling), quantize(floats, E4M3, scaling)
    assert np.array_equal(from_codes[0], from_floats[0])
    assert np.array_equal(codes_of(from_codes[1]), codes_of(from_floats[1]))


@EVERY_SCALING
@pytest.mark.parametrize("rows, k", [(1, 1), (4, 8), (9, 29), (3, 7), (50, 2048 * 8 + 3)])
def test_blocks_and_tails_are_groups_of_their_own(scaling, rows, k):
    values = np.random.default_rng(23).normal(size=(rows, k)).astype(np.float32)
    for function, height in ((quantize, 1), (quantize_blocks, scaling.weight_rows)):
        codes, scales = function(values, E5M2, scaling)
        assert codes.shape == values.shape and codes.dtype == np.uint8
        assert scales.shape == (-(-rows // height), -(-k // scaling.group))
        for line in range(scales.shape[0]):
            for group in {0, scales.shape[1] // 2, scales.shape[1] - 1}:
                part = np.s_[line * height:(line + 1) * height,
                             group * scaling.group:(group + 1) * scaling.group]
                expected_codes, expected_scale = group_quantized(
                    values[part].ravel().view(np.uint32).tolist(), E5M2, scaling)
                assert int(codes_of(scales)[line, group]) == expected_scale
                assert codes[part].ravel().tolist() == expected_codes


def nvfp4_agrees(bits, rows, amax_floor=0.0):
    """One tensor [M, K] of FP32 codes in blocks of ``rows`` rows, and each of its rows as a tensor
    of its own, against the oracle."""
    scaling = NVFP4.model_copy(update={"weight_rows": rows, "amax_floor": amax_floor})
    values = bits.view(np.float32)
    results = [(*quantize_blocks(values, E2M1, scaling), bits, rows)]
    codes, scales = quantize(values, E2M1, scaling)
    results += [(codes[line:line + 1], scales[line:line + 1], bits[line:line + 1], 1)
                for line in range(bits.shape[0])]
    for codes, scales, tensor, height in results:
        expected, blocks, tensor_scale = nvfp4_quantized(tensor.tolist(), height, scaling)
        assert codes.dtype == np.uint8 and scales.dtype == BLOCK_SCALE
        assert np.unique(scales["tensor"]).view(np.uint32).tolist() == [tensor_scale]
        assert scales["block"].tolist() == blocks
        assert codes.tolist() == expected


EVERY_HEIGHT = pytest.mark.parametrize("rows", [1, 2, 16])


@EVERY_HEIGHT
@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (16, 32), (17, 41), (33, 15), (5, 100)])
@pytest.mark.parametrize("amax_floor", [0.0, 1e-4, 1.0])
def test_nvfp4_matches_the_oracle(rows, shape, amax_floor):
    rng = np.random.default_rng(26)
    for values in (rng.normal(size=shape), rng.standard_t(2, shape),
                   rng.normal(size=shape) * 10.0 ** rng.integers(-9, 3, shape)):
        nvfp4_agrees(values.astype(np.float32).view(np.uint32), rows, amax_floor)


@EVERY_HEIGHT
def test_nvfp4_outliers_and_small_blocks_match_the_oracle(rows):
    """One large value: the other blocks have the smallest scales there are, or saturate down."""
    rng = np.random.default_rng(27)
    for power in (4, 10, 17, 18, 19, 20, 30, 100):
        values = rng.normal(size=(18, 50)).astype(np.float32)
        values[2, 20] = np.float32(2.0 ** power)
        nvfp4_agrees(values.view(np.uint32), rows)
    codes, scales = quantize_blocks(values, E2M1, NVFP4)
    assert scales["block"].ravel().tolist().count(1) == scales.size - 1
    assert np.count_nonzero(codes & 7) == 1


@EVERY_HEIGHT
def test_nvfp4_random_bits_and_edges_match_the_oracle(rows):
    """Most blocks hold a NaN or an infinity; some tensors have no other blocks."""
    rng = np.random.default_rng(28)
    for shape in ((4, 40), (17, 33), (1, 500)):
        nvfp4_agrees(random_fp32(rng, *shape), rows)
        nvfp4_agrees(rng.choice(FP32_EDGES, shape), rows, 1e-4)
        some = rng.normal(size=shape).astype(np.float32)
        some[rng.random(shape) < 0.01] = np.inf
        some[rng.random(shape) < 0.01] = -np.nan
        nvfp4_agrees(some.view(np.uint32), rows)


@EVERY_HEIGHT
@pytest.mark.parametrize("top", [1, 2, 3, 4, 1343, 1344, 1345, 2688, 4031, 4033, 20000, 1 << 22,
                                 1 << 23, 1 << 25])
def test_nvfp4_subnormals_match_the_oracle(rows, top):
    """Up to where the scale of the tensor, and its product with that of a block, are normal."""
    rng = np.random.default_rng(29)
    bits = rng.integers(0, top + 1, (18, 41), dtype=np.uint32)
    bits[:, 16:32] >>= rng.integers(0, 12, (18, 1), dtype=np.uint32)
    nvfp4_agrees(bits | random_fp32(rng, 18, 41) & 0x80000000, rows)


def test_nvfp4_every_exponent_of_a_tensor_and_of_a_block_matches_the_oracle():
    rng = np.random.default_rng(30)
    # Around 448 * 6 = 2688 and its halves of ties: 0x280000 is the significand of 2688.
    mantissas = np.array([0, 1, 0x27FFFF, 0x280000, 0x280001, 0x400000, 0x7FFFFF], np.uint32)
    amax = ((np.arange(0, 255, dtype=np.uint32) << 23)[:, None] | mantissas).ravel()
    drop = rng.integers(0, 20 << 23, (amax.size, 3), dtype=np.uint32)
    tops = np.concatenate([amax[:, None], np.maximum(amax[:, None], drop) - drop], axis=1)
    bits = np.stack([groups_with_amax(rng, column) for column in tops.T], axis=1)
    scaling = NVFP4.model_copy(update={"group": 8})
    codes, scales = quantize(bits.reshape(amax.size, 32).view(np.float32), E2M1, scaling)
    for line, code_line, scale_line in zip(bits.reshape(amax.size, 32), codes, scales, strict=True):
        expected, blocks, tensor = nvfp4_quantized([line.tolist()], 1, scaling)
        assert scale_line["block"].tolist() == blocks[0]
        assert set(scale_line["tensor"].view(np.uint32).tolist()) == {tensor}
        assert code_line.tolist() == expected[0]


def test_nvfp4_ties_of_scales_and_codes_match_the_oracle():
    """The largest value 2688 makes the scale of the tensor 1; the blocks' are all E4M3 codes,
    the middles between them, and their neighbours."""
    scales = np.array([float(value_of(code, E4M3)) for code in range(0x7F)])
    places = np.concatenate([scales, (scales[1:] + scales[:-1]) / 2]).astype(np.float32)
    bits = (places * np.float32(6)).view(np.uint32)
    tops = np.concatenate([bits, bits + np.uint32(1), np.maximum(bits, 1) - np.uint32(1)])
    values = np.array([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5], np.float32)
    tensor = np.zeros((tops.size + 1, 16), np.float32)
    tensor[0, 0] = 2688
    tensor[1:, 0] = tops.view(np.float32)
    tensor[1:, 1:15] = values / np.float32(6) * tops.view(np.float32)[:, None]
    nvfp4_agrees(tensor.view(np.uint32).reshape(1, -1), 1)


@pytest.mark.parametrize("amax_floor, scale", [(0.0, 2.0 ** -149),
                                               (1e-4, np.float32(1e-4) / np.float32(2688))])
def test_nvfp4_of_zeros_and_of_no_finite_block(amax_floor, scale):
    scaling = NVFP4.model_copy(update={"amax_floor": amax_floor})
    zeros = np.array([[0.0, -0.0] * 20] * 17, np.float32)
    for function, lines in ((quantize, 17), (quantize_blocks, 2)):
        codes, scales = function(zeros, E2M1, scaling)
        assert codes.tolist() == [[0, 8] * 20] * 17
        assert (scales["block"] == 1).all() and (scales["tensor"] == np.float32(scale)).all()
        assert scales.shape == (lines, 3)
        for special in (np.nan, np.inf, -np.inf):
            codes, scales = function(np.full((17, 40), special, np.float32), E2M1, scaling)
            assert not codes.any() and (scales["block"] == 0x7F).all()
            assert (scales["tensor"] == np.float32(scale)).all()


def test_nvfp4_a_vector_is_a_tensor_of_its_own_and_weights_are_one():
    rng = np.random.default_rng(31)
    values = (rng.normal(size=(2, 3, 40)) * 10.0 ** np.arange(3)[:, None]).astype(np.float32)
    codes, scales = quantize(values, E2M1, NVFP4)
    assert codes.shape == (2, 3, 40) and scales.shape == (2, 3, 3)
    amax = np.abs(values).max(axis=2, keepdims=True)
    assert np.array_equal(scales["tensor"], np.repeat(amax / np.float32(2688), 3, axis=2))
    for place in np.ndindex(2, 3):
        alone_codes, alone_scales = quantize(values[place], E2M1, NVFP4)
        assert np.array_equal(alone_codes, codes[place])
        assert np.array_equal(alone_scales, scales[place])
    _, scales = quantize_blocks(values[0], E2M1, NVFP4)
    assert (scales["tensor"] == np.abs(values[0]).max() / np.float32(2688)).all()


@EVERY_HEIGHT
@pytest.mark.parametrize("shape", [(50, 2048 * 16 + 3), (3000, 40), (70, 3000)])
def test_nvfp4_parts_of_a_large_tensor_share_one_scale(rows, shape):
    """The largest value is far from the first part: what it makes is what a formula in numpy
    makes of the whole."""
    rng = np.random.default_rng(32)
    values = rng.normal(size=shape).astype(np.float32)
    values[-1, -1] = 300.0
    scaling = NVFP4.model_copy(update={"weight_rows": rows})
    codes, scales = quantize_blocks(values, E2M1, scaling)
    tensor = np.float32(300) / np.float32(2688)
    padded = np.zeros((-(-shape[0] // rows) * rows, -(-shape[1] // 16) * 16), np.float32)
    padded[:shape[0], :shape[1]] = values
    blocks = padded.reshape(padded.shape[0] // rows, rows, -1, 16)
    found = np.abs(blocks).max(axis=(1, 3)) / np.float32(6) / tensor
    found = found.astype(ml_dtypes.float8_e4m3fn)
    assert np.array_equal(scales["block"], found.view(np.uint8))
    assert (scales["tensor"] == tensor).all()
    products = found.astype(np.float32) * tensor
    cast = (blocks / products[:, None, :, None]).astype(ml_dtypes.float4_e2m1fn)
    assert np.array_equal(codes, cast.view(np.uint8).reshape(padded.shape)[:shape[0], :shape[1]])


def test_nvfp4_takes_bf16_codes_as_their_values():
    codes = np.random.default_rng(33).integers(0, 65536, (300, 50), dtype=np.uint16)
    floats = (codes.astype(np.uint32) << 16).view(np.float32)
    from_codes, from_floats = quantize(codes, E2M1, NVFP4), quantize(floats, E2M1, NVFP4)
    assert all(map(np.array_equal, from_codes, from_floats))


def test_leading_axes_are_kept():
    codes, scales = quantize(np.ones((2, 3, 20), np.float32), E4M3, SCALINGS[0])
    assert codes.shape == (2, 3, 20) and scales.shape == (2, 3, 3)
    codes, scales = quantize(np.ones(20, np.float32), E4M3, SCALINGS[0])
    assert codes.shape == (20,) and scales.shape == (3,)


def test_rejects_what_it_cannot_quantize():
    with pytest.raises(TypeError, match="^quantize: values must be an array of float32 or uint16, "
                                        "not of float64$"):
        quantize(np.zeros(4), E4M3, SCALINGS[0])
    with pytest.raises(ValueError, match=r"^quantize: values must have at least one element and "
                                         r"one dimension, not the shape \[4, 0\]$"):
        quantize(np.zeros((4, 0), np.float32), E4M3, SCALINGS[0])
    with pytest.raises(ValueError, match="^quantize: fmt must have 16 bits at most, not be fp32$"):
        quantize(np.zeros(4, np.float32), FP32, SCALINGS[0])
    for fmt in (E4M3, FORMATS["bf16"]):
        with pytest.raises(ValueError, match="^quantize: fmt must be e2m1 with the rule "
                                             f"e4m3-nvfp4, not {fmt.name}$"):
            quantize(np.zeros(4, np.float32), fmt, NVFP4)
    for name in ("uint4", "uint8"):
        fmt = WEIGHT_FORMATS[name]
        with pytest.raises(ValueError, match="^quantize: fmt must have no zero points, which only "
                                             rf"weights have \(quantize_blocks\), not be {name}$"):
            quantize(np.zeros(4, np.float32), fmt, SCALINGS[0])
        with pytest.raises(ValueError, match="^quantize: fmt must be e2m1 with the rule "
                                             f"e4m3-nvfp4, not {name}$"):
            quantize_blocks(np.zeros((4, 4), np.float32), fmt, NVFP4)
    with pytest.raises(ValueError, match=r"^quantize_blocks: values must have the shape \[M, K\], "
                                         r"not \[4\]$"):
        quantize_blocks(np.zeros(4, np.float32), E4M3, SCALINGS[0])
