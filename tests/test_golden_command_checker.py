"""The sizes of commands, against the tile's own layout."""

from dataclasses import replace
from typing import Any

import pytest

from golden.command_checker import CommandSizes, command_checker, command_sizes
from spec.commands import Command, ErrorCode, Opcode
from spec.description import Description
from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import PROJECT


@pytest.fixture
def lengths(tile: Tile) -> list[int]:
    """K around every multiple that a size depends on."""
    near = {step * count + off for step in (tile.lanes, tile.group, 8 * tile.group)
            for count in (1, 2, 3) for off in (-1, 0, 1)}
    return sorted(k for k in {1, tile.k_max - 1, tile.k_max} | near if 1 <= k <= tile.k_max)


def test_load_sizes_are_those_of_the_layout(tile: Tile, lengths: list[int]) -> None:
    for k in lengths:
        assert command_sizes(Command(Opcode.LOAD, k=k), tile.command_checker) == CommandSizes(
            k_atoms=tile.activation_atoms(k), scale_atoms=tile.activation_scale_atoms(k),
            source_atoms=tile.activation_atoms(k), other_atoms=tile.activation_scale_atoms(k))


def test_gemv_sizes_are_those_of_the_layout(tile: Tile, lengths: list[int]) -> None:
    for k in lengths:
        for rows in (1, 2, tile.rows_per_strip, tile.rows_per_strip + 1, tile.rows_per_block - 1,
                     tile.rows_per_block, tile.rows_per_block + 1, 1000, (1 << 24) - 1):
            command = Command(Opcode.GEMV, columns=1, k=k, rows=rows)
            assert command_sizes(command, tile.command_checker) == CommandSizes(
                k_atoms=tile.k_atoms(k), scale_atoms=tile.weight_scale_atoms(k),
                source_atoms=tile.weight_stream_atoms(rows, k),
                other_atoms=tile.result_atoms(rows))


@pytest.mark.parametrize(("name", "eighths"), [("native_ddr5", 7), ("native_small", 8)])
def test_a_region_must_end_below_inline_check_bits(name: str, eighths: int) -> None:
    tile = load_tile(PROJECT / "tests" / "descriptions" / f"{name}.toml")
    assert tile.grade is not None
    end = tile.grade.capacity_bytes // 8 * eighths
    assert tile.memory_bytes == end
    for source, expected in ((end - tile.atom_bytes, ErrorCode.NONE), (end, ErrorCode.WINDOW)):
        command = Command(Opcode.LOAD, k=tile.lanes, source=source)
        assert command_checker(command, (0, 1 << tile.address_bits), [0] * tile.columns,
                               tile.command_checker) == expected


def test_transposed_weights_swap_vectors_and_results() -> None:
    tile = load_tile(PROJECT / "tests" / "descriptions" / "tensors.toml")
    params = tile.command_checker
    assert params.transposed and tile.transposed_gemv
    rows, k = 37, 150
    command = Command(Opcode.GEMV, columns=2, k=k, rows=rows, transposed=1)
    assert command_sizes(command, params) == CommandSizes(
        k_atoms=tile.k_atoms(k), scale_atoms=tile.weight_scale_atoms(k),
        source_atoms=tile.weight_stream_atoms(rows, k), other_atoms=tile.result_atoms(k))
    command = replace(command, target=tile.memory_bytes // 2)

    def checked(loaded: list[int], **changes: int) -> ErrorCode:
        return command_checker(replace(command, **changes), (0, tile.memory_bytes), loaded, params)

    assert checked([rows, rows]) == ErrorCode.NONE
    assert checked([rows, k]) == ErrorCode.NOT_LOADED
    assert checked([k, k], transposed=0) == ErrorCode.NONE
    assert checked([200, 200], rows=tile.k_max) == ErrorCode.NONE
    assert checked([201, 201], rows=tile.k_max + 1) == ErrorCode.ROWS
    last = tile.memory_bytes - tile.result_atoms(k) * tile.atom_bytes
    assert checked([rows, rows], target=last) == ErrorCode.NONE
    assert checked([rows, rows], target=last + tile.atom_bytes) == ErrorCode.WINDOW


@pytest.mark.parametrize("changes", [
    {"transpose": None}, {"transpose": {"block": 64}},
    {"scaling": {"format": "fp32", "rule": "fp32-div", "group": 32, "weight_rows": 16}},
])
def test_transposed_weights_need_square_blocks_of_the_transposer(changes: dict[str, Any]) -> None:
    tile = load_tile(PROJECT / "tests" / "descriptions" / "tensors.toml")
    values = tile.description.model_dump() | changes
    changed = Tile(description=Description.model_validate(values))
    assert not changed.transposed_gemv
    command = Command(Opcode.GEMV, columns=1, k=8, rows=8, transposed=1, target=4096)
    assert command_checker(command, (0, tile.memory_bytes), [8, 8],
                           changed.command_checker) == ErrorCode.FORMAT
