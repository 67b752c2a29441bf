"""Bench of :class:`hdl.tile.Tile`: commands through the registers, memory compared byte by byte."""

import os
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, SimTimeoutError, with_timeout

from golden.tile import GoldenTile
from host.driver import Driver
from host.layout import pack_activations, pack_weights
from spec.commands import Command, ErrorCode, Opcode
from spec.description import Description
from spec.tile import Tile
from tb.bench import PERIOD_NS, bench_seed
from tb.buses import BusError, RegisterBus, axi4_memory
from tb.operands import random_codes, scale_codes

__all__ = ["back_to_back", "bad_commands", "bus_errors", "queue", "random_operations",
           "register_errors", "slow_memory"]

# Simulated memory, and where the benches put things in it, as shares of its size.
MEMORY_BYTES = 1 << 18


class TileBench:
    """A tile between a driver and a memory, beside its golden twin on a copy of that memory."""

    def __init__(self, dut, pause: float):
        self.dut = dut
        self.tile = Tile(description=Description.model_validate_json(
            os.environ["PNMTILE_PARAMS"]))
        self.random = Random(bench_seed())
        self.rng = np.random.default_rng(bench_seed())
        self.pause = pause
        self.size = min(MEMORY_BYTES, 1 << self.tile.axi4.address_bits)
        self.codes, self.scales = 0, self.size // 16
        self.weights, self.results = self.size // 8, self.size // 2
        self.tag = 0
        self.failed: list[tuple[int, ErrorCode]] = []
        self.commands = 0
        self.atoms = 0

    async def start(self):
        """Clock, reset, buses, and the same random bytes in both memories."""
        dut = self.dut
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
        self.memory = axi4_memory(dut, self.size, self.random, self.pause)
        self.bus = RegisterBus(dut, self.random, self.pause)
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        await ClockCycles(dut.clk, 2)
        self.image = self.rng.integers(0, 256, self.size, dtype=np.uint8)
        self.memory.mem[:] = self.image.tobytes()
        self.golden = GoldenTile(self.tile, self.image)
        self.driver = Driver(self.bus, self.tile)
        await self.driver.identify()
        await self.open_window(0, self.size)

    async def open_window(self, base, limit):
        """Open the window of both."""
        await self.driver.open_window(base, limit)
        self.golden.window_base, self.golden.window_limit = base, limit

    def place(self, address, data):
        """Write bytes into both memories."""
        self.image[address:address + len(data)] = np.frombuffer(data, np.uint8)
        self.memory.mem[address:address + len(data)] = data

    async def command(self, **fields):
        """Give a command to both; return the golden's error code."""
        self.tag = (self.tag + 1) & 0xFFFF
        words = Command(tag=self.tag, **fields).pack()
        error = self.golden.execute(words)
        if error != ErrorCode.NONE:
            self.failed.append((self.tag, error))
        else:
            self.atoms += self.atoms_of(**fields)
        await self.within(self.driver.submit_words(words))
        self.commands += 1
        return error

    def atoms_of(self, opcode, k=0, rows=0, **fields):
        """Atoms that a good command moves."""
        tile = self.tile
        return {Opcode.LOAD: tile.k_atoms(k) + tile.activation_scale_atoms(k),
                Opcode.GEMV: tile.weight_stream_atoms(rows, k) + tile.result_atoms(rows)
                }.get(opcode, 0)

    async def within(self, action):
        """Let the host do something; fail when the tile cannot possibly still be busy."""
        cycles = 5_000 + 20 * self.atoms
        try:
            return await with_timeout(action, cycles * PERIOD_NS, "ns")
        except SimTimeoutError:
            raise AssertionError(f"the tile hangs: the host waited for {cycles} cycles") from None

    async def fence(self, tag):
        """Wait until all commands have ended."""
        await self.within(self.driver.fence(tag))

    async def compare(self):
        """Wait for all commands; errors and every byte of memory must agree."""
        self.tag = (self.tag + 1) & 0xFFFF
        await self.fence(self.tag)
        assert await self.driver.read("fence_tag") == self.tag
        code, tag = await self.driver.take_error()
        expected = self.failed[0] if self.failed else (0, ErrorCode.NONE)
        assert (tag, code) == expected, f"error {code!r} of {tag}, must be {expected}"
        self.failed = []
        self.commands += 1
        assert await self.driver.read("ended") == self.commands
        got = np.frombuffer(bytes(self.memory.mem), np.uint8)
        wrong = np.flatnonzero(got != self.image)
        assert not wrong.size, (
            f"{wrong.size} bytes differ, the first at {wrong[0]:#x}: is {got[wrong[0]]:#04x}, "
            f"must be {self.image[wrong[0]]:#04x}")

    def sizes(self, largest_beats=700):
        """Random rows, K and columns, small enough to simulate quickly."""
        tile = self.tile
        k = int(self.rng.integers(1, min(tile.k_max, 3 * tile.group) + 1))
        rows = int(self.rng.integers(1, max(2, min(300, largest_beats // tile.k_atoms(k)))))
        return rows, k, int(self.rng.integers(1, tile.columns + 1))

    async def load(self, column, k, special=0.1, nan=False):
        """Place a random activation vector and load it."""
        tile = self.tile
        codes = random_codes(self.rng, tile.activation_format, (k,), special)
        if nan:
            codes[int(self.rng.integers(k))] = tile.activation_format.nan_code
        scales = scale_codes(self.rng, tile.scale_format.name, (tile.groups(k),))
        parts = pack_activations(codes, _typed(scales, tile), tile)
        for address, part in zip((self.codes, self.scales), parts, strict=True):
            assert len(part) <= self.scales - self.codes
            self.place(address, part)
        return await self.command(opcode=Opcode.LOAD, columns=column, k=k, source=self.codes,
                                  other=self.scales)

    async def gemv(self, rows, k, columns, special=0.1):
        """Place random weights and multiply; the result goes behind them, somewhere."""
        tile = self.tile
        weight_rows = -(-rows // tile.description.scaling.weight_rows)
        codes = random_codes(self.rng, tile.weight_format, (rows, k), special)
        scales = scale_codes(self.rng, tile.scale_format.name, (weight_rows, tile.groups(k)))
        stream = pack_weights(codes, _typed(scales, tile), tile)
        source = self.weights + tile.atom_bytes * int(self.rng.integers(0, 64))
        other = (source + len(stream)) // tile.atom_bytes + int(self.rng.integers(0, 40))
        self.place(source, stream)
        return await self.command(opcode=Opcode.GEMV, columns=columns, rows=rows, k=k,
                                  source=source, other=other * tile.atom_bytes)


def _typed(scales, tile):
    return scales if tile.scale_format.name == "e8m0" else scales.view(np.float32)


async def _operations(bench, count):
    for number in range(count):
        rows, k, columns = bench.sizes()
        for column in range(columns):
            assert await bench.load(column, k, nan=number == 0) == ErrorCode.NONE
            # The vector's place is used again: the tile must have read it.
            await bench.compare()
        assert await bench.gemv(rows, k, columns) == ErrorCode.NONE
        await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(pause=[0.0, 0.3])
async def random_operations(dut, pause):
    """LOAD and GEMV of random sizes and codes, every channel pausing at random."""
    bench = TileBench(dut, pause)
    await bench.start()
    await _operations(bench, 6)
    # The shortest, and one with only full groups.
    for rows, k in ((1, 1), (bench.tile.rows_per_strip + 1,
                             min(bench.tile.k_max, 2 * bench.tile.group))):
        for column in range(bench.tile.columns):
            await bench.load(column, k)
            await bench.compare()
        await bench.gemv(rows, k, bench.tile.columns)
        await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def bad_commands(dut):
    """Bad commands end with the golden's code, touch nothing, and the next one runs."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    tile, limit = bench.tile, bench.size
    codes, scales, weights, results = bench.codes, bench.scales, bench.weights, bench.results
    k, atom = min(tile.k_max, tile.group + 1), tile.atom_bytes
    load = dict(opcode=Opcode.LOAD, columns=0, k=k, source=codes, other=scales)
    gemv = dict(opcode=Opcode.GEMV, columns=1, k=k, rows=5, source=weights, other=results)
    bad = [
        dict(opcode=0), dict(opcode=255), dict(opcode=Opcode.FENCE, k=1),
        dict(opcode=Opcode.FENCE, source=atom), load | dict(rows=1), load | dict(reserved=1),
        gemv | dict(reserved=1 << 31), load | dict(columns=tile.columns),
        gemv | dict(columns=0), gemv | dict(columns=tile.columns + 1), gemv | dict(columns=255),
        load | dict(k=0), load | dict(k=tile.k_max + 1), gemv | dict(k=1 << 31),
        gemv | dict(rows=0), gemv | dict(rows=1 << 24), load | dict(source=codes + 1),
        gemv | dict(other=results + atom // 2), load | dict(source=limit),
        load | dict(other=limit - atom * (tile.activation_scale_atoms(k) - 1)),
        gemv | dict(source=1 << 63), gemv | dict(source=limit - atom),
        gemv | dict(other=limit), gemv | dict(rows=(1 << 24) - 1),
        gemv | dict(k=k - 1), gemv | dict(columns=tile.columns, k=max(1, k - 2)),
        gemv | dict(other=weights), gemv | dict(other=weights - atom, rows=300),
        gemv | dict(other=weights + atom * (tile.weight_stream_atoms(5, k) - 1)),
    ]
    await bench.load(0, k)
    errors = set()
    for fields in bad:
        errors.add(await bench.command(**fields))
        assert ErrorCode.NONE not in errors, f"{fields} is not bad"
        await bench.compare()
    assert errors == set(ErrorCode) - {ErrorCode.NONE, ErrorCode.READ, ErrorCode.WRITE}
    # The buffers are as they were: the vector is still there.
    assert await bench.gemv(5, k, 1) == ErrorCode.NONE
    await bench.compare()
    # A window that begins and ends within the memory.
    await bench.open_window(scales, weights)
    assert await bench.command(**load) == ErrorCode.WINDOW
    assert await bench.command(**load | dict(source=weights - atom * tile.k_atoms(k))) == (
        ErrorCode.NONE)
    await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def queue(dut):
    """More commands than the queue holds, without waiting in between; the first error stays."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    k = min(bench.tile.k_max, bench.tile.group)
    await bench.load(0, k)
    for index in range(3 * bench.tile.description.host.queue_depth):
        if index % 3 == 2:
            await bench.command(opcode=Opcode.LOAD, columns=0, k=0)
        else:
            await bench.command(opcode=Opcode.GEMV, columns=1, k=k, rows=2 + index,
                                source=bench.weights, other=bench.results + index * 0x400)
    await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def bus_errors(dut):
    """An error of the memory is reported, and the tile goes on."""
    bench = TileBench(dut, 0.2)
    await bench.start()
    tile = bench.tile
    k = min(tile.k_max, tile.group)
    place = dict(source=bench.weights, other=bench.results)
    await bench.load(0, k)
    await bench.compare()
    for part, opcode, code in (
            (bench.weights, Opcode.GEMV, ErrorCode.READ),
            (bench.results, Opcode.GEMV, ErrorCode.WRITE),
            (bench.scales, Opcode.LOAD, ErrorCode.READ)):
        bench.memory.broken = {range(part, part + tile.atom_bytes)}
        fields = (dict(columns=1, rows=9, k=k, **place) if opcode == Opcode.GEMV
                  else dict(columns=0, k=k, source=bench.codes, other=bench.scales))
        await bench.driver.submit(Command(opcode=opcode, tag=77, **fields))
        await bench.fence(78)
        assert await bench.driver.take_error() == (code, 77)
    # The vector whose load failed is gone; then everything works again.
    bench.memory.broken = set()
    await bench.driver.submit(Command(opcode=Opcode.GEMV, tag=79, columns=1, rows=1, k=k, **place))
    await bench.fence(80)
    assert await bench.driver.take_error() == (ErrorCode.NOT_LOADED, 79)
    bench.commands = await bench.driver.read("ended")
    bench.memory.mem[:] = bench.image.tobytes()
    await bench.load(0, k)
    await bench.gemv(9, k, 1)
    await bench.compare()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def register_errors(dut):
    """Accesses that no register allows are answered with an error."""
    bench = TileBench(dut, 0.2)
    await bench.start()
    for access in (bench.bus.read(0xFC), bench.bus.write(0xFC, 1), bench.driver.write("ended", 1),
                   bench.driver.read("doorbell")):
        try:
            await access
        except BusError:
            continue
        raise AssertionError("an illegal access was answered with OKAY")
    await bench.load(0, 1)
    await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def back_to_back(dut):
    """A GEMV stands in the queue behind the LOAD of its vector, which is still under way."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    for k in (1, bench.tile.k_max):
        for column in range(bench.tile.columns):
            assert await bench.load(column, k) == ErrorCode.NONE
            if column < bench.tile.columns - 1:
                await bench.compare()
        assert await bench.gemv(5, k, bench.tile.columns) == ErrorCode.NONE
        await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def slow_memory(dut):
    """The memory is so slow that a strip's results are written before its padding has come."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    k = min(bench.tile.k_max, bench.tile.group)
    await bench.load(0, k)
    await bench.compare()
    bench.memory.pause_reads(bench.random, 0.97)
    for rows in (1, 2):
        assert await bench.gemv(rows, k, 1) == ErrorCode.NONE
        await bench.compare()
