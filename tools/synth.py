"""``pnmtile synth``: area and delay of every unit."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, UserError, console, emit, say
from tools.liberty import read_liberty, read_macros
from tools.memory_area import MemoryUse
from tools.outputs import tile_directory, write_file
from tools.pdk import Pdk, load_pdk
from tools.recipe import Effort

__all__ = ["synth"]


def synth(
    tile: TileArgument,
    pdk: Annotated[Pdk | None, typer.Option(
        show_default="generic", help="Library by name: embedded (generic, generic-finfet), or of a "
        "process design kit below PDK_ROOT.")] = None,
    liberty: Annotated[list[Path] | None, typer.Option(
        metavar="FILE", show_default=False,
        help="Liberty file of another library, or of memory macros (may be gzipped; may be given "
             "several times).")
    ] = None,
    dont_use: Annotated[list[str] | None, typer.Option(
        metavar="PATTERN", show_default=False,
        help="Cells of --liberty not to be used, such as '*xp5*' (may be given several times).")
    ] = None,
    effort: Annotated[Effort, typer.Option(
        help="What the netlist is mapped for: the smallest, a compromise, the fastest.")] = "area",
    memories: Annotated[MemoryUse, typer.Option(
        help="What stands for the memories: an estimate from the literature, the library's flops, "
             "or memory macros whose Liberty files --liberty gives.")] = "estimate",
    json: JsonOption = False,
) -> None:
    """Synthesise with yosys and report area and timing, unit by unit.

    With a library of a technology, a clock that is not met ends with exit code 1.
    """
    if dont_use and (pdk or not liberty):
        raise UserError("--dont-use is about the cells of --liberty; give its files, and no --pdk")
    resolved = load_tile(tile)
    from hdl.verilog import tile_rtlil
    from tools.synthesis import synthesise
    from tools.synthesis_report import TABLE_WIDTH, render, render_timing

    folder = tile_directory(resolved) / "synth"
    design = folder / f"{resolved.name}.il"
    write_file(design, tile_rtlil(resolved))
    with console().status("synthesising: reading the library") as status:
        if liberty and pdk is None:
            library = read_liberty(liberty, dont_use or ())
        else:
            library = load_pdk(pdk or "generic")
            read_macros(liberty or (), library)
        report = synthesise(design, resolved.name, library,
                            resolved.clock_mhz, folder,
                            progress=lambda text: status.update(f"synthesising: {text}"),
                            effort=effort, memories=memories)
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
