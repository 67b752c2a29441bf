"""Aligned dot array: sums of products of which only some bits are kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import Decoded, check_operands, decoder
from golden.fp32 import to_fp32_codes
from spec.arithmetic import DecoderParams
from spec.dot_arrays import AlignedDotArrayParams

__all__ = ["aligned_dot_array"]

Integers = NDArray[np.int64]

# An exponent below all others: of what is zero.
_NONE = np.int64(-1 << 20)


def aligned_dot_array(weights: NDArray[Any], activations: NDArray[Any],
                      params: AlignedDotArrayParams) -> NDArray[np.uint32]:
    """Multiply and sum the codes of one group, beat after beat, in ``params.bits`` bits.

    Per beat of ``lanes`` products: ``E`` is the largest exponent among the products that are not
    zero and the sum so far. The exponent of a product is the sum of its operands' exponents, each
    that of its field (of subnormals, the smallest). Every term, the sum among them, is cut towards
    zero to a multiple of ``2**(E - (bits - 1))``; the exact sum of these is cut towards zero to
    ``bits`` significant bits. With 14 bits, and 32 products a beat, this is how public emulators
    have the FP8 tensor cores of Hopper.

    :Shapes: ``weights``, ``activations``: ``[..., n]``, broadcast against each other, with
        ``1 <= n <= lanes * group_beats``; results ``[...]``.
    :Formats: codes of ``params.weights`` and ``params.activations``; FP32 codes of the last sum,
        rounded to nearest even where ``bits`` is more than 24, and where it is subnormal. A sum
        of zero is +0, one past the range an infinity. NaN operands,
        infinity times zero, and infinities of both signs give 0x7FC00000; else an infinite product
        gives its infinity.
    """
    check_operands("aligned_dot_array", weights, activations, params)
    w = decoder(weights, DecoderParams(format=params.weights, lanes=params.lanes))
    x = decoder(activations, DecoderParams(format=params.activations, lanes=params.lanes))
    shape = np.broadcast_shapes(weights.shape, activations.shape)[:-1]
    total, exponent = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for start in range(0, weights.shape[-1], params.lanes):
        part = slice(start, start + params.lanes)
        total, exponent = _beat(total, exponent, _part(w, part), _part(x, part), params)
    values = np.ldexp(total.astype(np.float64), exponent + params.unit_exponent)
    with np.errstate(over="ignore", under="ignore"):
        result = values.astype(np.float32)
    infinite = w.infinite | x.infinite
    zero = (w.significand == 0) | (x.significand == 0)
    negative = w.sign ^ x.sign
    plus, minus = (np.any(infinite & side, axis=-1) for side in (~negative, negative))
    nan = np.any(w.nan | x.nan | infinite & zero, axis=-1) | plus & minus
    result = np.where(plus, np.float32(np.inf), result)
    result = np.where(minus, np.float32(-np.inf), result)
    return to_fp32_codes(np.where(nan, np.float32(np.nan), result))


def _part(decoded: Decoded, part: slice) -> Decoded:
    return Decoded(decoded.sign[..., part], decoded.significand[..., part],
                   decoded.shift[..., part], decoded.nan[..., part], decoded.infinite[..., part])


def _bit_length(values: Integers) -> Integers:
    """Of integers from 0 to ``2**53``: float64 holds them exactly."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _shifted(values: Integers, left: Integers) -> Integers:
    """``values * 2**left``, cut to integers; ``values`` are not negative."""
    up, down = np.clip(left, 0, 62), np.clip(-left, 0, 62)
    return (values << up) >> down


def _beat(total: Integers, exponent: Integers, w: Decoded, x: Decoded,
          params: AlignedDotArrayParams) -> tuple[Integers, Integers]:
    """The sum ``total * 2**exponent`` (in units of ``2**unit_exponent``) with one beat more."""
    below = params.bits - 1
    special = w.nan | x.nan | w.infinite | x.infinite
    magnitude = np.where(special, 0, w.significand * x.significand)
    place = w.shift + x.shift
    own = np.where(total != 0, _bit_length(np.abs(total)) - 1 + exponent, _NONE)
    largest = np.maximum(np.where(magnitude != 0, place, _NONE).max(axis=-1), own)
    largest = np.where(largest == _NONE, 0, largest)
    last = largest - below
    terms = _shifted(magnitude, place - params.fraction_bits - last[..., None])
    result = np.where(w.sign ^ x.sign, -terms, terms).sum(axis=-1)
    result += np.sign(total) * _shifted(np.abs(total), exponent - last)
    excess = np.maximum(_bit_length(np.abs(result)) - params.bits, 0)
    return np.sign(result) * (np.abs(result) >> excess), last + excess
