"""Bench of :class:`hdl.uart_receiver.UartReceiver`."""

from collections import deque

import cocotb

from spec.trial_units import UartParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.structure import check_registered
from tb.uart_line import line_bits

__all__ = ["broken_bytes", "every_byte", "glitches", "other_clocks", "registered"]



class _Line:
    """Levels on ``rx``, one per cycle, and the bytes that must come of them."""

    ready = None

    def __init__(self, dut):
        self.params = params_from_environment(UartParams)
        self.bench = Bench(dut)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board)
        self.dut = dut
        self.levels = deque()
        dut.rx.value = 1
        self.bench.channels.append(self)

    def drive(self):
        """Put the next level on the line; high when there is none."""
        self.dut.rx.value = self.levels.popleft() if self.levels else 1

    def sample(self, cycle):
        """The line has no handshake."""

    def hold(self, level, cycles):
        """Hold a level for so many cycles."""
        self.levels.extend([level] * cycles)

    def byte(self, byte, stop=1, skew=0.0):
        """Send a byte whose bits last 1 + ``skew`` times as long as they should."""
        length = self.params.divider * (1 + skew)
        for place, bit in enumerate(line_bits(byte, stop)):
            self.hold(bit, round((place + 1) * length) - round(place * length))
        if stop:
            self.board.expect(byte, f"{byte:#x}")

    async def end(self, at_least):
        """Wait until the line is idle, and everything has come."""
        while self.levels:
            await self.bench.step()
        for _ in range(12 * self.params.divider):
            await self.bench.step()
        await self.bench.drain(at_least)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_byte(dut):
    """Every byte, one behind the other and with pauses."""
    line = _Line(dut)
    rng = line.bench.rng
    for byte in rng.sample(range(256), 256):
        line.byte(byte)
        if rng.random() < 0.2:
            line.hold(1, rng.randrange(1, 3 * line.params.divider))
    await line.bench.start()
    await line.end(at_least=256)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(skew=[-0.025, 0.025])
async def other_clocks(dut, skew):
    """A sender whose clock is off, as far as two sides may be together."""
    line = _Line(dut)
    for byte in (0x00, 0xFF, 0x55, 0xAA, 0x80, 0x01):
        for _ in range(5):
            line.byte(byte, skew=skew)
            # A fast sender is here before its byte would have ended.
            line.hold(1, line.params.divider // 2)
    await line.bench.start()
    await line.end(at_least=30)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def glitches(dut):
    """A low that is shorter than half a bit gives nothing."""
    line = _Line(dut)
    half = line.params.divider // 2
    for low in range(1, half):
        line.hold(0, low)
        line.hold(1, half + 4)
        line.byte(0x5A ^ (low & 0xFF))
    line.hold(0, 1)
    line.hold(1, 10)
    line.byte(0xA5)
    await line.bench.start()
    await line.end(at_least=1)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def broken_bytes(dut):
    """A byte without stop bit is dropped, and so is a line that stays low; then all is well."""
    line = _Line(dut)
    rng = line.bench.rng
    for _ in range(10):
        line.byte(rng.randrange(256), stop=0)
        line.hold(0, rng.randrange(1, 25 * line.params.divider))
        line.hold(1, 4)
        line.byte(rng.randrange(256))
    await line.bench.start()
    await line.end(at_least=10)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    params = params_from_environment(UartParams)
    # A random line has bytes, but seldom where bits are long.
    await check_registered(dut, ["rx"], ["o__payload", "o__valid"],
                           seldom=("o__payload", "o__valid") if params.divider > 4 else ())
