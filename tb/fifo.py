"""Bench of :class:`hdl.fifo.Fifo`."""

import cocotb

from spec.units import FifoParams
from tb.bench import params_from_environment
from tb.queues import check_latency, check_order, check_room
from tb.structure import check_registered

__all__ = ["holds_as_many", "latency", "random_items", "registered"]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5, 0.9], stall=[0.0, 0.5, 0.9])
async def random_items(dut, idle, stall):
    """Random items arrive in order, whoever waits for whom."""
    params = params_from_environment(FifoParams)
    await check_order(dut, params.bits, 300 + 3 * params.depth, idle, stall)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One item per cycle, latency as promised."""
    params = params_from_environment(FifoParams)
    await check_latency(dut, params.bits, 3 * params.depth + 20, FifoParams.LATENCY)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def holds_as_many(dut):
    """As many items as it says enter while none leaves, then one leaves per cycle."""
    params = params_from_environment(FifoParams)
    await check_room(dut, params.bits, params.depth)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    params = params_from_environment(FifoParams)
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"], cycles=400 + 50 * params.depth)
