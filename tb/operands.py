"""Operands that reach the corners: killer vectors and random data, for all benches."""

from collections.abc import Callable

import numpy as np

from golden.decoder import code_dtype
from spec.formats import (
    E4M3, FORMATS, IntegerFormat, NumberFormat, WeightFormat, ZeroPointFormat,
)
from tb.bench import bench_seed

__all__ = ["FP32_EDGES", "cancelling_group", "fp32_pair_items", "fp32_pairs", "negated",
           "random_codes", "scale_codes"]

# Zeros, subnormals, the borders of the normal numbers, rounding ties, infinities, NaN payloads.
FP32_EDGES = np.array([
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x00000002, 0x00000003, 0x003FFFFF, 0x00400000,
    0x007FFFFF, 0x807FFFFF, 0x00800000, 0x80800000, 0x00800001, 0x00FFFFFF, 0x01000000, 0x0C800000,
    0x1E3CE508, 0x33800000, 0x337FFFFF, 0x33800001, 0x34000000, 0x3EFFFFFF, 0x3F000000, 0x3F7FFFFF,
    0x3F800000, 0xBF800000, 0x3F800001, 0x3F800003, 0x3FFFFFFF, 0x40000000, 0x4B000000, 0x4B800000,
    0x4B800001, 0x4B7FFFFF, 0x5F3759DF, 0x7E7FFFFF, 0x7F000000, 0x7F7FFFFE, 0x7F7FFFFF, 0xFF7FFFFF,
    0x7F800000, 0xFF800000, 0x7F800001, 0x7FC00000, 0xFFC00000, 0xFFFFFFFF,
], np.uint32)


def fp32_pairs(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pairs of FP32 codes [n, 2]: all pairs of edges, then ``count`` of three random kinds."""
    edges = np.stack(np.meshgrid(FP32_EDGES, FP32_EDGES), axis=-1).reshape(-1, 2)
    bits = rng.integers(0, 1 << 32, (count, 2), dtype=np.uint32)
    # Close exponents: cancellation, alignment by a few places, ties.
    near = bits.copy()
    near[:, 1] = (near[:, 1] & 0x807FFFFF) | (
        (near[:, 0] + (rng.integers(-30, 31, count) << 23).astype(np.uint32)) & 0x7F800000)
    # Short mantissas: exact ties; subnormals on one side.
    short = bits & rng.choice(np.array([0xFFFF0000, 0xFF800000, 0xFFFFF000, 0x807FFFFF],
                                       np.uint32), (count, 2))
    return np.concatenate([edges, bits, near, short])


def random_codes(rng: np.random.Generator, fmt: WeightFormat, shape: tuple[int, ...],
                 special: float = 0.0) -> np.ndarray:
    """Random codes; a share ``special`` of all arrays' last axes may hold NaN and infinity."""
    codes = rng.integers(0, 1 << fmt.bits, shape, dtype=code_dtype(fmt))
    if isinstance(fmt, ZeroPointFormat):
        return codes
    clean = (codes & (fmt.sign_mask - 1)) > fmt.largest_code
    keep = rng.random((*shape[:-1], 1)) < special
    codes[clean & ~keep] = 0
    return codes


def negated(code: int, fmt: NumberFormat) -> int:
    """The code of the negative value."""
    if isinstance(fmt, IntegerFormat):
        return -code & ((1 << fmt.bits) - 1)
    return code ^ fmt.sign_mask


def cancelling_group(name_a: str, name_b: str, length: int, lane: int) -> tuple[np.ndarray,
                                                                               np.ndarray]:
    """Largest product, its negative, and the smallest product at place ``lane`` of ``length``.

    A sum that loses one bit anywhere gives zero here.
    """
    a, b = FORMATS[name_a], FORMATS[name_b]
    left, right = np.zeros(length, code_dtype(a)), np.zeros(length, code_dtype(b))
    others = [place for place in range(length) if place != lane][:2]
    left[lane], right[lane] = 1, 1
    if len(others) == 2:
        left[others] = a.largest_code, negated(a.largest_code, a)
        right[others] = b.largest_code
    return left, right


def scale_codes(rng: np.random.Generator, scale_format: str, shape: tuple[int, ...],
                wild: float = 0.1) -> np.ndarray:
    """Scales as tensors have them, with a share ``wild`` of extremes and of any code at all: of
    ``e4m3``, those of blocks alone."""
    if scale_format == "e4m3":
        # Signs, which are ignored, and NaN among them.
        usual = rng.integers(1, E4M3.largest_code + 1, shape, dtype=np.uint8)
        any_code = rng.integers(0, 256, shape, dtype=np.uint8)
        return np.where(rng.random(shape) < wild, any_code, usual)
    if scale_format == "e8m0":
        usual = rng.integers(110, 140, shape, dtype=np.uint8)
        any_code = np.where(rng.random(shape) < 0.5, rng.integers(0, 256, shape, dtype=np.uint8),
                            rng.choice(np.array([0, 1, 254, 255], np.uint8), shape))
        return np.where(rng.random(shape) < wild, any_code, usual)
    usual = rng.lognormal(-4.0, 2.0, shape).astype(np.float32).view(np.uint32)
    edges = rng.choice(FP32_EDGES, shape)
    return np.where(rng.random(shape) < wild, edges, usual)


def fp32_pair_items(golden: Callable[[np.ndarray, np.ndarray], np.ndarray],
                    oracle: Callable[[int, int], int], count: int) -> list[tuple[int, int, str]]:
    """Stream items of an FP32 operation on two operands: payload, expected code, text.

    Golden and oracle must agree on each pair; numpy alone does not decide what is right.
    """
    pairs = fp32_pairs(np.random.default_rng(bench_seed()), count)
    expected = golden(pairs[:, 0], pairs[:, 1])
    items = []
    for (a, b), code in zip(pairs.tolist(), expected.tolist(), strict=True):
        assert oracle(a, b) == code, f"golden and oracle differ on {a:#010x}, {b:#010x}"
        items.append((a | b << 32, code, f"a {a:#010x} b {b:#010x}"))
    return items
