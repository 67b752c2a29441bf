"""The shortest sequences that break one DRAM rule, made from the rule table.

A case is two commands at the distance that a rule asks for, with what must come before and between
them so that nothing else is broken.
"""

from dataclasses import dataclass

from spec.dram_rules import COLUMN_COMMANDS, DramCommand, Rule, Scope, rules_of
from spec.grade import Grade
from tests.dram_reference import WHOLE, Sent, in_scope

__all__ = ["START", "Case", "cases_of"]

ACT, PRE, PREA, RD, RDA, WR, WRA, REFab, REFpb = DramCommand

# The earlier command's cycle: all that was opened before is long ready by then.
START = 5000


@dataclass(frozen=True)
class Case:
    """``earlier`` and ``later`` in ``scope``, at ``cycles`` from each other."""

    grade: Grade
    rule: Rule
    cycles: int
    earlier: DramCommand
    later: DramCommand
    scope: Scope

    def __str__(self) -> str:
        return f"{self.earlier.name} to {self.later.name}, {self.scope.value}"

    @property
    def places(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Banks of the two commands."""
        part = self.grade.organisation
        match self.scope:
            case Scope.BANK:
                other = (0, 0, 0)
            case Scope.GROUP:
                other = (0, 0, part.banks_per_group - 1)
            case Scope.OTHER_STACK:
                other = (1, 0, 0)
            case _:
                other = (0, 1, 0)
        return (0, 0, 0), other

    def sent(self, command: DramCommand, ck: int, place: tuple[int, int, int]) -> Sent:
        return Sent(ck, command) if command in WHOLE else Sent(ck, command, *place, row=1)

    def sequence(self, missing: int) -> list[Sent]:
        """The commands, the last one ``missing`` cycles too early."""
        first, second = self.places
        timing = self.grade.timing
        opened = {place for place, command in ((first, self.earlier), (second, self.later))
                  if command in (PRE, *COLUMN_COMMANDS) or command == PREA}
        if self.earlier in (ACT, REFpb, REFab) or (
                self.later in (ACT, REFpb) and first == second and self.earlier in (ACT, REFpb)):
            opened.discard(first)
        if self.earlier == REFab:
            opened.clear()
        found = [Sent(1000 * number, ACT, *place, row=1)
                 for number, place in enumerate(sorted(opened))]
        found.append(self.sent(self.earlier, START, first))
        if self.rule.window > 1:
            part = self.grade.organisation
            step = max(timing.nRRDS, part.activate_ck)
            places = [(0, number % part.bank_groups, number // part.bank_groups)
                      for number in range(self.rule.window + 1)]
            found += [Sent(START + number * step, ACT, *places[number], row=1)
                      for number in range(1, self.rule.window)]
            second = places[-1]
        elif self.earlier == ACT and timing.nRCDRD < self.cycles - missing and (
                self.later == REFab or (self.later in (ACT, REFpb) and first == second)):
            found.append(Sent(START + timing.nRCDRD, RDA, *first, row=1))
        found.append(self.sent(self.later, START + self.cycles - missing, second))
        return found

    @property
    def hidden_by(self) -> str | None:
        """Why no sequence breaks this rule alone; None when one does."""
        timing, part = self.grade.timing, self.grade.organisation
        if self.cycles <= 0:
            return "no distance is too short"
        if self.later in COLUMN_COMMANDS and (
                self.earlier in WHOLE or (self.earlier == REFpb and self.scope == Scope.BANK)):
            return "bank closed"
        if self.earlier in (RD, WR) and self.later == REFab:
            return "bank open"
        if self.rule.window > 1:
            least = self.rule.window * max(timing.nRRDS, part.activate_ck)
            return f"{self.rule.window} x tRRDS" if least >= self.cycles else None
        first, second = (self.sent(command, 0, place)
                         for command, place in zip((self.earlier, self.later), self.places,
                                                   strict=True))
        # What is reported: the rule that misses most, at a tie the first one.
        rules = [(cycles, rule) for rule, cycles in rules_of(self.grade)
                 if rule.window == 1 and self.earlier in rule.earlier and self.later in rule.later
                 and any(in_scope(scope, first, second) for scope in rule.scopes)]
        strongest = max(rules, key=lambda found: found[0])[1]
        return None if strongest == self.rule else strongest.name


def cases_of(grade: Grade) -> list[Case]:
    """Every rule of a grade with every pair of commands and every scope that it has there."""
    part = grade.organisation
    there = {Scope.OTHER_GROUP: part.bank_groups > 1, Scope.OTHER_STACK: part.stack_ids > 1,
             Scope.GROUP: part.banks_per_group > 1}
    return [Case(grade, rule, cycles, earlier, later, scope)
            for rule, cycles in rules_of(grade) for earlier in rule.earlier for later in rule.later
            for scope in rule.scopes if there.get(scope, True)
            if grade.per_bank_refresh or REFpb not in (earlier, later)]
