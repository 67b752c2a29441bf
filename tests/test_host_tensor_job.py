"""Jobs on whole tensors: what they make, and what is said where a tile cannot do them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from golden.converter import converter
from golden.quantizer import quantize
from golden.reducer import reducer
from host.job import JobError
from host.tensor_job import (
    Tensor, TensorJob, copy_job, quantize_job, reduce_job, transpose_job,
)
from spec.description import Scaling, Transpose
from spec.load import load_tile
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat, wide_results
from spec.tile import Tile
from tests.conftest import PROJECT
from tests.tensor_cases import TENSOR_TILES, executed, random_tensor

BF16, FP32, E4M3, E5M2 = (TensorFormat.BF16, TensorFormat.FP32, TensorFormat.E4M3,
                          TensorFormat.E5M2)

EVERY_TILE = pytest.mark.parametrize("tile", TENSOR_TILES, ids=lambda tile: tile.name)

# Rows and elements, those that fill neither an atom nor a group among them.
SHAPES = [(1, 1), (3, 17), (2, 64), (5, 150), (17, 33)]


def scaling_of(tile: Tile, rule: str, group: int) -> Scaling:
    return Scaling.model_validate({
        "format": rule.partition("-")[0], "rule": rule, "group": group,
        "amax_floor": tile.description.scaling.amax_floor})


def same(found: Any, expected: Any) -> bool:
    """Whether two arrays are equal in type, shape and every bit."""
    return bool(found.dtype == expected.dtype and found.shape == expected.shape
                and found.tobytes() == np.ascontiguousarray(expected).tobytes())


@EVERY_TILE
def test_quantize_makes_what_the_quantizer_makes(tile: Tile) -> None:
    described = tile.description.quantize
    assert described is not None
    rng = np.random.default_rng(2)
    for (rows, k), target, rule, group in itertools.product(
            SHAPES, described.formats, described.rules, described.groups):
        tensor = random_tensor(rng, tile, BF16, rows, k)
        job = quantize_job(tile, tensor, TensorFormat[target.upper()], RULE_NAMES[rule], group)
        codes, scales = quantize(tensor.codes, TensorFormat[target.upper()].float_format,
                                 scaling_of(tile, rule, group))
        found = executed(job)
        assert same(found[0], codes) and same(found[1], scales)


@EVERY_TILE
@pytest.mark.parametrize("reduction", [one for one in Reduction if one])
def test_reduce_makes_what_the_reducer_makes(tile: Tile, reduction: Reduction) -> None:
    assert tile.reducer is not None
    rng = np.random.default_rng(3)
    for (rows, k), name, whole in itertools.product(SHAPES, tile.reducer.formats, (False, True)):
        fmt = TensorFormat[name.upper()]
        tensor = random_tensor(rng, tile, fmt, rows, k)
        codes = tensor.codes.view(np.uint32) if fmt == FP32 else tensor.codes
        expected = reducer(codes, fmt.float_format, reduction, tile.reducer, tensor.scales,
                           tile.group if tensor.scales is not None else None, whole)
        found, scales = executed(reduce_job(tile, tensor, reduction, whole))
        assert scales is None and found.shape == (1 if whole else rows,)
        if not wide_results(reduction):
            assert same(found.view(np.uint32), expected.value)
            continue
        first, second = found.dtype.names or ()
        assert same(found[first].view(np.uint32), expected.value)
        assert same(found[second].view(np.uint32), expected.second)


@EVERY_TILE
def test_transpose_moves_every_element(tile: Tile) -> None:
    rng = np.random.default_rng(4)
    for (rows, k), dtype in itertools.product([*SHAPES, (130, 257)], (np.uint8, np.uint16)):
        codes = rng.integers(0, np.iinfo(dtype).max + 1, (rows, k), dtype)
        job = transpose_job(tile, Tensor(E5M2 if dtype == np.uint8 else BF16, codes))
        found, scales = executed(job)
        assert scales is None and same(found, codes.T)


@EVERY_TILE
def test_transpose_makes_scales_of_the_other_direction(tile: Tile) -> None:
    assert tile.transposer is not None and tile.tensor_checker is not None
    block = tile.transposer.block
    rule = tile.description.scaling.rule
    rng = np.random.default_rng(5)
    for (rows, k), name in itertools.product([*SHAPES, (130, 190)],
                                             tile.tensor_checker.requantized):
        source = TensorFormat[name.upper()]
        tensor = random_tensor(rng, tile, source, rows, k)
        values = tensor.codes
        if source != BF16:
            values = converter(values, source.float_format, BF16.float_format, tensor.scales,
                               tile.group)
        codes, scales = quantize(np.ascontiguousarray(values.T), E4M3.float_format,
                                 scaling_of(tile, rule, block))
        found = executed(transpose_job(tile, tensor, E4M3, RULE_NAMES[rule]))
        assert same(found[0], codes) and same(found[1], scales.T)
        assert found[1] is not None and found[1].shape == (-(-rows // block), k)


@EVERY_TILE
def test_copy_converts_between_all_formats(tile: Tile) -> None:
    assert tile.description.convert is not None
    formats = [TensorFormat[name.upper()] for name in tile.description.convert.formats]
    rule, group = tile.description.scaling.rule, tile.group
    rng = np.random.default_rng(6)
    for (rows, k), source, target in itertools.product(SHAPES, formats, formats):
        tensor = random_tensor(rng, tile, source, rows, k)
        values, scales = executed(copy_job(tile, tensor, target, RULE_NAMES[rule], group))
        if source == target:
            assert same(values, tensor.codes)
            assert scales is tensor.scales is None or same(scales, tensor.scales)
            continue
        codes, way = tensor.codes, source
        if source == FP32:
            codes = codes.view(np.uint32)
        if tensor.scales is not None:
            way = FP32 if target == FP32 else BF16
            codes = converter(codes, source.float_format, way.float_format, tensor.scales, group)
        if target in (BF16, FP32):
            codes = converter(codes, way.float_format, target.float_format)
            assert scales is None and same(values, codes.view(values.dtype))
            continue
        expected = quantize(codes.view(np.float32) if way == FP32 else codes, target.float_format,
                            scaling_of(tile, rule, group))
        assert same(values, expected[0]) and same(scales, expected[1])


@EVERY_TILE
def test_atoms_are_those_of_all_regions(tile: Tile) -> None:
    tensor = random_tensor(np.random.default_rng(7), tile, BF16, 3, 70)
    job = quantize_job(tile, tensor, E4M3, RULE_NAMES[tile.description.scaling.rule], tile.group
                       if tile.name != "tensors" else 64)
    assert (job.atoms + job.result_atoms) * tile.atom_bytes == job.image.size
    assert job.atoms == 3 * -(-140 // tile.atom_bytes)


# What a tile cannot do

PLAIN = load_tile(PROJECT / "tiles" / "hbm3_fp8.toml")
SMALL, FULL, NATIVE = TENSOR_TILES
RULE = ScaleRule.E8M0_CEIL


def ones(name: TensorFormat, rows: int = 2, k: int = 40, *, scales: Any = None) -> Tensor:
    dtype = {BF16: np.uint16, FP32: np.float32}.get(name, np.uint8)
    return Tensor(name, np.ones((rows, k), dtype), scales)


SCALES = np.full((2, 1), 127, np.uint8)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: quantize_job(PLAIN, ones(BF16), E4M3, RULE, 128),
     "the tile hbm3_fp8 has no quantizer; add the section [quantize] to its description, or use a "
     "tile that has it"),
    (lambda: reduce_job(PLAIN, ones(BF16), Reduction.SUM, False),
     "the tile hbm3_fp8 has no reducer; add the section [reduce] to its description, or use a "
     "tile that has it"),
    (lambda: transpose_job(PLAIN, ones(BF16)),
     "the tile hbm3_fp8 has no transposer; add the section [transpose] to its description, or use "
     "a tile that has it"),
    (lambda: copy_job(PLAIN, ones(BF16), FP32),
     "the tile hbm3_fp8 has no converter; add the section [convert] to its description, or use a "
     "tile that has it"),
    (lambda: quantize_job(FULL, ones(FP32), E4M3, RULE, 128),
     "QUANTIZE reads BF16, not fp32; convert it to BF16, or use COPY, which makes FP8 of every "
     "format in convert.formats"),
    (lambda: quantize_job(FULL, ones(BF16), BF16, RULE, 128),
     "bf16 is no format that the quantizer makes; allowed: e4m3, e5m2 (quantize.formats)"),
    (lambda: quantize_job(NATIVE, ones(BF16), E5M2, RULE, 128),
     'quantizing to e5m2 was not built; allowed: e4m3 (quantize.formats); add "e5m2" there'),
    (lambda: quantize_job(NATIVE, ones(BF16), E4M3, ScaleRule.FP32_DIV, 128),
     "the rule fp32-div was not built; allowed: e8m0-ceil (quantize.rules)"),
    (lambda: quantize_job(NATIVE, ones(BF16), E4M3, ScaleRule.NONE, 128),
     "the rule none was not built; allowed: e8m0-ceil (quantize.rules)"),
    (lambda: quantize_job(SMALL, ones(BF16), E4M3, RULE, 100),
     "groups of 100 were not built; allowed: 16, 32, 64 (quantize.groups)"),
    (lambda: quantize_job(SMALL, ones(BF16, k=201), E4M3, RULE, 16),
     "k = 201 is more than 200, which this tile can have with scales; split the tensor along k, "
     "or raise compute.k_max in the description"),
    (lambda: reduce_job(FULL, ones(E5M2, scales=SCALES), Reduction.SUM, False),
     'REDUCE of e5m2 was not built; allowed: bf16, e4m3, fp32 (reduce.formats); add "e5m2" there'),
    (lambda: reduce_job(FULL, ones(E4M3), Reduction.SUM, False),
     "a tensor of e4m3 needs its scales, one for 128 elements of a row (e8m0)"),
    (lambda: reduce_job(FULL, ones(E4M3, scales=SCALES.T), Reduction.SUM, False),
     "the scales of a tensor [2, 40] must have the shape [2, 1], one for 128 elements of a row, "
     "not [1, 2]"),
    (lambda: reduce_job(FULL, ones(E4M3, scales=SCALES.astype(np.float32)), Reduction.SUM, False),
     "the scales of this tile are e8m0 (uint8), not float32"),
    (lambda: transpose_job(FULL, ones(FP32)),
     "TRANSPOSE moves elements of 8 or 16 bits, not fp32; convert it to BF16"),
    (lambda: transpose_job(FULL, ones(FP32), E4M3, RULE),
     "TRANSPOSE with new scales reads e4m3, e5m2, bf16, not fp32; convert it to BF16"),
    (lambda: copy_job(NATIVE, ones(BF16), E5M2, RULE, 128),
     'COPY to e5m2 was not built; allowed: bf16, fp32, e4m3 (convert.formats); add "e5m2" there'),
    (lambda: copy_job(NATIVE, ones(E5M2), BF16),
     'COPY from e5m2 was not built; allowed: bf16, fp32, e4m3 (convert.formats); add "e5m2" there'),
    (lambda: copy_job(FULL, ones(BF16), E4M3, RULE, 8),
     "groups of 8 were not built; allowed: 16, 32, 64, 128, 256 (quantize.groups)"),
    (lambda: copy_job(SMALL, ones(FP32, 1000, 1000), BF16),
     "the job takes 6000000 bytes, more than the 1048576 that memory.address_bits = 20 can "
     "address"),
])
def test_says_what_a_tile_cannot_do(make: Callable[[], TensorJob], message: str) -> None:
    with pytest.raises(JobError) as caught:
        make()
    assert str(caught.value) == message


def changed(tile: Tile, **sections: Any) -> Tile:
    """A tile with other sections in its description."""
    return tile.model_copy(update={"description": tile.description.model_copy(update=sections)})


def test_codes_are_requantized_only_where_their_groups_are_blocks() -> None:
    tile = changed(FULL, transpose=Transpose(block=64))
    with pytest.raises(JobError) as caught:
        transpose_job(tile, ones(E4M3, scales=SCALES), E4M3, RULE)
    assert str(caught.value) == (
        "TRANSPOSE with new scales reads codes whose scales are those of transpose.block = 64 "
        "elements, not of scaling.group = 128; make both equal in the description, or convert to "
        "BF16")
    assert executed(transpose_job(tile, ones(BF16), E4M3, RULE))[0].shape == (40, 2)


def test_says_what_needs_another_section() -> None:
    assert FULL.description.convert is not None and FULL.description.quantize is not None
    alone = changed(FULL, quantize=None)
    with pytest.raises(JobError, match=r"^the tile hbm3_fp8_full has no quantizer; add the section "
                                       r"\[quantize\]"):
        copy_job(alone, ones(BF16), E4M3, RULE, 128)
    with pytest.raises(JobError, match=r"has no quantizer"):
        transpose_job(alone, ones(BF16), E4M3, RULE)
    # What needs no quantizer still goes.
    assert executed(copy_job(alone, ones(BF16), FP32))[0].shape == (2, 40)
    convert = FULL.description.convert.model_copy(update={"formats": ("e4m3", "e5m2")})
    with pytest.raises(JobError, match=r"goes by way of BF16; bf16 was not built; allowed: e4m3, "
                                       r"e5m2 \(convert.formats\)"):
        copy_job(changed(FULL, convert=convert), ones(E4M3, scales=SCALES), E5M2, RULE, 128)
    quantizer = FULL.description.quantize.model_copy(update={"groups": (16, 32)})
    with pytest.raises(JobError, match=r"^groups of 128 \(the tile's transpose.block\) were not "
                                       r"built; allowed: 16, 32 \(quantize.groups\)$"):
        transpose_job(changed(FULL, quantize=quantizer), ones(BF16), E4M3, RULE)


def test_refuses_elements_of_another_type() -> None:
    with pytest.raises(TypeError, match="^bf16 elements must be uint16, not uint8$"):
        copy_job(FULL, Tensor(BF16, np.zeros((1, 1), np.uint8)), FP32)
