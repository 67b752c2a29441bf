import numpy as np

from golden.fp32_multiplier import fp32_multiplier
from tb.oracle import multiply_fp32
from tests.golden_cases import FP32_EDGES, random_fp32


def agrees(a, b):
    return fp32_multiplier(a, b).tolist() == [multiply_fp32(int(x), int(y))
                                              for x, y in zip(a, b, strict=True)]


def test_every_pair_of_edges_matches_the_oracle():
    a, b = (part.ravel() for part in np.meshgrid(FP32_EDGES, FP32_EDGES))
    assert agrees(a, b)


def test_random_codes_match_the_oracle():
    rng = np.random.default_rng(5)
    assert agrees(random_fp32(rng, 5000), random_fp32(rng, 5000))


def test_subnormal_results_match_the_oracle():
    rng = np.random.default_rng(6)
    a, b = random_fp32(rng, 8000), random_fp32(rng, 8000)
    # Exponent fields that add up to results from 2**-152 to 2**-120, ties among them.
    exponent = rng.integers(1, 120, a.size)
    a = (a & 0x807FFFFF) | (exponent.astype(np.uint32) << 23)
    b = (b & 0x807FFFFF) | ((rng.integers(102, 134, a.size) - exponent).clip(0).astype(np.uint32)
                            << 23)
    a[::2] &= 0xFFFF0000
    b[::2] &= 0xFFF00000
    assert agrees(a, b)
