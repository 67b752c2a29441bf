"""What is derived from descriptions: at the tiles' values and at the corners of what is legal."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from spec.conflicts import conflicts
from spec.description import Axi4Memory, Compute, Description, Host, NativeMemory, Scaling
from spec.grade import grade_names, load_grade
from spec.load import load_tile
from spec.tile import ROWS_MAX, Tile
from tests.conftest import PROJECT


def corners() -> list[Description]:
    """Legal descriptions with every key at an end of its range."""
    found = []
    pairs = (*itertools.product(("e4m3", "e5m2"), repeat=2), ("int8", "int8"), ("int8", "e5m2"),
             ("mxint8", "mxint8"), ("e2m1", "e2m1"), ("int4", "int4"), ("int4", "e4m3"))
    for atom, (weights, activations), columns, k_max, scale, group, rows in itertools.product(
            (8, 64), pairs, (1, 8), (1, 65536), ("e8m0", "fp32"), (8, 4096), (1, 1024)):
        description = Description(
            name="corner",
            memory=Axi4Memory(atom_bytes=atom, address_bits=63 if atom == 64 else 16,
                              burst_atoms=64 if atom == 64 else 1,
                              outstanding_bursts=64 if atom == 64 else 1),
            compute=Compute(weights=weights, activations=activations, columns=columns,
                            result="bf16", k_max=k_max),
            scaling=Scaling(format=scale, rule="e8m0-ceil" if scale == "e8m0" else "fp32-div",
                            group=group, weight_rows=rows),
            host=Host(queue_depth=2 if atom == 8 else 64))
        if not conflicts(description, None):
            found.append(description)
    return found


def test_every_legal_corner_resolves() -> None:
    found = corners()
    assert len(found) > 400
    assert {description.compute.weights for description in found} == {
        "e4m3", "e5m2", "int8", "mxint8", "e2m1", "int4"}
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
    ("int8", "int8", (16, 21, 23)), ("mxint8", "mxint8", (16, 21, 23)),
    ("e2m1", "e2m1", (9, 15, 16)), ("int4", "int4", (8, 14, 15)),
])
def test_widths_hold_the_largest_sum(weights: str, activations: str,
                                     bits: tuple[int, int, int]) -> None:
    tile = Tile(description=Description.model_validate({
        "name": "t", "compute": {"weights": weights, "activations": activations}}))
    dot = tile.dot_array
    assert (dot.product_bits, dot.beat_bits, dot.sum_bits) == bits
    assert dot.largest_product * 128 < 1 << (dot.sum_bits - 1)


@pytest.mark.parametrize(("weights", "activations", "group", "groups", "dot", "atoms"), [
    # Weights and groups of one atom, lanes and beats of one group's dot product, and atoms of
    # activations for one of weights.
    ("e4m3", "e4m3", 128, 1, (32, 4), 1), ("e4m3", "e4m3", 32, 1, (32, 1), 1),
    ("e4m3", "e4m3", 16, 2, (16, 1), 1), ("e4m3", "e4m3", 8, 4, (8, 1), 1),
    ("e2m1", "e2m1", 128, 1, (64, 2), 1), ("e2m1", "e2m1", 32, 2, (32, 1), 1),
    ("int4", "e4m3", 64, 1, (64, 1), 2), ("int4", "e4m3", 16, 4, (16, 1), 2),
])
def test_an_atom_of_weights_holds_whole_groups(weights: str, activations: str, group: int,
                                               groups: int, dot: tuple[int, int],
                                               atoms: int) -> None:
    tile = Tile(description=Description.model_validate({
        "name": "t", "compute": {"weights": weights, "activations": activations},
        "scaling": {"group": group}}))
    assert tile.groups_per_beat == tile.column.groups_per_beat == groups
    assert (tile.dot_array.lanes, tile.dot_array.group_beats) == dot
    assert tile.activation_atoms_per_beat == tile.activation_buffer.atoms_per_beat == atoms
    assert tile.column.lanes == tile.lanes and tile.column.span == tile.span
    # Of one element more than a beat, the scales of two whole beats are stored.
    k = tile.span + 1
    assert tile.groups(k) == groups + 1 and tile.stored_groups(k) == 2 * groups
    assert tile.activation_atoms(k) * tile.atom_bits >= k * tile.activation_format.bits
    assert tile.activation_atoms(k) == atoms * tile.k_atoms(k)


def test_strips_cover_the_accumulation(tile: Tile) -> None:
    if tile.block_scaled:
        # A row is one sum.
        assert tile.sequencer.spans_max == 1
        return
    # Two groups of one row may be as near as this, when the second is a tail of one atom.
    nearest = (tile.rows_per_strip - 1) * tile.group_beats + 1
    assert nearest >= tile.units["row_accumulator"].LATENCY  # type: ignore[attr-defined]
    assert tile.rows_per_block % tile.rows_per_strip == 0


def test_layouts_hold_every_element(tile: Tile) -> None:
    for rows, k in itertools.product((1, 2, 17, 128, 129), {1, tile.group, tile.k_max}):
        assert tile.k_atoms(k) * tile.lanes >= k > (tile.k_atoms(k) - 1) * tile.lanes
        assert tile.groups(k) * tile.group >= k > (tile.groups(k) - 1) * tile.group
        assert tile.padded_rows(rows) >= rows > tile.padded_rows(rows) - tile.rows_per_strip
        assert tile.weight_stream_atoms(rows, k) * tile.lanes >= rows * k
        bits = tile.activation_format.bits
        assert tile.activation_atoms(k) * tile.atom_bits >= tile.k_atoms(k) * tile.lanes * bits
        assert tile.result_atoms(rows) * tile.result_packer.rows_per_atom >= rows


def native(grade: str, **memory: Any) -> Tile:
    """A native tile with the default tile's other values."""
    return Tile(description=Description(name="t", memory=NativeMemory(
        interface="native", grade=grade, **memory)), grade=load_grade(grade))


