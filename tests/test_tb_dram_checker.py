"""The DRAM rule checker: every rule on every grade, random traffic, traces and messages."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from spec.dram_rules import RULES, STATE_RULES, DramCommand, Scope, rules_of
from spec.grade import DramAddress, Grade, grade_names, load_grade
from tb.dram_checker import (
    DramChecker,
    DramRuleError,
    TraceError,
    Violation,
    check_trace,
    checker_text,
    read_trace,
    write_trace,
)
from tests.dram_cases import Case, cases_of
from tests.dram_reference import (
    WHOLE,
    Finding,
    Reference,
    Sent,
    in_scope,
    random_command,
)

ACT, PRE, PREA, RD, RDA, WR, WRA, REFab, REFpb = DramCommand

SMALL_WINDOW = {"ddr5_6400", "gddr6_14000", "gddr6_16000", "hbm2_2000", "hbm2_2400", "hbm2e_3600",
                "lpddr5_6400"}

# Rules that no sequence breaks alone, since another rule always asks for more. The data bus is
# behind tCCDS, tRTW and tWTRS everywhere; the column bus too; where four tRRDS fill tFAW, tFAW
# adds nothing.
NEVER_ALONE = {name: {"data bus"} | ({"column bus"} if name.startswith("hbm") else set())
               | ({"tFAW"} if name in SMALL_WINDOW else set()) for name in grade_names()}


@pytest.fixture(params=grade_names())
def grade(request: pytest.FixtureRequest) -> Grade:
    return load_grade(request.param)


def send(checker: DramChecker, sent: Sent) -> list[Violation]:
    return checker.command(sent.ck, sent.command, sent.sid, sent.group, sent.bank, sent.row,
                           sent.column)


def broken(case: Case, missing: int, text: str | None = None) -> list[tuple[str, int]]:
    """Rules that a case's sequence breaks, with the missing cycles."""
    checker = DramChecker(case.grade, text)
    return [(violation.rule, violation.missing) for sent in case.sequence(missing)
            for violation in send(checker, sent)]


def test_every_rule_has_a_case(grade: Grade) -> None:
    assert {case.rule for case in cases_of(grade)} == {rule for rule, _ in rules_of(grade)}


def test_every_rule_holds_to_the_cycle(grade: Grade) -> None:
    alone = Counter()
    for case in cases_of(grade):
        if case.cycles <= 0:
            continue
        early = broken(case, 1)
        if case.hidden_by is None:
            assert early == [(case.rule.name, 1)], f"{case.rule.name}: {case}"
            assert broken(case, 0) == [], f"{case.rule.name}: {case}"
            alone[case.rule.name] += 1
        else:
            assert early not in ([], [(case.rule.name, 1)]), f"{case.rule.name}: {case}"
            if "x" not in case.hidden_by:
                assert case.hidden_by in {name for name, _ in early}
    assert {rule.name for rule, _ in rules_of(grade)} - set(alone) == NEVER_ALONE[grade.name]


def test_every_rule_is_checked_without_the_others(grade: Grade) -> None:
    seen = set()
    for case in cases_of(grade):
        if case.cycles <= 0:
            continue
        text = checker_text(grade, [(case.rule, case.cycles)])
        early = [found for found in broken(case, 1, text) if found[0] not in STATE_RULES]
        assert early == [(case.rule.name, 1)], f"{case.rule.name}: {case}"
        seen.add(case.rule)
        late = [found for found in broken(case, 0, text) if found[0] not in STATE_RULES]
        assert late == [], f"{case.rule.name}: {case}"
    assert {rule for rule, cycles in rules_of(grade) if cycles > 0} == seen


