"""Groups of interleaved rows, for the benches of dot arrays whose rows take turns."""

from collections.abc import Callable

import numpy as np

from golden.decoder import code_dtype
from spec.dot_arrays import InterleavedParams
from tb.dot_array import pack_group, pair_bits
from tb.operands import cancelling_group, negated, random_codes
from tb.packing import fields

__all__ = ["cancelling_strips", "full_strips", "random_strips", "strip_items"]

Group = tuple[np.ndarray, np.ndarray]


def strip_items(strips: list[list[Group]], params: InterleavedParams,
                golden: Callable[..., np.ndarray]) -> list[tuple[int, int | None, str]]:
    """Payloads of strips of groups, the beats of rows in turn, with the results behind the last
    beats. A strip is ``rows`` groups of the same length."""
    pairs = pair_bits(params)
    items: list[tuple[int, int | None, str]] = []
    for groups in strips:
        beats = [pack_group(*group, params) for group in groups]
        results = [int(golden(*group, params)) for group in groups]
        for turn in range(len(beats[0])):
            last = turn == len(beats[0]) - 1
            for slot, (row, result) in enumerate(zip(beats, results, strict=True)):
                payload = fields((row[turn], pairs + 2), (slot, params.slot_bits))
                weights, activations = (codes.tolist() for codes in groups[slot])
                about = f"row {slot}, weights {weights} activations {activations}"
                items.append((payload, result if last else None, about))
    return items


def _spread(rng, fmt, shape):
    """Codes of which some are far smaller than the others, so that bits are lost."""
    codes = random_codes(rng, fmt, shape, special=0.03)
    small = rng.random(shape) < 0.5
    keep = fmt.sign_mask | max(1, fmt.sign_mask >> 4) - 1
    return np.where(small, codes & codes.dtype.type(keep), codes)


def random_strips(rng: np.random.Generator, params: InterleavedParams) -> list[list[Group]]:
    """Random codes in groups of every length, some with NaN and infinity."""
    strips = []
    for _ in range(max(10, 200 // params.rows)):
        shape = (int(rng.integers(1, params.lanes * params.group_beats + 1)),)
        strips.append([(_spread(rng, params.weight_format, shape),
                        _spread(rng, params.activation_format, shape))
                       for _ in range(params.rows)])
    return strips


def cancelling_strips(params: InterleavedParams) -> list[list[Group]]:
    """Largest sums of both signs, and sums of which only what was cut would be left."""
    longest = params.lanes * params.group_beats
    largest = [fmt.largest_code for fmt in (params.weight_format, params.activation_format)]
    negative = negated(largest[0], params.weight_format)
    types = [code_dtype(fmt) for fmt in (params.weight_format, params.activation_format)]
    groups = [(np.full(longest, code, types[0]), np.full(longest, largest[1], types[1]))
              for code in (largest[0], negative)]
    for lane in range(longest):
        groups.append(cancelling_group(params.weights, params.activations, longest, lane))
        for fill in (1, negative):
            weights = np.zeros(longest, types[0])
            weights[lane] = fill
            groups.append((weights, np.full(longest, largest[1], types[1])))
            # A large sum that leaves again, and what has come in between.
            weights = np.full(longest, fill, types[0])
            weights[0], weights[-1] = largest[0], negative
            groups.append((weights, np.full(longest, largest[1], types[1])))
    rows = params.rows
    filled = groups + groups[:-len(groups) % rows]
    return [filled[start:start + rows] for start in range(0, len(filled), rows)]


def full_strips(rng: np.random.Generator, params: InterleavedParams) -> list[list[Group]]:
    """Random codes in groups of every number of whole beats."""
    return [[(random_codes(rng, params.weight_format, (beats * params.lanes,)),
              random_codes(rng, params.activation_format, (beats * params.lanes,)))
             for _ in range(params.rows)] for beats in range(1, params.group_beats + 1)]
