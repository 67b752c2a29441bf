"""DRAM grades: what is shipped, what follows from it, and what is refused."""

import re
import tomllib
from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError

from spec.dram_rules import RULES, STATE_RULES, DramCommand, rules_of
from spec.grade import (
    DramAddress,
    Grade,
    Organisation,
    Timing,
    grade_names,
    grade_path,
    load_grade,
)
from spec.reader import DescriptionError
from tests.conftest import PROJECT

# Bytes of an atom, atoms of a row, MiB, GB/s at the pins, and clock of a tile in MHz.
DERIVED = {
    "ddr5_4800": (64, 64, 8192, 19.231, 300.48),
    "ddr5_6400": (64, 64, 8192, 25.641, 400.64),
    "gddr6_14000": (32, 64, 512, 28.070, 877.19),
    "gddr6_16000": (32, 64, 512, 32.000, 1000.0),
    "hbm2_2000": (32, 32, 512, 16.000, 500.0),
    "hbm2_2400": (32, 32, 512, 19.208, 600.24),
    "hbm2e_3600": (32, 32, 512, 28.777, 899.28),
    "hbm3_5200": (32, 32, 512, 20.806, 650.2),
    "hbm3_6400": (32, 32, 512, 25.600, 800.0),
    "hbm4_8000": (32, 32, 512, 32.000, 1000.0),
    "lpddr5_6400": (32, 64, 2048, 12.800, 400.0),
}


@pytest.fixture(params=grade_names())
def grade(request: pytest.FixtureRequest) -> Grade:
    return load_grade(request.param)


