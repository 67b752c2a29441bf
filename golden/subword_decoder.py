"""Subword decoder: codes of one of two formats to factors, those of the narrow one in pairs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import Decoded, decode, decoder
from spec.arithmetic import SubwordDecoderParams
from spec.formats import FORMATS

__all__ = ["subword_decoder"]


def subword_decoder(codes: NDArray[np.uint8], narrow: bool,
                    params: SubwordDecoderParams) -> tuple[Decoded, Decoded]:
    """Split codes into what the subword dot array multiplies: factors of each lane, and odd ones.

    :Shapes: ``codes`` [..., lanes], or where they are ``narrow`` [..., 2 * lanes]; results
        [..., lanes].
    :Formats: codes of ``params.wide`` or ``params.narrow``. The factors are those of wide codes,
        or of the wide codes that have the values of the even narrow ones; the odd ones are those of
        the odd narrow codes, or of code 0.
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape.
    """
    lanes = params.lanes * (2 if narrow else 1)
    if codes.shape[-1:] != (lanes,):
        raise ValueError(f"subword_decoder: codes must have the shape [..., {lanes}], not "
                         f"{list(codes.shape)}")
    if not narrow:
        return (decoder(codes, params.wide_decoder),
                decoder(np.zeros_like(codes), params.narrow_decoder))
    return (decoder(_same_values(codes[..., ::2], params), params.wide_decoder),
            decoder(np.ascontiguousarray(codes[..., 1::2]), params.narrow_decoder))


def _same_values(codes: NDArray[np.uint8], params: SubwordDecoderParams) -> NDArray[Any]:
    """The wide codes that have the values of narrow ones, and the sign of zero."""
    wide, narrow = FORMATS[params.wide], FORMATS[params.narrow]
    known = np.arange(1 << wide.bits, dtype=np.uint8)
    by_value = {_signed(value): code for code, value in zip(known.tolist(), decode(known, wide),
                                                            strict=True)}
    values = decode(np.arange(1 << narrow.bits, dtype=np.uint8), narrow)
    table = np.array([by_value[_signed(value)] for value in values], np.uint8)
    return table[codes]


def _signed(value: float) -> tuple[float, bool]:
    """A value with its sign, which tells zeros apart."""
    return float(value), bool(np.signbit(value))
