"""The code against its parity-check matrix, multiplied bit by bit."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.secded import CORRECTED, GOOD, UNCORRECTABLE, decode, encode
from spec.secded import CHECK_BITS, CHECK_COLUMNS, DATA_BITS

CODE_BITS = DATA_BITS + CHECK_BITS
# One column per bit of the code: data bits, then check bits.
MATRIX = np.array([[column >> row & 1 for column in
                    (*CHECK_COLUMNS, *(1 << check for check in range(CHECK_BITS)))]
                   for row in range(CHECK_BITS)])


def _bits(words: NDArray[np.uint64], check: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The bits of coded words, [word, bit of the code]."""
    return np.concatenate([
        [[int(word) >> bit & 1 for bit in range(DATA_BITS)] for word in words],
        [[int(byte) >> bit & 1 for bit in range(CHECK_BITS)] for byte in check]], axis=1)


def _coded(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    words = np.random.default_rng(41).integers(0, 1 << 64, count, dtype=np.uint64)
    words[:3] = 0, (1 << 64) - 1, 1
    return words, encode(words)


def _flipped(words: NDArray[np.uint64], check: NDArray[np.uint8],
             places: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Turn one bit of each coded word over."""
    data = np.array([1 << place if place < DATA_BITS else 0 for place in places.tolist()],
                    np.uint64)
    checks = np.array([0 if place < DATA_BITS else 1 << place - DATA_BITS
                       for place in places.tolist()], np.uint8)
    return words ^ data, check ^ checks


def test_columns_are_distinct_odd_and_balanced() -> None:
    assert len({*CHECK_COLUMNS, *(1 << check for check in range(CHECK_BITS))}) == CODE_BITS
    weights = [column.bit_count() for column in CHECK_COLUMNS]
    assert sorted(weights) == [3] * 56 + [5] * 8
    assert (MATRIX.sum(axis=1) == 27).all()


def test_coded_words_are_in_the_null_space() -> None:
    words, check = _coded(500)
    assert not (MATRIX @ _bits(words, check).T % 2).any()


def test_zero_has_zero_check_bits() -> None:
    assert encode(np.zeros(1, np.uint64)) == 0


def test_encode_keeps_the_shape() -> None:
    words, check = _coded(24)
    assert np.array_equal(encode(words.reshape(2, 3, 4)), check.reshape(2, 3, 4))


def test_good_words_stay() -> None:
    words, check = _coded(500)
    corrected, status = decode(words, check)
    assert np.array_equal(corrected, words) and (status == GOOD).all()


def test_every_single_flip_is_corrected() -> None:
    words, check = _coded(10 * CODE_BITS)
    corrected, status = decode(*_flipped(words, check, np.arange(10 * CODE_BITS) % CODE_BITS))
    assert np.array_equal(corrected, words) and (status == CORRECTED).all()


def test_every_double_flip_is_detected() -> None:
    pairs = np.array(list(itertools.combinations(range(CODE_BITS), 2)))
    assert len(pairs) == 72 * 71 // 2
    read = _flipped(*_flipped(*_coded(len(pairs)), pairs[:, 0]), pairs[:, 1])
    corrected, status = decode(*read)
    assert (status == UNCORRECTABLE).all()
    assert np.array_equal(corrected, read[0])


def test_every_syndrome_is_that_of_the_matrix() -> None:
    check = np.arange(256, dtype=np.uint8)
    corrected, status = decode(np.zeros(256, np.uint64), check)
    for syndrome, word, kind in zip(check.tolist(), corrected.tolist(), status, strict=True):
        column = [syndrome >> row & 1 for row in range(CHECK_BITS)]
        places = np.flatnonzero((MATRIX.T == column).all(axis=1))
        assert kind == (GOOD if not syndrome else CORRECTED if places.size else UNCORRECTABLE)
        assert word == (1 << int(places[0]) if places.size and places[0] < DATA_BITS else 0)


def test_rejects_words_of_another_type_or_shape() -> None:
    with pytest.raises(TypeError, match="^encode: words must be an array of uint64, not of int64$"):
        encode(np.zeros(4, np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^decode: words and check must have one shape, not "
                                         r"\(4,\) and \(5,\)$"):
        decode(np.zeros(4, np.uint64), np.zeros(5, np.uint8))
