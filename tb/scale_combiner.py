"""Bench of :class:`hdl.scale_combiner.ScaleCombiner`."""

import cocotb
import numpy as np

from golden.scale_combiner import scale_combiner
from spec.arithmetic import ScaleCombinerParams
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.operands import fp32_pairs

__all__ = ["latency", "pairs"]


def _items(params):
    rng = np.random.default_rng(bench_seed())
    if params.scale_format == "fp32":
        pairs = fp32_pairs(rng, 500)
    else:
        edges = np.array([0, 1, 2, 126, 127, 128, 253, 254, 255], np.uint8)
        pairs = np.concatenate([
            np.stack(np.meshgrid(edges, edges), axis=-1).reshape(-1, 2),
            rng.integers(0, 256, (1500, 2), dtype=np.uint8)])
    expected = scale_combiner(pairs[:, 0], pairs[:, 1], params)
    return [(activation | weight << params.format.bits, code,
             f"activation {activation:#x} weight {weight:#x}")
            for (activation, weight), code in zip(pairs.tolist(), expected.tolist(), strict=True)]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def pairs(dut, idle):
    """All pairs of edges, and random pairs."""
    await run_flow(dut, _items(params_from_environment(ScaleCombinerParams)), idle=idle)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One pair per cycle, latency as promised."""
    params = params_from_environment(ScaleCombinerParams)
    await run_flow(dut, _items(params)[:200], latency=params.LATENCY)
