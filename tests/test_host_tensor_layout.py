"""Matrices in memory: rows of whole atoms, and results of REDUCE."""

import struct
from typing import Any

import numpy as np
import pytest

from host.tensor_layout import pack_matrix, row_bytes, unpack_matrix, unpack_reductions
from spec.tensors import Reduction


@pytest.mark.parametrize(("dtype", "code"), [(np.uint8, "B"), (np.uint16, "H"), (np.uint32, "I"),
                                             (np.float32, "f")])
@pytest.mark.parametrize("atom_bytes", [8, 32, 64])
def test_rows_are_whole_atoms_of_little_endian_elements(dtype: Any, code: str,
                                                        atom_bytes: int) -> None:
    rng = np.random.default_rng(1)
    for rows, k in ((1, 1), (3, 7), (2, 64), (5, 65)):
        matrix = rng.integers(0, 200, (rows, k)).astype(dtype)
        expected = b""
        for row in matrix.tolist():
            data = struct.pack(f"<{k}{code}", *row)
            expected += data + bytes(-len(data) % atom_bytes)
        data = pack_matrix(matrix, atom_bytes)
        assert data == expected
        assert len(data) == rows * row_bytes(k, matrix.itemsize, atom_bytes)
        found = unpack_matrix(data, rows, k, dtype, atom_bytes)
        assert found.dtype == dtype and np.array_equal(found, matrix)
        # Of any layout in memory.
        assert pack_matrix(np.asfortranarray(matrix), atom_bytes) == expected


def test_padding_means_nothing() -> None:
    data = bytearray(pack_matrix(np.array([[1, 2], [3, 4]], np.uint16), 8))
    data[4:8], data[12:16] = b"\xff" * 4, b"\xff" * 4
    assert unpack_matrix(bytes(data), 2, 2, np.uint16, 8).tolist() == [[1, 2], [3, 4]]


def test_reductions_stand_one_behind_the_other() -> None:
    data = struct.pack("<fffff", 1.5, -2.0, 3.0, 4.0, 5.0) + bytes(12)
    found = unpack_reductions(data, 5, Reduction.SUM)
    assert found.dtype == np.float32 and found.tolist() == [1.5, -2.0, 3.0, 4.0, 5.0]
    data = struct.pack("<fIfI", 1.5, 0xFFFFFFFF, -2.0, 7)
    found = unpack_reductions(data, 2, Reduction.ARGMAX)
    assert found["value"].tolist() == [1.5, -2.0] and found["index"].tolist() == [0xFFFFFFFF, 7]
    data = struct.pack("<ff", 1.5, 2.25)
    found = unpack_reductions(data, 1, Reduction.MOMENTS)
    assert found["sum"].tolist() == [1.5] and found["sum_squares"].tolist() == [2.25]


def test_refuses_what_is_no_matrix() -> None:
    with pytest.raises(TypeError, match="^pack_matrix: needs an array of uint8, uint16, uint32, "
                                        "float32, not float64$"):
        pack_matrix(np.zeros((1, 1)), 8)
    with pytest.raises(TypeError, match="float32, not list$"):
        pack_matrix([[1]], 8)  # type: ignore[arg-type]
    for shape in ((3,), (0, 3), (3, 0)):
        with pytest.raises(ValueError, match=r"^pack_matrix: needs the shape \[rows, k\], not \["):
            pack_matrix(np.zeros(shape, np.uint8), 8)
    with pytest.raises(ValueError, match=r"^unpack_matrix: \[2, 9\] of uint8 takes 32 bytes, "
                                         r"not 31$"):
        unpack_matrix(bytes(31), 2, 9, np.uint8, 8)
    with pytest.raises(ValueError, match="^unpack_reductions: 2 results of MOMENTS take 16 bytes, "
                                         "not 15$"):
        unpack_reductions(bytes(15), 2, Reduction.MOMENTS)
