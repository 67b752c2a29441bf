"""Bench of :class:`hdl.subword_dot_array.SubwordDotArray`."""

from typing import NamedTuple

import cocotb
import numpy as np

from golden.subword_decoder import subword_decoder
from golden.subword_dot_array import subword_dot_array
from spec.arithmetic import SubwordDecoderParams
from spec.dot_arrays import DotArrayParams, SubwordDotArrayParams
from tb.bench import bench_seed, params_from_environment, run_flow
from tb.operands import cancelling_group, negated, random_codes
from tb.packing import decoded_bits, decoded_words, fields, unpack_signed

__all__ = ["SubwordBeat", "extremes", "latency", "random_groups", "subword_beats"]


class SubwordBeat(NamedTuple):
    """One beat: values and widths of ``pairs``, weights and activations, and of ``odd``, whether
    the beat is narrow and its odd operands; whether it is the first and the last of its group."""

    pairs: tuple[tuple[int, int], ...]
    odd: tuple[tuple[int, int], ...]
    first: bool
    last: bool


def subword_beats(weights: np.ndarray, activations: np.ndarray, narrow: bool,
                  params: SubwordDotArrayParams) -> list[SubwordBeat]:
    """The beats of one group, or of a narrow beat of two, padded with code 0."""
    lanes = params.lanes * (2 if narrow else 1)
    beats = -(-len(weights) // lanes)
    sides: list[list[tuple[int, int]]] = []
    odds: list[list[tuple[int, int]]] = []
    for name in ("weights", "activations"):
        codes = np.pad(weights if name == "weights" else activations,
                       (0, beats * lanes - len(weights))).reshape(beats, lanes)
        formats = {"wide": getattr(params, name), "narrow": getattr(params.narrow, name)}
        parts = subword_decoder(codes, narrow, SubwordDecoderParams(lanes=params.lanes, **formats))
        kept = f"{name[:-1]}_format"
        for found, part, one in zip((sides, odds), parts, (params, params.narrow), strict=True):
            fmt = getattr(one, kept)
            found.append([(word, params.lanes * decoded_bits(fmt))
                          for word in decoded_words(part, fmt)])
    return [SubwordBeat(tuple(side[beat] for side in sides),
                        ((int(narrow), 1), *(odd[beat] for odd in odds)),
                        beat == 0, beat == beats - 1) for beat in range(beats)]


def _items(groups, params):
    """Payloads with the packed sums behind the last beat; a flagged value is compared as zero."""
    items = []
    for narrow, weights, activations in groups:
        total = subword_dot_array(weights, activations, narrow, params)
        flags = [int(flag) for flag in total.first[1:]]
        expected = _packed((0 if any(flags) else int(total.first.value), *flags,
                            int(total.second)), params)
        about = (f"narrow {narrow} weights {weights.tolist()} activations {activations.tolist()}")
        for beat in subword_beats(weights, activations, narrow, params):
            payload = fields(*beat.pairs, (beat.first, 1), (beat.last, 1), *beat.odd)
            items.append((payload, expected if beat.last else None, about))
    return items


def _packed(expected, params):
    value, nan, plus, minus, second = expected
    widths = (params.sum_bits, 1, 1, 1, params.narrow.sum_bits if params.narrow_groups > 1 else 0)
    return fields(*zip((value, nan, plus, minus, second), widths, strict=True))


async def _run(dut, groups, params, **options):
    def seen(payload):
        # A flag makes the value meaningless, and NaN the infinities.
        value = payload & ((1 << params.sum_bits) - 1)
        nan, plus, minus = (payload >> (params.sum_bits + place) & 1 for place in range(3))
        plus, minus = plus & ~nan, minus & ~nan
        second = unpack_signed(payload >> params.sum_bits + 3, params.narrow.sum_bits)
        return _packed((0 if nan or plus or minus else value, nan, plus, minus, second), params)

    await run_flow(dut, _items(groups, params), seen=seen, **options)


def _length(params, narrow):
    """Most elements of one group of wide formats, or of all of a narrow beat or group."""
    if not narrow:
        return params.lanes * params.group_beats
    return params.narrow.lanes * params.narrow.group_beats * params.narrow_groups


def _of(params, narrow) -> DotArrayParams:
    return params.narrow if narrow else params


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def random_groups(dut, idle):
    """Random codes of both kinds in any order, in groups of every length, some with NaN and
    infinity."""
    params = params_from_environment(SubwordDotArrayParams)
    rng = np.random.default_rng(bench_seed())
    groups = []
    for _ in range(500):
        narrow = bool(rng.integers(2))
        one, shape = _of(params, narrow), (int(rng.integers(1, _length(params, narrow) + 1)),)
        groups.append((narrow, *(random_codes(rng, fmt, shape, special=0.15)
                                 for fmt in (one.weight_format, one.activation_format))))
    await _run(dut, groups, params, idle=idle)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def extremes(dut):
    """Largest sums of both signs, every lane alone, and cancellation down to the last bit; of
    narrow products also with odd ones that are the opposite of the even ones."""
    params = params_from_environment(SubwordDotArrayParams)
    rng = np.random.default_rng(bench_seed())
    groups = []
    for narrow in (False, True):
        one, longest = _of(params, narrow), _length(params, narrow)
        largest = [fmt.largest_code for fmt in (one.weight_format, one.activation_format)]
        signs = largest[0], negated(largest[0], one.weight_format)
        for even in signs:
            for odd in signs:
                weights = np.full(longest, even, np.uint8)
                weights[1::2] = odd
                groups.append((narrow, weights, np.full(longest, largest[1], np.uint8)))
        # Of the longest groups, some places, so that the bench stays short.
        for lane in rng.permutation(longest)[:10_000 // one.group_beats].tolist():
            groups.append((narrow, *cancelling_group(one.weights, one.activations, longest, lane)))
            for fill in (1, signs[1]):
                weights = np.zeros(longest, np.uint8)
                weights[lane] = fill
                groups.append((narrow, weights, np.full(longest, largest[1], np.uint8)))
        # Of integers, the lowest value has the largest magnitude.
        lowest = [fmt.sign_mask for fmt in (one.weight_format, one.activation_format)]
        groups.append((narrow, *(np.full(longest, code, np.uint8) for code in lowest)))
    await _run(dut, groups, params)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised from the last beat, whatever stood before."""
    params = params_from_environment(SubwordDotArrayParams)
    rng = np.random.default_rng(bench_seed())
    groups = []
    for place in range(60):
        narrow = bool(place % 2)
        one, shape = _of(params, narrow), (_length(params, narrow) if place % 3 else 1,)
        groups.append((narrow, random_codes(rng, one.weight_format, shape),
                       random_codes(rng, one.activation_format, shape)))
    await _run(dut, groups, params, latency=params.LATENCY)
