"""Layout of tensors in the tile's memory: what the host writes, and how it reads results.

All values are little-endian. Every part begins on an atom and is filled up with zero bytes.

- Codes: one after the other from the lowest bit of a byte up: two of 4 bits in a byte, four of 6
  bits in three, one of 16 bits in two.
- Activation codes: whole beats, that is as many elements as whole atoms of weights have. Activation
  scales: group after group. With E4M3 scales (NVFP4), one more atom begins with the FP32 scale of
  the tensor; in the weight stream it stands behind the scales of each block.
- Zero points: in the weight stream, behind the scales of each block, in their order; packed as
  codes.
- Weight stream: per block of ``rows_per_block`` rows, the atoms of its scales in the order
  [group][scale row], then its strips. A strip holds ``rows_per_strip`` rows, interleaved group by
  group: for each group, for each row, the atoms of that group. Rows past the last are zero; strips
  wholly past it are not stored.
- Where sums are not exact, rows are interleaved atom by atom.
- Where an atom of weights holds several groups, those of one atom stand for the group above: the
  order of the scales is [atom][scale row][group of the atom].
- Results: row after row, ``result_packer.pitch`` elements apart.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from golden.decoder import code_dtype
from golden.scales import scale_dtype, tensor_scales, weight_scale_dtype
from spec.formats import WeightFormat, packed
from spec.tile import Tile

__all__ = ["pack_activations", "pack_weights", "unpack_results"]

_RESULT_TYPES = {"fp32": np.uint32, "bf16": np.uint16}


def _array(name: str, array: Any, dtype: DTypeLike, shape: tuple[int | None, ...],
           described: str) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be an array of {np.dtype(dtype).name}, not {came}")
    if array.ndim != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} must have the shape {described}, not {list(array.shape)}")
    return array


def _little(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Bytes of the last axis, little-endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).view(np.uint8)


def _packed(codes: NDArray[Any], fmt: WeightFormat) -> NDArray[np.uint8]:
    """Codes as bytes, along the last axis."""
    if packed(fmt):
        bits = np.unpackbits(codes[..., None], axis=-1, count=fmt.bits, bitorder="little")
        return np.packbits(bits.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")
    if fmt.bits != 4:
        return _little(codes)
    pairs: NDArray[np.uint8] = codes[..., ::2] | codes[..., 1::2] << np.uint8(4)
    return pairs


def _parted(scales: NDArray[Any], tile: Tile) -> tuple[NDArray[Any], list[bytes]]:
    """Scales [rows, groups] of groups alone, and for each row the atom with that of its tensor,
    empty where there is none."""
    if not tile.block_scaled:
        return scales, [b""] * len(scales)
    tensors = _little(tensor_scales(scales)[:, None])
    return scales["block"], [line.tobytes().ljust(tile.atom_bytes, b"\0") for line in tensors]


def _padded(data: bytes, tile: Tile) -> bytes:
    return data + bytes(-len(data) % tile.atom_bytes)


def pack_activations(codes: NDArray[Any], scales: NDArray[Any],
                     tile: Tile) -> tuple[bytes, bytes]:
    """Pack one activation vector for LOAD: the bytes at ``source``, and those at ``source_scales``.

    :Shapes: ``codes`` [K], ``scales`` [ceil(K / group)].
    :Formats: codes, uint8 or uint16; scales uint8 (E8M0), float32, or
        :data:`golden.scales.BLOCK_SCALE` (E4M3).
    :Errors: ``TypeError`` for a wrong dtype; ``ValueError`` for a wrong shape, and where blocks
        have several tensors' scales.
    """
    _array("pack_activations: codes", codes, code_dtype(tile.activation_format), (None,), "[K]")
    groups = tile.groups(codes.size)
    _array("pack_activations: scales", scales, scale_dtype(tile.scale_format), (groups,),
           f"[{groups}] (one per {tile.group} activations)")
    whole = np.zeros(tile.k_atoms(codes.size) * tile.lanes, codes.dtype)
    whole[:codes.size] = codes
    blocks, (tensor,) = _parted(scales[None], tile)
    return (_padded(_packed(whole, tile.activation_format).tobytes(), tile),
            _padded(_little(blocks).tobytes(), tile) + tensor)


def pack_weights(codes: NDArray[Any], scales: NDArray[Any], tile: Tile) -> bytes:
    """Pack a weight stream for GEMV.

    :Shapes: ``codes`` [M, K], ``scales`` [ceil(M / weight_rows), ceil(K / group)].
    :Formats: codes, uint8 or uint16; scales uint8 (E8M0), float32,
        :data:`golden.scales.BLOCK_SCALE` (E4M3), or with zero points as
        :func:`golden.scales.weight_scale_dtype` has it.
    :Errors: as of :func:`pack_activations`.
    """
    _array("pack_weights: codes", codes, code_dtype(tile.weight_format), (None, None), "[M, K]")
    rows, k = codes.shape
    if not rows or not k:
        raise ValueError(f"pack_weights: codes must have at least one row and one element, "
                         f"not the shape {[rows, k]}")
    weight_rows, groups = tile.description.scaling.weight_rows, tile.groups(k)
    _array("pack_weights: scales", scales, weight_scale_dtype(tile),
           (-(-rows // weight_rows), groups),
           f"[{-(-rows // weight_rows)}, {groups}] (one per {weight_rows} x {tile.group} weights)")

    stream = np.zeros(tile.weight_stream_atoms(rows, k) * tile.atom_bytes, np.uint8)
    row_bytes = tile.k_atoms(k) * tile.weight_beat_bits // 8
    span_bytes = tile.span // tile.lanes * tile.weight_beat_bits // 8
    whole = np.zeros((tile.padded_rows(rows), tile.k_atoms(k) * tile.lanes), codes.dtype)
    whole[:rows, :k] = codes
    padded = _packed(whole, tile.weight_format)
    place = 0
    for block, head in enumerate(_heads(scales, rows, k, tile)):
        stream[place:place + len(head)] = np.frombuffer(head, np.uint8)
        place += len(head)
        lines = padded[block * tile.rows_per_block:(block + 1) * tile.rows_per_block]
        strips = lines.reshape(-1, tile.rows_per_strip, row_bytes)
        space = stream[place:place + strips.size].reshape(strips.shape[0], -1)
        place += strips.size
        for start in range(0, row_bytes, span_bytes):
            part = strips[:, :, start:start + span_bytes]
            at = start * tile.rows_per_strip
            space[:, at:at + part[0].size] = part.reshape(strips.shape[0], -1)
    return stream.tobytes()


def _heads(scales: NDArray[Any], rows: int, k: int, tile: Tile) -> list[bytes]:
    """What stands in front of each block's weights: scales, and zero points or that of the
    tensor."""
    blocks, stored = tile.blocks(rows), tile.stored_groups(k)

    def ordered(part: NDArray[Any]) -> NDArray[Any]:
        whole = np.zeros((blocks * tile.scale_rows, stored), part.dtype)
        whole[:part.shape[0], :part.shape[1]] = part
        parted = whole.reshape(blocks, tile.scale_rows, -1, tile.groups_per_beat)
        return parted.transpose(0, 2, 1, 3).reshape(blocks, -1)

    if not tile.zero_points:
        parts, tensors = _parted(scales, tile)
        # Where tensors have scales, a block has one row of scales.
        return [_padded(_little(line).tobytes(), tile) + tensors[block * tile.scale_rows]
                for block, line in enumerate(ordered(parts))]
    zeros = ordered(scales["zero"])
    # An even number of them.
    zeros = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    return [_padded(_little(line).tobytes(), tile)
            + _padded(_packed(zero, tile.weight_format).tobytes(), tile)
            for line, zero in zip(ordered(scales["scale"]), zeros, strict=True)]


def unpack_results(data: bytes, rows: int, columns: int, tile: Tile) -> NDArray[Any]:
    """Read the results of ``rows`` rows and the first ``columns`` columns.

    Returns codes [rows, columns] of the tile's result format: uint32 (FP32) or uint16 (BF16).
    """
    if not 1 <= columns <= tile.columns:
        raise ValueError(f"unpack_results: columns must be in [1, {tile.columns}], not {columns}")
    expected = tile.result_atoms(rows) * tile.atom_bytes
    if len(data) != expected:
        raise ValueError(f"unpack_results: {rows} rows take {expected} bytes, not {len(data)}")
    dtype = _RESULT_TYPES[tile.result_format.name]
    codes = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    return codes.reshape(-1, tile.result_packer.pitch)[:rows, :columns].copy()
