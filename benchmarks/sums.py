"""Descriptions that differ in how they add, for benchmarks of accuracy and of its price."""

from typing import Any

from spec.description import Compute, Description, Scaling
from spec.tile import Tile

__all__ = ["K", "summing_tile", "title"]

K = 4096
# What formats need that do not take the default.
_SCALES: dict[str, Any] = {"bf16": {"format": "fp32", "rule": "fp32-div"}}


def summing_tile(fmt: str, bits: int | None, group: int = K, accumulation: str = "aligned") -> Tile:
    """Weights and activations of ``fmt``, a sum of ``bits`` bits (None: by ``accumulation``), and
    a scale, and so a promotion to FP32, for each ``group`` elements."""
    values: dict[str, Any] = {
        "weights": fmt, "activations": fmt,
        "accumulation": "aligned" if bits is not None else accumulation}
    if bits is not None:
        values["accumulation_bits"] = bits
    scaling = Scaling(group=group, weight_rows=1, **_SCALES.get(fmt, {}))
    return Tile(description=Description(
        name=f"{fmt}_{bits or accumulation.replace('-', '_')}",
        compute=Compute.model_validate(values), scaling=scaling))


def title(bits: int | None, accumulation: str) -> str:
    """How a benchmark calls a kind of sum."""
    return accumulation if bits is None else f"aligned, {bits} bits"
