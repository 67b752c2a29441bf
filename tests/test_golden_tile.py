import numpy as np
import pytest

from golden.gemv import gemv
from golden.tile import GoldenTile
from host.job import gemv_job
from host.layout import pack_activations, pack_weights, unpack_results
from spec.commands import Command, ErrorCode, Opcode
from spec.memory_units import ReadFault
from tests.golden_cases import (
    ALL_TILES, random_codes, random_scales, random_weight_scales,
)

TILES = {tile.name: tile for tile in ALL_TILES}
SMALL, ODD = TILES["smallest"], TILES["odd"]  # SMALL: k_max 24, address_bits 16
EVERY_TILE = pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)


class Image:
    """A memory image that is filled from the front, and a tile that sees all of it."""

    def __init__(self, tile, size=1 << 16, seed=25):
        self.memory = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
        self.golden = GoldenTile(tile, self.memory)
        self.golden.window_limit = size
        self.end = 0

    def put(self, data):
        address = self.end
        self.memory[address:address + len(data)] = np.frombuffer(data, np.uint8)
        self.end += len(data)
        return address

    def run(self, **fields):
        return self.golden.execute(Command(**fields).pack())


def random_pair(rng, tile, rows, columns, k):
    """Any codes of weights [rows, k] and of activations [columns, k]."""
    return (random_codes(rng, rows, k, bits=tile.weight_format.bits),
            random_codes(rng, columns, k, bits=tile.activation_format.bits))


def loaded(tile, k, columns, **sizes):
    """An image whose first columns hold vectors of ``k`` elements."""
    image = Image(tile, **sizes)
    rng = np.random.default_rng(26)
    for column in range(columns):
        source, scales_at = (image.put(part) for part in pack_activations(
            random_codes(rng, k, bits=tile.activation_format.bits),
            random_scales(rng, tile, tile.groups(k)), tile))
        assert image.run(opcode=Opcode.LOAD, columns=column, k=k, source=source,
                         source_scales=scales_at) == ErrorCode.NONE
    return image


