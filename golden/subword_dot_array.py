"""Subword dot array: exact sums of products, of which a lane makes one or two of half the width."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.dot_array import GroupSum, dot_array
from spec.dot_arrays import SubwordDotArrayParams

__all__ = ["SubwordSum", "subword_dot_array"]


class SubwordSum(NamedTuple):
    """The sum of a group in units of ``2**lsb_exponent``, and that of the second group of a narrow
    beat in units of the ``2**lsb_exponent`` of narrow products, or 0."""

    first: GroupSum
    second: NDArray[Any]


def subword_dot_array(weights: NDArray[np.uint8], activations: NDArray[np.uint8], narrow: bool,
                      params: SubwordDotArrayParams) -> SubwordSum:
    """Multiply and sum the codes of one group, or of a narrow beat that has two, exactly.

    :Shapes: ``weights``, ``activations``: ``[..., n]``, broadcast against each other; of wide
        formats ``1 <= n <= lanes * group_beats``, of ``narrow`` ones as many as its dot array
        takes, or in two groups ``1 <= n <= 2 * lanes``; results ``[...]``.
    :Formats: codes of the wide formats or the narrow ones; sums as of
        :func:`golden.dot_array.dot_array`.
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape.
    """
    if not narrow:
        total = dot_array(weights, activations, params)
        return SubwordSum(total, np.zeros_like(total.value))
    length = params.narrow.lanes * params.narrow.group_beats
    longest, n = length * params.narrow_groups, weights.shape[-1]
    if activations.shape[-1] != n or not 1 <= n <= longest:
        raise ValueError(f"subword_dot_array: narrow operands must have the same 1 to {longest} "
                         f"elements on both sides, not {n} weights and {activations.shape[-1]} "
                         "activations")
    total = dot_array(weights[..., :length], activations[..., :length], params.narrow)
    second = np.zeros_like(total.value)
    if params.narrow_groups > 1 and weights.shape[-1] > length:
        second = dot_array(weights[..., length:], activations[..., length:], params.narrow).value
    return SubwordSum(total._replace(value=total.value << params.narrow_shift), second)
