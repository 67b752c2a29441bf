"""Bench of :class:`hdl.block_ram.BlockRam`."""

import cocotb

from spec.trial_units import BlockRamParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["host_first", "latency", "random_accesses", "registered", "strobes"]

WHO = ("host", "tile")


class _Memory:
    """Both requesters and what the memory must hold.

    Writes are sent when all reads have been answered, and the other way round: what a read sees
    of a write under way is left open.
    """

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.params = params_from_environment(BlockRamParams)
        self.bench = Bench(dut)
        self.bytes = {}
        self.reads = {who: self.bench.source(f"{who}_read", idle) for who in WHO}
        self.writes = {who: self.bench.source(f"{who}_write", idle) for who in WHO}
        self.boards = {who: Scoreboard(f"{who}_data") for who in WHO}
        self.answers = {who: self.bench.sink(self.boards[who], f"{who}_data", stall)
                        for who in WHO}
        self.ends = {who: Scoreboard(f"{who}_written") for who in WHO}
        self.written = {who: self.bench.sink(
            self.ends[who], f"{who}_written", take=lambda _, who=who: self.ends[who].check(0))
            for who in WHO}

    def atom(self, index):
        """What the memory holds, where this test wrote all of the atom."""
        return self.bytes[index]

    def write(self, who, index, strobe=None):
        """Write random bytes."""
        params = self.params
        size = params.atom_bits // 8
        data = self.bench.rng.getrandbits(params.atom_bits)
        strobe = (1 << size) - 1 if strobe is None else strobe
        self.writes[who].send(fields((index, params.index_bits), (data, params.atom_bits),
                                     (strobe, size)))
        mask = sum(0xFF << 8 * place for place in range(size) if strobe >> place & 1)
        self.bytes[index] = self.bytes.get(index, 0) & ~mask | data & mask
        self.ends[who].expect(0)

    def read(self, who, index):
        """Read, and expect what is there, without fault."""
        self.reads[who].send(index)
        self.boards[who].expect(self.atom(index), f"atom {index}")

    async def quiet(self):
        """Wait until all has been answered."""
        await self.bench.drain(at_least=0, quiet=2)

    def places(self, count):
        """Different atoms, the first and the last among them."""
        last = self.params.atoms - 1
        return [0, last, *self.bench.rng.sample(range(1, last), min(count, last - 1))]


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def random_accesses(dut, idle, stall):
    """What one writes both read, in order, whoever waits for whom."""
    memory = _Memory(dut, idle, stall)
    rng = memory.bench.rng
    await memory.bench.start()
    for _ in range(5):
        places = memory.places(60)
        half = len(places) // 2
        # Each its own atoms: the order of the two is left open.
        for who, part in (("host", places[:half]), ("tile", places[half:])):
            for index in part:
                memory.write(who, index)
        await memory.quiet()
        for who in WHO:
            for index in rng.choices(places, k=60):
                memory.read(who, index)
        await memory.quiet()
    for who in WHO:
        memory.boards[who].close(at_least=300)
        memory.ends[who].close(at_least=100)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def strobes(dut):
    """Only the bytes of the strobe change."""
    memory = _Memory(dut)
    rng = memory.bench.rng
    await memory.bench.start()
    for who in WHO:
        for index in memory.places(20):
            for strobe in (None, 0, 1, rng.getrandbits(memory.params.atom_bits // 8)):
                memory.write(who, index, strobe)
        await memory.quiet()
        for index in list(memory.bytes):
            memory.read(who, index)
        await memory.quiet()
        memory.boards[who].close(at_least=10 if memory.params.atoms > 12 else 2)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """One read and one write per cycle, latencies as promised."""
    memory = _Memory(dut)
    places = memory.places(100)
    for index in places:
        memory.write("tile", index)
    await memory.bench.start()
    await memory.quiet()
    for index in places:
        memory.read("tile", index)
    await memory.quiet()
    for source, sink, cycles in ((memory.writes["tile"], memory.written["tile"], 1),
                                 (memory.reads["tile"], memory.answers["tile"],
                                  BlockRamParams.LATENCY)):
        assert source.taken == list(range(source.taken[0], source.taken[0] + len(places)))
        measured = {came - took for took, came in zip(source.taken, sink.came, strict=True)}
        assert measured == {cycles}


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def host_first(dut):
    """The host never waits for a tile that asks in every cycle."""
    memory = _Memory(dut)
    last = memory.params.atoms - 1
    memory.write("tile", 0)
    memory.write("tile", last)
    await memory.bench.start()
    await memory.quiet()
    for _ in range(200):
        memory.read("tile", last)
    for _ in range(40):
        memory.read("host", 0)
    await memory.quiet()
    taken = memory.reads["host"].taken
    assert taken == list(range(taken[0], taken[0] + 40))
    assert taken[0] <= memory.reads["tile"].taken[0]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def registered(dut):
    """Everything leaves from flops, whatever the streams do."""
    inputs = [f"{who}_{name}" for who in WHO for name in (
        "read__payload", "read__valid", "write__payload", "write__valid", "data__ready")]
    outputs = [f"{who}_{name}" for who in WHO for name in (
        "data__payload", "data__valid", "written__valid", "read__ready", "write__ready")]
    await check_registered(dut, inputs, outputs)
