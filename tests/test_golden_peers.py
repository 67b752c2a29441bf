"""Codes and quantization against public work that the golden models did not come from."""

from typing import Any

import numpy as np
import pytest

from golden.decoder import code_dtype, decode
from golden.encoder import encode
from golden.quantizer import quantize
from spec.description import Scaling
from spec.formats import FORMATS

# OCP MX 1.0, table 1: exponent of the largest power of two, smallest exponent of a normal number,
# mantissa bits and largest magnitude.
MX = {"e4m3": (8, -6, 3, 448.0), "e5m2": (15, -14, 2, 57344.0), "e2m3": (2, 0, 3, 7.5),
      "e3m2": (4, -2, 2, 28.0), "e2m1": (2, 0, 1, 6.0), "mxint8": (0, 0, 6, 127 / 64)}


def by_definition(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """MX quantization of blocks [n, 32] as the package microxcaling defines it with rounding
    ``even``, in float64: the values in units of their scales, and the exponents of the scales."""
    emax, emin, mantissa, largest = MX[name]
    amax = np.abs(values.astype(np.float64)).max(axis=1, keepdims=True)
    # The shared exponent: that of the largest magnitude, less the format's largest.
    shared = np.clip(np.floor(np.log2(amax)) - emax, -127, 127)
    scaled = values.astype(np.float64) / 2.0 ** shared
    magnitude = np.abs(scaled)
    private = np.floor(np.log2(np.where(magnitude == 0, 1.0, magnitude)))
    private = np.maximum(private, emin) if name != "mxint8" else np.zeros_like(private)
    # numpy rounds to the nearest integer, ties to even.
    step = 2.0 ** (private - mantissa)
    rounded = np.round(magnitude / step) * step
    return np.copysign(np.minimum(rounded, largest), scaled), shared[:, 0]


@pytest.mark.parametrize("name", MX)
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_e8m0_floor_is_microxcalings_rule_with_rounding_to_even(name: str, bf16: bool) -> None:
    rng = np.random.default_rng(61)
    values = (rng.standard_normal((3000, 32)) * 2.0 ** rng.integers(-40, 40, (3000, 1))).astype(
        np.float32)
    # Ties, and values just below the next power of two.
    values[:1000] = rng.integers(-4096, 4096, (1000, 32)) / 64.0
    values[:1000, 0] = 64.0
    if bf16:
        values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    codes, scales = quantize(values, FORMATS[name], Scaling(
        format="e8m0", rule="e8m0-floor", group=32, weight_rows=1, amax_floor=0.0))
    expected, exponents = by_definition(values, name)
    assert np.array_equal(scales[:, 0].astype(int) - 127, exponents)
    assert np.array_equal(decode(codes, FORMATS[name]), expected)


def _gfloat(name: str) -> tuple[Any, Any]:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is not installed; no lock asks for it")
    formats = pytest.importorskip("gfloat.formats")
    known = {"bf16": "format_info_bfloat16", "fp16": "format_info_binary16",
             "int8": "format_info_ocp_int8", "mxint8": "format_info_ocp_int8"}
    return gfloat, getattr(formats, known.get(name, f"format_info_ocp_{name}"))


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e2m3", "e3m2", "e2m1", "mxint8", "bf16", "fp16"])
def test_values_of_codes_are_gfloats(name: str) -> None:
    gfloat, info = _gfloat(name)
    fmt = FORMATS[name]
    codes = np.arange(1 << fmt.bits, dtype=np.uint32).astype(code_dtype(fmt))
    expected = [gfloat.decode_float(info, code).fval for code in codes.tolist()]
    assert np.array_equal(decode(codes, fmt), np.array(expected), equal_nan=True)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e2m3", "e3m2", "e2m1"])
def test_codes_of_values_are_gfloats(name: str) -> None:
    gfloat, info = _gfloat(name)
    fmt = FORMATS[name]
    rng = np.random.default_rng(62)
    finite = decode(np.arange(fmt.largest_code + 1, dtype=np.uint8), fmt)
    # Each value, each tie, their neighbours, and values beyond.
    ties = (finite[1:] + finite[:-1]) / 2
    values = np.concatenate([finite, ties, np.nextafter(ties, 0), np.nextafter(ties, 1e9),
                             finite[-1] * rng.uniform(0, 2, 3000)]).astype(np.float32)
    values = np.concatenate([values, -values])
    expected = [gfloat.encode_float(info, gfloat.round_float(info, float(value), sat=True))
                for value in values]
    assert encode(values, fmt).tolist() == expected
