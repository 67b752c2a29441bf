"""Clock, area, power and FPGA: ``python -m benchmarks.physical [--parts ...] [--quick] [--json]``.

Tiles against their clock and dot arrays per lane, on real libraries; energy from simulated
activity; the ECP5 trial design to its bitstream; and the embedded library beside real ones
(:mod:`benchmarks.libraries`). PDK_ROOT says where the real ones are, as for ``pnmtile synth
--pdk``: what needs one that is not found has rows without a value, which hold no goal. ``--quick``
is the default tile with the embedded library, and dot arrays on Nangate45.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import libraries
from benchmarks.rows import Row, report, row
from benchmarks.sums import summing_tile
from hdl.verilog import tile_rtlil, unit_rtlil
from spec.description import Compute, Description, Quantize, Scaling
from spec.dot_arrays import AnyDotArrayParams, BlockDotArrayParams, SubwordDotArrayParams
from spec.load import load_tile
from spec.tile import Tile
from tools.benches import component
from tools.console import UserError, say
from tools.fpga_flow import build
from tools.liberty import Library
from tools.outputs import tile_directory, write_file
from tools.pdk import Pdk, embedded_library, load_pdk, pdk_files
from tools.power_report import measure_power
from tools.power_workload import WorkloadName
from tools.recipe import Effort
from tools.synthesis import synthesise
from tools.synthesis_report import SynthesisReport
from tools.timing_report import TimingReport

__all__ = ["dot_arrays", "energy", "fpga", "fpga_rows", "main", "synthesis_time", "tiles"]

TILES = Path(__file__).resolve().parent.parent / "tiles"


def _library(pdk: Pdk) -> Library | None:
    try:
        return load_pdk(pdk)
    except UserError as error:
        say(str(error))
        return None


def _mapped(tile: Tile, name: str, rtlil: str, library: Library, effort: Effort) -> SynthesisReport:
    folder = tile_directory(tile) / f"physical-{library.name}-{effort}"
    design = folder / f"{name}.il"
    write_file(design, rtlil)
    return synthesise(design, name, library, tile.clock_mhz, folder, effort=effort)


def _tile(name: str) -> Tile:
    return load_tile(TILES / f"{name}.toml")


def synthesis_time() -> list[Row]:
    """Rows of how long the default tile takes."""
    tile = _tile("hbm3_fp8")
    begun = time.monotonic()
    _mapped(tile, tile.name, tile_rtlil(tile), embedded_library(), "area")
    return [row("hbm3_fp8: Verilog to area report, embedded library", time.monotonic() - begun,
                "s", at_most=120)]


def tiles() -> list[Row]:
    """Rows of whole tiles on ASAP7 against the clock of their description."""
    rows = []
    library = _library("asap7")
    for name, wanted in (("hbm3_fp8", True), ("hbm4_fp8", True), ("hbm4_fp8_native", False)):
        tile = _tile(name)
        title = f"{name}: ASAP7, {tile.clock_mhz:g} MHz"
        slack = failing = highest = logic = None
        origin = "synthesised"
        if library is not None:
            found = _mapped(tile, tile.name, tile_rtlil(tile), library, "balanced")
            assert isinstance(found.timing, TimingReport), found.timing
            slack, failing = found.timing.critical.slack, found.timing.failing
            highest, logic = found.timing.highest_mhz, found.total.total_ge
            origin = f"synthesised, {found.timing.engine}"
        rows += [row(f"{title}, worst slack", slack, "ps", origin,
                     **({"at_least": 0.0} if wanted else {})),
                 row(f"{title}, ends that fail", failing, "ends", origin,
                     **({"at_most": 0} if wanted else {})),
                 row(f"{name}: ASAP7, highest clock", highest, "MHz", origin),
                 row(f"{name}: ASAP7, logic", logic, "GE", "synthesised")]
    return rows


def dot_arrays(pdks: tuple[Pdk, ...] = ("nangate45", "asap7")) -> list[Row]:
    """Rows of dot arrays, accumulators included, per lane.

    On Nangate45 without registers but the accumulator; on ASAP7 that of the default tile, as it is.
    """
    default = _tile("hbm3_fp8")
    rows = []
    if "nangate45" in pdks:
        for fmt, title, most in (("e4m3", "E4M3", 560), ("e2m1", "FP4 (E2M1)", 180),
                                 ("e2m3", "FP6 (E2M3)", None), ("int8", "INT8", 525)):
            tile = summing_tile(fmt, None, default.group, "exact")
            params = tile.dot_array.model_copy(update={"multiply": 0, "adder_tree": 0})
            area, _ = _dot_array(tile, params, "nangate45")
            rows.append(row(f"dot array, {title}, nangate45, smallest: area per lane", area, "GE",
                            "synthesised", at_most=most))
        rows += _several_formats()
        # With scales of blocks; registers stand behind its blocks in any case.
        tile = _tile("hbm3_nvfp4")
        params = tile.dot_array.model_copy(update={"multiply": 0, "adder_tree": 0})
        area, _ = _dot_array(tile, params, "nangate45")
        rows.append(row("dot array, NVFP4, nangate45, smallest: area per lane", area, "GE",
                        "synthesised"))
    if "asap7" in pdks:
        title = "dot array, E4M3, asap7, pipelined for 1.25 ns"
        area, slack = _dot_array(default, default.dot_array, "asap7")
        rows += [row(f"{title}: area per lane", area, "GE", "synthesised", at_most=700),
                 row(f"{title}: worst slack", slack, "ps", "synthesised", at_least=0.0)]
    return rows


def _several_formats() -> list[Row]:
    """Rows of one dot array of two pairs of formats over the larger of those with one pair each,
    with two narrow groups in a beat, and with one."""
    rows = []
    cases = (("e4m3", "e2m1"), "E4M3 and FP4"), (("int8", "int4"), "INT8 and INT4")
    for pair, title in cases:
        for group in (32, 128):
            tile = Tile(description=Description(
                name="several", scaling=Scaling(group=group, weight_rows=1),
                compute=Compute.model_validate({"weights": pair, "activations": pair})))
            plain: dict[str, Any] = {"multiply": 0, "adder_tree": 0}
            params = tile.dot_array.model_copy(update=plain)
            assert isinstance(params, SubwordDotArrayParams)
            params = params.model_copy(update={"narrow": params.narrow.model_copy(update=plain)})
            both, *alone = (
                None if area is None else count * one.lanes * area
                for one, count in ((params, 1), (params.wide, 1),
                                   (params.narrow, params.narrow_groups))
                for area, _ in [_dot_array(tile, one, "nangate45")])
            over = saved = None
            if both is not None:
                areas = [area for area in alone if area is not None]
                over, saved = both / max(areas), both / sum(areas)
            what = f"dot array, {title} in groups of {group}, nangate45, smallest"
            rows += [row(f"{what}: area over the larger one's", over, "ratio", "synthesised",
                         at_most=1.25),
                     row(f"{what}: area over an array for each", saved, "ratio", "synthesised",
                         at_most=1.0)]
    return rows


def _dot_array(tile: Tile, params: AnyDotArrayParams,
               pdk: Pdk) -> tuple[float | None, float | None]:
    """Area in gate equivalents per lane, and worst slack in ps; None without the library."""
    library = _library(pdk)
    if library is None:
        return None, None
    name = ("block_dot_array" if isinstance(params, BlockDotArrayParams) else
            "subword_dot_array" if isinstance(params, SubwordDotArrayParams) else "dot_array")
    found = _mapped(tile, name, unit_rtlil(component(name, params), name), library, "area")
    slack = found.timing.critical.slack if isinstance(found.timing, TimingReport) else None
    return found.total.total_ge / params.lanes, slack


def energy() -> list[Row]:
    """Rows of energy from simulated activity, on Nangate45 and ASAP7."""
    rows = []
    default = _tile("hbm3_fp8")
    quantizing = Tile(description=default.description.model_copy(update={"quantize": Quantize()}))
    cases: tuple[tuple[str, Tile, WorkloadName, str], ...] = (
        ("hbm3_fp8", default, "gemv", "pJ per MAC"),
        ("hbm3_fp8 with [quantize]", quantizing, "quantize", "pJ per byte"))
    pdks: tuple[Pdk, ...] = ("nangate45", "asap7")
    for pdk in pdks:
        library = _library(pdk)
        for name, tile, workload, unit in cases:
            value = None
            if library is not None:
                _mapped(tile, tile.name, tile_rtlil(tile), library, "balanced")
                folder = tile_directory(tile) / f"physical-{library.name}-balanced"
                netlist = (folder / "netlist.v").read_text(encoding="utf-8")
                (found,) = measure_power(tile, netlist, library, pdk_files(pdk), [workload], folder)
                value = found.joule_per_work * 1e12
            rows.append(row(f"{name}: {workload.upper()}, {pdk}", value, unit,
                            "simulated activity, energies of the library"))
    return rows


def fpga() -> list[Row]:
    """Rows of the trial design on an ULX3S, to the bitstream."""
    tile = _tile("ulx3s_fp8")
    begun = time.monotonic()
    found = build(tile, "ulx3s-85f", tile_directory(tile) / "ulx3s-85f")
    return fpga_rows(found, time.monotonic() - begun)


def fpga_rows(found: dict[str, Any], seconds: float) -> list[Row]:
    """Rows of a report of :func:`tools.fpga_flow.build` and how long it took."""
    clock = min(found["clocks"], key=lambda one: one["slack_ns"])
    used = found["utilisation"]
    return [
        row("ulx3s_fp8 on ECP5-85k: clock of the tile", clock["fmax_mhz"], "MHz", "routed",
            at_least=80),
        row("ulx3s_fp8 on ECP5-85k: bitstream", float(bool(found["bitstream"])), "files",
            "routed", at_least=1),
        row("ulx3s_fp8 on ECP5-85k: Verilog to bitstream", seconds, "s", at_most=300),
        *(row(f"ulx3s_fp8 on ECP5-85k: {name}", used[name]["used"], "cells", "placed")
          for name in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D") if name in used),
    ]


_PARTS: dict[str, Callable[[], list[Row]]] = {
    "time": synthesis_time, "lanes": dot_arrays, "tiles": tiles, "energy": energy, "fpga": fpga,
    "libraries": lambda: [line for pair in libraries.PAIRS for line in libraries.measure(pair)],
}


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.physical", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--quick", action="store_true", help="a reduced run")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        rows = [*synthesis_time(), *dot_arrays(("nangate45",))]
    else:
        rows = [line for part in arguments.parts for line in _PARTS[part]()]
    return report("clock, area, power and FPGA", rows, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
