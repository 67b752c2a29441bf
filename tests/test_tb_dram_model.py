"""The DRAM model: data, latency, faults, traces, and that it forgives nothing."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from spec.dram_rules import DramCommand, Scope
from spec.grade import DramAddress, load_grade
from spec.memory_units import MemoryControllerParams
from spec.secded import CHECK_COLUMNS
from tb.dram_checker import check_trace, read_trace
from tb.dram_model import (
    MODELS, SOURCES, field_bits, model_arguments, model_instance, read_counts,
)
from tb.simulator import build_simulation, run_simulation

pytestmark = pytest.mark.cosim

ACT, PRE, PREA, RD, RDA, WR, WRA, REFab, REFpb = DramCommand

# One of each family.
GRADES = ("hbm3_6400", "hbm2_2000", "hbm4_8000", "ddr5_4800", "lpddr5_6400", "gddr6_14000")


def params_of(grade: str, ecc: str = "none") -> MemoryControllerParams:
    """The controller's record; with ``side-band``, of a grade with room for check bits."""
    found = load_grade(grade)
    if ecc == "side-band":
        found = found.model_copy(update={"organisation": found.organisation.model_copy(
            update={"ecc_bits": found.atom_bytes})})
    return MemoryControllerParams(grade=found, refresh="all-bank",
                                  ecc="none" if ecc == "none" else "secded")


