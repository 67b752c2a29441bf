"""GEMV: weights times activation vectors, with group scaling, at the speed of a matrix product."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.aligned_matmul import AlignedOperand, aligned_matmul, aligned_operand
from golden.block_matmul import LONGEST_ROW, block_matmul, block_operand
from golden.checks import check_array, check_shape
from golden.decoder import code_dtype
from golden.encoder import encode
from golden.exact_matmul import Operand, exact_matmul, operand
from golden.fp32 import to_fp32_codes
from golden.fp32_dot_array import fp32_dot_array
from golden.scale_combiner import E8M0_NAN
from golden.scaled_matmul import scaled_operand, scaled_terms
from golden.scales import scale_dtype, tensor_scales, weight_scale_dtype
from golden.zero_subtractor import zero_subtractor
from spec.dot_arrays import (
    AlignedDotArrayParams, AnyDotArrayParams, BlockDotArrayParams, DotArrayParams,
    Fp32DotArrayParams,
)
from spec.formats import WeightFormat
from spec.tile import Tile

__all__ = ["gemv", "gemv_fp32"]

# Elements of a block's results, and codes of a block's weights: what stays in a core's cache.
_BLOCK_RESULTS = 1 << 15
_BLOCK_ROWS = 512
# Elements of weights with scales of blocks that are worked on together.
_BLOCK_ELEMENTS = 1 << 18
# Scaled sums of several groups that are made together.
_CHUNK_TERMS = 1 << 18

Floats = NDArray[np.float32]
# Activations of one sum, as the kind of accumulation takes them.
Prepared = Operand | AlignedOperand | NDArray[Any]


def _check(weights: NDArray[Any], weight_scales: NDArray[Any],
           activations: NDArray[Any], activation_scales: NDArray[Any], tile: Tile) -> None:
    check_array("gemv: weights", weights, code_dtype(tile.weight_format), dimensions=2)
    check_array("gemv: activations", activations, code_dtype(tile.activation_format), dimensions=2)
    rows, k = weights.shape
    columns = activations.shape[0]
    if not (rows and k and columns):
        raise ValueError(f"gemv: needs at least one row, one column and k = 1, but weights have "
                         f"the shape {[rows, k]} and activations {list(activations.shape)}")
    check_shape("gemv: activations", activations, (columns, k), "[C, K] with the weights' K")
    _check_codes("gemv: weights", weights, tile.weight_format)
    _check_codes("gemv: activations", activations, tile.activation_format)
    if tile.block_scaled and k > LONGEST_ROW:
        raise ValueError(f"gemv: a row whose blocks are scaled within its sum may have "
                         f"{LONGEST_ROW} elements, not {k}")
    weight_rows = tile.description.scaling.weight_rows
    for name, scales, dtype, shape, why in (
            ("gemv: weight_scales", weight_scales, weight_scale_dtype(tile),
             (-(-rows // weight_rows), tile.groups(k)),
             f"one per {weight_rows} x {tile.group} weights"),
            ("gemv: activation_scales", activation_scales, scale_dtype(tile.scale_format),
             (columns, tile.groups(k)), f"one per {tile.group} activations")):
        _check_dtype(name, scales, dtype)
        check_shape(name, scales, shape, why)
    if tile.zero_points:
        _check_codes("gemv: zero points", weight_scales["zero"], tile.weight_format)


def _check_dtype(name: str, scales: NDArray[Any], dtype: np.dtype[Any]) -> None:
    if dtype.names is None:
        check_array(name, scales, dtype.type)
    elif not isinstance(scales, np.ndarray) or scales.dtype != dtype:
        raise TypeError(f"{name} must be an array of {dtype}, not "
                        + (f"of {scales.dtype}" if isinstance(scales, np.ndarray)
                           else type(scales).__name__))


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


def _check_codes(name: str, codes: NDArray[Any], fmt: WeightFormat) -> None:
    if fmt.bits < 8 and int(codes.max()) >> fmt.bits:
        raise ValueError(f"{name}: {fmt.name} codes have {fmt.bits} bits, but the largest is "
                         f"{int(codes.max())}")


def _accumulated(weights: NDArray[Any], weight_scales: NDArray[Any],
                 prepared: list[Prepared], activation_scales: NDArray[Any],
                 activations: NDArray[Any] | None, tile: Tile) -> Floats:
    """Results of a block of rows; ``weight_scales`` has a line per row, ``activations`` are those
    of all groups where they can be."""
    total = np.zeros((weights.shape[0], activation_scales.shape[0]), np.float32)
    # Of the tile once: each is worked out anew from its description.
    params, elements, sums = tile.dot_array, tile.sum_elements, tile.column.sums_per_group
    scaled = None
    if activations is not None:
        scaled = scaled_operand(weights, weight_scales, params.weight_format, tile.group)

    def term(index: int) -> Floats:
        part = weights[:, index * elements:(index + 1) * elements]
        vectors = prepared[index]
        if isinstance(params, Fp32DotArrayParams):
            assert isinstance(vectors, np.ndarray)
            p = np.stack([fp32_dot_array(part, vector, params).view(np.float32)
                          for vector in vectors], axis=1)
        elif isinstance(vectors, AlignedOperand):
            assert isinstance(params, AlignedDotArrayParams)
            p = aligned_matmul(aligned_operand(part, params.weight_format, params), vectors, params)
        else:
            assert isinstance(vectors, Operand)
            p = exact_matmul(operand(part, params.weight_format), vectors)
        return _scaled(p, weight_scales[:, index // sums], activation_scales[:, index // sums])

    step = tile.groups_per_beat
    chunk = max(step, _CHUNK_TERMS // total.size // step * step)
    ready: NDArray[np.float32] | None = None
    for first in range(0, len(prepared), step):
        if scaled is not None and activations is not None and first % chunk == 0:
            ready = scaled_terms(scaled, activations, slice(first, first + chunk))
        end = min(first + step, len(prepared))
        if ready is None:
            terms = [term(index) for index in range(first, end)]
        else:
            terms = list(ready[first % chunk:first % chunk + end - first])
        # In pairs of neighbours; what a beat lacks adds nothing.
        while len(terms) > 1:
            pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs):]
        total += terms[0]
    return total


def _prepared(activations: NDArray[Any], params: AnyDotArrayParams) -> Prepared:
    """Activations of one sum, ready for any number of weights."""
    if isinstance(params, AlignedDotArrayParams):
        return aligned_operand(activations, params.activation_format, params)
    if isinstance(params, Fp32DotArrayParams):
        return activations
    return operand(activations, params.activation_format)


def _block_scaled(weights: NDArray[Any], weight_scales: NDArray[Any], activations: NDArray[Any],
                  activation_scales: NDArray[Any], params: BlockDotArrayParams) -> Floats:
    """Results of rows that are one sum of scaled blocks; ``weight_scales`` has a line per row."""
    vectors = block_operand(activations, activation_scales["block"], params.activation_format,
                            params)
    tensors = tensor_scales(weight_scales)
    step = max(1, _BLOCK_ELEMENTS // weights.shape[1])
    sums = np.empty((weights.shape[0], activations.shape[0]), np.float32)
    for start in range(0, weights.shape[0], step):
        block = slice(start, start + step)
        rows = block_operand(weights[block], weight_scales["block"][block], params.weight_format,
                             params)
        sums[block] = block_matmul(rows, vectors, params)
    # Added to +0: no result is -0.
    return _scaled(sums, tensors, tensor_scales(activation_scales)) + np.float32(0)


def gemv_fp32(weights: NDArray[Any], weight_scales: NDArray[Any],
              activations: NDArray[Any], activation_scales: NDArray[Any],
              tile: Tile) -> NDArray[np.uint32]:
    """:func:`gemv` before the results are brought to the format that they have in memory."""
    _check(weights, weight_scales, activations, activation_scales, tile)
    rows, k = weights.shape
    row_scales = np.arange(rows) // tile.description.scaling.weight_rows
    params, elements = tile.dot_array, tile.sum_elements
    if isinstance(params, BlockDotArrayParams):
        with np.errstate(all="ignore"):
            return to_fp32_codes(_block_scaled(weights, weight_scales[row_scales], activations,
                                               activation_scales, params))
    prepared = [_prepared(activations[:, start:start + elements], params)
                for start in range(0, k, elements)]
    scaled = None
    if isinstance(params, DotArrayParams) and tile.scale_format.name == "e8m0":
        scaled = scaled_operand(activations, activation_scales, tile.activation_format, tile.group)
    step = min(max(_BLOCK_RESULTS // activations.shape[0], 16), _BLOCK_ROWS)
    result = np.empty((rows, activations.shape[0]), np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, rows, step):
            block = slice(start, start + step)
            factors, scales = weights[block], weight_scales[row_scales[block]]
            if tile.zero_points:
                zeros = np.repeat(scales["zero"], tile.group, axis=1)[:, :k]
                factors = zero_subtractor(factors, zeros, tile.zero_subtractor)
                scales = np.ascontiguousarray(scales["scale"])
            result[block] = _accumulated(factors, scales, prepared, activation_scales, scaled,
                                         tile)
    return to_fp32_codes(result)


def gemv(weights: NDArray[Any], weight_scales: NDArray[Any],
         activations: NDArray[Any], activation_scales: NDArray[Any],
         tile: Tile) -> NDArray[Any]:
    """Compute ``Y[m, c] = sum over k of W[m, k] X[c, k]`` as the tile does, bit for bit.

    Per group ``g``: ``p = fl32(exact sum)`` (or the aligned or FP32 sums of its parts),
    ``t = fl32(p * combined scale)``, ``acc = fl32(acc + t)``, groups ascending, those of one beat
    added to each other first: what :func:`golden.column.column` gives for each row and column. Any
    number of rows, columns and elements: the tile's limits are limits of one command.

    With E4M3 scales of blocks (NVFP4), a row is one group: ``p = fl32(exact sum)`` of codes times
    the scales of their blocks over all of K, whatever K; ``combined scale = fl32(activation tensor
    scale * weight tensor scale)``. A block's scale that is NaN makes the results of its row NaN.

    Weights with zero points are their codes less the zero point of their scale.

    :Shapes: ``weights`` [M, K], ``weight_scales`` [ceil(M / weight_rows), ceil(K / group)],
        ``activations`` [C, K], ``activation_scales`` [C, ceil(K / group)]; result [M, C]. The last
        group is shorter when K is no multiple of the group.
    :Formats: codes of the tile's formats, uint8 or uint16; scales uint8 (``e8m0``), float32 or
        :data:`golden.scales.BLOCK_SCALE` (``e4m3``), those of weights with zero points as
        :func:`golden.scales.weight_scale_dtype` has it; result codes uint32 (``fp32``, NaN
        0x7FC00000) or uint16 (``bf16``, rounded once, NaN 0x7FC0).
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape, and with E4M3 scales
        for a row whose scales are of several tensors, or of more than ``2**20`` elements.
    """
    codes = gemv_fp32(weights, weight_scales, activations, activation_scales, tile)
    return encode(codes.view(np.float32), tile.result_format)