def test_no_rule_sees_beyond_its_scope(grade: Grade) -> None:
    seen = Counter()
    scopes = [Scope.BANK, Scope.GROUP, *([Scope.OTHER_GROUP] if grade.organisation.bank_groups > 1
              else []), *([Scope.OTHER_STACK] if grade.organisation.stack_ids > 1 else [])]
    for case in cases_of(grade):
        for scope in scopes:
            beyond = replace(case, scope=scope)
            first, second = (Sent(0, command, *place) for command, place in zip(
                (case.earlier, case.later), beyond.places, strict=True))
            if any(in_scope(one, first, second) for one in case.rule.scopes):
                continue
            text = checker_text(grade, [(case.rule, case.cycles)])
            assert not {name for name, _ in broken(beyond, 1, text)} - set(STATE_RULES)
            seen[case.rule.name] += 1
    assert seen["tRCDRD"] and seen["tRC"] and seen["tCCDS"] and seen["tCCDL"]
    assert bool(seen["tRREFD"]) == grade.per_bank_refresh


def test_shipped_grades_use_every_rule() -> None:
    used = {rule for name in grade_names() for rule, _ in rules_of(load_grade(name))}
    assert used == set(RULES)


@pytest.mark.parametrize("seed", [1, 2])
def test_judges_random_traffic_as_the_reference(grade: Grade, seed: int) -> None:
    rng, reference, checker = Random(seed), Reference(grade), DramChecker(grade)
    seen = Counter()
    ck = 0
    for _ in range(2500):
        if rng.random() < 0.003:
            ck += rng.randrange(12 * grade.timing.nREFI)
        sent = random_command(reference, rng, ck)
        while missing := max((one.missing for one in reference.timing(sent)), default=0):
            sent = sent._replace(ck=sent.ck + missing)
        ck = max(ck, sent.ck + rng.choice([-3, -1, 0, 0, 0, 0, 0, 0, 1, 5]))
        sent = sent._replace(ck=ck)
        expected = reference.send(sent)
        found = [Finding(one.rule, one.earlier, one.earlier_ck, one.missing)
                 for one in send(checker, sent)]
        assert sorted(map(str, found)) == sorted(map(str, expected)), sent
        seen.update(one.rule for one in found)
    assert checker.total == seen.total() > 200
    assert seen.keys() >= {*STATE_RULES, "tRCDRD", "tRP", "tWR", "tRTW", "tWTRS", "tRRDS"}


def test_lets_legal_traffic_pass(grade: Grade) -> None:
    rng, reference, checker = Random(3), Reference(grade), DramChecker(grade)
    ck, sent_count = 0, Counter()
    for _ in range(2500):
        sent = random_command(reference, rng, ck)
        if not reference.open and ck > 4 * grade.timing.nREFI * (sent_count[REFab] + 1):
            sent = Sent(ck, REFab)
        elif reference.open and ck > 4 * grade.timing.nREFI * (sent_count[REFab] + 1):
            sent = Sent(ck, PREA)
        while missing := max((one.missing for one in reference.timing(sent)), default=0):
            sent = sent._replace(ck=sent.ck + missing)
        if reference.judge(sent):
            continue  # Its state is not legal.
        ck = sent.ck
        sent_count[sent.command] += 1
        reference.send(sent)
        assert send(checker, sent) == []
    assert set(sent_count) >= set(DramCommand) - ({REFpb} if not grade.per_bank_refresh else set())
    checker.finish(ck)
    checker.require()


