"""The DRAM rules once more, slow and plain, to compare the checker with; and random traffic.

Only the rule table is shared: every verdict is found by searching the list of all commands so far.
"""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from spec.dram_rules import COLUMN_COMMANDS, DramCommand, Rule, Scope, rules_of
from spec.grade import Grade

__all__ = ["WHOLE", "Finding", "Reference", "Sent", "in_scope", "random_command"]

ACT, PRE, PREA, RD, RDA, WR, WRA, REFab, REFpb = DramCommand
# Commands without a bank.
WHOLE = (PREA, REFab)


class Sent(NamedTuple):
    """One command, with its address where it has one."""

    ck: int
    command: DramCommand
    sid: int = 0
    group: int = 0
    bank: int = 0
    row: int = -1
    column: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        return self.sid, self.group, self.bank


class Finding(NamedTuple):
    """A broken rule: which, since which command, how many cycles were missing."""

    rule: str
    earlier: DramCommand | None
    earlier_ck: int | None
    missing: int


def in_scope(scope: Scope, earlier: Sent, later: Sent) -> bool:
    """Whether a rule of this scope sees ``earlier`` from ``later``."""
    match scope:
        case Scope.ALL:
            return True
        case Scope.BANK:
            return earlier.place == later.place
        case Scope.OTHER_BANK:
            return earlier.place != later.place
        case Scope.GROUP:
            return earlier.place[:2] == later.place[:2]
        case Scope.OTHER_GROUP:
            return earlier.sid == later.sid and earlier.group != later.group
        case Scope.OTHER_STACK:
            return earlier.sid != later.sid


@dataclass
class Reference:
    """All commands so far, and what can be said of the next."""

    grade: Grade
    sent: list[Sent] = field(default_factory=list)
    open: dict[tuple[int, int, int], tuple[int, Sent]] = field(default_factory=dict)
    closed: dict[tuple[int, int, int], Sent] = field(default_factory=dict)
    refreshes: dict[tuple[int, int, int], int] = field(default_factory=dict)
    refreshed: dict[tuple[int, int, int], Sent] = field(default_factory=dict)
    told: set[tuple[int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        part = self.grade.organisation
        self.rules = rules_of(self.grade)
        self.places = [(sid, group, bank) for sid in range(part.stack_ids)
                       for group in range(part.bank_groups) for bank in range(part.banks_per_group)]

    def last(self, rule: Rule, cycles: int, later: Sent) -> Sent | None:
        """The command that the rule counts from, if it is too near."""
        seen = 0
        for earlier in reversed(self.sent):
            if later.ck - earlier.ck >= cycles:
                return None
            if earlier.command in rule.earlier and any(
                    in_scope(scope, earlier, later) for scope in rule.scopes):
                seen += 1
                if seen == rule.window:
                    return earlier
        return None

    def timing(self, later: Sent) -> list[Finding]:
        worst: dict[int, Finding] = {}
        for rule, cycles in self.rules:
            if later.command in rule.later and (earlier := self.last(rule, cycles, later)):
                missing = earlier.ck + cycles - later.ck
                if id(earlier) not in worst or missing > worst[id(earlier)].missing:
                    worst[id(earlier)] = Finding(rule.name, earlier.command, earlier.ck, missing)
        return list(worst.values())

    def state(self, later: Sent) -> list[Finding]:
        part = self.grade.organisation
        if later.command not in WHOLE and (
                later.place not in self.places
                or (later.command == ACT and not 0 <= later.row < part.rows)
                or (later.command in COLUMN_COMMANDS
                    and not (later.row < part.rows and 0 <= later.column < self.grade.row_atoms))):
            return [Finding("address", None, None, 0)]
        if later.command == REFab and self.open:
            opener = min(self.open.items())[1][1]
            return [Finding("bank open", opener.command, opener.ck, 0)]
        if later.command in (ACT, REFpb) and later.place in self.open:
            opener = self.open[later.place][1]
            return [Finding("bank open", opener.command, opener.ck, 0)]
        if later.command in COLUMN_COMMANDS:
            if later.place not in self.open:
                closer = self.closed.get(later.place)
                return [Finding("bank closed", closer and closer.command, closer and closer.ck, 0)]
            row, opener = self.open[later.place]
            if later.row not in (-1, row):
                return [Finding("wrong row", opener.command, opener.ck, 0)]
        return []

    def deadline(self, place: tuple[int, int, int]) -> int:
        behind = self.grade.organisation.refresh_postponed_max
        return (self.refreshes.get(place, 0) + behind + 1) * self.grade.timing.nREFI

    def overdue(self, ck: int) -> list[Finding]:
        late = [place for place in self.places
                if ck > self.deadline(place) and place not in self.told]
        if not late:
            return []
        worst = min(late, key=self.deadline)
        last = self.refreshed.get(worst)
        return [Finding("refresh overdue", last and last.command, last and last.ck,
                        ck - self.deadline(worst))]

    def judge(self, later: Sent) -> list[Finding]:
        """What ``later`` would break."""
        state = self.state(later)
        if state and state[0].rule == "address":
            return state
        return self.overdue(later.ck) + state + self.timing(later)

    def send(self, later: Sent) -> list[Finding]:
        """Judge a command and let it take effect."""
        found = self.judge(later)
        if any(finding.rule == "address" for finding in found):
            return found
        self.told |= {place for place in self.places if later.ck > self.deadline(place)}
        self.sent.append(later)
        if later.command == ACT:
            self.open[later.place] = later.row, later
        elif later.command in (PRE, RDA, WRA, PREA, REFab, REFpb):
            for place in self.places if later.command in WHOLE else [later.place]:
                if self.open.pop(place, None):
                    self.closed[place] = later
                if later.command in (REFab, REFpb):
                    ahead = (later.ck // self.grade.timing.nREFI
                             + self.grade.organisation.refresh_postponed_max)
                    self.refreshes[place] = min(self.refreshes.get(place, 0) + 1, ahead)
                    self.refreshed[place] = later
                    self.told.discard(place)
        return found


def random_command(reference: Reference, rng: Random, ck: int) -> Sent:
    """Choose a command that the state of the banks allows, mostly; its cycle is not yet legal."""
    part = reference.grade.organisation
    # Few banks at a time, so that commands meet in them.
    place = rng.choice(reference.places[:6] + reference.places[-6:])
    row, column = rng.randrange(part.rows), rng.randrange(reference.grade.row_atoms)
    if rng.random() < 0.02:
        command = rng.choice(list(DramCommand))
        row = rng.choice([-1, row, part.rows])
        column = rng.choice([column, reference.grade.row_atoms])
    elif place in reference.open:
        command = rng.choices([RD, WR, RDA, WRA, PRE, PREA], [8, 5, 2, 2, 2, 0.3])[0]
        row = rng.choice([-1, reference.open[place][0]])
    else:
        per_bank = 1.5 if reference.grade.per_bank_refresh else 0
        command = rng.choices([ACT, REFpb, PRE, REFab],
                              [8, per_bank, 0.5, 0 if reference.open else 4])[0]
    if command in WHOLE:
        return Sent(ck, command)
    return Sent(ck, command, *place, row, column)
