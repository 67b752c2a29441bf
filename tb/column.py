"""Bench of :class:`hdl.column.Column`: whole rows through all units of a column."""

import cocotb
import numpy as np

from golden.column import column
from spec.arithmetic import ColumnParams
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment
from tb.dot_array import pack_group
from tb.operands import random_codes, scale_codes
from tb.packing import decoded_bits, fields

__all__ = ["latency", "strips"]


def _strip(rng, params, board):
    """One strip: payloads in the order of the memory layout, and which of them end a row."""
    dot = params.dot_array
    group_size = dot.lanes * dot.group_beats
    k = int(rng.integers(1, 3 * group_size + 1))
    groups = -(-k // group_size)
    weights = random_codes(rng, dot.weight_format, (params.rows, k), special=0.05)
    activations = random_codes(rng, dot.activation_format, (k,), special=0.02)
    weight_scales = scale_codes(rng, params.scale_format, (params.rows, groups), wild=0.1)
    activation_scales = scale_codes(rng, params.scale_format, (groups,), wild=0.05)
    totals = column(weights, weight_scales, activations, activation_scales, params)
    scale_bits = params.scale_combiner.format.bits
    slot_bits = params.row_accumulator.slot_bits
    # A beat of the dot array is the pair of operands, below the flags `first` and `last`.
    pair_bits = dot.lanes * (decoded_bits(dot.weight_format) + decoded_bits(dot.activation_format))

    payloads, ends = [], []
    for group in range(groups):
        place = slice(group * group_size, min(k, (group + 1) * group_size))
        for row in range(params.rows):
            beats = pack_group(weights[row, place], activations[place], dot)
            for index, beat in enumerate(beats):
                payloads.append(fields(
                    (beat, pair_bits),
                    (weight_scales[row, group], scale_bits),
                    (activation_scales[group], scale_bits),
                    (beat >> pair_bits, 2),
                    (row, slot_bits), (group == 0, 1), (group == groups - 1, 1)))
                ends.append(group == groups - 1 and index == len(beats) - 1)
    for row, total in enumerate(totals.tolist()):
        board.expect(total, f"row {row}, k {k}, weights {weights[row].tolist()}")
    return payloads, ends


async def _run(dut, idle):
    params = params_from_environment(ColumnParams)
    # Short strips are more, so that their rows meet as many special scales and codes.
    strips = max(40, 160 // params.rows)
    rng = np.random.default_rng(bench_seed())
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("o")
    sink = bench.sink(board)
    ends = []
    for _ in range(strips):
        payloads, strip_ends = _strip(rng, params, board)
        for payload in payloads:
            source.send(payload)
        ends += strip_ends
    await bench.start()
    await bench.drain(at_least=strips * params.rows)
    taken = [cycle for cycle, end in zip(source.taken, ends, strict=True) if end]
    assert {came - took for took, came in zip(taken, sink.came, strict=True)} == {params.LATENCY}
    return source


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def strips(dut):
    """Strips of rows of any length, with gaps; latency as promised."""
    await _run(dut, 0.3)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """Strips without a gap: groups of one row as close as the layout ever puts them."""
    source = await _run(dut, 0.0)
    assert source.taken == list(range(source.taken[0], source.taken[0] + len(source.taken)))
