"""Block dot array: the exact sum of a row whose blocks have E4M3 scales on both sides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.decoder import Decoded, check_operands, decoder
from golden.dot_array import GroupSum, dot_array
from spec.arithmetic import DecoderParams
from spec.dot_arrays import BlockDotArrayParams

__all__ = ["block_dot_array"]


def _blocks(codes: NDArray[np.uint8], params: BlockDotArrayParams) -> NDArray[np.uint8]:
    """Codes [..., n] as blocks [..., groups, block], the last filled up with zeros."""
    missing = -codes.shape[-1] % params.block
    whole = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, missing)])
    return whole.reshape(*codes.shape[:-1], -1, params.block)


def _scales(name: str, scales: NDArray[np.uint8], groups: int,
            params: BlockDotArrayParams) -> Decoded:
    check_array(f"block_dot_array: {name}", scales, np.uint8)
    if scales.ndim < 1 or scales.shape[-1] != groups:
        raise ValueError(f"block_dot_array: {name} must have the shape [..., {groups}] (one per "
                         f"{params.block} elements), not {list(scales.shape)}")
    return decoder(scales, DecoderParams(format=params.SCALE.name, lanes=params.blocks))


def block_dot_array(weights: NDArray[np.uint8], weight_scales: NDArray[np.uint8],
                    activations: NDArray[np.uint8], activation_scales: NDArray[np.uint8],
                    params: BlockDotArrayParams) -> GroupSum:
    """Multiply, scale and sum the codes of one row, exactly.

    :Shapes: ``weights``, ``activations``: ``[..., n]``; their scales ``[..., ceil(n / block)]``;
        all broadcast against each other, with ``1 <= n <= lanes * group_beats``; results ``[...]``.
        The last block may be shorter.
    :Formats: codes of ``params.weights`` and ``params.activations``, which have neither NaN nor
        infinity, and of E4M3, whose sign bit is ignored. Sum s{sum_bits} in units of
        ``2**lsb_exponent``; a scale that is NaN sets ``nan``, whatever its block holds, and counts
        as zero. No infinities.
    """
    check_operands("block_dot_array", weights, activations, params)
    groups = -(-weights.shape[-1] // params.block)
    w = _scales("weight_scales", weight_scales, groups, params)
    x = _scales("activation_scales", activation_scales, groups, params)

    sums: NDArray[Any] = dot_array(_blocks(weights, params), _blocks(activations, params),
                                   params.dot_array).value
    nan = w.nan | x.nan
    significand = np.where(nan, 0, w.significand * x.significand)
    # No partial sum of at most lanes * group_beats products leaves s{sum_bits}: 58 bits for 16384
    # of E2M1, 64 for the 2**20 that a record allows at most.
    value = np.sum((sums * significand) << (w.shift + x.shift), axis=-1)
    none = np.zeros(value.shape, bool)
    return GroupSum(np.asarray(value, np.int64),
                    np.broadcast_to(np.any(nan, axis=-1), value.shape).copy(), none, none.copy())
