"""Bench of :class:`hdl.fp32_rounder.Fp32Rounder`, against the golden model and the exact oracle."""

from fractions import Fraction

import cocotb
import numpy as np

from golden.dot_array import GroupSum
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import Fp32RounderParams
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.oracle import round_to_fp32
from tb.packing import fields

__all__ = ["latency", "sums", "ties"]


def _items(values, flags, params):
    array = np.array(values, dtype=np.int64 if params.sum_bits <= 64 else object)
    columns = [np.array(column, bool) for column in zip(*flags, strict=True)]
    rounded = fp32_rounder(GroupSum(array, *columns), params)
    items = []
    for value, flag, expected in zip(values, flags, rounded.tolist(), strict=True):
        if not any(flag):
            exact = round_to_fp32(Fraction(value) * Fraction(2) ** params.lsb_exponent)
            assert exact == expected, f"golden and oracle differ on {value}"
        payload = fields((value, params.sum_bits), *((bit, 1) for bit in flag))
        items.append((payload, expected, f"value {value} flags {flag}"))
    return items


def _random(params, count):
    rng = np.random.default_rng(bench_seed())
    values = []
    for _ in range(count):
        bits = int(rng.integers(1, params.sum_bits))
        value = int.from_bytes(rng.bytes(17), "little") & ((1 << bits) - 1)
        values.append(value if rng.random() < 0.5 else -value)
    flags = [(0, 0, 0)] * count
    for place in rng.integers(0, count, count // 10):
        flags[place] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))[int(rng.integers(3))]
    return _items(values, flags, params)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def sums(dut, idle):
    """Random sums of every magnitude, some with flags."""
    await run_flow(dut, _random(params_from_environment(Fp32RounderParams), 1500), idle=idle)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def ties(dut):
    """Every power of two, its neighbours, and every tie with its neighbours, of both signs."""
    params = params_from_environment(Fp32RounderParams)
    top = 1 << (params.sum_bits - 1)
    values = {0, -top, top - 1, 1 - top}
    for place in range(params.sum_bits - 1):
        one = 1 << place
        half = one >> 24
        for mantissa in (0, 1, 2, 3, (1 << 23) - 1):
            tie = one + mantissa * 2 * half + half
            values |= {one - 1, one, one + 1, tie - 1, tie, tie + 1}
    legal = [value for value in sorted(values) if -top <= value < top]
    legal += [-value for value in legal if -value < top]
    await run_flow(dut, _items(legal, [(0, 0, 0)] * len(legal), params))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One sum per cycle, latency as promised."""
    params = params_from_environment(Fp32RounderParams)
    await run_flow(dut, _random(params, 100), latency=params.LATENCY)
