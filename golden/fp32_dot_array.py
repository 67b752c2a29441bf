"""FP32 dot array: products added in FP32, with a rounding at each addition."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import check_operands, decode
from golden.fp32 import to_fp32_codes
from spec.dot_arrays import Fp32DotArrayParams

__all__ = ["fp32_dot_array"]

Floats = NDArray[np.float32]


def fp32_dot_array(weights: NDArray[Any], activations: NDArray[Any],
                   params: Fp32DotArrayParams) -> NDArray[np.uint32]:
    """Multiply and sum the codes of one group in FP32, beat after beat.

    Products are rounded to FP32, which changes none but those of 16-bit formats. Of the ``lanes``
    products of a beat, neighbours are added, then pairs of neighbours and so on, a lane that is
    left over as it is; places beyond the last element count as products of zeros. The sum of a beat
    is added to those before, from +0 on.

    :Shapes: ``weights``, ``activations``: ``[..., n]``, broadcast against each other, with
        ``1 <= n <= lanes * group_beats``; results ``[...]``.
    :Formats: codes of ``params.weights`` and ``params.activations``; FP32 codes, each addition
        rounded to nearest even; special values as IEEE-754 says, NaN 0x7FC00000.
    """
    check_operands("fp32_dot_array", weights, activations, params)
    w = decode(weights, params.weight_format).astype(np.float32)
    x = decode(activations, params.activation_format).astype(np.float32)
    total = np.zeros(np.broadcast_shapes(w.shape, x.shape)[:-1], np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, weights.shape[-1], params.lanes):
            products = w[..., start:start + params.lanes] * x[..., start:start + params.lanes]
            total = total + _tree(products, params.lanes)
    return to_fp32_codes(total)


def _tree(products: Floats, lanes: int) -> Floats:
    """The sum of ``lanes`` products, of which those that are not there are +0."""
    missing = [(0, 0)] * (products.ndim - 1) + [(0, lanes - products.shape[-1])]
    sums = np.pad(products, missing)
    while sums.shape[-1] > 1:
        even = sums.shape[-1] // 2 * 2
        left = sums[..., even:]
        sums = sums[..., :even:2] + sums[..., 1:even:2]
        if left.shape[-1]:
            sums = np.concatenate([sums, left], axis=-1)
    result: Floats = sums[..., 0]
    return result
