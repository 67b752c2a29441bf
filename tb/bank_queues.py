"""Bench of :class:`hdl.bank_queues.BankQueues`."""

from collections import deque

import cocotb

from spec.memory_units import BankQueuesParams
from tb.bench import Bench, Scoreboard, params_from_environment, split_word, word
from tb.packing import fields

__all__ = ["every_entry_in_one_bank", "one_in_one_out", "random_requests", "reused_at_once"]


class _Queues:
    """The unit beside a deque per bank; every output is compared in every cycle.

    A request is (entry, row, column). An entry is free again ``rest()`` cycles after it left, in
    the cycle behind ``served`` at the earliest.
    """

    def __init__(self, dut, rest=lambda: 1):
        self.dut, self.rest = dut, rest
        self.params = params_from_environment(BankQueuesParams)
        self.bench = Bench(dut)
        self.push = self.bench.source("push")
        self.board = Scoreboard("served")
        self.sink = self.bench.sink(self.board, "served", take=self._came)
        self.bench.watchers.append(self._check)
        self.queues = [deque() for _ in range(self.params.banks)]
        self.free = list(range(self.params.entries))
        self.resting: list[tuple[int, int]] = []
        self.offered = None     # request of this cycle: (bank, (entry, row, column))
        self.serving = None     # bank that is served in this cycle
        self.leaving = None     # bank that was served in the last cycle
        self.looked = None      # row that must be seen in this cycle
        self.look = 0
        self.pushed = 0

    async def start(self):
        """Start with empty queues."""
        self.dut.serve__valid.value = 0
        self.dut.look.value = 0
        await self.bench.start()

    def waiting(self):
        """Banks that can be served in the coming cycle."""
        return [bank for bank, queue in enumerate(self.queues)
                if queue and bank != self.leaving]

    def rows_of(self, bank):
        """Rows of the requests of a bank, the next one first."""
        return [row for _, row, _ in self.queues[bank]]

    async def step(self, push=None, serve=None):
        """One cycle: ``push`` is (bank, row, column), or None; ``serve`` a bank, or None."""
        bench, params = self.bench, self.params
        self.offered, self.serving = None, serve
        if push is not None:
            bank, row, column = push
            entry = self.free.pop()
            self.offered = bank, (entry, row, column)
            self.push.send(fields((bank, params.bank_bits), (entry, params.entry_bits),
                                  (row, params.row_bits), (column, params.column_bits)))
            self.pushed += 1
        self.dut.serve__valid.value = int(serve is not None)
        self.dut.serve__payload.value = (bench.rng.getrandbits(params.bank_bits) if serve is None
                                         else serve)
        self.look = bench.rng.randrange(params.banks)
        self.dut.look.value = self.look
        await bench.step()

    def _came(self, item):
        """Compare a request that leaves, with those that are behind it now."""
        assert self.leaving is not None, "a request leaves that was not served"
        queue, params = self.queues[self.leaving], self.params
        entry, row, column = queue[0]
        more = len(queue) > 1 and queue[1][1] == row
        self.board.expect(fields(
            (self.leaving, params.bank_bits), (entry, params.entry_bits), (row, params.row_bits),
            (column, params.column_bits), (more, 1)), f"bank {self.leaving}: {list(queue)[:3]}")
        self.board.check(item)

    def _check(self):
        """Compare what is seen of the banks; then take over what the coming edge does."""
        dut, params, bench = self.dut, self.params, self.bench
        waits = set(self.waiting())
        assert int(dut.waiting.value) == word((bank in waits for bank in range(params.banks)), 1)
        held = split_word(int(dut.held.value), 1, params.banks)
        for bank, queue in enumerate(self.queues):
            # Of a bank that is just served, only requests that stay must be seen.
            remain = len(queue) > (bank == self.leaving)
            assert held[bank] == remain or (bank == self.leaving and not remain), f"bank {bank}"
        first = split_word(int(dut.first.value), params.entry_bits, params.banks)
        assert all(first[bank] == self.queues[bank][0][0] for bank in waits)
        assert self.looked in (None, int(dut.row.value)), "row of another request"
        self.looked = self.queues[self.look][0][1] if self.look in waits else None

        if self.leaving is not None:
            entry, _, _ = self.queues[self.leaving].popleft()
            self.resting.append((bench.cycle + self.rest(), entry))
        self.leaving = self.serving
        if self.offered is not None:
            bank, request = self.offered
            self.queues[bank].append(request)
        back = [entry for cycle, entry in self.resting if cycle <= bench.cycle + 1]
        self.resting = [one for one in self.resting if one[0] > bench.cycle + 1]
        self.free += back

    async def finish(self, at_least):
        """Serve all that waits, and compare that so many left."""
        while any(self.queues) or self.leaving is not None:
            waits = self.waiting()
            await self.step(serve=self.bench.rng.choice(waits) if waits else None)
        await self.bench.drain(at_least)
        assert self.board.compared == self.pushed


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(banks=[1, 2, 1024], busy=[0.3, 0.9])
async def random_requests(dut, banks, busy):
    """Random requests to one, two or all banks leave each bank in order, whoever is served."""
    queues = _Queues(dut)
    rng, params = queues.bench.rng, queues.params
    queues.rest = lambda: rng.choice((1, 1, 4, 30))
    used = rng.sample(range(params.banks), min(banks, params.banks))
    await queues.start()
    while queues.pushed < 1500:
        # Phases in which the queues fill and phases in which they run empty.
        fills = queues.bench.cycle // 200 % 2
        push = serve = None
        if queues.free and rng.random() < (busy if fills else 0.2):
            push = (rng.choice(used), rng.choice((0, 1, (1 << params.row_bits) - 1)),
                    rng.getrandbits(params.column_bits))
        waits = queues.waiting()
        if waits and rng.random() < (0.2 if fills else busy):
            serve = rng.choice(waits)
        await queues.step(push, serve)
    await queues.finish(at_least=1500)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reused_at_once(dut):
    """Each bank holds one request, then two: it is pushed to in the cycle in which it is served, in
    the next one or in the one behind that, always with the entry that was free last."""
    queues = _Queues(dut)
    rng, params = queues.bench.rng, queues.params
    await queues.start()

    def request(bank):
        return bank, rng.randrange(2), rng.getrandbits(params.column_bits)

    rounds = 0
    for held in (1, 2):
        for after in (0, 1, 2):
            for bank in range(min(params.banks, 8)):
                for _ in range(4):
                    while len(queues.queues[bank]) < held:
                        await queues.step(push=request(bank))
                    for cycle in range(4):
                        await queues.step(push=request(bank) if cycle == after else None,
                                          serve=bank if cycle == 0 else None)
                    rounds += 1
        await queues.finish(at_least=1)
    assert rounds >= 24


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_in_one_out(dut):
    """Two banks take a request and give one in every cycle, by turns."""
    queues = _Queues(dut)
    params = queues.params
    two = (0, params.banks - 1) if params.banks > 1 else (0,)
    await queues.start()
    for number in range(4):
        await queues.step(push=(two[number % len(two)], number // 4, 0))
    for number in range(400):
        serve = two[number % 2] if len(two) > 1 else (0 if number % 2 else None)
        await queues.step(push=(two[number % len(two)], number // 7 % 2, number % 2)
                          if queues.free and len(queues.queues[two[number % len(two)]]) < 4
                          else None,
                          serve=serve if serve in queues.waiting() else None)
    came = queues.sink.came
    assert len(came) >= 400 * len(two) // 2 - 2 and came[-1] - came[0] < 400
    await queues.finish(at_least=200)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_entry_in_one_bank(dut):
    """A bank takes the whole pool, of one row, then of rows that alternate."""
    queues = _Queues(dut)
    params = queues.params
    await queues.start()
    for bank, rows in ((0, 1), (params.banks - 1, 2)):
        for number in range(params.entries):
            await queues.step(push=(bank, number % rows, number % (1 << params.column_bits)))
        assert not queues.free and len(queues.rows_of(bank)) == params.entries
        await queues.finish(at_least=params.entries)
        assert len(queues.free) == params.entries
