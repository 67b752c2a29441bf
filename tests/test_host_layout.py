import numpy as np
import pytest

from host.layout import pack_activations, pack_weights, unpack_results
from spec.description import Axi4Memory, Compute, Description, Pipeline, Scaling
from spec.tile import Tile
from tests.golden_cases import ALL_TILES, random_codes, random_scales

EVERY_TILE = pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)
USUAL, USUAL_X4, SMALL, ODD = ALL_TILES[:4]
# Atoms of 16 codes in two groups, strips and blocks of two rows.
TWO_GROUPS = Tile(description=Description(
    name="two_groups", memory=Axi4Memory(atom_bytes=8),
    compute=Compute(weights="e2m1", activations="e2m1"),
    scaling=Scaling(group=8, weight_rows=1), pipeline=Pipeline(fp32=2)))


def scale_bytes(scale):
    return np.asarray(scale).astype(scale.dtype.newbyteorder("<")).tobytes()


def padded(data, tile):
    return data + bytes(-len(data) % tile.atom_bytes)


def code_bytes(codes, bits, count):
    """``count`` codes in memory, those that there are not as zeros."""
    codes = [*codes.tolist(), *[0] * (count - len(codes))]
    if bits == 8:
        return bytes(codes)
    return bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2], strict=True))


def stream_of(codes, scales, tile):
    """The contract, read word for word."""
    rows, k = codes.shape
    bits = tile.weight_format.bits
    lanes = tile.atom_bytes * 8 // bits
    together, span = max(1, lanes // tile.group), max(lanes, tile.group)
    stream = b""
    for block in range(tile.blocks(rows)):
        packed = b""
        for first in range(0, tile.groups(k), together):
            for scale_row in range(tile.scale_rows):
                index = block * tile.scale_rows + scale_row
                for group in range(first, first + together):
                    there = index < scales.shape[0] and group < scales.shape[1]
                    packed += (scale_bytes(scales[index, group]) if there
                               else bytes(tile.scale_format.bytes))
        stream += padded(packed, tile)
        block_end = min(rows, (block + 1) * tile.rows_per_block)
        for strip in range(block * tile.rows_per_block, block_end, tile.rows_per_strip):
            for start in range(0, k, span):
                length = -(-min(span, k - start) // lanes) * lanes
                for row in range(strip, strip + tile.rows_per_strip):
                    part = codes[row, start:start + span] if row < rows else codes[:0, 0]
                    stream += code_bytes(part, bits, length)
    return stream


@EVERY_TILE
def test_weight_streams_follow_the_contract(tile):
    rng = np.random.default_rng(29)
    for rows, k in ((1, 1), (tile.rows_per_strip, tile.group),
                    (tile.rows_per_block + tile.rows_per_strip + 1, 2 * tile.group + 3),
                    (tile.rows_per_strip + 1, tile.span + tile.group + 1)):
        codes = random_codes(rng, rows, k, bits=tile.weight_format.bits)
        scales = random_scales(rng, tile, -(-rows // tile.description.scaling.weight_rows),
                               tile.groups(k))
        stream = pack_weights(codes, scales, tile)
        assert len(stream) == tile.weight_stream_atoms(rows, k) * tile.atom_bytes
        assert stream == stream_of(codes, scales, tile)


@EVERY_TILE
def test_activations_are_padded_to_beats(tile):
    rng = np.random.default_rng(30)
    bits = tile.activation_format.bits
    lanes = tile.atom_bytes * 8 // tile.weight_format.bits
    for k in (1, lanes, tile.group + 1, tile.span + 1):
        codes = random_codes(rng, k, bits=bits)
        scales = random_scales(rng, tile, tile.groups(k))
        packed = pack_activations(codes, scales, tile)
        assert packed[0] == code_bytes(codes, bits, -(-k // lanes) * lanes)
        assert packed[1] == padded(b"".join(map(scale_bytes, scales)), tile)
        assert len(packed[0]) == tile.activation_atoms(k) * tile.atom_bytes
        assert len(packed[1]) == tile.activation_scale_atoms(k) * tile.atom_bytes


def test_two_groups_of_four_bits_in_an_atom_by_hand():
    tile = TWO_GROUPS
    assert (tile.lanes, tile.groups_per_beat, tile.rows_per_strip) == (16, 2, 2)
    # Three rows of 20: two strips, and of each row an atom and a quarter.
    codes = np.stack([np.arange(20), np.arange(20) + 5, 15 - np.arange(20)]).astype(np.uint8) % 16
    scales = np.array([[0xA0, 0xA1, 0xA2], [0xB0, 0xB1, 0xB2], [0xC0, 0xC1, 0xC2]], np.uint8)
    assert pack_weights(codes, scales, tile) == bytes.fromhex(
        # First block: scales as [atom][row][group of the atom]; the fourth group is not there.
        "A0 A1 B0 B1  A2 00 B2 00"
        # First strip: the first atom of both rows, then the second; the first code is the lower.
        "10 32 54 76 98 BA DC FE  65 87 A9 CB ED 0F 21 43"
        "10 32 00 00 00 00 00 00  65 87 00 00 00 00 00 00"
        # Second block, of one row: its scales, and a strip whose second row is zero.
        "C0 C1 00 00  C2 00 00 00"
        "EF CD AB 89 67 45 23 01  00 00 00 00 00 00 00 00"
        "EF CD 00 00 00 00 00 00  00 00 00 00 00 00 00 00")
    assert pack_activations(codes[0], scales[0], tile) == (
        bytes.fromhex("10 32 54 76 98 BA DC FE  10 32 00 00 00 00 00 00"),
        bytes.fromhex("A0 A1 A2 00 00 00 00 00"))


def test_activations_of_eight_bits_fill_two_atoms_for_one_of_weights():
    description = TWO_GROUPS.description
    tile = Tile(description=description.model_copy(update={
        "compute": Compute(weights="int4", activations="e4m3")}))
    codes = np.arange(1, 18, dtype=np.uint8)
    packed = pack_activations(codes, np.array([1, 2, 3], np.uint8), tile)
    assert packed == (bytes(range(1, 18)) + bytes(15), bytes([1, 2, 3]) + bytes(5))


def test_results_are_read_at_their_pitch():
    data = np.arange(16, dtype="<u2").tobytes()
    assert unpack_results(data, 3, 2, ODD).tolist() == [[0, 1], [4, 5], [8, 9]]
    data = np.arange(16, dtype="<u4").tobytes()
    assert unpack_results(data, 4, 4, USUAL_X4).tolist() == np.arange(16).reshape(4, 4).tolist()
    assert unpack_results(data, 13, 1, USUAL).tolist() == np.arange(13)[:, None].tolist()


@pytest.mark.parametrize("call, error, message", [
    (lambda: pack_weights(np.zeros((2, 9)), np.zeros((1, 1), np.uint8), USUAL), TypeError,
     "pack_weights: codes must be an array of uint8, not float64"),
    (lambda: pack_weights(np.zeros((2, 9), np.uint8), np.zeros((2, 1), np.uint8), USUAL),
     ValueError, r"pack_weights: scales must have the shape \[1, 1\] \(one per 128 x 128 "
     r"weights\), not \[2, 1\]"),
    (lambda: pack_weights(np.zeros((0, 9), np.uint8), np.zeros((0, 1), np.uint8), USUAL),
     ValueError, r"pack_weights: codes must have at least one row and one element, not the shape "
     r"\[0, 9\]"),
    (lambda: pack_activations(np.zeros(129, np.uint8), np.zeros(1, np.uint8), USUAL), ValueError,
     r"pack_activations: scales must have the shape \[2\] \(one per 128 activations\), "
     r"not \[1\]"),
    (lambda: pack_activations([1], np.zeros(1, np.uint8), USUAL), TypeError,
     "pack_activations: codes must be an array of uint8, not list"),
    (lambda: unpack_results(bytes(32), 9, 1, USUAL), ValueError,
     "unpack_results: 9 rows take 64 bytes, not 32"),
    (lambda: unpack_results(bytes(32), 1, 4, ODD), ValueError,
     r"unpack_results: columns must be in \[1, 3\], not 4"),
])
def test_rejects_wrong_arguments(call, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        call()
