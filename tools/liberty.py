"""Liberty cell libraries: areas, functions and timing tables of their cells."""

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.adder_cells import AdderCell, adders
from tools.console import UserError
from tools.liberty_cell import Arc, LibertyCell, Pin, Table
from tools.liberty_text import UNUSED_CELL, Group, parse_groups
from tools.memory_macro import Macro, macros_of

__all__ = ["Arc", "LibertyCell", "Library", "Pin", "Table", "parse_cells", "parse_liberty",
           "read_liberty", "read_macros"]

_TIME_PS = {"1ns": 1000.0, "100ps": 100.0, "10ps": 10.0, "1ps": 1.0}
_UNIT_DRIVE = re.compile(r"(?:[xX]|_)1(?![0-9p])")
_FARAD_FF = {"ff": 1.0, "pf": 1000.0}


def _by_drive(cell: LibertyCell | AdderCell) -> tuple[bool, float, int, str]:
    """Drive strength 1 first, where names tell it; then the smallest."""
    return _UNIT_DRIVE.search(cell.name) is None, cell.area, len(cell.name), cell.name


def _find(cells: dict[str, LibertyCell], inputs: int, table: int) -> LibertyCell | None:
    return min((cell for cell in cells.values() if cell.function == (inputs, table)),
               default=None, key=_by_drive)


