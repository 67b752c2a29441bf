"""Quantizer: float32 or BF16 arrays to codes and group scales, with zero points for weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.decoder import code_dtype, decode
from golden.encoder import encode
from golden.scale_combiner import E8M0_NAN
from golden.scales import BLOCK_SCALE, block_scales, scale_dtype, zero_point_dtype
from spec.description import Scaling
from spec.formats import (
    E2M1, E4M3, FP32, SCALE_FORMATS, NumberFormat, WeightFormat, ZeroPointFormat,
)

__all__ = ["quantize", "quantize_blocks"]

# Elements that are worked on at once: what stays in a core's cache.
_CHUNK = 1 << 15

_SMALLEST_FP32 = np.float32(2.0 ** -149)
# The scale 1, as its dtype has it.
_ONE = {"uint8": 127, "float32": 1.0}
_NVFP4 = "e4m3-nvfp4"


def _fp32_bits(value: float) -> np.uint32:
    return np.uint32(np.array(value, np.float32).view(np.uint32))


def _largest(fmt: NumberFormat) -> np.float32:
    largest: np.float32 = np.ldexp(np.float32(fmt.largest_magnitude), fmt.smallest_exponent)
    return largest


def _amax(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The FP32 fields of the largest magnitude of each block in [blocks, rows, groups, n]."""
    magnitudes = values.view(np.uint32) & np.uint32(FP32.sign_mask - 1)
    # Along the contiguous axis first: the integer maximum is vectorised there.
    largest: NDArray[np.uint32] = magnitudes.max(axis=3).max(axis=1)
    return largest


def _scales(amax: NDArray[np.uint32], largest: np.float32, scaling: Scaling) -> NDArray[Any]:
    """Scales from the largest magnitudes, given as FP32 fields, and the ``largest`` value that
    codes have."""
    special = amax >= FP32.exponent_mask
    floored = np.maximum(np.where(special, np.uint32(0), amax), _fp32_bits(scaling.amax_floor))
    if scaling.rule == "fp32-div":
        scales = floored.view(np.float32) / largest
        scales = np.maximum(scales, _SMALLEST_FP32).view(np.uint32)
        return np.where(special, np.uint32(FP32.nan_code), scales).view(np.float32)
    # The exponent field of a subnormal amax is 0, as if it were 2**-127; its significand, taken
    # twice, makes that good.
    top = _fp32_bits(float(largest))
    exponent = (floored >> FP32.mantissa_bits).astype(np.int32)
    exponent -= int(top >> FP32.mantissa_bits) - FP32.bias
    if scaling.rule == "e8m0-ceil":
        hidden, mantissa = np.uint32(1 << FP32.mantissa_bits), np.uint32(FP32.mantissa_mask)
        significand = np.where(floored < hidden, 2 * floored, (floored & mantissa) + hidden)
        exponent += significand > (top & mantissa) + hidden
    codes = np.clip(exponent, 0, E8M0_NAN - 1)
    return np.where(special, E8M0_NAN, codes).astype(np.uint8)


def _nvfp4_scales(amax: NDArray[np.uint32], whole: bool, scaling: Scaling) -> NDArray[Any]:
    """Scales of NVFP4 from the FP32 fields ``amax`` [blocks, groups] of the largest magnitudes,
    which are those of one tensor if ``whole``, and otherwise of one in each line."""
    special = amax >= FP32.exponent_mask
    finite = np.where(special, np.uint32(0), amax)
    largest = finite.max(axis=None if whole else 1, keepdims=True)
    floored = np.maximum(largest, _fp32_bits(scaling.amax_floor)).view(np.float32)
    tensor = np.maximum(floored / (_largest(E4M3) * _largest(E2M1)), _SMALLEST_FP32)
    blocks = encode(finite.view(np.float32) / _largest(E2M1) / tensor, E4M3)
    blocks = np.maximum(blocks, np.uint8(1))
    return block_scales(np.where(special, np.uint8(E4M3.nan_code), blocks),
                        np.broadcast_to(tensor[:, 0], amax.shape[:1]))


