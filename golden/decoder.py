"""Decoder: codes to sign, significand and shift, and codes of any format to their values."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.arithmetic import DecoderParams
from spec.dot_arrays import ProductsParams
from spec.formats import IntegerFormat, NumberFormat, WeightFormat

__all__ = ["Decoded", "code_dtype", "decode", "decoder", "special_codes"]


class Decoded(NamedTuple):
    """Decoded codes, as arrays of the codes' shape.

    A finite code stands for ``(-1)**sign * significand * 2**shift * 2**smallest_exponent``. The
    significand of an integer format has the sign itself.
    """

    sign: NDArray[np.bool_]
    significand: NDArray[np.int64]
    shift: NDArray[np.int64]
    nan: NDArray[np.bool_]
    infinite: NDArray[np.bool_]


def code_dtype(fmt: WeightFormat) -> type[np.generic]:
    """The smallest unsigned dtype that holds a code of ``fmt``."""
    return np.uint8 if fmt.bits <= 8 else np.uint16 if fmt.bits <= 16 else np.uint32


def _fields(codes: NDArray[Any], fmt: NumberFormat) -> Decoded:
    wide = codes.astype(np.int64)
    if isinstance(fmt, IntegerFormat):
        none = np.zeros(codes.shape, bool)
        signed = (wide ^ fmt.sign_mask) - fmt.sign_mask
        return Decoded(none, signed, np.zeros(codes.shape, np.int64), none, none)
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


def decoder(codes: NDArray[Any], params: DecoderParams) -> Decoded:
    """Split codes into what the dot array multiplies.

    :Shapes: any; each result has the codes' shape.
    :Formats: ``params.format``, 4 to 16 bits. ``nan`` and ``infinite`` mark the special codes;
        their significand and shift follow from the fields as for a finite code.
    """
    check_array("decoder: codes", codes, code_dtype(params.number_format))
    return _fields(codes, params.number_format)


def check_operands(unit: str, weights: NDArray[Any], activations: NDArray[Any],
                   params: ProductsParams) -> None:
    """Raise unless ``weights`` and ``activations`` [..., n] are codes of the formats of ``params``,
    of one group at most: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape."""
    for name, codes, fmt in (("weights", weights, params.weight_format),
                             ("activations", activations, params.activation_format)):
        check_array(f"{unit}: {name}", codes, code_dtype(fmt))
        if codes.ndim < 1:
            raise ValueError(f"{unit}: {name} must have at least one dimension")
    longest, n = params.lanes * params.group_beats, weights.shape[-1]
    if activations.shape[-1] != n or not 1 <= n <= longest:
        raise ValueError(f"{unit}: a group must have the same 1 to {longest} elements on both "
                         f"sides, not {n} weights and {activations.shape[-1]} activations")


def _values(codes: NDArray[Any], fmt: NumberFormat) -> NDArray[np.float64]:
    parts = _fields(codes, fmt)
    # Exact: 24 bits of significand at most, exponents within [-149, 127].
    values = np.ldexp(parts.significand.astype(np.float64),
                      parts.shift + fmt.smallest_exponent)
    values[parts.infinite] = np.inf
    values = np.where(parts.sign, -values, values)
    values[parts.nan] = np.nan
    return values


@cache
def _table(fmt: NumberFormat) -> NDArray[np.float64]:
    table = _values(np.arange(1 << fmt.bits, dtype=np.uint32), fmt)
    table.setflags(write=False)
    return table


@cache
def special_codes(fmt: NumberFormat) -> NDArray[np.bool_]:
    """Per code of ``fmt`` (16 bits at most), whether it is NaN or an infinity."""
    special = ~np.isfinite(_table(fmt))
    special.setflags(write=False)
    return special


def decode(codes: NDArray[Any], fmt: NumberFormat) -> NDArray[np.float64]:
    """Return the value of each code of ``fmt``, exactly, as float64.

    Infinities and NaN become float64's; signs of zero are kept.
    """
    check_array(f"decode: {fmt.name} codes", codes, code_dtype(fmt))
    if fmt.bits > 16:
        return _values(codes, fmt)
    return np.take(_table(fmt), codes)
