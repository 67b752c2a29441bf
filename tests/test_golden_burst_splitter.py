"""Bursts of a region: they cover it in order, and no border of aligned bursts is crossed."""

import pytest

from golden.burst_splitter import burst_splitter
from spec.tile import Tile


def test_bursts_cover_the_region_and_cross_no_border(tile: Tile) -> None:
    params = tile.axi4
    for index in range(2 * params.burst_atoms + 1):
        for atoms in range(1, 3 * params.burst_atoms + 2):
            bursts = burst_splitter(index, atoms, params)
            covered = [atom for first, beats in bursts for atom in range(first, first + beats)]
            assert covered == list(range(index, index + atoms))
            for first, beats in bursts:
                assert first // params.burst_atoms == (first + beats - 1) // params.burst_atoms
            # Only the first and the last may be shorter than they could be.
            assert all(beats == params.burst_atoms for _, beats in bursts[1:-1])


def test_rejects_a_region_past_the_memory(default_tile: Tile) -> None:
    params = default_tile.axi4
    with pytest.raises(ValueError, match=r"^burst_splitter: atoms must be in \[1, 1\] from atom "
                                         r"536870911 on, not 2$"):
        burst_splitter((1 << params.index_bits) - 1, 2, params)


def test_rejects_an_index_past_the_memory(default_tile: Tile) -> None:
    with pytest.raises(ValueError, match=r"^burst_splitter: index must be in \[0, 536870911\], "
                                         r"not 536870912$"):
        burst_splitter(1 << 29, 1, default_tile.axi4)
