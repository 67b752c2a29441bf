"""Cases that the tests of the golden models share: tiles, codes, FP32 edges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spec.description import Axi4Memory, Compute, Description, Scaling
from spec.formats import NumberFormat
from spec.tile import Tile

__all__ = ["ALL_TILES", "FP32_EDGES", "TILES", "finite_codes", "random_codes", "random_fp32",
           "random_scales"]


def _tile(name: str, memory: dict[str, Any], compute: dict[str, Any],
          scaling: dict[str, Any]) -> Tile:
    return Tile(description=Description(name=name, memory=Axi4Memory(**memory),
                                        compute=Compute(**compute), scaling=Scaling(**scaling)))


_FP32 = {"format": "fp32", "rule": "fp32-div"}

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


def finite_codes(rng: np.random.Generator, fmt: NumberFormat, *shape: int) -> NDArray[np.uint8]:
    """Codes that are neither NaN nor infinite."""
    lower = rng.integers(0, fmt.largest_code + 1, shape, dtype=np.uint8)
    return lower | (rng.integers(0, 2, shape, dtype=np.uint8) << (fmt.bits - 1))


def random_fp32(rng: np.random.Generator, *shape: int) -> NDArray[np.uint32]:
    """Any FP32 codes."""
    return rng.integers(0, 1 << 32, shape, dtype=np.uint32)


def random_scales(rng: np.random.Generator, tile: Tile, *shape: int,
                  special: bool = False) -> NDArray[Any]:
    """Scales of the tile's format near 1, or any code with ``special``."""
    if tile.scale_format.name == "e8m0":
        return rng.integers(0 if special else 120, 256 if special else 135, shape, dtype=np.uint8)
    if special:
        return random_fp32(rng, *shape).view(np.float32)
    return rng.uniform(0.01, 4.0, shape).astype(np.float32)
