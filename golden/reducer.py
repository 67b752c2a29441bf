"""Reducer: sums, extremes and places of the elements of rows, in a defined order."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array, check_shape
from golden.decoder import code_dtype, decode
from golden.fp32 import to_fp32_codes
from golden.scale_combiner import E8M0_NAN
from spec.formats import BF16, FP32, FloatFormat
from spec.tensor_units import ReducerParams
from spec.tensors import Reduction

__all__ = ["Reduced", "reducer"]

Floats = NDArray[np.float32]

_MAGNITUDE = np.uint32(FP32.sign_mask - 1)


class Reduced(NamedTuple):
    """One result per reduction: two words of 32 bits."""

    value: NDArray[np.uint32]
    second: NDArray[np.uint32]


def _values(codes: NDArray[Any], fmt: FloatFormat) -> Floats:
    """The codes' values; all formats are exact in FP32."""
    if fmt == FP32:
        return np.ascontiguousarray(codes).view(np.float32)
    if fmt == BF16:
        return (codes.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return decode(codes, fmt).astype(np.float32)


def _factors(scales: NDArray[Any]) -> Floats:
    """Scales as float32; every E8M0 scale is exact, ``2**-127`` as a subnormal."""
    if scales.dtype == np.float32:
        return scales
    powers = np.ldexp(np.float32(1.0), scales.astype(np.int32) - 127)
    return np.where(scales == E8M0_NAN, np.float32(np.nan), powers).astype(np.float32)


def _padded(values: Floats, axis: int, multiple: int) -> Floats:
    """Fill ``axis`` up to a multiple with -0, which no addition notices."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % multiple)
    return np.pad(values, widths, constant_values=np.float32(-0.0))


def _tree(values: Floats) -> Floats:
    """Add neighbours along the last axis, a power of two long, until one is left."""
    while values.shape[-1] > 1:
        values = values[..., 0::2] + values[..., 1::2]
    return values[..., 0]


def _chained(terms: Floats) -> NDArray[np.uint32]:
    """Sums of the atoms ``terms`` [reductions, atoms]."""
    chains = ReducerParams.CHAINS
    lines = _padded(terms, 1, chains).reshape(terms.shape[0], -1, chains)
    # Unlike np.sum, accumulate adds one after the other.
    return to_fp32_codes(_tree(np.add.accumulate(lines, axis=1, dtype=np.float32)[:, -1]))


def _summed(values: Floats, factors: Floats | None, lanes: int, group: int | None, whole: bool,
            squared: bool) -> NDArray[np.uint32]:
    """Sums of the rows of ``values``, or of their squares."""
    rows = values.shape[0]
    with np.errstate(all="ignore"):
        leaves = _padded(values * values if squared else values, 1, lanes)
        terms = _tree(leaves.reshape(rows, -1, lanes))
        if factors is not None and group is not None:
            atom_factors = np.repeat(factors, group // lanes, axis=1)[:, :terms.shape[1]]
            for _ in range(1 + squared):
                terms = terms * atom_factors
        return _chained(terms.reshape(1, -1) if whole else terms)


def _ordered(values: Floats) -> NDArray[np.int32]:
    """Integers in the order of the values, -0 below +0; and back. NaN means nothing."""
    bits = values.view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(_MAGNITUDE))


def _extreme(values: Floats, reduction: Reduction) -> NDArray[np.uint32]:
    if reduction == Reduction.AMAX:
        found = (values.view(np.uint32) & _MAGNITUDE).max(axis=1).view(np.float32)
    else:
        keys = _ordered(values)
        keys = keys.max(axis=1) if reduction == Reduction.MAX else keys.min(axis=1)
        found = _ordered(keys.view(np.float32)).view(np.float32)
    found = np.where(np.isnan(values).any(axis=1), np.float32(np.nan), found)
    return to_fp32_codes(found.astype(np.float32))


def _check(codes: NDArray[Any], fmt: FloatFormat, reduction: Reduction, params: ReducerParams,
           scales: NDArray[Any] | None, group: int | None) -> None:
    if fmt.name not in params.formats:
        raise ValueError(f"reducer: fmt must be one of {', '.join(params.formats)}, "
                         f"not {fmt.name}")
    if reduction == Reduction.NONE:
        raise ValueError("reducer: reduction must be one of "
                         f"{', '.join(r.name for r in Reduction if r)}, not NONE")
    check_array("reducer: codes", codes, code_dtype(fmt), dimensions=2)
    if codes.size == 0:
        raise ValueError(f"reducer: codes must have at least one row and one element, "
                         f"not the shape {list(codes.shape)}")
    if fmt.bits > 8:
        if scales is not None or group is not None:
            raise ValueError(f"reducer: {fmt.name} has no scales; leave out scales and group")
        return
    if scales is None or group is None:
        raise ValueError(f"reducer: {fmt.name} needs scales and group")
    lanes = params.lanes(fmt.name)
    if group < lanes or group % lanes:
        raise ValueError(f"reducer: group must be a multiple of the {lanes} elements of an atom, "
                         f"not {group}")
    check_array("reducer: scales", scales,
                np.uint8 if params.scale_format == "e8m0" else np.float32)
    rows, k = codes.shape
    check_shape("reducer: scales", scales, (rows, -(-k // group)), f"one per {group} codes")


def reducer(codes: NDArray[Any], fmt: FloatFormat, reduction: Reduction, params: ReducerParams,
            scales: NDArray[Any] | None = None, group: int | None = None,
            whole: bool = False) -> Reduced:
    """Reduce each row, or with ``whole`` all of them to one result.

    A row is cut into atoms of ``params.lanes(fmt.name)`` elements, the last may be shorter; with
    ``whole`` the atoms of all rows follow each other. A scale belongs to ``group`` elements of a
    row, the last group may be shorter.

    - ``SUM``: the values of one atom are the leaves of a tree: neighbours are added, ``fl32`` at
      each node, until one is left; missing elements are -0. FP8 codes are added without their
      scale, and then ``t = fl32(sum * scale)``. Atom ``i`` goes to chain ``i mod CHAINS``, and a
      chain adds its atoms in ascending order, ``fl32(acc + t)``, from its first one on. The
      result is ``fl32(fl32(c0 + c1) + fl32(c2 + c3))``; a chain without atoms is -0.
    - ``SUM_SQUARES``: the same with ``fl32(x * x)`` as leaves, and
      ``t = fl32(fl32(sum * scale) * scale)``.
    - ``MOMENTS``: ``value`` is ``SUM``, ``second`` is ``SUM_SQUARES``.
    - ``MAX``, ``MIN``, ``AMAX``: of ``x = fl32(code's value * scale)``, as IEEE 754-2019's maximum
      and minimum: any NaN gives NaN, and -0 is less than +0. AMAX is the largest magnitude.
    - ``ARGMAX``: ``second`` is the place of the first largest ``x``, counting the elements of the
      reduction from 0; any NaN is larger than all numbers, -0 equals +0. ``value`` is that ``x``.

    :Shapes: ``codes`` [rows, k], ``scales`` [rows, ceil(k / group)]; results [rows], or [1].
    :Formats: ``codes`` uint8, uint16 or uint32 of ``fmt``; ``scales`` uint8 (``e8m0``) or float32,
        of FP8 only. ``value`` FP32 codes, and ``second`` of MOMENTS; of ARGMAX an unsigned
        integer, otherwise 0. ``fl32`` rounds to nearest even and keeps subnormals; overflow gives
        infinity; every NaN is 0x7FC00000.
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape or format.
    """
    _check(codes, fmt, reduction, params, scales, group)
    lanes = params.lanes(fmt.name)
    values = _values(codes, fmt)
    factors = None if scales is None else _factors(scales)
    if reduction in (Reduction.SUM, Reduction.SUM_SQUARES, Reduction.MOMENTS):
        first = _summed(values, factors, lanes, group, whole, reduction == Reduction.SUM_SQUARES)
        second = (_summed(values, factors, lanes, group, whole, squared=True)
                  if reduction == Reduction.MOMENTS else np.zeros_like(first))
        return Reduced(first, second)
    if factors is not None and group is not None:
        with np.errstate(all="ignore"):
            values = values * np.repeat(factors, group, axis=1)[:, :codes.shape[1]]
    if whole:
        values = values.reshape(1, -1)
    if reduction != Reduction.ARGMAX:
        found = _extreme(values, reduction)
        return Reduced(found, np.zeros_like(found))
    # As the contract: the first NaN if there is one, and -0 equal to +0.
    places = values.argmax(axis=1)
    return Reduced(to_fp32_codes(values[np.arange(values.shape[0]), places]),
                   places.astype(np.uint32))
