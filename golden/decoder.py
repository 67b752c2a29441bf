"""Decoder: codes to sign, significand and shift, and codes of any format to their values."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.arithmetic import DecoderParams
from spec.formats import FloatFormat

__all__ = ["Decoded", "code_dtype", "decode", "decoder", "special_codes"]


class Decoded(NamedTuple):
    """Decoded codes, as arrays of the codes' shape.

    A finite code stands for ``(-1)**sign * significand * 2**shift * 2**smallest_exponent``.
    """

    sign: NDArray[np.bool_]
    significand: NDArray[np.int64]
    shift: NDArray[np.int64]
    nan: NDArray[np.bool_]
    infinite: NDArray[np.bool_]


def code_dtype(fmt: FloatFormat) -> type[np.generic]:
    """The unsigned dtype that holds a code of ``fmt``."""
    dtypes: dict[int, type[np.generic]] = {8: np.uint8, 16: np.uint16, 32: np.uint32}
    return dtypes[fmt.bits]


def _fields(codes: NDArray[Any], fmt: FloatFormat) -> Decoded:
    wide = codes.astype(np.int64)
    exponent = (wide & fmt.exponent_mask) >> fmt.mantissa_bits
    mantissa = wide & fmt.mantissa_mask
    magnitude = wide & (fmt.sign_mask - 1)
    infinity = fmt.infinity_code
    infinite = np.zeros(codes.shape, bool) if infinity is None else magnitude == infinity
    return Decoded(
        sign=(wide & fmt.sign_mask) != 0,
        significand=mantissa + ((exponent > 0).astype(np.int64) << fmt.mantissa_bits),
        shift=np.maximum(exponent, 1) - 1,
        nan=(magnitude > fmt.largest_code) & ~infinite,
        infinite=infinite)


def decoder(codes: NDArray[np.uint8], params: DecoderParams) -> Decoded:
    """Split codes into what the dot array multiplies.

    :Shapes: any; each result has the codes' shape.
    :Formats: ``params.format``, 8 bits. ``nan`` and ``infinite`` mark the special codes; their
        significand and shift follow from the fields as for a finite code.
    """
    check_array("decoder: codes", codes, np.uint8)
    return _fields(codes, params.float_format)


def _values(codes: NDArray[Any], fmt: FloatFormat) -> NDArray[np.float64]:
    parts = _fields(codes, fmt)
    # Exact: 24 bits of significand at most, exponents within [-149, 127].
    values = np.ldexp(parts.significand.astype(np.float64),
                      parts.shift + fmt.smallest_exponent)
    values[parts.infinite] = np.inf
    values = np.where(parts.sign, -values, values)
    values[parts.nan] = np.nan
    return values


@cache
def _table(fmt: FloatFormat) -> NDArray[np.float64]:
    table = _values(np.arange(1 << fmt.bits, dtype=np.uint32), fmt)
    table.setflags(write=False)
    return table


@cache
def special_codes(fmt: FloatFormat) -> NDArray[np.bool_]:
    """Per code of ``fmt`` (8 or 16 bits), whether it is NaN or an infinity."""
    special = ~np.isfinite(_table(fmt))
    special.setflags(write=False)
    return special


def decode(codes: NDArray[Any], fmt: FloatFormat) -> NDArray[np.float64]:
    """Return the value of each code of ``fmt``, exactly, as float64.

    Infinities and NaN become float64's; signs of zero are kept.
    """
    check_array(f"decode: {fmt.name} codes", codes, code_dtype(fmt))
    if fmt.bits > 16:
        return _values(codes, fmt)
    return np.take(_table(fmt), codes)
