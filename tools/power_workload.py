"""What a tile does while its power is measured: GEMV and QUANTIZE in their steady state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from golden.quantizer import quantize, quantize_blocks
from golden.tile import GoldenTile
from host.job import GemvJob, gemv_job
from host.tensor_job import Tensor, TensorJob, quantize_job
from spec.tensors import RULE_NAMES, TensorFormat
from spec.tile import Tile

__all__ = ["Workload", "WorkloadName", "gemv_workload", "quantize_workload", "workloads_of"]

WorkloadName = Literal["gemv", "quantize"]
# Atoms that are read: enough that the bits of counters and buffers have all been in use.
_ATOMS = 1024
# What is left out at either end, as a share of the atoms: where pipelines fill and drain.
_MARGIN = 8


@dataclass(frozen=True)
class Workload:
    """A job, and the work that each atom of its stream is worth.

    ``work`` has, for each of the last atoms that the job reads, MACs or bytes; ``unit`` says which.
    """

    name: WorkloadName
    what: str
    job: GemvJob | TensorJob
    work: Sequence[int]
    unit: str

    def window(self, transfers: Sequence[int]) -> tuple[int, int, int]:
        """From the times at which atoms were taken: begin and end of the steady state, and the
        work that was done in between."""
        stream = transfers[-len(self.work):]
        margin = len(stream) // _MARGIN
        first, last = margin, len(stream) - margin - 1
        return stream[first], stream[last], sum(self.work[first:last])

    def right(self, before: NDArray[np.uint8], after: NDArray[np.uint8], tile: Tile) -> bool:
        """Whether the memory after the job is what the golden model makes of it before."""
        image = before.copy()
        golden = GoldenTile(tile, image)
        golden.window_limit = image.size
        for command in self.job.commands:
            assert not golden.execute(command.pack())
        return bool(np.array_equal(image, after))


def workloads_of(tile: Tile) -> tuple[WorkloadName, ...]:
    """What the tile can do."""
    return ("gemv", "quantize") if tile.quantizer else ("gemv",)


def gemv_workload(tile: Tile) -> Workload:
    """GEMV of normally distributed weights and activations, quantized by the tile's rules."""
    random = np.random.default_rng(1)
    k = min(tile.k_max, 1024)
    rows = tile.padded_rows(max(1, _ATOMS // tile.k_atoms(k)))
    scaling = tile.description.scaling
    weights = quantize_blocks(random.standard_normal((rows, k)).astype(np.float32),
                              tile.weight_format, scaling)
    activations = quantize(random.standard_normal((tile.columns, k)).astype(np.float32),
                           tile.activation_format, scaling)
    work: list[int] = []
    for start in range(0, rows, tile.rows_per_block):
        here = min(tile.rows_per_block, rows - start)
        work += [0] * tile.weight_scale_atoms(k)
        work += [tile.lanes * tile.columns] * (here * tile.k_atoms(k))
    assert len(work) == tile.weight_stream_atoms(rows, k)
    return Workload("gemv", f"GEMV of {rows} x {k} weights, {tile.columns} column(s), normally "
                    "distributed", gemv_job(tile, *weights, *activations), work, "MAC")


def quantize_workload(tile: Tile) -> Workload:
    """QUANTIZE of normally distributed BF16, by the first format, rule and group of the tile."""
    described = tile.description.quantize
    assert described is not None
    random = np.random.default_rng(2)
    k = min(tile.k_max, 1024)
    rows = max(1, _ATOMS * tile.atom_bytes // (2 * k))
    values = random.standard_normal((rows, k)).astype(np.float32)
    codes = (values.view(np.uint32) >> 16).astype(np.uint16)
    job = quantize_job(tile, Tensor(TensorFormat.BF16, codes),
                       TensorFormat[described.formats[0].upper()], RULE_NAMES[described.rules[0]],
                       described.groups[0])
    return Workload("quantize", f"QUANTIZE of {rows} x {k} BF16 to {described.formats[0]}, "
                    "normally distributed", job, [tile.atom_bytes] * job.atoms, "byte")
