"""Payload bits as the ports carry them, packed here a second time, not with the RTL's layouts.

A payload is one vector; the first field of a structure stands lowest.
"""

from collections.abc import Sequence

import numpy as np

from golden.decoder import Decoded, decoder
from spec.arithmetic import DecoderParams
from spec.formats import FloatFormat
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


def decoded_bits(fmt: FloatFormat) -> int:
    """Width of one decoded value: significand, shift, sign, nan, infinite."""
    return fmt.significand_bits + fmt.shift_bits + 3


def decoded_words(decoded: Decoded, fmt: FloatFormat) -> list[int]:
    """One payload for each row of decoded values."""
    shift_at = fmt.significand_bits
    sign_at = shift_at + fmt.shift_bits
    values = (decoded.significand.astype(np.int64)
              | (decoded.shift.astype(np.int64) << shift_at)
              | (decoded.sign.astype(np.int64) << sign_at)
              | (decoded.nan.astype(np.int64) << (sign_at + 1))
              | (decoded.infinite.astype(np.int64) << (sign_at + 2)))
    return [word(row, decoded_bits(fmt)) for row in np.atleast_2d(values)]


def pack_decoded(codes: np.ndarray, fmt: FloatFormat) -> Sequence[int]:
    """Decode ``codes`` [beats, lanes] and pack one payload for each beat."""
    params = DecoderParams(format=fmt.name, lanes=codes.shape[-1])
    return decoded_words(decoder(codes, params), fmt)
