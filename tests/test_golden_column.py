import numpy as np
import pytest

from golden.column import column
from golden.scales import block_scales
from tests.golden_cases import (
    ALL_TILES, factors, finite_codes, oracle_result, random_codes, random_scales,
    random_weight_scales, scale_codes,
)

NVFP4 = next(tile for tile in ALL_TILES if tile.name == "nvfp4")


@pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("special", [False, True])
def test_rows_match_the_oracle(tile, special):
    rng = np.random.default_rng(24)
    k = tile.group + tile.lanes + 3
    formats = tile.weight_format, tile.activation_format
    w, x = (random_codes(rng, *shape, bits=fmt.bits) if special else finite_codes(rng, fmt, *shape)
            for fmt, shape in zip(formats, ((4, k), (k,)), strict=True))
    ws = random_weight_scales(rng, tile, 4, tile.groups(k), special=special)
    xs = random_scales(rng, tile, tile.groups(k), special=special)
    expected = [oracle_result(tile, row, scales, x, xs) for row, scales in zip(w, ws, strict=True)]
    result = column(*factors(tile, w, ws), x, scale_codes(xs), tile.column)
    assert result.tolist() == expected


def test_the_blocks_of_a_row_are_scaled_and_added_before_they_are_rounded():
    w, x = np.zeros((2, 48), np.uint8), np.zeros(48, np.uint8)
    w[:, ::16], x[::16] = [[0x2, 0x2, 0x2], [0x2, 0x2, 0xA]], 0x2
    ws = block_scales(np.array([[0x78, 0x08, 0x08]] * 2, np.uint8), np.float32([1, 2]))
    xs = block_scales(np.array([0x78, 0x28, 0x28], np.uint8), np.float32(0.5))
    # 2**16, and 2**-8 twice: half of FP32's last place each.
    result = column(w, ws, x, xs, NVFP4.column).view(np.float32)
    assert result.tolist() == [(2.0 ** 16 + 2.0 ** -7) / 2, 2.0 ** 16]


@pytest.mark.parametrize("side", ["weights", "activations"])
def test_rejects_scales_of_several_tensors(side):
    scales = {name: block_scales(np.zeros(shape, np.uint8), np.float32(1))
              for name, shape in (("weights", (2, 3)), ("activations", (3,)))}
    scales[side]["tensor"][..., 2] = 2
    with pytest.raises(ValueError, match="^tensor_scales: all scales of a row must have the same "
                                         "scale of the tensor$"):
        column(np.zeros((2, 48), np.uint8), scales["weights"], np.zeros(48, np.uint8),
               scales["activations"], NVFP4.column)
