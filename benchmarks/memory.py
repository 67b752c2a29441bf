"""The native memory side on the checked DRAM model: bandwidth as a share of the pins.

``python -m benchmarks.memory [--quick] [--json]``: 16 MiB of each traffic (``--quick``: 1 MiB) on
HBM2 2.0, HBM3 6.4 and HBM4 8.0, every DRAM command and every answer checked; then a GEMV on the
native HBM3 tile.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.operands import timed_gemv
from benchmarks.rows import Row, report, row
from spec.grade import load_grade
from spec.load import load_tile
from spec.memory_units import MemoryControllerParams
from tb.memory_traffic import Accesses, Requester, Traffic
from tools.traffic import run_traffic

__all__ = ["main", "measure_gemv", "measure_traffic"]

TILES = Path(__file__).parent.parent / "tiles"
BYTES = 16 << 20
K = 4096
SIMULATION_GOAL_S = 90.0

# Least share of the pins: sequential reads with per-bank and with all-bank refresh, nine reads to
# each write, random reads.
GOALS = {
    "hbm2_2000": (0.99, 0.923, 0.92, 0.45),
    "hbm3_6400": (0.985, 0.898, 0.88, 0.30),
    "hbm4_8000": (0.97, 0.872, 0.84, 0.23),
}


def measure_traffic(name: str, size: int) -> list[Row]:
    """Rows of one grade: ``size`` bytes of each traffic."""
    grade = load_grade(name)
    per_bank = MemoryControllerParams(grade=grade, refresh="per-bank")
    all_bank = MemoryControllerParams(grade=grade, refresh="all-bank")
    atoms, memory = size // grade.atom_bytes, 1 << grade.atom_index_bits
    image = np.random.default_rng(11).integers(0, 256, size, np.uint8)
    sequential = Traffic(tile=Requester(reads=Accesses(atoms, 0, memory)))
    mixed = Traffic(tile=Requester(
        reads=Accesses(atoms - atoms // 10, 0, memory),
        writes=Accesses(atoms // 10, memory // 2, memory // 2), ratio=9))
    scattered = Traffic(tile=Requester(reads=Accesses(atoms // 4, 0, memory, random=True)))
    cases = (("sequential read, per-bank refresh", per_bank, sequential),
             ("sequential read, all-bank refresh", all_bank, sequential),
             ("90 % read, 10 % write, per-bank refresh", per_bank, mixed),
             ("random single-atom read, per-bank refresh", per_bank, scattered))
    return [row(f"{name}: {what}", run_traffic(params, traffic, image=image).share(params),
                "share of pins", "simulated", at_least=goal)
            for (what, params, traffic), goal in zip(cases, GOALS[name], strict=True)]


def measure_gemv(name: str, rows: int) -> list[Row]:
    """Rows of one tile: a GEMV, LOAD included, on the checked model."""
    tile = load_tile(TILES / f"{name}.toml")
    done, equal, seconds = timed_gemv(tile, rows, K)
    counters, what = done.counters, f"{name}: GEMV {rows} x {K}"
    share = (counters.atoms_read + counters.atoms_written) / counters.cycles
    return [
        row(f"{what}, start-up and results included", share, "share of pins", "simulated",
            at_least=0.98 if rows >= K else None),
        row(f"{what}, results that equal the golden model's", float(equal), "share", "simulated",
            at_least=1.0),
        row(f"{what}, simulation with every command checked", seconds, "s", "measured",
            at_most=SIMULATION_GOAL_S),
    ]


def main() -> int:
    """Run the benchmark; 1 when a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 MiB each, fewer rows")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    size = BYTES // 16 if arguments.quick else BYTES
    found = [line for name in GOALS for line in measure_traffic(name, size)]
    found += measure_gemv("hbm3_fp8_native", 256 if arguments.quick else 4096)
    return report("The native memory side on the checked DRAM model", found, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
