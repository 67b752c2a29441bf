import numpy as np
import pytest

from golden.transposer import transposer
from spec.tensor_units import TransposerParams

PARAMS = TransposerParams(atom_bits=64, block=16)
EVERY_DTYPE = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def test_layout_of_a_small_block():
    codes = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert transposer(codes, PARAMS).tolist() == [[1, 4, 0, 0, 0, 0, 0, 0],
                                                  [2, 5, 0, 0, 0, 0, 0, 0],
                                                  [3, 6, 0, 0, 0, 0, 0, 0]]
    wide = np.array([[0x0102], [0x0304], [0x0506], [0x0708], [0x090A]], np.uint16)
    assert transposer(wide, PARAMS).tolist() == [[2, 1, 4, 3, 6, 5, 8, 7,
                                                  10, 9, 0, 0, 0, 0, 0, 0]]


@EVERY_DTYPE
def test_every_element_of_every_size_arrives_once(dtype):
    lanes = PARAMS.atom_bytes // np.dtype(dtype).itemsize
    for rows in range(1, 17):
        for columns in range(1, 17):
            # Distinct values: 256 at most, and none is the zero of the padding in 16 bits.
            numbers = np.arange(rows * columns).reshape(rows, columns)
            codes = (numbers + (dtype is np.uint16)).astype(dtype)
            laid = transposer(codes, PARAMS).view(dtype)
            assert laid.shape == (columns, -(-rows // lanes) * lanes)
            for row in range(rows):
                for column in range(columns):
                    assert laid[column, row] == codes[row, column]
            assert not laid[:, rows:].any()


@EVERY_DTYPE
def test_twice_is_the_identity(dtype):
    rng = np.random.default_rng(31)
    for rows, columns in rng.integers(1, 17, (50, 2)):
        codes = rng.integers(0, np.iinfo(dtype).max + 1, (rows, columns), dtype)
        turned = transposer(codes, PARAMS).view(dtype)[:, :rows]
        back = transposer(np.ascontiguousarray(turned), PARAMS).view(dtype)[:, :columns]
        assert np.array_equal(back, codes)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (17, 1), (1, 17)])
def test_rejects_sizes(shape):
    with pytest.raises(ValueError, match=r"^transposer: codes must have 1 to 16 rows and columns, "
                                         rf"not the shape \[{shape[0]}, {shape[1]}\]$"):
        transposer(np.zeros(shape, np.uint8), PARAMS)


def test_rejects_another_element_size():
    with pytest.raises(TypeError, match=r"^transposer: codes must be an array of uint8 or uint16, "
                                        r"not of uint32$"):
        transposer(np.zeros((2, 2), np.uint32), PARAMS)
