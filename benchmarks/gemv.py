"""GEMV on the simulated tile, memory that always answers: cycles, time of the simulation.

``python -m benchmarks.gemv [--quick] [--json]``: 4096 x 4096 (``--quick``: 512 x 4096) at one and
at four columns, and with the scales of MXFP8, MXFP6, MXFP4 and NVFP4, and the zero points of UINT4,
in the stream, and two formats in one tile; every result compared with the golden model's.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.operands import timed_gemv
from benchmarks.rows import Row, report, row
from spec.load import load_tile
from spec.tile import Tile

__all__ = ["main", "measure"]

TILES = ("hbm3_fp8", "hbm3_fp8_x4", "hbm3_mxfp8", "hbm3_mxfp6", "hbm3_mxfp4", "hbm3_nvfp4",
         "hbm3_uint4_fp8", "hbm3_mxfp8_mxfp4")
FOLDER = Path(__file__).parent.parent / "tiles"
K = 4096
SIMULATION_GOAL_S = 60.0


def measure(name: str, rows: int) -> list[Row]:
    """Rows of one tile with each of its formats: cycles from the counters of LOAD and GEMV, and
    wall time."""
    tile = load_tile(FOLDER / f"{name}.toml")
    return [line for index in range(len(tile.formats)) for line in _measure(tile, index, rows)]


def _measure(tile: Tile, index: int, rows: int) -> list[Row]:
    done, equal, seconds = timed_gemv(tile, rows, K, index)
    counters, named = done.counters, tile.formats[index]
    atoms, stream = named.weight_atoms(rows, K), named.weight_stream_atoms(rows, K)
    weights = f" of {named.weight_format.name}" if len(tile.formats) > 1 else ""
    what = (f"{tile.name}: GEMV {rows} x {K}{weights}, {tile.columns} "
            f"column{'s' if tile.columns > 1 else ''}")
    return [
        row(f"{what}, LOAD included", counters.cycles, "cycles", "simulated",
            at_most=1.01 * stream + 500),
        row(f"{what}, weight atoms per cycle", atoms / counters.cycles, "atoms/cycle", "simulated"),
        row(f"{what}, results that equal the golden model's", float(equal), "share", "simulated",
            at_least=1.0),
        row(f"{what}, simulation with data checked", seconds, "s", "measured",
            at_most=SIMULATION_GOAL_S),
    ]


def main() -> int:
    """Run the benchmark; 1 when a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, under a minute")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    rows = 512 if arguments.quick else 4096
    found = [line for name in TILES for line in measure(name, rows)]
    return report("GEMV on the simulated tile", found, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
