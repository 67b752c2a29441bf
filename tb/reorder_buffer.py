"""Bench of :class:`hdl.reorder_buffer.ReorderBuffer`."""

import cocotb

from spec.memory_units import ReorderBufferParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["latency", "one_item_per_cycle", "random_order", "registered", "takes_all_slots"]


class _Taking:
    """Takes slots, fills them some time later, and expects their items in the order of taking.

    ``chance`` is the probability of a take in a cycle, ``delay`` gives the cycles from a take to
    the time from which its slot may be filled.
    """

    def __init__(self, dut, chance=1.0, delay=lambda: 0, idle=0.0, stall=0.0, takes=500):
        self.dut, self.chance, self.delay, self.left = dut, chance, delay, takes
        self.params = params_from_environment(ReorderBufferParams)
        self.bench = Bench(dut)
        self.fill = self.bench.source("fill", idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall, take=self._came)
        self.bench.watchers.append(self._sample)
        self.waiting: list[tuple[int, int, int]] = []
        self.held = self.taken = self.most = 0
        self.taking = False

    def _came(self, item):
        self.board.check(item)
        self.held -= 1

    def _sample(self):
        """See what the coming edge takes, and what has its time to be filled."""
        bench, params = self.bench, self.params
        stands = self.dut.o__valid.value == 1 and not self.sink.open
        assert int(self.dut.oldest.value) == (len(self.sink.came) + stands) % params.entries
        if self.taking and self.dut.free.value == 1:
            slot = int(self.dut.slot.value)
            assert slot == self.taken % params.entries, "slots are not taken in circular order"
            item = bench.rng.getrandbits(params.bits)
            self.board.expect(item, f"take {self.taken}, slot {slot}")
            self.waiting.append((bench.cycle + self.delay(), slot, item))
            self.taken += 1
            self.left -= 1
            self.held += 1
            # One more item stands at the output, whose slot is free again.
            assert self.held <= params.entries + 1, "more slots taken than there are"
            self.most = max(self.most, self.held)
        due = [entry for entry in self.waiting if entry[0] <= bench.cycle]
        bench.rng.shuffle(due)
        for entry in due:
            self.waiting.remove(entry)
            self.fill.send(fields((entry[1], params.slot_bits), (entry[2], params.bits)))

    async def start(self):
        """Start with nothing taken."""
        self.dut.take.value = 0
        await self.bench.start()

    async def step(self):
        """One cycle with or without a take."""
        self.taking = self.left > 0 and self.bench.rng.random() < self.chance
        self.dut.take.value = int(self.taking)
        await self.bench.step()

    async def run(self):
        """Take all, and wait for all items."""
        while self.left or self.board.expected:
            await self.step()
        self.taking = False
        self.dut.take.value = 0
        await self.bench.drain(at_least=self.taken)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(chance=[0.3, 1.0], idle=[0.0, 0.4], stall=[0.0, 0.5])
async def random_order(dut, chance, idle, stall):
    """Random takes and fills in random order: items leave in the order of their takes."""
    taking = _Taking(dut, chance, None, idle, stall)
    taking.delay = lambda: taking.bench.rng.choice((0, 1, 5, 40))
    await taking.start()
    await taking.run()
    assert taking.taken == 500


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def takes_all_slots(dut):
    """Without a fill exactly all slots are taken; filled from the last to the first, they leave in
    the order of their takes, and all can be taken again."""
    taking = _Taking(dut, takes=10_000)
    entries = taking.params.entries
    taking.delay = lambda: 10 * entries - 2 * taking.taken % (2 * entries)
    await taking.start()
    for _ in range(2 * entries):
        await taking.step()
    assert taking.taken == entries == taking.most and dut.free.value == 0
    taking.left = entries
    await taking.run()
    assert taking.taken == 2 * entries


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """A lone item leaves ``LATENCY`` cycles after its fill."""
    taking = _Taking(dut, chance=0.05, takes=30)
    await taking.start()
    await taking.run()
    measured = {came - filled for filled, came in
                zip(taking.fill.taken, taking.sink.came, strict=True)}
    assert measured == {ReorderBufferParams.LATENCY}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_item_per_cycle(dut):
    """With a take, a fill and a consumer in every cycle, one item per cycle. A slot is taken for
    three cycles, so that two slots give two items in three."""
    taking = _Taking(dut)
    await taking.start()
    await taking.run()
    came = taking.sink.came
    assert came[-1] - came[0] < 500 * max(1, 3 / taking.params.entries)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    # So long that a fill at random meets the oldest slot.
    cycles = 32 * params_from_environment(ReorderBufferParams).entries
    await check_registered(dut, ["take", "fill__payload", "fill__valid", "o__ready"],
                           ["slot", "free", "oldest", "o__payload", "o__valid"], seldom=("free",),
                           cycles=cycles)
