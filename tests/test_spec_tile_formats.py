"""Tiles of two pairs of formats: what the formats share, and what each has of its own."""

import itertools

import pytest

from spec.column import ColumnParams
from spec.conflicts import conflicts
from spec.description import Axi4Memory, Compute, Description, Scaling
from spec.dot_arrays import SubwordDotArrayParams
from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import PROJECT

EVERY_TILE = pytest.mark.parametrize("path", [
    "tiles/hbm3_mxfp8_mxfp4.toml", "tests/descriptions/several.toml",
    "tests/descriptions/int8_int4.toml"])


@EVERY_TILE
def test_two_formats_share_what_does_not_follow_from_them(path: str) -> None:
    tile = load_tile(PROJECT / path)
    wide, narrow = tile.formats
    assert tile.narrow == narrow and wide.narrow is narrow.narrow is None
    assert narrow.lanes == 2 * wide.lanes == 2 * tile.lanes
    for one in (wide, narrow):
        assert one.formats == (one,) and one.digest != tile.digest
        # Where rows and results lie, and how many take turns.
        assert one.rows_per_strip == tile.rows_per_strip
        assert one.columns == tile.columns and one.k_max == tile.k_max
        assert one.axi4 == tile.axi4 and one.pipeline == tile.pipeline
        assert [one.result_atoms(rows) for rows in (1, 7, 1000)] == [
            tile.result_atoms(rows) for rows in (1, 7, 1000)]
        # An atom of weights is multiplied by one of activations, of which there is room for all.
        assert one.activation_atoms_per_beat == 1
        assert one.activation_buffer.atom_bits == tile.activation_buffer.atom_bits == tile.atom_bits
        assert one.k_atoms(one.k_max) <= tile.activation_buffer.depth
        for scales in ("weight_scale_buffer", "activation_scale_buffer"):
            assert getattr(one, scales).scales <= getattr(tile, scales).scales
    if wide.description.scaling == narrow.description.scaling:
        assert wide.rows_per_block == narrow.rows_per_block == tile.rows_per_block
        assert wide.scale_rows == narrow.scale_rows == tile.scale_rows


@EVERY_TILE
def test_the_units_of_two_formats_are_made_of_those_of_each(path: str) -> None:
    tile = load_tile(PROJECT / path)
    wide, narrow = tile.formats
    dot = tile.dot_array
    assert isinstance(dot, SubwordDotArrayParams) and tile.column.several
    assert (dot.wide, dot.narrow) == (wide.dot_array, narrow.dot_array)
    assert tile.column.formats == (wide.column, narrow.column)
    assert wide.column.formats == (wide.column,) and not wide.column.several
    assert tile.column.groups_per_beat == narrow.groups_per_beat == dot.narrow_groups
    assert wide.groups_per_beat == 1
    checker = tile.command_checker
    assert checker.model_copy(update={"narrow": None}) == wide.command_checker
    assert checker.narrow == narrow.command_checker
    assert checker.loaded_bits == wide.command_checker.loaded_bits + 1
    for decoder, side in ((tile.weight_subword_decoder, "weight"),
                          (tile.activation_subword_decoder, "activation")):
        assert decoder is not None
        assert decoder.wide_decoder == getattr(wide, f"{side}_decoder")
        assert 2 * decoder.narrow_decoder.lanes == getattr(narrow, f"{side}_decoder").lanes
    assert "decoder" in tile.units and {"subword_decoder", "subword_dot_array"} <= set(tile.units)
    assert {"subword_decoder", "subword_dot_array"}.isdisjoint(wide.units | narrow.units)


@EVERY_TILE
def test_records_of_two_formats_survive_json(path: str) -> None:
    tile = load_tile(PROJECT / path)
    again = Tile.model_validate_json(tile.model_dump_json())
    assert again == tile and again.digest == tile.digest
    assert again.units == tile.units and again.formats == tile.formats
    assert again.description.compute.weights == tile.description.compute.weights
    for one in (tile, *tile.formats):
        for name, record in one.units.items():
            read = type(record).model_validate_json(record.model_dump_json())
            assert read == record, name
            if isinstance(read, ColumnParams):
                assert type(read.dot_array) is type(one.dot_array)
                assert read.formats == one.column.formats


def test_every_legal_corner_of_two_formats_resolves() -> None:
    pairs = (*itertools.product(("e4m3", "e5m2"), repeat=2), ("int8", "int8"))
    found = 0
    for atom, (weights, activations), k_max, groups, rows in itertools.product(
            (8, 64), pairs, (1, 65536), itertools.product((8, 64, 4096), repeat=2), (1, 1024)):
        narrow = "int4" if weights == "int8" else "e2m1"
        description = Description(
            name="corner", memory=Axi4Memory(atom_bytes=atom, burst_atoms=8),
            compute=Compute(weights=(weights, narrow), activations=(activations, narrow),
                            k_max=k_max),
            scaling=Scaling(group=groups[0], narrow_group=groups[1], weight_rows=rows,
                            narrow_weight_rows=1025 - rows))
        if conflicts(description, None):
            assert min(groups) < atom
            continue
        found += 1
        tile = Tile(description=description)
        assert tile.units
        dot = tile.dot_array
        assert isinstance(dot, SubwordDotArrayParams)
        # A sum of narrow products, too, fits the sum of the wide ones.
        largest = dot.narrow.largest_product * dot.narrow.lanes * dot.narrow.group_beats
        assert largest << dot.narrow_shift < 1 << dot.sum_bits - 1
    assert found == 5 * 2 * 2 * (3 ** 2 + 2 ** 2)
