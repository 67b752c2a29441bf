"""Commands on whole tensors: what they make of the bytes that they read.

Layouts are those of :mod:`spec.tensors`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.converter import converter
from golden.decoder import code_dtype
from golden.quantizer import quantize
from golden.reducer import reducer
from spec.commands import Command, Opcode
from spec.description import Scaling
from spec.tensor_checks import (
    FP8, TensorSizes, copies_scales, makes_scales, reads_scales,
)
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat, wide_results
from spec.tile import Tile

__all__ = ["TensorResults", "reading_place", "tensor_command"]

Bytes = NDArray[np.uint8]
Codes = NDArray[Any]


@dataclass(frozen=True)
class TensorResults:
    """Results as matrices of bytes, [rows, whole atoms]: codes or values, and their scales.

    ``target_scales`` has no rows where there are none. ``host`` are the same atoms in the order in
    which the host port gives them.
    """

    target: Bytes
    target_scales: Bytes
    host: bytes


def tensor_command(command: Command, source: Bytes, source_scales: Bytes,
                   tile: Tile) -> TensorResults:
    """Execute QUANTIZE, REDUCE, TRANSPOSE, COPY, MAP, or a LOAD that quantizes.

    The command must have passed its checks. MAP gives what the cast window shows, LOAD what the
    buffers take.

    :Shapes: ``source`` and ``source_scales`` are the bytes of the two regions; the second is empty
        where the command reads no scales.
    :Formats: what stands past the elements of a row in its last atom means nothing; results have
        zero there, but COPY in one format copies whole atoms. FP8 elements are ``code * scale``,
        rounded to BF16 or FP32 as :func:`golden.converter.converter` does; FP8 becomes FP8 of
        other groups by way of BF16. :func:`golden.quantizer.quantize` makes new codes,
        :func:`golden.reducer.reducer` results of REDUCE.
    :Order: the host gets each row's codes and then its scales, where both are copied as they stand
        its scales first; of TRANSPOSE block after block, those of one band of source rows
        ascending along K, each its codes row by row and then its scales.
    """
    if command.opcode == Opcode.REDUCE:
        return _reduce(command, source, source_scales, tile)
    if command.opcode == Opcode.TRANSPOSE:
        return _transpose(command, source, source_scales, tile)
    if command.opcode == Opcode.COPY:
        return _copy(command, source, source_scales, tile)
    rows = command.rows if command.opcode == Opcode.QUANTIZE else 1
    values = _elements(source, rows, command.k, TensorFormat.BF16)
    return _by_rows(*_quantized(values, command, tile), tile)


def reading_place(command: Command, atom: int, scales: bool, sizes: TensorSizes,
                  tile: Tile) -> tuple[int, ...]:
    """Return when atom number ``atom`` of the source, or of its scales, is first read.

    Atoms are read in ascending order of these tuples: row after row, the scales of as many rows as
    :meth:`spec.tensor_engine.TensorEngineParams.rows_together` says before their elements, or of
    each before its own where both are copied as they stand; of TRANSPOSE block after block, a band
    of rows ascending along K.
    """
    row, column = divmod(atom, sizes.source_scale_row if scales else sizes.source_row)
    if command.opcode != Opcode.TRANSPOSE:
        together = 1
        if reads_scales(command) and not copies_scales(command):
            assert tile.tensor_engine is not None
            together = tile.tensor_engine.rows_together(sizes.source_scale_row)
        return row // together, not scales, row, column
    assert tile.transposer is not None
    elements = tile.atom_bits // TensorFormat(command.source_format).float_format.bits
    if scales:
        elements = tile.atom_bits // tile.scale_format.bits * tile.group
    block = tile.transposer.block
    return row // block, column * elements // block, not scales, row, column


# Matrices in memory


def _elements(data: Bytes, rows: int, columns: int, name: TensorFormat) -> Codes:
    """Codes [rows, columns] out of rows of whole atoms."""
    return _matrix(data, rows, columns, code_dtype(name.float_format))


def _scales(data: Bytes, command: Command, tile: Tile) -> Codes | None:
    """The scales of an FP8 source [rows, groups]; None where the command reads none."""
    if not reads_scales(command):
        return None
    return _matrix(data, command.rows, tile.groups(command.k),
                   np.uint8 if tile.scale_format.name == "e8m0" else np.float32)


def _matrix(data: Bytes, rows: int, columns: int, dtype: type[np.generic]) -> Codes:
    padded = np.frombuffer(data.tobytes(), np.dtype(dtype).newbyteorder("<"))
    return padded.reshape(rows, -1)[:, :columns].astype(dtype)


def _stored(matrix: Codes, tile: Tile) -> Bytes:
    """Rows of whole atoms, filled up with zero bytes."""
    data = np.ascontiguousarray(matrix, matrix.dtype.newbyteorder("<")).view(np.uint8)
    return np.pad(data, ((0, 0), (0, -data.shape[1] % tile.atom_bytes)))


_NONE = np.zeros((0, 0), np.uint8)


def _by_rows(codes: Codes, scales: Codes | None, tile: Tile) -> TensorResults:
    target = _stored(codes, tile)
    if scales is None:
        return TensorResults(target, _NONE, target.tobytes())
    stored = _stored(scales, tile)
    return TensorResults(target, stored, np.concatenate([target, stored], axis=1).tobytes())


# Elements


def _wide(command: Command, source: Bytes, source_scales: Bytes, way: TensorFormat,
          tile: Tile) -> tuple[Codes, TensorFormat]:
    """The source's elements and their format: ``way``, BF16 or FP32, for FP8 that has scales."""
    name = TensorFormat(command.source_format)
    codes = _elements(source, command.rows, command.k, name)
    scales = _scales(source_scales, command, tile)
    if scales is None:
        return codes, name
    return converter(codes, name.float_format, way.float_format, scales, tile.group), way


