"""The (72,64) SECDED code of :mod:`spec.secded`: check bits of words, and words as corrected."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.secded import CHECK_BITS, CHECK_COLUMNS

__all__ = ["CORRECTED", "GOOD", "UNCORRECTABLE", "decode", "encode"]

# What decode says of a word.
GOOD, CORRECTED, UNCORRECTABLE = 0, 1, 2

# For each check bit, the data bits that it covers.
_MASKS = tuple(sum(1 << bit for bit, column in enumerate(CHECK_COLUMNS) if column >> check & 1)
               for check in range(CHECK_BITS))


def _tables() -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """By syndrome: the data bit to flip, and the status."""
    flip = np.zeros(1 << CHECK_BITS, np.uint64)
    status = np.full(1 << CHECK_BITS, UNCORRECTABLE, np.uint8)
    status[0] = GOOD
    for check in range(CHECK_BITS):
        status[1 << check] = CORRECTED
    for bit, column in enumerate(CHECK_COLUMNS):
        flip[column] = 1 << bit
        status[column] = CORRECTED
    return flip, status


_FLIP, _STATUS = _tables()


def encode(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the eight check bits of each word."""
    check_array("encode: words", words, np.uint64)
    result = np.zeros(words.shape, np.uint8)
    for check, mask in enumerate(_MASKS):
        parity: NDArray[Any] = np.bitwise_count(words & np.uint64(mask)) & 1
        result |= (parity << check).astype(np.uint8)
    return result


def decode(words: NDArray[np.uint64], check: NDArray[np.uint8]) -> tuple[
        NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the words with single wrong bits corrected, and the status of each.

    A word that is uncorrectable stays as it was read. A wrong check bit counts as corrected.

    :Errors: three or more wrong bits may be taken for one.
    """
    check_array("decode: words", words, np.uint64)
    check_array("decode: check", check, np.uint8)
    if words.shape != check.shape:
        raise ValueError(f"decode: words and check must have one shape, not {words.shape} and "
                         f"{check.shape}")
    syndrome = encode(words) ^ check
    return words ^ _FLIP[syndrome], _STATUS[syndrome]
