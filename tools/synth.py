"""``pnmtile synth``: area and delay of every unit."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, console, emit, say
from tools.outputs import tile_directory, write_file
from tools.recipe import Effort

__all__ = ["synth"]


def synth(
    tile: TileArgument,
    liberty: Annotated[list[Path] | None, typer.Option(
        metavar="FILE", show_default=False,
        help="Liberty file (may be gzipped; may be given several times); without, the embedded "
             "technology-independent library.")] = None,
    effort: Annotated[Effort, typer.Option(
        help="What the netlist is mapped for: the smallest, a compromise, the fastest.")] = "area",
    json: JsonOption = False,
) -> None:
    """Synthesise with yosys and report area and timing, unit by unit.

    With a library of a technology, a clock that is not met ends with exit code 1.
    """
    resolved = load_tile(tile)
    from hdl.verilog import tile_rtlil
    from tools.synthesis import TABLE_WIDTH, render, render_timing, synthesise

    folder = tile_directory(resolved) / "synth"
    design = folder / f"{resolved.name}.il"
    write_file(design, tile_rtlil(resolved))
    with console().status("synthesising") as status:
        report = synthesise(design, resolved.name, tuple(liberty) if liberty else None,
                            resolved.clock_mhz, folder,
                            progress=lambda text: status.update(f"synthesising: {text}"),
                            effort=effort)
    # A narrow terminal wraps the lines.
    wide = Console(file=console().file, width=max(console().width, TABLE_WIDTH))
    wide.print(render(report))
    if isinstance(report.timing, str):
        met = None
        say(f"not timed: {report.timing}")
    else:
        met = report.timing.met
        wide.print(render_timing(report.timing))
        say(report.timing.verdict(), style="red" if met is False else None)
    say(f"report: {folder / 'synthesis.json'}")
    if json:
        emit({"held": met is not False, **report.to_dict()})
    if met is False:
        raise NotHeld
