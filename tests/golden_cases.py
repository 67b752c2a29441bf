"""Cases that the tests of the golden models share: tiles, codes, FP32 edges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.scales import block_scales, weight_scale_dtype
from golden.zero_subtractor import zero_subtractor
from spec.description import Axi4Memory, Compute, Description, Scaling
from spec.formats import WeightFormat, ZeroPointFormat
from spec.tile import Tile
from tb.oracle import block_scaled_element, gemv_element

__all__ = ["ALL_TILES", "FP32_EDGES", "TILES", "factors", "finite_codes", "oracle_result",
           "random_codes", "random_fp32", "random_scales", "random_weight_scales", "scale_codes"]


def _tile(name: str, memory: dict[str, Any], compute: dict[str, Any],
          scaling: dict[str, Any]) -> Tile:
    return Tile(description=Description(name=name, memory=Axi4Memory(**memory),
                                        compute=Compute(**compute), scaling=Scaling(**scaling)))


_FP32 = {"format": "fp32", "rule": "fp32-div"}
_NVFP4 = {"format": "e4m3", "rule": "e4m3-nvfp4", "group": 16}

TILES = [
    _tile("usual", {}, {}, {}),
    _tile("usual_x4", {}, {"columns": 4}, _FP32),
    # One group is one atom; strips span several rows of weight scales.
    _tile("smallest", {"atom_bytes": 8, "address_bits": 16, "burst_atoms": 1},
          {"weights": "e5m2", "activations": "e5m2", "k_max": 24}, {"group": 8, "weight_rows": 1}),
    _tile("odd", {"atom_bytes": 16, "address_bits": 40},
          {"activations": "e5m2", "result": "bf16", "columns": 3, "k_max": 200},
          {"group": 32, "weight_rows": 2, **_FP32}),
    _tile("mixed", {"atom_bytes": 16}, {"weights": "e5m2", "result": "bf16", "columns": 8},
          {"group": 16, "weight_rows": 1, "rule": "e8m0-floor"}),
    _tile("wide", {"atom_bytes": 64}, {"weights": "e5m2", "activations": "e5m2", "columns": 5},
          {"group": 4096, "weight_rows": 2, **_FP32}),
]

# And those whose codes are integers or have 4 bits, or whose atoms hold several groups.
ALL_TILES = [
    *TILES,
    # Two groups in an atom.
    _tile("mxfp4", {}, {"weights": "e2m1", "activations": "e2m1", "k_max": 1000},
          {"group": 32, "weight_rows": 1, "rule": "e8m0-floor"}),
    # Four groups in an atom, and two atoms of activations for one of weights.
    _tile("int4_fp8", {}, {"weights": "int4", "activations": "e4m3", "columns": 2,
                           "result": "bf16"},
          {"group": 16, "weight_rows": 2, **_FP32}),
    _tile("int8", {}, {"weights": "int8", "activations": "int8", "columns": 3}, _FP32),
    _tile("int8_long", {}, {"weights": "int8", "activations": "int8"},
          {"group": 4096, "weight_rows": 1}),
    _tile("mxint8", {}, {"weights": "mxint8", "activations": "mxint8"},
          {"group": 32, "weight_rows": 1, "rule": "e8m0-floor"}),
    _tile("short", {}, {"columns": 2}, {"group": 16, "weight_rows": 4}),
    _tile("int8_fp8", {"atom_bytes": 16}, {"weights": "int8", "activations": "e5m2"},
          {"group": 64, "weight_rows": 8, **_FP32}),
    # The most groups that an atom may hold: sixteen, whose FP32 scales fill an atom.
    _tile("shortest", {"atom_bytes": 64}, {"weights": "int4", "activations": "int4"},
          {"group": 8, "weight_rows": 1, **_FP32}),
    # Four blocks in an atom, whose scales go into the sum of the row; and one, of rows that share
    # scales.
    _tile("nvfp4", {}, {"weights": "e2m1", "activations": "e2m1", "columns": 2, "k_max": 1000},
          {"weight_rows": 1, **_NVFP4}),
    _tile("nvfp4_narrow", {"atom_bytes": 8},
          {"weights": "e2m1", "activations": "e2m1", "result": "bf16", "k_max": 500},
          {"weight_rows": 4, **_NVFP4}),
    # Codes of 6 bits: beats of one and a half atoms on both sides, on one, and on the other.
    _tile("mxfp6", {}, {"weights": "e2m3", "activations": "e3m2", "columns": 2, "k_max": 1000},
          {"group": 32, "weight_rows": 1, "rule": "e8m0-floor"}),
    _tile("mxfp6_fp8", {"atom_bytes": 16}, {"weights": "e3m2", "activations": "e4m3"},
          {"group": 32, "weight_rows": 1}),
    _tile("fp4_fp6", {}, {"weights": "e2m1", "activations": "e2m3", "result": "bf16"},
          {"group": 128, "weight_rows": 8, **_FP32}),
    # Zero points: of four groups in an atom; of one group in two atoms, with several rows of scales
    # in a block, and an odd number of them; of groups of several atoms of eight bits.
    _tile("uint4", {}, {"weights": "uint4", "activations": "e4m3", "columns": 2, "k_max": 1000},
          {"group": 16, "weight_rows": 2, **_FP32}),
    _tile("uint4_narrow", {"atom_bytes": 8},
          {"weights": "uint4", "activations": "int4", "result": "bf16", "k_max": 500},
          {"group": 32, "weight_rows": 1, "rule": "e8m0-floor"}),
    _tile("uint8", {}, {"weights": "uint8", "activations": "int8", "columns": 3},
          {"weight_rows": 8}),
]

# Zeros, subnormals, the smallest normal, ones, ties, large values, infinities, NaN.
_MAGNITUDES = [
    0x00000000, 0x00000001, 0x00000002, 0x00000003, 0x003FFFFF, 0x00400000, 0x007FFFFF, 0x00800000,
    0x00800001, 0x00FFFFFF, 0x01000000, 0x0C000000, 0x1F800000, 0x20000000, 0x33800000, 0x34000000,
    0x34000001, 0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x40000000, 0x4B7FFFFF,
    0x4B800000, 0x4B800001, 0x5F800000, 0x73000000, 0x7E7FFFFF, 0x7EFFFFFF, 0x7F000000, 0x7F7FFFFE,
    0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF,
]
FP32_EDGES = np.array([sign | code for code in _MAGNITUDES for sign in (0, 1 << 31)], np.uint32)


def random_codes(rng: np.random.Generator, *shape: int, bits: int = 8) -> NDArray[np.uint8]:
    """Any codes of ``bits`` bits."""
    return rng.integers(0, 1 << bits, shape, dtype=np.uint8)


def finite_codes(rng: np.random.Generator, fmt: WeightFormat, *shape: int) -> NDArray[np.uint8]:
    """Codes that are neither NaN nor infinite."""
    if isinstance(fmt, ZeroPointFormat):
        return random_codes(rng, *shape, bits=fmt.bits)
    lower = rng.integers(0, fmt.largest_code + 1, shape, dtype=np.uint8)
    return lower | (rng.integers(0, 2, shape, dtype=np.uint8) << (fmt.bits - 1))


def random_fp32(rng: np.random.Generator, *shape: int) -> NDArray[np.uint32]:
    """Any FP32 codes."""
    return rng.integers(0, 1 << 32, shape, dtype=np.uint32)


def random_scales(rng: np.random.Generator, tile: Tile, *shape: int,
                  special: bool = False) -> NDArray[Any]:
    """Scales of the tile's format near 1, or any code with ``special``, for activations and for
    weights without zero points; of NVFP4, each row [..., groups] is of a tensor of its own."""
    if tile.scale_format.name == "e8m0":
        return rng.integers(0 if special else 120, 256 if special else 135, shape, dtype=np.uint8)
    if tile.block_scaled:
        blocks = rng.integers(0 if special else 0x28, 256 if special else 0x50, shape, np.uint8)
        return block_scales(blocks, _fp32_scales(rng, *shape[:-1], special=special))
    return _fp32_scales(rng, *shape, special=special)


def random_weight_scales(rng: np.random.Generator, tile: Tile, *shape: int,
                         special: bool = False) -> NDArray[Any]:
    """As :func:`random_scales`, with any zero points where the tile's weights have some."""
    scales = random_scales(rng, tile, *shape, special=special)
    if not tile.zero_points:
        return scales
    both = np.empty(shape, weight_scale_dtype(tile))
    both["scale"], both["zero"] = scales, random_codes(rng, *shape, bits=tile.weight_format.bits)
    return both


