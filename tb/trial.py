"""Bench of :class:`hdl.trial.Trial`: whole jobs through the serial line, bit by bit."""

import cocotb
import numpy as np

from golden.quantizer import quantize, quantize_blocks
from golden.tile import GoldenTile
from host.job import gemv_job
from host.tensor_job import Tensor, quantize_job
from spec.commands import Command, ErrorCode, Opcode
from spec.registers import REGISTERS
from spec.tensors import RULE_NAMES, TensorFormat
from spec.trial import Trial
from spec.trial_units import Operation, Status
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment
from tb.frames import FrameReader, frame, request
from tb.uart_line import LineReader, line_bits

__all__ = ["gemv", "quantize_rows", "wrong_commands"]

LIMIT = 3_000_000


class _Host:
    """One request at a time through ``rx`` and ``tx``."""

    ready = None

    def __init__(self, dut):
        self.dut = dut
        self.params = params_from_environment(Trial)
        self.bench = Bench(dut)
        self.divider = self.params.uart.divider
        self.line = LineReader(self.divider)
        self.frames = FrameReader()
        self.levels: list[int] = []
        self.tag = self.moved = 0
        self.bench.channels.append(self)
        self.bench.watchers.append(self._look)

    @property
    def came(self):
        """What the loop of the bench looks at to see whether anything moves."""
        return range(self.moved)

    def drive(self):
        """Put the next level on the line."""
        self.dut.rx.value = self.levels.pop() if self.levels else 1
        self.moved += 1

    def sample(self, cycle):
        """The line has no handshake."""

    def _look(self):
        before = len(self.line.bytes)
        self.line.sample(int(self.dut.tx.value))
        for byte in self.line.bytes[before:]:
            self.frames.take(byte)

    async def start(self):
        """Reset, with the line idle."""
        self.dut.rx.value = 1
        await self.bench.start()

    async def ask(self, operation, address, data=b"", status=Status.OKAY):
        """One request and its reply's data."""
        self.tag = (self.tag + 1) % 256
        bits = [bit for byte in frame(request(self.tag, operation, address, data))
                for bit in line_bits(byte) for _ in range(self.divider)]
        self.levels = bits[::-1]
        count = len(self.frames.bodies)
        while len(self.frames.bodies) == count:
            await self.bench.step()
            assert self.bench.cycle < LIMIT, "no reply"
        body = self.frames.bodies[-1]
        assert body[:2] == bytes([self.tag, status]), body[:2]
        return body[2:]

    async def register(self, name):
        """Read a register."""
        return int.from_bytes(await self.ask(Operation.READ_REGISTER, REGISTERS[name].offset),
                              "little")

    async def set(self, name, value):
        """Write a register."""
        await self.ask(Operation.WRITE_REGISTER, REGISTERS[name].offset,
                       value.to_bytes(4, "little"))

    async def load(self, image):
        """Write the memory, and open the window on it."""
        step = 256
        data = image.tobytes()
        for place in range(0, len(data), step):
            await self.ask(Operation.WRITE_MEMORY, place, data[place:place + step])
        await self.set("window_limit_low", len(data))

    async def memory(self, size):
        """Read the memory."""
        atom = self.params.tile.atom_bytes
        data = b""
        while len(data) < size:
            atoms = min(256, size - len(data)) // atom
            data += await self.ask(Operation.READ_MEMORY, len(data), bytes([atoms]))
        return np.frombuffer(data, np.uint8)

    async def execute(self, words):
        """Queue a command and wait until it has ended; return its error."""
        for place, word in enumerate(words):
            await self.set(f"command_{place}", word)
        await self.set("doorbell", 1)
        while await self.register("status") & 1:
            pass
        error = await self.register("error")
        await self.set("clear", 1)
        return ErrorCode(error & 0xFF)


async def _run(host, job):
    """Execute a job and compare all of the memory with the golden model's."""
    golden = job.image.copy()
    model = GoldenTile(host.params.tile, golden)
    model.window_limit = golden.size
    await host.load(job.image)
    for command in job.commands:
        assert model.execute(command.pack()) == ErrorCode.NONE
        assert await host.execute(command.pack()) == ErrorCode.NONE
    board = Scoreboard("memory")
    for byte in golden:
        board.expect(int(byte))
    assert np.any(golden != job.image), "a job that changes nothing"
    for byte in await host.memory(golden.size):
        board.check(int(byte))
    board.close(at_least=golden.size)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def gemv(dut):
    """LOAD and GEMV, with the identity read first."""
    host = _Host(dut)
    tile = host.params.tile
    rng = np.random.default_rng(bench_seed())
    await host.start()
    assert await host.register("identity") == tile.register_file.identity
    k = min(tile.k_max, 2 * tile.group + 3)
    scaling = tile.description.scaling
    weights = quantize_blocks(rng.standard_normal((5, k), np.float32), tile.weight_format, scaling)
    vectors = quantize(rng.standard_normal((tile.columns, k), np.float32), tile.activation_format,
                       scaling)
    await _run(host, gemv_job(tile, *weights, *vectors))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def quantize_rows(dut):
    """QUANTIZE, where the tile has it."""
    host = _Host(dut)
    tile = host.params.tile
    described = tile.description.quantize
    if described is None:
        return
    rng = np.random.default_rng(bench_seed())
    await host.start()
    k = min(tile.k_max, 2 * described.groups[0] + 3)
    values = (rng.standard_normal((3, k), np.float32).view(np.uint32) >> 16).astype(np.uint16)
    await _run(host, quantize_job(
        tile, Tensor(TensorFormat.BF16, values), TensorFormat[described.formats[0].upper()],
        RULE_NAMES[described.rules[0]], described.groups[0]))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def wrong_commands(dut):
    """A wrong command ends with an error, a wrong register is refused, and all goes on; nothing
    raises the interrupt that was not asked for."""
    host = _Host(dut)
    await host.start()
    assert await host.execute(Command(opcode=99).pack()) == ErrorCode.OPCODE
    assert await host.execute(Command(opcode=Opcode.FENCE, tag=7).pack()) == ErrorCode.NONE
    assert dut.interrupt.value == 0
    await host.ask(Operation.READ_REGISTER, 0xFC, status=Status.REFUSED)
    await host.set("interrupt_enable", 1)
    assert dut.interrupt.value == 1
    assert await host.register("fence_tag") == 7