@EVERY_TILE
def test_commands_compute_gemv_through_the_hosts_layout(tile):
    rng = np.random.default_rng(27)
    weight_rows = tile.description.scaling.weight_rows
    k_max = min(tile.k_max, 2 * tile.group + 100)
    for rows, k in ((1, 1), (tile.rows_per_strip, tile.group), (tile.rows_per_block + 1, k_max),
                    (3 * weight_rows + 5, min(k_max, tile.group + 1)), (301, min(k_max, 77))):
        for columns in {1, tile.columns}:
            image = Image(tile, size=1 << 24 if tile.columns > 1 else 1 << 22)
            if tile is SMALL:
                image = Image(tile)
            w, x = random_pair(rng, tile, rows, columns, k)
            ws = random_weight_scales(rng, tile, -(-rows // weight_rows), tile.groups(k))
            xs = random_scales(rng, tile, columns, tile.groups(k))
            for column in range(columns):
                source, scales_at = (image.put(part)
                                 for part in pack_activations(x[column], xs[column], tile))
                assert image.run(opcode=Opcode.LOAD, columns=column, k=k, source=source,
                                 source_scales=scales_at) == ErrorCode.NONE
            source = image.put(pack_weights(w, ws, tile))
            target, size = image.end, tile.result_atoms(rows) * tile.atom_bytes
            before = image.memory.copy()
            assert image.run(opcode=Opcode.GEMV, columns=columns, rows=rows, k=k, source=source,
                             target=target) == ErrorCode.NONE
            data = image.memory[target:target + size].tobytes()
            assert np.array_equal(unpack_results(data, rows, columns, tile),
                                  gemv(w, ws, x, xs, tile))
            before[target:target + size] = image.memory[target:target + size]
            assert np.array_equal(before, image.memory)


@EVERY_TILE
def test_a_job_of_several_passes_equals_gemv(tile):
    """K is no multiple of the group nor of an atom's elements, and there are vectors left over."""
    rng = np.random.default_rng(31)
    rows, columns = tile.rows_per_strip + 3, 2 * tile.columns + 1
    for k in {min(tile.span + tile.group + 5, tile.k_max - 1), tile.group - 3}:
        assert k % tile.group and k % tile.lanes
        w, x = random_pair(rng, tile, rows, columns, k)
        ws = random_weight_scales(rng, tile, -(-rows // tile.description.scaling.weight_rows),
                                  tile.groups(k))
        xs = random_scales(rng, tile, columns, tile.groups(k))
        job = gemv_job(tile, w, ws, x, xs)
        assert len(job.passes) == 3
        golden = GoldenTile(tile, job.image.copy())
        golden.window_limit = job.image.size
        for command in job.commands:
            assert golden.execute(command.pack()) == ErrorCode.NONE
        assert np.array_equal(job.results(golden.memory), gemv(w, ws, x, xs, tile))


def test_columns_that_are_not_used_give_zeros():
    image = loaded(ODD, 40, 3)
    w = random_codes(np.random.default_rng(28), 6, 40)
    source = image.put(pack_weights(w, np.ones((3, 2), np.float32), ODD))
    target = image.end
    assert image.run(opcode=Opcode.GEMV, columns=2, rows=6, k=40, source=source,
                     target=target) == ErrorCode.NONE
    results = image.memory[target:target + 48].view(np.uint16).reshape(6, 4)
    assert results[:, :2].any() and not results[:, 2:].any()


def test_padding_lanes_take_part_as_they_stand():
    image = Image(SMALL)
    codes = image.put(bytes([0x3C] * 8))
    scales = image.put(bytes([127] * 8))
    assert image.run(opcode=Opcode.LOAD, k=3, source=codes, source_scales=scales) == ErrorCode.NONE
    stream = np.zeros(SMALL.weight_stream_atoms(1, 3) * 8, np.uint8)
    stream[:SMALL.scale_rows] = 127
    stream[SMALL.weight_scale_atoms(3) * 8:][:8] = 0x3C
    source = image.put(stream.tobytes())
    target = image.end
    assert image.run(opcode=Opcode.GEMV, columns=1, rows=1, k=3, source=source,
                     target=target) == ErrorCode.NONE
    assert image.memory[target:target + 4].view(np.float32)[0] == 8.0


def test_padding_lanes_take_part_with_the_scale_of_their_own_group():
    tile = TILES["mxfp4"]
    assert (tile.lanes, tile.group) == (64, 32)
    image = Image(tile)
    # One atom of ones, of which 3 are the vector; the second group's scales are 2 and 4.
    codes, scales = image.put(bytes([0x22] * 32)), image.put(bytes([127, 128]).ljust(32, b"\0"))
    assert image.run(opcode=Opcode.LOAD, k=3, source=codes, source_scales=scales) == ErrorCode.NONE
    stream = np.zeros(tile.weight_stream_atoms(1, 3) * 32, np.uint8)
    stream[:2] = [127, 129]
    stream[tile.weight_scale_atoms(3) * 32:][:32] = 0x22
    source = image.put(stream.tobytes())
    target = image.end
    assert image.run(opcode=Opcode.GEMV, columns=1, rows=1, k=3, source=source,
                     target=target) == ErrorCode.NONE
    assert image.memory[target:target + 4].view(np.float32)[0] == 32 + 8 * 32


GEMV = {"opcode": Opcode.GEMV, "columns": 1, "k": 8, "rows": 2, "source": 0x1000, "target": 0x2000}
LOAD = {"opcode": Opcode.LOAD, "k": 8, "source": 0x1000, "source_scales": 0x2000}
FENCE = {"opcode": Opcode.FENCE, "tag": 9}


@pytest.mark.parametrize("base, change, error", [
    (GEMV, {}, ErrorCode.NONE),
    (LOAD, {}, ErrorCode.NONE),
    (FENCE, {}, ErrorCode.NONE),
    (GEMV, {"opcode": 0}, ErrorCode.OPCODE),
    (GEMV, {"opcode": 4, "reserved": 1}, ErrorCode.OPCODE),
    (GEMV, {"reserved": 1, "columns": 0}, ErrorCode.RESERVED),
    (LOAD, {"rows": 1}, ErrorCode.RESERVED),
    (LOAD, {"target": 8}, ErrorCode.RESERVED),
    (LOAD, {"transposed": 1}, ErrorCode.RESERVED),
    (GEMV, {"source_scales": 8}, ErrorCode.RESERVED),
    (GEMV, {"to_host": 1}, ErrorCode.RESERVED),
    (LOAD, {"target_scales": 1 << 63}, ErrorCode.RESERVED),
    (FENCE, {"k": 1}, ErrorCode.RESERVED),
    (FENCE, {"columns": 1}, ErrorCode.RESERVED),
    (FENCE, {"rows": 1}, ErrorCode.RESERVED),
    (FENCE, {"source": 8}, ErrorCode.RESERVED),
    (FENCE, {"target": 8}, ErrorCode.RESERVED),
    (FENCE, {"reserved": 8}, ErrorCode.RESERVED),
    (FENCE, {"source_scales": 8}, ErrorCode.RESERVED),
    (LOAD, {"source_format": 1, "columns": 1}, ErrorCode.FORMAT),
    (LOAD, {"source_format": 3}, ErrorCode.FORMAT),
    (GEMV, {"transposed": 1, "columns": 0}, ErrorCode.FORMAT),
    (GEMV, {"columns": 0, "k": 0}, ErrorCode.COLUMNS),
    (GEMV, {"columns": 2}, ErrorCode.COLUMNS),
    (LOAD, {"columns": 1}, ErrorCode.COLUMNS),
    (GEMV, {"k": 0, "rows": 0}, ErrorCode.K),
    (LOAD, {"k": 25}, ErrorCode.K),
    (GEMV, {"k": 0xFFFFFFFF}, ErrorCode.K),
    (GEMV, {"rows": 0, "source": 1}, ErrorCode.ROWS),
    (GEMV, {"rows": 1 << 24}, ErrorCode.ROWS),
    (GEMV, {"source": 0xFFFF0004}, ErrorCode.ALIGNMENT),
    (LOAD, {"source_scales": 0x2001}, ErrorCode.ALIGNMENT),
    (GEMV, {"rows": (1 << 24) - 1, "k": 16}, ErrorCode.WINDOW),
    (LOAD, {"source": 0xFFF8}, ErrorCode.NONE),
    (LOAD, {"source": 0x1_0000}, ErrorCode.WINDOW),
    (LOAD, {"source": 0x1_0000_0000_1000}, ErrorCode.WINDOW),
    (LOAD, {"source": 0xFFF8, "k": 9}, ErrorCode.WINDOW),
    (LOAD, {"source_scales": 0xFFFF_FFFF_FFFF_FFF8}, ErrorCode.WINDOW),
    (GEMV, {"k": 9, "target": 0x1000}, ErrorCode.NOT_LOADED),
    (GEMV, {"target": 0x1000}, ErrorCode.OVERLAP),
])
def test_checks_in_the_order_of_their_codes(base, change, error):
    image = loaded(SMALL, 8, 1)
    image.memory[:] = 0
    before = image.memory.copy()
    assert image.run(**{**base, **change}) == error
    # A bad command changes nothing, and the next one runs.
    assert error == ErrorCode.NONE or np.array_equal(image.memory, before)
    assert image.run(**GEMV) == ErrorCode.NONE


def test_overlap_begins_and_ends_with_the_regions():
    image = loaded(SMALL, 8, 1)
    atoms = SMALL.weight_stream_atoms(3, 8), SMALL.result_atoms(3)
    for target, error in ((-atoms[1], ErrorCode.NONE), (1 - atoms[1], ErrorCode.OVERLAP),
                         (atoms[0] - 1, ErrorCode.OVERLAP), (atoms[0], ErrorCode.NONE)):
        assert image.run(**{**GEMV, "rows": 3, "target": 0x1000 + 8 * target}) == error


@pytest.mark.parametrize("base, limit, error", [
    (0x1000, 0x2008, ErrorCode.NONE),
    (0x1007, 0x200F, ErrorCode.NONE),       # bits within an atom are ignored
    (0x1008, 0x2008, ErrorCode.WINDOW),
    (0x1000, 0x2007, ErrorCode.WINDOW),
    (0x1000, 0x1_0000, ErrorCode.NONE),     # the whole memory
    (0x1000, 0x2_0000, ErrorCode.WINDOW),   # above: ignored, so that nothing is open
    (0x6_1000, 0x6_2008, ErrorCode.NONE),
    (0x1000, 0x1_FFFF, ErrorCode.NONE),     # behind the memory
])
def test_the_window_is_truncated_to_atoms_and_addresses(base, limit, error):
    image = Image(SMALL)
    image.golden.window_base, image.golden.window_limit = base, limit
    assert image.run(**LOAD) == error


@pytest.mark.parametrize("source, scales, error", [
    (0xFFF0, 0xFFF8, ErrorCode.NONE),
    (0xFFF8, 0x1000, ErrorCode.WINDOW),
    (0x1000, 0x1_0000, ErrorCode.WINDOW),
])
def test_a_wider_window_does_not_open_more_than_the_memory(source, scales, error):
    image = Image(SMALL)
    image.golden.window_limit = 0x1_FFFF
    # Two atoms of codes, one atom of two scales.
    assert image.run(opcode=Opcode.LOAD, k=9, source=source, source_scales=scales) == error


def test_a_load_of_another_k_or_column_counts():
    image = loaded(ODD, 40, 2)
    source = image.put(bytes(ODD.weight_stream_atoms(1, 40) * 16))
    gemv_fields = {"opcode": Opcode.GEMV, "k": 40, "rows": 1, "source": source,
                   "target": image.end}
    assert image.run(**gemv_fields, columns=2) == ErrorCode.NONE
    assert image.run(**gemv_fields, columns=3) == ErrorCode.NOT_LOADED
    assert image.run(opcode=Opcode.LOAD, columns=1, k=41) == ErrorCode.NONE
    assert image.run(**gemv_fields, columns=2) == ErrorCode.NOT_LOADED
    assert image.run(**gemv_fields, columns=1) == ErrorCode.NONE


def test_memory_that_is_not_there_answers_with_an_error():
    image = loaded(SMALL, 8, 1, size=0x3000)
    image.golden.window_limit = 0x10000
    assert image.run(**{**GEMV, "target": 0x3000}) == ErrorCode.WRITE
    assert image.run(**{**GEMV, "source": 0x2FF8}) == ErrorCode.READ
    assert image.run(**{**LOAD, "source_scales": 0x3000}) == ErrorCode.READ
    assert image.run(**GEMV) == ErrorCode.NOT_LOADED


def test_the_first_atom_with_a_fault_decides():
    image = loaded(SMALL, 8, 1)
    before = image.memory.copy()
    first = 0x1000 // 8
    atoms = SMALL.weight_stream_atoms(2, 8)
    # Atoms outside the region, one of its results, and one that is in order.
    image.golden.faults = {first - 1: ReadFault.RESPONSE, first + atoms: ReadFault.RESPONSE,
                           0x2000 // 8: ReadFault.UNCORRECTABLE, first: ReadFault.NONE}
    assert image.run(**GEMV) == ErrorCode.NONE
    image.memory[:] = before
    for atom, fault, error in ((atoms - 1, ReadFault.RESPONSE, ErrorCode.READ),
                               (1, ReadFault.TIMEOUT, ErrorCode.TIMEOUT),
                               (0, ReadFault.UNCORRECTABLE, ErrorCode.ECC)):
        image.golden.faults[first + atom] = fault
        assert image.run(**GEMV) == error
        assert np.array_equal(image.memory, before)
    # Codes are read before scales; a failed LOAD leaves no vector.
    image.golden.faults = {0x1000 // 8: ReadFault.UNCORRECTABLE}
    assert image.run(**{**LOAD, "source": 0x2000, "source_scales": 0x1000}) == ErrorCode.ECC
    image.golden.faults[0x2000 // 8] = ReadFault.RESPONSE
    assert image.run(**{**LOAD, "source": 0x2000, "source_scales": 0x1000}) == ErrorCode.READ
    image.golden.faults = {}
    assert image.run(**GEMV) == ErrorCode.NOT_LOADED


def test_rejects_a_memory_of_words():
    with pytest.raises(TypeError, match="^GoldenTile: memory must be an array of uint8, "
                                        "not of uint32$"):
        GoldenTile(SMALL, np.zeros(4, np.uint32))
