"""Encoder: float32 values to the codes of a format, with one rounding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.decoder import code_dtype
from spec.formats import FP32, IntegerFormat, NumberFormat

__all__ = ["encode"]


def encode(values: NDArray[np.float32], fmt: NumberFormat) -> NDArray[Any]:
    """Return the code of ``fmt`` nearest to each value.

    :Shapes: any; codes have the values' shape.
    :Formats: one rounding to nearest, ties to even, from the exact value; subnormals and the sign
        of zero are kept. Formats of 4 and 8 bits saturate: finite overflow and infinity give the
        largest finite magnitude, integers plus or minus ``largest_code``. FP16, BF16 and FP32
        overflow to infinity. NaN gives ``fmt.nan_code``, without its sign and payload.
    """
    check_array("encode: values", values, np.float32)
    bits = np.ascontiguousarray(values).view(np.uint32).reshape(values.shape)
    magnitude = bits & np.uint32(FP32.sign_mask - 1)
    if fmt == FP32:
        return np.where(magnitude > FP32.exponent_mask, np.uint32(FP32.nan_code), bits)

    if isinstance(fmt, IntegerFormat):
        return _integers(values, fmt)

    # Normal results: round the FP32 fields as one integer (a carry moves into the exponent as it
    # should), then change the bias. Below the smallest normal this wraps, and is not used.
    dropped = FP32.mantissa_bits - fmt.mantissa_bits
    code = magnitude >> np.uint32(dropped)
    code &= np.uint32(1)
    code += magnitude
    code += np.uint32((1 << (dropped - 1)) - 1)
    code >>= np.uint32(dropped)
    code -= np.uint32((FP32.bias - fmt.bias) << fmt.mantissa_bits)

    # Subnormal results: the FP32 addition of 2**(smallest_exponent + 23), whose last bit weighs
    # 2**smallest_exponent, rounds once and leaves the code in the low bits.
    smallest_normal = np.uint32((FP32.bias + 1 - fmt.bias) << FP32.mantissa_bits)
    anchor = np.array(np.ldexp(1.0, fmt.smallest_exponent + FP32.mantissa_bits), np.float32)
    small = np.minimum(magnitude, smallest_normal).view(np.float32) + anchor
    subnormal = small.view(np.uint32) - anchor.view(np.uint32)
    np.copyto(code, subnormal, where=magnitude < smallest_normal)

    largest = fmt.largest_code if fmt.bits <= 8 else fmt.infinity_code
    if largest is not None:
        np.minimum(code, np.uint32(largest), out=code)
    code |= (bits >> np.uint32(32 - fmt.bits)) & np.uint32(fmt.sign_mask)
    np.copyto(code, np.uint32(fmt.nan_code), where=magnitude > np.uint32(FP32.exponent_mask))
    return code.astype(code_dtype(fmt))


def _integers(values: NDArray[np.float32], fmt: IntegerFormat) -> NDArray[Any]:
    """Codes of an integer format; ``rint`` rounds once, the power of two in float64 is exact."""
    largest = float(fmt.largest_code)
    numbers = np.where(np.isnan(values), np.float32(0), values).astype(np.float64)
    whole = np.rint(np.clip(np.ldexp(numbers, fmt.fraction_bits), -largest, largest))
    codes: NDArray[Any] = (whole.astype(np.int64) & ((1 << fmt.bits) - 1)).astype(code_dtype(fmt))
    return codes
