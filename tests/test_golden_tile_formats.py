"""Tiles of two pairs of formats: each command computes what a tile of its pair alone does."""

from dataclasses import astuple

import numpy as np
import pytest

from golden.command_checker import command_checker, command_sizes
from golden.tile import GoldenTile
from host.layout import pack_activations, pack_weights, unpack_results
from spec.commands import Command, ErrorCode, Opcode
from spec.load import load_tile
from spec.memory_units import ReadFault
from spec.tensors import TensorFormat
from tests.conftest import PROJECT
from tests.golden_cases import finite_codes, oracle_result, random_codes, random_scales

HBM3, SEVERAL, INT8_INT4, TENSORS, DEFAULT = (load_tile(PROJECT / path) for path in (
    "tiles/hbm3_mxfp8_mxfp4.toml", "tests/descriptions/several.toml",
    "tests/descriptions/int8_int4.toml", "tests/descriptions/tensors.toml", "tiles/hbm3_fp8.toml"))
EVERY_TILE = pytest.mark.parametrize("tile", [HBM3, SEVERAL, INT8_INT4],
                                     ids=lambda tile: tile.name)
EVERY_INDEX = pytest.mark.parametrize("index", [0, 1])
SIZE = 1 << 18
GEMV = {"opcode": Opcode.GEMV, "columns": 1, "rows": 2, "k": 40, "source": 0x1000,
        "target": 0x8000}
LOAD = {"opcode": Opcode.LOAD, "k": 40, "source": 0x1000, "source_scales": 0x8000}


class Image:
    """A memory image that is filled from the front, and a tile that sees all of it."""

    def __init__(self, tile, memory=None):
        rng = np.random.default_rng(77)
        self.memory = rng.integers(0, 256, SIZE, np.uint8) if memory is None else memory
        self.golden = GoldenTile(tile, self.memory)
        self.golden.window_limit = SIZE
        self.end = 0

    def put(self, data):
        address = self.end
        self.memory[address:address + len(data)] = np.frombuffer(data, np.uint8)
        self.end += len(data)
        return address

    def run(self, **fields):
        return self.golden.execute(Command(**fields).pack())


