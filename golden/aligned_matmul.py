"""Aligned sums of many rows and vectors at once: what the aligned dot array gives, in floats.

Every step is exact in floating point: products of codes, powers of two, cuts to integers, and sums
of integers that stay below ``2**24`` (float32, up to 17 bits kept, of codes of 8 bits at most) or
``2**53``.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import code_dtype, decode, decoder, special_codes
from spec.arithmetic import DecoderParams
from spec.dot_arrays import AlignedDotArrayParams
from spec.formats import NumberFormat

__all__ = ["AlignedOperand", "aligned_matmul", "aligned_operand"]

Floats = NDArray[np.float32]

# Far below any exponent, also when two are added: of what is zero.
_NONE = -4096

# Products that are worked on at once: what stays in a core's cache.
_PRODUCTS = 1 << 15


@dataclass(frozen=True)
class AlignedOperand:
    """Codes ``[n, rows]``, so that all rows are worked on side by side: their values (special codes
    as zero) and exponents, and the codes where there are special ones."""

    values: NDArray[Any]
    exponents: NDArray[np.int16]
    codes: NDArray[Any] | None


@cache
def _tables(fmt: NumberFormat, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int16]]:
    codes = np.arange(1 << fmt.bits, dtype=np.uint32).astype(code_dtype(fmt))
    values = np.where(special_codes(fmt), 0.0, decode(codes, fmt)).astype(dtype)
    shifts = decoder(codes, DecoderParams(format=fmt.name, lanes=1)).shift
    lowest = fmt.smallest_exponent + fmt.significand_bits - 1
    return values, np.where(values == 0, _NONE, shifts + lowest).astype(np.int16)


def _dtype(params: AlignedDotArrayParams) -> np.dtype[Any]:
    bits = max(params.weight_format.bits, params.activation_format.bits)
    return np.dtype(np.float32 if bits <= 8 and params.total_bits <= 24 else np.float64)


def aligned_operand(codes: NDArray[Any], fmt: NumberFormat,
                    params: AlignedDotArrayParams) -> AlignedOperand:
    """Look up ``codes`` [rows, n] once for any number of products."""
    values, exponents = _tables(fmt, _dtype(params))
    special = bool(np.take(special_codes(fmt), codes).any())
    lines = np.ascontiguousarray(codes.T)
    return AlignedOperand(np.take(values, lines), np.take(exponents, lines),
                          lines if special else None)


def aligned_matmul(weights: AlignedOperand, activations: AlignedOperand,
                   params: AlignedDotArrayParams) -> Floats:
    """Return the sums ``[M, C]`` of ``weights`` [M, n] and ``activations`` [C, n] as float32.

    The same as :func:`golden.aligned_dot_array.aligned_dot_array`, except that a zero may have
    either sign.
    """
    n, rows = weights.values.shape
    step = max(1, _PRODUCTS // params.lanes)
    result = np.empty((rows, activations.values.shape[1]), np.float32)
    for first in range(0, rows, step):
        block = slice(first, first + step)
        parts = [slice(start, start + params.lanes) for start in range(0, n, params.lanes)]
        values = [np.ascontiguousarray(weights.values[part, block]) for part in parts]
        exponents = [np.ascontiguousarray(weights.exponents[part, block]) for part in parts]
        for column in range(activations.values.shape[1]):
            total = np.zeros(values[0].shape[1], values[0].dtype)
            for part, value, exponent in zip(parts, values, exponents, strict=True):
                total = _beat(total, value, activations.values[part, column, None], exponent,
                              activations.exponents[part, column, None], params.bits)
            result[block, column] = total
    return result + _special(weights, activations, params)


def _beat(total: NDArray[Any], w: NDArray[Any], x: NDArray[Any], w_exponents: NDArray[np.int16],
          x_exponents: NDArray[np.int16], bits: int) -> NDArray[Any]:
    """``total`` [rows] with one beat more, of operands [lanes, rows] and [lanes, 1]."""
    own = np.where(total != 0, np.frexp(total)[1] - 1, _NONE)
    largest = np.maximum((w_exponents + x_exponents).max(axis=0), own)
    last = np.where(largest < _NONE // 2, 0, largest) - (bits - 1)
    # In units of the last place that is kept; both factors are powers of two.
    up, down = _power(-last, total.dtype), _power(last, total.dtype)
    terms = w * x
    terms *= up
    np.trunc(terms, out=terms)
    result = terms.sum(axis=0) + np.trunc(total * up)
    # Cut to `bits` significant bits; the sum is a whole number, and exact.
    excess = np.maximum(np.frexp(result)[1] - bits, 0)
    cut: NDArray[Any] = np.trunc(result * _power(-excess, total.dtype))
    cut *= down * _power(excess, total.dtype)
    return cut


def _power(exponents: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``2**exponents`` out of its bits; all are far within the range of ``dtype``."""
    if dtype == np.float32:
        return ((exponents.astype(np.int32) + 127) << 23).view(np.float32)
    return ((exponents.astype(np.int64) + 1023) << 52).view(np.float64)


def _special(weights: AlignedOperand, activations: AlignedOperand,
             params: AlignedDotArrayParams) -> Floats:
    """What special codes add to each sum: infinity, NaN, or 0."""
    if weights.codes is None and activations.codes is None:
        return np.zeros((1, 1), np.float32)
    sides = []
    for side, fmt in ((weights, params.weight_format), (activations, params.activation_format)):
        values = side.values if side.codes is None else decode(side.codes, fmt)
        sides.append(np.where(np.isfinite(values), np.sign(values), values).astype(np.float32))
    w, x = sides
    added = np.zeros((w.shape[1], x.shape[1]), np.float32)
    odd = ~(np.isfinite(w).all(axis=1) & np.isfinite(x).all(axis=1))
    with np.errstate(invalid="ignore"):
        for index in np.flatnonzero(odd):
            products = w[index, :, None] * x[index]
            added += np.where(np.isfinite(products), np.float32(0), products)
    return added
