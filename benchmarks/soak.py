"""Commands and host traffic together on the native tile, for a million cycles of every family.

``python -m benchmarks.soak [--quick] [--json]``: GEMV commands on one tile per family of grades and
kind of refresh, while the host reads and writes the same pseudo-channel at random. Every DRAM
command, every answer to the host and every result is checked. ``--quick``: 50,000 cycles of two.
"""

import argparse
import sys
from typing import Literal

import numpy as np

from benchmarks.operands import random_gemv
from benchmarks.rows import Row, report, row
from spec.description import Compute, Description, NativeMemory
from spec.grade import load_grade
from spec.tile import Tile
from tb.memory_traffic import Accesses, Requester, Traffic
from tools.simulation import simulate

__all__ = ["main", "measure"]

CYCLES = 1_000_000
K = 4096
FAMILIES = ("hbm2_2000", "hbm2e_3600", "hbm3_6400", "hbm4_8000", "ddr5_6400", "lpddr5_6400",
            "gddr6_16000")


def measure(name: str, refresh: Literal["per-bank", "all-bank"], cycles: int) -> list[Row]:
    """Rows of one grade: as many GEMV as take at least ``cycles``."""
    grade = load_grade(name)
    tile = Tile(grade=grade, description=Description(
        name=name, memory=NativeMemory(interface="native", grade=name, refresh=refresh),
        compute=Compute(k_max=K)))
    job, expected = random_gemv(
        tile, max(4, cycles // 3 // tile.k_atoms(K) // 4 * 4), K, seed=5)
    first = -(-job.image.size // tile.atom_bytes)
    atoms = tile.host_port.memory_atoms
    host = Traffic(seed=3, host=Requester(
        # Reads go everywhere behind the job, writes to few atoms that are read as well.
        reads=Accesses(cycles // 8, first, min(atoms - first, 5000), random=True, idle=0.7),
        writes=Accesses(cycles // 16, first, 300, random=True, idle=0.85), stall=0.2,
        partial=0.3))
    spent, equal, number = 0, True, 0
    while spent < cycles:
        image = job.image.copy()
        done = simulate(tile, image, job.commands, host=host)
        spent += done.counters.cycles
        number += 1
        equal &= not done.errors and bool(np.array_equal(job.results(image), expected))
    what = f"{name}, {refresh} refresh"
    return [
        row(f"{what}: cycles of {number} GEMV with host traffic, all checked", spent, "cycles",
            "simulated", at_least=cycles),
        row(f"{what}: results that equal the golden model's", float(equal), "share", "simulated",
            at_least=1.0),
    ]


def main() -> int:
    """Run the benchmark; 1 when a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50,000 cycles of two families")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    names = FAMILIES[2:3] + FAMILIES[4:5] if arguments.quick else FAMILIES
    found = []
    for name in names:
        kinds: tuple[Literal["per-bank", "all-bank"], ...] = (
            ("per-bank", "all-bank") if load_grade(name).per_bank_refresh else ("all-bank",))
        for refresh in kinds[:1] if arguments.quick else kinds:
            found += measure(name, refresh, CYCLES // 20 if arguments.quick else CYCLES)
    return report("Commands and host traffic together", found, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
