import numpy as np
import pytest

from golden.row_packer import row_packer
from spec.tensor_units import RowPackerParams

PARAMS = RowPackerParams(atom_bits=64, scales_max=9, scale_bits_max=32)


def test_rows_begin_atoms_and_scales_follow_each_other():
    codes = np.arange(1, 23, dtype=np.uint8).reshape(2, 11)
    scales = np.array([[1.0, -2.0, 0.5]], np.float32)
    code_atoms, scale_atoms = row_packer(codes, scales, PARAMS)
    assert code_atoms.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 0, 0, 0, 0, 0],
                                   [12, 13, 14, 15, 16, 17, 18, 19], [20, 21, 22, 0, 0, 0, 0, 0]]
    assert scale_atoms.tolist() == [[0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0], [0, 0, 0, 0x3F, 0, 0, 0, 0]]


def test_e8m0_scales_are_bytes():
    _, atoms = row_packer(np.ones((1, 8), np.uint8), np.arange(9, dtype=np.uint8), PARAMS)
    assert atoms.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 0, 0, 0, 0, 0, 0, 0]]


def test_rejects_what_it_cannot_pack():
    codes, scales = np.ones((1, 8), np.uint8), np.ones(1, np.uint8)
    with pytest.raises(ValueError, match=r"^row_packer: codes must have the shape \[rows, k\] and "
                                         r"at least one element, not the shape \[8\]$"):
        row_packer(codes[0], scales, PARAMS)
    with pytest.raises(ValueError, match="^row_packer: there must be 1 to 9 scales, not 10$"):
        row_packer(codes, np.ones(10, np.uint8), PARAMS)
    with pytest.raises(TypeError, match="^row_packer: scales must be an array of uint8 or "
                                        "float32, not of uint32$"):
        row_packer(codes, scales.astype(np.uint32), PARAMS)