@dataclass
class Library:
    """One or several Liberty files taken together.

    ``texts`` are their copies for yosys and abc; ``flop_texts`` says which of them hold flops.
    ``technology`` says that areas are um2 and times ps. ``unused`` are the cells that match a
    pattern of ``dont_use``; ``files`` are the names of the files.
    """

    name: str
    cells: dict[str, LibertyCell]
    texts: tuple[str, ...]
    templates: dict[str, Group]
    time_ps: float
    capacitance_ff: float
    flop_texts: tuple[bool, ...] = ()
    technology: bool = True
    files: tuple[str, ...] = ()
    dont_use: tuple[str, ...] = ()
    unused: dict[str, LibertyCell] = field(default_factory=dict)
    macros: list[Macro] = field(default_factory=list)

    def find(self, inputs: int, table: int) -> LibertyCell | None:
        """The cell of drive strength 1 that computes a function.

        Without names that say so (``X1``, ``x1``, ``_1``), the smallest cell.
        """
        return _find(self.cells, inputs, table)

    @cached_property
    def full_adder(self) -> AdderCell | None:
        """The full adder of drive strength 1 (otherwise the smallest), if there is one."""
        return min(adders(self.cells.values(), 3), default=None, key=_by_drive)

    @cached_property
    def half_adder(self) -> AdderCell | None:
        """The half adder of drive strength 1 (otherwise the smallest), if there is one."""
        return min(adders(self.cells.values(), 2), default=None, key=_by_drive)

    @cached_property
    def nand2(self) -> LibertyCell:
        """The cell whose area is one GE, also where the library's flow does not use it."""
        return self._needed(2, 0b0111, "two-input NAND, whose area is 1 GE",
                            {**self.unused, **self.cells})

    @cached_property
    def inverter(self) -> LibertyCell:
        """The inverter of drive strength 1: drives a unit's inputs, and four load an output."""
        return self._needed(1, 0b01, "inverter", self.cells)

    @property
    def driver(self) -> LibertyCell:
        """The cell that is taken to drive each input of a design."""
        return self.inverter

    @property
    def has_buffer(self) -> bool:
        """Whether abc can buffer large fan-outs."""
        return self.find(1, 0b10) is not None

    @cached_property
    def input_ff(self) -> float:
        """Input capacitance of the inverter in fF."""
        return max(pin.capacitance for pin in self.inverter.pins.values())

    @cached_property
    def fo4(self) -> tuple[float, float]:
        """Delay and output slew in ps of an inverter that drives four of its kind.

        The mean of both edges, in a chain of such inverters.
        """
        (arc,) = (arc for pin in self.inverter.pins.values() for arc in pin.arcs)
        load, fall, rise = 4 * self.input_ff, 0.0, 0.0
        for _ in range(20):  # The slews settle along the chain.
            fall, rise = arc.slews[0].at(rise, load), arc.slews[1].at(fall, load)
        delay = arc.delays[0].at(rise, load) + arc.delays[1].at(fall, load)
        return delay / 2, (fall + rise) / 2

    def _needed(self, inputs: int, table: int, what: str, among: dict[str, LibertyCell]
                ) -> LibertyCell:
        cell = _find(among, inputs, table)
        if cell is None:
            raise UserError(f"Liberty library {self.name} has no {what}; give all files of the "
                            "library after --liberty")
        return cell

    def add_macros(self, groups: Sequence[tuple[Group, "Library"]]) -> None:
        """Take memory macros with the times that they have among cells of this library."""
        for group, owner in groups:
            self.macros += macros_of(group, owner, self.fo4[1], 4 * self.input_ff)

    def check(self) -> None:
        """Raise ``UserError`` unless there are a NAND2, an inverter and a flop with a clock."""
        assert self.nand2 and self.inverter
        if not any(cell.flop for cell in self.cells.values()):
            raise UserError(f"Liberty library {self.name} has no flip-flop (a cell with an ff "
                            "group); give all files of the library after --liberty")

    def pin(self, group: Group) -> Pin:
        """Make a pin with its timing from its group."""
        direction = group.get("direction")
        arcs: dict[tuple[str, str, bool], list[Group]] = {}
        setups: tuple[list[Table], list[Table]] = ([], [])
        for timing in group.of("timing"):
            kind = timing.get("timing_type", "combinational")
            if kind.startswith("setup"):
                for edge, name in enumerate(("fall_constraint", "rise_constraint")):
                    setups[edge].extend(self._table(table) for table in timing.of(name))
            elif kind in ("combinational", "rising_edge", "falling_edge"):
                if {"cell_rise", "cell_fall"} <= {table.kind for table in timing.groups}:
                    for related in timing.get("related_pin").split():
                        sense = timing.get("timing_sense", "non_unate")
                        arcs.setdefault((related, sense, kind != "combinational"),
                                        []).append(timing)
        capacitance = max((float(group.get(name)) for name in
                           ("capacitance", "rise_capacitance", "fall_capacitance")
                           if name in group.values), default=0.0)
        return Pin(group.name, direction, capacitance * self.capacitance_ff,
                   group.get("function"), tuple(
                       self._arc(*kind, timings) for kind, timings in arcs.items()),
                   (tuple(setups[0]), tuple(setups[1])))

    def _arc(self, related: str, sense: str, clocked: bool, timings: list[Group]) -> Arc:
        """The slowest of the arcs that differ in their condition only."""
        def slowest(kind: str) -> Table:
            tables = [self._table(group) for timing in timings for group in timing.of(kind)]
            return max(tables, key=_middle)

        return Arc(related, sense, (slowest("cell_fall"), slowest("cell_rise")),
                   (slowest("fall_transition"), slowest("rise_transition")), clocked)

    def _table(self, group: Group) -> Table:
        values = tuple(value * self.time_ps for value in group.numbers("values"))
        template = self.templates.get(group.name, group)
        axes: dict[str, tuple[float, ...]] = {}
        for number in "12":
            axis = group.numbers(f"index_{number}") or template.numbers(f"index_{number}")
            if axis:
                axes[template.get(f"variable_{number}") or number] = axis
        loads: tuple[float, ...] = (0.0,)
        slews: tuple[float, ...] = (0.0,)
        by_load_first = False
        for place, (variable, axis) in enumerate(axes.items()):
            if "capacitance" in variable:
                loads = tuple(value * self.capacitance_ff for value in axis)
                by_load_first = place == 0 and len(axes) > 1
            elif variable == "constrained_pin_transition":
                loads = (0.0,) if len(axes) == 1 else tuple(value * self.time_ps for value in axis)
                by_load_first = place == 0 and len(axes) > 1
            else:
                slews = tuple(value * self.time_ps for value in axis)
        if len(values) == 1:
            return Table((0.0,), (0.0,), (values,))
        if len(values) != len(loads) * len(slews):
            raise UserError(f"Liberty library {self.name}: a table of {group.name} has "
                            f"{len(values)} values for {len(slews)} x {len(loads)} points")
        if by_load_first:
            rows = tuple(values[start::len(slews)] for start in range(len(slews)))
        else:
            rows = tuple(values[start:start + len(loads)]
                         for start in range(0, len(values), len(loads)))
        return Table(slews, loads, rows)


