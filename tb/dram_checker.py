"""The DRAM rule checker, and traces of DRAM commands.

``tb/dram_checker.cpp`` does the work, here through ctypes; a simulation links the same file and
calls it through DPI-C. It gets all rules and numbers as text from :func:`checker_text`.
"""

import csv
import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spec.dram_rules import DramCommand, Rule, Scope, rules_of
from spec.grade import DramAddress, Grade
from tb.simulator import build_library

__all__ = ["TRACE_COLUMNS", "DramChecker", "DramRuleError", "TraceError", "Violation",
           "check_trace", "checker_text", "read_trace", "write_trace"]

TRACE_COLUMNS = ("ck", "command", "sid", "bank_group", "bank", "row", "column")

# Commands of a trace that are checked at a time.
_CHUNK = 1 << 16


class DramRuleError(AssertionError):
    """Commands broke the rules of the grade; the text has the violations, the first ones first."""


class TraceError(ValueError):
    """A trace that cannot be read; the message says where and why."""


@dataclass(frozen=True)
class Violation:
    """One broken rule. ``missing`` is in cycles; 0 for rules of state, which no waiting repairs.

    ``earlier`` is the command that the rule counts from, with its cycle; None where there is none.
    ``command`` is None for what is found at the end.
    """

    rule: str
    text: str
    ck: int
    command: DramCommand | None
    earlier: DramCommand | None
    earlier_ck: int | None
    required: int
    missing: int

    def __str__(self) -> str:
        return self.text


