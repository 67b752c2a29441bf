"""Speed of the golden models on one core: ``python -m benchmarks.golden [--quick] [--json]``."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rows import Row, report, row
from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from golden.scales import block_scales
from spec.description import Compute, Description, Scaling
from spec.formats import E4M3, FORMATS
from spec.tile import Tile

__all__ = ["main", "quantize_rate"]

# BLAS reads these when numpy is imported: one core.
_ONE_CORE = {name: "1" for name in (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
_REPEATS = 3


def _seconds(work: Callable[[], Any]) -> float:
    """Least wall time of a few runs, after one that warms the caches."""
    work()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _scales(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> Any:
    if name == "e8m0":
        return rng.integers(110, 140, shape, dtype=np.uint8)
    if name == "e4m3":
        return block_scales(rng.integers(0, E4M3.largest_code + 1, shape, dtype=np.uint8),
                            rng.random(shape[0], dtype=np.float32))
    return rng.random(shape, dtype=np.float32)


def _gemv_rate(weights: str, activations: str, scaling: Scaling, size: int, columns: int,
               **sums: Any) -> float:
    compute = Compute.model_validate({"weights": weights, "activations": activations, **sums})
    tile = Tile(description=Description(name="benchmark", compute=compute, scaling=scaling))
    rng = np.random.default_rng(0)
    # Every finite code of both signs.
    w, x = (np.bitwise_or(rng.integers(0, fmt.largest_code + 1, (rows, size), dtype=np.uint8),
                          rng.integers(0, 2, (rows, size), dtype=np.uint8)
                          * np.uint8(fmt.sign_mask))
            for rows, fmt in ((size, FORMATS[weights]), (columns, FORMATS[activations])))
    shapes = (-(-size // scaling.weight_rows), tile.groups(size)), (columns, tile.groups(size))
    ws, xs = (_scales(rng, scaling.format, shape) for shape in shapes)
    return size * size * columns / _seconds(lambda: gemv(w, ws, x, xs, tile))


def quantize_rate(function: Callable[..., Any], scaling: Scaling, dtype: type[Any],
                  size: int) -> float:
    """Elements per second that ``function`` quantizes, of ``size`` x ``size`` of ``dtype``."""
    values = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    array = values if dtype == np.float32 else (values.view(np.uint32) >> 16).astype(np.uint16)
    fmt = Tile(description=Description(name="benchmark")).weight_format
    return array.size / _seconds(lambda: function(array, fmt, scaling))


def _measure(quick: bool) -> list[Row]:
    size = 2048 if quick else 4096
    e8m0, fp32 = Scaling(), Scaling(format="fp32", rule="fp32-div")
    long = Scaling(group=1024)
    mx = Scaling(group=32, weight_rows=1, rule="e8m0-floor")
    nv = Scaling(format="e4m3", rule="e4m3-nvfp4", group=16, weight_rows=1)
    rows = []
    for name, fmt, scaling, goal in (("MXFP8", "e4m3", mx, 5e9), ("MXFP4", "e2m1", mx, None),
                                     ("NVFP4", "e2m1", nv, 5e9)):
        rows.append(row(f"gemv {size} x {size}, 128 columns, {name}",
                        _gemv_rate(fmt, fmt, scaling, size, 128), "MAC/s", at_least=goal))
    for kind, goal in (("aligned", 1e8), ("fp32-tree", None)):
        sums = {"accumulation_bits": 14} if kind == "aligned" else {}
        rows.append(row(
            f"gemv {size // 2} x {size // 2}, 16 columns, e4m3 x e4m3, {kind}",
            _gemv_rate("e4m3", "e4m3", e8m0, size // 2, 16, accumulation=kind, **sums), "MAC/s",
            at_least=goal))
    for pair, scaling, columns, goal in (
            (("e4m3", "e4m3"), e8m0, 128, 5e9), (("e4m3", "e4m3"), e8m0, 64, 5e9),
            (("e4m3", "e4m3"), e8m0, 4, None), (("e4m3", "e4m3"), e8m0, 1, None),
            (("e4m3", "e4m3"), fp32, 128, 5e9), (("e4m3", "e5m2"), e8m0, 128, None),
            (("e5m2", "e5m2"), e8m0, 128, 3e9), (("int8", "int8"), long, 128, 2e10)):
        rows.append(row(f"gemv {size} x {size}, {columns} columns, {pair[0]} x {pair[1]}, "
                        f"{scaling.format} scales",
                        _gemv_rate(*pair, scaling, size, columns), "MAC/s", at_least=goal))
    for name, function in (("1 x 128", quantize), ("128 x 128", quantize_blocks)):
        for scaling in (e8m0, Scaling(rule="e8m0-floor"), fp32):
            for dtype in (np.float32, np.uint16):
                source = "float32" if dtype == np.float32 else "BF16"
                rows.append(row(f"quantize {source} to e4m3, {name}, {scaling.rule}",
                                quantize_rate(function, scaling, dtype, size), "elements/s",
                                at_least=5e7))
    return rows


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2048 x 2048 instead of 4096 x 4096")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in _ONE_CORE.items()):
        command = [sys.executable, "-m", "benchmarks.golden", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, **_ONE_CORE}, check=False).returncode
    return report("golden models, one core", _measure(arguments.quick), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
