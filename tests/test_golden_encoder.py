import ml_dtypes
import numpy as np
import pytest

from golden.decoder import code_dtype, decode
from golden.encoder import encode
from spec.formats import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FORMATS, FP32
from tb.oracle import round_to_format, value_of
from tests.golden_cases import FP32_EDGES, random_fp32

REFERENCES = [(E4M3, ml_dtypes.float8_e4m3fn), (E5M2, ml_dtypes.float8_e5m2),
              (E3M2, ml_dtypes.float6_e3m2fn), (E2M3, ml_dtypes.float6_e2m3fn),
              (E2M1, ml_dtypes.float4_e2m1fn), (BF16, ml_dtypes.bfloat16)]
# Without NaN and infinity; from these on, a code that is not there would be nearest.
BEYOND = {E2M1: 7, E2M3: 7.75, E3M2: 30}
INT8, INT4, MXINT8 = (FORMATS[name] for name in ("int8", "int4", "mxint8"))
NARROW = [E4M3, E5M2, E3M2, E2M3, E2M1, INT8, INT4, MXINT8]


def name_of(fmt):
    return getattr(fmt, "name", None)


def floats(codes):
    return np.asarray(codes, np.uint32).view(np.float32)


def expected_codes(values, fmt):
    bits = values.view(np.uint32)
    return [round_to_format(value_of(int(code), FP32), fmt, negative_zero=bool(code >> 31),
                            saturate=fmt.bits <= 8) for code in bits]


@pytest.mark.parametrize("fmt", [E4M3, E5M2, E3M2, E2M3, E2M1, BF16], ids=name_of)
def test_every_code_survives_decode_and_encode(fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint32).astype(code_dtype(fmt))
    values = decode(codes, fmt)
    back = encode(values.astype(np.float32), fmt)
    largest = np.where(codes & fmt.sign_mask, fmt.largest_code | fmt.sign_mask, fmt.largest_code)
    expected = np.where(np.isinf(values), largest, codes) if fmt.bits == 8 else codes
    expected = np.where(np.isnan(values), fmt.nan_code, expected)
    assert np.array_equal(back, expected)


@pytest.mark.parametrize("fmt", [INT8, INT4, MXINT8], ids=name_of)
def test_every_integer_survives_but_the_lowest(fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint8)
    # -128 becomes -127, so that no sign is favoured.
    expected = np.where(codes == fmt.sign_mask, fmt.sign_mask + 1, codes)
    back = encode(decode(codes, fmt).astype(np.float32), fmt)
    assert back.dtype == np.uint8
    assert np.array_equal(back, expected)


@pytest.mark.parametrize("fmt", NARROW, ids=name_of)
def test_ties_and_their_neighbours_round_as_the_oracle_says(fmt):
    values = decode(np.arange(fmt.largest_code + 1, dtype=np.uint8), fmt)
    ties = ((values[1:] + values[:-1]) / 2).astype(np.float32).view(np.uint32)
    overflow = np.float32(2 * values[-1] - (values[-1] + values[-2]) / 2).view(np.uint32)
    ties = np.append(ties, overflow)
    cases = np.concatenate([ties - 1, ties, ties + 1])
    cases = floats(np.concatenate([cases, cases | 0x80000000]))
    assert encode(cases, fmt).tolist() == expected_codes(cases, fmt)


@pytest.mark.parametrize("fmt", [*NARROW, BF16], ids=name_of)
def test_edges_round_as_the_oracle_says(fmt):
    values = floats(FP32_EDGES)
    assert encode(values, fmt).tolist() == expected_codes(values, fmt)


@pytest.mark.parametrize("fmt, reference", REFERENCES, ids=name_of)
def test_matches_ml_dtypes_where_it_does_not_overflow(fmt, reference):
    rng = np.random.default_rng(2)
    values = np.concatenate([random_fp32(rng, 300000).view(np.float32),
                             rng.normal(0, 2.0 ** -6, 300000).astype(np.float32),
                             rng.normal(0, 2, 300000).astype(np.float32)])
    with np.errstate(all="ignore"):
        cast = values.astype(reference)
        finite = np.isfinite(cast.astype(np.float32))
    if fmt in BEYOND:
        finite = np.abs(values) < BEYOND[fmt]
    assert finite.mean() > 0.7
    assert np.array_equal(encode(values, fmt)[finite], cast.view(code_dtype(fmt))[finite])


@pytest.mark.parametrize("value, code", [
    (448, 0x7E), (449, 0x7E), (464, 0x7E), (464.00003, 0x7E), (465, 0x7E), (np.inf, 0x7E),
    (-np.inf, 0xFE), (np.nan, 0x7F), (2.0 ** -10, 0x00), (2.0 ** -10 * (1 + 2.0 ** -23), 0x01),
    (3 * 2.0 ** -10, 0x02), (7.5 * 2.0 ** -9, 0x08), (1.9375, 0x40), (1e-40, 0x00), (-0.0, 0x80),
    (-1e-30, 0x80),
])
def test_e4m3_known_cases(value, code):
    assert encode(np.array([value], np.float32), E4M3)[0] == code


@pytest.mark.parametrize("value, code", [
    (57344, 0x7B), (61439.996, 0x7B), (61440, 0x7B), (np.inf, 0x7B), (-np.nan, 0x7E),
    (2.0 ** -17, 0x00), (3 * 2.0 ** -17, 0x02),
])
def test_e5m2_known_cases(value, code):
    assert encode(np.array([value], np.float32), E5M2)[0] == code


