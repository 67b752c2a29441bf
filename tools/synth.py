"""``pnmtile synth``: area and delay of every unit."""

from typing import Annotated

import typer
from rich.console import Console

from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, console, emit, say
from tools.library_options import (
    DontUseOption, EffortOption, LibertyOption, PdkOption, chosen_library,
)
from tools.memory_area import MemoryUse
from tools.outputs import tile_directory, write_file

__all__ = ["synth"]


def synth(
    tile: TileArgument,
    pdk: PdkOption = None,
    liberty: LibertyOption = None,
    dont_use: DontUseOption = None,
    effort: EffortOption = "area",
    memories: Annotated[MemoryUse, typer.Option(
        help="What stands for the memories: an estimate from the literature, the library's flops, "
             "or memory macros whose Liberty files --liberty gives.")] = "estimate",
    json: JsonOption = False,
) -> None:
    """Synthesise with yosys and report area and timing, unit by unit.

    With a library of a technology, a clock that is not met ends with exit code 1.
    """
    resolved = load_tile(tile)
    from hdl.verilog import tile_rtlil
    from tools.shared_area import shared_area, show_shared_area
    from tools.synthesis import synthesise
    from tools.synthesis_report import TABLE_WIDTH, render, render_timing

    folder = tile_directory(resolved) / "synth"
    design = folder / f"{resolved.name}.il"
    write_file(design, tile_rtlil(resolved))
    with console().status("synthesising: reading the library") as status:
        library = chosen_library(pdk, liberty, dont_use)
        report = synthesise(design, resolved.name, library,
                            resolved.clock_mhz, folder,
                            progress=lambda text: status.update(f"synthesising: {text}"),
                            effort=effort, memories=memories)
        shared = None
        if resolved.narrow is not None:
            shared = shared_area(resolved, library, folder, effort,
                                 lambda text: status.update(f"synthesising: {text}"))
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
    if shared is not None:
        show_shared_area(shared)
    say(f"report: {folder / 'synthesis.json'}")
    if json:
        emit({"held": met is not False, **report.to_dict(),
              **({"dot_arrays": shared} if shared is not None else {})})
    if met is False:
        raise NotHeld
