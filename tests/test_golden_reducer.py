import math

import numpy as np
import pytest

from golden.decoder import decode
from golden.reducer import reducer
from spec.formats import BF16, E4M3, E5M2, FLOAT_FORMATS, FP32
from spec.tensor_units import ReducerParams
from spec.tensors import Reduction
from tb.reduction_oracle import reduced
from tests.golden_cases import FP32_EDGES

FORMATS = ("bf16", "e4m3", "e5m2", "fp32")
UNITS = [ReducerParams(atom_bits=bits, formats=FORMATS, scale_format=scales)
         for bits, scales in ((64, "fp32"), (256, "e8m0"), (512, "fp32"))]
EVERY_UNIT = pytest.mark.parametrize(
    "params", UNITS, ids=lambda params: f"{params.atom_bits}-{params.scale_format}")
EVERY_FORMAT = pytest.mark.parametrize("fmt", FLOAT_FORMATS.values(), ids=lambda fmt: fmt.name)
REDUCTIONS = [reduction for reduction in Reduction if reduction]
EVERY_REDUCTION = pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda r: r.name)
DTYPES = {8: np.uint8, 16: np.uint16, 32: np.uint32}


def scales_for(rng, fmt, params, shape, wild=False):
    """Scales of FP8 codes, any at all with ``wild``; None for other formats."""
    if fmt.bits > 8:
        return None
    if params.scale_format == "e8m0":
        return rng.integers(0 if wild else 110, 256 if wild else 140, shape, dtype=np.uint8)
    if wild:
        return rng.choice(FP32_EDGES, shape).view(np.float32)
    return rng.normal(size=shape).astype(np.float32)


def beats_of(codes, scales, lanes):
    """Atoms of all rows as the oracle takes them; one scale per atom."""
    beats = []
    for row, line in enumerate(codes.tolist()):
        for atom, start in enumerate(range(0, len(line), lanes)):
            scale = 0 if scales is None else int(
                scales[row, atom:atom + 1].view(DTYPES[8 * scales.itemsize])[0])
            beats.append((line[start:start + lanes], scale))
    return beats


def agrees(codes, fmt, reduction, params, scales=None):
    """Rows one by one and as a whole, against the oracle."""
    codes = np.asarray(codes).astype(DTYPES[fmt.bits])
    lanes = params.lanes(fmt.name)
    group = None if scales is None else lanes
    single = reducer(codes, fmt, reduction, params, scales, group)
    whole = reducer(codes, fmt, reduction, params, scales, group, whole=True)
    assert single.value.dtype == single.second.dtype == np.uint32
    expected = [reduced(beats_of(codes[row:row + 1],
                                 None if scales is None else scales[row:row + 1], lanes),
                        reduction, fmt, params.scale_format, lanes)
                for row in range(len(codes))]
    assert list(zip(single.value.tolist(), single.second.tolist(), strict=True)) == expected
    assert (int(whole.value[0]), int(whole.second[0])) == reduced(
        beats_of(codes, scales, lanes), reduction, fmt, params.scale_format, lanes)


