"""Arrays of scales: their types, NVFP4's pairs of scales, and zero points."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spec.formats import ScaleFormat
from spec.tile_geometry import TileGeometry

__all__ = ["BLOCK_SCALE", "block_scales", "scale_dtype", "tensor_scales", "weight_scale_dtype",
           "zero_point_dtype"]

# One scale of NVFP4: the E4M3 code of the block, and the scale of the tensor, the same in a row.
BLOCK_SCALE = np.dtype([("block", np.uint8), ("tensor", np.float32)])

_DTYPES: dict[str, np.dtype[Any]] = {
    "e8m0": np.dtype(np.uint8), "fp32": np.dtype(np.float32), "e4m3": BLOCK_SCALE,
}


def scale_dtype(fmt: ScaleFormat) -> np.dtype[Any]:
    """The dtype of an array of scales."""
    return _DTYPES[fmt.name]


def zero_point_dtype(fmt: ScaleFormat) -> np.dtype[Any]:
    """The dtype of an array of scales with zero points: ``scale`` and ``zero``."""
    return np.dtype([("scale", scale_dtype(fmt)), ("zero", np.uint8)])


def weight_scale_dtype(tile: TileGeometry) -> np.dtype[Any]:
    """The dtype of an array of scales of weights: with ``scale`` and ``zero`` where weights have
    zero points."""
    return (zero_point_dtype if tile.zero_points else scale_dtype)(tile.scale_format)


def block_scales(blocks: NDArray[np.uint8], tensor: ArrayLike) -> NDArray[Any]:
    """Scales of NVFP4: codes of blocks [..., groups], and those of their tensors [...]."""
    scales = np.empty(blocks.shape, BLOCK_SCALE)
    scales["block"] = blocks
    scales["tensor"] = np.asarray(tensor, np.float32)[..., None]
    return scales


def tensor_scales(scales: NDArray[Any]) -> NDArray[np.float32]:
    """The scales of the tensors [...] of NVFP4's ``scales`` [..., groups].

    :Errors: ``ValueError`` where the scales of one row are of several tensors.
    """
    tensor = np.ascontiguousarray(scales["tensor"])
    codes = tensor.view(np.uint32)
    if np.any(codes != codes[..., :1]):
        raise ValueError("tensor_scales: all scales of a row must have the same scale of the "
                         "tensor")
    first: NDArray[np.float32] = tensor[..., 0]
    return first
