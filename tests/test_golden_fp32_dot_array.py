import numpy as np
import pytest

from golden.fp32_dot_array import fp32_dot_array
from spec.dot_arrays import Fp32DotArrayParams
from spec.formats import FP32, FORMATS, NumberFormat
from tb.oracle import add_fp32, multiply_fp32, round_to_fp32, value_of

PAIRS = [("e4m3", "e4m3"), ("e5m2", "e4m3"), ("e5m2", "e5m2"), ("int8", "e5m2"), ("e2m1", "bf16"),
         ("int4", "int8"), ("e3m2", "e4m3"), ("e2m3", "fp16"), ("bf16", "bf16"),
         ("fp16", "bf16"), ("fp16", "fp16")]


def fp32_code(code: int, fmt: NumberFormat) -> int:
    """The FP32 code of a value, which FP32 has exactly."""
    value = value_of(code, fmt)
    negative_zero = fmt in (FORMATS["int4"], FORMATS["int8"]) or not code & fmt.sign_mask
    return round_to_fp32(value, negative_zero=not negative_zero)


def expected(weights, activations, params):
    products = [multiply_fp32(fp32_code(w, params.weight_format),
                              fp32_code(x, params.activation_format))
                for w, x in zip(weights, activations, strict=True)]
    products += [0] * (-len(products) % params.lanes)
    total = 0
    for start in range(0, len(products), params.lanes):
        sums = products[start:start + params.lanes]
        while len(sums) > 1:
            pairs = [add_fp32(a, b) for a, b in zip(sums[::2], sums[1::2], strict=False)]
            sums = pairs + sums[2 * len(pairs):]
        total = add_fp32(total, sums[0])
    return total


@pytest.mark.parametrize(("weights", "activations"), PAIRS)
@pytest.mark.parametrize("lanes", [1, 5, 8])
def test_every_addition_is_the_oracles(weights: str, activations: str, lanes: int) -> None:
    params = Fp32DotArrayParams(weights=weights, activations=activations, lanes=lanes,
                                group_beats=3, rows=4)
    rng = np.random.default_rng(28)
    for n in (1, lanes, 2 * lanes + 1, 3 * lanes):
        for _ in range(12):
            w, x = (rng.integers(0, 1 << fmt.bits, min(n, 3 * lanes)).astype(
                np.uint16 if fmt.bits == 16 else np.uint8)
                for fmt in (params.weight_format, params.activation_format))
            assert int(fp32_dot_array(w, x, params)) == expected(w.tolist(), x.tolist(), params)


def test_a_sum_depends_on_the_order_of_the_tree() -> None:
    params = Fp32DotArrayParams(weights="bf16", activations="bf16", lanes=4, group_beats=1, rows=4)
    one, large = 0x3F80, 0x4F80  # 1 and 2**32.
    activations = np.full(4, one, np.uint16)
    far, near = (np.array(codes, np.uint16) for codes in (
        [large, one, large | 0x8000, one], [large, large | 0x8000, one, one]))
    assert fp32_dot_array(far, activations, params) == 0
    assert fp32_dot_array(near, activations, params) == np.float32(2).view(np.uint32)


def test_codes_of_another_format_are_rejected() -> None:
    params = Fp32DotArrayParams(weights="bf16", activations="e4m3", lanes=4, group_beats=1, rows=4)
    with pytest.raises(TypeError, match="^fp32_dot_array: weights must be an array of uint16, "
                                        "not of uint8$"):
        fp32_dot_array(np.zeros(4, np.uint8), np.zeros(4, np.uint8), params)
    assert params.product_bits == FP32.bits
