"""Bench of :class:`hdl.aligned_dot_array.AlignedDotArray`."""

import cocotb
import numpy as np

from golden.aligned_dot_array import aligned_dot_array
from spec.dot_arrays import AlignedDotArrayParams
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.interleaved_sums import cancelling_strips, full_strips, random_strips, strip_items

__all__ = ["cancellation", "latency", "random_groups"]


def _start():
    return params_from_environment(AlignedDotArrayParams), np.random.default_rng(bench_seed())


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def random_groups(dut, idle):
    """Random codes in groups of every length, some with NaN and infinity, with gaps."""
    params, rng = _start()
    items = strip_items(random_strips(rng, params), params, aligned_dot_array)
    await run_flow(dut, items, idle=idle)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def cancellation(dut):
    """Largest sums of both signs, and sums of which only what was lost would be left."""
    params, _ = _start()
    await run_flow(dut, strip_items(cancelling_strips(params), params, aligned_dot_array))


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised from the last beat."""
    params, rng = _start()
    items = strip_items(full_strips(rng, params), params, aligned_dot_array)
    await run_flow(dut, items, latency=params.LATENCY)
