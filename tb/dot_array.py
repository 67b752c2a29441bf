"""Bench of :class:`hdl.dot_array.DotArray`."""

import cocotb
import numpy as np

from golden.dot_array import dot_array
from spec.column import ColumnParams
from spec.dot_arrays import DotArrayParams, ProductsParams
from spec.formats import IntegerFormat
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.operands import cancelling_group, negated, random_codes
from tb.packing import decoded_bits, fields, pack_decoded

__all__ = ["extremes", "latency", "pack_group", "pair_bits", "random_groups"]


def pair_bits(params: ProductsParams | ColumnParams) -> int:
    """Width of the decoded pairs of one beat, which stand below all else."""
    return params.lanes * sum(map(decoded_bits, (params.weight_format, params.activation_format)))


def pack_group(weights: np.ndarray, activations: np.ndarray,
               params: ProductsParams | ColumnParams) -> list[int]:
    """The payloads of one group's beats, padded with zero codes to whole beats."""
    beats = -(-len(weights) // params.lanes)
    padding = (0, beats * params.lanes - len(weights))
    sides = [pack_decoded(np.pad(codes, padding).reshape(beats, params.lanes), fmt)
             for codes, fmt in ((weights, params.weight_format),
                                (activations, params.activation_format))]
    widths = [params.lanes * decoded_bits(fmt)
              for fmt in (params.weight_format, params.activation_format)]
    return [fields((w, widths[0]), (x, widths[1]), (beat == 0, 1), (beat == beats - 1, 1))
            for beat, (w, x) in enumerate(zip(*sides, strict=True))]


def _items(groups, params):
    """Payloads with the packed sum behind the last beat; a flagged value is compared as zero."""
    items = []
    for weights, activations in groups:
        total = dot_array(weights, activations, params)
        flags = [int(flag) for flag in total[1:]]
        expected = (0 if any(flags) else int(total.value), *flags)
        payloads = pack_group(weights, activations, params)
        about = f"weights {weights.tolist()} activations {activations.tolist()}"
        items += [(payload, None, None) for payload in payloads[:-1]]
        items.append((payloads[-1], _packed(expected, params), about))
    return items


def _packed(expected, params):
    value, nan, plus, minus = expected
    return fields((value, params.sum_bits), (nan, 1), (plus, 1), (minus, 1))


async def _run(dut, groups, params, **options):
    def seen(payload):
        # A flag makes the value meaningless, and NaN the infinities.
        value = payload & ((1 << params.sum_bits) - 1)
        nan, plus, minus = (payload >> (params.sum_bits + place) & 1 for place in range(3))
        plus, minus = plus & ~nan, minus & ~nan
        return _packed((0 if nan or plus or minus else value, nan, plus, minus), params)

    await run_flow(dut, _items(groups, params), seen=seen, **options)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def random_groups(dut, idle):
    """Random codes in groups of every length, some with NaN and infinity."""
    params = params_from_environment(DotArrayParams)
    rng = np.random.default_rng(bench_seed())
    longest = params.lanes * params.group_beats
    groups = []
    for _ in range(300):
        shape = (int(rng.integers(1, longest + 1)),)
        groups.append((random_codes(rng, params.weight_format, shape, special=0.15),
                       random_codes(rng, params.activation_format, shape, special=0.15)))
    await _run(dut, groups, params, idle=idle)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def extremes(dut):
    """Largest sums of both signs, every lane alone, and cancellation down to the last bit."""
    params = params_from_environment(DotArrayParams)
    longest = params.lanes * params.group_beats
    largest = [fmt.largest_code for fmt in (params.weight_format, params.activation_format)]
    negative = negated(largest[0], params.weight_format)
    groups = []
    for code in (largest[0], negative):
        groups.append((np.full(longest, code, np.uint8), np.full(longest, largest[1], np.uint8)))
    # Of integers, the lowest value has the largest magnitude.
    lowest = [fmt.sign_mask if isinstance(fmt, IntegerFormat) else negated(fmt.largest_code, fmt)
              for fmt in (params.weight_format, params.activation_format)]
    groups.append(tuple(np.full(longest, code, np.uint8) for code in lowest))
    groups.append((np.full(longest, lowest[0], np.uint8), np.full(longest, largest[1], np.uint8)))
    for lane in range(longest):
        groups.append(cancelling_group(params.weights, params.activations, longest, lane))
        for fill in (1, negative):
            weights = np.zeros(longest, np.uint8)
            weights[lane] = fill
            groups.append((weights, np.full(longest, largest[1], np.uint8)))
    await _run(dut, groups, params)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised from the last beat."""
    params = params_from_environment(DotArrayParams)
    rng = np.random.default_rng(bench_seed())
    groups = []
    for beats in range(1, params.group_beats + 1):
        shape = (beats * params.lanes,)
        groups.append((random_codes(rng, params.weight_format, shape),
                       random_codes(rng, params.activation_format, shape)))
    await _run(dut, groups, params, latency=params.LATENCY)
