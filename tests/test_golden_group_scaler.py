import numpy as np

from golden.group_scaler import group_scaler
from spec.arithmetic import GroupScalerParams
from tb.oracle import multiply_fp32, scale_group
from tests.golden_cases import FP32_EDGES, random_fp32

E8M0 = GroupScalerParams(scale_format="e8m0")


def agrees(p, sums):
    return group_scaler(p, sums, E8M0).tolist() == [
        scale_group(int(code), int(total) - 254, "e8m0")
        for code, total in zip(p, sums, strict=True)]


def test_edges_times_every_power_of_two_match_the_oracle():
    p, sums = (part.ravel() for part in np.meshgrid(
        FP32_EDGES, np.r_[0:511:17, 250:258, 509:511].astype(np.uint32)))
    assert agrees(p, sums)


def test_subnormal_results_round_once():
    rng = np.random.default_rng(11)
    p = random_fp32(rng, 6000) & 0xFFFF000F
    # Exponents that bring p to between 2**-152 and 2**-124.
    exponent = (p >> 23 & 0xFF).astype(np.int64)
    sums = np.clip(254 - exponent + rng.integers(-25, 4, p.size), 0, 510).astype(np.uint32)
    assert agrees(p, sums)


def test_nan_flag_gives_nan():
    sums = np.array([254, 0, 510], np.uint32) | 0x200
    assert group_scaler(np.array([0, 0x3F800000, 0x7F800000], np.uint32), sums,
                        E8M0).tolist() == [0x7FC00000] * 3


def test_fp32_multiplies():
    p, scales = (part.ravel() for part in np.meshgrid(FP32_EDGES, FP32_EDGES[::3]))
    scaled = group_scaler(p, scales, GroupScalerParams(scale_format="fp32"))
    assert scaled.tolist() == [multiply_fp32(int(x), int(y))
                               for x, y in zip(p, scales, strict=True)]
