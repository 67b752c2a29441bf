"""Scale combiner: the product of an activation scale and a weight scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.fp32_multiplier import fp32_multiplier
from spec.arithmetic import ScaleCombinerParams

__all__ = ["E8M0_NAN", "combined_nan_flag", "scale_combiner"]

E8M0_NAN = 0xFF

# The flag's place in a combined E8M0 scale, above the 9 bits of the sum.
combined_nan_flag = 1 << 9


def scale_combiner(activation_scales: NDArray[Any], weight_scales: NDArray[Any],
                   params: ScaleCombinerParams) -> NDArray[np.uint32]:
    """Combine the scales of a group's two sides.

    :Shapes: any that broadcast.
    :Formats: ``fp32``: FP32 codes in, the code of the product out, rounded once. ``e8m0``: uint8
        codes in; out, bits 8:0 are the sum of the two codes (never too wide), and bit 9 says that
        either is 0xFF, NaN. The sum stands for ``2**(sum - 254)``.
    """
    if params.scale_format == "fp32":
        return fp32_multiplier(activation_scales, weight_scales)
    check_array("scale_combiner: activation_scales", activation_scales, np.uint8)
    check_array("scale_combiner: weight_scales", weight_scales, np.uint8)
    total = activation_scales.astype(np.uint32) + weight_scales.astype(np.uint32)
    nan = (activation_scales == E8M0_NAN) | (weight_scales == E8M0_NAN)
    return total | np.where(nan, np.uint32(combined_nan_flag), np.uint32(0))
