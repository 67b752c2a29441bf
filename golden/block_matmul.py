"""Exact sums of many rows and vectors whose blocks have E4M3 scales: what block dot array and FP32
rounder give, by matrices.

A code times the scale of its block is an integer of 22 bits in units of ``2**-10``: E2M1 magnitudes
are up to 12 halves, those of E4M3 up to ``448 * 2**9`` in units of ``2**-9``. float64 matrix
products are exact, whatever the order of their additions, as long as no sum of any of the products
reaches ``2**53``. By Cauchy and Schwarz none does where the norms of row and vector multiply to
less. Where they may not, the activations are cut into limbs of 11 bits: a limb, an operand of 22
bits and ``LONGEST_ROW`` products stay below ``2**53``, and the limbs' sums are put together in
int64, which holds that many products of ``2**42.8``.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import decode, special_codes
from golden.exact_matmul import limbs_of
from spec.dot_arrays import BlockDotArrayParams
from spec.formats import FloatFormat, NumberFormat

__all__ = ["LONGEST_ROW", "BlockOperand", "block_matmul", "block_operand"]

LONGEST_ROW = 1 << 20

_LIMB_BITS = 11
# Less than 2**53 by far more than what norms lose by their own rounding.
_EXACT = 2.0 ** 53 * (1 - 2.0 ** -20)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class BlockOperand:
    """Scaled codes ``[rows, n]``, integers in units of the smallest; the rows in which a scale is
    NaN (it counts as zero); and the largest norm of a row."""

    values: Doubles
    nan_rows: NDArray[np.bool_]
    norm: float

    @cached_property
    def limbs(self) -> tuple[Doubles, Doubles]:
        """The values as ``low + 2**11 * high``, ``0 <= low < 2**11``."""
        high = np.floor(self.values * 2.0 ** -_LIMB_BITS)
        return self.values - high * 2.0 ** _LIMB_BITS, high


@cache
def _scales(fmt: FloatFormat) -> Doubles:
    """Per code of a scale, its magnitude in units of ``2**smallest_exponent``; NaN as 0."""
    magnitudes = np.abs(decode(np.arange(1 << fmt.bits, dtype=np.uint8), fmt))
    integers: Doubles = np.ldexp(np.where(special_codes(fmt), 0, magnitudes),
                                 -fmt.smallest_exponent)
    return integers


def block_operand(codes: NDArray[np.uint8], scales: NDArray[np.uint8], fmt: NumberFormat,
                  params: BlockDotArrayParams) -> BlockOperand:
    """Scale ``codes`` [rows, n] by ``scales`` [rows, groups] once for any number of products."""
    (table,) = limbs_of(fmt)
    (rows, n), groups = codes.shape, scales.shape[1]
    values = np.zeros((rows, groups * params.block))
    # Without a mode, np.take writes to a buffer first.
    np.take(table.astype(np.float64), codes, out=values[:, :n], mode="clip")
    values.reshape(rows, groups, params.block)[...] *= np.take(_scales(params.SCALE), scales)[
        :, :, None]
    nan_rows = np.any(np.take(special_codes(params.SCALE), scales), axis=1)
    return BlockOperand(values, nan_rows, float(np.sqrt(np.vecdot(values, values).max())))


def block_matmul(weights: BlockOperand, activations: BlockOperand,
                 params: BlockDotArrayParams) -> Floats:
    """Return the sums ``[M, C]`` of ``weights`` [M, n] and ``activations`` [C, n] as float32.

    The same as :func:`golden.block_dot_array.block_dot_array` and
    :func:`golden.fp32_rounder.fp32_rounder`, except that a zero may have either sign, and rows may
    have up to ``LONGEST_ROW`` elements.
    """
    total: NDArray[Any]
    if weights.norm * activations.norm < _EXACT:
        total = weights.values @ activations.values.T
    else:
        low, high = (weights.values @ limb.T for limb in activations.limbs)
        total = (high.astype(np.int64) << _LIMB_BITS) + low.astype(np.int64)
    # From float64 and from int64, one rounding; the power of two is exact.
    result: Floats = total.astype(np.float32) * np.float32(2.0 ** params.lsb_exponent)
    result[weights.nan_rows] = np.nan
    result[:, activations.nan_rows] = np.nan
    return result