def changed(tmp_path: Path, name: str = "hbm3_6400", **values: str | None) -> Path:
    """A shipped grade with some values replaced, as text of TOML; None removes the line."""
    text = grade_path(name).read_text(encoding="utf-8")
    for key, value in values.items():
        line = "" if value is None else f"{key} = {value}"
        text, number = re.subn(rf"^{key} = (?!\").*$|^{key} = \"(?:separate|shared)\"$", line, text,
                               flags=re.M, count=1)
        if not number:
            text = text.replace("[timing]\n", f"[timing]\n{line}\n")
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(DescriptionError) as caught:
        load_grade(path)
    assert all(problem.line or "missing" in problem.message or "unknown" in problem.message
               for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


def test_eleven_grades_are_shipped() -> None:
    assert set(grade_names()) == set(DERIVED)


def test_derived_values(grade: Grade) -> None:
    atom, row, mebibytes, peak, clock = DERIVED[grade.name]
    assert (grade.atom_bytes, grade.row_atoms, grade.capacity_bytes) == (atom, row, mebibytes << 20)
    assert grade.peak_gb_per_s == pytest.approx(peak, abs=0.001)
    assert grade.tile_clock_mhz == pytest.approx(clock, abs=0.01)
    assert grade.nanoseconds(grade.timing.nREFI) == pytest.approx(
        {"GDDR6": 1900, "LPDDR5": 3906}.get(grade.standard, 3900), rel=0.001)


def test_grades_have_the_names_of_their_files_and_say_their_sources(grade: Grade) -> None:
    assert grade_path(grade.name).stem == grade.name
    assert re.search(r"commit [0-9a-f]{40}", grade.source)
    assert {"command_buses", "activate_ck", "column_ck", "refresh_postponed_max",
            "nRTW"} - set(grade.sources) <= {"nRTW"}
    if grade.standard == "GDDR6":
        assert grade.timing.nRC == grade.timing.nRAS + grade.timing.nRP
        assert any(f"nRC is {grade.timing.nRC - 1} upstream" in note for note in grade.notes)


def test_nothing_is_stored_twice(grade: Grade) -> None:
    stored = tomllib.loads(grade_path(grade.name).read_text(encoding="utf-8"))
    assert set(stored) <= {"name", "standard", "source", "notes", "organisation", "timing",
                           "sources"}
    assert set(stored["organisation"]) | {"ecc_bits"} == set(Organisation.model_fields)
    # Bits beside the data are claimed with their source alone.
    assert bool(stored["organisation"].get("ecc_bits")) == ("ecc_bits" in grade.sources)
    assert all(value > 0 for value in stored["timing"].values())


def test_every_value_of_the_timing_is_used_by_a_rule_or_a_burst() -> None:
    terms = {term for rule in RULES for term in rule.formula.split()}
    assert set(Timing.model_fields) - terms == {"nREFI"}


def test_address_fields_from_the_top(grade: Grade) -> None:
    fields = grade.address_fields
    assert [field.name for field in reversed(fields)] == [
        "row", "stack_id", "bank", "column", "bank_group"]
    assert fields[0].low == 0
    assert all(upper.low == lower.low + lower.bits
               for lower, upper in zip(fields, fields[1:], strict=False))
    assert 1 << grade.atom_index_bits == grade.capacity_bytes // grade.atom_bytes


def test_atoms_are_decomposed_and_composed(grade: Grade) -> None:
    rng = Random(1)
    last = (1 << grade.atom_index_bits) - 1
    for atom in (0, 1, last, *(rng.randint(0, last) for _ in range(200))):
        assert grade.compose(grade.decompose(atom)) == atom
    groups = grade.organisation.bank_groups
    assert [grade.decompose(atom).bank_group for atom in range(2 * groups)] == 2 * [*range(groups)]
    assert grade.decompose(groups) == DramAddress(0, 0, 0, 0, 1)
    assert grade.decompose(groups * grade.row_atoms) == DramAddress(
        0, 0, 1, 0, 0)
    assert grade.decompose(last).row == grade.organisation.rows - 1
    for bad in (-1, last + 1):
        with pytest.raises(ValueError, match=rf"^the atom's index must be an integer in \[0, "
                                             rf"{last}\], not {bad}$"):
            grade.decompose(bad)
    with pytest.raises(ValueError, match=r"^bank must be an integer in \[0, \d+\], not -1$"):
        grade.compose(DramAddress(0, 0, -1, 0, 0))


def test_refresh_of_every_bank_fits_its_interval(grade: Grade) -> None:
    assert grade.banks * grade.per_bank_interval <= grade.timing.nREFI
    assert grade.per_bank_refresh == (grade.standard != "DDR5")


def test_grades_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_grade("hbm3_6400").timing.nRC = 1  # type: ignore[misc]


@pytest.mark.parametrize(("name", "expected"), [
    ("hbm3_6400", {
        "tRCDRD": [31], "tRCDWR": [15], "tRAS": [45, 45], "tRC": [72, 72], "tRP": [26, 26, 26],
        "tRTP": [9, 9], "tWR": [45, 45], "tRTP+tRP": [35, 35], "tWR+tRP": [71, 71], "tPPD": [2],
        "tRRDS": [4], "tRRDL": [5], "tFAW": [24], "tCCDS": [2], "tCCDL": [4], "tCCDR": [3],
        "tCCDS_WR": [2], "tCCDL_WR": [4], "tWTRS": [19], "tWTRL": [22], "tRTW": [20],
        "tRFC": [560], "tRFCpb": [320, 320], "tRREFD": [8], "data bus": [2, 2, 12, -8],
        "row bus": [2, 1], "column bus": [1]}),
    ("ddr5_4800", {
        "tRCDRD": [34], "tRCDWR": [34], "tRAS": [77, 77], "tRC": [111, 111], "tRP": [34, 34, 34],
        "tRTP": [18, 18], "tWR": [112, 112], "tRTP+tRP": [52, 52], "tWR+tRP": [146, 146],
        "tPPD": [2], "tRRDS": [8], "tRRDL": [12], "tFAW": [48], "tCCDS": [8], "tCCDL": [12],
        "tCCDS_WR": [8], "tCCDL_WR": [48], "tWTRS": [46], "tWTRL": [64], "tRTW": [14],
        "tRFC": [710], "data bus": [8, 8, 10, 6], "command bus": [2, 2, 1]}),
])
def test_rules_of_a_grade(name: str, expected: dict[str, list[int]]) -> None:
    found: dict[str, list[int]] = {}
    for rule, cycles in rules_of(load_grade(name)):
        found.setdefault(rule.name, []).append(cycles)
    assert found == expected


def test_reads_a_grade_of_the_users_own(tmp_path: Path) -> None:
    path = changed(tmp_path, nRCDRD="33")
    assert load_grade(path).timing.nRCDRD == 33
    assert load_grade(str(path)).timing.nRCDRD == 33


@pytest.mark.parametrize(("name", "values", "message"), [
    ("hbm3_6400", {"nRP": None}, "timing.nRP is missing; it must be an integer in [1, 1000000]"),
    ("hbm3_6400", {"nRP": "-1"}, "timing.nRP must be an integer in [1, 1000000], not -1"),
    ("hbm3_6400", {"nCL": "0"}, "timing.nCL must be an integer in [1, 1000000], not 0"),
    ("hbm3_6400", {"nCL": "20.0"}, "timing.nCL must be an integer in [1, 1000000], not 20.0"),
    ("hbm3_6400", {"nRFCpb": "-1"}, "timing.nRFCpb must be an integer in [1, 1000000], not -1"),
    ("hbm3_6400", {"rows": "10000"},
     "organisation.rows must be a power of two in [2, 16777216], not 10000"),
    ("hbm3_6400", {"bank_groups": "3"},
     "organisation.bank_groups must be a power of two in [1, 16], not 3"),
    ("hbm3_6400", {"command_buses": '"both"'},
     'organisation.command_buses must be one of "separate", "shared", not "both"'),
    ("hbm3_6400", {"nRC": "70"},
     "timing.nRC = 70 is less than nRAS + nRP = 71: a bank is opened again after it was open and "
     "precharged; allowed: 71 or more"),
    ("hbm3_6400", {"nRAS": "39"},
     "timing.nRAS = 39 is less than nRCDRD + nRTP = 40: a row is read before it is closed; "
     "allowed: 40 or more"),
    ("hbm3_6400", {"nRFC": "6240"},
     "timing.nRFC = 6240: the refresh is longer than its interval; allowed: less than nREFI = "
     "6240"),
    ("hbm3_6400", {"nFAW": "3"},
     "timing.nFAW = 3 is less than nRRDS = 4: the window of four ACT is not shorter than from one "
     "to the next; allowed: 4 or more"),
    ("hbm3_6400", {"nCCDL": "1"},
     "timing.nCCDL = 1 is less than nCCDS = 2: the same bank group is not faster than another; "
     "allowed: 2 or more"),
    ("hbm3_6400", {"nCCDL_WR": "1"},
     "timing.nCCDL_WR = 1 is less than nCCDS_WR = 2: the same bank group is not faster than "
     "another; allowed: 2 or more"),
    ("hbm3_6400", {"nRRDL": "3"},
     "timing.nRRDL = 3 is less than nRRDS = 4: the same bank group is not faster than another; "
     "allowed: 4 or more"),
    ("hbm3_6400", {"nWTRL": "6"},
     "timing.nWTRL = 6 is less than nWTRS = 7: the same bank group is not faster than another; "
     "allowed: 7 or more"),
    ("hbm3_6400", {"nCCDR": "1"},
     "timing.nCCDR = 1 is less than nCCDS = 2: another stack ID is not faster than the same; "
     "allowed: 2 or more"),
    ("hbm3_6400", {"nCCDS": "1"},
     "timing.nCCDS = 1 is less than nBL = 2: bursts would overlap on the data pins; allowed: 2 or "
     "more"),
    ("lpddr5_6400", {"nRPab": "14"},
     "timing.nRPab = 14 is less than nRP = 15: PREA takes no less than PRE; allowed: 15 or more"),
    ("hbm3_6400", {"nRTW": "11"},
     "timing.nRTW = 11 lets write data meet read data on the pins; allowed: nCL + nBL - nCWL = 12 "
     "or more"),
    ("hbm3_6400", {"nRFCpb": "561"},
     "timing.nRFC = 560 is less than nRFCpb = 561: refreshing all banks takes no less than "
     "refreshing one; allowed: 561 or more"),
    ("hbm3_6400", {"nRFCpb": None},
     "timing.nRFCpb and timing.nRREFD describe refresh per bank: give both, or neither where the "
     "standard has none"),
    ("hbm3_6400", {"nRREFD": "196"},
     "timing.nRREFD = 196 does not let each of 32 banks be refreshed in nREFI = 6240; allowed: at "
     "most 195"),
    ("hbm3_6400", {"nCCDR": None},
     "timing.nCCDR is missing with organisation.stack_ids = 2; it must be there with two or more, "
     "and only then"),
    ("hbm2_2000", {"nCCDR": "3"},
     "timing.nCCDR is 3 with organisation.stack_ids = 1; it must be there with two or more, and "
     "only then"),
    ("hbm3_6400", {"burst_length": "16"},
     "organisation.burst_length = 16, but in nBL = 2 cycles of 0.625 ns a pin carries 8 transfers "
     "at 6400 MT/s; allowed: equal within 1 %"),
    ("hbm3_6400", {"dq_bits": "4"},
     "organisation.dq_bits = 4 x organisation.burst_length = 8 make an atom of 4 bytes; allowed: "
     "8, 16, 32, 64"),
    ("hbm3_6400", {"row_bytes": "16"},
     "organisation.row_bytes = 16 is less than one atom of 32 bytes; allowed: 32 or more"),
    ("hbm3_6400", {"nRPX": "3"},
     "timing.nRPX = 3 is unknown; did you mean timing.nRP, an integer in [1, 1000000]?"),
])
def test_refuses(tmp_path: Path, name: str, values: dict[str, str | None], message: str) -> None:
    assert problems_of(changed(tmp_path, name, **values)) == [message]


def test_names_all_problems_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, nRP="-1", rows="1000", nCCDL="1", nFAW="2", nRTP=None)
    assert [message.split(" ")[0] for message in problems_of(path)] == [
        "timing.nRTP", "organisation.rows", "timing.nRP", "timing.nCCDL", "timing.nFAW"]


