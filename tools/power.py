"""``pnmtile power``: power of the gate-level netlist at work."""

from typing import Annotated

import typer

from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, UserError, console, emit, say, to_json
from tools.library_options import (
    DontUseOption, EffortOption, LibertyOption, PdkOption, chosen_library, power_files,
)
from tools.outputs import tile_directory, write_file

__all__ = ["power"]

_DRAM_REASON = ("the memory's own: what its supplies take is in no public data sheet of these "
                "grades")


def power(
    tile: TileArgument,
    pdk: PdkOption = None,
    liberty: LibertyOption = None,
    dont_use: DontUseOption = None,
    effort: EffortOption = "balanced",
    workload: Annotated[list[str] | None, typer.Option(
        metavar="WORKLOAD", show_default="all that the tile can do",
        help="gemv or quantize; may be given several times.")] = None,
    json: JsonOption = False,
) -> None:
    """Synthesise, simulate the gates at work, and report power and energy, unit by unit."""
    resolved = load_tile(tile)
    files = power_files(pdk, liberty)
    from hdl.verilog import tile_rtlil
    from tb.simulator import SimulatorError
    from tools.doctor import require
    from tools.power_report import NOT_INCLUDED, measure_power, render
    from tools.power_workload import workloads_of
    from tools.synthesis import synthesise

    possible = workloads_of(resolved)
    for name in workload or ():
        if name not in possible:
            raise UserError(f"--workload {name} is none that {resolved.name} can do; allowed: "
                            f"{', '.join(possible)}")
    require("verilator", "g++")
    folder = tile_directory(resolved) / "power"
    design = folder / f"{resolved.name}.il"
    write_file(design, tile_rtlil(resolved))
    with console().status("reading the library") as status:
        library = chosen_library(pdk, liberty, dont_use)
        synthesise(design, resolved.name, library, resolved.clock_mhz, folder, effort=effort,
                   progress=lambda text: status.update(f"synthesising: {text}"))
        try:
            found = measure_power(
                resolved, (folder / "netlist.v").read_text(encoding="utf-8"), library, files,
                [name for name in possible if not workload or name in workload], folder,
                progress=status.update)
        except SimulatorError as error:
            raise UserError(str(error)) from None
    result = {
        "held": all(one.held for one in found), "library": library.name, "effort": effort,
        "workloads": [one.to_dict() for one in found],
        "dram": {"value": None, "unit": "pJ per bit", "reason": _DRAM_REASON},
        "not_included": list(NOT_INCLUDED),
    }
    for one in found:
        console().print(render(one))
        if not one.held:
            say(f"{one.workload}: the netlist's results are not the golden model's",
                style="bold red")
    say("not included: " + "; ".join(NOT_INCLUDED))
    report = folder / "power.json"
    write_file(report, to_json(result))
    say(f"report: {report}")
    if json:
        emit(result)
    if not result["held"]:
        raise NotHeld
