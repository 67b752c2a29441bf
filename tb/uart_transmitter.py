"""Bench of :class:`hdl.uart_transmitter.UartTransmitter`."""

import cocotb

from spec.trial_units import UartParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.structure import check_registered
from tb.uart_line import LineReader

__all__ = ["back_to_back", "every_byte", "registered"]


def _setup(dut, idle=0.0):
    params = params_from_environment(UartParams)
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("tx")
    bench.scoreboards.append(board)
    reader = LineReader(params.divider)

    def look():
        before = len(reader.bytes)
        reader.sample(int(dut.tx.value))
        for byte in reader.bytes[before:]:
            board.check(byte)

    bench.watchers.append(look)
    return params, bench, source, board, reader


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_byte(dut):
    """Every byte is on the line as it should, with and without pauses; then the line is idle."""
    _, bench, source, board, reader = _setup(dut, idle=0.1)
    for byte in bench.rng.sample(range(256), 256):
        source.send(byte)
        board.expect(byte)
    await bench.start()
    await bench.drain(at_least=256, limit=2_000_000)
    assert not reader.levels


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def back_to_back(dut):
    """A byte takes ten bits and one cycle; it starts one cycle after it was taken."""
    params, bench, source, board, reader = _setup(dut)
    for byte in (0x00, 0xFF, 0x55, 0xC0):
        source.send(byte)
        board.expect(byte)
    await bench.start()
    await bench.drain(at_least=4, limit=1_000_000)
    assert [start - taken for start, taken in zip(reader.starts, source.taken, strict=True)] == (
        [1] * 4)
    steps = {after - before for before, after in zip(source.taken, source.taken[1:], strict=False)}
    assert steps == {10 * params.divider + 1}


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    params = params_from_environment(UartParams)
    await check_registered(dut, ["i__payload", "i__valid"], ["i__ready", "tx"],
                           cycles=max(400, 12 * params.divider))
