"""What stands around a memory controller in its bench: a DRAM, and two requesters that judge."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from golden.secded import CORRECTED, UNCORRECTABLE, decode, encode
from spec.dram_rules import COLUMN_COMMANDS, DramCommand
from spec.grade import DramAddress
from spec.memory_units import MemoryControllerParams, ReadFault
from tb.bench import Bench, Scoreboard, params_from_environment, split_word, word
from tb.dram_checker import DramChecker
from tb.packing import fields

__all__ = ["REQUESTERS", "Dram", "MemoryBench", "Version"]

REQUESTERS = ("tile", "host")
_READS = (DramCommand.RD, DramCommand.RDA)


class Dram:
    """The pseudo-channel at the command port: judges every command, and keeps the atoms.

    An atom is its data, above them the check bits where there are any. ``lost`` has atoms whose
    read never answers; ``flipped`` has, by atom, the bits that are wrong in its answer.
    """

    # A channel of the bench, as its sources and sinks are; ``came`` has the cycle of each command.
    ready = None

    def __init__(self, bench, params, sent, given):
        self.bench, self.dut, self.params = bench, bench.dut, params
        self.sent, self.given = sent, given     # What to call at a WR, and with each answer.
        self.checker = DramChecker(params.grade)
        self.refresh = (DramCommand.REFpb if params.refresh == "per-bank" else DramCommand.REFab)
        self.atoms: dict[int, int] = {}
        self.due: dict[int, tuple[int, int]] = {}
        self.came: list[int] = []
        self.commands = dict.fromkeys(DramCommand, 0)
        self.lost: set[int] = set()
        self.flipped: dict[int, int] = {}
        self.stray = 0.0    # Probability of an atom in a cycle in which none is due.

    def with_check_bits(self, data):
        """Return an atom with its check bits above it."""
        if not self.params.ecc_bits:
            return data
        words = np.array(split_word(data, 64, self.params.secded.words), np.uint64)
        return data | word(map(int, encode(words)), 8) << self.params.atom_bits

    def read(self, index):
        """Return an atom; what nobody has written is random."""
        if index not in self.atoms:
            self.atoms[index] = self.with_check_bits(
                self.bench.rng.getrandbits(self.params.atom_bits))
        return self.atoms[index]

    def drive(self):
        """Give the atom that is due in the coming cycle."""
        dut, bits, rng = self.dut, self.params.atom_bits, self.bench.rng
        index, atom = self.due.pop(self.bench.cycle, (None, 0))
        answers = index is not None and index not in self.lost
        dut.dram_read_valid.value = int(answers or (index is None and rng.random() < self.stray))
        atom = (atom ^ self.flipped.get(index, 0) if answers
                else rng.getrandbits(bits + self.params.ecc_bits))
        dut.dram_read_data.value = atom & ((1 << bits) - 1)
        if self.params.ecc_bits:
            dut.dram_read_ecc.value = atom >> bits
        if answers:
            self.given(index)

    def sample(self, cycle):
        """Take the commands of the cycle, the access first."""
        if self.dut.dram_column_valid.value == 1:
            command, address = self._taken("column", cycle)
            assert command in COLUMN_COMMANDS, f"{command.name} on the column port"
            index = self.params.grade.compose(address)
            if command in _READS:
                # Later writes come too late for it.
                self.due[cycle + self.params.read_latency] = index, self.read(index)
            else:
                self._write(index)
        if self.dut.dram_row_valid.value == 1:
            command, _ = self._taken("row", cycle)
            assert command in (DramCommand.ACT, DramCommand.PRE, self.refresh), command.name

    def _taken(self, bus, cycle):
        """Judge the command of one bus; return it with its address."""
        names = ("stack_id", "bank_group", "bank", "row", *(["column"] * (bus == "column")))
        command = DramCommand(int(getattr(self.dut, f"dram_{bus}_command").value))
        address = DramAddress(**{"column": 0} | {
            name: int(getattr(self.dut, f"dram_{bus}_{name}").value) for name in names})
        ck = cycle * self.params.cycle_ck + self.params.phase(command)
        violations = self.checker.send(ck, command, address)
        assert not violations, str(violations[0])
        self.commands[command] += 1
        self.came.append(cycle)
        return command, address

    def _write(self, index):
        dut, params = self.dut, self.params
        data, strobe = int(dut.dram_write_data.value), int(dut.dram_write_strobe.value)
        self.sent(index, data, strobe)
        written = merged(self.read(index) & ((1 << params.atom_bits) - 1), data, strobe,
                         params.atom_bits // 8)
        self.atoms[index] = self.with_check_bits(written)
        if params.ecc_bits:
            check = int(dut.dram_write_ecc.value)
            assert check == self.with_check_bits(data) >> params.atom_bits, "wrong check bits"

    def finish(self):
        """Fail when a refresh is overdue."""
        overdue = self.checker.finish(self.bench.cycle * self.params.cycle_ck)
        assert not overdue, str(overdue[0])


def merged(old, new, strobe, count):
    """Return ``old`` with the bytes of ``new`` whose bit in ``strobe`` is 1."""
    mask = word((0xFF * bit for bit in split_word(strobe, 1, count)), 8)
    return old & ~mask | new & mask


@dataclass
class Version:
    """What an atom holds from one write on; ``sent`` and ``written`` are cycles."""

    value: int
    data: int = 0
    strobe: int = 0
    sent: int | None = None
    written: int | None = None


class MemoryBench:
    """A controller with its DRAM and both requesters.

    Every atom has versions, one per write, in the order in which they were accepted. An answer must
    be a version: the newest that was written before its read was accepted, or a later one. A lost
    atom must be answered with TIMEOUT, a flipped one as :mod:`golden.secded` says; each of them may
    be read once.
    """

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params = params_from_environment(MemoryControllerParams)
        self.bench = bench = Bench(dut)
        self.rng = bench.rng
        self.dram = Dram(bench, params, self._sent, self._given)
        bench.channels.append(self.dram)
        self.reads, self.writes, self.answers, self.written = {}, {}, {}, {}
        for who in REQUESTERS:
            self.reads[who] = bench.source(f"{who}_read", idle)
            self.writes[who] = bench.source(f"{who}_write", idle)
            self.answers[who] = bench.sink(
                Scoreboard(f"{who}_data"), f"{who}_data", stall,
                take=lambda item, who=who: self._answered(who, item))
            self.written[who] = bench.sink(
                Scoreboard(f"{who}_written"), f"{who}_written",
                take=lambda item, who=who: self._said_written(who, item))
        bench.watchers.append(self._watch)
        self.versions: dict[int, list[Version]] = {}
        # Asked for and not accepted; accepted and not answered.
        self.asked = {(kind, who): deque() for kind in ("read", "write") for who in REQUESTERS}
        self.accepted = {key: deque() for key in self.asked}
        self.seen = dict.fromkeys(self.asked, 0)
        self.uncorrectable: deque[int] = deque()
        self.corrected = self.to_correct = 0
        # Reads that must see a write.
        self.after_writes = 0

    async def start(self):
        """Start the clock; the DRAM is silent."""
        self.dut.dram_read_valid.value = 0
        await self.bench.start()

    def read(self, who, index):
        """Ask for an atom."""
        self.reads[who].send(index)
        self.asked["read", who].append(index)

    def write(self, who, index, strobe=None):
        """Write random bytes; without ``strobe``, all of them."""
        params = self.params
        count = params.atom_bits // 8
        strobe = (1 << count) - 1 if strobe is None else strobe
        data = self.rng.getrandbits(params.atom_bits)
        self.writes[who].send(fields((index, params.index_bits), (data, params.atom_bits),
                                     (strobe, count)))
        self.asked["write", who].append((index, data, strobe))

    @property
    def busy(self):
        """Whether anything was asked for that has not ended."""
        return any(self.asked.values()) or any(self.accepted.values())

    async def step(self):
        """One cycle."""
        await self.bench.step()

    async def drain(self, limit=20_000, quiet=40):
        """Step until all has ended, ``quiet`` cycles more, and compare the whole memory."""
        last = self.bench.cycle + limit
        while self.busy:
            await self.step()
            assert self.bench.cycle < last, "not done: " + ", ".join(
                f"{len(waiting)} {kind}s of {who}"
                for (kind, who), waiting in self.accepted.items() if waiting)
        for _ in range(quiet):
            await self.step()
        self.dram.finish()
        assert not self.uncorrectable
        assert self.corrected == self.to_correct
        low = (1 << self.params.atom_bits) - 1
        for index, versions in self.versions.items():
            assert self.dram.read(index) & low == versions[-1].value, f"atom {index:#x}"
        reads = sum(len(self.reads[who].taken) for who in REQUESTERS)
        writes = sum(len(self.writes[who].taken) for who in REQUESTERS)
        commands = self.dram.commands
        assert commands[DramCommand.RD] + commands[DramCommand.RDA] == reads
        assert commands[DramCommand.WR] + commands[DramCommand.WRA] == writes

    def _of(self, index):
        """The versions of an atom, from what it holds without any write on."""
        if index not in self.versions:
            value = self.dram.read(index) & ((1 << self.params.atom_bits) - 1)
            self.versions[index] = [Version(value, sent=-1, written=-1)]
        return self.versions[index]

    def _watch(self):
        """See what the coming edge accepts, then what was said to be written."""
        cycle = self.bench.cycle
        for (kind, who), asked in self.asked.items():
            source = (self.reads if kind == "read" else self.writes)[who]
            if len(source.taken) == self.seen[kind, who]:
                continue
            self.seen[kind, who] += 1
            item = asked.popleft()
            if kind == "read":
                oldest = max(number for number, version in enumerate(self._of(item))
                             if version.written is not None and version.written < cycle)
                self.accepted[kind, who].append((item, oldest))
            else:
                index, data, strobe = item
                versions = self._of(index)
                versions.append(Version(
                    merged(versions[-1].value, data, strobe, self.params.atom_bits // 8), data,
                    strobe))
                self.accepted[kind, who].append(versions[-1])
        self.corrected += int(self.dut.corrected.value)
        if self.dut.uncorrectable__valid.value == 1:
            assert self.uncorrectable, "an atom is uncorrectable that is not"
            assert int(self.dut.uncorrectable__payload.value) == self.uncorrectable.popleft()

    def _sent(self, index, data, strobe):
        """Compare a WR with the oldest write of its atom that has not been sent."""
        version = next((one for one in self._of(index) if one.sent is None), None)
        assert version is not None, f"WR of atom {index:#x}, which nobody writes"
        assert (data, strobe) == (version.data, version.strobe), f"WR of atom {index:#x}"
        version.sent = self.bench.cycle

    def _said_written(self, who, item):
        assert item == 0
        accepted = self.accepted["write", who]
        assert accepted, f"{who}: a write is said to be written that was not accepted"
        version = accepted.popleft()
        assert version.sent is not None, f"{who}: written before its WR was sent"
        version.written = self.bench.cycle

    def _answered(self, who, item):
        assert self.accepted["read", who], f"{who}: an answer that nobody asked for"
        index, oldest = self.accepted["read", who].popleft()
        params = self.params
        data, fault = item & ((1 << params.atom_bits) - 1), ReadFault(item >> params.atom_bits)
        if index in self.dram.lost:
            assert fault is ReadFault.TIMEOUT, f"atom {index:#x} was lost: {fault!r}"
            return
        if index in self.dram.flipped:
            assert (data, fault) == self._decoded(index), f"atom {index:#x}"
            return
        assert fault is ReadFault.NONE, f"atom {index:#x}: {fault!r}"
        right = [version.value for version in self._of(index)[oldest:]]
        assert data in right, (f"{who}: atom {index:#x} is {data:#x}, must be one of its versions "
                               f"from {oldest} on: {[hex(value) for value in right[:4]]}")
        self.after_writes += oldest > 0

    def flip(self, index, bits):
        """Let the answer to the read of an atom come with wrong bits; expect what follows."""
        self.dram.flipped[index] = sum(1 << bit for bit in bits)

    def _given(self, index):
        """Expect what the controller says of a wrong atom beside its answer."""
        if index in self.dram.flipped:
            status = self._status(index)[1]
            self.to_correct += int(np.sum(status == CORRECTED))
            if np.any(status == UNCORRECTABLE):
                self.uncorrectable.append(index)

    def _status(self, index):
        """The words of a flipped atom as they are corrected, and the status of each."""
        bits, words = self.params.atom_bits, self.params.secded.words
        atom = self.dram.read(index) ^ self.dram.flipped[index]
        return decode(np.array(split_word(atom, 64, words), np.uint64),
                      np.array(split_word(atom >> bits, 8, words), np.uint8))

    def _decoded(self, index):
        """The answer that a flipped atom must have."""
        words, status = self._status(index)
        wrong = bool(np.any(status == UNCORRECTABLE))
        return (word(map(int, words), 64),
                ReadFault.UNCORRECTABLE if wrong else ReadFault.NONE)
