"""``pnmtile synth``: area and delay of every unit."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spec.load import load_tile
from tools.console import JsonOption, TileArgument, console, emit, say
from tools.outputs import tile_directory, write_file
from tools.recipe import Effort

__all__ = ["synth"]

TABLE_WIDTH = 124


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
    """Synthesise with yosys and report area and delay, unit by unit."""
    resolved = load_tile(tile)
    from hdl.verilog import tile_rtlil
    from tools.synthesis import render, synthesise

    folder = tile_directory(resolved) / "synth"
    design = folder / f"{resolved.name}.il"
    write_file(design, tile_rtlil(resolved))
    with console().status("synthesising") as status:
        report = synthesise(design, resolved.name, tuple(liberty) if liberty else None,
                            resolved.clock_mhz, folder,
                            progress=lambda text: status.update(f"synthesising: {text}"),
                            effort=effort)
    # In a narrower table numbers would lose digits; a narrow terminal wraps the lines.
    Console(file=console().file, width=max(console().width, TABLE_WIDTH)).print(render(report))
    say(f"report: {folder / 'synthesis.json'}")
    if json:
        emit({"held": True, **report.to_dict()})
