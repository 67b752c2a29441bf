import numpy as np
import pytest

from host.layout import pack_activations, pack_weights, unpack_results
from tests.golden_cases import TILES, random_codes, random_scales

EVERY_TILE = pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
USUAL, USUAL_X4, SMALL, ODD = TILES[:4]


def scale_bytes(scale):
    return np.asarray(scale).astype(scale.dtype.newbyteorder("<")).tobytes()


def padded(data, tile):
    return data + bytes(-len(data) % tile.atom_bytes)


def stream_of(codes, scales, tile):
    """The contract, read word for word."""
    rows, k = codes.shape
    stream = b""
    for block in range(tile.blocks(rows)):
        packed = b""
        for group in range(tile.groups(k)):
            for scale_row in range(tile.scale_rows):
                index = block * tile.scale_rows + scale_row
                packed += (scale_bytes(scales[index, group]) if index < scales.shape[0]
                           else bytes(tile.scale_format.bytes))
        stream += padded(packed, tile)
        block_end = min(rows, (block + 1) * tile.rows_per_block)
        for strip in range(block * tile.rows_per_block, block_end, tile.rows_per_strip):
            for start in range(0, k, tile.group):
                for row in range(strip, strip + tile.rows_per_strip):
                    length = min(tile.group, k - start)
                    part = (codes[row, start:start + length].tobytes() if row < rows
                            else bytes(length))
                    stream += padded(part, tile)
    return stream


@EVERY_TILE
def test_weight_streams_follow_the_contract(tile):
    rng = np.random.default_rng(29)
    for rows, k in ((1, 1), (tile.rows_per_strip, tile.group),
                    (tile.rows_per_block + tile.rows_per_strip + 1, 2 * tile.group + 3)):
        codes = random_codes(rng, rows, k)
        scales = random_scales(rng, tile, -(-rows // tile.description.scaling.weight_rows),
                               tile.groups(k))
        stream = pack_weights(codes, scales, tile)
        assert len(stream) == tile.weight_stream_atoms(rows, k) * tile.atom_bytes
        assert stream == stream_of(codes, scales, tile)


@EVERY_TILE
def test_activations_are_padded_to_atoms(tile):
    rng = np.random.default_rng(30)
    for k in (1, tile.lanes, tile.group + 1):
        codes, scales = random_codes(rng, k), random_scales(rng, tile, tile.groups(k))
        packed = pack_activations(codes, scales, tile)
        assert packed[0] == padded(codes.tobytes(), tile)
        assert packed[1] == padded(b"".join(map(scale_bytes, scales)), tile)
        assert len(packed[0]) == tile.k_atoms(k) * tile.atom_bytes
        assert len(packed[1]) == tile.activation_scale_atoms(k) * tile.atom_bytes


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
