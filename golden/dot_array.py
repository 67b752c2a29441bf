"""Dot array: the exact sum of the exact products of one scale group."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.decoder import Decoded, check_operands, decoder
from spec.arithmetic import DecoderParams
from spec.dot_arrays import DotArrayParams

__all__ = ["GroupSum", "dot_array"]


class GroupSum(NamedTuple):
    """Exact group sums in units of ``2**lsb_exponent``, and the special values that they met.

    ``value`` is int64, or an object array of Python integers where int64 is too narrow. With a
    flag set it means nothing to the next unit; at most one flag is set.
    """

    value: NDArray[Any]
    nan: NDArray[np.bool_]
    positive_infinity: NDArray[np.bool_]
    negative_infinity: NDArray[np.bool_]


def _fixed_point(parts: Decoded, dtype: type[Any]) -> NDArray[Any]:
    """Signed integers of decoded codes; special codes count as zero."""
    significand = np.where(parts.nan | parts.infinite, 0, parts.significand)
    # Significand and shift make at most 3 + 30 bits: int64 holds every operand.
    magnitude = significand << parts.shift
    return np.where(parts.sign, -magnitude, magnitude).astype(dtype)


def dot_array(weights: NDArray[np.uint8], activations: NDArray[np.uint8],
              params: DotArrayParams) -> GroupSum:
    """Multiply and sum the codes of one group, exactly.

    :Shapes: ``weights``, ``activations``: ``[..., n]``, broadcast against each other, with
        ``1 <= n <= lanes * group_beats``; results ``[...]``.
    :Formats: codes of ``params.weights`` and ``params.activations``; sum s{sum_bits} in units of
        ``2**lsb_exponent``. A NaN, infinity times zero, or infinities of both signs set ``nan``;
        else infinite products set the flag of their sign.
    """
    check_operands("dot_array", weights, activations, params)
    w = decoder(weights, DecoderParams(format=params.weights, lanes=params.lanes))
    x = decoder(activations, DecoderParams(format=params.activations, lanes=params.lanes))

    # No partial sum of at most lanes * group_beats products leaves s{sum_bits}; up to 64 bits
    # that is int64, beyond (E5M2 x E5M2) Python's own integers.
    dtype = np.int64 if params.sum_bits <= 64 else object
    value = np.sum(_fixed_point(w, dtype) * _fixed_point(x, dtype), axis=-1)

    infinite = w.infinite | x.infinite
    zero = (w.significand == 0) | (x.significand == 0)
    negative = (w.sign | (w.significand < 0)) ^ (x.sign | (x.significand < 0))
    plus = np.any(infinite & ~negative, axis=-1)
    minus = np.any(infinite & negative, axis=-1)
    nan = np.any(w.nan | x.nan | (infinite & zero), axis=-1) | (plus & minus)
    return GroupSum(np.asarray(value, dtype), nan, plus & ~nan, minus & ~nan)