def _middle(table: Table) -> float:
    return table.values[len(table.values) // 2][len(table.loads) // 2]


def read_liberty(files: Sequence[Path], dont_use: Sequence[str] = ()) -> Library:
    """Read the files of one library, plain or gzip; ``dont_use`` are patterns of cell names.

    :Errors: ``UserError`` naming the file: unreadable, no Liberty text, units that differ between
        the files, or a library without NAND2, inverter or flip-flop.
    """
    texts = [(path.name, _read(path)) for path in files]
    return parse_liberty(texts, dont_use)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8", errors="replace")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: the gzip data is damaged; get the file again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; --liberty takes Liberty files (.lib, .lib.gz)"
                        ) from None


def parse_liberty(texts: Sequence[tuple[str, str]], dont_use: Sequence[str] = ()) -> Library:
    """Take together the Liberty texts of one library, each with the name that errors show."""
    if not texts:
        raise UserError("--liberty needs at least one Liberty file")
    library: Library | None = None
    kept: list[str] = []
    with_flops: list[bool] = []
    macros: list[tuple[Group, Library]] = []
    for name, text in texts:
        group, copy = parse_groups(name, text, dont_use)
        if _only_macros(group):
            macros.append((group, _part(name, group)))
            continue
        kept.append(copy)
        units = _units(name, group)
        if library is None:
            library = Library(group.name, {}, (), {}, *units, dont_use=tuple(dont_use),
                              files=tuple(name for name, _ in texts))
        elif units[0] != library.time_ps or units[1] != library.capacitance_ff:
            raise UserError(f"{name}: its time or capacitance unit differs from {texts[0][0]}; "
                            "--liberty takes the files of one library")
        part = _part(name, group)
        with_flops.append(False)
        for cell in group.of("cell"):
            if any(cell.of("ff", "latch")):
                with_flops[-1] = True
            if cell.name not in library.cells:
                library.cells[cell.name] = _cell(name, cell, part)
        for cell in group.of(UNUSED_CELL):
            library.unused[cell.name] = _cell(name, cell, part)
    if library is None:
        raise UserError(f"{', '.join(name for name, _ in texts)}: only memory macros; give the "
                        "files of a cell library, too")
    library.texts, library.flop_texts = tuple(kept), tuple(with_flops)
    library.check()
    library.add_macros(macros)
    return library


def read_macros(files: Sequence[Path], library: Library) -> None:
    """Add the memory macros of some files to a library; ``UserError`` when one holds cells."""
    for path in files:
        group, _ = parse_groups(path.name, _read(path))
        if not _only_macros(group):
            raise UserError(f"{path}: holds cells; beside --pdk, --liberty takes files of memory "
                            "macros (cells with a memory group) only")
        library.add_macros([(group, _part(path.name, group))])


def parse_cells(name: str, text: str) -> dict[str, LibertyCell]:
    """The cells of a Liberty text that is no whole library, such as models of memories."""
    group, _ = parse_groups(name, text)
    part = _part(name, group)
    return {cell.name: _cell(name, cell, part) for cell in group.of("cell")}


def _part(file: str, group: Group) -> Library:
    """One file by itself: tables of its cells find the templates and units of their own file."""
    return Library(group.name, {}, (), {found.name: found for found in
                                        group.of("lu_table_template")}, *_units(file, group))


def _only_macros(library: Group) -> bool:
    cells = list(library.of("cell"))
    return bool(cells) and all(any(cell.of("memory")) for cell in cells)


def _cell(file: str, group: Group, owner: Library) -> LibertyCell:
    try:
        area = float(group.get("area", "0"))
    except ValueError:
        raise UserError(f"{file}: cell {group.name} has the area {group.get('area')!r}; "
                        "a number is needed") from None
    kinds = {inner.kind for inner in group.groups}
    flop = bool(kinds & {"ff", "ff_bank"})
    latch = bool(kinds & {"latch", "latch_bank", "statetable"})
    return LibertyCell(group.name, area, flop, latch, list(group.of("pin")), owner)


def _units(file: str, library: Group) -> tuple[float, float]:
    time = library.get("time_unit", "1ns").replace(" ", "")
    load = [word.strip(' "').lower() for word in
            library.get("capacitive_load_unit", "1, pf").split(",")]
    if time not in _TIME_PS:
        raise UserError(f"{file}: time_unit is {time!r}; known are {', '.join(_TIME_PS)}")
    try:
        return _TIME_PS[time], float(load[0]) * _FARAD_FF[load[1]]
    except (KeyError, IndexError, ValueError):
        raise UserError(f"{file}: capacitive_load_unit is {', '.join(load)!r}; "
                        "a number and ff or pf are needed") from None
