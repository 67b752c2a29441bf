import ml_dtypes
import numpy as np
import pytest

from golden.decoder import decode, decoder
from spec.arithmetic import DecoderParams
from spec.formats import BF16, FORMATS, FP32

EVERY_BYTE = np.arange(256, dtype=np.uint8)
# The value of each code: by ml_dtypes, and MXINT8 by its definition (OCP MX).
VALUES = {
    "e4m3": EVERY_BYTE.view(ml_dtypes.float8_e4m3fn).astype(np.float64),
    "e5m2": EVERY_BYTE.view(ml_dtypes.float8_e5m2).astype(np.float64),
    "e3m2": EVERY_BYTE[:64].view(ml_dtypes.float6_e3m2fn).astype(np.float64),
    "e2m3": EVERY_BYTE[:64].view(ml_dtypes.float6_e2m3fn).astype(np.float64),
    "e2m1": EVERY_BYTE[:16].view(ml_dtypes.float4_e2m1fn).astype(np.float64),
    "int8": EVERY_BYTE.view(np.int8).astype(np.float64),
    "int4": EVERY_BYTE[:16].view(ml_dtypes.int4).astype(np.float64),
    "mxint8": EVERY_BYTE.view(np.int8) / 64,
}
EVERY_FORMAT = pytest.mark.parametrize("name", VALUES)


def same(a, b):
    """Equal values, NaN for NaN, and zeros of the same sign."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a[a == 0]), np.signbit(b[b == 0]))


@EVERY_FORMAT
def test_decode_gives_the_value_of_every_code(name):
    fmt, expected = FORMATS[name], VALUES[name]
    assert expected.size == 1 << fmt.bits
    assert same(decode(EVERY_BYTE[:expected.size], fmt), expected)


@pytest.mark.parametrize("name, values", [
    ("e2m3", [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875,
              1, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75, 1.875,
              2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 3.75, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5]),
    ("e3m2", [0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375,
              0.5, 0.625, 0.75, 0.875, 1, 1.25, 1.5, 1.75,
              2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28])])
def test_every_fp6_code_has_the_value_of_the_standard(name, values):
    magnitudes = np.array(values, np.float64)
    assert same(decode(EVERY_BYTE[:64], FORMATS[name]), np.concatenate([magnitudes, -magnitudes]))


def test_decode_matches_ml_dtypes_on_every_bf16_code():
    codes = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    with np.errstate(invalid="ignore"):
        expected = codes.view(ml_dtypes.bfloat16).astype(np.float64)
    assert same(decode(codes, BF16), expected)


def test_decode_matches_numpy_on_every_fp16_code():
    codes = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    with np.errstate(invalid="ignore"):
        expected = codes.view(np.float16).astype(np.float64)
    assert same(decode(codes, FORMATS["fp16"]), expected)


def test_decode_fp32_is_the_value_of_the_bits():
    codes = np.random.default_rng(1).integers(0, 1 << 32, 100000, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        expected = codes.view(np.float32).astype(np.float64)
    assert same(decode(codes, FP32), expected)


@EVERY_FORMAT
def test_decoder_splits_every_finite_code(name):
    fmt, expected = FORMATS[name], VALUES[name]
    parts = decoder(EVERY_BYTE[:expected.size], DecoderParams(format=name, lanes=1))
    values = (np.where(parts.sign, -1.0, 1.0) * parts.significand
              * 2.0 ** (parts.shift + fmt.smallest_exponent))
    finite = np.isfinite(expected)
    assert same(values[finite], expected[finite])
    assert np.array_equal(parts.nan, np.isnan(expected))
    assert np.array_equal(parts.infinite, np.isinf(expected))


@EVERY_FORMAT
def test_significands_and_shifts_have_their_widths(name):
    fmt = FORMATS[name]
    parts = decoder(EVERY_BYTE[:1 << fmt.bits], DecoderParams(format=name, lanes=1))
    significand, sign_bits = parts.significand, 0
    if name in ("int8", "int4", "mxint8"):
        significand, sign_bits = np.where(significand < 0, ~significand, significand), 1
    assert int(significand.max()).bit_length() + sign_bits == fmt.significand_bits
    assert significand.min() == 0 and parts.shift.min() == 0
    # Special codes have the largest exponent field and may be shifted further than any finite one.
    finite = np.isfinite(VALUES[name])
    assert parts.shift[finite].max() == fmt.largest_shift
    assert int(parts.shift.max()).bit_length() == fmt.shift_bits


@pytest.mark.parametrize("name, dtype", [
    ("int8", np.int8), ("int4", ml_dtypes.int4), ("mxint8", np.int8)])
def test_an_integer_is_its_own_significand(name, dtype):
    codes = EVERY_BYTE[:1 << FORMATS[name].bits]
    parts = decoder(codes, DecoderParams(format=name, lanes=1))
    assert np.array_equal(parts.significand, codes.view(dtype).astype(np.int64))
    assert not any(np.any(part) for part in (parts.sign, parts.shift, parts.nan, parts.infinite))


def test_decoder_does_not_gate_special_codes():
    parts = decoder(np.array([0x7F, 0xFF], np.uint8), DecoderParams(format="e4m3", lanes=1))
    assert parts.significand.tolist() == [15, 15] and parts.shift.tolist() == [14, 14]
    parts = decoder(np.array([0x7C, 0xFF], np.uint8), DecoderParams(format="e5m2", lanes=1))
    assert parts.significand.tolist() == [4, 7] and parts.shift.tolist() == [30, 30]


def test_decode_rejects_other_dtypes():
    with pytest.raises(TypeError, match="^decode: bf16 codes must be an array of uint16, "
                                        "not of uint8$"):
        decode(EVERY_BYTE, BF16)
