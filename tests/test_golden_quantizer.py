import ml_dtypes
import numpy as np
import pytest

from golden.quantizer import quantize, quantize_blocks
from spec.description import Scaling
from spec.formats import E2M1, E4M3, E5M2, FORMATS, FP32
from tb.oracle import group_quantized, value_of
from tests.golden_cases import FP32_EDGES, random_fp32

RULES = [("e8m0", "e8m0-ceil"), ("e8m0", "e8m0-floor"), ("fp32", "fp32-div")]
SCALINGS = [Scaling(format=fmt, rule=rule, group=8, weight_rows=4, amax_floor=floor)
            for fmt, rule in RULES for floor in (1e-4, 0.0)]
EVERY_SCALING = pytest.mark.parametrize(
    "scaling", SCALINGS, ids=lambda s: f"{s.rule}-{s.amax_floor}")
INT8, INT4, MXINT8 = (FORMATS[name] for name in ("int8", "int4", "mxint8"))
LARGEST = {E4M3: 448.0, E5M2: 57344.0, E2M1: 6.0, INT8: 127.0, INT4: 7.0, MXINT8: 127 / 64}
CASTS = {E4M3: ml_dtypes.float8_e4m3fn, E5M2: ml_dtypes.float8_e5m2,
         E2M1: ml_dtypes.float4_e2m1fn}
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
    # Around the largest value's: 0x600000 for 448, 0x400000 for 6, 0x7E0000 for 127.
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
            448, 450, 57344, 61440, 6, 7, 127, 128)]
    groups = np.zeros((2 * len(singles), 8), np.uint32)
    groups[:, 7] = np.array(singles + [code | 0x80000000 for code in singles], np.uint32)
    groups[1::2, :7] = 0x80000000
    agrees(groups, fmt, scaling)


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
    (E4M3, 0x80), (E2M1, 0x8), (INT8, 0x00), (INT4, 0x0), (MXINT8, 0x00)])
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
    with pytest.raises(ValueError, match=r"^quantize_blocks: values must have the shape \[M, K\], "
                                         r"not \[4\]$"):
        quantize_blocks(np.zeros(4, np.float32), E4M3, SCALINGS[0])