def top(params: MemoryControllerParams) -> str:
    """A module whose ports are those of the model."""
    bits = field_bits(params)
    inputs = {"row_valid": 1, "row_command": 4, "column_valid": 1, "column_command": 4,
              **{f"row_{name}": size for name, size in bits.items() if name != "column"},
              **{f"column_{name}": size for name, size in bits.items()},
              "write_data": params.atom_bits, "write_strobe": params.atom_bits // 8,
              "write_ecc": params.atom_bits // 8}
    outputs = {"read_valid": 1, "read_data": params.atom_bits, "read_ecc": params.atom_bits // 8}
    ports = ["input logic clk", "input logic rst"] + [
        f"{way} logic [{size - 1}:0] dram_{name}"
        for way, group in (("input", inputs), ("output", outputs)) for name, size in group.items()]
    return f"module dram_top ({', '.join(ports)});\n{model_instance(params)}endmodule\n"


@dataclass
class Player:
    """Collects commands, plays them, and holds what came of them."""

    params: MemoryControllerParams
    folder: Path
    image: bytes = b""
    memory_bytes: int = 0
    faults: str = ""
    commands: list[list[Any]] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    cycle: int = 0

    def row(self, cycle: int, command: DramCommand, sid: int = 0, group: int = 0, bank: int = 0,
            row: int = 0) -> None:
        self.commands.append([cycle, "row", [command, sid, group, bank, row], "0", 0, 0])
        self.cycle = max(self.cycle, cycle)

    def column(self, cycle: int, command: DramCommand, at: DramAddress, data: int = 0,
               strobe: int | None = None, ecc: int = 0) -> None:
        every = (1 << self.params.atom_bits // 8) - 1
        self.commands.append([
            cycle, "column", [command, at.stack_id, at.bank_group, at.bank, at.row, at.column],
            hex(data), every if strobe is None else strobe, ecc])
        self.cycle = max(self.cycle, cycle)

    def run(self, extra: int = 300) -> list[str]:
        """Play everything; return the texts of failed tests."""
        name = lambda end: self.folder / end  # noqa: E731
        for file in (name("answers"), name("trace"), name("accesses"), name("counts")):
            file.unlink(missing_ok=True)
        name("memory").write_bytes(self.image)
        if self.memory_bytes:
            os.truncate(name("memory"), self.memory_bytes)
        if self.faults:
            name("faults").write_text(self.faults)
        name("job").write_text(json.dumps({
            "commands": self.commands, "resets": self.resets, "cycles": self.cycle + extra,
            "answers": str(name("answers"))}))
        executable = build_simulation(top(self.params), "dram_top", sources=SOURCES,
                                      models=MODELS)
        result = run_simulation(
            executable, "tests.dram_player", seed=0, folder=self.folder,
            arguments=model_arguments(
                self.params, self.folder, name("memory"), trace=name("trace"),
                accesses=name("accesses"), counts=name("counts"),
                faults=name("faults") if self.faults else None),
            environment={"PNMTILE_JOB": str(name("job"))})
        assert list(result.tests) == ["play"]
        return [text for text in result.tests.values() if text]

    @property
    def answers(self) -> list[tuple[int, int, int]]:
        """Cycle, data and check bits of each answer."""
        file = self.folder / "answers"
        found = json.loads(file.read_text()) if file.exists() else []
        return [(cycle, int(data, 16), ecc) for cycle, data, ecc in found]

    @property
    def latency(self) -> int:
        timing = self.params.grade.timing
        return -(-(timing.nCL + timing.nBL) // timing.nCCDS) + self.params.phy_cycles

    def atom(self, at: DramAddress) -> int:
        """The atom in the memory file."""
        size = self.params.atom_bits // 8
        with (self.folder / "memory").open("rb") as file:
            file.seek(self.params.grade.compose(at) * size)
            return int.from_bytes(file.read(size), "little")

    def after(self, earlier: DramCommand, later: DramCommand, scope: Scope = Scope.BANK) -> int:
        return self.params.distance(earlier, later, scope)


@pytest.fixture
def player(tmp_path: Path) -> Callable[..., Player]:
    def make(grade: str = "hbm3_6400", ecc: str = "none", **options: Any) -> Player:
        return Player(params_of(grade, ecc), tmp_path, **options)

    return make


def check_bits(word: int) -> int:
    """Check bits of a 64-bit word, from the columns of the code."""
    bits = 0
    for bit, column in enumerate(CHECK_COLUMNS):
        if word >> bit & 1:
            bits ^= column
    return bits


def atom_check_bits(data: int, atom_bits: int) -> int:
    return sum(check_bits(data >> 64 * word & (1 << 64) - 1) << 8 * word
               for word in range(atom_bits // 64))


# Data and time


@pytest.mark.parametrize("grade", GRADES)
def test_what_was_written_is_read_after_the_latency(grade: str,
                                                    player: Callable[..., Player]) -> None:
    play = player(grade)
    rng, part, bits = Random(5), play.params.grade.organisation, play.params.atom_bits
    last = DramAddress(part.stack_ids - 1, part.bank_groups - 1, part.banks_per_group - 1,
                       part.rows - 1, play.params.grade.row_atoms - 1)
    first = DramAddress(0, 0, 0, 5, 1)
    stored: dict[DramAddress, int] = {}
    cycle = 1
    for at in (first, last):
        play.row(cycle, ACT, at.stack_id, at.bank_group, at.bank, at.row)
        cycle += play.after(ACT, WR) + play.after(ACT, RD)
        for number in range(4):
            at = DramAddress(at.stack_id, at.bank_group, at.bank, at.row,
                             (at.column + number % 3) % play.params.grade.row_atoms)
            data, strobe = rng.getrandbits(bits), rng.getrandbits(bits // 8)
            play.column(cycle, WR, at, data, strobe)
            mask = sum(0xFF << 8 * byte for byte in range(bits // 8) if strobe >> byte & 1)
            stored[at] = stored.get(at, 0) & ~mask | data & mask
            cycle += play.after(WR, WR)
        cycle += play.after(WR, RD)
    expected = []
    for at, data in stored.items():
        play.column(cycle, RD, at)
        expected.append((cycle + play.latency, data, 0))
        cycle += max(play.after(RD, RD), play.after(RD, RD, Scope.OTHER_STACK))
    assert play.run() == []
    assert play.answers == expected and len(expected) >= 5
    assert all(play.atom(at) == data for at, data in stored.items())
    # Only what was touched takes space, with the whole pseudo-channel in the file.
    status = (play.folder / "memory").stat()
    assert status.st_size == play.params.grade.capacity_bytes
    assert status.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("grade", GRADES)
def test_reads_of_every_cycle_answer_in_every_cycle(grade: str,
                                                    player: Callable[..., Player]) -> None:
    play = player(grade)
    groups, size = play.params.grade.organisation.bank_groups, play.params.atom_bits // 8
    image = np.random.default_rng(6).integers(0, 256, 64 * size, dtype=np.uint8).tobytes()
    play.image = image
    cycle = 1
    for group in range(groups):
        play.row(cycle, ACT, group=group)
        cycle += play.after(ACT, ACT, Scope.GROUP) + play.params.grade.timing.nFAW
    cycle += play.after(ACT, RD)
    apart = -(-play.after(RD, RD) // groups)
    for atom in range(16):
        play.column(cycle + atom * apart, RD, play.params.grade.decompose(atom))
    assert play.run() == []
    assert play.answers == [
        (cycle + atom * apart + play.latency,
         int.from_bytes(image[atom * size:(atom + 1) * size], "little"), 0) for atom in range(16)]
    if grade != "ddr5_4800":
        assert apart == 1


@pytest.mark.parametrize("grade", ["hbm3_6400", "ddr5_4800"])
def test_check_bits_stand_beside_the_data(grade: str, player: Callable[..., Player]) -> None:
    play = player(grade, "side-band")
    bits = play.params.atom_bits
    size = bits // 8
    image = bytearray(np.random.default_rng(7).integers(0, 256, 4 * size, np.uint8).tobytes())
    image[8:16] = bytes(8)
    play.image = bytes(image)
    place = play.params.grade.decompose
    play.row(1, ACT)
    cycle = 1 + play.after(ACT, RD)
    play.column(cycle, RD, place(0))
    cycle += 300
    # What the controller sends is stored, right or wrong; other words keep theirs.
    play.column(cycle, WR, place(0), 0xFF << 64, 0xFF << 8, 0xA5 << 8)
    cycle += play.after(WR, RD)
    play.column(cycle, RD, place(0))
    assert play.run() == []
    before = int.from_bytes(image[:size], "little")
    first = atom_check_bits(before, bits)
    assert first >> 8 & 0xFF == 0 and first & 0xFF
    assert [answer[1:] for answer in play.answers] == [
        (before, first), (before | 0xFF << 64, first | 0xA5 << 8)]


@pytest.mark.parametrize("grade", ["hbm3_6400", "ddr5_4800"])
def test_inline_check_bits_stand_in_the_highest_eighth(grade: str,
                                                       player: Callable[..., Player]) -> None:
    """Those of the image are there from the start, flips of a stored atom reach them; writes and
    other reads do not treat them apart."""
    play = player(grade, "inline")
    bits = play.params.atom_bits
    size, share = bits // 8, bits // 64
    image = np.random.default_rng(9).integers(0, 256, 16 * size, np.uint8).tobytes()
    play.image = image
    play.faults = f"store {9 * size} 3 {bits + 6}\n"
    place = play.params.grade.decompose
    atoms = [play.params.inline_ecc.check_atom(8 * group) for group in range(2)]
    assert min(atoms) >= play.params.memory_atoms
    cycle = 1
    for atom in atoms:
        at = place(atom)
        play.row(cycle, ACT, at.stack_id, at.bank_group, at.bank, at.row)
        cycle += 100
    for atom in atoms:
        play.column(cycle, RD, place(atom))
        cycle += 100
    play.column(cycle, WR, place(atoms[0]), 1, 1)
    cycle += 400
    play.column(cycle, RD, place(atoms[0]))
    assert play.run() == []

    def word(atom: int) -> int:
        return int.from_bytes(image[size * atom:size * (atom + 1)], "little")

    checks = [sum(atom_check_bits(word(8 * group + atom), bits) << 8 * share * atom
                  for atom in range(8)) for group in range(2)]
    assert [answer[1] for answer in play.answers] == [
        checks[0], checks[1] ^ 1 << 8 * share + 6, checks[0] & ~0xFF | 1]
    assert play.atom(place(9)) == word(9) ^ 1 << 3


def test_a_write_of_part_of_a_protected_word_is_refused(player: Callable[..., Player]) -> None:
    play = player(ecc="side-band")
    play.row(1, ACT)
    play.column(1 + play.after(ACT, WR), WR, DramAddress(0, 0, 0, 0, 3), 1, 0x7F00)
    text, = play.run()
    assert "the write to 384 has only some bytes of its 64-bit word 1" in text


def test_reset_makes_the_device_new(player: Callable[..., Player]) -> None:
    play = player()
    for start in (1, 100):
        play.row(start, ACT)
        cycle = start + play.after(ACT, WR)
        if start == 1:
            play.column(cycle, WR, DramAddress(0, 0, 0, 0, 0), 77)
            play.column(cycle + play.after(WR, RD), RD, DramAddress(0, 0, 0, 0, 0))
            play.resets.append(cycle + play.after(WR, RD) + 1)
        else:
            play.column(cycle + 50, RD, DramAddress(0, 0, 0, 0, 0))
    assert play.run() == []
    assert play.answers == [(cycle + 50 + play.latency, 77, 0)]
    # The trace begins anew with the reset.
    assert [row[:2] for row in read_trace(play.folder / "trace").tolist()] == [
        [2 * (100 - play.resets[0] - 1), ACT], [2 * (cycle + 50 - play.resets[0] - 1), RD]]


# Violations


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("grade", GRADES)
def test_a_broken_rule_ends_the_simulation(grade: str, missing: int,
                                           player: Callable[..., Player]) -> None:
    play = player(grade)
    params, timing = play.params, play.params.grade.timing
    play.row(1, ACT, bank=1, row=9)
    early = 1 + play.after(ACT, RD) - missing
    play.column(early, RD, DramAddress(0, 0, 1, 9, 2))
    failures = play.run()
    if not missing:
        assert failures == [] and len(play.answers) == 1
        return
    text, = failures
    opened = params.cycle_ck + params.phase(ACT)
    read = params.cycle_ck * early
    assert text == (
        f"dram_model: tRCDRD violated: RD to stack ID 0, bank group 0, bank 1 at ck {read}: "
        f"{read - opened} cycles after ACT to stack ID 0, bank group 0, bank 1 at ck {opened}, "
        f"{timing.nRCDRD} needed, {opened + timing.nRCDRD - read} missing")
    assert not play.answers
    # What was sent until then is on file.
    assert [row[1] for row in read_trace(play.folder / "trace").tolist()] == [ACT, RD]
    assert check_trace(play.folder / "trace", params.grade).total == 1


@pytest.mark.parametrize(("rule", "at"), [
    ("wrong row violated", DramAddress(0, 0, 0, 8, 0)),
    ("bank closed violated", DramAddress(0, 0, 1, 9, 0)),
])
def test_a_wrong_place_ends_the_simulation(rule: str, at: DramAddress,
                                           player: Callable[..., Player]) -> None:
    play = player()
    play.row(1, ACT, row=9)
    play.column(50, WR, at, 1)
    text, = play.run()
    assert text.startswith(f"dram_model: {rule}: WR to stack ID 0")
    assert not any((play.folder / "memory").read_bytes()[:1 << 16])


def test_commands_of_one_cycle_are_judged_in_the_order_of_their_cycles(
        player: Callable[..., Player]) -> None:
    play = player("ddr5_4800")
    phase = play.params.phase(PRE)
    assert phase > 0
    play.row(1, ACT)
    cycle = 1 + play.after(ACT, RD)
    play.column(cycle, RD, DramAddress(0, 0, 0, 0, 0))
    play.row(cycle, PRE)
    text, = play.run()
    assert f"{phase} cycles after RD" in text or "tRAS violated" in text
    trace = read_trace(play.folder / "trace").tolist()
    assert [row[:2] for row in trace[1:]] == [[8 * cycle, RD], [8 * cycle + phase, PRE]]


@pytest.mark.parametrize(("port", "command"), [("row", RD), ("column", ACT), ("row", 9)])
def test_a_command_on_the_wrong_port_ends_the_simulation(
        port: str, command: int, player: Callable[..., Player]) -> None:
    play = player()
    fields = [command, 0, 0, 0, 0, *([0] if port == "column" else [])]
    play.commands.append([7, port, fields, "0", 0, 0])
    text, = play.run()
    assert text == (f"dram_model: the {port} port carries command {int(command)} at ck 14, which "
                    "does not belong there")


def test_an_overdue_refresh_is_found_at_the_end(player: Callable[..., Player]) -> None:
    play = player()
    grade = play.params.grade
    due = grade.timing.nREFI * (grade.organisation.refresh_postponed_max + 1)
    play.cycle = due // 2 - 20
    assert play.run(extra=10) == []
    text, = play.run(extra=40)
    assert text.startswith("dram_model: refresh overdue violated: the end")


# Faults


def test_faults_change_what_they_name(player: Callable[..., Player]) -> None:
    play = player(ecc="side-band")
    bits, size = play.params.atom_bits, play.params.atom_bits // 8
    image = np.random.default_rng(8).integers(0, 256, 4 * size, dtype=np.uint8).tobytes()
    play.image = image
    play.faults = f"read 1 0 {bits} {bits + 31}\nsilent 2 2\n\nstore {size} 9 {bits + 8}\n"
    place = play.params.grade.decompose
    play.row(1, ACT)
    play.row(20, ACT, group=1)
    sent = [0, 0, 0, 0, 0, 1]
    for number, atom in enumerate(sent):
        play.column(100 + 10 * number, RD, place(atom))
    assert play.run() == []
    clean = [int.from_bytes(image[size * atom:size * (atom + 1)], "little") for atom in (0, 1)]
    check = [atom_check_bits(data, bits) for data in clean]
    expected = [(clean[0], check[0]), (clean[0] ^ 1, check[0] ^ 1 ^ 1 << 31),
                (clean[0], check[0]), (clean[1] ^ 1 << 9, check[1] ^ 1 << 8)]
    cycles = [100, 110, 140, 150]
    assert play.answers == [(cycle + play.latency, *answer)
                            for cycle, answer in zip(cycles, expected, strict=True)]


@pytest.mark.parametrize(("faults", "message"), [
    ("read 1", "a fault is `read NUMBER BIT...`, `store ADDRESS BIT...` or `silent FIRST COUNT`, "
               "not: read 1"),
    ("flip 1 2", "not: flip 1 2"),
    ("silent 1 2 3", "not: silent 1 2 3"),
    ("read x 2", "no number: x"),
    ("read 0 256", "bits are 0 to 255, not 256"),
    ("store 0x10 1", "there is no atom at store 0x10 1"),
    ("store 0x20000000 1", "there is no atom at"),
])
def test_wrong_faults_are_refused(faults: str, message: str,
                                  player: Callable[..., Player]) -> None:
    text, = player(faults=f"read 0 255\n{faults}\n").run()
    assert f"{player().folder / 'faults'}:2: " in text and message in text


def test_a_memory_that_is_too_large_is_refused(player: Callable[..., Player]) -> None:
    size = load_grade("hbm3_6400").capacity_bytes + 1
    text, = player(memory_bytes=size).run()
    assert text.endswith(f"has {size} bytes, more than the pseudo-channel's {size - 1}")


# Traces


@pytest.mark.parametrize("grade", GRADES)
def test_the_trace_is_what_was_sent(grade: str, player: Callable[..., Player]) -> None:
    play = player(grade)
    size, part = play.params.atom_bits // 8, play.params.grade.organisation
    at = DramAddress(part.stack_ids - 1, 1, 1, 300, 7)
    address = hex(play.params.grade.compose(at) * size)
    here = (at.stack_id, at.bank_group, at.bank)
    play.row(3, ACT, *here, 300)
    play.column(100, WR, at, 1)
    play.column(200, RD, at)
    play.row(300, PRE, *here)
    play.row(400, ACT, *here, 300)
    play.column(500, RDA, at)
    play.row(600, ACT, *here, 300)
    play.column(700, WRA, at, 2)
    play.row(800, ACT, *here, 301)
    play.row(900, PREA)
    play.row(1000, REFab)
    if play.params.grade.per_bank_refresh:
        play.row(2000, REFpb, *here)
    assert play.run(1000) == []
    rows = []
    for cycle, _, fields, *_ in play.commands:
        command = DramCommand(fields[0])
        ck = cycle * play.params.cycle_ck + play.params.phase(command)
        shown = {ACT: 4, PRE: 3, REFpb: 3, PREA: 0, REFab: 0}.get(command, 5)
        rows.append(",".join([str(ck), command.name, *map(str, fields[1:1 + shown]),
                              *[""] * (5 - shown)]))
    assert (play.folder / "trace").read_text().splitlines() == [
        "ck,command,sid,bank_group,bank,row,column", *rows]
    checker = check_trace(play.folder / "trace", play.params.grade)
    assert checker.total == 0
    assert (play.folder / "accesses").read_text().splitlines() == [
        f"{kind} {address}" for kind in ("ST", "LD", "LD", "ST")]
    counts = {name: 0 for name in DramCommand.__members__} | {
        "ACT": 4, "PRE": 1, "PREA": 1, "RD": 1, "RDA": 1, "WR": 1, "WRA": 1, "REFab": 1,
        "REFpb": int(play.params.grade.per_bank_refresh)}
    assert read_counts(play.folder / "counts") == counts
