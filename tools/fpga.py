"""``pnmtile fpga``: the trial design of a tile on a board, to the bitstream."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spec.boards import BOARDS
from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, UserError, console, emit, say

__all__ = ["fpga"]

_WORDS = {"TRELLIS_COMB": "LUT", "TRELLIS_FF": "flop", "TRELLIS_RAMW": "LUT memory",
          "DP16KD": "block RAM (DP16KD)", "MULT18X18D": "multiplier (MULT18X18D)",
          "TRELLIS_IO": "pin", "EHXPLLL": "PLL", "DCCA": "clock buffer"}


def fpga(
    tile: TileArgument,
    board: Annotated[str, typer.Option(metavar="BOARD", show_default=False,
                                       help="Board, e.g. ulx3s-85f.")],
    output: Annotated[Path | None, typer.Option(
        metavar="DIR", show_default=False,
        help="Directory for the files; build/<tile>-<digest>/<board> if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Build a bitstream: the tile, block RAM as its memory, and a serial line to both.

    `pnmtile trial` then runs it. Everything is done by pip packages: yosys, nextpnr, ecppack.
    """
    resolved = load_tile(tile)
    if board not in BOARDS:
        raise UserError(f"--board {board} is unknown; known boards are {', '.join(BOARDS)}")
    from tools.fpga_flow import build
    from tools.outputs import tile_directory

    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"--output must be a directory, and {output} is a file")
    out = output or tile_directory(resolved) / board
    with console().status("") as status:
        report = build(resolved, board, out, progress=lambda text: _tell(status, text))
    _show(report)
    if json:
        emit(report)
    if not report["held"]:
        raise NotHeld


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