def _nan_scales(scales: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of ``scales`` are NaN."""
    nan: NDArray[np.bool_]
    if scales.dtype == BLOCK_SCALE:
        nan = scales["block"] == E4M3.nan_code
    else:
        nan = scales == E8M0_NAN if scales.dtype == np.uint8 else np.isnan(scales)
    return nan


def _divided(values: NDArray[np.float32], scales: NDArray[Any]) -> NDArray[np.float32]:
    """``fl32(values / scales)``; of NVFP4, by the products of both scales, rounded to FP32.

    By a power of two this is exact, except where the quotient is a subnormal FP32; then it is far
    below half of the smallest magnitude of any of these formats, before and after that rounding, so
    that the code is the exact quotient's. It never overflows: the scale is made from the largest
    value.
    """
    if scales.dtype == BLOCK_SCALE:
        # Never zero, by which nothing can be divided.
        products = decode(scales["block"], E4M3).astype(np.float32) * scales["tensor"]
        scales = np.maximum(products, _SMALLEST_FP32)
    if scales.dtype == np.float32:
        quotients: NDArray[np.float32] = values / scales
        return quotients
    # 2**-127, for the scale 2**127, is a subnormal FP32 and exact.
    exponent = 127 - np.where(scales == E8M0_NAN, 127, scales).astype(np.int32)
    quotients = values * np.ldexp(np.float32(1.0), exponent)
    return quotients


def _quantized(values: NDArray[np.float32], fmt: NumberFormat,
               scales: NDArray[Any]) -> NDArray[Any]:
    """Codes of ``values`` [blocks, rows, groups, n] with ``scales`` [blocks, groups]."""
    codes = encode(_divided(values, scales[:, None, :, None]), fmt)
    special = _nan_scales(scales)
    if bool(special.any()):
        np.copyto(codes, np.uint8(fmt.nan_code), where=special[:, None, :, None])
    return codes


def _ends(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32],
                                                NDArray[np.bool_]]:
    """The lowest and the highest of zero and the values of each block, and which blocks hold a NaN
    or an infinity."""
    # Integers in the order of the values, NaN beyond the infinities: they are their own inverse.
    def ordered(bits: NDArray[np.int32]) -> NDArray[np.int32]:
        return bits ^ ((bits >> np.int32(31)) & np.int32(FP32.sign_mask - 1))

    keys = ordered(values.view(np.int32))
    lowest = np.minimum(keys.min(axis=3).min(axis=1), np.int32(0))
    highest = np.maximum(keys.max(axis=3).max(axis=1), np.int32(0))
    infinity = np.int32(FP32.exponent_mask)
    return (ordered(lowest).view(np.float32), ordered(highest).view(np.float32),
            (highest >= infinity) | (lowest <= ~infinity))


def _zero_point_quantized(values: NDArray[np.float32], fmt: ZeroPointFormat,
                          scaling: Scaling) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Codes of ``values`` [blocks, rows, groups, n], and scales with zero points
    [blocks, groups]."""
    low, high, special = _ends(values)
    # NaN or infinite where an end is.
    spans = high - low
    # Where only the range overflows, both ends are large and their halves exact; so is the scale of
    # half the range, taken twice.
    halved = np.isinf(spans) & ~special
    spans = np.where(halved, high / np.float32(2) - low / np.float32(2), spans)
    scales = _scales(spans.view(np.uint32), np.float32(fmt.largest_code), scaling)
    twice = scales * np.float32(2) if scales.dtype == np.float32 else scales + np.uint8(1)
    scales = np.where(halved, twice, scales)

    largest = np.float32(fmt.largest_code)
    zeros = np.minimum(np.rint(_divided(-low, scales)), largest)
    numbers = np.rint(_divided(values, scales[:, None, :, None]))
    numbers += zeros[:, None, :, None]
    np.clip(numbers, np.float32(0), largest, out=numbers)
    both = np.empty(scales.shape, zero_point_dtype(SCALE_FORMATS[scaling.format]))
    both["scale"], both["zero"] = scales, np.where(special, np.float32(0), zeros)
    if bool(special.any()):
        np.copyto(numbers, np.float32(0), where=special[:, None, :, None])
    return numbers.astype(np.uint8), both


def _floats(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    check_array(f"{name}: values", values, np.float32, np.uint16)
    if values.size == 0 or values.ndim == 0:
        raise ValueError(f"{name}: values must have at least one element and one dimension, "
                         f"not the shape {list(values.shape)}")
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(values)


@dataclass(frozen=True)
class _Part:
    """Blocks of one size that are worked on at once: where their elements and their scales are,
    and the shape [blocks, rows, groups, n] of the elements."""

    elements: tuple[slice, slice]
    scales: tuple[slice, slice]
    shape: tuple[int, int, int, int]


def _parts(total: int, k: int, rows: int, group: int) -> Iterator[_Part]:
    """Whole blocks of ``rows`` x ``group`` in chunks, then the block of the rows that are left; in
    each, the whole groups in chunks and then the tail."""
    whole_groups = k // group * group
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
    for first, last, height in row_parts:
        lines = slice(first * rows, first * rows + (last - first) * height)
        for start, stop, length in k_parts:
            yield _Part(elements=(lines, slice(start, stop)),
                        scales=(slice(first, last), slice(start // group, -(-stop // group))),
                        shape=(last - first, height, (stop - start) // length, length))


def _quantize_matrix(values: NDArray[np.float32], rows: int, fmt: WeightFormat, scaling: Scaling,
                     whole: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize ``values`` [M, K] in blocks of ``rows`` x ``scaling.group``; they are one tensor if
    ``whole``, and otherwise one in each row."""
    if fmt.bits > 16:
        raise ValueError(f"quantize: fmt must have 16 bits at most, not be {fmt.name}")
    if scaling.rule == _NVFP4 and fmt != E2M1:
        raise ValueError(f"quantize: fmt must be e2m1 with the rule {_NVFP4}, not {fmt.name}")
    total, k = values.shape
    codes = np.empty((total, k), code_dtype(fmt))
    dtype_of = zero_point_dtype if isinstance(fmt, ZeroPointFormat) else scale_dtype
    scales = np.empty((-(-total // rows), -(-k // scaling.group)),
                      dtype_of(SCALE_FORMATS[scaling.format]))
    if fmt.bits > 8:
        scales[...] = _ONE[scales.dtype.name]
    parts = list(_parts(total, k, rows, scaling.group))

    def elements(part: _Part) -> NDArray[np.float32]:
        return np.ascontiguousarray(values[part.elements]).reshape(part.shape)

    with np.errstate(all="ignore"):
        if scaling.rule == _NVFP4:
            # All of the tensor before any of its codes.
            amax = np.empty(scales.shape, np.uint32)
            for part in parts:
                amax[part.scales] = _amax(elements(part))
            scales[...] = _nvfp4_scales(amax, whole, scaling)
        for part in parts:
            block = elements(part)
            if isinstance(fmt, ZeroPointFormat):
                found, scales[part.scales] = _zero_point_quantized(block, fmt, scaling)
            elif fmt.bits > 8:
                found = encode(block, fmt)
            else:
                if scaling.rule != _NVFP4:
                    scales[part.scales] = _scales(_amax(block), _largest(fmt), scaling)
                found = _quantized(block, fmt, scales[part.scales])
            codes[part.elements] = found.reshape(-1, block.shape[2] * block.shape[3])
    return codes, scales


def quantize(values: NDArray[Any], fmt: NumberFormat,
             scaling: Scaling) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize each group of ``scaling.group`` elements along the last axis.

    The scale follows from ``amax``, the largest magnitude of the group or, if that is larger,
    ``fl32(scaling.amax_floor)``, by ``scaling.rule``:

    - ``e8m0-ceil``: ``2**e``, the smallest with ``amax / 2**e`` within the format's finite range;
    - ``e8m0-floor``: ``2**e`` with ``e = floor(log2(amax)) - largest_exponent`` (OCP MX);
    - ``fp32-div``: ``fl32(amax / largest finite value)``, but at least ``2**-149``;
    - ``e4m3-nvfp4``: two scales. That of the tensor, which here is one vector along the last axis,
      is ``t = fl32(amax / 2688)``, but at least ``2**-149``, from the ``amax`` of all its groups
      that hold no NaN and no infinity (2688 is 448 * 6, the largest E4M3 and E2M1). That of a group
      is the E4M3 code ``s`` nearest to ``fl32(fl32(m / 6) / t)``, with ``m`` the group's own
      largest magnitude; at least ``2**-9``, so that it is never zero, and at most 448.

    With E8M0 ``e`` is clamped to [-127, 127].

    :Shapes: ``values`` [..., K]; codes [..., K], scales [..., ceil(K / group)]. The last group is
        shorter when K is no multiple of the group.
    :Formats: ``values`` float32, or uint16 codes of BF16; ``codes`` uint8 or uint16 of ``fmt``;
        ``scales`` uint8 (E8M0), float32, or :data:`golden.scales.BLOCK_SCALE` with ``s`` and ``t``.
        Codes are ``values / scale``: by a power of two exact and rounded once to the code; for
        ``fp32-div`` first rounded to FP32, as the public DeepSeek-V3 kernel does; for
        ``e4m3-nvfp4`` likewise, with ``fl32(s * t)`` as the scale, or ``2**-149`` where that is
        zero, as it can be for groups without values above ``3 * 2**-149``. To nearest even,
        saturating; subnormals and the sign of zero are kept. A group that holds a NaN or an
        infinity has the scale NaN (0xFF, 0x7FC00000, or ``s`` 0x7F and the ``t`` of the others),
        and every code of it is the format's NaN, or 0 where it has none.
        Formats of 16 bits have a range of their own: their scales are 1, and their codes the
        values, rounded once.
    :Errors: ``TypeError`` for a wrong dtype; ``ValueError`` for an empty array, for a ``fmt`` with
        zero points, which activations have not, and for another than E2M1 with ``e4m3-nvfp4``.
    :Source: for ``e4m3-nvfp4`` NVIDIA, "Introducing NVFP4 for Efficient and Accurate Low-Precision
        Inference". Public kernels of it multiply by reciprocals, and their scales and codes may be
        neighbours of these.
    """
    floats = _floats("quantize", values)
    if isinstance(fmt, ZeroPointFormat):
        raise ValueError(f"quantize: fmt must have no zero points, which only weights have "
                         f"(quantize_blocks), not be {fmt.name}")
    codes, scales = _quantize_matrix(floats.reshape(-1, floats.shape[-1]), 1, fmt, scaling,
                                     whole=False)
    return codes.reshape(values.shape), scales.reshape(*values.shape[:-1], scales.shape[1])


def quantize_blocks(values: NDArray[Any], fmt: WeightFormat,
                    scaling: Scaling) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize weights: one scale per ``scaling.weight_rows`` x ``scaling.group`` elements.

    As :func:`quantize`, with ``values`` [M, K] and scales
    [ceil(M / weight_rows), ceil(K / group)]; blocks at the edges are smaller. For ``e4m3-nvfp4``
    all of ``values`` are one tensor.

    With zero points (:class:`spec.formats.ZeroPointFormat`), the scale follows from the range of
    the block. ``lo`` is its smallest value and ``hi`` its largest, but zero where that is lower or
    higher, so that zero always has a code; ``L = 2**bits - 1`` is the largest code. In the place of
    ``amax`` stands ``fl32(hi - lo)``, rounded as if FP32 had no largest exponent:

    - ``e8m0-ceil``: ``2**e``, the smallest with ``range / 2**e <= L``;
    - ``e8m0-floor``: ``2**e`` with ``e = floor(log2(range)) - (bits - 1)``;
    - ``fp32-div``: ``fl32(range / L)``, but at least ``2**-149``.

    The zero point is ``zero = fl32(-lo / scale)`` rounded to an integer, at most ``L``; a code is
    ``fl32(value / scale)`` rounded to an integer, plus ``zero``, and within 0 and ``L``. Both round
    to nearest, ties to even. A block that holds a NaN or an infinity has the scale NaN, and all its
    codes and its zero point are 0.

    :Formats: as of :func:`quantize`, and with zero points :func:`golden.scales.zero_point_dtype`.
    :Errors: as of :func:`quantize`, and ``ValueError`` for another shape.
    :Source: for zero points Jacob et al., "Quantization and Training of Neural Networks for
        Efficient Integer-Arithmetic-Only Inference" (2018), sections 2.1 and 3.
    """
    floats = _floats("quantize_blocks", values)
    if floats.ndim != 2:
        raise ValueError(f"quantize_blocks: values must have the shape [M, K], "
                         f"not {list(values.shape)}")
    return _quantize_matrix(floats, scaling.weight_rows, fmt, scaling, whole=True)
