"""Random GEMV for benchmarks: a job, and what it must give."""

import numpy as np
from numpy.typing import NDArray

from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from host.job import GemvJob, gemv_job
from spec.tile import Tile

__all__ = ["random_gemv"]


def random_gemv(tile: Tile, rows: int, k: int, seed: int) -> tuple[GemvJob, NDArray[np.uint32]]:
    """A job of normally distributed operands, quantized by the tile's rules, and its result."""
    rng = np.random.default_rng(seed)
    scaling = tile.description.scaling
    w, sw = quantize_blocks(rng.standard_normal((rows, k), np.float32), tile.weight_format, scaling)
    x, sx = quantize(rng.standard_normal((tile.columns, k), np.float32), tile.activation_format,
                     scaling)
    return gemv_job(tile, w, sw, x, sx), gemv(w, sw, x, sx, tile)
