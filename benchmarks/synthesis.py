"""Area and delay with the embedded library: ``python -m benchmarks.synthesis [--quick] [--json]``.

One column with E8M0 scales, four with FP32 scales, and one behind a native memory controller
(``--quick``: only the first).
"""

import argparse
import sys
from pathlib import Path

from benchmarks.rows import Row, report, row
from hdl.verilog import tile_rtlil
from spec.load import load_tile
from tools.outputs import tile_directory, write_file
from tools.synthesis import synthesise

__all__ = ["main", "measure"]

TILES = Path(__file__).resolve().parent.parent / "tiles"


def measure(name: str) -> list[Row]:
    """Rows of one tile; the netlist and the whole report stay in its build directory."""
    tile = load_tile(TILES / f"{name}.toml")
    folder = tile_directory(tile) / "synth"
    design = folder / f"{tile.name}.il"
    write_file(design, tile_rtlil(tile))
    found = synthesise(design, tile.name, None, tile.clock_mhz, folder)
    arrays = [unit for unit in found.units if unit.path.endswith(".dot_array")]
    controllers = [unit for unit in found.units if unit.path.endswith(".memory_controller")]
    slowest = found.slowest
    assert arrays and slowest is not None
    return [
        row(f"{name}: logic", found.total.total_ge, "GE", "synthesised"),
        row(f"{name}: dot array, per lane and column",
            sum(unit.total_ge for unit in arrays) / (tile.lanes * tile.columns), "GE",
            "synthesised"),
        *(line for unit in controllers for line in (
            row(f"{name}: memory controller without its memories", unit.total_ge, "GE",
                "synthesised"),
            row(f"{name}: memory controller over dot array",
                unit.total_ge / sum(array.total_ge for array in arrays), "ratio", "synthesised"))),
        row(f"{name}: memories", found.total.total_memory_bits, "bits", "synthesised"),
        row(f"{name}: memories, estimate", found.total.total_memory_ge, "GE", "literature"),
        row(f"{name}: longest path within a unit", slowest.delay.value, slowest.delay.unit,
            "synthesised"),
    ]


def main() -> int:
    """Synthesise and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one tile")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    arguments = parser.parse_args()
    names = ("hbm3_fp8",) if arguments.quick else ("hbm3_fp8", "hbm3_fp8_x4",
                                                        "hbm3_fp8_native")
    rows = [line for name in names for line in measure(name)]
    return report("synthesis, embedded library", rows, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
