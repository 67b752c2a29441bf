"""Exact products of many codes at once: what dot array and FP32 rounder give, by matrices.

float64 matrix products do the work. They are exact here whatever the order of their additions,
because every product and every partial sum is an integer below ``2**53`` in units of the least
significant bit of a product. E4M3 magnitudes are integers of 18 bits in units of ``2**-9``: two of
them and 4096 products of a group, the longest there is, make ``18 + 18 + 12 = 48`` bits. E5M2
magnitudes have 32 bits; they are cut into limbs of 16 that keep their place, so that no sum of
products of limbs passes ``18 + 16 + 12 = 46`` bits, and these are put together in int64, or where
both operands have limbs, as a float64 and the rest that it lacks. Where both operands have 8 bits
at most, sums of up to 1024 products are integers of ``2**24`` at most, and float32 does.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import code_dtype, decode, special_codes
from spec.formats import NumberFormat

__all__ = ["LONGEST_GROUP", "Operand", "exact_matmul", "limbs_of", "narrow", "operand"]

LONGEST_GROUP = 4096

_LIMB_BITS = 16
_EXACT_BITS = 53
# Bits of a float64 that a float32 has not.
_LOST_BITS = 29
# What float32 products are exact for: magnitudes of that many bits, and sums of that many products.
_NARROW_BITS, _NARROW_GROUP = 8, 1024

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Operand:
    """Codes ``[rows, n]`` of one scale group, ready to be multiplied.

    ``limbs`` are integers in units of ``2**smallest_exponent``, whose sum is the value, least
    significant limb first; special codes count as zero there. ``infinite_codes`` are kept where
    there are infinities to look for.
    """

    fmt: NumberFormat
    limbs: tuple[NDArray[Any], ...]
    nan_rows: NDArray[np.bool_] | None
    infinite_codes: NDArray[np.uint8] | None


def _magnitude_bits(fmt: NumberFormat) -> int:
    return fmt.significand_bits + fmt.largest_shift


@cache
def limbs_of(fmt: NumberFormat) -> tuple[NDArray[Any], ...]:
    """The limbs of each code: integers in units of ``2**smallest_exponent``; special codes 0."""
    values = decode(np.arange(1 << fmt.bits, dtype=code_dtype(fmt)), fmt)
    integers = np.where(special_codes(fmt), 0.0, np.ldexp(values, -fmt.smallest_exponent))
    if _magnitude_bits(fmt) <= _NARROW_BITS:
        return (integers.astype(np.float32),)
    if 2 * _magnitude_bits(fmt) + (LONGEST_GROUP - 1).bit_length() <= _EXACT_BITS:
        return (integers,)
    low = np.fmod(integers, 2.0 ** _LIMB_BITS)
    return (low, integers - low)


def narrow(w: NDArray[Any], x: NDArray[Any]) -> bool:
    """Whether float32 is exact for the sums of products of ``w`` [..., n] and ``x``."""
    return bool(w.dtype == x.dtype == np.float32 and w.shape[-1] <= _NARROW_GROUP)


def operand(codes: NDArray[np.uint8], fmt: NumberFormat) -> Operand:
    """Decode ``codes`` [rows, n] once for any number of products."""
    limbs = tuple(np.take(table, codes) for table in limbs_of(fmt))
    nan_rows, infinite_codes = None, None
    magnitude = codes & codes.dtype.type(fmt.sign_mask - 1)
    if magnitude.size and int(magnitude.max()) > fmt.largest_code:
        infinity = fmt.infinity_code
        nan = magnitude > (fmt.largest_code if infinity is None else infinity)
        nan_rows = np.any(nan, axis=1)
        if infinity is not None and bool(np.any(magnitude == infinity)):
            infinite_codes = codes
    return Operand(fmt, limbs, nan_rows, infinite_codes)


def _rounded(weights: Operand, activations: Operand) -> Floats:
    """The exact sums of the finite products, rounded once."""
    exponent = weights.fmt.smallest_exponent + activations.fmt.smallest_exponent
    w, x = weights.limbs, activations.limbs
    if len(w) == len(x) == 1 and not narrow(w[0], x[0]):
        w = (w[0].astype(np.float64, copy=False),)
    if len(w) == len(x) == 1:
        # One rounding from the exact sum; the power of two is exact.
        values: Floats = (w[0] @ x[0].T).astype(np.float32) * np.float32(2.0 ** exponent)
        return values
    if len(w) == 1 or len(x) == 1:
        low, high = w[0] @ x[0].T, w[-1] @ x[-1].T
        # 18 + 32 + 12 bits: int64 holds the sum, and its conversion rounds once.
        total = high.astype(np.int64) + low.astype(np.int64)
        values = total.astype(np.float32) * np.float32(2.0 ** exponent)
        return values
    # In place where it can be: fresh memory costs as much as the sums. Both products in one:
    # w[0] x[1] + w[1] x[0].
    middle = np.hstack(w) @ np.hstack(x[::-1]).T
    high = w[1] @ x[1].T
    total = high + middle
    # What that addition lost (Knuth's two-sum), and the low limbs: fewer than 53 bits, so that
    # `total + rest` is the sum, and `nearest` the sum rounded to float64.
    taken = total - high
    middle -= taken
    high -= np.subtract(total, taken, out=taken)
    high += middle
    rest = np.add(high, np.matmul(w[0], x[0].T, out=taken), out=high)
    nearest = np.add(total, rest, out=middle)
    values = nearest.astype(np.float32)
    # A tie of float32 that float64's rounding made is none.
    ties = nearest.view(np.int64) & ((1 << _LOST_BITS) - 1) == 1 << (_LOST_BITS - 1)
    if bool(ties.any()):
        values[ties] = _off_ties(nearest[ties], total[ties], rest[ties]).astype(np.float32)
    values *= np.float32(2.0 ** exponent)
    return values


def _off_ties(nearest: Doubles, total: Doubles, rest: Doubles) -> Doubles:
    """``nearest`` to ``total + rest``, moved towards it by a last bit where they differ."""
    taken = nearest - total
    error = (total - (nearest - taken)) + (rest - taken)
    moved: Doubles = np.where(error == 0, nearest,
                              np.nextafter(nearest, np.copysign(np.inf, error)))
    return moved


def _signs(side: Operand) -> tuple[Doubles, Doubles]:
    """Signs (-1, 0, 1) of the finite codes and of the infinities; NaN counts as 0."""
    if side.infinite_codes is None:
        finite = np.sign(sum(side.limbs[1:], side.limbs[0]).astype(np.float64))
        return finite, np.zeros_like(finite)
    values = decode(side.infinite_codes, side.fmt)
    values = np.where(np.isnan(values), 0.0, values)
    infinite = np.isinf(values)
    return np.where(infinite, 0.0, np.sign(values)), np.where(infinite, np.sign(values), 0.0)


def _infinities(weights: Operand, activations: Operand) -> Floats:
    """Per sum, what its infinite products add: infinity, NaN, or 0 where there are none."""
    w_finite, w_infinite = _signs(weights)
    x_finite, x_infinite = _signs(activations)
    # Products with an infinity, counted with and without their sign (both at most 4096).
    signed = (w_infinite @ x_finite.T + w_finite @ x_infinite.T + w_infinite @ x_infinite.T)
    count = (np.abs(w_infinite) @ np.abs(x_finite).T + np.abs(w_finite) @ np.abs(x_infinite).T
             + np.abs(w_infinite) @ np.abs(x_infinite).T)
    w_zero, x_zero = (w_finite == 0) & (w_infinite == 0), (x_finite == 0) & (x_infinite == 0)
    invalid = (np.abs(w_infinite) @ x_zero.T.astype(np.float64)
               + w_zero.astype(np.float64) @ np.abs(x_infinite).T)
    result = np.where(count > 0, np.inf, 0.0) * np.sign(signed)
    mixed = np.abs(signed) != count
    return np.where(mixed | (invalid > 0), np.nan, result).astype(np.float32)


def exact_matmul(weights: Operand, activations: Operand) -> Floats:
    """Return the group sums ``[M, C]`` of ``weights`` [M, n] and ``activations`` [C, n] as float32.

    The same as :func:`golden.dot_array.dot_array` and :func:`golden.fp32_rounder.fp32_rounder`,
    except that a zero may have either sign; ``n <= LONGEST_GROUP``.
    """
    result: Floats = _rounded(weights, activations)
    if weights.infinite_codes is not None or activations.infinite_codes is not None:
        with np.errstate(invalid="ignore"):
            result = result + _infinities(weights, activations)
    if weights.nan_rows is not None:
        result[weights.nan_rows] = np.nan
    if activations.nan_rows is not None:
        result[:, activations.nan_rows] = np.nan
    return result