def test_sources_name_values(tmp_path: Path) -> None:
    path = changed(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + 'nRFCbp = "here"\n', encoding="utf-8")
    assert problems_of(path) == [
        "sources.nRFCbp is the source of no value; did you mean nRFCpb?"]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DescriptionError) as caught:
        load_grade("hbm3_6500")
    assert str(caught.value).startswith(
        "hbm3_6500: there is no such grade; did you mean hbm3_6400?")
    with pytest.raises(DescriptionError, match="there is no such file"):
        load_grade("somewhere/hbm9.toml")


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("")
    assert problems_of(path) == [
        "name is missing; it must be text that matches ^[a-z][a-z0-9_]{0,39}$",
        "standard is missing; it must be text that matches ^[A-Z0-9]{3,12}$",
        r"source is missing; it must be text that matches \S",
        "organisation is missing; it must be a table",
        "timing is missing; it must be a table",
    ]


def test_documentation_has_the_rule_table() -> None:
    text = (PROJECT / "docs" / "dram.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip(" `") for cell in line.strip("|").split("|"))
            for line in text.split("## The rules")[1].split("\n## ")[0].splitlines()
            if line.startswith("|") and not line.startswith("|-")]

    def commands(names: tuple[DramCommand, ...]) -> str:
        return "any" if len(names) == len(DramCommand) else ", ".join(name.name for name in names)

    assert rows[1:1 + len(RULES)] == [
        (rule.name, commands(rule.earlier), commands(rule.later),
         "; ".join(scope.value for scope in rule.scopes)
         + (f"; {rule.window} commands back" if rule.window > 1 else "")
         + (f"; {rule.buses} buses" if rule.buses == "separate" else
            "; shared bus" if rule.buses else ""), rule.formula)
        for rule in RULES]
    assert rows[2 + len(RULES):] == [
        (name, meaning.replace("``", "")) for name, meaning in STATE_RULES.items()]


def test_documentation_has_every_grade() -> None:
    text = (PROJECT / "docs" / "dram.md").read_text(encoding="utf-8")
    for name in grade_names():
        grade = load_grade(name)
        assert (f"| `{name}` | {grade.atom_bytes} | {grade.row_atoms} | "
                f"{grade.capacity_bytes >> 20} | {grade.peak_gb_per_s:.2f} | "
                f"{grade.tile_clock_mhz:.1f} |") in text
