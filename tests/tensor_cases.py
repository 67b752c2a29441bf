"""Cases that the tests of commands on whole tensors share: tiles, tensors, a golden run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.quantizer import quantize
from golden.tile import GoldenTile
from host.tensor_job import Tensor, TensorJob
from spec.commands import ErrorCode
from spec.load import load_tile
from spec.tensors import TensorFormat
from spec.tile import Tile
from tests.conftest import PROJECT

__all__ = ["BLOCKS", "FULL", "NATIVE_FULL", "NATIVE_SMALL", "SMALL", "TENSOR_TILES", "executed",
           "random_tensor"]

# All that can be built: with atoms of 8 bytes and FP32 scales, with atoms of 32 bytes, and beside
# a pseudo-channel. Then little of it: beside a small pseudo-channel, and the smallest.
SMALL = PROJECT / "tests" / "descriptions" / "tensors.toml"
FULL = PROJECT / "tiles" / "hbm3_fp8_full.toml"
NATIVE_FULL = PROJECT / "tiles" / "hbm3_fp8_native_full.toml"
NATIVE_SMALL = PROJECT / "tests" / "descriptions" / "native_tensors.toml"
BLOCKS = PROJECT / "tests" / "descriptions" / "blocks.toml"
TENSOR_TILES = [load_tile(path) for path in (SMALL, FULL, NATIVE_FULL)]


def random_tensor(rng: np.random.Generator, tile: Tile, name: TensorFormat, rows: int, k: int,
                  spread: float = 3.0) -> Tensor:
    """Values of many magnitudes; FP8 as the tile's rule makes it of them."""
    values = (rng.normal(size=(rows, k)) * np.exp(spread * rng.normal(size=(rows, 1)))).astype(
        np.float32)
    if name == TensorFormat.FP32:
        return Tensor(name, values)
    if name == TensorFormat.BF16:
        return Tensor(name, (values.view(np.uint32) >> 16).astype(np.uint16))
    return Tensor(name, *quantize(values, name.float_format, tile.description.scaling))


def executed(job: TensorJob) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The results of a job on the golden tile; what is not written stays as it was."""
    image = job.image.copy()
    # Whatever stood where the results go is overwritten.
    image[job.atoms * job.tile.atom_bytes:] = 0xA5
    golden = GoldenTile(job.tile, image)
    golden.window_limit = image.size
    assert golden.execute(job.command.pack()) == ErrorCode.NONE
    size = job.atoms * job.tile.atom_bytes
    assert np.array_equal(image[:size], job.image[:size])
    return job.results(image)
