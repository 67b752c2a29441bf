"""The sizes of commands, against the tile's own layout."""

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest

from golden.command_checker import CommandSizes, command_checker, command_sizes
from golden.decoder import code_dtype
from golden.scales import scale_dtype, weight_scale_dtype
from host.layout import pack_activations, pack_weights
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
            k_atoms=tile.k_atoms(k) * tile.activation_atoms_per_beat,
            scale_atoms=tile.activation_scale_atoms(k), zero_atoms=0,
            source_atoms=tile.activation_atoms(k), other_atoms=tile.activation_scale_atoms(k))


def test_gemv_sizes_are_those_of_the_layout(tile: Tile, lengths: list[int]) -> None:
    for k in lengths:
        for rows in (1, 2, tile.rows_per_strip, tile.rows_per_strip + 1, tile.rows_per_block - 1,
                     tile.rows_per_block, tile.rows_per_block + 1, 1000, (1 << 24) - 1):
            command = Command(Opcode.GEMV, columns=1, k=k, rows=rows)
            assert command_sizes(command, tile.command_checker) == CommandSizes(
                k_atoms=tile.k_atoms(k), scale_atoms=tile.weight_scale_atoms(k),
                zero_atoms=tile.weight_zero_atoms(k),
                source_atoms=tile.weight_stream_atoms(rows, k),
                other_atoms=tile.result_atoms(rows))


def test_sizes_are_those_of_what_the_host_packs(tile: Tile) -> None:
    """Scales, zero points and all: as many atoms as there are bytes for."""
    scaling = tile.description.scaling
    for rows, k in ((1, 1), (tile.rows_per_block + 1, min(tile.k_max, 2 * tile.group + 3))):
        weights = pack_weights(
            np.zeros((rows, k), code_dtype(tile.weight_format)),
            np.zeros((-(-rows // scaling.weight_rows), tile.groups(k)), weight_scale_dtype(tile)),
            tile)
        sizes = command_sizes(Command(Opcode.GEMV, columns=1, k=k, rows=rows),
                              tile.command_checker)
        assert sizes.source_atoms * tile.atom_bytes == len(weights)
        activations = pack_activations(
            np.zeros(k, code_dtype(tile.activation_format)),
            np.zeros(tile.groups(k), scale_dtype(tile.scale_format)), tile)
        sizes = command_sizes(Command(Opcode.LOAD, k=k), tile.command_checker)
        assert [sizes.source_atoms * tile.atom_bytes,
                sizes.other_atoms * tile.atom_bytes] == list(map(len, activations))


@pytest.mark.parametrize(("name", "k", "load", "gemv"), [
    # 64 weights in an atom, in 4 groups, whose FP32 scales are half an atom: of 1000 elements 16
    # atoms of weights and 32 of activations, 8 of scales and one of 64 zero points.
    ("uint4", 1000, (32, 8, 0, 32, 8), (16, 8, 1, 4 * 16 + 8 + 1, 1)),
    ("uint4", 65, (4, 1, 0, 4, 1), (2, 1, 1, 4 * 2 + 1 + 1, 1)),
    # 32 weights in an atom of 16 bytes, in 2 blocks, and an atom with the scale of the tensor: a
    # row is a strip, two of them a block.
    ("nvfp4", 300, (10, 2 + 1, 0, 10, 3), (10, 2 + 1, 0, 3 * 10 + 2 * 3, 2)),
    ("nvfp4", 1, (1, 1 + 1, 0, 1, 2), (1, 1 + 1, 0, 3 * 1 + 2 * 2, 2)),
])
def test_zero_points_and_scales_of_tensors_take_atoms_of_their_own(
        name: str, k: int, load: tuple[int, ...], gemv: tuple[int, ...]) -> None:
    params = load_tile(PROJECT / "tests" / "descriptions" / f"{name}.toml").command_checker
    assert astuple(command_sizes(Command(Opcode.LOAD, k=k), params)) == load
    assert astuple(command_sizes(Command(Opcode.GEMV, columns=1, k=k, rows=3), params)) == gemv


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
        k_atoms=tile.k_atoms(k), scale_atoms=tile.weight_scale_atoms(k), zero_atoms=0,
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
