"""Error of a description's arithmetic against float64."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.decoder import decode
from golden.gemv import gemv_fp32
from golden.quantizer import quantize, quantize_blocks
from golden.scale_combiner import E8M0_NAN
from golden.scales import BLOCK_SCALE
from spec.formats import E4M3, ZeroPointFormat
from spec.tile import Tile

__all__ = ["BUCKETS", "INPUTS", "ErrorStatistics", "Study", "drawn", "study"]

Floats = NDArray[np.float32]

# Borders of the distribution of errors: powers of two of the error over the rms of the results.
BUCKETS = tuple(range(-40, 9))

_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# Rows that are worked on at once: float64 weights of the longest K stay below 130 MB.
_ROWS = 1024


def _normal(rng: np.random.Generator, rows: int, k: int) -> Floats:
    return rng.standard_normal((rows, k), dtype=np.float32)


def _heavy_tailed(rng: np.random.Generator, rows: int, k: int) -> Floats:
    return rng.standard_t(2, (rows, k)).astype(np.float32)


def _uniform(rng: np.random.Generator, rows: int, k: int) -> Floats:
    return rng.uniform(-1.0, 1.0, (rows, k)).astype(np.float32)


def _outlier_channels(rng: np.random.Generator, rows: int, k: int) -> Floats:
    """Normal, but one channel in 128 is 50 times as large, the same ones in every row."""
    values = _normal(rng, rows, k)
    values[:, rng.permutation(k)[:max(1, k // 128)]] *= np.float32(50.0)
    return values


# Weights and activations of each kind. Outlier channels are the activations', as in language
# models.
INPUTS: dict[str, tuple[Callable[[np.random.Generator, int, int], Floats], ...]] = {
    "normal": (_normal, _normal),
    "heavy-tailed": (_heavy_tailed, _heavy_tailed),
    "outlier-channel": (_normal, _outlier_channels),
    "uniform": (_uniform, _uniform),
}


def drawn(inputs: str, rows: int, columns: int, k: int, seed: int) -> tuple[Floats, Floats]:
    """Weights [rows, k] and activations [columns, k] of one of ``INPUTS``."""
    rng = np.random.default_rng(seed)
    weights, activations = INPUTS[inputs]
    return weights(rng, rows, k), activations(rng, columns, k)


@dataclass(frozen=True)
class ErrorStatistics:
    """Errors of results, each over the root mean square of the exact results.

    ``signal_to_noise_db`` is None where there is no error at all. ``percentiles`` are of the
    magnitudes; ``counts`` are how many magnitudes lie between neighbouring powers of two of
    ``BUCKETS``, with those below the first and above the last at its ends, and ``exact`` how many
    are zero. Results that are not finite, or whose exact value is not, only count.
    """

    results: int
    not_finite: int
    exact: int
    maximum: float
    rms: float
    signal_to_noise_db: float | None
    percentiles: dict[str, float]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """Errors of one description on one kind of inputs.

    ``arithmetic`` is against float64 on the very codes and scales that the tile multiplies,
    ``with_quantization`` against float64 on the inputs as they were.
    """

    tile: str
    inputs: str
    k: int
    rows: int
    columns: int
    arithmetic: ErrorStatistics
    with_quantization: ErrorStatistics


def study(tile: Tile, inputs: str, weights: Floats, activations: Floats) -> Study:
    """Quantize ``weights`` [M, K] and ``activations`` [C, K], multiply, and compare.

    Float32 values, or uint16 codes of BF16. float64's own rounding is below ``K * 2**-53`` of the
    sum of the products' magnitudes, and does not show.
    """
    scaling = tile.description.scaling
    weight_codes, weight_scales = quantize_blocks(weights, tile.weight_format, scaling)
    codes, scales = quantize(activations, tile.activation_format, scaling)
    results = gemv_fp32(weight_codes, weight_scales, codes, scales, tile).view(np.float32)
    x, x_exact = _dequantized(codes, scales, tile, 1, False), _doubles(activations)
    exact, wanted = (np.empty(results.shape) for _ in range(2))
    step = max(_ROWS // scaling.weight_rows, 1) * scaling.weight_rows
    with np.errstate(all="ignore"):
        for first in range(0, weights.shape[0], step):
            lines = slice(first, first + step)
            groups = slice(first // scaling.weight_rows,
                           -(-min(first + step, weights.shape[0]) // scaling.weight_rows))
            w = _dequantized(weight_codes[lines], weight_scales[groups], tile,
                             scaling.weight_rows, True)
            exact[lines] = w @ x.T
            wanted[lines] = _doubles(weights[lines]) @ x_exact.T
    return Study(tile=tile.name, inputs=inputs, k=weights.shape[1], rows=weights.shape[0],
                 columns=activations.shape[0], arithmetic=_statistics(results, exact),
                 with_quantization=_statistics(results, wanted))


def _doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return values.astype(np.float64)


def _dequantized(codes: NDArray[Any], scales: NDArray[Any], tile: Tile, rows: int,
                 weights: bool) -> NDArray[np.float64]:
    """Values [n, K] of codes, each scale and zero point that of ``rows`` rows and a group."""
    def spread(part: NDArray[Any]) -> NDArray[Any]:
        lines: NDArray[Any] = np.repeat(part, rows, axis=0)[:codes.shape[0]]
        return np.repeat(lines, tile.group, axis=1)[:, :codes.shape[1]]

    if not weights:
        values = decode(codes, tile.activation_format)
    elif isinstance(tile.weight_format, ZeroPointFormat):
        values = codes.astype(np.float64) - spread(scales["zero"])
        scales = scales["scale"]
    else:
        values = decode(codes, tile.weight_format)
    if scales.dtype == BLOCK_SCALE:
        # Exact: 4 bits by 24. Signs of blocks count for nothing.
        scale = np.abs(decode(scales["block"], E4M3)) * scales["tensor"].astype(np.float64)
    elif scales.dtype == np.uint8:
        scale = np.where(scales == E8M0_NAN, np.nan, np.ldexp(1.0, scales.astype(np.int32) - 127))
    else:
        scale = scales.astype(np.float64)
    scaled: NDArray[np.float64] = values * spread(scale)
    return scaled


def _statistics(results: Floats, exact: NDArray[np.float64]) -> ErrorStatistics:
    finite = np.isfinite(results) & np.isfinite(exact)
    wanted = exact[finite]
    scale = float(np.sqrt(np.mean(wanted ** 2))) if wanted.size else 0.0
    errors = np.abs(results[finite] - wanted) / (scale or 1.0)
    rms = float(np.sqrt(np.mean(errors ** 2))) if errors.size else 0.0
    # frexp: magnitudes from 2**(e - 1) up to 2**e.
    places = np.clip(np.frexp(errors[errors > 0])[1] - 1 - BUCKETS[0], 0, len(BUCKETS) - 1)
    return ErrorStatistics(
        results=results.size, not_finite=int(results.size - finite.sum()),
        exact=int((errors == 0).sum()), maximum=float(errors.max(initial=0.0)), rms=rms,
        signal_to_noise_db=float(-20 * np.log10(rms)) if rms else None,
        percentiles={f"{share:g}": float(np.percentile(errors, share)) if errors.size else 0.0
                     for share in _PERCENTILES},
        counts=tuple(np.bincount(places, minlength=len(BUCKETS)).tolist()))
