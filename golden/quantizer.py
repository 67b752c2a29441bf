"""Quantizer: float32 or BF16 arrays to codes and group scales."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.decoder import code_dtype
from golden.encoder import encode
from golden.scale_combiner import E8M0_NAN
from spec.description import Scaling
from spec.formats import FP32, NumberFormat

__all__ = ["quantize", "quantize_blocks"]

# Elements that are worked on at once: what stays in a core's cache.
_CHUNK = 1 << 15

_SMALLEST_FP32 = np.uint32(1)
# The scale 1, as its dtype has it.
_ONE = {"uint8": 127, "float32": 1.0}


def _fp32_bits(value: float) -> np.uint32:
    return np.uint32(np.array(value, np.float32).view(np.uint32))


def _scales(amax: NDArray[np.uint32], fmt: NumberFormat, scaling: Scaling) -> NDArray[Any]:
    """Scales from the largest magnitudes, given as FP32 fields."""
    special = amax >= FP32.exponent_mask
    floored = np.maximum(np.where(special, np.uint32(0), amax), _fp32_bits(scaling.amax_floor))
    if scaling.rule == "fp32-div":
        limit = np.ldexp(np.float32(fmt.largest_magnitude), fmt.smallest_exponent)
        scales = (floored.view(np.float32) / limit).astype(np.float32)
        scales = np.maximum(scales.view(np.uint32), _SMALLEST_FP32)
        return np.where(special, np.uint32(FP32.nan_code), scales).view(np.float32)
    # The exponent field of a subnormal amax is 0, as if it were 2**-127; its significand, taken
    # twice, makes that good.
    exponent = (floored >> FP32.mantissa_bits).astype(np.int32) - fmt.largest_exponent
    if scaling.rule == "e8m0-ceil":
        largest = np.array(fmt.largest_magnitude, np.float32).view(np.uint32)
        hidden, mantissa = np.uint32(1 << FP32.mantissa_bits), np.uint32(FP32.mantissa_mask)
        significand = np.where(floored < hidden, 2 * floored, (floored & mantissa) + hidden)
        exponent += significand > (largest & mantissa) + hidden
    codes = np.clip(exponent, 0, E8M0_NAN - 1)
    return np.where(special, E8M0_NAN, codes).astype(np.uint8)


def _divided(values: NDArray[np.float32], scales: NDArray[Any]) -> NDArray[np.float32]:
    """``fl32(values / scales)``.

    By a power of two this is exact, except where the quotient is a subnormal FP32; then it is far
    below half of the smallest magnitude of any of these formats, before and after that rounding, so
    that the code is the exact quotient's. It never overflows: the scale is made from the largest
    value.
    """
    if scales.dtype == np.float32:
        quotients: NDArray[np.float32] = values / scales
        return quotients
    # 2**-127, for the scale 2**127, is a subnormal FP32 and exact.
    exponent = 127 - np.where(scales == E8M0_NAN, 127, scales).astype(np.int32)
    quotients = values * np.ldexp(np.float32(1.0), exponent)
    return quotients


def _quantized(values: NDArray[np.float32], fmt: NumberFormat, scaling: Scaling,
               codes: NDArray[Any], scales: NDArray[Any]) -> None:
    """Fill ``codes`` [blocks, rows, groups, n] and ``scales`` [blocks, groups] from ``values``."""
    if fmt.bits > 8:
        scales[...] = _ONE[scales.dtype.name]
        codes[...] = encode(values, fmt)
        return
    magnitudes = values.view(np.uint32) & np.uint32(FP32.sign_mask - 1)
    # Along the contiguous axis first: the integer maximum is vectorised there.
    scales[...] = _scales(magnitudes.max(axis=3).max(axis=1), fmt, scaling)
    codes[...] = encode(_divided(values, scales[:, None, :, None]), fmt)
    special = scales == E8M0_NAN if scales.dtype == np.uint8 else np.isnan(scales)
    if bool(special.any()):
        np.copyto(codes, np.uint8(fmt.nan_code), where=special[:, None, :, None])


def _floats(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    check_array(f"{name}: values", values, np.float32, np.uint16)
    if values.size == 0 or values.ndim == 0:
        raise ValueError(f"{name}: values must have at least one element and one dimension, "
                         f"not the shape {list(values.shape)}")
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(values)


def _quantize_matrix(values: NDArray[np.float32], rows: int, fmt: NumberFormat,
                     scaling: Scaling) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize ``values`` [M, K] in blocks of ``rows`` x ``scaling.group``."""
    if fmt.bits > 16:
        raise ValueError(f"quantize: fmt must have 16 bits at most, not be {fmt.name}")
    group = scaling.group
    total, k = values.shape
    codes = np.empty((total, k), code_dtype(fmt))
    scales = np.empty((-(-total // rows), -(-k // group)),
                      np.uint8 if scaling.format == "e8m0" else np.float32)
    whole_groups = k // group * group
    # Whole blocks in chunks, then the block of the rows that are left; in each, the whole groups
    # in chunks and then the tail.
    whole_blocks = total // rows
    step = max(_CHUNK // (rows * min(k, _CHUNK)), 1)
    row_parts = [(b, min(b + step, whole_blocks), rows) for b in range(0, whole_blocks, step)]
    if total % rows:
        row_parts.append((whole_blocks, whole_blocks + 1, total % rows))
    width = max(_CHUNK // (rows * group), 1) * group
    k_parts = [(start, min(start + width, whole_groups), group)
               for start in range(0, whole_groups, width)]
    if k % group:
        k_parts.append((whole_groups, k, k % group))
    with np.errstate(all="ignore"):
        for first, last, height in row_parts:
            lines = slice(first * rows, first * rows + (last - first) * height)
            for start, stop, length in k_parts:
                shape = (last - first, height, (stop - start) // length, length)
                part = np.empty(shape, codes.dtype)
                _quantized(np.ascontiguousarray(values[lines, start:stop]).reshape(shape), fmt,
                           scaling, part, scales[first:last, start // group:-(-stop // group)])
                codes[lines, start:stop] = part.reshape(-1, stop - start)
    return codes, scales


def quantize(values: NDArray[Any], fmt: NumberFormat,
             scaling: Scaling) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize each group of ``scaling.group`` elements along the last axis.

    The scale follows from ``amax``, the largest magnitude of the group or, if that is larger,
    ``fl32(scaling.amax_floor)``, by ``scaling.rule``:

    - ``e8m0-ceil``: ``2**e``, the smallest with ``amax / 2**e`` within the format's finite range;
    - ``e8m0-floor``: ``2**e`` with ``e = floor(log2(amax)) - largest_exponent`` (OCP MX);
    - ``fp32-div``: ``fl32(amax / largest finite value)``, but at least ``2**-149``.

    With E8M0 ``e`` is clamped to [-127, 127].

    :Shapes: ``values`` [..., K]; codes [..., K], scales [..., ceil(K / group)]. The last group is
        shorter when K is no multiple of the group.
    :Formats: ``values`` float32, or uint16 codes of BF16; ``codes`` uint8 or uint16 of ``fmt``;
        ``scales`` uint8 (E8M0) or float32. Codes are ``values / scale``: by a power of two exact
        and rounded once to the code; for ``fp32-div`` first rounded to FP32, as the public
        DeepSeek-V3 kernel does. To nearest even, saturating; subnormals and the sign of zero are
        kept. A group that holds a NaN or an infinity has the scale NaN (0xFF or 0x7FC00000), and
        every code of it is the format's NaN, or 0 where it has none.
        Formats of 16 bits have a range of their own: their scales are 1, and their codes the
        values, rounded once.
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for an empty array.
    """
    floats = _floats("quantize", values)
    codes, scales = _quantize_matrix(floats.reshape(-1, floats.shape[-1]), 1, fmt, scaling)
    return codes.reshape(values.shape), scales.reshape(*values.shape[:-1], scales.shape[1])


def quantize_blocks(values: NDArray[Any], fmt: NumberFormat,
                    scaling: Scaling) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize weights: one scale per ``scaling.weight_rows`` x ``scaling.group`` elements.

    As :func:`quantize`, with ``values`` [M, K] and scales
    [ceil(M / weight_rows), ceil(K / group)]; blocks at the edges are smaller.
    """
    floats = _floats("quantize_blocks", values)
    if floats.ndim != 2:
        raise ValueError(f"quantize_blocks: values must have the shape [M, K], "
                         f"not {list(values.shape)}")
    return _quantize_matrix(floats, scaling.weight_rows, fmt, scaling)
