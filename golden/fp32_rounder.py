"""FP32 rounder: an exact group sum to FP32, with one rounding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.dot_array import GroupSum
from golden.fp32 import to_fp32_codes
from spec.arithmetic import Fp32RounderParams

__all__ = ["fp32_rounder"]

_KEPT_BITS = 62


def _shortened(value: int) -> tuple[int, int]:
    """``(kept, exponent)`` with ``kept * 2**exponent`` close to ``value`` and rounding like it.

    Dropped bits are OR-ed into the last kept bit, 38 bits below FP32's last one: a later rounding
    to FP32 sees the same side of every tie.
    """
    magnitude = abs(value)
    exponent = max(magnitude.bit_length() - _KEPT_BITS, 0)
    kept = magnitude >> exponent
    if kept << exponent != magnitude:
        kept |= 1
    return (-kept if value < 0 else kept), exponent


def fp32_rounder(group_sum: GroupSum, params: Fp32RounderParams) -> NDArray[np.uint32]:
    """Round exact sums to FP32 codes.

    :Shapes: any; the codes have the shape of the sums.
    :Formats: ``value`` s{sum_bits} in units of ``2**lsb_exponent``; one rounding of the exact
        integer to nearest even; zero gives +0. No result is subnormal or overflows. The flags give
        0x7FC00000 and the infinities.
    """
    value: NDArray[Any] = np.asarray(group_sum.value)
    limit = 1 << (params.sum_bits - 1)
    if value.size and not (-limit <= int(value.min()) and int(value.max()) < limit):
        raise ValueError(f"fp32_rounder: value must fit s{params.sum_bits}, but reaches from "
                         f"{int(value.min())} to {int(value.max())}")
    if value.dtype == object:
        pairs = [_shortened(int(item)) for item in value.ravel()]
        kept = np.array([pair[0] for pair in pairs], np.int64).reshape(value.shape)
        exponent = np.array([pair[1] for pair in pairs], np.int32).reshape(value.shape)
    else:
        kept, exponent = value.astype(np.int64), np.zeros(value.shape, np.int32)
    # The conversion from int64 rounds once, to nearest even; the power of two is exact.
    rounded = np.ldexp(kept.astype(np.float32), exponent + params.lsb_exponent)
    rounded = np.where(group_sum.positive_infinity, np.float32(np.inf), rounded)
    rounded = np.where(group_sum.negative_infinity, np.float32(-np.inf), rounded)
    rounded = np.where(group_sum.nan, np.float32(np.nan), rounded)
    return to_fp32_codes(rounded.astype(np.float32))
