"""Zero subtractor: unsigned weights less the zero points of their groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.decoder import code_dtype
from spec.arithmetic import ZeroSubtractorParams

__all__ = ["zero_subtractor"]


def zero_subtractor(codes: NDArray[np.uint8], zeros: NDArray[np.uint8],
                    params: ZeroSubtractorParams) -> NDArray[Any]:
    """Take zero points away from weights.

    :Shapes: ``codes`` and ``zeros`` broadcast against each other; the result has their shape.
    :Formats: unsigned codes of ``params.bits`` bits; codes of ``params.difference``, two's
        complement, exact.
    """
    check_array("zero_subtractor: codes", codes, np.uint8)
    check_array("zero_subtractor: zeros", zeros, np.uint8)
    dtype = code_dtype(params.difference)
    mask = dtype((1 << params.difference.bits) - 1)
    differences: NDArray[Any] = (codes.astype(dtype) - zeros.astype(dtype)) & mask
    return differences