def checker_text(grade: Grade, rules: Iterable[tuple[Rule, int]] | None = None) -> str:
    """Write organisation, commands and rules of a grade as the checker reads them.

    ``rules``, with their cycles, are those of the grade unless others are given.
    """
    part = grade.organisation

    def mask(members: Iterable[int]) -> int:
        return sum(1 << member for member in members)

    order = {scope: number for number, scope in enumerate(Scope)}
    return "\n".join([
        f"organisation {part.stack_ids} {part.bank_groups} {part.banks_per_group} {part.rows} "
        f"{grade.row_atoms}",
        f"refresh {grade.timing.nREFI} {part.refresh_postponed_max}",
        *(f"command {command.value} {command.name}" for command in DramCommand),
        *(f"rule {mask(rule.earlier)} {mask(rule.later)} "
          f"{mask(order[scope] for scope in rule.scopes)} {cycles} {rule.window} {rule.name}"
          for rule, cycles in (rules_of(grade) if rules is None else rules)), ""])


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_library(Path(__file__).with_suffix(".cpp"))))
    handle, number, wide, text = (ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong,
                                  ctypes.c_char_p)
    for name, result, arguments in (
            ("new", handle, [text]),
            ("free", None, [handle]),
            ("command", number, [handle, wide, *[number] * 6]),
            ("commands", wide, [handle, ctypes.c_void_p, wide]),
            ("finish", number, [handle, wide]),
            ("total", wide, [handle]),
            ("kept", number, [handle]),
            ("rule", text, [handle, number]),
            ("text", text, [handle, number]),
            ("numbers", None, [handle, number, ctypes.c_void_p]),
            ("problem", text, [handle])):
        function = getattr(library, f"dram_checker_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class DramChecker:
    """Judge the commands of one pseudo-channel, one after the other.

    ``text`` replaces what :func:`checker_text` says of ``grade``.

    :Errors: commands that are not in the order of their cycles raise ``ValueError``.
    """

    def __init__(self, grade: Grade, text: str | None = None) -> None:
        self.grade = grade
        self._calls = _library()
        self._handle = self._calls.dram_checker_new((text or checker_text(grade)).encode())
        if not self._handle:
            raise ValueError(self._calls.dram_checker_problem(None).decode())
        self._numbers = np.zeros(8, np.int64)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._calls.dram_checker_free(self._handle)

    def command(self, ck: int, command: DramCommand, sid: int = 0, bank_group: int = 0,
                bank: int = 0, row: int = -1, column: int = 0) -> list[Violation]:
        """Judge one command; return what it breaks.

        PREA and REFab have no address. For RD, RDA, WR and WRA ``row`` is the row that is meant,
        -1 where it is not known. Commands of one cycle may come in any order on different buses.
        """
        kept = self._calls.dram_checker_kept(self._handle)
        if self._calls.dram_checker_command(self._handle, ck, command, sid, bank_group, bank, row,
                                            column) < 0:
            raise ValueError(self._calls.dram_checker_problem(self._handle).decode())
        return self._violations(kept)

    def send(self, ck: int, command: DramCommand, address: DramAddress) -> list[Violation]:
        """Judge one command to an address; as :meth:`command`."""
        return self.command(ck, command, address.stack_id, address.bank_group, address.bank,
                            address.row, address.column)

    def commands(self, table: NDArray[np.int64]) -> list[Violation]:
        """Judge many: rows of ck, command, stack ID, bank group, bank, row, column."""
        if table.ndim != 2 or table.shape[1] != len(TRACE_COLUMNS) or table.dtype != np.int64:
            raise ValueError(f"commands must be int64 [n, {len(TRACE_COLUMNS)}], not "
                             f"{table.dtype} {list(table.shape)}")
        if np.any(np.abs(table[:, 1:]) >= 1 << 31):
            raise ValueError("a command or an address is wider than 32 bits")
        rows = np.ascontiguousarray(table)
        kept = self._calls.dram_checker_kept(self._handle)
        if self._calls.dram_checker_commands(self._handle, rows.ctypes.data, len(rows)) < len(rows):
            raise ValueError(self._calls.dram_checker_problem(self._handle).decode())
        return self._violations(kept)

    def finish(self, ck: int) -> list[Violation]:
        """Say that time has come to ``ck``; return what is overdue by then."""
        kept = self._calls.dram_checker_kept(self._handle)
        if self._calls.dram_checker_finish(self._handle, ck) < 0:
            raise ValueError(self._calls.dram_checker_problem(self._handle).decode())
        return self._violations(kept)

    @property
    def total(self) -> int:
        """Violations so far; the first 1000 are in :attr:`violations`."""
        return int(self._calls.dram_checker_total(self._handle))

    @property
    def violations(self) -> list[Violation]:
        """The first 1000 violations."""
        return self._violations(0)

    def require(self) -> None:
        """Raise :class:`DramRuleError` if a rule was broken."""
        if self.total:
            shown = [str(violation) for violation in self.violations[:20]]
            more = [f"and {self.total - 20} more"] if self.total > 20 else []
            raise DramRuleError("\n".join([*shown, *more]))

    def _violations(self, first: int) -> list[Violation]:
        found = []
        for index in range(first, self._calls.dram_checker_kept(self._handle)):
            self._calls.dram_checker_numbers(self._handle, index, self._numbers.ctypes.data)
            (earlier_ck, earlier, _, ck, later, _, required, missing) = map(int, self._numbers)
            found.append(Violation(
                rule=self._calls.dram_checker_rule(self._handle, index).decode(),
                text=self._calls.dram_checker_text(self._handle, index).decode(), ck=ck,
                command=DramCommand(later) if 0 <= later < len(DramCommand) else None,
                earlier=None if earlier < 0 else DramCommand(earlier),
                earlier_ck=None if earlier < 0 else earlier_ck, required=required,
                missing=missing))
        return found


def read_trace(path: str | Path) -> NDArray[np.int64]:
    """Read a trace: a line per command, ``ck,command,sid,bank_group,bank,row,column``.

    The first line has these names. Fields that a command does not use may be empty.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None
    if not rows or tuple(rows[0]) != TRACE_COLUMNS:
        raise TraceError(f"{path}:1: the first line must be {','.join(TRACE_COLUMNS)}")
    table = np.zeros((len(rows) - 1, len(TRACE_COLUMNS)), np.int64)
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(TRACE_COLUMNS):
            raise TraceError(f"{path}:{line}: {len(TRACE_COLUMNS)} fields are needed, not "
                             f"{len(row)}")
        if row[1] not in DramCommand.__members__:
            raise TraceError(f"{path}:{line}: command must be one of "
                             f"{', '.join(DramCommand.__members__)}, not {row[1]!r}")
        try:
            # An access whose row is not given is to whatever row is open.
            table[line - 2] = [int(row[0]), DramCommand[row[1]], *(int(text or 0)
                               for text in row[2:5]), int(row[5] or -1), int(row[6] or 0)]
        except (ValueError, OverflowError):
            raise TraceError(f"{path}:{line}: fields must be integers, not "
                             f"{','.join(row)}") from None
    return table


def write_trace(path: str | Path, table: NDArray[np.int64]) -> None:
    """Write a trace as :func:`read_trace` reads it; fields that a command has no use for empty."""
    unused = {DramCommand.PRE: 2, DramCommand.REFpb: 2, DramCommand.PREA: 5, DramCommand.REFab: 5,
              DramCommand.ACT: 1}
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TRACE_COLUMNS)
        for row in table.tolist():
            command = DramCommand(row[1])
            row = [row[0], command.name, *row[2:5], "" if row[5] < 0 else row[5], row[6]]
            empty = unused.get(command, 0)
            writer.writerow([*row[:len(row) - empty], *[""] * empty])


def check_trace(path: str | Path, grade: Grade) -> DramChecker:
    """Judge a whole trace; the checker that is returned has the violations.

    :Errors: :class:`TraceError` for a file that is no trace.
    """
    table = read_trace(path)
    checker = DramChecker(grade)
    try:
        for first in range(0, len(table), _CHUNK):
            checker.commands(table[first:first + _CHUNK])
    except ValueError as error:
        raise TraceError(f"{path}: {error}") from None
    return checker
