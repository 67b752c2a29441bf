"""Layout of matrices in the tile's memory, for the commands on whole tensors.

A matrix [rows, k] is written row after row; every row begins on an atom and is filled up with zero
bytes. Elements are little-endian. The scales of FP8 codes are a matrix of their own, [rows,
ceil(k / group)]. Results of REDUCE stand one behind the other, one or two 32-bit words each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spec.tensors import Reduction, TensorFormat, wide_results

__all__ = ["ELEMENT_TYPES", "pack_matrix", "row_bytes", "unpack_matrix", "unpack_reductions"]

# The codes of each format, as numpy holds them. FP32 comes and goes as float32, too.
ELEMENT_TYPES: dict[TensorFormat, type[np.generic]] = {
    TensorFormat.E4M3: np.uint8, TensorFormat.E5M2: np.uint8, TensorFormat.BF16: np.uint16,
    TensorFormat.FP32: np.float32}

_DTYPES = (np.uint8, np.uint16, np.uint32, np.float32)


def row_bytes(elements: int, element_bytes: int, atom_bytes: int) -> int:
    """Bytes of a row of ``elements``: whole atoms."""
    return -(-elements * element_bytes // atom_bytes) * atom_bytes


def pack_matrix(matrix: NDArray[Any], atom_bytes: int) -> bytes:
    """Pack codes, values or scales [rows, k] of 1, 2 or 4 bytes; neither may be 0."""
    if not isinstance(matrix, np.ndarray) or matrix.dtype not in _DTYPES:
        came = matrix.dtype if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise TypeError("pack_matrix: needs an array of "
                        f"{', '.join(np.dtype(dtype).name for dtype in _DTYPES)}, not {came}")
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"pack_matrix: needs the shape [rows, k], not {list(matrix.shape)}")
    little = np.ascontiguousarray(matrix, matrix.dtype.newbyteorder("<")).view(np.uint8)
    rows = np.zeros((matrix.shape[0], row_bytes(little.shape[1], 1, atom_bytes)), np.uint8)
    rows[:, :little.shape[1]] = little
    return rows.tobytes()


def unpack_matrix(data: bytes, rows: int, k: int, dtype: type[np.generic],
                  atom_bytes: int) -> NDArray[Any]:
    """Read back a matrix [rows, k] of ``dtype``."""
    size = np.dtype(dtype).itemsize
    expected = rows * row_bytes(k, size, atom_bytes)
    if len(data) != expected:
        raise ValueError(f"unpack_matrix: [{rows}, {k}] of {np.dtype(dtype).name} takes "
                         f"{expected} bytes, not {len(data)}")
    padded = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(rows, -1)
    return padded[:, :k].astype(dtype)


def unpack_reductions(data: bytes, results: int, reduction: Reduction) -> NDArray[Any]:
    """Read the results of REDUCE.

    Returns float32 [results]; of ``ARGMAX`` and ``MOMENTS``, whose results are two words, a
    structured array [results] with the fields ``value`` (float32) and ``index`` (uint32), or
    ``sum`` and ``sum_squares`` (float32). ``data`` may be longer: whole atoms.
    """
    dtype: Any = np.dtype("<f4")
    if wide_results(reduction):
        names = (("value", "<f4"), ("index", "<u4")) if reduction == Reduction.ARGMAX else (
            ("sum", "<f4"), ("sum_squares", "<f4"))
        dtype = np.dtype(list(names))
    if len(data) < results * dtype.itemsize:
        raise ValueError(f"unpack_reductions: {results} results of {reduction.name} take "
                         f"{results * dtype.itemsize} bytes, not {len(data)}")
    return np.frombuffer(data, dtype, results).astype(dtype.newbyteorder("="))
