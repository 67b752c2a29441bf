"""What two pairs of formats cost in one dot array, beside one array for each."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import console, say, to_json
from tools.outputs import write_file

if TYPE_CHECKING:
    from spec.dot_arrays import DotArrayParams, SubwordDotArrayParams
    from spec.tile import Tile
    from tools.liberty import Library
    from tools.recipe import Effort

__all__ = ["apart", "shared_area", "show_shared_area"]


def apart(params: "SubwordDotArrayParams") -> "list[tuple[str, DotArrayParams, int]]":
    """The dot arrays of one column that each pair of formats alone would have: what of, the record,
    and how many there are for a beat."""
    return [(f"{one.weights} x {one.activations}", one, count)
            for one, count in ((params.wide, 1), (params.narrow, params.narrow_groups))]


def shared_area(tile: "Tile", library: "Library", folder: Path, effort: "Effort",
                progress: Callable[[str], None]) -> dict[str, Any]:
    """Synthesise the dot array of one column, and the arrays that stand for it with one pair of
    formats each; areas in gate equivalents of logic, registers included, as JSON data."""
    from hdl.verilog import unit_rtlil
    from spec.dot_arrays import SubwordDotArrayParams
    from tools.benches import component
    from tools.synthesis import synthesise

    params = tile.dot_array
    assert isinstance(params, SubwordDotArrayParams)

    def area(unit: str, record: Any, place: str) -> float:
        progress(f"dot array of {place}")
        inside = folder / "dot_arrays" / place.replace(" ", "")
        design = inside / f"{unit}.il"
        write_file(design, unit_rtlil(component(unit, record), unit))
        return synthesise(design, unit, library, tile.clock_mhz, inside,
                          effort=effort).total.total_ge

    areas = [count * area("dot_array", one, of) for of, one, count in apart(params)]
    alone = [{"formats": of, "arrays": count, "area": found}
             for (of, _, count), found in zip(apart(params), areas, strict=True)]
    both = area("subword_dot_array", params, "both")
    found = {"unit": "GE", "origin": "synthesised", "alone": alone, "both": both,
             "both_over_larger": both / max(areas), "both_over_sum": both / sum(areas)}
    write_file(folder / "dot_arrays.json", to_json(found))
    return found


def show_shared_area(found: dict[str, Any]) -> None:
    """The areas as a table for people."""
    from rich.table import Table

    table = Table(title="dot array of one column")
    table.add_column("formats")
    table.add_column("GE", justify="right")
    for one in found["alone"]:
        arrays = f", {one['arrays']} arrays" if one["arrays"] > 1 else ""
        table.add_row(f"{one['formats']} alone{arrays}", f"{one['area']:,.0f}")
    table.add_section()
    table.add_row("an array for each", f"{sum(one['area'] for one in found['alone']):,.0f}")
    table.add_row("both in one, as built", f"{found['both']:,.0f}")
    console().print(table)
    say(f"both formats in one dot array: {found['both_over_larger']:.2f} times the larger one, "
        f"{found['both_over_sum']:.2f} times an array for each")
