"""Bench of :class:`hdl.block_dot_array.BlockDotArray`."""

import cocotb
import numpy as np

from golden.block_dot_array import block_dot_array
from spec.dot_arrays import BlockDotArrayParams
from spec.formats import E4M3
from tb.bench import bench_seed, params_from_environment, run_flow, word
from tb.dot_array import pack_group, pair_bits
from tb.operands import cancelling_group, negated, random_codes, scale_codes
from tb.packing import fields

__all__ = ["extremes", "latency", "random_rows"]



def _items(rows, params):
    """Payloads with the packed sum behind the last beat; that of NaN is compared as zero."""
    items = []
    for weights, weight_scales, activations, activation_scales in rows:
        total = block_dot_array(weights, weight_scales, activations, activation_scales, params)
        nan = bool(total.nan)
        expected = fields((0 if nan else int(total.value), params.sum_bits), (nan, 1), (0, 2))
        payloads = pack_group(weights, activations, params)
        sides = [np.pad(scales, (0, len(payloads) * params.blocks - len(scales)))
                 .reshape(-1, params.blocks) for scales in (weight_scales, activation_scales)]
        about = " ".join(str(part.tolist()) for part in (weights, weight_scales, activations,
                                                         activation_scales))
        for beat, payload in enumerate(payloads):
            scales = [word(side[beat], E4M3.bits) for side in sides]
            bits = params.blocks * E4M3.bits
            last = beat == len(payloads) - 1
            items.append((fields((payload, pair_bits(params) + 2), (scales[0], bits),
                                 (scales[1], bits)),
                          expected if last else None, about if last else None))
    return items


async def _run(dut, rows, params, **options):
    def seen(payload):
        nan = payload >> params.sum_bits & 1
        value = payload & ((1 << params.sum_bits) - 1)
        return fields((0 if nan else value, params.sum_bits), (payload >> params.sum_bits, 3))

    await run_flow(dut, _items(rows, params), seen=seen, **options)


def _random_row(rng, params, elements):
    blocks = -(-elements // params.block)
    return [part for fmt in (params.weight_format, params.activation_format)
            for part in (random_codes(rng, fmt, (elements,)),
                         scale_codes(rng, "e4m3", (blocks,), wild=rng.choice([0.0, 0.01, 0.2])))]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def random_rows(dut, idle):
    """Random codes in rows of every length, some with NaN scales."""
    params = params_from_environment(BlockDotArrayParams)
    rng = np.random.default_rng(bench_seed())
    longest = params.lanes * min(params.group_beats, 8)
    await _run(dut, [_random_row(rng, params, int(rng.integers(1, longest + 1)))
                     for _ in range(200)], params, idle=idle)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def extremes(dut):
    """The largest sums of the longest rows, of both signs; each lane and each scale alone; and
    cancellation down to the last bit."""
    params = params_from_environment(BlockDotArrayParams)
    longest = params.lanes * params.group_beats
    largest = params.weight_format.largest_code
    rows = []
    for code in (largest, negated(largest, params.weight_format)):
        rows.append((np.full(longest, code, np.uint8), _scales(longest, params, E4M3.largest_code),
                     np.full(longest, largest, np.uint8),
                     _scales(longest, params, E4M3.largest_code)))
    beat = params.lanes
    for lane in range(beat):
        codes = cancelling_group(params.weights, params.activations, beat, lane)
        # The last bit has the smallest scales, and all others the largest.
        scales = _scales(beat, params, E4M3.largest_code)
        block = lane // params.block
        inside = [place for place in (0, 1, 2) if place // params.block == block]
        if not inside:
            scales[block] = 1
        rows.append((codes[0], scales, codes[1], scales))
    one = np.ones(params.block, np.uint8)
    for code in range(1 << E4M3.bits):
        for scales in ((code, 1), (1, code), (code, E4M3.largest_code)):
            rows.append((one, np.full(1, scales[0], np.uint8), one,
                         np.full(1, scales[1], np.uint8)))
    await _run(dut, rows, params)


def _scales(elements, params, code):
    return np.full(-(-elements // params.block), code, np.uint8)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised from the last beat."""
    params = params_from_environment(BlockDotArrayParams)
    rng = np.random.default_rng(bench_seed())
    rows = [_random_row(rng, params, beats * params.lanes)
            for beats in range(1, min(params.group_beats, 32) + 1)]
    await _run(dut, rows, params, latency=params.LATENCY)
