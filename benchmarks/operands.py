"""Random operands for benchmarks, what must come of them, and how long the tile takes."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from golden.tile import GoldenTile
from host.job import GemvJob, gemv_job
from host.tensor_job import Tensor
from spec.commands import Command, ErrorCode
from spec.memory_units import Aperture
from spec.tensors import TensorFormat
from spec.tile import Tile
from tools.simulation import HostRead, SystemRun, simulate

__all__ = ["executed", "random_gemv", "random_tensor", "timed_gemv"]


def random_gemv(tile: Tile, rows: int, k: int, seed: int,
                format_index: int = 0) -> tuple[GemvJob, NDArray[np.uint32]]:
    """A job of normally distributed operands, quantized by the tile's rules to one of its pairs of
    formats, and its result."""
    named = tile.formats[format_index]
    rng = np.random.default_rng(seed)
    scaling = tile.description.scaling
    w, sw = quantize_blocks(rng.standard_normal((rows, k), np.float32), named.weight_format,
                            scaling)
    x, sx = quantize(rng.standard_normal((tile.columns, k), np.float32), named.activation_format,
                     scaling)
    return (gemv_job(tile, w, sw, x, sx, format_index=format_index),
            gemv(w, sw, x, sx, named))


def timed_gemv(tile: Tile, rows: int, k: int,
               format_index: int = 0) -> tuple[SystemRun, bool, float]:
    """Simulate one: the run, whether the results are the golden model's, and its seconds."""
    job, expected = random_gemv(tile, rows, k, 7, format_index)
    # The build is not part of the figure: a first, tiny job pays for it.
    small, _ = random_gemv(tile, 1, k, 7, format_index)
    simulate(tile, small.image, small.commands)
    started = time.monotonic()
    done = simulate(tile, job.image, job.commands)
    equal = not done.errors and bool(np.array_equal(job.results(job.image), expected))
    return done, equal, time.monotonic() - started


def random_tensor(tile: Tile, name: TensorFormat, rows: int, k: int, seed: int = 7) -> Tensor:
    """Normally distributed elements; of FP8, codes and scales by the tile's rules."""
    values = np.random.default_rng(seed).standard_normal((rows, k), np.float32)
    if name == TensorFormat.FP32:
        return Tensor(name, values)
    if name == TensorFormat.BF16:
        return Tensor(name, (values.view(np.uint32) >> 16).astype(np.uint16))
    return Tensor(name, *quantize(values, name.float_format, tile.description.scaling))


def executed(tile: Tile, image: NDArray[np.uint8], commands: Sequence[Command],
             reads: Sequence[HostRead] = ()) -> tuple[SystemRun, bool]:
    """Simulate commands and what the host reads meanwhile: the run, and whether every byte of
    memory and of the answers is the golden model's. ``image`` stays as it is.

    Reads are of memory as the commands leave it, of all results that one command gives the host, or
    of the cast window as the last MAP has opened it.
    """
    expected, memory = image.copy(), image.copy()
    golden = GoldenTile(tile, expected)
    golden.window_limit = image.size
    for command in commands:
        assert golden.execute(command.pack()) == ErrorCode.NONE, command
    done = simulate(tile, memory, list(commands), reads=reads)
    equal = not done.errors and np.array_equal(memory, expected)
    results = iter(golden.host_results)
    for read, answer in zip(reads, done.answers, strict=True):
        aperture, address = divmod(read.address, 1 << tile.host_port.space_bits)
        data = expected.tobytes()
        if aperture == Aperture.RESULTS:
            data = next(results)
        elif aperture == Aperture.CODES:
            data = golden.window_codes().tobytes()
        elif aperture == Aperture.SCALES:
            data = golden.window_scales().tobytes()
        size = read.atoms * tile.atom_bytes
        equal &= not answer.errors and answer.data == data[address:address + size].ljust(
            size, b"\0")
    return done, bool(equal)
