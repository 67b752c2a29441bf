"""DRAM commands and the least distances between them, as one table.

The checker, its tests, the documentation and the controller read this table; the numbers come from
a :class:`spec.grade.Grade`. A rule whose formula names a value that the grade does not have does
not exist in that grade.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

from spec.grade import Grade

__all__ = ["COLUMN_COMMANDS", "ROW_COMMANDS", "RULES", "STATE_RULES", "DramCommand", "Rule",
           "Scope", "rules_of"]


class DramCommand(IntEnum):
    """What a controller sends to the pseudo-channel; the names are those in traces."""

    ACT = 0
    PRE = 1
    PREA = 2
    RD = 3
    RDA = 4
    WR = 5
    WRA = 6
    REFab = 7
    REFpb = 8


ACT, PRE, PREA, RD, RDA, WR, WRA, REFab, REFpb = DramCommand

READS = (RD, RDA)
WRITES = (WR, WRA)
COLUMN_COMMANDS = (RD, RDA, WR, WRA)
ROW_COMMANDS = (ACT, PRE, PREA, REFab, REFpb)
ALL_COMMANDS = tuple(DramCommand)


class Scope(Enum):
    """Which earlier commands a rule looks at, seen from the bank of the later one.

    PREA and REFab have no bank: rules with them have the whole pseudo-channel as scope.
    """

    BANK = "same bank"
    OTHER_BANK = "any other bank"
    GROUP = "same bank group"
    OTHER_GROUP = "other bank group of the same stack ID"
    OTHER_STACK = "other stack ID"
    ALL = "pseudo-channel"


@dataclass(frozen=True)
class Rule:
    """From each ``earlier`` to each ``later`` command in ``scope``: at least ``formula`` cycles.

    ``window`` commands back: 1 is the last one of its kind, 4 the fourth last. ``buses`` is the
    kind of command bus that the rule is for, None for both. Several rules may have one name.
    """

    name: str
    earlier: tuple[DramCommand, ...]
    later: tuple[DramCommand, ...]
    scopes: tuple[Scope, ...]
    formula: str
    window: int = 1
    buses: Literal["separate", "shared"] | None = None

    def cycles(self, grade: Grade) -> int | None:
        """The least distance in ``grade``; None where the rule does not exist."""
        if self.buses not in (None, grade.organisation.command_buses):
            return None
        total, sign = 0, 1
        for term in self.formula.split():
            if term in "+-":
                sign = 1 if term == "+" else -1
                continue
            part = grade.timing if hasattr(grade.timing, term) else grade.organisation
            value = int(term) if term.isdecimal() else getattr(part, term)
            if value is None:
                return None
            total += sign * value
        return total


BANK, OTHER_BANK, GROUP, OTHER_GROUP, OTHER_STACK, ALL = ((scope,) for scope in Scope)
OUTSIDE = (Scope.OTHER_GROUP, Scope.OTHER_STACK)
WRITTEN = "nCWL + nBL + nWR"

# Of two rules that miss the same number of cycles between the same two commands, the first counts.
RULES = (
    # A bank: from open to closed and open again. RDA and WRA precharge by themselves.
    Rule("tRCDRD", (ACT,), READS, BANK, "nRCDRD"),
    Rule("tRCDWR", (ACT,), WRITES, BANK, "nRCDWR"),
    Rule("tRAS", (ACT,), (PRE,), BANK, "nRAS"),
    Rule("tRAS", (ACT,), (PREA,), ALL, "nRAS"),
    Rule("tRC", (ACT,), (ACT, REFpb), BANK, "nRC"),
    Rule("tRC", (ACT,), (REFab,), ALL, "nRC"),
    Rule("tRP", (PRE,), (ACT, REFpb), BANK, "nRP"),
    Rule("tRP", (PRE,), (REFab,), ALL, "nRP"),
    Rule("tRP", (PREA,), (ACT, REFpb, REFab), ALL, "nRP"),
    Rule("tRPab", (PREA,), (ACT, REFpb, REFab), ALL, "nRPab"),
    Rule("tRTP", (RD,), (PRE,), BANK, "nRTP"),
    Rule("tRTP", (RD,), (PREA,), ALL, "nRTP"),
    Rule("tWR", (WR,), (PRE,), BANK, WRITTEN),
    Rule("tWR", (WR,), (PREA,), ALL, WRITTEN),
    Rule("tRTP+tRP", (RDA,), (ACT, REFpb), BANK, "nRTP + nRP"),
    Rule("tRTP+tRP", (RDA,), (REFab,), ALL, "nRTP + nRP"),
    Rule("tWR+tRP", (WRA,), (ACT, REFpb), BANK, WRITTEN + " + nRP"),
    Rule("tWR+tRP", (WRA,), (REFab,), ALL, WRITTEN + " + nRP"),
    Rule("tPPD", (PRE, PREA), (PRE, PREA), ALL, "nPPD"),
    # Rows opened: how fast, and how many.
    Rule("tRRDS", (ACT,), (ACT, REFpb), OUTSIDE, "nRRDS"),
    Rule("tRRDL", (ACT,), (ACT, REFpb), GROUP, "nRRDL"),
    Rule("tFAW", (ACT,), (ACT,), ALL, "nFAW", window=4),
    # Accesses.
    Rule("tCCDS", READS, READS, OTHER_GROUP, "nCCDS"),
    Rule("tCCDL", READS, READS, GROUP, "nCCDL"),
    Rule("tCCDR", READS, READS, OTHER_STACK, "nCCDR"),
    Rule("tCCDS_WR", WRITES, WRITES, OUTSIDE, "nCCDS_WR"),
    Rule("tCCDL_WR", WRITES, WRITES, GROUP, "nCCDL_WR"),
    Rule("tWTRS", WRITES, READS, OUTSIDE, "nCWL + nBL + nWTRS"),
    Rule("tWTRL", WRITES, READS, GROUP, "nCWL + nBL + nWTRL"),
    Rule("tRTW", READS, WRITES, ALL, "nRTW"),
    # Refresh. A bank under refresh takes no command.
    Rule("tRFC", (REFab,), ALL_COMMANDS, ALL, "nRFC"),
    Rule("tRFCpb", (REFpb,), (ACT, PRE, *COLUMN_COMMANDS, REFpb), BANK, "nRFCpb"),
    Rule("tRFCpb", (REFpb,), (PREA, REFab), ALL, "nRFCpb"),
    Rule("tRREFD", (REFpb,), (ACT, REFpb), OTHER_BANK, "nRREFD"),
    # Pins: one burst at a time on the data bus, one command at a time on a command bus.
    Rule("data bus", READS, READS, ALL, "nBL"),
    Rule("data bus", WRITES, WRITES, ALL, "nBL"),
    Rule("data bus", READS, WRITES, ALL, "nCL + nBL - nCWL"),
    Rule("data bus", WRITES, READS, ALL, "nCWL + nBL - nCL"),
    Rule("row bus", (ACT,), ROW_COMMANDS, ALL, "activate_ck", buses="separate"),
    Rule("row bus", (PRE, PREA, REFab, REFpb), ROW_COMMANDS, ALL, "1", buses="separate"),
    Rule("column bus", COLUMN_COMMANDS, COLUMN_COMMANDS, ALL, "column_ck", buses="separate"),
    Rule("command bus", (ACT,), ALL_COMMANDS, ALL, "activate_ck", buses="shared"),
    Rule("command bus", COLUMN_COMMANDS, ALL_COMMANDS, ALL, "column_ck", buses="shared"),
    Rule("command bus", (PRE, PREA, REFab, REFpb), ALL_COMMANDS, ALL, "1", buses="shared"),
)

# Rules of state, by name.
STATE_RULES = {
    "bank open": "ACT or REFpb to a bank that is open, or REFab with any bank open",
    "bank closed": "RD, RDA, WR or WRA to a bank that is closed",
    "wrong row": "an access that means another row than the open one",
    "address": "a stack ID, bank group, bank, row or column that is not there",
    "refresh overdue": "a bank more than ``refresh_postponed_max`` intervals behind",
}


def rules_of(grade: Grade) -> tuple[tuple[Rule, int], ...]:
    """The rules that exist in ``grade``, each with its cycles."""
    found = ((rule, rule.cycles(grade)) for rule in RULES)
    return tuple((rule, cycles) for rule, cycles in found if cycles is not None)
