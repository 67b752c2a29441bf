import ml_dtypes
import numpy as np
import pytest

from golden.decoder import decode, decoder
from spec.arithmetic import DecoderParams
from spec.formats import BF16, E4M3, E5M2, FP32

EVERY_BYTE = np.arange(256, dtype=np.uint8)
REFERENCES = [(E4M3, ml_dtypes.float8_e4m3fn), (E5M2, ml_dtypes.float8_e5m2)]


def same(a, b):
    """Equal values, NaN for NaN, and zeros of the same sign."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a[a == 0]), np.signbit(b[b == 0]))


@pytest.mark.parametrize("fmt, reference", REFERENCES)
def test_decode_matches_ml_dtypes_on_every_code(fmt, reference):
    assert same(decode(EVERY_BYTE, fmt), EVERY_BYTE.view(reference).astype(np.float64))


def test_decode_matches_ml_dtypes_on_every_bf16_code():
    codes = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    with np.errstate(invalid="ignore"):
        expected = codes.view(ml_dtypes.bfloat16).astype(np.float64)
    assert same(decode(codes, BF16), expected)


def test_decode_fp32_is_the_value_of_the_bits():
    codes = np.random.default_rng(1).integers(0, 1 << 32, 100000, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        expected = codes.view(np.float32).astype(np.float64)
    assert same(decode(codes, FP32), expected)


@pytest.mark.parametrize("fmt, reference", REFERENCES)
def test_decoder_splits_every_finite_code(fmt, reference):
    parts = decoder(EVERY_BYTE, DecoderParams(format=fmt.name, lanes=1))
    values = (np.where(parts.sign, -1.0, 1.0) * parts.significand
              * 2.0 ** (parts.shift + fmt.smallest_exponent))
    expected = EVERY_BYTE.view(reference).astype(np.float64)
    finite = np.isfinite(expected)
    assert same(values[finite], expected[finite])
    assert np.array_equal(parts.nan, np.isnan(expected))
    assert np.array_equal(parts.infinite, np.isinf(expected))


def test_decoder_does_not_gate_special_codes():
    parts = decoder(np.array([0x7F, 0xFF], np.uint8), DecoderParams(format="e4m3", lanes=1))
    assert parts.significand.tolist() == [15, 15] and parts.shift.tolist() == [14, 14]
    parts = decoder(np.array([0x7C, 0xFF], np.uint8), DecoderParams(format="e5m2", lanes=1))
    assert parts.significand.tolist() == [4, 7] and parts.shift.tolist() == [30, 30]


def test_decode_rejects_other_dtypes():
    with pytest.raises(TypeError, match="^decode: bf16 codes must be an array of uint16, "
                                        "not of uint8$"):
        decode(EVERY_BYTE, BF16)