def _fp32_scales(rng: np.random.Generator, *shape: int, special: bool) -> NDArray[np.float32]:
    if special:
        return random_fp32(rng, *shape).view(np.float32)
    return rng.uniform(0.01, 4.0, shape).astype(np.float32)


def scale_codes(scales: NDArray[Any]) -> NDArray[Any]:
    """Scales as :func:`golden.column.column` takes them: those in FP32 as codes."""
    return scales.view(np.uint32) if scales.dtype == np.float32 else scales


def factors(tile: Tile, weights: NDArray[Any],
            scales: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights [rows, K] and their scales, a line for each row, as columns take them: less the zero
    points that they may have."""
    if not tile.zero_points:
        return weights, scale_codes(scales)
    zeros = np.repeat(scales["zero"], tile.group, axis=1)[:, :weights.shape[1]]
    return (zero_subtractor(weights, zeros, tile.zero_subtractor),
            scale_codes(np.ascontiguousarray(scales["scale"])))


def oracle_result(tile: Tile, weights: NDArray[Any], weight_scales: NDArray[Any],
                  activations: NDArray[Any], activation_scales: NDArray[Any]) -> int:
    """The oracle's FP32 code for one row of weights and one vector; scales [groups]."""
    w, x = weights.tolist(), activations.tolist()
    if tile.block_scaled:
        tensors = (int(scales["tensor"][:1].copy().view(np.uint32)[0])
                   for scales in (weight_scales, activation_scales))
        return block_scaled_element(w, weight_scales["block"].tolist(), x,
                                    activation_scales["block"].tolist(), *tensors, tile.group)
    if tile.zero_points:
        zeros = weight_scales["zero"].tolist()
        # Two's complement of one bit more.
        w = [(code - zeros[place // tile.group]) % (2 << tile.weight_format.bits)
             for place, code in enumerate(w)]
        weight_scales = np.ascontiguousarray(weight_scales["scale"])
    return gemv_element(w, scale_codes(weight_scales).tolist(), x,
                        scale_codes(activation_scales).tolist(), tile.factor_format,
                        tile.activation_format, tile.scale_format.name, tile.group,
                        groups_per_beat=tile.groups_per_beat)
