"""The report of ``pnmtile synth``: its records, as JSON and as tables for people."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tools.memory_area import BIT_CELL_GE, PERIPHERY_FACTOR, MemoryUse
from tools.recipe import Effort
from tools.timing_report import TimingReport

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["MemoryArea", "SynthesisReport", "TABLE_WIDTH", "UnitArea", "UnitDelay", "render",
           "render_timing", "text_report"]

_DELAY_WHAT = ("register to register or port within one unit, no wires; computed from the "
               "library's tables on the netlist that abc mapped")
_MEMORY: dict[MemoryUse, str] = {
    "estimate": "an estimate from the literature", "flops": "flops and selectors, synthesised",
    "macro": "macros of the library, and an estimate from the literature where too small for one"}
NOT_MODELLED = (
    "wires, placement, clock tree, scan, power grid and cell utilisation",
    "clock skew, jitter, variation on a chip, hold times",
    "optimisation across unit boundaries: the hierarchy is kept",
)


# In a narrower table numbers would lose digits.
TABLE_WIDTH = 144


@dataclass(frozen=True)
class UnitDelay:
    """The longest path of one unit, or None and the reason."""

    value: float | None
    unit: str
    start: str | None
    end: str | None
    reason: str | None


@dataclass(frozen=True)
class UnitArea:
    """One unit: its own area (without submodules) and its total, of all its instances together.

    ``path`` is the first instance's; equal siblings are one row. ``share`` is the unit's part of
    the design's logic, total. ``um2`` is None with the embedded library, and so is ``slack``,
    that of the worst path which ends in the unit itself (ps; None when none does).
    """

    path: str
    module: str
    depth: int
    instances: int
    cells: int
    flops: int
    own_ge: float
    own_um2: float | None
    own_memory_bits: int
    own_memory_ge: float
    total_cells: int
    total_flops: int
    total_ge: float
    total_um2: float | None
    total_memory_bits: int
    total_memory_ge: float
    share: float
    delay: UnitDelay
    slack: float | None = None


@dataclass(frozen=True)
class MemoryArea:
    """One memory, of all its instances together where ``bits``, ``ge`` and ``um2`` are concerned.

    ``choice`` is what stands for it, and ``origin`` where area and times of that come from.
    ``access`` and setup are in ps, FO4 with the embedded library; ``access`` is from the clock to
    the data, or from the address where the read port has no clock.
    """

    path: str
    name: str
    instances: int
    words: int
    width: int
    read_ports: int
    write_ports: int
    registered_read_ports: int
    bits: int
    kind: str
    choice: str
    origin: str
    ge: float
    um2: float | None
    access: float
    read_setup: float
    write_setup: float


@dataclass(frozen=True)
class SynthesisReport:
    """Area and delay of a design; the same input gives the same report.

    ``timing`` is that of the whole design, or the reason why there is none.
    """

    top: str
    library: str
    files: tuple[str, ...]
    dont_use: tuple[str, ...]
    technology: bool
    ge_um2: float | None
    fo4_ps: float | None
    clock_mhz: float
    effort: Effort
    memory_choice: MemoryUse
    tools: dict[str, str]
    recipe: tuple[str, ...]
    units: tuple[UnitArea, ...]
    memories: tuple[MemoryArea, ...]
    timing: TimingReport | str

    @property
    def total(self) -> UnitArea:
        """The top unit's row."""
        return self.units[0]

    @property
    def slowest(self) -> UnitArea | None:
        """The unit with the longest delay; None when no unit has one."""
        timed = [unit for unit in self.units if unit.delay.value is not None]
        return max(timed, key=lambda unit: unit.delay.value or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data: units and origins beside the numbers."""
        total, slowest = self.total, self.slowest
        delay = slowest.delay.value if slowest is not None else None
        return {
            "top": self.top,
            "effort": self.effort, "memory_choice": self.memory_choice,
            "library": {
                "name": self.library, "embedded": not self.technology,
                "files": list(self.files), "cells_not_used": list(self.dont_use),
                "ge_um2": _number(self.ge_um2, "um2", "library",
                                  "the embedded library has no technology"),
                "fo4_ps": _number(self.fo4_ps, "ps", "analytic",
                                  "the embedded library has no technology"),
            },
            "area": {
                "logic": _number(total.total_ge, "GE", "synthesised"),
                "logic_um2": _number(total.total_um2, "um2", "synthesised",
                                     "the embedded library has no technology; give --pdk or "
                                     "--liberty"),
                "memory_bits": _number(total.total_memory_bits, "bits", "synthesised"),
                "memory": _number(total.total_memory_ge, "GE", self._memory_origin()),
                "memory_um2": self._memory_um2(),
                "cells": total.total_cells, "flops": total.total_flops,
            },
            "delay": {
                "what": _DELAY_WHAT,
                "slowest_unit": slowest.path if slowest is not None else None,
                **_number(delay, total.delay.unit, "synthesised", "no unit has a path"),
                "in_fo4": _number(None if delay is None else delay / (self.fo4_ps or 1.0), "FO4",
                                  "synthesised", "no unit has a path"),
            },
            "clock": {"target_mhz": self.clock_mhz, **self._clock()},
            "timing": {"value": None, "reason": self.timing} if isinstance(self.timing, str)
            else self.timing.to_dict(),
            "units": [asdict(unit) for unit in self.units],
            "memories": [asdict(memory) for memory in self.memories],
            "origins": {
                "cells, flops, own_ge, total_ge, own_um2, total_um2, delay": "synthesised",
                "memories whose origin is literature":
                    f"{BIT_CELL_GE:.3f} GE per six-transistor bit cell, times "
                    f"{PERIPHERY_FACTOR:g} for the periphery; latches: docs/area.md; times: "
                    "docs/timing.md",
            },
            "not_modelled": list(NOT_MODELLED),
            "recipe": list(self.recipe),
            "tools": self.tools,
        }

    def _memory_origin(self) -> str:
        origins = sorted({memory.origin for memory in self.memories})
        return " and ".join(origins) or "synthesised"

    def _memory_um2(self) -> dict[str, Any]:
        areas = [memory.um2 for memory in self.memories]
        known = [area for area in areas if area is not None]
        return _number(sum(known) if self.technology and len(known) == len(areas) else None,
                       "um2", self._memory_origin(), "an estimate in GE has no um2; give macros "
                       "with --memories macro")

    def _clock(self) -> dict[str, Any]:
        if isinstance(self.timing, str):
            return {"met": None, "reason": self.timing}
        return {"met": self.timing.met, "reason": self.timing.verdict()}

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"


def _number(value: float | None, unit: str, origin: str,
            reason: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"value": value, "unit": unit, "origin": origin}
    if value is None:
        found["reason"] = reason
    return found


def render(report: SynthesisReport) -> "Table":
    """The report as a table for people: one row per unit, indented as the hierarchy is."""
    from rich.table import Table

    total = report.total
    memory = ("memories among it as flops" if report.memory_choice == "flops" else
              f"{total.total_memory_bits:,} bits of memory (about {total.total_memory_ge:,.0f} GE)")
    title = f"{report.top}: {total.total_ge:,.0f} GE of logic, {memory}"
    unit = total.delay.unit
    table = Table(title=title, caption=f"Library {report.library}, effort {report.effort}. Logic "
                  f"and delay: synthesised; memory: {_MEMORY[report.memory_choice]}. Delay: "
                  f"{_DELAY_WHAT}.")
    table.add_column("unit", no_wrap=True)
    columns = ["n", "cells", "flops", "own GE", "total GE"]
    columns += ["total um2"] if report.technology else []
    columns += ["share", "memory bits", "memory GE", f"delay {unit}"]
    for name in [*columns, *(["slack ps"] if report.technology else [])]:
        table.add_column(name, justify="right")
    for row in report.units:
        cells = [str(row.instances), f"{row.cells:,}", f"{row.flops:,}", f"{row.own_ge:,.0f}",
                 f"{row.total_ge:,.0f}"]
        cells += [f"{row.total_um2:,.1f}"] if row.total_um2 is not None else []
        delay = "-" if row.delay.value is None else f"{row.delay.value:,.1f}"
        table.add_row("  " * row.depth + row.path.rpartition(".")[2], *cells, f"{row.share:.1%}",
                      f"{row.total_memory_bits:,}", f"{row.total_memory_ge:,.0f}", delay,
                      *(["-" if row.slack is None else f"{row.slack:,.1f}"]
                        if report.technology else []))
    return table


def render_timing(report: TimingReport) -> "Table":
    """Timing of the whole design as a table for people: path groups, then the critical path."""
    from rich.table import Table

    table = Table(title=f"timing by {report.engine}")
    table.add_column("path")
    timed = report.met is not None
    for name in ("ends", *(["failing", "ps"] if timed else []), "FO4",
                 *(["slack ps"] if timed else [])):
        table.add_column(name, justify="right")

    def add(what: str, ends: str, failing: str, length: float, fo4: float, slack: str) -> None:
        table.add_row(what, ends, *([failing, f"{length:,.1f}"] if timed else []), f"{fo4:,.1f}",
                      *([slack] if timed else []))

    for group in report.groups:
        add(f"{group.group}: {group.start} to {group.end}", f"{group.endpoints:,}",
            f"{group.failing:,}", group.length, group.fo4,
            "" if group.slack is None else f"{group.slack:,.1f}")
    table.add_section()
    for segment in report.critical.segments:
        add(f"  {segment.unit}, {segment.cells} cells", "", "", segment.delay, segment.fo4, "")
    return table


def text_report(report: SynthesisReport) -> str:
    """The tables as plain text, the same on every terminal."""
    import io

    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=TABLE_WIDTH, force_terminal=False, color_system=None,
                      legacy_windows=False)
    console.print(render(report))
    if not isinstance(report.timing, str):
        console.print(render_timing(report.timing))
        console.print(report.timing.verdict(), highlight=False)
    else:
        console.print(f"not timed: {report.timing}", highlight=False)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join([*lines, "", "Not modelled:", *(f"- {what}" for what in NOT_MODELLED), ""])
