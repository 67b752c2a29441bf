import numpy as np
import pytest

from golden.scales import (
    BLOCK_SCALE, block_scales, scale_dtype, tensor_scales, weight_scale_dtype, zero_point_dtype,
)
from spec.formats import SCALE_FORMATS
from tests.golden_cases import ALL_TILES


def test_every_format_has_its_dtype():
    assert {name: scale_dtype(fmt) for name, fmt in SCALE_FORMATS.items()} == {
        "e8m0": np.uint8, "fp32": np.float32, "e4m3": BLOCK_SCALE}


def test_a_block_scale_is_a_code_and_the_scale_of_its_tensor():
    assert BLOCK_SCALE.names == ("block", "tensor")
    assert [BLOCK_SCALE[name] for name in BLOCK_SCALE.names] == [np.uint8, np.float32]


def test_a_scale_with_a_zero_point_has_two_fields():
    for name in ("e8m0", "fp32"):
        dtype = zero_point_dtype(SCALE_FORMATS[name])
        assert dtype.names == ("scale", "zero")
        assert [dtype[field] for field in dtype.names] == [scale_dtype(SCALE_FORMATS[name]),
                                                           np.uint8]


@pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)
def test_only_weights_with_zero_points_have_them_beside_their_scales(tile):
    zero_points = tile.description.compute.weights in ("uint4", "uint8")
    dtype_of = zero_point_dtype if zero_points else scale_dtype
    assert weight_scale_dtype(tile) == dtype_of(tile.scale_format)


def test_one_tensor_has_one_scale():
    blocks = np.arange(12, dtype=np.uint8).reshape(3, 4)
    scales = block_scales(blocks, 0.75)
    assert scales.dtype == BLOCK_SCALE and scales.shape == (3, 4)
    assert np.array_equal(scales["block"], blocks)
    assert (scales["tensor"] == np.float32(0.75)).all()
    assert tensor_scales(scales).tolist() == [0.75] * 3
    assert tensor_scales(scales[1]).shape == () and tensor_scales(scales[1]) == 0.75


def test_each_row_may_be_a_tensor_of_its_own():
    blocks = np.full((2, 3, 5), 0x38, np.uint8)
    tensors = np.array([[1.5, 0.0, -0.0], [np.nan, np.inf, 1e-45]], np.float32)
    scales = block_scales(blocks, tensors)
    found = tensor_scales(scales)
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), tensors.view(np.uint32))
    assert np.array_equal(tensor_scales(scales[:, :, ::2]).view(np.uint32),
                          tensors.view(np.uint32))


@pytest.mark.parametrize("first, other", [(1.0, np.nextafter(np.float32(1), np.float32(2))),
                                          (0.0, -0.0), (np.nan, 1.0)])
def test_rejects_rows_of_several_tensors(first, other):
    scales = block_scales(np.zeros((2, 3), np.uint8), first)
    scales["tensor"][1, 2] = other
    assert tensor_scales(scales[0]).shape == ()
    with pytest.raises(ValueError, match="^tensor_scales: all scales of a row must have the same "
                                         "scale of the tensor$"):
        tensor_scales(scales)
