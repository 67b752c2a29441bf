"""The embedded library beside real ones: ``python -m benchmarks.libraries [--json]``.

Each pair, ``planar`` (the embedded library and Nangate45) or ``finfet`` (its FinFET calibration and
ASAP7), maps the default tile to both libraries by one recipe. A row is the area of a unit in GE
with the embedded library over that with the real one. PDK_ROOT says where the real ones are; pairs
whose real library is not found have rows without a value.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.rows import Row, report, row
from hdl.verilog import tile_rtlil
from spec.load import load_tile
from tools.console import UserError, say
from tools.outputs import tile_directory, write_file
from tools.pdk import Pdk, load_pdk
from tools.synthesis import synthesise
from tools.synthesis_report import UnitArea

__all__ = ["PAIRS", "compare", "main", "measure"]

TILES = Path(__file__).resolve().parent.parent / "tiles"
PAIRS: dict[str, tuple[Pdk, Pdk]] = {
    "planar": ("generic", "nangate45"), "finfet": ("generic-finfet", "asap7")}
# A unit's area is its own logic; below so many GE of the real library it is wiring.
SMALLEST_GE = 50.0
WITHIN = 0.15


def measure(pair: str, tile_name: str = "hbm3_fp8") -> list[Row]:
    """Rows of one pair, the tile's logic first, then every unit."""
    embedded, real = PAIRS[pair]
    tile = load_tile(TILES / f"{tile_name}.toml")
    try:
        libraries = [load_pdk(embedded), load_pdk(real)]
    except UserError as error:
        say(str(error))
        return [row(f"{tile_name}: {embedded} over {real}, logic", None, "ratio", "synthesised")]
    found = []
    for name, library in zip((embedded, real), libraries, strict=True):
        folder = tile_directory(tile) / f"library-{name}"
        design = folder / f"{tile.name}.il"
        write_file(design, tile_rtlil(tile))
        found.append(synthesise(design, tile.name, library, tile.clock_mhz, folder).units)
    return compare(f"{tile_name}: {embedded} over {real}", *found)


def compare(title: str, embedded: tuple[UnitArea, ...], real: tuple[UnitArea, ...]) -> list[Row]:
    """The ratio of the areas of each unit, and its goal."""
    areas = {unit.path: unit for unit in embedded}
    rows = [_ratio(f"{title}, logic", embedded[0].total_ge, real[0].total_ge)]
    rows += [_ratio(f"{title}, {unit.path.partition('.')[2] or 'top'} alone",
                    areas[unit.path].own_ge, unit.own_ge)
             for unit in real if unit.own_ge >= SMALLEST_GE]
    return rows


def _ratio(quantity: str, embedded: float, real: float) -> Row:
    ratio = embedded / real
    return {**row(quantity, ratio, "ratio", "synthesised"),
            "goal": f"{1 - WITHIN:g} to {1 + WITHIN:g}", "holds": abs(ratio - 1) <= WITHIN}


def main() -> int:
    """Compare and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.libraries", description=__doc__)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--quick", action="store_true", help="the first pair only")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    arguments = parser.parse_args()
    pairs = arguments.pairs[:1] if arguments.quick else arguments.pairs
    return report("embedded library over real ones",
                  [line for pair in pairs for line in measure(pair)], arguments.json)


if __name__ == "__main__":
    sys.exit(main())
