"""A memory in Python behind :class:`hdl.inline_ecc.InlineEcc`, and what its requesters may see."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from golden.secded import encode
from spec.memory_units import InlineEccParams, ReadFault
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields

__all__ = ["WHO", "InlineEccBench", "check_of", "word_array"]

WHO = ("tile", "host")


def word_array(atom: int, params: InlineEccParams) -> np.ndarray:
    """The 64-bit words of an atom."""
    return np.frombuffer(atom.to_bytes(params.atom_bits // 8, "little"), np.uint64).copy()


def check_of(atom: int, params: InlineEccParams) -> int:
    """The check bits of an atom."""
    return int.from_bytes(encode(word_array(atom, params)).tobytes(), "little")


@dataclass
class _Write:
    who: str
    data: int
    accepted: int
    written: int | None = None


@dataclass
class _Answer:
    due: int
    sample: int
    index: int
    item: int | None = None


@dataclass
class _Store:
    due: int
    index: int
    data: int
    strobe: int
    stored: bool = False


@dataclass
class _Reader:
    asked: deque = field(default_factory=deque)
    answers: deque = field(default_factory=deque)


class InlineEccBench:
    """Both requesters and the memory. A read sees the memory at some time before its answer, a
    write changes it at some time before it is written; writes of one atom keep their order.

    ``delay`` gives the cycles of an access. With ``judged``, answers of reads are compared with
    the writes; without, they only gather in ``came``.
    """

    def __init__(self, dut, idle=0.0, stall=0.0, delay=None, judged=True):
        self.dut = dut
        self.params = params_from_environment(InlineEccParams)
        self.bench = bench = Bench(dut)
        self.judged = judged
        self.delay = delay or (lambda: bench.rng.choice((1, 3, 10, 40)))
        self.atoms = 7 << self.params.index_bits - 3
        self.memory: dict[int, int] = {}
        self.bad: dict[int, ReadFault] = {}
        self.history: dict[int, list[_Write]] = {}
        self.came: dict[str, list[tuple[int, int]]] = {who: [] for who in WHO}
        self.uncorrectable: list[int] = []
        self.corrected = self.compared = self.accesses = 0
        self.reading = {who: _Reader() for who in WHO}
        self.storing: dict[str, deque[_Store]] = {who: deque() for who in WHO}
        self.order: dict[int, deque[_Store]] = {}
        self.waiting: dict[str, deque] = {who: deque() for who in WHO}
        self.sent: dict[str, deque] = {who: deque() for who in WHO}
        self.reads, self.writes, self.data, self.written = {}, {}, {}, {}
        for who in WHO:
            self.reads[who] = bench.source(f"{who}_read", idle)
            self.writes[who] = bench.source(f"{who}_write", idle)
            board = Scoreboard(f"{who}_data")
            self.data[who] = bench.sink(board, f"{who}_data", stall,
                                        lambda item, who=who: self._answered(who, item))
            bench.sink(board, f"{who}_written", take=lambda _, who=who: self._written(who))
            bench.sink(board, f"memory_{who}_read", stall,
                       lambda index, who=who: self._read(who, index))
            bench.sink(board, f"memory_{who}_write", stall,
                       lambda item, who=who: self._write(who, item))
            self.data[f"memory_{who}"] = bench.source(f"memory_{who}_data")
            self.written[who] = bench.source(f"memory_{who}_written")
        bench.watchers.append(self._watch)

    # What the requesters ask for

    def read(self, who, index):
        """Queue a read."""
        self.reads[who].send(index)
        self.reading[who].asked.append(index)

    def write(self, who, index, data=None):
        """Queue a write."""
        size = self.params.atom_bits
        data = self.bench.rng.getrandbits(size) if data is None else data
        self.writes[who].send(fields((index, self.params.index_bits), (data, size),
                                     (-1, size // 8)))
        self.waiting[who].append((index, data))

    def place(self, index, data):
        """Put an atom and its check bits into the memory."""
        self.memory[index] = data
        shift = index % 8 * self.params.ecc_bits
        check = self.check_index(index)
        mask = (1 << self.params.ecc_bits) - 1
        self.memory[check] = (self.memory.get(check, 0) & ~(mask << shift)
                              | check_of(data, self.params) << shift)

    def check_index(self, index):
        """The atom that holds the check bits."""
        return self.params.check_atom(index)

    # The memory

    def _read(self, who, index):
        self.accesses += 1
        due = self.bench.cycle + self.delay()
        sample = self.bench.rng.randint(self.bench.cycle, due)
        self.reading[who].answers.append(_Answer(due, sample, index))

    def _write(self, who, item):
        self.accesses += 1
        params = self.params
        index = item & (1 << params.index_bits) - 1
        data = item >> params.index_bits & (1 << params.atom_bits) - 1
        store = _Store(self.bench.cycle + self.delay(), index, data,
                       item >> params.index_bits + params.atom_bits)
        self.storing[who].append(store)
        self.order.setdefault(index, deque()).append(store)

    def _store(self, last):
        """Change the memory by a write, and by those of its atom that came before."""
        queue = self.order[last.index]
        while not last.stored:
            store = queue.popleft()
            mask = sum(255 << 8 * byte for byte in range(self.params.atom_bits // 8)
                       if store.strobe >> byte & 1)
            self.memory[store.index] = (self.memory.get(store.index, 0) & ~mask
                                        | store.data & mask)
            store.stored = True

    def _watch(self):
        """After a cycle's handshakes: what was taken, and what the memory does."""
        cycle, dut = self.bench.cycle, self.dut
        self.corrected += int(dut.corrected.value)
        if dut.uncorrectable__valid.value == 1:
            self.uncorrectable.append(int(dut.uncorrectable__payload.value))
        for who in WHO:
            if self.reads[who].taken[-1:] == [cycle]:
                self.sent[who].append((self.reading[who].asked.popleft(), cycle))
            if self.writes[who].taken[-1:] == [cycle]:
                index, data = self.waiting[who].popleft()
                self.history.setdefault(index, []).append(_Write(who, data, cycle))
            for answer in self.reading[who].answers:
                if answer.item is None and answer.sample <= cycle:
                    fault = self.bad.get(answer.index, ReadFault.NONE)
                    data = (self.memory.get(answer.index, 0) if fault == ReadFault.NONE else
                            self.bench.rng.getrandbits(self.params.atom_bits))
                    answer.item = fields((data, self.params.atom_bits), (fault, 2))
            for store in self.storing[who]:
                if not store.stored and self.bench.rng.random() < 0.1:
                    self._store(store)
            answers, stores = self.reading[who].answers, self.storing[who]
            while answers and answers[0].due <= cycle:
                self.data[f"memory_{who}"].send(answers.popleft().item)
            while stores and stores[0].due <= cycle:
                store = stores.popleft()
                self._store(store)
                self.written[who].send(0)

    # What the requesters see

    def _written(self, who):
        mine = [(write.accepted, index, write) for index, writes in self.history.items()
                for write in writes if write.who == who and write.written is None]
        assert mine, f"{who}: a write is written that was not accepted"
        min(mine, key=lambda entry: entry[:2])[2].written = self.bench.cycle

    def _answered(self, who, item):
        data = item & (1 << self.params.atom_bits) - 1
        fault = item >> self.params.atom_bits
        assert self.sent[who], f"{who}: an answer to no read"
        index, asked = self.sent[who].popleft()
        self.came[who].append((data, fault))
        if not self.judged:
            return
        assert fault == ReadFault.NONE, f"{who}: atom {index} came with fault {fault}"
        allowed = self._allowed(index, asked)
        assert data in allowed, (f"{who}: atom {index}, asked for in cycle {asked}, is {data:x}; "
                                 f"must be one of {[f'{one:x}' for one in allowed]}")
        self.compared += 1

    def _allowed(self, index, asked):
        """What a read may give: no write that was over when another, now seen, began."""
        writes = [_Write("", 0, -1, -1), *self.history.get(index, [])]

        def over(write):
            return any(other.written is not None and other.written < asked
                       and (write.written is not None and write.written < other.accepted
                            or write.who == other.who and write.accepted < other.accepted)
                       for other in writes)

        return [write.data for write in writes if not over(write)]

    def check_memory(self):
        """Each atom that was written is one of the writes, and its check bits fit."""
        for index, writes in self.history.items():
            data = self.memory[index]
            assert data in [write.data for write in writes], f"atom {index} is {data:x}"
            check = self.memory[self.check_index(index)] >> index % 8 * self.params.ecc_bits
            assert check & (1 << self.params.ecc_bits) - 1 == check_of(data, self.params), (
                f"the check bits of atom {index} are of other data")

    # Runs

    @property
    def ended(self):
        """Whether all that was asked for is answered or written."""
        return not (any(self.sent[who] or self.reading[who].asked or self.waiting[who]
                        for who in WHO) or self.unwritten)

    @property
    def unwritten(self):
        """Writes that were accepted and are not written."""
        return sum(write.written is None for writes in self.history.values() for write in writes)

    async def drain(self, limit=20_000, quiet=60):
        """Step until all has ended; then nothing more may come."""
        end = self.bench.cycle + limit
        while not self.ended:
            await self.bench.step()
            assert self.bench.cycle < end, (
                f"not ended after {limit} cycles: {self.unwritten} writes, "
                f"{ {who: len(self.sent[who]) for who in WHO} } reads under way")
        for _ in range(quiet):
            await self.bench.step()
