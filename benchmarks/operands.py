"""Random GEMV for benchmarks: a job, what it must give, and how long the tile takes."""

import time

import numpy as np
from numpy.typing import NDArray

from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from host.job import GemvJob, gemv_job
from spec.tile import Tile
from tools.simulation import SystemRun, simulate

__all__ = ["random_gemv", "timed_gemv"]


def random_gemv(tile: Tile, rows: int, k: int, seed: int) -> tuple[GemvJob, NDArray[np.uint32]]:
    """A job of normally distributed operands, quantized by the tile's rules, and its result."""
    rng = np.random.default_rng(seed)
    scaling = tile.description.scaling
    w, sw = quantize_blocks(rng.standard_normal((rows, k), np.float32), tile.weight_format, scaling)
    x, sx = quantize(rng.standard_normal((tile.columns, k), np.float32), tile.activation_format,
                     scaling)
    return gemv_job(tile, w, sw, x, sx), gemv(w, sw, x, sx, tile)


def timed_gemv(tile: Tile, rows: int, k: int) -> tuple[SystemRun, bool, float]:
    """Simulate one: the run, whether the results are the golden model's, and its seconds."""
    job, expected = random_gemv(tile, rows, k, seed=7)
    # The build is not part of the figure: a first, tiny job pays for it.
    small, _ = random_gemv(tile, 1, k, seed=7)
    simulate(tile, small.image, small.commands)
    started = time.monotonic()
    done = simulate(tile, job.image, job.commands)
    equal = not done.errors and bool(np.array_equal(job.results(job.image), expected))
    return done, equal, time.monotonic() - started