def test_survives_json(tile: Tile) -> None:
    again = Tile.model_validate_json(tile.model_dump_json())
    assert again == tile
    assert again.digest == tile.digest
    assert again.units == tile.units


@pytest.mark.parametrize("path", sorted((PROJECT / "tiles").glob("*.toml")),
                         ids=lambda path: path.stem)
def test_every_shipped_tile_resolves(path: Path) -> None:
    assert load_tile(path).name == path.stem


@pytest.mark.parametrize("grade", grade_names())
def test_a_native_tile_follows_its_grade(grade: str) -> None:
    tile, values = native(grade), load_grade(grade)
    assert tile.native
    assert tile.atom_bytes == values.atom_bytes == tile.axi4.atom_bits // 8
    assert 1 << tile.address_bits == values.capacity_bytes == 1 << tile.axi4.address_bits
    assert tile.axi4.index_bits == values.atom_index_bits == tile.memory_controller.index_bits
    assert tile.clock_mhz == values.tile_clock_mhz
    # One atom a cycle is what the pins carry when nCCDS is one burst.
    assert tile.atom_bytes * tile.clock_mhz / 1e3 == pytest.approx(
        values.peak_gb_per_s * values.timing.nBL / values.timing.nCCDS)
    assert tile.memory_controller.refresh == (
        "all-bank" if values.timing.nRFCpb is None else "per-bank")
    assert tile.host_port.memory_atoms * tile.atom_bytes == values.capacity_bytes
    assert tile.host_port.address_bits == 40
    assert tile.host_port.index_bits == tile.axi4.index_bits


def test_a_native_tile_has_the_units_of_its_memory(default_tile: Tile) -> None:
    axi4 = {"skid_buffer", "burst_splitter", "axi4_reader", "axi4_writer"}
    plain, protected = native("hbm3_6400"), native("hbm3_6400", ecc="secded")
    assert default_tile.units.keys() - plain.units.keys() == axi4
    assert plain.units.keys() - default_tile.units.keys() == {
        "reorder_buffer", "bank_queues", "memory_controller", "region_reader", "region_writer",
        "host_port"}
    assert protected.units.keys() - plain.units.keys() == {"secded_decoder", "inline_ecc"}
    assert protected.units["secded_decoder"].model_dump() == {"words": 4}
    assert protected.host_port.ecc == protected.memory_controller.ecc == "secded"
    beside, without = native("hbm2_2400", ecc="secded"), native("hbm2_2400")
    assert beside.units.keys() - without.units.keys() == {"secded_encoder", "secded_decoder"}


