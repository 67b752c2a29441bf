"""Payload bits as the ports carry them, packed here a second time, not with the RTL's layouts.

A payload is one vector; the first field of a structure stands lowest.
"""

from collections.abc import Sequence

import numpy as np

from golden.decoder import Decoded, decoder
from spec.arithmetic import DecoderParams
from spec.formats import IntegerFormat, NumberFormat
from tb.bench import word

__all__ = ["decoded_bits", "decoded_words", "fields", "pack_decoded", "unpack_signed"]


def fields(*parts: tuple[int, int]) -> int:
    """Pack (value, bits) pairs, the first lowest."""
    result, place = 0, 0
    for value, bits in parts:
        result |= (int(value) & ((1 << bits) - 1)) << place
        place += bits
    return result


def unpack_signed(value: int, bits: int) -> int:
    """Read the low ``bits`` of ``value`` as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def decoded_bits(fmt: NumberFormat) -> int:
    """Width of one decoded value: significand, and of a floating-point format its shift, its sign,
    and where it has them NaN and infinity."""
    if isinstance(fmt, IntegerFormat):
        return fmt.bits
    return fmt.significand_bits + fmt.shift_bits + 1 + fmt.has_nan + fmt.has_infinity


def decoded_words(decoded: Decoded, fmt: NumberFormat) -> list[int]:
    """One payload for each row of decoded values."""
    values = decoded.significand & ((1 << fmt.significand_bits) - 1)
    place = fmt.significand_bits
    for field, bits in ((decoded.shift, fmt.shift_bits), (decoded.sign, 1),
                        (decoded.nan, int(fmt.has_nan)), (decoded.infinite, 1)):
        values = values | field.astype(np.int64) << place
        place += bits
    return [word(row, decoded_bits(fmt)) for row in np.atleast_2d(values)]


def pack_decoded(codes: np.ndarray, fmt: NumberFormat) -> Sequence[int]:
    """Decode ``codes`` [beats, lanes] and pack one payload for each beat."""
    params = DecoderParams(format=fmt.name, lanes=codes.shape[-1])
    return decoded_words(decoder(codes, params), fmt)
