"""GEMV: weights times activation vectors, with group scaling, at the speed of a matrix product."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array, check_shape
from golden.encoder import encode
from golden.exact_matmul import Operand, exact_matmul, operand
from golden.fp32 import to_fp32_codes
from golden.scale_combiner import E8M0_NAN
from spec.tile import Tile

__all__ = ["gemv", "gemv_fp32"]

# Elements of a block's results, and codes of a block's weights: what stays in a core's cache.
_BLOCK_RESULTS = 1 << 15
_BLOCK_ROWS = 512

Floats = NDArray[np.float32]


def _check(weights: NDArray[np.uint8], weight_scales: NDArray[Any],
           activations: NDArray[np.uint8], activation_scales: NDArray[Any], tile: Tile) -> None:
    check_array("gemv: weights", weights, np.uint8, dimensions=2)
    check_array("gemv: activations", activations, np.uint8, dimensions=2)
    rows, k = weights.shape
    columns = activations.shape[0]
    if not (rows and k and columns):
        raise ValueError(f"gemv: needs at least one row, one column and k = 1, but weights have "
                         f"the shape {[rows, k]} and activations {list(activations.shape)}")
    check_shape("gemv: activations", activations, (columns, k), "[C, K] with the weights' K")
    scale_type = np.uint8 if tile.scale_format.name == "e8m0" else np.float32
    weight_rows = tile.description.scaling.weight_rows
    for name, scales, shape, why in (
            ("gemv: weight_scales", weight_scales, (-(-rows // weight_rows), tile.groups(k)),
             f"one per {weight_rows} x {tile.group} weights"),
            ("gemv: activation_scales", activation_scales, (columns, tile.groups(k)),
             f"one per {tile.group} activations")):
        check_array(name, scales, scale_type)
        check_shape(name, scales, shape, why)


def _scaled(p: Floats, weight_scales: NDArray[Any], activation_scales: NDArray[Any]) -> Floats:
    """``fl32(p * combined)`` for one group: ``weight_scales`` [M], ``activation_scales`` [C]."""
    if weight_scales.dtype == np.float32:
        scaled: Floats = p * (weight_scales[:, None] * activation_scales)
        return scaled
    # 2**(sum - 254), NaN for 0xFF: each side's factor is exact in float64, and so is the product.
    factors = [np.where(scales == E8M0_NAN, np.nan, np.ldexp(1.0, scales.astype(np.int32) - 127))
               for scales in (weight_scales, activation_scales)]
    combined = factors[0][:, None] * factors[1]
    narrow = combined.astype(np.float32)
    if bool(np.all((narrow == combined) | np.isnan(combined))):
        scaled = p * narrow
        return scaled
    # A factor outside FP32 that p may compensate: exact in float64, rounded once.
    scaled = (p * combined).astype(np.float32)
    return scaled


def _accumulated(weights: NDArray[np.uint8], weight_scales: NDArray[Any], prepared: list[Operand],
                 activation_scales: NDArray[Any], tile: Tile) -> Floats:
    """Results of a block of rows; ``weight_scales`` has a line per row."""
    total = np.zeros((weights.shape[0], activation_scales.shape[0]), np.float32)
    for index, activations in enumerate(prepared):
        columns = slice(index * tile.group, (index + 1) * tile.group)
        p = exact_matmul(operand(weights[:, columns], tile.weight_format), activations)
        total += _scaled(p, weight_scales[:, index], activation_scales[:, index])
    return total


def gemv_fp32(weights: NDArray[np.uint8], weight_scales: NDArray[Any],
              activations: NDArray[np.uint8], activation_scales: NDArray[Any],
              tile: Tile) -> NDArray[np.uint32]:
    """:func:`gemv` before the results are brought to the format that they have in memory."""
    _check(weights, weight_scales, activations, activation_scales, tile)
    rows, k = weights.shape
    prepared = [operand(activations[:, start:start + tile.group], tile.activation_format)
                for start in range(0, k, tile.group)]
    row_scales = np.arange(rows) // tile.description.scaling.weight_rows
    step = min(max(_BLOCK_RESULTS // activations.shape[0], 16), _BLOCK_ROWS)
    result = np.empty((rows, activations.shape[0]), np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, rows, step):
            block = slice(start, start + step)
            result[block] = _accumulated(weights[block], weight_scales[row_scales[block]],
                                         prepared, activation_scales, tile)
    return to_fp32_codes(result)


def gemv(weights: NDArray[np.uint8], weight_scales: NDArray[Any],
         activations: NDArray[np.uint8], activation_scales: NDArray[Any],
         tile: Tile) -> NDArray[Any]:
    """Compute ``Y[m, c] = sum over k of W[m, k] X[c, k]`` as the tile does, bit for bit.

    Per group ``g``: ``p = fl32(exact sum)``, ``t = fl32(p * combined scale)``,
    ``acc = fl32(acc + t)``, groups ascending: what :func:`golden.column.column` gives for each row
    and column. Any number of rows, columns and elements: the tile's limits are
    limits of one command.

    :Shapes: ``weights`` [M, K], ``weight_scales`` [ceil(M / weight_rows), ceil(K / group)],
        ``activations`` [C, K], ``activation_scales`` [C, ceil(K / group)]; result [M, C]. The last
        group is shorter when K is no multiple of the group.
    :Formats: uint8 codes of the tile's formats; scales uint8 (``e8m0``) or float32; result codes
        uint32 (``fp32``, NaN 0x7FC00000) or uint16 (``bf16``, rounded once, NaN 0x7FC0).
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape.
    """
    codes = gemv_fp32(weights, weight_scales, activations, activation_scales, tile)
    return encode(codes.view(np.float32), tile.result_format)
