"""Cocotb side of a simulated trial design: clock and reset; the host is at the pseudo-terminal."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from tb.bench import PERIOD_NS

__all__ = ["serve"]


@cocotb.test()
async def serve(dut):
    """Run until the host has finished."""
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.finished)
