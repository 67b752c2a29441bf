"""Exact group sums with power-of-two scales, all groups at once.

A scale goes into the operands as the power of two that it is. A sum of a group is then the scaled
sum, exactly, and is rounded once: the same as rounding first and scaling after, as long as no sum
leaves the normal FP32 numbers. With mild scales none does; with others,
:mod:`golden.exact_matmul` is asked group by group.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.exact_matmul import limbs_of, narrow
from spec.formats import NumberFormat

__all__ = ["scaled_operand", "scaled_terms"]

# Exponents of scales that are mild. Magnitudes of formats that need but one limb are multiples of
# 2**-9 below 2**9; so the sums of up to 4096 products, with two scales, are multiples of 2**-108
# below 2**120.
_MILD = 45


def scaled_operand(codes: NDArray[Any], scales: NDArray[np.uint8], fmt: NumberFormat,
                   group: int) -> NDArray[Any] | None:
    """Values ``[groups, rows, group]`` of ``codes`` [rows, K] with E8M0 ``scales`` [rows, groups]
    in them, the last group filled up with zeros.

    None where a code is NaN or infinite, a scale is not mild, or magnitudes are too wide for one
    float64 product.
    """
    tables = limbs_of(fmt)
    if (len(tables) > 1 or int(scales.min()) < 127 - _MILD or int(scales.max()) > 127 + _MILD
            or int((codes & codes.dtype.type(fmt.sign_mask - 1)).max()) > fmt.largest_code):
        return None
    rows, k = codes.shape
    groups = scales.shape[1]
    values = np.zeros((rows, groups * group), tables[0].dtype)
    # Without a mode, np.take writes to a buffer first.
    np.take(tables[0], codes, out=values[:, :k], mode="clip")
    shaped = values.reshape(rows, groups, group)
    exponents = scales.astype(np.int32) - (127 - fmt.smallest_exponent)
    shaped *= np.ldexp(values.dtype.type(1), exponents)[:, :, None]
    return shaped.transpose(1, 0, 2)


def scaled_terms(weights: NDArray[Any], activations: NDArray[Any],
                 groups: slice) -> NDArray[np.float32]:
    """The scaled sums ``[groups, M, C]`` of some groups, rounded to float32."""
    w, x = weights[groups], activations[groups].transpose(0, 2, 1)
    if not narrow(w, x):
        w = w.astype(np.float64, copy=False)
    terms: NDArray[np.float32] = np.matmul(w, x).astype(np.float32, copy=False)
    return terms
