"""Bench of :class:`hdl.group_scaler.GroupScaler`, against the golden model and the exact oracle."""

import cocotb
import numpy as np

from golden.group_scaler import group_scaler
from spec.arithmetic import GroupScalerParams
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.operands import FP32_EDGES, fp32_pairs
from tb.oracle import scale_group

__all__ = ["latency", "products", "subnormal_results"]

EXPONENT = 0x7F800000


def _items(sums, scales, params):
    if params.scale_format == "e8m0":
        # An exact sum of FP8 products is never subnormal: the unit promises nothing for those.
        subnormal = ((sums & EXPONENT) == 0) & ((sums & 0x7FFFFFFF) != 0)
        sums = np.where(subnormal, sums | 0x00800000, sums)
    expected = group_scaler(sums, scales, params)
    items = []
    for total, scale, code in zip(sums.tolist(), scales.tolist(), expected.tolist(), strict=True):
        combined = scale
        if params.scale_format == "e8m0":
            combined = None if scale >> 9 else (scale & 0x1FF) - 254
        assert scale_group(total, combined, params.scale_format) == code, (
            f"golden and oracle differ on {total:#010x}, {scale:#x}")
        items.append((total | scale << 32, code, f"sum {total:#010x} scale {scale:#x}"))
    return items


def _random(params, count):
    rng = np.random.default_rng(bench_seed())
    if params.scale_format == "fp32":
        pairs = fp32_pairs(rng, count)
        return _items(pairs[:, 0], pairs[:, 1], params)
    sums = rng.integers(0, 1 << 32, 4 * count, dtype=np.uint32)
    sums[:len(FP32_EDGES)] = FP32_EDGES
    scales = rng.integers(0, 511, 4 * count, dtype=np.uint32)
    scales |= (rng.random(4 * count) < 0.05).astype(np.uint32) << 9
    return _items(sums, scales, params)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def products(dut, idle):
    """Random sums and scales, overflow, underflow and special values among them."""
    await run_flow(dut, _random(params_from_environment(GroupScalerParams), 500), idle=idle)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def subnormal_results(dut):
    """Results from just above the smallest normal number down to nothing, ties included."""
    params = params_from_environment(GroupScalerParams)
    sums, scales = [], []
    for mantissa in (0, 1, 0x3FFFFF, 0x400000, 0x400001, 0x5FFFFF, 0x600000, 0x7FFFFF):
        for exponent in (1, 60, 127):
            for result in range(-26, 3):
                # The result's biased exponent, before it is pulled up to a subnormal.
                wanted = result - exponent
                sums.append(mantissa | exponent << 23 | (mantissa & 1) << 31)
                if params.scale_format == "e8m0":
                    scales.append(max(0, wanted + 254))
                else:
                    scales.append(max(1, wanted + 127) << 23 if wanted + 127 > 0
                                  else 0x00800000 >> (1 - wanted - 127))
    await run_flow(dut, _items(np.array(sums, np.uint32), np.array(scales, np.uint32), params))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One product per cycle, latency as promised."""
    params = params_from_environment(GroupScalerParams)
    await run_flow(dut, _random(params, 100)[:200], latency=params.LATENCY)
