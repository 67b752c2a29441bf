"""Timing diagrams from a trace of DRAM commands.

A diagram shows the two command buses, the state of the banks as it follows from the commands and
the grade, and the bursts on the data pins. Its axis is the grade's clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from benchmarks.drawing import FILLS, INK, LINES, MUTED, STROKES, Drawing
from spec.dram_rules import COLUMN_COMMANDS, DramCommand
from spec.grade import Grade

__all__ = ["Sent", "Window", "waveform"]

LEFT, RIGHT, LANE, STEP = 142, 20, 16, 20
COLOURS = ("green", "violet", "amber")

ACT, RD, RDA, REFpb = DramCommand.ACT, DramCommand.RD, DramCommand.RDA, DramCommand.REFpb


@dataclass(frozen=True)
class Sent:
    """One command of a trace; a field that it does not use is -1."""

    ck: int
    command: DramCommand
    stack_id: int
    bank_group: int
    bank: int
    row: int = -1
    column: int = -1

    def line(self) -> str:
        """The command as its line of a trace."""
        fields = (self.ck, self.command.name, self.stack_id, self.bank_group, self.bank,
                  "" if self.row < 0 else self.row, "" if self.column < 0 else self.column)
        return ",".join(map(str, fields))


@dataclass(frozen=True)
class Window:
    """What a diagram shows: ``length`` cycles from ``first`` on, and these (stack ID, bank)."""

    first: int
    length: int
    sets: tuple[tuple[int, int], ...]

    @property
    def scale(self) -> float:
        """Pixels of one cycle."""
        return (1000 - LEFT - RIGHT) / self.length

    def x(self, ck: float) -> float:
        """Where a cycle begins, within the window."""
        return LEFT + min(max(ck - self.first, 0), self.length) * self.scale

    def shows(self, first: float, end: float) -> bool:
        """Whether some of these cycles are in the window."""
        return first < self.first + self.length and end > self.first


def waveform(grade: Grade, trace: Iterable[Sent], window: Window, title: str,
             description: str) -> str:
    """Draw the window of a trace of reads, each row closed by its RDA, as SVG."""
    commands = [one for one in trace if (one.stack_id, one.bank) in window.sets]
    groups = grade.organisation.bank_groups
    banks_top = 144
    data_top = banks_top + len(window.sets) * (groups * STEP + 10) + 16
    drawing = Drawing(1000, data_top + 92, title, description)
    drawing.text(16, 28, title, size=14, bold=True)
    _axis(drawing, grade, window, data_top + 36)
    _buses(drawing, grade, window, commands)
    top = float(banks_top)
    for place, (stack_id, bank) in enumerate(window.sets):
        for group in range(groups):
            mine = [one for one in commands if
                    (one.stack_id, one.bank, one.bank_group) == (stack_id, bank, group)]
            label = f"group {group}, bank {bank}"
            if grade.organisation.stack_ids > 1:
                label = f"SID {stack_id}, {label}"
            drawing.text(LEFT - 10, top + 12, label, size=10.5, fill=MUTED, anchor="end")
            _bank(drawing, grade, window, mine, top, COLOURS[place], label_it=group == 0)
            top += STEP
        top += 10
    _data(drawing, grade, window, commands, data_top)
    return drawing.svg()


def _axis(drawing: Drawing, grade: Grade, window: Window, bottom: float) -> None:
    step = 10 if window.length <= 120 else 50
    for ck in range(-(-window.first // step) * step, window.first + window.length + 1, step):
        x = window.x(ck)
        drawing.path(f"M{x:.1f},48 V{bottom:.1f}", stroke="#e4e7eb", weight=1)
        if window.first < ck < window.first + window.length:
            drawing.text(x, bottom + 16, str(ck), size=10, fill=MUTED, anchor="middle")
    drawing.text(LEFT - 10, bottom + 16, "ck", size=10.5, fill=MUTED, anchor="end")
    drawing.text(1000 - RIGHT, bottom + 36,
                 f"1 ck = {grade.organisation.clock_ns:g} ns; {grade.name}; from a simulation",
                 size=10, fill=MUTED, anchor="end")


def _buses(drawing: Drawing, grade: Grade, window: Window, commands: list[Sent]) -> None:
    part = grade.organisation
    for label, top, of_column in (("row commands", 66, False), ("column commands", 106, True)):
        drawing.text(LEFT - 10, top + 12, label, size=11, anchor="end", bold=True)
        drawing.path(f"M{LEFT},{top + LANE} H{1000 - RIGHT}", stroke=LINES, weight=1)
        shown = [one for one in commands if (one.command in COLUMN_COMMANDS) is of_column
                 and window.shows(one.ck, one.ck + 2)]
        for one in shown:
            colour = "red" if one.command is REFpb else _colour(window, one)
            length = part.activate_ck if one.command is ACT else part.column_ck
            last = one.command in (RDA, REFpb)
            drawing.rect(window.x(one.ck), top, max(length * window.scale - 1, 1.2), LANE,
                         fill=STROKES[colour] if last else FILLS[colour], stroke=STROKES[colour],
                         weight=1 if window.scale > 4 else 0.6)
        # One label over the commands of a kind that follow each other.
        for (command, bank, row), run in groupby(
                shown, lambda one: (one.command, one.bank, one.row)):
            first, *_, end = [*(found := list(run)), found[-1]]
            name = f"{command.name}, bank {bank}" + (f", row {row}" if row >= 0 else "")
            if command is RDA and window.scale <= 4:
                continue
            name = command.name if command is RDA else name
            centre = (window.x(first.ck) + window.x(end.ck + 1)) / 2
            drawing.text(max(centre, LEFT + 3.2 * len(name)), top - 5, name, size=10,
                         fill=STROKES["red"] if command is REFpb else INK, anchor="middle")


def _bank(drawing: Drawing, grade: Grade, window: Window, commands: list[Sent], top: float,
          colour: str, label_it: bool) -> None:
    """One bank: opened, open, precharged, refreshed; its reads as ticks."""
    timing = grade.timing
    drawing.path(f"M{LEFT},{top + LANE / 2:.1f} H{1000 - RIGHT}", stroke="#cbd2d9", weight=1)

    def state(first: float, end: float, fill: str, stroke: str, label: str, ink: str) -> None:
        if not window.shows(first, end):
            return
        left, right = window.x(first), window.x(end)
        drawing.rect(left, top, right - left, LANE, fill=fill, stroke=stroke, weight=0.8)
        if label_it and right - left > 6 * len(label):
            drawing.text((left + right) / 2, top + 12, label, size=9.5, fill=ink, anchor="middle")

    opened: Sent | None = None
    for one in commands:
        if one.command is ACT:
            opened = one
            state(one.ck, one.ck + timing.nRCDRD, "#ffffff", STROKES[colour],
                  f"ACT: nRCDRD {timing.nRCDRD} ck", STROKES[colour])
        elif one.command is RDA:
            if opened:
                state(opened.ck + timing.nRCDRD, one.ck + 1, FILLS[colour], STROKES[colour], "", "")
            length = timing.nRTP + timing.nRP
            state(one.ck + 1, one.ck + length, "#eef1f4", LINES,
                  f"precharge: nRTP + nRP {length} ck", MUTED)
            opened = None
        elif one.command is REFpb:
            length = timing.nRFCpb or 0
            state(one.ck, one.ck + length, FILLS["red"], STROKES["red"],
                  f"REFpb: nRFCpb {length} ck = {length * grade.organisation.clock_ns:g} ns",
                  STROKES["red"])
    if opened:
        state(opened.ck + timing.nRCDRD, window.first + window.length, FILLS[colour],
              STROKES[colour], "", "")
    for one in commands:
        if one.command in (RD, RDA) and window.shows(one.ck, one.ck + 1):
            drawing.rect(window.x(one.ck), top + 2, max(window.scale, 1), LANE - 4,
                         fill=STROKES[colour])


def _data(drawing: Drawing, grade: Grade, window: Window, commands: list[Sent],
          top: float) -> None:
    """The bursts on the data pins."""
    timing = grade.timing
    drawing.text(LEFT - 10, top + 15, "data pins", size=11, anchor="end", bold=True)
    reads = [one for one in commands if one.command in (RD, RDA)]
    wide = window.scale * timing.nBL > 8
    for one in reads:
        first, end = one.ck + timing.nCL, one.ck + timing.nCL + timing.nBL
        if window.shows(first, end):
            colour = _colour(window, one)
            left, right = window.x(first), window.x(end)
            drawing.rect(left, top, right - left, 22, fill=FILLS[colour], stroke=STROKES[colour],
                         weight=1 if wide else 0.5)
    # From a first read of a row to its burst.
    if wide:
        last = [one for one in reads if one.command is RDA and window.shows(one.ck, one.ck + 1)]
        new = next(one for one in reads if last and one.ck > last[-1].ck)
        left, right = window.x(new.ck), window.x(new.ck + timing.nCL)
        for x, low in ((left, 106 + LANE), (right, top - 6)):
            drawing.path(f"M{x:.1f},{low:.1f} V{top:.1f}", stroke=INK, weight=0.8, dashed=True)
        drawing.path(f"M{left:.1f},{top - 8:.1f} H{right:.1f}", stroke=INK, weight=1,
                     arrows="start end")
        drawing.text((left + right) / 2, top - 12, f"nCL {timing.nCL} ck", size=10,
                     anchor="middle")


def _colour(window: Window, one: Sent) -> str:
    return COLOURS[window.sets.index((one.stack_id, one.bank))]
