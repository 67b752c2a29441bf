import ml_dtypes
import numpy as np
import pytest

from golden.decoder import code_dtype, decode
from golden.encoder import encode
from spec.formats import BF16, E4M3, E5M2, FP32
from tb.oracle import round_to_format, value_of
from tests.golden_cases import FP32_EDGES, random_fp32

REFERENCES = [(E4M3, ml_dtypes.float8_e4m3fn), (E5M2, ml_dtypes.float8_e5m2),
              (BF16, ml_dtypes.bfloat16)]


def floats(codes):
    return np.asarray(codes, np.uint32).view(np.float32)


def expected_codes(values, fmt):
    bits = values.view(np.uint32)
    return [round_to_format(value_of(int(code), FP32), fmt, negative_zero=bool(code >> 31),
                            saturate=fmt.bits == 8) for code in bits]


@pytest.mark.parametrize("fmt", [E4M3, E5M2, BF16])
def test_every_code_survives_decode_and_encode(fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint32).astype(code_dtype(fmt))
    values = decode(codes, fmt)
    back = encode(values.astype(np.float32), fmt)
    largest = np.where(codes & fmt.sign_mask, fmt.largest_code | fmt.sign_mask, fmt.largest_code)
    expected = np.where(np.isinf(values), largest, codes) if fmt.bits == 8 else codes
    expected = np.where(np.isnan(values), fmt.nan_code, expected)
    assert np.array_equal(back, expected)


@pytest.mark.parametrize("fmt", [E4M3, E5M2])
def test_ties_and_their_neighbours_round_as_the_oracle_says(fmt):
    values = decode(np.arange(fmt.largest_code + 1, dtype=np.uint8), fmt)
    ties = ((values[1:] + values[:-1]) / 2).astype(np.float32).view(np.uint32)
    overflow = np.float32(2 * values[-1] - (values[-1] + values[-2]) / 2).view(np.uint32)
    ties = np.append(ties, overflow)
    cases = np.concatenate([ties - 1, ties, ties + 1])
    cases = floats(np.concatenate([cases, cases | 0x80000000]))
    assert encode(cases, fmt).tolist() == expected_codes(cases, fmt)


@pytest.mark.parametrize("fmt", [E4M3, E5M2, BF16])
def test_edges_round_as_the_oracle_says(fmt):
    values = floats(FP32_EDGES)
    assert encode(values, fmt).tolist() == expected_codes(values, fmt)


@pytest.mark.parametrize("fmt, reference", REFERENCES)
def test_matches_ml_dtypes_where_it_does_not_overflow(fmt, reference):
    rng = np.random.default_rng(2)
    values = np.concatenate([random_fp32(rng, 300000).view(np.float32),
                             rng.normal(0, 2.0 ** -6, 300000).astype(np.float32)])
    with np.errstate(all="ignore"):
        cast = values.astype(reference)
        finite = np.isfinite(cast.astype(np.float32))
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


def test_bf16_overflows_to_infinity():
    values = floats([0x7F7F7FFF, 0x7F7F8000, 0xFF7FFFFF, 0x7F800000, 0xFF800001])
    assert encode(values, BF16).tolist() == [0x7F7F, 0x7F80, 0xFF80, 0x7F80, 0x7FC0]


def test_fp32_keeps_the_bits_and_makes_nan_canonical():
    assert encode(floats([0x80000001, 0xFFC12345]), FP32).tolist() == [0x80000001, 0x7FC00000]


def test_rejects_float64():
    with pytest.raises(TypeError, match="^encode: values must be an array of float32, "
                                        "not of float64$"):
        encode(np.zeros(1), E4M3)
