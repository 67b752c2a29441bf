import numpy as np
import pytest

from golden.scales import block_scales, weight_scale_dtype
from host.layout import pack_activations, pack_weights, unpack_results
from spec.description import Axi4Memory, Compute, Description, Pipeline, Scaling
from spec.tile import Tile
from tests.golden_cases import ALL_TILES, random_codes, random_scales, random_weight_scales

EVERY_TILE = pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)
USUAL, USUAL_X4, SMALL, ODD = ALL_TILES[:4]
UINT4 = next(tile for tile in ALL_TILES if tile.name == "uint4")
# Atoms of 16 codes in two groups, strips and blocks of two rows.
TWO_GROUPS = Tile(description=Description(
    name="two_groups", memory=Axi4Memory(atom_bytes=8),
    compute=Compute(weights="e2m1", activations="e2m1"),
    scaling=Scaling(group=8, weight_rows=1), pipeline=Pipeline(fp32=2)))


def scale_bytes(scale):
    """The bytes of a scale without what stands behind those of its block."""
    for name in ("block", "scale"):
        if name in (scale.dtype.names or ()):
            scale = scale[name]
    return np.asarray(scale).astype(scale.dtype.newbyteorder("<")).tobytes()


def tensor_atom(scales, tile):
    """The atom with the scale of the tensor of one row of scales."""
    if "tensor" not in (scales.dtype.names or ()):
        return b""
    return padded(np.float32(scales["tensor"][0]).tobytes(), tile)


def padded(data, tile):
    return data + bytes(-len(data) % tile.atom_bytes)


def beat_lanes(tile):
    """Weights of an atom, or of one and a half where they have 6 bits."""
    bits = tile.weight_format.bits
    return tile.atom_bytes * (12 if bits == 6 else 8) // bits


