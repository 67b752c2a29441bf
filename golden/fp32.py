"""FP32 values as codes: uint32 arrays that hold IEEE-754 binary32.

Units pass FP32 as codes, so that NaN payloads and signs are compared as bits. The one NaN that
any unit gives is 0x7FC00000.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.formats import FP32

__all__ = ["from_fp32_codes", "to_fp32_codes"]


def from_fp32_codes(name: str, codes: NDArray[np.uint32]) -> NDArray[np.float32]:
    """View codes as float32; ``name`` is what an error calls the array."""
    check_array(name, codes, np.uint32)
    return np.ascontiguousarray(codes).view(np.float32).reshape(codes.shape)


def to_fp32_codes(values: NDArray[np.float32] | np.floating[Any]) -> NDArray[np.uint32]:
    """Codes of float32 values, every NaN as 0x7FC00000."""
    array = np.ascontiguousarray(values, np.float32)
    codes = np.where(np.isnan(array), np.uint32(FP32.nan_code), array.view(np.uint32))
    return codes.reshape(np.shape(values))
