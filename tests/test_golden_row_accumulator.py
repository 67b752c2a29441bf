import numpy as np

from golden.row_accumulator import row_accumulator
from tb.oracle import add_fp32
from tests.golden_cases import FP32_EDGES


def test_adds_in_ascending_order_from_plus_zero():
    rng = np.random.default_rng(12)
    terms = rng.choice(FP32_EDGES, (9, 500))
    terms[:, 250:] = rng.normal(size=(9, 250)).astype(np.float32).view(np.uint32)
    expected = []
    for column in terms.T:
        total = 0
        for term in column:
            total = add_fp32(total, int(term))
        expected.append(total)
    assert row_accumulator(terms).tolist() == expected


def test_the_order_matters():
    big, one = 0x4B800000, 0x3F800000  # 2**24 and 1: 2**24 + 1 is a tie
    ascending = np.array([big, one, one, big ^ 0x80000000], np.uint32)
    assert row_accumulator(ascending).tolist() == 0
    assert row_accumulator(ascending[[1, 2, 0, 3]]).tolist() == 0x40000000


def test_negative_zeros_give_plus_zero():
    assert row_accumulator(np.array([[0x80000000]], np.uint32)).tolist() == [0]