@EVERY_UNIT
@EVERY_FORMAT
@EVERY_REDUCTION
def test_random_codes_match_the_oracle(params, fmt, reduction):
    rng = np.random.default_rng(31)
    lanes = params.lanes(fmt.name)
    for rows, k, wild in ((1, 1, False), (3, 5 * lanes + 1, False), (2, 2 * lanes - 1, True)):
        codes = rng.integers(0, 1 << fmt.bits, (rows, k))
        numbers = np.where((codes & (fmt.sign_mask - 1)) > fmt.largest_code, 1, codes)
        scales = scales_for(rng, fmt, params, (rows, -(-k // lanes)), wild)
        agrees(codes, fmt, reduction, params, scales)
        agrees(numbers, fmt, reduction, params, scales)
        # Close exponents, so that sums round, tie and cancel.
        close = codes & (fmt.sign_mask | fmt.mantissa_mask | 1 << fmt.mantissa_bits)
        agrees(close | fmt.bias << fmt.mantissa_bits & fmt.exponent_mask - (
            1 << fmt.mantissa_bits), fmt, reduction, params, scales)


@EVERY_FORMAT
@EVERY_REDUCTION
def test_extreme_rows_match_the_oracle(fmt, reduction):
    params = UNITS[0]
    rng = np.random.default_rng(32)
    length = 4 * params.lanes(fmt.name) + 1
    negative, largest, one = fmt.sign_mask, fmt.largest_code, fmt.bias << fmt.mantissa_bits
    infinity = fmt.infinity_code or largest
    fills = [[0], [negative], [0, negative], [negative, 0], [1], [1, negative | 1], [largest],
             [negative | largest], [largest, negative | largest], [infinity],
             [infinity, negative | infinity], [negative | infinity], [one, one + 1]]
    rows = np.array([np.resize(fill, length) for fill in fills])
    rows = np.concatenate([rows, rows, rows])
    rows[len(fills):2 * len(fills), -1] = fmt.nan_code
    rows[2 * len(fills):, -1] = 1
    scales = scales_for(rng, fmt, params, (len(rows), 5))
    agrees(rows, fmt, reduction, params, scales)
    if scales is not None:
        agrees(rows, fmt, reduction, params, scales_for(rng, fmt, params, scales.shape, wild=True))


def test_the_order_of_additions_is_the_contract():
    params = UNITS[1]
    # 2**24 + 1 is a tie: it matters who meets whom.
    big, one = 0x4B800000, 0x3F800000
    minus = big | FP32.sign_mask

    def total(*codes):
        return reducer(np.array([codes], np.uint32), FP32, Reduction.SUM, params).value.tolist()[0]

    # Neighbours in the atom first: 1 + 1 is kept, 2**24 + 1 is not.
    assert total(big, minus, one, one, 0, 0, 0, 0) == 0x40000000
    assert total(big, one, minus, one, 0, 0, 0, 0) == one
    # Atoms 0 and 4 share a chain, atoms 0 and 1 meet last.
    atoms = np.zeros((6, 8), np.uint32)
    atoms[[0, 4, 5], 0] = big, minus, one
    assert total(*atoms.ravel()) == one
    atoms[[4, 5]] = atoms[[5, 4]]
    assert total(*atoms.ravel()) == 0


def test_sums_are_close_to_the_exact_ones():
    rng = np.random.default_rng(33)
    values = rng.normal(size=(20, 3000)).astype(np.float32)
    found = reducer(values.view(np.uint32), FP32, Reduction.MOMENTS, UNITS[1])
    for row, value, second in zip(values.tolist(), found.value.view(np.float32),
                                  found.second.view(np.float32), strict=True):
        # Far fewer roundings on the way of each element than there are elements.
        bound = 2.0 ** -24 * (3 + math.ceil(3000 / 32) + 2)
        assert abs(math.fsum(row) - float(value)) <= bound * math.fsum(map(abs, row))
        exact = math.fsum(x * x for x in row)
        assert abs(exact - float(second)) <= (bound + 2.0 ** -24) * exact


@EVERY_FORMAT
def test_extremes_are_numpy_s(fmt):
    rng = np.random.default_rng(34)
    codes = rng.integers(0, fmt.largest_code + 1, (50, 77))
    codes = (codes | rng.integers(0, 2, codes.shape) * fmt.sign_mask).astype(DTYPES[fmt.bits])
    scales, group = None, None
    values = decode(codes, fmt)
    if fmt.bits == 8:
        scales, group = np.full((50, 3), 127, np.uint8), 32
    for reduction, expected in ((Reduction.MAX, values.max(axis=1)),
                                (Reduction.MIN, values.min(axis=1)),
                                (Reduction.AMAX, np.abs(values).max(axis=1)),
                                (Reduction.ARGMAX, values.max(axis=1))):
        found = reducer(codes, fmt, reduction, UNITS[1], scales, group)
        assert np.array_equal(found.value.view(np.float32), expected.astype(np.float32))
        assert np.array_equal(found.second, values.argmax(axis=1) if reduction == Reduction.ARGMAX
                              else np.zeros(50))


def test_a_group_is_several_atoms():
    rng = np.random.default_rng(35)
    codes = rng.integers(0, 120, (3, 300), dtype=np.uint8)
    scales = rng.integers(120, 130, (3, 3), dtype=np.uint8)
    per_atom = np.repeat(scales, 4, axis=1)[:, :10]
    for reduction in REDUCTIONS:
        by_group = reducer(codes, E4M3, reduction, UNITS[1], scales, 128)
        by_atom = reducer(codes, E4M3, reduction, UNITS[1], per_atom, 32)
        assert np.array_equal(by_group, by_atom)


def test_rejects_what_it_cannot_reduce():
    codes, scales = np.zeros((2, 8), np.uint8), np.zeros((2, 1), np.uint8)
    only = ReducerParams(atom_bits=64, formats=("bf16", "e4m3"), scale_format="e8m0")

    def fails(kind, message, *arguments):
        with pytest.raises(kind, match=f"^reducer: {message}$"):
            reducer(*arguments)

    fails(ValueError, "fmt must be one of bf16, e4m3, not e5m2", codes, E5M2, Reduction.SUM, only,
          scales, 8)
    fails(ValueError, "reduction must be one of SUM, SUM_SQUARES, MAX, MIN, AMAX, ARGMAX, MOMENTS, "
          "not NONE", codes, E4M3, Reduction.NONE, only, scales, 8)
    fails(TypeError, "codes must be an array of uint16, not of uint8",
          codes, BF16, Reduction.SUM, only)
    fails(ValueError, r"codes must have at least one row and one element, not the shape \[0, 8\]",
          codes[:0], E4M3, Reduction.SUM, only, scales, 8)
    fails(ValueError, "e4m3 needs scales and group", codes, E4M3, Reduction.SUM, only)
    fails(ValueError, "bf16 has no scales; leave out scales and group", codes.astype(np.uint16),
          BF16, Reduction.SUM, only, scales, 8)
    fails(ValueError, "group must be a multiple of the 8 elements of an atom, not 12", codes, E4M3,
          Reduction.SUM, only, scales, 12)
    fails(ValueError, r"scales must have the shape \[2, 1\] \(one per 8 codes\), not \[2, 2\]",
          codes, E4M3, Reduction.SUM, only, np.zeros((2, 2), np.uint8), 8)
    fails(TypeError, "scales must be an array of uint8, not of float32", codes, E4M3,
          Reduction.SUM, only, scales.astype(np.float32), 8)
