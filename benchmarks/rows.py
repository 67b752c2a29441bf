"""Rows of a benchmark: what was measured, against which goal, as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from typing import TypedDict

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "report", "row"]


class Row(TypedDict):
    """One measured quantity. ``goal`` and ``holds`` are null where there is no goal."""

    quantity: str
    value: float | None
    unit: str
    origin: str
    goal: str | None
    holds: bool | None


def row(quantity: str, value: float | None, unit: str, origin: str = "measured",
        at_least: float | None = None, at_most: float | None = None) -> Row:
    """Make a row; ``at_least`` or ``at_most`` is its goal. A value that is null holds no goal."""
    if at_least is not None:
        goal, holds = f">= {at_least:g}", value is not None and value >= at_least
    elif at_most is not None:
        goal, holds = f"<= {at_most:g}", value is not None and value <= at_most
    else:
        return Row(quantity=quantity, value=value, unit=unit, origin=origin, goal=None, holds=None)
    return Row(quantity=quantity, value=value, unit=unit, origin=origin, goal=goal, holds=holds)


def report(title: str, rows: Sequence[Row], as_json: bool) -> int:
    """Print the rows on stdout; return the exit code: 1 when a goal does not hold."""
    if as_json:
        json.dump(list(rows), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        table = Table(title=title)
        for name in Row.__annotations__:
            table.add_column(name, justify="right" if name == "value" else "left")
        for line in rows:
            value = "-" if line["value"] is None else f"{line['value']:.4g}"
            holds = {None: "", True: "yes", False: "no"}[line["holds"]]
            table.add_row(line["quantity"], value, line["unit"], line["origin"],
                          line["goal"] or "", holds)
        console = Console()
        if not console.is_terminal:
            console = Console(width=120)
        console.print(table)
    return 1 if any(line["holds"] is False for line in rows) else 0
