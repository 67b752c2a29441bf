"""Bench of :class:`hdl.column.Column`: whole rows through all units of a column."""

import cocotb
import numpy as np

from golden.column import column
from spec.arithmetic import ColumnParams
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment, word
from tb.dot_array import pack_group
from tb.operands import random_codes, scale_codes
from tb.packing import decoded_bits, fields

__all__ = ["latency", "strips"]


def _strip(rng, params, board):
    """One strip: payloads in the order of the memory layout, and which of them end a row."""
    span, together = params.span, params.groups_per_beat
    k = int(rng.integers(1, 3 * params.dot_array.group_beats * params.lanes + 1))
    of_sum = params.dot_array.group_beats if params.interleaved else 1
    of_group = of_sum * params.sums_per_group
    groups = -(-k // (span * of_group // together))
    weights = random_codes(rng, params.weight_format, (params.rows, k), special=0.05)
    activations = random_codes(rng, params.activation_format, (k,), special=0.02)
    weight_scales = scale_codes(rng, params.scale_format, (params.rows, groups), wild=0.1)
    activation_scales = scale_codes(rng, params.scale_format, (groups,), wild=0.05)
    totals = column(weights, weight_scales, activations, activation_scales, params)
    scale_bits = params.scale_combiner.format.bits
    slot_bits = params.row_accumulator.slot_bits
    # A beat of the dot array is the pair of operands, below the flags `first` and `last`.
    pair_bits = params.lanes * (decoded_bits(params.weight_format)
                                + decoded_bits(params.activation_format))
    # Scales of whole beats, those of one beat side by side.
    spans = -(-k // span)
    weight_words = np.zeros((params.rows, groups + together), weight_scales.dtype)
    weight_words[:, :groups] = weight_scales
    activation_words = np.zeros(groups + together, activation_scales.dtype)
    activation_words[:groups] = activation_scales

    payloads, ends = [], []
    for part in range(spans):
        place = slice(part * span, min(k, (part + 1) * span))
        scales = slice(part // of_group * together, (part // of_group + 1) * together)
        for row in range(params.rows):
            beats = pack_group(weights[row, place], activations[place], params)
            for index, beat in enumerate(beats):
                payloads.append(fields(
                    (beat, pair_bits),
                    (word(weight_words[row, scales], scale_bits), together * scale_bits),
                    (word(activation_words[scales], scale_bits), together * scale_bits),
                    # Where rows take turns, a span is one beat.
                    ((beat >> pair_bits & 1) & (part % of_sum == 0), 1),
                    ((beat >> pair_bits + 1)
                     & (part % of_sum == of_sum - 1 or part == spans - 1), 1),
                    (row, slot_bits), (part < of_sum, 1), (part == spans - 1, 1)))
                ends.append(part == spans - 1 and index == len(beats) - 1)
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
