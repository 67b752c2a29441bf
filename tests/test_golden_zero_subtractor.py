import numpy as np
import pytest

from golden.decoder import decode
from golden.zero_subtractor import zero_subtractor
from spec.arithmetic import ZeroSubtractorParams
from tb.oracle import value_of

EVERY_WIDTH = pytest.mark.parametrize("bits", [4, 8])


def params_of(bits):
    return ZeroSubtractorParams(bits=bits, lanes=32, groups=2)


@EVERY_WIDTH
def test_every_code_less_every_zero_point(bits):
    params, count = params_of(bits), 1 << bits
    codes, zeros = (part.astype(np.uint8) for part in np.meshgrid(range(count), range(count)))
    found = zero_subtractor(codes, zeros, params)
    assert found.dtype == (np.uint8 if bits == 4 else np.uint16) and found.shape == codes.shape
    differences = [code - zero for code, zero in zip(codes.ravel().tolist(), zeros.ravel().tolist(),
                                                     strict=True)]
    # Two's complement of one bit more, as the oracle and the decoder read it.
    assert found.ravel().tolist() == [value % (2 * count) for value in differences]
    assert [value_of(code, params.difference) for code in found.ravel().tolist()] == differences
    assert decode(found, params.difference).ravel().tolist() == differences


@EVERY_WIDTH
def test_zero_points_broadcast(bits):
    params = params_of(bits)
    rng = np.random.default_rng(47)
    codes, zeros = (rng.integers(0, 1 << bits, shape, dtype=np.uint8)
                    for shape in ((3, 5, 16), (3, 5, 1)))
    copies = codes.copy(), zeros.copy()
    found = zero_subtractor(codes, zeros, params)
    assert np.array_equal(found, zero_subtractor(codes, np.repeat(zeros, 16, axis=2), params))
    assert np.array_equal(codes, copies[0]) and np.array_equal(zeros, copies[1])
    assert zero_subtractor(codes[0, 0], np.uint8([0]), params).tolist() == codes[0, 0].tolist()


def test_the_difference_is_a_bit_wider():
    assert [params_of(bits).difference.name for bits in (4, 8)] == ["int5", "int9"]


@pytest.mark.parametrize("codes, zeros, message", [
    (np.zeros(4, np.int8), np.zeros(4, np.uint8),
     "zero_subtractor: codes must be an array of uint8, not of int8"),
    (np.zeros(4, np.uint8), np.zeros(4, np.uint16),
     "zero_subtractor: zeros must be an array of uint8, not of uint16"),
    (np.zeros(4, np.uint8), 3, "zero_subtractor: zeros must be a numpy array of uint8, not int"),
])
def test_rejects_wrong_arrays(codes, zeros, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        zero_subtractor(codes, zeros, params_of(4))
