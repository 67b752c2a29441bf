"""Column: one activation vector times rows of weights, unit by unit as the hardware does it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.aligned_dot_array import aligned_dot_array
from golden.block_dot_array import block_dot_array
from golden.checks import check_array
from golden.decoder import code_dtype
from golden.dot_array import dot_array
from golden.fp32_adder import fp32_adder
from golden.fp32_dot_array import fp32_dot_array
from golden.fp32_rounder import fp32_rounder
from golden.group_scaler import group_scaler
from golden.row_accumulator import row_accumulator
from golden.scale_combiner import scale_combiner
from golden.scales import tensor_scales
from spec.column import ColumnParams
from spec.dot_arrays import (
    AlignedDotArrayParams, BlockDotArrayParams, DotArrayParams, Fp32DotArrayParams,
)

__all__ = ["column"]


def column(weights: NDArray[Any], weight_scales: NDArray[Any], activations: NDArray[Any],
           activation_scales: NDArray[Any], params: ColumnParams) -> NDArray[np.uint32]:
    """Multiply rows of weights by one activation vector.

    :Shapes: ``weights`` [rows, K], ``weight_scales`` [rows, groups], ``activations`` [K],
        ``activation_scales`` [groups]; result [rows]. ``groups = ceil(K / group)``; the last
        group may be shorter.
    :Formats: codes and scales of ``params``; FP32 codes out. Each group: exact sum, rounded once,
        times the combined scale, rounded; added to the row in ascending order. The groups of one
        beat are first added to each other, in pairs of neighbours, pairs of pairs and so on.
        Aligned or FP32 sums, one or more of a group, take the place of the exact one.

        With blocks (NVFP4), scales are arrays of :data:`golden.scales.BLOCK_SCALE`, and a row is
        one sum of scaled blocks, exact, rounded once, times the combined scale of the tensors.
    :Errors: ``ValueError`` where the scales of one row are of several tensors.
    """
    check_array("column: weights", weights, code_dtype(params.weight_format))
    check_array("column: activations", activations, code_dtype(params.activation_format))
    if isinstance(params.dot_array, BlockDotArrayParams):
        sums = block_dot_array(weights, weight_scales["block"], activations,
                               activation_scales["block"], params.dot_array)
        combined = scale_combiner(tensor_scales(activation_scales).view(np.uint32),
                                  tensor_scales(weight_scales).view(np.uint32),
                                  params.scale_combiner)
        return row_accumulator(group_scaler(fp32_rounder(sums, params.fp32_rounder), combined,
                                            params.group_scaler)[None])
    elements = params.dot_array.lanes * params.dot_array.group_beats
    terms = []
    for place, start in enumerate(range(0, activations.shape[-1], elements)):
        part, index = slice(start, start + elements), place // params.sums_per_group
        total = _sums(weights[:, part], activations[part], params)
        scale = scale_combiner(np.broadcast_to(activation_scales[index], weights.shape[:1]).copy(),
                               weight_scales[:, index], params.scale_combiner)
        terms.append(group_scaler(total, scale, params.group_scaler))
    while len(terms) % params.groups_per_beat:
        terms.append(np.zeros_like(terms[0]))
    width = params.groups_per_beat
    while width > 1:
        terms = [fp32_adder(a, b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        width //= 2
    return row_accumulator(np.stack(terms))


def _sums(weights: NDArray[Any], activations: NDArray[Any],
          params: ColumnParams) -> NDArray[np.uint32]:
    """The FP32 codes of one sum of each row."""
    if isinstance(params.dot_array, AlignedDotArrayParams):
        return aligned_dot_array(weights, activations, params.dot_array)
    if isinstance(params.dot_array, Fp32DotArrayParams):
        return fp32_dot_array(weights, activations, params.dot_array)
    assert isinstance(params.dot_array, DotArrayParams)
    return fp32_rounder(dot_array(weights, activations, params.dot_array), params.fp32_rounder)
