"""Bench of :class:`hdl.fp32_adder.Fp32Adder`, against the golden model and the exact oracle."""

import cocotb

from golden.fp32_adder import fp32_adder
from spec.arithmetic import Fp32AdderParams
from tb.bench import params_from_environment, run_flow
from tb.operands import fp32_pair_items
from tb.oracle import add_fp32

__all__ = ["latency", "pairs"]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.3])
async def pairs(dut, idle):
    """All pairs of edges, and random pairs of close and distant exponents."""
    await run_flow(dut, fp32_pair_items(fp32_adder, add_fp32, 1500), idle=idle)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One result per cycle, latency as promised."""
    await run_flow(dut, fp32_pair_items(fp32_adder, add_fp32, 50),
                   latency=params_from_environment(Fp32AdderParams).LATENCY)