def test_state_rules(grade: Grade) -> None:
    def names(*commands: Sent) -> list[str]:
        checker = DramChecker(grade)
        return [one.rule for number, sent in enumerate(commands)
                for one in send(checker, sent._replace(ck=2000 * number))]

    act, read = Sent(0, ACT, row=5), Sent(0, RD, row=5)
    assert names(act, read, Sent(0, RD), Sent(0, PRE), Sent(0, PRE), act) == []
    assert names(act, act) == ["bank open"]
    assert names(act, Sent(0, REFpb)) == ["bank open"]
    assert names(act, Sent(0, REFab)) == ["bank open"]
    assert names(act, Sent(0, ACT, group=1, row=5), Sent(0, PRE), Sent(0, REFab)) == ["bank open"]
    for access in (RD, RDA, WR, WRA):
        assert names(Sent(0, access)) == ["bank closed"]
        assert names(act, Sent(0, PRE), Sent(0, access)) == ["bank closed"]
        assert names(act, Sent(0, access, row=6)) == ["wrong row"]
        assert names(act, Sent(0, access, row=5, column=grade.row_atoms - 1)) == []
        for column in (-1, grade.row_atoms):
            assert names(act, Sent(0, access, row=5, column=column)) == ["address"]
    assert names(act, Sent(0, RDA), read) == ["bank closed"]
    assert names(act, Sent(0, WRA), read) == ["bank closed"]
    assert names(act, Sent(0, PREA), read) == ["bank closed"]
    part = grade.organisation
    for bad in (Sent(0, ACT), Sent(0, ACT, row=part.rows), Sent(0, ACT, sid=part.stack_ids, row=0),
                Sent(0, ACT, group=part.bank_groups, row=0), Sent(0, PRE, bank=-1),
                Sent(0, ACT, bank=part.banks_per_group, row=0)):
        assert names(bad) == ["address"]
    # What has no place did not happen.
    assert names(Sent(0, ACT, row=part.rows), Sent(0, ACT, row=1)) == ["address"]


def test_refresh_may_wait_so_long_and_no_longer(grade: Grade) -> None:
    interval = grade.timing.nREFI
    last = (grade.organisation.refresh_postponed_max + 1) * interval
    checker = DramChecker(grade)
    assert checker.command(last, REFab) == []
    assert checker.finish(last + interval) == []
    late, = checker.finish(last + interval + 1)
    assert (late.rule, late.missing, late.earlier, late.earlier_ck) == (
        "refresh overdue", 1, REFab, last)
    assert checker.finish(last + interval + 2) == []  # Said once.


def test_each_bank_is_refreshed_in_time(grade: Grade) -> None:
    if not grade.per_bank_refresh:
        assert grade.timing.nRREFD is None
        return
    places = Reference(grade).places
    last = (grade.organisation.refresh_postponed_max + 1) * grade.timing.nREFI
    for forgotten in (places[0], places[-1]):
        checker = DramChecker(grade)
        for number, place in enumerate(places):
            if place != forgotten:
                assert checker.command(number * grade.per_bank_interval, REFpb, *place) == []
        assert checker.finish(last) == []
        late, = checker.finish(last + 1)
        assert late.rule == "refresh overdue"
        assert "stack ID {}, bank group {}, bank {} was due".format(*forgotten) in late.text


def test_refresh_ahead_of_time_counts_up_to_the_limit(grade: Grade) -> None:
    ahead = grade.organisation.refresh_postponed_max
    checker = DramChecker(grade)
    ck = 0
    for _ in range(ahead + 3):
        assert checker.command(ck, REFab) == []
        ck += grade.timing.nRFC
    elapsed = (ck - grade.timing.nRFC) // grade.timing.nREFI
    due = (elapsed + 2 * ahead + 1) * grade.timing.nREFI
    assert checker.finish(due) == []
    assert [one.missing for one in checker.finish(due + 1)] == [1]


def test_command_buses(grade: Grade) -> None:
    checker = DramChecker(grade)
    checker.command(0, ACT, bank_group=0, row=1)
    both = [*checker.command(1000, RD), *checker.command(1000, ACT, bank_group=1, row=1)]
    separate = grade.standard.startswith("HBM")
    assert [one.rule for one in both] == ([] if separate else ["command bus"])


