"""Bench of :class:`hdl.region_writer.RegionWriter`."""

import cocotb

from spec.units import Axi4Params
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.burst_splitter import pack_write_region, random_region
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["done_after_the_last", "failures", "one_atom_per_cycle", "random_regions", "registered"]


class _Writing:
    """Commands of regions, the writes that they must become, and a memory that says when each is
    written.

    ``delay`` gives the cycles from a write to its ``written``; ``failing`` its probability to fail.
    """

    def __init__(self, dut, idle=0.0, stall=0.0, delay=lambda: 0, failing=0.0):
        self.params = params_from_environment(Axi4Params)
        self.bench = Bench(dut)
        self.delay, self.failing = delay, failing
        self.regions, self.data = self.bench.source(idle=idle), self.bench.source("data", idle)
        self.written = self.bench.source("written")
        self.writes, self.done = Scoreboard("write"), Scoreboard("done")
        self.sink = self.bench.sink(self.writes, "write", stall, take=self._wrote)
        self.done_sink = self.bench.sink(self.done, "done", take=self._done)
        self.bench.watchers.append(self._answer)
        self.waiting: list[tuple[int, int]] = []
        self.ends: list[int] = []
        self.failures: list[int] = []
        self.atoms = self.begin = 0

    def _wrote(self, item):
        self.writes.check(item)
        failed = int(self.bench.rng.random() < self.failing)
        self.failures.append(failed)
        earliest = self.waiting[-1][0] if self.waiting else 0
        self.waiting.append((max(earliest, self.bench.cycle + self.delay()), failed))

    def _answer(self):
        while self.waiting and self.waiting[0][0] <= self.bench.cycle:
            self.written.send(self.waiting.pop(0)[1])

    def _done(self, failed):
        """A command ended: all its writes are written, and none of the next."""
        first, end = self.ends[0]
        self.ends.pop(0)
        assert len(self.written.taken) == end, f"done after {len(self.written.taken)} of {end}"
        assert len(self.sink.came) == end, "a write of the next command came before done"
        assert self.written.taken[-1] + 1 == self.bench.cycle, "done is late"
        self.done.expect(int(any(self.failures[first:end])))
        self.done.check(failed)

    def send(self, index, atoms, last=True):
        """Write a region of random data, the ``last`` of its command or not."""
        params = self.params
        self.regions.send(pack_write_region(index, atoms, params, last))
        for atom in range(index, index + atoms):
            data = self.bench.rng.getrandbits(params.atom_bits)
            self.data.send(data)
            self.writes.expect(fields((atom, params.index_bits), (data, params.atom_bits),
                                      (-1, params.atom_bits // 8)), f"{atoms} from {index}")
        self.atoms += atoms
        if last:
            self.ends.append((self.begin, self.atoms))
            self.begin = self.atoms

    async def end(self, commands):
        """Wait for everything, and check that it came."""
        while self.ends:
            await self.bench.step()
        await self.bench.drain(at_least=commands)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.6], stall=[0.0, 0.5], wait=[0, 9])
async def random_regions(dut, idle, stall, wait):
    """Random commands up to both ends of the memory: every write, in order, and the ends."""
    writing = _Writing(dut, idle, stall)
    rng = writing.bench.rng
    writing.delay = lambda: rng.randint(0, wait)
    for place in range(60):
        last = place == 59 or rng.random() < 0.5
        writing.send(*random_region(rng, writing.params, 40), last=last)
    commands = len(writing.ends)
    await writing.bench.start()
    await writing.end(commands)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def failures(dut):
    """A write that fails is reported with its command, and not with the next."""
    writing = _Writing(dut, 0.1, 0.1, failing=0.05)
    for place in range(60):
        writing.send(*random_region(writing.bench.rng, writing.params, 30), last=place % 3 != 0)
    await writing.bench.start()
    await writing.end(commands=40)
    assert 0 < sum(writing.failures) < len(writing.failures)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def done_after_the_last(dut):
    """Without the last ``written`` a command does not end and the next does not start."""
    writing = _Writing(dut)
    writing.delay = lambda: 200 if len(writing.sink.came) % 10 == 9 else 0
    for index in range(4):
        writing.send(index * 10, 10)
    await writing.bench.start()
    await writing.end(commands=4)
    came = writing.done_sink.came
    assert all(later - earlier > 200 for earlier, later in zip(came, came[1:], strict=False))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """Into a memory that always takes, one atom per cycle, from region to region as well."""
    writing = _Writing(dut, delay=lambda: 20)
    for atoms in (100, 1, 1, 2, 1, 45):
        writing.send(3, atoms, last=atoms == 45)
    await writing.bench.start()
    await writing.end(commands=1)
    came = writing.sink.came
    assert came == list(range(came[0], came[0] + 150))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(
        dut, ["i__payload", "i__valid", "data__payload", "data__valid", "write__ready",
              "written__payload", "written__valid"],
        ["i__ready", "data__ready", "write__payload", "write__valid", "done__payload",
         "done__valid"], seldom=("i__ready", "done__valid"))
