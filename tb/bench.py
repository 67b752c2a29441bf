"""What every testbench is made of: sources that idle, sinks that stall, scoreboards that must end
empty.

All channels of a bench are stepped by one loop. In each clock cycle, inputs change at the falling
edge, and handshakes are read after they have settled: what is read is what the rising edge takes.
"""

import json
import os
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from spec.units import UnitParams

__all__ = ["PERIOD_NS", "Bench", "Scoreboard", "Sink", "Source", "bench_seed",
           "params_from_environment", "run_flow", "split_word", "word"]

P = TypeVar("P", bound=UnitParams)
PERIOD_NS = 2
# A unit on whose streams nothing moves for so long never will go on.
STUCK_CYCLES = 4000


def params_from_environment(kind: type[P]) -> P:
    """The record that the runner built the unit with."""
    return kind.model_validate(json.loads(os.environ["PNMTILE_PARAMS"]), strict=False)


def bench_seed() -> int:
    """The printed seed of the simulation; every test of it starts from the same."""
    return int(os.environ["COCOTB_RANDOM_SEED"])


def word(values: Iterable[int], bits: int) -> int:
    """Put ``values`` beside each other, ``bits`` bits each, the first lowest."""
    result = 0
    for place, value in enumerate(values):
        result |= (int(value) & ((1 << bits) - 1)) << (place * bits)
    return result


def split_word(value: int, bits: int, count: int) -> list[int]:
    """Take ``count`` values of ``bits`` bits each out of ``value``, the lowest first."""
    return [value >> place * bits & ((1 << bits) - 1) for place in range(count)]


class Scoreboard:
    """Expected results in order; a result that differs fails at once, one that is missing at the
    end."""

    def __init__(self, name: str):
        self.name = name
        self.expected: deque[tuple[Any, Any]] = deque()
        self.compared = 0

    def expect(self, value: Any, about: Any = None) -> None:
        """Queue a value; ``about`` is printed when it does not come."""
        self.expected.append((value, about))

    def check(self, value: Any) -> None:
        """Compare the next result."""
        assert self.expected, f"{self.name}: got {_show(value)}, expected nothing"
        expected, about = self.expected.popleft()
        about = about() if callable(about) else about
        assert value == expected, (f"{self.name}: result {self.compared} is {_show(value)}, must "
                                   f"be {_show(expected)}; {about or ''}")
        self.compared += 1

    def close(self, at_least: int) -> None:
        """Fail when results are missing, or when fewer than ``at_least`` were compared."""
        assert not self.expected, f"{self.name}: {len(self.expected)} results never came"
        assert self.compared >= at_least, f"{self.name}: only {self.compared} compared"


def _show(value: Any) -> str:
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else repr(value)


class Source:
    """Drives one stream. Idles with probability ``idle`` before each item, and for ``pause()``
    cycles after each, where that is set; its payload is random while not valid."""

    def __init__(self, bench: "Bench", prefix: str, idle: float):
        dut = bench.dut
        self.payload = getattr(dut, f"{prefix}__payload")
        self.valid = getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready", None)
        self.bits = len(self.payload)
        self.bench, self.idle = bench, idle
        self.items: deque[int] = deque()
        self.taken: list[int] = []
        self.offered = False
        self.pause: Callable[[], int] | None = None
        self.waits = 0

    def send(self, item: int) -> None:
        """Queue an item."""
        self.items.append(item)

    def drive(self) -> None:
        """Choose what stands on the stream in the coming cycle."""
        if self.offered:
            return
        self.waits = max(0, self.waits - 1)
        self.offered = (bool(self.items) and not self.waits
                        and self.bench.rng.random() >= self.idle)
        self.valid.value = int(self.offered)
        self.payload.value = (self.items[0] if self.offered
                              else self.bench.rng.getrandbits(self.bits))

    def sample(self, cycle: int) -> None:
        """See whether the coming edge takes the item."""
        if self.offered and (self.ready is None or self.ready.value == 1):
            self.items.popleft()
            self.taken.append(cycle)
            self.offered = False
            self.waits = self.pause() + 1 if self.pause else 0


