"""The price of each bit of accumulation: ``python -m benchmarks.bits [--quick] [--json]``.

Area of a column (dot array, rounding, scaling, accumulation) of each kind of sum, beside its error
on normal inputs, K = 4096. Smallest area on the embedded library, registers as a clock of 800 MHz
asks for. ``--plot FILE.svg`` draws them.
"""

import argparse
import sys
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.rows import Row, report, row
from benchmarks.sums import K, summing_tile, title
from hdl.column import Column
from hdl.verilog import unit_rtlil
from spec.tile import Tile
from tools.accuracy_study import drawn, study
from tools.pdk import embedded_library
from tools.outputs import tile_directory, write_file
from tools.svg_figure import svg_figure
from tools.synthesis import synthesise

__all__ = ["main", "plot"]

_GROUP = 128
_KINDS: tuple[tuple[int | None, str], ...] = (
    (None, "exact"), *((bits, "aligned") for bits in (14, 18, 22, 25, 28, 34)),
    (None, "fp32-tree"))
_NO_ERROR = 2.0 ** -26
_COLOURS = {"e4m3": "#486581", "e2m1": "#b83a2b", "bf16": "#2f855a"}


def _area(tile: Tile) -> float:
    """Gate equivalents per lane of one column."""
    folder = tile_directory(tile) / "bits"
    design = folder / "column.il"
    write_file(design, unit_rtlil(Column(tile.column), "column"))
    found = synthesise(design, "column", embedded_library(), tile.clock_mhz, folder, effort="area")
    return found.total.total_ge / tile.lanes


def _measure(quick: bool) -> list[Row]:
    kinds = [(None, "exact"), (14, "aligned")] if quick else _KINDS
    rows = []
    for fmt in _COLOURS:
        for bits, accumulation in kinds:
            if fmt == "bf16" and accumulation == "exact":
                # 530 bits a sum: refused.
                continue
            tile = summing_tile(fmt, bits, _GROUP, accumulation)
            name = f"{fmt} x {fmt}, {title(bits, accumulation)}"
            # The error of one long sum, which the promotion to FP32 every group would hide.
            one = summing_tile(fmt, bits, K, accumulation)
            errors = study(one, "normal", *drawn("normal", 256, 64, K, seed=0)).arithmetic
            rows += [row(f"{name}: column, per lane", _area(tile), "GE", "synthesised"),
                     row(f"{name}: max error over rms", errors.maximum, "ratio",
                         "golden model against float64")]
    return rows


def plot(rows: list[Row]) -> str:
    """Area against error, a point for each kind of sum, as SVG."""
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    panel = figure.subplots()
    for fmt, colour in _COLOURS.items():
        aligned = []
        for area, error in zip(rows[::2], rows[1::2], strict=True):
            if not area["quantity"].startswith(f"{fmt} "):
                continue
            assert area["value"] is not None and error["value"] is not None
            # No error at all stands at the lower edge.
            point = area["value"], max(error["value"], _NO_ERROR)
            kind = area["quantity"].partition(", ")[2].partition(":")[0]
            if kind.startswith("aligned"):
                aligned.append(point)
            panel.plot(*point, "o", color=colour)
            panel.annotate(kind.removeprefix("aligned, ").removesuffix(" bits"), point,
                           xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8,
                           color=colour)
        panel.plot(*zip(*aligned, strict=True), color=colour, linewidth=0.8,
                   label=f"{fmt} x {fmt}")
    panel.axhline(_NO_ERROR, color="#9aa5b1", linewidth=0.8, linestyle=":")
    panel.annotate("no error", (0.99, _NO_ERROR), xycoords=("axes fraction", "data"), ha="right",
                   xytext=(0, -11), textcoords="offset points", fontsize=8, color="#52606d")
    panel.set_xscale("log")
    ticks = (250, 500, 1000, 2000, 4000, 8000)
    panel.set_xticks(ticks, map(str, ticks))
    panel.minorticks_off()
    panel.set_ylim(_NO_ERROR / 4, 2.0 ** -4)
    panel.set_yscale("log", base=2)
    panel.set_xlabel("column, GE per lane (embedded library, smallest area)")
    panel.set_ylabel(f"max error over rms, K = {K}")
    panel.grid(color="#e4e7eb", linewidth=0.6)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8,
                  title="joined: aligned, with the number of bits kept", title_fontsize=8)
    return svg_figure(figure, "The price of each bit of accumulation", _described(rows))


def _described(rows: list[Row]) -> str:
    """The points in words."""
    return "; ".join(
        f"{area['quantity'].partition(':')[0]}: {area['value']:.0f} GE per lane, error "
        f"{error['value']:.2g}" for area, error in zip(rows[::2], rows[1::2], strict=True))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bits", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="exact and 14 bits only")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw area against error")
    arguments = parser.parse_args()
    rows = _measure(arguments.quick)
    if arguments.plot is not None:
        write_file(arguments.plot, plot(rows))
    return report("price of each bit of accumulation", rows, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
