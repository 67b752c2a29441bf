import numpy as np

from golden.scale_combiner import scale_combiner
from spec.arithmetic import ScaleCombinerParams
from tb.oracle import combine_scales, multiply_fp32
from tests.golden_cases import FP32_EDGES


def test_every_pair_of_e8m0_scales():
    codes = np.arange(256, dtype=np.uint8)
    combined = scale_combiner(codes[:, None], codes, ScaleCombinerParams(scale_format="e8m0"))
    for activation in range(256):
        for weight in range(256):
            expected = combine_scales(activation, weight, "e8m0")
            code = int(combined[activation, weight])
            assert code & 0x1FF == activation + weight
            assert code >> 9 == (expected is None)


def test_fp32_scales_are_multiplied():
    a, b = (part.ravel() for part in np.meshgrid(FP32_EDGES[::3], FP32_EDGES))
    combined = scale_combiner(a, b, ScaleCombinerParams(scale_format="fp32"))
    assert combined.tolist() == [multiply_fp32(int(x), int(y)) for x, y in zip(a, b, strict=True)]
