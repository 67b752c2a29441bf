"""Bench of :class:`hdl.column.Column`: whole rows through all units of a column."""

import cocotb
import numpy as np

from golden.column import column
from golden.scales import block_scales
from spec.column import ColumnParams
from spec.formats import E4M3, FP32
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment, word
from tb.dot_array import pack_group, pair_bits
from tb.operands import random_codes, scale_codes
from tb.packing import fields
from tb.subword_dot_array import SubwordBeat, subword_beats

__all__ = ["latency", "strips"]


def _strip(rng, column_params, board):
    """One strip: payloads in the order of the memory layout, and which of them end a row; of
    several pairs of formats, of one of them."""
    narrow = bool(rng.integers(len(column_params.formats)))
    params = column_params.formats[narrow]
    span, together = params.span, params.groups_per_beat
    scaled_blocks = params.block_scale_bits > 0
    # A row has several groups, or is one.
    longest = (1 if scaled_blocks else 3) * params.dot_array.group_beats * params.lanes
    k = int(rng.integers(1, longest + 1))
    of_sum = params.dot_array.group_beats if params.interleaved else 1
    of_group = of_sum * params.sums_per_group
    groups = -(-k // (params.dot_array.block if scaled_blocks else span * of_group // together))
    weights = random_codes(rng, params.weight_format, (params.rows, k), special=0.05)
    activations = random_codes(rng, params.activation_format, (k,), special=0.02)
    if scaled_blocks:
        weight_scales = _block_scales(rng, params, (params.rows, groups))
        activation_scales = _block_scales(rng, params, (groups,))
    else:
        weight_scales = scale_codes(rng, params.scale_format, (params.rows, groups), wild=0.1)
        activation_scales = scale_codes(rng, params.scale_format, (groups,), wild=0.05)
    totals = column(weights, weight_scales, activations, activation_scales, params)
    slot_bits = params.row_accumulator.slot_bits
    spans = -(-k // span)

    payloads, ends = [], []
    for part in range(spans):
        place = slice(part * span, min(k, (part + 1) * span))
        for row in range(params.rows):
            beats = _beats(weights[row, place], activations[place], narrow, column_params)
            for index, beat in enumerate(beats):
                payloads.append(fields(
                    *beat.pairs,
                    *(_block_fields(weight_scales[row], activation_scales, params, index)
                      if scaled_blocks else
                      _scale_fields(rng, weight_scales[row], activation_scales, params,
                                    part // of_group, column_params.groups_per_beat)),
                    *beat.odd,
                    # Where rows take turns, a span is one beat.
                    (beat.first & (part % of_sum == 0), 1),
                    (beat.last & (part % of_sum == of_sum - 1 or part == spans - 1), 1),
                    (row, slot_bits), (part < of_sum, 1), (part == spans - 1, 1)))
                ends.append(part == spans - 1 and index == len(beats) - 1)
    for row, total in enumerate(totals.tolist()):
        board.expect(total, f"row {row}, k {k}, weights {weights[row].tolist()}")
    return payloads, ends


def _block_scales(rng, params, shape):
    """Scales of blocks and of tensors."""
    tensors = scale_codes(rng, params.scale_format, shape[:-1]).view(np.float32)
    return block_scales(scale_codes(rng, "e4m3", shape, wild=0.01), tensors)


def _beats(weights, activations, narrow, params):
    """The beats of one span of a row."""
    if params.several:
        return subword_beats(weights, activations, narrow, params.dot_array)
    # A beat of the dot array is the pair of operands, below the flags `first` and `last`.
    pairs = pair_bits(params)
    return [SubwordBeat(((beat, pairs),), (), beat >> pairs & 1, beat >> pairs + 1)
            for beat in pack_group(weights, activations, params)]


def _scale_fields(rng, weight_scales, activation_scales, params, beat, places):
    """Scales of the groups of a beat, those of each side side by side; of none, zero. Those of
    ``places`` that the beat has no group for are anything."""
    together, bits = params.groups_per_beat, params.scale_combiner.format.bits
    place = slice(beat * together, (beat + 1) * together)
    rest = [[int(code) for code in scale_codes(rng, params.scale_format, (places - together,),
                                               wild=0.5)] for _ in range(2)]
    return [(word([*side[place].tolist(), *[0] * (together - len(side[place])), *more], bits),
             places * bits)
            for side, more in zip((weight_scales, activation_scales), rest, strict=True)]


def _block_fields(weight_scales, activation_scales, params, beat):
    """Scales of both tensors, and those of the blocks of a beat."""
    sides = weight_scales, activation_scales
    place = slice(beat * params.dot_array.blocks, (beat + 1) * params.dot_array.blocks)
    return [*((int(side["tensor"][:1].view(np.uint32)[0]), FP32.bits) for side in sides),
            *((word(side["block"][place], E4M3.bits), params.block_scale_bits)
              for side in sides)]


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