class Sink:
    """Takes one stream and hands each item to ``take``. Stalls with probability ``stall``; checks
    that a refused item stays as it was."""

    def __init__(self, bench: "Bench", prefix: str, stall: float, take: Callable[[int], None]):
        dut = bench.dut
        self.payload = getattr(dut, f"{prefix}__payload", None)
        self.valid = getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready", None)
        self.prefix, self.bench, self.stall, self.take = prefix, bench, stall, take
        self.came: list[int] = []
        self.refused: int | None = None
        self.open = self.ready is None

    def drive(self) -> None:
        """Choose whether the coming cycle stalls."""
        if self.ready is not None:
            self.open = self.bench.rng.random() >= self.stall
            self.ready.value = int(self.open)

    def sample(self, cycle: int) -> None:
        """See what the coming edge gives."""
        valid = self.valid.value == 1
        assert valid or self.refused is None, f"{self.prefix}: valid fell before ready rose"
        if not valid:
            return
        item = 0 if self.payload is None else int(self.payload.value)
        assert self.refused in (None, item), f"{self.prefix}: a refused payload changed"
        self.refused = None if self.open else item
        if self.open:
            self.came.append(cycle)
            self.take(item)


class Bench:
    """Clock, reset, channels and the loop that steps them."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.rng = random.Random(bench_seed())
        self.channels: list[Source | Sink] = []
        self.scoreboards: list[Scoreboard] = []
        self.watchers: list[Callable[[], None]] = []
        self.cycle = 0
        self.moved = 0

    def source(self, prefix: str = "i", idle: float = 0.0) -> Source:
        """Add a source."""
        channel = Source(self, prefix, idle)
        self.channels.append(channel)
        return channel

    def sink(self, board: Scoreboard, prefix: str = "o", stall: float = 0.0,
             take: Callable[[int], None] | None = None) -> Sink:
        """Add a sink in front of a scoreboard; ``take`` replaces the plain comparison."""
        channel = Sink(self, prefix, stall, take or board.check)
        self.channels.append(channel)
        if board not in self.scoreboards:
            self.scoreboards.append(board)
        return channel

    async def start(self) -> None:
        """Start the clock and reset the unit."""
        for name in ("clk", "rst"):
            if not hasattr(self.dut, name):
                raise AttributeError(f"the unit has no port {name}")
        self.dut.rst.value = 1
        for channel in self.channels:
            if isinstance(channel, Source):
                channel.valid.value = 0
            elif channel.ready is not None:
                channel.ready.value = 0
        Clock(self.dut.clk, PERIOD_NS, unit="ns").start()
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def step(self) -> None:
        """Go through one clock cycle; called, and returns, at a falling edge."""
        for channel in self.channels:
            channel.drive()
        await ReadOnly()
        for channel in self.channels:
            channel.sample(self.cycle)
        for watch in self.watchers:
            watch()
        self.cycle += 1
        if self.cycle % STUCK_CYCLES == 0:
            moved = sum(len(getattr(channel, name, ())) for channel in self.channels
                        for name in ("taken", "came"))
            assert moved != self.moved, (
                f"nothing moved for {STUCK_CYCLES} cycles; waiting for "
                + ", ".join(f"{len(board.expected)} of {board.name}" for board in self.scoreboards))
            self.moved = moved
        await FallingEdge(self.dut.clk)

    async def drain(self, at_least: int, limit: int = 200_000, quiet: int = 40) -> None:
        """Step until all sources are empty and nothing is expected; then ``quiet`` cycles more,
        in which nothing may come; then close the scoreboards."""
        def waiting() -> bool:
            return (any(isinstance(channel, Source) and channel.items
                        for channel in self.channels)
                    or any(board.expected for board in self.scoreboards))

        while waiting():
            await self.step()
            assert self.cycle < limit, (
                f"nothing ended within {limit} cycles; waiting for "
                + ", ".join(f"{len(board.expected)} of {board.name}" for board in self.scoreboards))
        for _ in range(quiet):
            await self.step()
        for board in self.scoreboards:
            board.close(at_least)


async def run_flow(dut: Any, items: Iterable[tuple[int, Any, Any]], idle: float = 0.0,
                   latency: int | None = None,
                   seen: Callable[[int], int] | None = None) -> None:
    """Send every item through a unit with one stream ``i`` and one stream ``o``.

    ``items`` are (payload, expected result or None where this beat gives none, text about it).
    With ``latency``, each result must come exactly so many cycles after its beat. ``seen`` clears
    bits of a result that mean nothing before it is compared.
    """
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("o")
    sink = bench.sink(board, take=lambda value: board.check(seen(value) if seen else value))
    gives = []
    for payload, expected, about in items:
        source.send(payload)
        gives.append(expected is not None)
        if expected is not None:
            board.expect(expected, about)
    await bench.start()
    await bench.drain(at_least=sum(gives))
    if latency is not None:
        taken = [cycle for cycle, gave in zip(source.taken, gives, strict=True) if gave]
        measured = {came - took for took, came in zip(taken, sink.came, strict=True)}
        assert measured == {latency}, f"latency {sorted(measured)}, promised {latency}"
