"""Column: one activation vector times rows of weights, unit by unit as the hardware does it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.dot_array import dot_array
from golden.fp32_rounder import fp32_rounder
from golden.group_scaler import group_scaler
from golden.row_accumulator import row_accumulator
from golden.scale_combiner import scale_combiner
from spec.arithmetic import ColumnParams

__all__ = ["column"]


def column(weights: NDArray[np.uint8], weight_scales: NDArray[Any], activations: NDArray[np.uint8],
           activation_scales: NDArray[Any], params: ColumnParams) -> NDArray[np.uint32]:
    """Multiply rows of weights by one activation vector.

    :Shapes: ``weights`` [rows, K], ``weight_scales`` [rows, groups], ``activations`` [K],
        ``activation_scales`` [groups]; result [rows]. ``groups = ceil(K / group)``; the last
        group may be shorter.
    :Formats: codes and scales of ``params``; FP32 codes out. Each group: exact sum, rounded once,
        times the combined scale, rounded; groups added in ascending order.
    """
    check_array("column: weights", weights, np.uint8)
    check_array("column: activations", activations, np.uint8)
    group = params.dot_array.lanes * params.dot_array.group_beats
    terms = []
    for index, start in enumerate(range(0, activations.shape[-1], group)):
        part = slice(start, start + group)
        total = dot_array(weights[:, part], activations[part], params.dot_array)
        scale = scale_combiner(np.broadcast_to(activation_scales[index], weights.shape[:1]).copy(),
                               weight_scales[:, index], params.scale_combiner)
        terms.append(group_scaler(fp32_rounder(total, params.fp32_rounder), scale,
                                  params.group_scaler))
    return row_accumulator(np.stack(terms))