def test_messages_name_rule_commands_and_cycles() -> None:
    checker = DramChecker(load_grade("hbm3_6400"))
    checker.send(100, ACT, DramAddress(stack_id=1, bank_group=2, bank=3, row=4, column=0))
    early, = checker.command(130, RD, 1, 2, 3, 4, 5)
    assert str(early) == (
        "tRCDRD violated: RD to stack ID 1, bank group 2, bank 3 at ck 130: 30 cycles after ACT to "
        "stack ID 1, bank group 2, bank 3 at ck 100, 31 needed, 1 missing")
    assert (early.required, early.missing, early.earlier, early.earlier_ck, early.ck,
            early.command) == (31, 1, ACT, 100, 130, RD)
    with pytest.raises(DramRuleError, match="^tRCDRD violated"):
        checker.require()


def test_counts_more_violations_than_it_keeps() -> None:
    checker = DramChecker(load_grade("hbm2_2000"))
    table = np.zeros((3000, 7), np.int64)
    table[:, 0], table[:, 1] = 10 * np.arange(3000), RD
    checker.commands(table)
    assert (checker.total, len(checker.violations)) == (3000, 1000)
    with pytest.raises(DramRuleError, match="and 2980 more$"):
        checker.require()


def test_refuses_commands_out_of_order() -> None:
    checker = DramChecker(load_grade("hbm2_2000"))
    checker.command(10, PREA)
    for bad in (lambda: checker.command(9, PREA), lambda: checker.finish(9)):
        with pytest.raises(ValueError, match="ck 10"):
            bad()


@pytest.mark.parametrize(("line", "message"), [
    ("rule 1 1 1 10 2 tX", "a window is 1 to 4 commands"),
    ("command 0 PRE", "commands are numbered differently"),
    ("nonsense 1", "unknown line: nonsense 1"),
    ("rule x", "bad line"),
    ("organisation 0 1 1 1 1", "organisation or refresh is missing"),
])
def test_refuses_rules_that_it_cannot_read(line: str, message: str) -> None:
    grade = load_grade("hbm2_2000")
    with pytest.raises(ValueError, match=message):
        DramChecker(grade, checker_text(grade) + line + "\n")


def test_traces_are_read_as_they_were_written(tmp_path: Path, grade: Grade) -> None:
    rng, reference = Random(5), Reference(grade)
    rows = []
    for number in range(300):
        sent = random_command(reference, rng, 400 * number)
        reference.send(sent)
        rows.append([sent.ck, sent.command, sent.sid, sent.group, sent.bank, sent.row, sent.column])
    table = np.array(rows, np.int64)
    write_trace(tmp_path / "t.csv", table)
    again = read_trace(tmp_path / "t.csv")
    assert np.array_equal(again[:, :2], table[:, :2])
    placed = ~np.isin(table[:, 1], WHOLE)
    assert np.array_equal(again[placed, :5], table[placed, :5])
    direct = DramChecker(grade)
    direct.commands(table)
    assert list(map(str, check_trace(tmp_path / "t.csv", grade).violations)) == list(
        map(str, direct.violations))


@pytest.mark.parametrize(("text", "message"), [
    ("", "t.csv:1: the first line must be ck,command,sid,bank_group,bank,row,column"),
    ("1,ACT,0,0,0,1", "t.csv:2: 7 fields are needed, not 6"),
    ("1,ACTIVATE,0,0,0,1,0", "t.csv:2: command must be one of ACT, PRE, PREA, RD, RDA, WR, WRA, "
                             "REFab, REFpb, not 'ACTIVATE'"),
    ("1,ACT,0,x,0,1,0", "t.csv:2: fields must be integers, not 1,ACT,0,x,0,1,0"),
    ("5,PREA,,,,,\n4,PREA,,,,,", "t.csv: commands must come in the order of their cycles"),
    ("5,ACT,99999999999,,,1,", "t.csv: a command or an address is wider than 32 bits"),
])
def test_bad_traces_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ck,command,sid,bank_group,bank,row,column\n" + text if text else "")
    with pytest.raises(TraceError) as caught:
        check_trace(path, load_grade("hbm2_2000"))
    assert str(caught.value).replace(str(path), "t.csv").startswith(message)


def test_a_missing_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")
