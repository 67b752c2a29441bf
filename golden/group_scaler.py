"""Group scaler: a group's sum times its combined scale."""

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.fp32 import from_fp32_codes, to_fp32_codes
from golden.fp32_multiplier import fp32_multiplier
from golden.scale_combiner import combined_nan_flag
from spec.arithmetic import GroupScalerParams

__all__ = ["group_scaler"]


def group_scaler(p: NDArray[np.uint32], combined: NDArray[np.uint32],
                 params: GroupScalerParams) -> NDArray[np.uint32]:
    """Scale group sums.

    :Shapes: any that broadcast.
    :Formats: ``p`` FP32 codes; ``combined`` as :func:`golden.scale_combiner.scale_combiner` gives
        it. ``fp32``: the product. ``e8m0``: ``p * 2**(sum - 254)``, or NaN with the flag. Both
        round once to nearest even, keep subnormals, overflow to infinity; NaN is 0x7FC00000.
    """
    if params.scale_format == "fp32":
        return fp32_multiplier(p, combined)
    check_array("group_scaler: combined", combined, np.uint32)
    values = from_fp32_codes("group_scaler: p", p)
    exponent = (combined & np.uint32(combined_nan_flag - 1)).astype(np.int32) - 254
    # float64 holds every product exactly: exponents from -149 - 254 to 127 + 256.
    with np.errstate(all="ignore"):
        scaled = np.ldexp(values.astype(np.float64), exponent).astype(np.float32)
    scaled = np.where(combined & np.uint32(combined_nan_flag), np.float32(np.nan), scaled)
    return to_fp32_codes(scaled)