def _quantized(values: Codes, command: Command, tile: Tile) -> tuple[Codes, Codes]:
    """Codes and scales of BF16 or FP32 codes: as the command says, of LOAD as the tile does."""
    scaling, name = tile.description.scaling, TensorFormat(command.target_format)
    if command.opcode == Opcode.LOAD:
        name = TensorFormat[tile.activation_format.name.upper()]
    else:
        rule = {value: text for text, value in RULE_NAMES.items()}[ScaleRule(command.rule)]
        scaling = Scaling.model_validate({
            "format": rule.partition("-")[0], "rule": rule, "group": 1 << command.group,
            "amax_floor": scaling.amax_floor})
    if values.dtype == np.uint32:
        values = values.view(np.float32)
    return quantize(values, name.float_format, scaling)


# Commands


def _reduce(command: Command, source: Bytes, source_scales: Bytes, tile: Tile) -> TensorResults:
    assert tile.reducer is not None
    name, reduction = TensorFormat(command.source_format), Reduction(command.reduction)
    codes = _elements(source, command.rows, command.k, name)
    scales = _scales(source_scales, command, tile)
    words = reducer(codes, name.float_format, reduction, tile.reducer, scales,
                    None if scales is None else tile.group, bool(command.whole))
    results = np.stack(words, axis=1) if wide_results(reduction) else words.value
    return _by_rows(results.reshape(1, -1), None, tile)


def _copy(command: Command, source: Bytes, source_scales: Bytes, tile: Tile) -> TensorResults:
    rows, target = command.rows, TensorFormat(command.target_format)
    if command.source_format == target:
        codes = source.reshape(rows, -1)
        if not reads_scales(command):
            return TensorResults(codes, _NONE, codes.tobytes())
        scales = source_scales.reshape(rows, -1)
        return TensorResults(codes, scales, np.concatenate([scales, codes], axis=1).tobytes())
    way = TensorFormat.FP32 if target == TensorFormat.FP32 else TensorFormat.BF16
    values, name = _wide(command, source, source_scales, way, tile)
    if target in FP8:
        return _by_rows(*_quantized(values, command, tile), tile)
    if name != target:
        values = converter(values, name.float_format, target.float_format)
    return _by_rows(values, None, tile)


def _transpose(command: Command, source: Bytes, source_scales: Bytes, tile: Tile) -> TensorResults:
    values, _ = _wide(command, source, source_scales, TensorFormat.BF16, tile)
    turned = np.ascontiguousarray(values.T)
    if makes_scales(command):
        codes, scales = _quantized(turned, command, tile)
        target, target_scales = _stored(codes, tile), _stored(scales.T, tile)
    else:
        target, target_scales = _stored(turned, tile), _NONE
    return TensorResults(target, target_scales, _blocks(target, target_scales, command, tile))


def _blocks(target: Bytes, target_scales: Bytes, command: Command, tile: Tile) -> bytes:
    """The results of TRANSPOSE in the order of the blocks."""
    assert tile.transposer is not None
    block, parts = tile.transposer.block, []
    width = block * TensorFormat(command.target_format).float_format.bits // 8
    scale_width = block * (4 if command.rule == ScaleRule.FP32_DIV else 1)
    for band in range(-(-command.rows // block)):
        for number, first in enumerate(range(0, command.k, block)):
            parts.append(target[first:first + block, band * width:(band + 1) * width].tobytes())
            if target_scales.size:
                parts.append(target_scales[
                    band, number * scale_width:(number + 1) * scale_width].tobytes())
    return b"".join(parts)