def code_bytes(codes, bits, count):
    """``count`` codes in memory, those that there are not as zeros."""
    whole = sum(int(code) << bits * place for place, code in enumerate(codes))
    return whole.to_bytes(count * bits // 8, "little")


def stream_of(codes, scales, tile):
    """The contract, read word for word."""
    rows, k = codes.shape
    bits, lanes = tile.weight_format.bits, beat_lanes(tile)
    together, span = max(1, lanes // tile.group), max(lanes, tile.group)
    stream = b""
    for block in range(tile.blocks(rows)):
        packed, zeros = b"", []
        for first in range(0, tile.groups(k), together):
            for scale_row in range(tile.scale_rows):
                index = block * tile.scale_rows + scale_row
                for group in range(first, first + together):
                    there = index < scales.shape[0] and group < scales.shape[1]
                    packed += (scale_bytes(scales[index, group]) if there
                               else bytes(tile.scale_format.bytes))
                    if tile.zero_points:
                        zeros.append(scales["zero"][index, group] if there else 0)
        stream += padded(packed, tile) + tensor_atom(scales[block * tile.scale_rows], tile)
        stream += padded(code_bytes(zeros, bits, len(zeros) + len(zeros) % 2), tile)
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
        scales = random_weight_scales(rng, tile, -(-rows // tile.description.scaling.weight_rows),
                                      tile.groups(k))
        stream = pack_weights(codes, scales, tile)
        assert len(stream) == tile.weight_stream_atoms(rows, k) * tile.atom_bytes
        assert stream == stream_of(codes, scales, tile)


@EVERY_TILE
def test_activations_are_padded_to_beats(tile):
    rng = np.random.default_rng(30)
    bits, lanes = tile.activation_format.bits, beat_lanes(tile)
    for k in (1, lanes, tile.group + 1, tile.span + 1, 2 * lanes + 1):
        codes = random_codes(rng, k, bits=bits)
        scales = random_scales(rng, tile, tile.groups(k))
        packed = pack_activations(codes, scales, tile)
        # Beats of 6-bit codes may end within an atom.
        assert packed[0] == padded(code_bytes(codes, bits, -(-k // lanes) * lanes), tile)
        assert packed[1] == (padded(b"".join(map(scale_bytes, scales)), tile)
                             + tensor_atom(scales, tile))
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


def test_nvfp4_by_hand():
    tile = Tile(description=Description(
        name="nvfp4", memory=Axi4Memory(atom_bytes=16), compute=Compute(
            weights="e2m1", activations="e2m1", k_max=64),
        scaling=Scaling(format="e4m3", rule="e4m3-nvfp4", group=16, weight_rows=1)))
    assert (tile.lanes, tile.rows_per_strip, tile.rows_per_block) == (32, 1, 1)
    codes = np.stack([np.arange(33), np.arange(33) + 5]).astype(np.uint8) % 16
    scales = block_scales(np.array([[0x30, 0x31, 0x32], [0x40, 0x41, 0x42]], np.uint8), [1.0, 0.5])
    # Of each row, the scales of its blocks, that of its tensor, and its codes.
    assert pack_weights(codes, scales, tile) == bytes.fromhex(
        "30 31 32 00 00 00 00 00  00 00 00 00 00 00 00 00"
        "00 00 80 3F 00 00 00 00  00 00 00 00 00 00 00 00"
        "10 32 54 76 98 BA DC FE  10 32 54 76 98 BA DC FE"
        "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
        "40 41 42 00 00 00 00 00  00 00 00 00 00 00 00 00"
        "00 00 00 3F 00 00 00 00  00 00 00 00 00 00 00 00"
        "65 87 A9 CB ED 0F 21 43  65 87 A9 CB ED 0F 21 43"
        "05 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00")
    assert pack_activations(codes[1], scales[1], tile)[1] == bytes.fromhex(
        "40 41 42 00 00 00 00 00  00 00 00 00 00 00 00 00"
        "00 00 00 3F 00 00 00 00  00 00 00 00 00 00 00 00")
    mixed = scales.copy()
    mixed["tensor"][1, 2] = 2.0
    with pytest.raises(ValueError, match="must have the same scale of the tensor$"):
        pack_weights(codes, mixed, tile)


def test_zero_points_by_hand():
    tile = Tile(description=TWO_GROUPS.description.model_copy(update={
        "compute": Compute(weights="uint4", activations="int4", k_max=72)}))
    assert (tile.lanes, tile.groups_per_beat, tile.rows_per_strip) == (16, 2, 2)
    # Three rows of 20: two strips, and of each row an atom and a quarter.
    codes = np.stack([np.arange(20), np.arange(20) + 5, 15 - np.arange(20)]).astype(np.uint8) % 16
    scales = np.empty((3, 3), weight_scale_dtype(tile))
    scales["scale"] = [[0xA0, 0xA1, 0xA2], [0xB0, 0xB1, 0xB2], [0xC0, 0xC1, 0xC2]]
    scales["zero"] = [[1, 2, 3], [4, 5, 6], [15, 0, 7]]
    assert pack_weights(codes, scales, tile) == bytes.fromhex(
        # First block: scales as [atom][row][group of the atom], and zero points in that order; the
        # first is the lower half of a byte.
        "A0 A1 B0 B1  A2 00 B2 00"
        "21 54 03 06  00 00 00 00"
        "10 32 54 76 98 BA DC FE  65 87 A9 CB ED 0F 21 43"
        "10 32 00 00 00 00 00 00  65 87 00 00 00 00 00 00"
        # Second block, of one row.
        "C0 C1 00 00  C2 00 00 00"
        "0F 00 07 00  00 00 00 00"
        "EF CD AB 89 67 45 23 01  00 00 00 00 00 00 00 00"
        "EF CD 00 00 00 00 00 00  00 00 00 00 00 00 00 00")
    assert pack_activations(codes[0], scales["scale"][0].copy(), tile)[1] == bytes.fromhex(
        "A0 A1 A2 00 00 00 00 00")
    # Five beats of two rows: twenty scales in three atoms, twenty zero points in two.
    wide = np.zeros((1, 72), np.uint8)
    scales = np.zeros((1, 9), weight_scale_dtype(tile))
    scales["zero"] = np.arange(1, 10)
    assert pack_weights(wide, scales, tile)[24:40] == bytes.fromhex(
        "21 00 43 00 65 00 87 00  09 00 00 00 00 00 00 00")


def test_an_odd_number_of_zero_points_and_zero_points_of_eight_bits_by_hand():
    for weights, heads in (("uint4", "A0 A1 A2 00 00 00 00 00  21 03 00 00 00 00 00 00"),
                           ("uint8", "A0 A1 A2 00 00 00 00 00  01 02 03 00 00 00 00 00")):
        tile = Tile(description=Description(
            name="odd", memory=Axi4Memory(atom_bytes=8),
            compute=Compute(weights=weights, activations="int8"),
            scaling=Scaling(group=16, weight_rows=4)))
        codes = np.zeros((1, 48), np.uint8)
        scales = np.empty((1, 3), weight_scale_dtype(tile))
        scales["scale"], scales["zero"] = [[0xA0, 0xA1, 0xA2]], [[1, 2, 3]]
        assert pack_weights(codes, scales, tile)[:16] == bytes.fromhex(heads)


def test_four_codes_of_six_bits_in_three_bytes_by_hand():
    # Atoms of 8 bytes and beats of 12, of 16 codes in two groups.
    tile = Tile(description=TWO_GROUPS.description.model_copy(update={
        "compute": Compute(weights="e2m3", activations="e3m2", k_max=64)}))
    assert (tile.lanes, tile.groups_per_beat, tile.rows_per_strip) == (16, 2, 2)
    codes = np.zeros((2, 17), np.uint8)
    codes[0, :4], codes[0, 16] = [1, 2, 3, 4], 0x3F
    codes[1, :8], codes[1, 16] = [0x20, 0x3F, 0, 0x15, 0x2A, 1, 0x30, 0x0C], 0x2A
    scales = np.array([[0xA0, 0xA1, 0xA2], [0xB0, 0xB1, 0xB2]], np.uint8)
    assert pack_weights(codes, scales, tile) == bytes.fromhex(
        "A0 A1 B0 B1  A2 00 B2 00"
        # The first beat of both rows, then the second: six atoms.
        "81 30 10 00 00 00  00 00 00 00 00 00  E0 0F 54 6A 00 33  00 00 00 00 00 00"
        "3F 00 00 00 00 00  00 00 00 00 00 00  2A 00 00 00 00 00  00 00 00 00 00 00")
    # Two beats are three atoms; one is two, the second of which is half full.
    assert pack_activations(codes[0], scales[0], tile)[0] == bytes.fromhex(
        "81 30 10 00 00 00 00 00  00 00 00 00 3F 00 00 00  00 00 00 00 00 00 00 00")
    assert pack_activations(codes[1, :8], scales[1, :1], tile)[0] == bytes.fromhex(
        "E0 0F 54 6A 00 33 00 00  00 00 00 00 00 00 00 00")


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
    (lambda: pack_weights(np.zeros((2, 9), np.uint8), np.zeros((1, 1), np.float32), UINT4),
     TypeError, r"pack_weights: scales must be an array of .*, not float32"),
    (lambda: pack_weights(np.zeros((2, 9), np.uint8),
                          np.zeros((1, 2), weight_scale_dtype(UINT4)), UINT4),
     ValueError, r"pack_weights: scales must have the shape \[1, 1\] \(one per 2 x 16 weights\), "
     r"not \[1, 2\]"),
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