def test_check_bits_are_in_the_memory_where_the_grade_has_no_room() -> None:
    for grade in grade_names():
        plain, protected = native(grade), native(grade, ecc="secded")
        size, controller = load_grade(grade).capacity_bytes, protected.memory_controller
        assert plain.memory_bytes == size and plain.memory_controller.ecc_bits == 0
        assert controller.ecc_inline == (not grade.startswith("hbm2_"))
        assert controller.ecc_bits == (0 if controller.ecc_inline else protected.atom_bytes)
        assert protected.memory_bytes == (size * 7 // 8 if controller.ecc_inline else size)
        usable = protected.memory_bytes // protected.atom_bytes
        assert protected.host_port.memory_atoms == usable
        assert protected.command_checker.memory_atoms == usable
        # No check atom is data, or in the bank of its data; none holds the bits of 9 atoms.
        inline = controller.inline_ecc
        atoms = range(0, usable, max(8, usable // 4096 // 8 * 8))
        checks = {inline.check_atom(atom) for atom in atoms}
        assert len(checks) == len(atoms) and min(checks) >= 7 << inline.index_bits - 3
        assert sorted(inline.check_order) == list(range(3, inline.index_bits))
        values = load_grade(grade)
        assert all(inline.check_atom(atom) == inline.check_atom(atom + 7) and values.decompose(
            inline.check_atom(atom)).bank != values.decompose(atom).bank for atom in atoms)
        # Not quite enough room is no room.
        assert protected.grade is not None
        for bits in (protected.atom_bytes - 1, protected.atom_bytes):
            roomy = protected.grade.model_copy(update={
                "organisation": protected.grade.organisation.model_copy(
                    update={"ecc_bits": bits})})
            found = Tile(description=protected.description, grade=roomy).memory_controller
            assert found.ecc_inline == (bits < protected.atom_bytes)


def test_the_digest_follows_the_grade() -> None:
    tile = native("hbm3_6400")
    assert tile.grade is not None
    digests = {tile.digest, native("hbm3_5200").digest, native("hbm3_6400", ecc="secded").digest,
               native("hbm3_6400", refresh="all-bank").digest,
               native("hbm3_6400", host_share=0.5).digest}
    slower = tile.grade.model_copy(update={
        "timing": tile.grade.timing.model_copy(update={"nRP": 27})})
    digests.add(Tile(description=tile.description, grade=slower).digest)
    assert len(digests) == 6
    # What is left out and what is written out are the same; notes of a grade are no part of it.
    assert native("hbm3_6400", refresh="per-bank").digest == tile.digest
    noted = tile.grade.model_copy(update={"notes": ("new",), "source": "new"})
    assert Tile(description=tile.description, grade=noted).digest == tile.digest


def test_the_digest_of_the_default_tile_stays(default_tile: Tile) -> None:
    # Software in the field identifies the tile by this; a change is one for the changelog.
    assert default_tile.digest.startswith("a74f09cfdcc6")


def test_a_native_tile_needs_its_grade(default_tile: Tile) -> None:
    tile = native("hbm3_6400")
    with pytest.raises(ValueError, match=r"a tile with memory.interface = 'native' needs a grade: "
                                         r"Tile\(description=..., grade=load_grade\(...\)\)"):
        Tile(description=tile.description)
    with pytest.raises(ValueError, match="a tile with memory.interface = 'axi4' needs no grade"):
        Tile(description=default_tile.description, grade=tile.grade)
    with pytest.raises(ValueError, match="hbm3_fp8 has memory.interface = 'axi4'; only a native "
                                         "memory has a controller"):
        _ = default_tile.memory_controller
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Tile.model_validate_json(json.dumps(
            {"description": default_tile.description.model_dump(), "extra": 1}))
