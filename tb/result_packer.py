"""Bench of :class:`hdl.result_packer.ResultPacker`."""

import cocotb
import numpy as np

from golden.result_packer import result_packer
from spec.units import ResultPackerParams
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.operands import FP32_EDGES
from tb.packing import fields

__all__ = ["edges", "full_queue", "one_row_per_cycle", "random_commands"]


class _Packing:
    """Commands, their rows, and the atoms that must come; counts the rows in the queue."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params_from_environment(ResultPackerParams)
        self.bench = Bench(dut)
        self.numbers = np.random.default_rng(self.bench.rng.getrandbits(32))
        self.commands, self.rows = self.bench.source("command", idle), self.bench.source()
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall)
        self.bench.watchers.append(self._watch)
        self.idle = idle
        self.waiting = []
        self.released = []
        self.sent = 0

    def _watch(self):
        if self.dut.released.value == 1:
            self.released.append(self.bench.cycle)
            assert len(self.released) <= len(self.rows.taken), "released a row that never came"

    def send(self, codes, columns):
        """One command with rows of FP32 codes [rows, columns of the tile]."""
        params = self.params
        self.commands.send(fields((len(codes), params.rows_bits),
                                  (columns, params.columns.bit_length())))
        self.waiting += [word(row, 32) for row in codes.tolist()]
        data = result_packer(codes, columns, params).tobytes()
        size = params.atom_bits // 8
        for place in range(0, len(data), size):
            self.board.expect(int.from_bytes(data[place:place + size], "little"),
                              f"{len(codes)} rows, {columns} columns, byte {place}")

    def random_rows(self, rows):
        """Random codes; the accumulator's NaN is the only one."""
        codes = self.numbers.integers(0, 1 << 32, (rows, self.params.columns), dtype=np.uint32)
        codes[(codes & 0x7FFFFFFF) > 0x7F800000] = 0x7FC00000
        return codes

    async def step(self, rate=1.0):
        """Go through a cycle; a row may enter while the queue has room for it."""
        held = self.sent - len(self.released)
        if self.waiting and held < self.params.depth and self.bench.rng.random() < rate:
            self.rows.send(self.waiting.pop(0))
            self.sent += 1
        await self.bench.step()

    async def run(self, rate=1.0):
        """Go on until all rows are in and all atoms are out."""
        while self.waiting:
            await self.step(rate)
        await self.bench.drain(at_least=1)
        assert len(self.released) == self.sent


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5, 0.9])
async def random_commands(dut, idle, stall):
    """Commands of all sizes and columns; no row of one enters an atom of another."""
    packing = _Packing(dut, idle, stall)
    params, rng = packing.params, packing.bench.rng
    for columns in range(1, params.columns + 1):
        for rows in range(1, 2 * params.rows_per_atom + 2):
            packing.send(packing.random_rows(rows), columns)
    for _ in range(20):
        packing.send(packing.random_rows(rng.randint(1, 40)), rng.randint(1, params.columns))
    await packing.bench.start()
    await packing.run(rate=1.0 - idle)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def edges(dut):
    """Zeros, subnormals, rounding ties, the overflow of rounding, infinities and NaN, in every
    column; NaN with a payload too where rounding makes one NaN of all."""
    packing = _Packing(dut)
    params = packing.params
    ties = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7F8000, 0x7F7F7FFF,
                     0x007F8000, 0x00008000, 0x80008001, 0x00018000], np.uint32)
    codes = np.concatenate([FP32_EDGES, ties])
    if params.result == "fp32":
        codes = codes[((codes & 0x7FFFFFFF) <= 0x7F800000) | (codes == 0x7FC00000)]
    table = np.stack([np.roll(codes, column) for column in range(params.columns)], axis=1)
    packing.send(np.ascontiguousarray(table), params.columns)
    await packing.bench.start()
    await packing.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_row_per_cycle(dut):
    """While the consumer takes the atoms, a row enters and a row leaves in each cycle."""
    packing = _Packing(dut)
    packing.send(packing.random_rows(200), packing.params.columns)
    await packing.bench.start()
    await packing.run()
    taken, released = packing.rows.taken, packing.released
    assert taken == list(range(taken[0], taken[0] + 200))
    assert released == list(range(released[0], released[0] + 200))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def full_queue(dut):
    """Against a closed consumer the queue fills, and no row is lost."""
    packing = _Packing(dut, stall=1.0)
    params = packing.params
    packing.send(packing.random_rows(3 * params.depth), params.columns)
    await packing.bench.start()
    for _ in range(2 * params.depth + 10 * params.rows_per_atom):
        await packing.step()
    # One atom waits at the output, two rows behind it in registers; the others in the queue.
    assert len(packing.released) == params.rows_per_atom + 2
    assert packing.sent == params.depth + len(packing.released)
    packing.sink.stall = 0.3
    await packing.run()
