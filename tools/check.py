"""``pnmtile check``: is this description good?"""

from spec.load import load_tile
from tools.console import JsonOption, TileArgument, emit, say

__all__ = ["check"]


def check(tile: TileArgument, json: JsonOption = False) -> None:
    """Check a description: every problem at once, or OK."""
    resolved = load_tile(tile)
    grade = resolved.grade.name if resolved.grade else None
    memory = (f", {grade} at {resolved.clock_mhz:g} MHz with "
              f"{resolved.memory_controller.refresh} refresh" if grade else "")
    say(f"{tile}: OK: {resolved.name}, digest {resolved.digest[:12]}{memory}")
    if json:
        emit({"held": True, "name": resolved.name, "digest": resolved.digest, "grade": grade,
              "problems": []})
