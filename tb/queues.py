"""What the benches of all queues ask: order, rate, latency and room."""

from typing import Any

from tb.bench import Bench, Scoreboard

__all__ = ["check_latency", "check_order", "check_room"]


def _queue(dut: Any, bits: int, count: int, idle: float = 0.0, stall: float = 0.0
           ) -> tuple[Bench, Any, Any]:
    """Bench, source and sink, with so many random items to go through."""
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("o")
    sink = bench.sink(board, stall=stall)
    for _ in range(count):
        item = bench.rng.getrandbits(bits)
        source.send(item)
        board.expect(item)
    return bench, source, sink


async def check_order(dut: Any, bits: int, count: int, idle: float, stall: float) -> None:
    """Random items arrive in order, whoever waits for whom."""
    bench, _, _ = _queue(dut, bits, count, idle, stall)
    await bench.start()
    await bench.drain(at_least=count)


async def check_latency(dut: Any, bits: int, count: int, latency: int) -> None:
    """One item per cycle, after so many cycles."""
    bench, source, sink = _queue(dut, bits, count)
    await bench.start()
    await bench.drain(at_least=count)
    assert source.taken == list(range(source.taken[0], source.taken[0] + count))
    measured = {came - took for took, came in zip(source.taken, sink.came, strict=True)}
    assert measured == {latency}


async def check_room(dut: Any, bits: int, depth: int) -> None:
    """Against a closed consumer exactly ``depth`` items enter; when it opens, one leaves per
    cycle."""
    count = 3 * depth
    bench, source, sink = _queue(dut, bits, count, stall=1.0)
    await bench.start()
    for _ in range(depth + 10):
        await bench.step()
    assert len(source.taken) == depth
    sink.stall = 0.0
    await bench.drain(at_least=count)
    assert sink.came == list(range(sink.came[0], sink.came[0] + count))
