"""Bench of :class:`hdl.skid_buffer.SkidBuffer`."""

import cocotb

from spec.units import SkidBufferParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.structure import check_registered

__all__ = ["holds_two", "latency", "random_items", "registered"]


def _setup(dut, idle=0.0, stall=0.0):
    params = params_from_environment(SkidBufferParams)
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("o")
    sink = bench.sink(board, stall=stall)

    def send(count):
        for _ in range(count):
            item = bench.rng.getrandbits(params.bits)
            source.send(item)
            board.expect(item)

    return bench, source, sink, send


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5, 0.9], stall=[0.0, 0.5, 0.9])
async def random_items(dut, idle, stall):
    """Random items arrive in order, whoever waits for whom."""
    bench, _, _, send = _setup(dut, idle, stall)
    send(300)
    await bench.start()
    await bench.drain(at_least=300)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One item per cycle, latency as promised."""
    bench, source, sink, send = _setup(dut)
    send(200)
    await bench.start()
    await bench.drain(at_least=200)
    assert source.taken == list(range(source.taken[0], source.taken[0] + 200))
    measured = {came - took for took, came in zip(source.taken, sink.came, strict=True)}
    assert measured == {SkidBufferParams.LATENCY}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def holds_two(dut):
    """Against a closed consumer exactly two items enter; when it opens, one leaves per cycle."""
    bench, source, sink, send = _setup(dut, stall=1.0)
    send(6)
    await bench.start()
    for _ in range(10):
        await bench.step()
    assert len(source.taken) == 2
    sink.stall = 0.0
    await bench.drain(at_least=6)
    assert sink.came == list(range(sink.came[0], sink.came[0] + 6))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"])
