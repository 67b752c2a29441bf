"""``pnmtile fpga``: the trial design of a tile on a board, to the bitstream."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spec.boards import BOARDS
from spec.load import load_tile
from spec.tile import Tile
from tools.console import JsonOption, NotHeld, TileArgument, UserError, console, emit, say
from tools.fpga_package import ALVEO_BOARDS, package_files
from tools.outputs import tile_directory, write_files

__all__ = ["fpga"]

_WORDS = {"TRELLIS_COMB": "LUT", "TRELLIS_FF": "flop", "TRELLIS_RAMW": "LUT memory",
          "DP16KD": "block RAM (DP16KD)", "MULT18X18D": "multiplier (MULT18X18D)",
          "TRELLIS_IO": "pin", "EHXPLLL": "PLL", "DCCA": "clock buffer"}


def fpga(
    tile: TileArgument,
    board: Annotated[str, typer.Option(metavar="BOARD", show_default=False,
                                       help="Board, e.g. ulx3s-85f, or u55c.")],
    output: Annotated[Path | None, typer.Option(
        metavar="DIR", show_default=False,
        help="Directory for the files; build/<tile>-<digest>/<board> if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Build a bitstream of a trial design, or an IP package for a card with HBM.

    For an ULX3S: the tile, block RAM as its memory, and a serial line to both, all done by pip
    packages (yosys, nextpnr, ecppack); `pnmtile trial` then runs it. For an Alveo card: sources and
    scripts that Vivado builds from.
    """
    resolved = load_tile(tile)
    known = [*BOARDS, *ALVEO_BOARDS]
    if board not in known:
        raise UserError(f"--board {board} is unknown; known boards are {', '.join(known)}")
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"--output must be a directory, and {output} is a file")
    out = output or tile_directory(resolved) / board
    if board in ALVEO_BOARDS:
        _package(resolved, board, out, json)
        return
    from tools.fpga_flow import build

    with console().status("") as status:
        report = build(resolved, board, out, progress=lambda text: _tell(status, text))
    _show(report)
    if json:
        emit(report)
    if not report["held"]:
        raise NotHeld


def _package(tile: Tile, board: str, out: Path, json: bool) -> None:
    """Write the IP package of an Alveo card."""
    with console().status("generating Verilog"):
        files = package_files(tile, board)
    write_files(out, files)
    for name, content in files.items():
        say(f"{out / name}: {content.count(chr(10))} lines")
    if json:
        emit({"held": True, "directory": str(out), "files": list(files), "board": board,
              "digest": tile.digest})


def _tell(status: Any, text: str) -> None:
    if console().is_terminal:
        status.update(text)
    else:
        say(text)


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{report['tile']} on {report['board']} ({report['device']}), placed")
    table.add_column("resource")
    for head in ("used", "available", "share"):
        table.add_column(head, justify="right")
    for name, use in report["utilisation"].items():
        table.add_row(_WORDS.get(name, name), str(use["used"]), str(use["available"]),
                      f"{use['used'] / use['available']:.1%}")
    console().print(table)
    for clock in report["clocks"]:
        path = clock["critical_path"]
        say(f"{clock['clock']}: {clock['fmax_mhz']:g} MHz routed, {clock['wanted_mhz']:g} MHz "
            f"wanted: " + (f"met, by {clock['slack_ns']:.3f} ns" if clock["held"] else
                           f"not met, by {-clock['slack_ns']:.3f} ns"),
            style="green" if clock["held"] else "bold red")
        if path:
            say(f"  slowest path: {' > '.join(path['units']) or path['start']}, "
                f"{path['delay_ns']:.2f} ns, {path['routing_ns']:.2f} ns of it wires")
    seconds = report["seconds"]
    say(f"{sum(seconds.values()):.0f} s: "
        + ", ".join(f"{name.replace('_', ' ')} {spent:g}" for name, spent in seconds.items()))
    if report["bitstream"]:
        say(f"bitstream: {report['directory']}/{report['bitstream']}")
    else:
        slowest = min(report["clocks"], key=lambda clock: clock["slack_ns"])
        say(f"no bitstream was written; clock.target_mhz = {int(slowest['fmax_mhz'])} would be "
            "met, or more stages in the units named above")