@pytest.mark.parametrize("value, code", [
    (6, 0x7), (6.9999995, 0x7), (7, 0x7), (1e30, 0x7), (np.inf, 0x7), (-np.inf, 0xF), (np.nan, 0x0),
    (0.25, 0x0), (0.25000003, 0x1), (0.75, 0x2), (1.25, 0x2), (1.75, 0x4), (2.5, 0x4), (3.5, 0x6),
    (5, 0x6), (5.0000005, 0x7), (-5, 0xE), (-0.2, 0x8), (-0.0, 0x8),
])
def test_e2m1_known_cases(value, code):
    assert encode(np.array([value], np.float32), E2M1)[0] == code


@pytest.mark.parametrize("fmt, value, code", [
    (E2M3, 7.5, 0x1F), (E2M3, 7.75, 0x1F), (E2M3, 8, 0x1F), (E2M3, 1e30, 0x1F),
    (E2M3, np.inf, 0x1F), (E2M3, -np.inf, 0x3F), (E2M3, np.nan, 0x00), (E2M3, 0.125, 0x01),
    (E2M3, 0.0625, 0x00), (E2M3, 0.06250001, 0x01), (E2M3, 0.1875, 0x02), (E2M3, 0.9375, 0x08),
    (E2M3, 1, 0x08), (E2M3, 2.125, 0x10), (E2M3, 2.375, 0x12), (E2M3, 7.25, 0x1E),
    (E2M3, 7.2500005, 0x1F), (E2M3, -7.25, 0x3E), (E2M3, -0.05, 0x20), (E2M3, -0.0, 0x20),
    (E3M2, 28, 0x1F), (E3M2, 30, 0x1F), (E3M2, 32, 0x1F), (E3M2, 1e30, 0x1F),
    (E3M2, np.inf, 0x1F), (E3M2, -np.inf, 0x3F), (E3M2, -np.nan, 0x00), (E3M2, 0.0625, 0x01),
    (E3M2, 0.03125, 0x00), (E3M2, 0.031250004, 0x01), (E3M2, 0.09375, 0x02),
    (E3M2, 0.21875, 0x04), (E3M2, 1, 0x0C), (E3M2, 18, 0x1C), (E3M2, 22, 0x1E), (E3M2, 26, 0x1E),
    (E3M2, 26.000002, 0x1F), (E3M2, -18, 0x3C), (E3M2, -0.03, 0x20), (E3M2, -0.0, 0x20),
], ids=name_of)
def test_fp6_known_cases(fmt, value, code):
    assert encode(np.array([value], np.float32), fmt)[0] == code


@pytest.mark.parametrize("fmt, value, code", [
    (INT8, 0.5, 0x00), (INT8, 0.50000006, 0x01), (INT8, 1.5, 0x02), (INT8, -1.5, 0xFE),
    (INT8, 2.5, 0x02), (INT8, 126.5, 0x7E), (INT8, 127.5, 0x7F), (INT8, 128, 0x7F),
    (INT8, -127.5, 0x81), (INT8, -128, 0x81), (INT8, 1e30, 0x7F), (INT8, np.inf, 0x7F),
    (INT8, -np.inf, 0x81), (INT8, np.nan, 0x00), (INT8, -0.0, 0x00), (INT8, -0.4, 0x00),
    (INT4, 6.5, 0x6), (INT4, 7.5, 0x7), (INT4, -7.5, 0x9), (INT4, -8, 0x9), (INT4, -1, 0xF),
    (INT4, np.inf, 0x7), (INT4, -np.inf, 0x9), (INT4, -np.nan, 0x0),
    (MXINT8, 1, 0x40), (MXINT8, 2.0 ** -6, 0x01), (MXINT8, 2.0 ** -7, 0x00),
    (MXINT8, 3 * 2.0 ** -7, 0x02), (MXINT8, 1.984375, 0x7F), (MXINT8, 2, 0x7F),
    (MXINT8, -2, 0x81), (MXINT8, np.inf, 0x7F), (MXINT8, -np.inf, 0x81), (MXINT8, np.nan, 0x00),
], ids=name_of)
def test_integers_known_cases(fmt, value, code):
    assert encode(np.array([value], np.float32), fmt)[0] == code


def test_bf16_overflows_to_infinity():
    values = floats([0x7F7F7FFF, 0x7F7F8000, 0xFF7FFFFF, 0x7F800000, 0xFF800001])
    assert encode(values, BF16).tolist() == [0x7F7F, 0x7F80, 0xFF80, 0x7F80, 0x7FC0]


def test_fp32_keeps_the_bits_and_makes_nan_canonical():
    assert encode(floats([0x80000001, 0xFFC12345]), FP32).tolist() == [0x80000001, 0x7FC00000]


def test_rejects_float64():
    with pytest.raises(TypeError, match="^encode: values must be an array of float32, "
                                        "not of float64$"):
        encode(np.zeros(1), E4M3)


def test_fp16_matches_numpy():
    rng = np.random.default_rng(29)
    values = np.concatenate([
        random_fp32(rng, 300000).view(np.float32), floats(FP32_EDGES),
        rng.normal(0, 1e-5, 100000).astype(np.float32),
        np.float32([65504, 65519.996, 65520, 65536, 1e30, np.inf, -65520, 2.0 ** -25,
                    3 * 2.0 ** -25])])
    with np.errstate(all="ignore"):
        expected = values.astype(np.float16).view(np.uint16)
    expected = np.where(np.isnan(values), FORMATS["fp16"].nan_code, expected)
    assert np.array_equal(encode(values, FORMATS["fp16"]), expected)
