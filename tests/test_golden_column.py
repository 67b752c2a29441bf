import numpy as np
import pytest

from golden.column import column
from tb.oracle import gemv_element
from tests.golden_cases import ALL_TILES, finite_codes, random_codes, random_scales


@pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("special", [False, True])
def test_rows_match_the_oracle(tile, special):
    rng = np.random.default_rng(24)
    k = tile.group + tile.lanes + 3
    formats = tile.weight_format, tile.activation_format
    w, x = (random_codes(rng, *shape, bits=fmt.bits) if special else finite_codes(rng, fmt, *shape)
            for fmt, shape in zip(formats, ((4, k), (k,)), strict=True))
    ws = random_scales(rng, tile, 4, tile.groups(k), special=special)
    xs = random_scales(rng, tile, tile.groups(k), special=special)
    if tile.scale_format.name == "fp32":
        ws, xs = ws.view(np.uint32), xs.view(np.uint32)
    expected = [gemv_element(
        row.tolist(), scales.tolist(), x.tolist(), xs.tolist(), tile.weight_format,
        tile.activation_format, tile.scale_format.name, tile.group, tile.groups_per_beat)
        for row, scales in zip(w, ws, strict=True)]
    assert column(w, ws, x, xs, tile.column).tolist() == expected
