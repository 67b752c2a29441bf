"""FP32 adder."""

import numpy as np
from numpy.typing import NDArray

from golden.fp32 import from_fp32_codes, to_fp32_codes

__all__ = ["fp32_adder"]


def fp32_adder(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return ``a + b`` as IEEE-754 says.

    :Shapes: any that broadcast.
    :Formats: FP32 codes; nearest even, subnormals kept, NaN 0x7FC00000; an exact zero sum of
        operands with different signs is +0.
    """
    # numpy's float32 addition is IEEE-754's: one rounding, subnormals kept.
    with np.errstate(all="ignore"):
        return to_fp32_codes(from_fp32_codes("fp32_adder: a", a)
                             + from_fp32_codes("fp32_adder: b", b))
