"""Converter: codes of any format, with group scales, to BF16 or FP32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array, check_shape
from golden.decoder import code_dtype, decode
from golden.scale_combiner import E8M0_NAN
from spec.formats import FP32, FloatFormat

__all__ = ["converter"]


def _rounded(values: NDArray[np.float64], fmt: FloatFormat) -> NDArray[Any]:
    """The codes of BF16 or FP32 nearest to ``values``, ties to even.

    The step between neighbours is a power of two, so the quotient is exact, and it is below 2**25:
    its rounding to an integer is the only one. What comes out is a value of the format, or at
    least 2**128, which overflows.
    """
    exponent = np.frexp(values)[1] - 1
    step = np.ldexp(1.0, np.maximum(exponent, 1 - fmt.bias) - fmt.mantissa_bits)
    with np.errstate(all="ignore"):
        nearest = (np.rint(values / step) * step).astype(np.float32)
    codes = nearest.view(np.uint32) >> np.uint32(FP32.bits - fmt.bits)
    return np.where(np.isnan(values), fmt.nan_code, codes).astype(code_dtype(fmt))


def _scale_values(scales: NDArray[Any]) -> NDArray[np.float64]:
    """The values of E8M0 codes or float32 scales."""
    if scales.dtype == np.float32:
        return scales.astype(np.float64)
    values = np.ldexp(1.0, scales.astype(np.int32) - 127)
    return np.where(scales == E8M0_NAN, np.nan, values)


def converter(codes: NDArray[Any], source: FloatFormat, target: FloatFormat,
              scales: NDArray[Any] | None = None, group: int = 1) -> NDArray[Any]:
    """Convert ``codes`` from ``source`` to ``target``.

    :Shapes: ``codes`` [rows, k]; ``scales`` [rows, ceil(k / group)], for FP8 sources that are
        converted and for nothing else; result [rows, k].
    :Formats: ``codes`` of ``source`` as unsigned integers; ``scales`` uint8 (E8M0) or float32.
        FP8 gives the exact product of code and scale, rounded once to nearest even; BF16 to FP32
        is exact, FP32 to BF16 is rounded once to nearest even. Subnormals and the sign of zero
        are kept, overflow gives infinity. NaN, a NaN scale and infinity times zero give the
        target's NaN (0x7FC0 or 0x7FC00000). Equal formats give the codes themselves.
    :Errors: ``TypeError`` for a wrong dtype; ``ValueError`` for a wrong shape, for scales that
        are missing or too many, and for a target other than BF16 and FP32.
    """
    check_array("converter: codes", codes, code_dtype(source), dimensions=2)
    scaled = source.bits == 8 and source != target
    if scaled != (scales is not None):
        raise ValueError(f"converter: {source.name} to {target.name} needs "
                         f"{'scales' if scaled else 'no scales'}")
    if source == target:
        return codes.copy()
    if target.bits < 16:
        raise ValueError(f"converter: the target must be bf16 or fp32, not {target.name}")
    values = decode(codes, source)
    if scales is not None:
        check_array("converter: scales", scales, np.uint8, np.float32)
        rows, k = codes.shape
        check_shape("converter: scales", scales, (rows, -(-k // group)),
                    f"one per {group} of {k} elements")
        # Exact: 4 + 24 bits of significand at most, exponents within [-165, 143].
        with np.errstate(invalid="ignore"):
            values = values * np.repeat(_scale_values(scales), group, axis=1)[:, :k]
    return _rounded(values, target)
