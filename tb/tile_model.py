"""A tile with its memory and its host in a bench, beside the golden twin."""

import os
from dataclasses import astuple
from random import Random

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, SimTimeoutError, with_timeout

from golden.scales import block_scales, scale_dtype, weight_scale_dtype
from golden.tile import GoldenTile
from host.driver import Driver
from host.layout import pack_activations, pack_weights
from spec.commands import Command, ErrorCode, Opcode
from spec.tensor_checks import tensor_sizes
from spec.tile import Tile
from tb.bench import PERIOD_NS, bench_seed
from tb.buses import HostBus, RegisterBus, axi4_memory, idle_host_bus
from tb.native_memory import NativeMemory
from tb.operands import random_codes, scale_codes

__all__ = ["TileBench", "tile_from_environment"]

# Simulated memory, and where the benches put things in it, as shares of its size.
MEMORY_BYTES = 1 << 18


def tile_from_environment() -> Tile:
    """The tile that the runner built."""
    return Tile.model_validate_json(os.environ["PNMTILE_PARAMS"])


class TileBench:
    """A tile between a driver and a memory, beside its golden twin on a copy of that memory.

    ``pause`` is the share of cycles in which a bus pauses, or a native memory gives an atom that
    nobody asked for. With ``host``, data are placed through the host's port to a native memory.
    """

    def __init__(self, dut, pause: float, host: bool = False):
        self.dut = dut
        self.with_host = host
        self.tile = tile_from_environment()
        self.random = Random(bench_seed())
        self.rng = np.random.default_rng(bench_seed())
        self.pause = pause
        # What the next operands are of: one of the tile's pairs of formats.
        self.format_index = 0
        self.size = min(MEMORY_BYTES, self.tile.memory_bytes)
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
        native = self.tile.native
        if not native:
            self.memory = axi4_memory(dut, self.size, self.random, self.pause)
        elif self.with_host:
            self.host = HostBus(dut)
        else:
            idle_host_bus(dut)
        self.bus = RegisterBus(dut, self.random, self.pause)
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        if native:
            self.memory = NativeMemory(dut, self.tile.memory_controller, self.size, self.random,
                                       self.pause)
        await ClockCycles(dut.clk, 2)
        self.image = self.rng.integers(0, 256, self.size, dtype=np.uint8)
        self.memory.place(0, self.image.tobytes())
        self.golden = GoldenTile(self.tile, self.image)
        self.driver = Driver(self.bus, self.tile)
        await self.driver.identify()
        await self.open_window(0, self.size)

    async def open_window(self, base, limit):
        """Open the window of both."""
        await self.driver.open_window(base, limit)
        self.golden.window_base, self.golden.window_limit = base, limit

    async def place(self, address, data):
        """Write bytes into both memories."""
        self.image[address:address + len(data)] = np.frombuffer(data, np.uint8)
        if self.with_host:
            await self.within(self.host.write(address, data))
        else:
            self.memory.place(address, data)

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
        """Atoms that a good command moves, at most."""
        tile = self.tile.formats[fields.get("format_index", 0)]
        checker = self.tile.tensor_checker
        if checker and opcode in checker.opcodes:
            sizes = tensor_sizes(Command(opcode=opcode, k=k, rows=rows, **fields), checker)
            return sum(astuple(sizes)[4:])
        return {Opcode.LOAD: tile.activation_atoms(k) + tile.activation_scale_atoms(k),
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
        got = np.frombuffer(self.memory.contents(), np.uint8)
        wrong = np.flatnonzero(got != self.image)
        assert not wrong.size, (
            f"{wrong.size} bytes differ, the first at {wrong[0]:#x}: is {got[wrong[0]]:#04x}, "
            f"must be {self.image[wrong[0]]:#04x}")

    def sizes(self, largest_beats=700):
        """Random rows, K and columns, small enough to simulate quickly; of any of the formats."""
        self.format_index = self.random.randrange(len(self.tile.formats))
        tile = self.tile.formats[self.format_index]
        # Several groups, and several beats.
        k = int(self.rng.integers(1, min(tile.k_max, 3 * max(tile.group, 4 * tile.lanes)) + 1))
        rows = int(self.rng.integers(1, max(2, min(300, largest_beats // tile.k_atoms(k)))))
        return rows, k, int(self.rng.integers(1, tile.columns + 1))

    async def load(self, column, k, special=0.1, nan=False):
        """Place a random activation vector and load it."""
        tile = self.tile.formats[self.format_index]
        codes = random_codes(self.rng, tile.activation_format, (k,), special)
        if nan:
            codes[int(self.rng.integers(k))] = tile.activation_format.nan_code
        parts = pack_activations(codes, self._scales((tile.groups(k),)), tile)
        for address, part in zip((self.codes, self.scales), parts, strict=True):
            assert len(part) <= self.scales - self.codes
            await self.place(address, part)
        return await self.command(opcode=Opcode.LOAD, columns=column, k=k, source=self.codes,
                                  source_scales=self.scales, format_index=self.format_index)

    async def gemv(self, rows, k, columns, special=0.1, **fields):
        """Place random weights and multiply; the result goes behind them, somewhere."""
        tile = self.tile.formats[self.format_index]
        weight_rows = -(-rows // tile.description.scaling.weight_rows)
        codes = random_codes(self.rng, tile.weight_format, (rows, k), special)
        scales = self._scales((weight_rows, tile.groups(k)))
        if tile.zero_points:
            both = np.empty(scales.shape, weight_scale_dtype(tile))
            both["scale"] = scales
            both["zero"] = self.rng.integers(0, 1 << tile.weight_format.bits, scales.shape)
            scales = both
        stream = pack_weights(codes, scales, tile)
        source = self.weights + tile.atom_bytes * int(self.rng.integers(0, 64))
        target = (source + len(stream)) // tile.atom_bytes + int(self.rng.integers(0, 40))
        await self.place(source, stream)
        return await self.command(**dict(
            opcode=Opcode.GEMV, columns=columns, rows=rows, k=k, source=source,
            target=target * tile.atom_bytes, format_index=self.format_index) | fields)

    def _scales(self, shape):
        """Random scales [..., groups] of the tile's format."""
        fmt = self.tile.scale_format
        codes = scale_codes(self.rng, fmt.name, shape)
        if not self.tile.block_scaled:
            return codes.view(scale_dtype(fmt))
        return block_scales(codes, scale_codes(self.rng, "fp32", shape[:-1]).view(np.float32))
