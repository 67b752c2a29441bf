"""What is derived from descriptions: at the tiles' values and at the corners of what is legal."""

import itertools

import pytest

from spec.description import Compute, Description, Host, Memory, Scaling, conflicts
from spec.tile import ROWS_MAX, Tile


def corners() -> list[Description]:
    """Legal descriptions with every key at an end of its range."""
    found = []
    for atom, weights, activations, columns, k_max, scale, group, rows in itertools.product(
            (8, 64), ("e4m3", "e5m2"), ("e4m3", "e5m2"), (1, 8), (1, 65536), ("e8m0", "fp32"),
            (8, 4096), (1, 1024)):
        description = Description(
            name="corner",
            memory=Memory(atom_bytes=atom, address_bits=63 if atom == 64 else 16,
                          burst_atoms=64 if atom == 64 else 1,
                          outstanding_bursts=64 if atom == 64 else 1),
            compute=Compute(weights=weights, activations=activations, columns=columns,
                            result="bf16", k_max=k_max),
            scaling=Scaling(format=scale, rule="e8m0-ceil" if scale == "e8m0" else "fp32-div",
                            group=group, weight_rows=rows),
            host=Host(queue_depth=2 if atom == 8 else 64))
        if not conflicts(description):
            found.append(description)
    return found


def test_every_legal_corner_resolves() -> None:
    found = corners()
    assert len(found) > 100
    for description in found:
        tile = Tile(description=description)
        assert tile.units
        assert tile.rows_per_strip <= tile.rows_per_block
        assert tile.weight_stream_atoms(ROWS_MAX, tile.k_max) > 0


def test_derives_the_default_tile(default_tile: Tile) -> None:
    assert default_tile.lanes == 32
    assert default_tile.group_beats == 4
    dot = default_tile.dot_array
    # A product of E4M3 has 37 bits, 32 of them 42, 128 of them 44 (sign included).
    assert (dot.product_bits, dot.beat_bits, dot.sum_bits) == (37, 42, 44)
    assert dot.lsb_exponent == -18


@pytest.mark.parametrize(("weights", "activations", "bits"), [
    ("e4m3", "e4m3", (37, 42, 44)), ("e4m3", "e5m2", (51, 56, 58)), ("e5m2", "e5m2", (65, 70, 72)),
])
def test_widths_hold_the_largest_sum(weights: str, activations: str,
                                     bits: tuple[int, int, int]) -> None:
    tile = Tile(description=Description.model_validate({
        "name": "t", "compute": {"weights": weights, "activations": activations}}))
    dot = tile.dot_array
    assert (dot.product_bits, dot.beat_bits, dot.sum_bits) == bits
    assert dot.largest_product * 128 < 1 << (dot.sum_bits - 1)


def test_strips_cover_the_accumulation(tile: Tile) -> None:
    # Two groups of one row may be as near as this, when the second is a tail of one atom.
    nearest = (tile.rows_per_strip - 1) * tile.group_beats + 1
    assert nearest >= tile.units["row_accumulator"].LATENCY  # type: ignore[attr-defined]
    assert tile.rows_per_block % tile.rows_per_strip == 0


def test_layouts_hold_every_element(tile: Tile) -> None:
    for rows, k in itertools.product((1, 2, 17, 128, 129), {1, tile.group, tile.k_max}):
        assert tile.k_atoms(k) * tile.lanes >= k > (tile.k_atoms(k) - 1) * tile.lanes
        assert tile.groups(k) * tile.group >= k > (tile.groups(k) - 1) * tile.group
        assert tile.padded_rows(rows) >= rows > tile.padded_rows(rows) - tile.rows_per_strip
        assert tile.weight_stream_atoms(rows, k) * tile.atom_bytes >= rows * k
        assert tile.result_atoms(rows) * tile.result_packer.rows_per_atom >= rows
