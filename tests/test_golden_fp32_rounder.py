import numpy as np
import pytest

from golden.dot_array import GroupSum
from golden.fp32_rounder import fp32_rounder
from spec.arithmetic import Fp32RounderParams
from tb.oracle import Fraction, round_to_fp32


def sums_of(values, dtype):
    array = np.array(values, dtype)
    none = np.zeros(array.shape, bool)
    return GroupSum(array, none, none, none)


def hard_values(bits, rng):
    """Powers of two, ties and what lies beside them, and sums where two roundings differ."""
    values = {0, 1, (1 << bits - 1) - 1}
    for top in range(bits - 1):
        for odd in (0, 1):
            base = (1 << top) | (odd << max(top - 23, 0))
            half = 1 << max(top - 24, 0)
            values |= {base, base + half, base + half + 1, base + half - 1,
                       # Rounds to a tie in float64, but lies beside it.
                       base + half + (1 << max(top - 54, 0)), base + half - (1 << max(top - 54, 0))}
    values |= {int(rng.integers(0, 1 << 62)) >> int(rng.integers(0, 62)) for _ in range(500)}
    values = {value for value in values if 0 <= value < 1 << bits - 1}
    return sorted(values | {-value for value in values}) + [-(1 << bits - 1)]


@pytest.mark.parametrize("bits, lsb_exponent, dtype", [
    (44, -18, np.int64), (64, -25, np.int64), (72, -32, object), (128, 0, object),
    (128, -126, object),
])
def test_rounds_once_to_nearest_even(bits, lsb_exponent, dtype):
    values = hard_values(bits, np.random.default_rng(10))
    codes = fp32_rounder(sums_of(values, dtype),
                         Fp32RounderParams(sum_bits=bits, lsb_exponent=lsb_exponent))
    unit = Fraction(2) ** lsb_exponent
    assert codes.tolist() == [round_to_fp32(value * unit) for value in values]


def test_flags_give_nan_and_infinities():
    flags = np.eye(3, dtype=bool)
    group_sum = GroupSum(np.array([5, 6, 7]), flags[0], flags[1], flags[2])
    codes = fp32_rounder(group_sum, Fp32RounderParams(sum_bits=8, lsb_exponent=0))
    assert codes.tolist() == [0x7FC00000, 0x7F800000, 0xFF800000]


def test_rejects_values_that_do_not_fit():
    with pytest.raises(ValueError, match="^fp32_rounder: value must fit s4, but reaches from "
                                         "-9 to 7$"):
        fp32_rounder(sums_of([7, -9], np.int64), Fp32RounderParams(sum_bits=4, lsb_exponent=0))
