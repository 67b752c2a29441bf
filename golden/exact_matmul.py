"""Exact products of many codes at once: what dot array and FP32 rounder give, by matrices.

float64 matrix products do the work. They are exact here whatever the order of their additions,
because every product and every partial sum is an integer below ``2**53`` in units of the least
significant bit of a product. E4M3 magnitudes are integers of 18 bits in units of ``2**-9``: two of
them and 4096 products of a group, the longest there is, make ``18 + 18 + 12 = 48`` bits. E5M2
magnitudes have 32 bits; they are cut into limbs of 16, so that no partial product of limbs passes
``18 + 16 + 12 = 46`` bits, and the limbs' sums are put together in int64.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from golden.decoder import decode, special_codes
from spec.formats import FloatFormat

__all__ = ["LONGEST_GROUP", "Operand", "exact_matmul", "operand"]

LONGEST_GROUP = 4096

_LIMB_BITS = 16
_EXACT_BITS = 53

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Operand:
    """Codes ``[rows, n]`` of one scale group, ready to be multiplied.

    ``limbs`` are integers in units of ``2**smallest_exponent``, least significant limb first;
    special codes count as zero there. ``codes`` are kept where there are infinities to look for.
    """

    fmt: FloatFormat
    limbs: tuple[Doubles, ...]
    nan_rows: NDArray[np.bool_] | None
    infinite_codes: NDArray[np.uint8] | None


def _magnitude_bits(fmt: FloatFormat) -> int:
    return fmt.significand_bits + fmt.largest_shift


@cache
def _limb_tables(fmt: FloatFormat) -> tuple[Doubles, ...]:
    """Per limb, its value for each code."""
    values = decode(np.arange(256, dtype=np.uint8), fmt)
    integers = np.where(special_codes(fmt), 0.0, np.ldexp(values, -fmt.smallest_exponent))
    if 2 * _magnitude_bits(fmt) + (LONGEST_GROUP - 1).bit_length() <= _EXACT_BITS:
        return (integers,)
    magnitude = np.abs(integers).astype(np.int64)
    sign = np.sign(integers)
    low, high = magnitude & ((1 << _LIMB_BITS) - 1), magnitude >> _LIMB_BITS
    return (sign * low, sign * high)


def operand(codes: NDArray[np.uint8], fmt: FloatFormat) -> Operand:
    """Decode ``codes`` [rows, n] once for any number of products."""
    limbs = tuple(np.take(table, codes) for table in _limb_tables(fmt))
    nan_rows, infinite_codes = None, None
    magnitude = codes & np.uint8(fmt.sign_mask - 1)
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
    if len(w) == len(x) == 1:
        # One rounding from the exact float64; the power of two is exact.
        return (w[0] @ x[0].T).astype(np.float32) * np.float32(2.0 ** exponent)
    if len(w) == 1 or len(x) == 1:
        low, high = w[0] @ x[0].T, w[-1] @ x[-1].T
        # 18 + 32 + 12 bits: int64 holds the sum, and its conversion rounds once.
        total = (high.astype(np.int64) << _LIMB_BITS) + low.astype(np.int64)
        return total.astype(np.float32) * np.float32(2.0 ** exponent)
    middle = (w[0] @ x[1].T + w[1] @ x[0].T).astype(np.int64)
    # The sum is w[1] x[1] * 2**32 + rest, and |rest| < 2**62: as upper * 2**32 + u32.
    rest = (middle << _LIMB_BITS) + (w[0] @ x[0].T).astype(np.int64)
    upper = (w[1] @ x[1].T).astype(np.int64) + (rest >> 2 * _LIMB_BITS)
    tail = rest & ((1 << 2 * _LIMB_BITS) - 1)
    # Short sums fit int64 whole. Of long ones, `upper` alone has more than FP32's 24 bits and one
    # for ties; what lies below only has to say that it is there (OR-ed into the last bit).
    short = np.abs(upper) < 1 << 30
    whole = (np.where(short, upper, 0) << 2 * _LIMB_BITS) + tail
    sticky = (upper << 1) | (tail != 0)
    long_values = sticky.astype(np.float32) * np.float32(2.0 ** (2 * _LIMB_BITS - 1))
    values: Floats = np.where(short, whole.astype(np.float32), long_values)
    return np.multiply(values, np.float32(2.0 ** exponent))


def _signs(side: Operand, codes: NDArray[np.uint8]) -> tuple[Doubles, Doubles]:
    """Signs (-1, 0, 1) of the finite codes and of the infinities; NaN counts as 0."""
    values = decode(codes, side.fmt)
    values = np.where(np.isnan(values), 0.0, values)
    infinite = np.isinf(values)
    return np.where(infinite, 0.0, np.sign(values)), np.where(infinite, np.sign(values), 0.0)


def _codes(side: Operand) -> NDArray[np.uint8]:
    """Codes with the same signs and zeros as the operand's."""
    if side.infinite_codes is not None:
        return side.infinite_codes
    total = sum(side.limbs[1:], side.limbs[0])
    one = np.uint8(side.fmt.bias << side.fmt.mantissa_bits)
    return np.where(total == 0, np.uint8(0),
                    np.where(total < 0, one | np.uint8(side.fmt.sign_mask), one)).astype(np.uint8)


def _infinities(weights: Operand, activations: Operand) -> Floats:
    """Per sum, what its infinite products add: infinity, NaN, or 0 where there are none."""
    w_finite, w_infinite = _signs(weights, _codes(weights))
    x_finite, x_infinite = _signs(activations, _codes(activations))
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