def operands(rng, one, rows, columns, k, special):
    """Codes and scales of weights and of vectors of one pair of formats; any with ``special``."""
    scale_rows = -(-rows // one.description.scaling.weight_rows)
    codes = [random_codes(rng, *shape, bits=fmt.bits) if special else finite_codes(rng, fmt, *shape)
             for fmt, shape in ((one.weight_format, (rows, k)),
                                (one.activation_format, (columns, k)))]
    scales = [random_scales(rng, one, count, one.groups(k), special=special)
              for count in (scale_rows, columns)]
    return codes[0], scales[0], codes[1], scales[1]


def placed(image, one, w, ws, x, xs, index):
    """The commands that multiply operands, which are put into an image."""
    commands = []
    for column, parts in enumerate(zip(x, xs, strict=True)):
        source, scales_at = (image.put(part) for part in pack_activations(*parts, one))
        commands.append({"opcode": Opcode.LOAD, "columns": column, "k": x.shape[1],
                         "source": source, "source_scales": scales_at, "format_index": index})
    source = image.put(pack_weights(w, ws, one))
    return [*commands, {"opcode": Opcode.GEMV, "columns": len(x), "rows": len(w), "k": x.shape[1],
                        "source": source, "target": image.end, "format_index": index}]


@EVERY_TILE
@EVERY_INDEX
@pytest.mark.parametrize("special", [False, True])
def test_each_format_gives_the_oracles_results_and_those_of_its_tile(tile, index, special):
    rng = np.random.default_rng(78)
    one, strip = tile.formats[index], tile.rows_per_strip
    for rows, k in ((1, 1), (strip + 3, one.lanes + 1), (5, 2 * one.group), (strip, 230),
                    (one.rows_per_block + 1, 3)):
        image = Image(tile)
        w, ws, x, xs = operands(rng, one, rows, tile.columns, k, special)
        commands = placed(image, one, w, ws, x, xs, index)
        alone = Image(one, image.memory.copy())
        for command in commands:
            assert image.run(**command) == ErrorCode.NONE
            assert alone.run(**{**command, "format_index": 0}) == ErrorCode.NONE
        assert np.array_equal(image.memory, alone.memory)
        target, size = image.end, tile.result_atoms(rows) * tile.atom_bytes
        found = unpack_results(image.memory[target:target + size].tobytes(), rows, tile.columns,
                               tile)
        weight_rows = one.description.scaling.weight_rows
        assert found.tolist() == [
            [oracle_result(one, row, ws[place // weight_rows], vector, scales)
             for vector, scales in zip(x, xs, strict=True)] for place, row in enumerate(w)]


@EVERY_TILE
def test_both_formats_take_turns(tile):
    """The same vectors' places and the same bytes of weights, again and again."""
    rng = np.random.default_rng(79)
    image, k, rows = Image(tile), 150, 7
    for index in (0, 1, 1, 0, 1, 0):
        one = tile.formats[index]
        image.end = 0
        commands = placed(image, one, *operands(rng, one, rows, tile.columns, k, False), index)
        alone = Image(one, image.memory.copy())
        for command in commands:
            assert image.run(**command) == ErrorCode.NONE
            assert alone.run(**{**command, "format_index": 0}) == ErrorCode.NONE
        assert np.array_equal(image.memory, alone.memory)


@EVERY_TILE
@EVERY_INDEX
def test_a_vector_of_the_other_format_is_not_loaded(tile, index):
    image = Image(tile)
    other = 1 - index
    assert image.run(**LOAD, format_index=other) == ErrorCode.NONE
    before = image.memory.copy()
    assert image.run(**GEMV, format_index=index) == ErrorCode.NOT_LOADED
    assert np.array_equal(image.memory, before)
    # The vector is still there for its own, and makes room for one of the first.
    assert image.run(**GEMV, format_index=other) == ErrorCode.NONE
    assert image.run(**LOAD, format_index=index) == ErrorCode.NONE
    assert image.run(**GEMV, format_index=other) == ErrorCode.NOT_LOADED
    assert image.run(**GEMV, format_index=index) == ErrorCode.NONE


def test_all_columns_must_have_the_format():
    image = Image(SEVERAL)
    for column in (0, 1):
        assert image.run(**{**LOAD, "columns": column}, format_index=column) == ErrorCode.NONE
    both = {**GEMV, "columns": 2}
    assert image.run(**both) == image.run(**both, format_index=1) == ErrorCode.NOT_LOADED
    assert image.run(**GEMV) == ErrorCode.NONE
    assert image.run(**LOAD, format_index=1) == ErrorCode.NONE
    assert image.run(**both, format_index=1) == ErrorCode.NONE


@pytest.mark.parametrize("tile, index", [
    *((tile, index) for tile in (HBM3, SEVERAL, INT8_INT4) for index in (2, 3, 15)),
    *((tile, index) for tile in (TENSORS, DEFAULT, SEVERAL.formats[1]) for index in (1, 2, 15))],
    ids=lambda value: value if isinstance(value, int) else value.name)
def test_formats_that_the_tile_does_not_have(tile, index):
    image = Image(tile)
    for last in {0, len(tile.formats) - 1}:
        assert image.run(**LOAD, format_index=last) == ErrorCode.NONE
        before = image.memory.copy()
        for base in (LOAD, GEMV):
            # Found before any other check that fails, but unknown fields.
            for change in ({}, {"columns": 255}, {"k": 0}, {"source": 1}):
                assert image.run(**{**base, **change}, format_index=index) == ErrorCode.FORMAT
        assert image.run(**LOAD, format_index=index, rows=1) == ErrorCode.RESERVED
        assert image.run(opcode=Opcode.FENCE, format_index=index) == ErrorCode.RESERVED
        assert np.array_equal(image.memory, before)
        # The vector is as it was.
        assert image.run(**GEMV, format_index=last) == ErrorCode.NONE


def test_bf16_is_quantized_to_the_only_format():
    image = Image(TENSORS)
    load = {**LOAD, "source_scales": 0, "source_format": TensorFormat.BF16}
    for index in (1, 2, 15):
        assert image.run(**load, format_index=index) == ErrorCode.FORMAT
    assert image.run(**GEMV) == ErrorCode.NOT_LOADED
    assert image.run(**load) == ErrorCode.NONE
    assert image.run(**load, format_index=1) == ErrorCode.FORMAT
    assert image.run(**GEMV) == ErrorCode.NONE


@EVERY_TILE
@EVERY_INDEX
def test_a_load_that_failed_leaves_the_column_empty(tile, index):
    for kept in (0, 1):
        for part in ("source", "source_scales"):
            image = Image(tile)
            assert image.run(**LOAD, format_index=kept) == ErrorCode.NONE
            image.golden.faults = {LOAD[part] // tile.atom_bytes: ReadFault.RESPONSE}
            assert image.run(**LOAD, format_index=index) == ErrorCode.READ
            image.golden.faults = {}
            for asked in (0, 1):
                assert image.run(**GEMV, format_index=asked) == ErrorCode.NOT_LOADED
            assert image.run(**LOAD, format_index=index) == ErrorCode.NONE
            assert image.run(**GEMV, format_index=index) == ErrorCode.NONE


@EVERY_TILE
@EVERY_INDEX
def test_sizes_are_those_of_the_format(tile, index):
    one, params = tile.formats[index], tile.command_checker
    for k in (1, one.lanes - 1, one.lanes, one.lanes + 1, one.group + 1, tile.k_max):
        load = Command(Opcode.LOAD, k=k, format_index=index)
        assert astuple(command_sizes(load, params)) == (
            one.k_atoms(k), one.activation_scale_atoms(k), 0, one.activation_atoms(k),
            one.activation_scale_atoms(k))
        for rows in (1, one.rows_per_block + 1, 1000):
            gemv = Command(Opcode.GEMV, columns=1, k=k, rows=rows, format_index=index)
            assert astuple(command_sizes(gemv, params)) == (
                one.k_atoms(k), one.weight_scale_atoms(k), 0, one.weight_stream_atoms(rows, k),
                tile.result_atoms(rows))


@EVERY_TILE
@EVERY_INDEX
def test_the_window_must_hold_the_region_of_the_format(tile, index):
    one, k, rows = tile.formats[index], tile.k_max, 9
    loaded = [k | index << tile.command_checker.k_bits] * tile.columns
    start = 0x100000
    for command, atoms in (
            (Command(Opcode.LOAD, k=k, source=start, format_index=index), one.activation_atoms(k)),
            (Command(Opcode.GEMV, columns=1, k=k, rows=rows, source=start, format_index=index),
             one.weight_stream_atoms(rows, k))):
        end = start + atoms * tile.atom_bytes
        for limit, error in ((end, ErrorCode.NONE), (end - 1, ErrorCode.WINDOW)):
            assert command_checker(command, (0, limit), loaded, tile.command_checker) == error
