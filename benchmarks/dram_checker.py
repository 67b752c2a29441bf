"""Speed of the DRAM rule checker on one core: ``python -m benchmarks.dram_checker``.

A stream of reads over all bank groups, its rows opened ahead and closed by the last read, without
refresh (said once, as the only violation).
"""

import argparse
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, report, row
from spec.dram_rules import DramCommand
from spec.grade import DramAddress, Grade, grade_names, load_grade
from tb.dram_checker import DramChecker

__all__ = ["main", "stream"]


def stream(grade: Grade, atoms: int) -> NDArray[np.int64]:
    """Commands that read this many atoms from index 0 up.

    There is room for an ACT between two reads; each bank group opens its next row in time.
    """
    timing, part = grade.timing, grade.organisation
    step = max(timing.nCCDL, timing.nCCDR or 0, part.column_ck + part.activate_ck)
    turn = part.bank_groups * grade.row_atoms
    commands = []
    for atom in range(atoms):
        address = grade.decompose(atom)
        ck = 1000 + atom * step
        if atom % turn < part.bank_groups:
            reads_ahead = (-(-timing.nRCDRD // step) + 1
                           + (part.bank_groups - address.bank_group) * -(-timing.nFAW // step))
            commands.append((ck - reads_ahead * step + part.column_ck, DramCommand.ACT, address))
        last = address.column == grade.row_atoms - 1
        commands.append((ck, DramCommand.RDA if last else DramCommand.RD, address))
    commands.sort(key=lambda command: command[0])
    return np.array([_fields(*command) for command in commands], np.int64)


def _fields(ck: int, command: DramCommand, address: DramAddress) -> tuple[int, ...]:
    return (ck, command, address.stack_id, address.bank_group, address.bank, address.row,
            address.column)


def _measure(quick: bool) -> list[Row]:
    atoms = 30_000 if quick else 150_000
    rows = []
    for name in grade_names():
        grade = load_grade(name)
        table = stream(grade, atoms)
        seconds = []
        for _ in range(3):
            checker = DramChecker(grade)
            start = time.perf_counter()
            checker.commands(table)
            seconds.append(time.perf_counter() - start)
        if any(one.rule != "refresh overdue" for one in checker.violations):
            raise RuntimeError(f"the stream breaks a rule: {checker.violations[0]}")
        rows.append(row(f"checker, {name}", len(table) / min(seconds), "commands/s", at_least=2e6))
    return rows


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dram_checker", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 000 atoms instead of 150 000")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    arguments = parser.parse_args()
    return report("DRAM rule checker, one core", _measure(arguments.quick), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
