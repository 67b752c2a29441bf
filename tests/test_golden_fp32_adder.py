import numpy as np

from golden.fp32_adder import fp32_adder
from tb.oracle import add_fp32
from tests.golden_cases import FP32_EDGES, random_fp32


def agrees(a, b):
    return fp32_adder(a, b).tolist() == [add_fp32(int(x), int(y))
                                         for x, y in zip(a, b, strict=True)]


def test_every_pair_of_edges_matches_the_oracle():
    a, b = (part.ravel() for part in np.meshgrid(FP32_EDGES, FP32_EDGES))
    assert agrees(a, b)


def test_random_codes_match_the_oracle():
    rng = np.random.default_rng(3)
    assert agrees(random_fp32(rng, 5000), random_fp32(rng, 5000))


def test_close_exponents_and_cancellation_match_the_oracle():
    rng = np.random.default_rng(4)
    a = random_fp32(rng, 8000)
    # The same sign or not, exponents at most 31 apart: alignment, ties, cancellation.
    exponent = np.clip((a >> 23 & 0xFF).astype(np.int64) + rng.integers(-31, 32, a.size), 0, 254)
    b = (exponent.astype(np.uint32) << 23) | (random_fp32(rng, a.size) & 0x807FFFFF)
    b[::4] = (a[::4] ^ 0x80000000) + rng.integers(0, 3, b[::4].size, dtype=np.uint32)
    # Few bits set: ties are frequent.
    a[1::4] &= 0xFF800003
    b[1::4] &= 0xFF800003
    assert agrees(a, b)


def test_zero_signs():
    zeros = np.array([0x00000000, 0x80000000], np.uint32)
    assert fp32_adder(zeros[[0, 0, 1, 1]], zeros[[0, 1, 0, 1]]).tolist() == [0, 0, 0, 0x80000000]
