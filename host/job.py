"""A GEMV job: tensors laid out in one memory image, and the commands that work on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.layout import pack_activations, pack_weights, unpack_results
from spec.commands import Command, Opcode
from spec.tile import ROWS_MAX, Tile

__all__ = ["GemvJob", "JobError", "check_memory", "gemv_job"]


class JobError(ValueError):
    """The tile cannot do this job; the message says why and what it can."""


def check_memory(tile: Tile, size: int) -> None:
    """Raise :class:`JobError` unless ``size`` bytes from address 0 on are in the tile's memory."""
    if size > tile.memory_bytes:
        inline = tile.native and tile.memory_controller.ecc_inline
        limit = (f"memory.grade = {tile.grade.name!r} holds"
                 f"{' beside inline check bits' if inline else ''}" if tile.grade else
                 f"memory.address_bits = {tile.address_bits} can address")
        raise JobError(f"the job takes {size} bytes, more than the {tile.memory_bytes} that "
                       f"{limit}")


@dataclass(frozen=True)
class GemvJob:
    """One GEMV, in passes of at most ``tile.columns`` activation vectors.

    ``image`` is the memory before the commands; executing them in order on a tile, golden or
    simulated, leaves the results that :meth:`results` reads, ``rows`` for each vector.
    """

    tile: Tile
    image: NDArray[np.uint8]
    commands: list[Command]
    passes: list[tuple[int, int]]
    rows: int

    @property
    def atoms(self) -> int:
        """Atoms that all commands together read."""
        return sum(self._atoms(command) for command in self.commands)

    def _atoms(self, command: Command) -> int:
        tile = self.tile.formats[command.format_index]
        if command.opcode == Opcode.LOAD:
            return tile.activation_atoms(command.k) + tile.activation_scale_atoms(command.k)
        if command.transposed:
            return tile.transposed_stream_atoms(command.rows, command.k)
        return tile.weight_stream_atoms(command.rows, command.k)

    def results(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """Result codes [rows, columns] out of the memory after the commands."""
        size = self.tile.result_atoms(self.rows) * self.tile.atom_bytes
        return np.concatenate([
            unpack_results(image[place:place + size].tobytes(), self.rows, columns, self.tile)
            for place, columns in self.passes], axis=1)


def gemv_job(tile: Tile, weights: NDArray[Any], weight_scales: NDArray[Any],
             activations: NDArray[Any], activation_scales: NDArray[Any],
             transposed: bool = False, format_index: int = 0) -> GemvJob:
    """Lay out ``weights`` [M, K] and ``activations`` [C, K] with their scales, all in the formats
    of ``tile.formats[format_index]``.

    With ``transposed``, ``activations`` are [C, M], and there is a result for each of K. More
    vectors than the tile has columns take several passes over the weights.

    :Errors: :class:`JobError` when K, M or the memory is too large for the tile, or when it cannot
        multiply by transposed weights.
    """
    layout = tile.formats[format_index]
    rows, k = weights.shape
    if transposed and not tile.transposed_gemv:
        raise JobError(f"{tile.name} cannot multiply by transposed weights: that takes [transpose] "
                       "with transpose.block = scaling.group = scaling.weight_rows, of "
                       f"{tile.fp32_adder.LATENCY} atoms or more")
    if transposed and rows > tile.k_max:
        raise JobError(f"M = {rows} is more than this tile's k_max = {tile.k_max}, and vectors for "
                       "transposed weights have M elements; split the job along M, or raise "
                       "compute.k_max in the description")
    if k > tile.k_max:
        raise JobError(f"K = {k} is more than this tile's k_max = {tile.k_max}; split the job "
                       f"along K, or raise compute.k_max in the description")
    if rows > ROWS_MAX:
        raise JobError(f"M = {rows} is more than {ROWS_MAX} rows; split the job")

    parts: list[bytes] = []
    end = 0

    def place(data: bytes) -> int:
        nonlocal end
        at = end
        parts.append(data)
        end += len(data)
        return at

    length, results = (rows, k) if transposed else (k, rows)
    commands: list[Command] = []
    passes: list[tuple[int, int]] = []
    weights_at = place(pack_weights(weights, weight_scales, layout))
    for start in range(0, len(activations), tile.columns):
        columns = min(tile.columns, len(activations) - start)
        for column in range(columns):
            codes, scales = pack_activations(activations[start + column],
                                             activation_scales[start + column], layout)
            commands.append(Command(opcode=Opcode.LOAD, columns=column, tag=len(commands), k=length,
                                    source=place(codes), source_scales=place(scales),
                                    format_index=format_index))
        results_at = place(bytes(tile.result_atoms(results) * tile.atom_bytes))
        commands.append(Command(opcode=Opcode.GEMV, columns=columns, tag=len(commands), k=k,
                                rows=rows, source=weights_at, target=results_at,
                                transposed=int(transposed), format_index=format_index))
        passes.append((results_at, columns))
    check_memory(tile, end)
    image = np.frombuffer(b"".join(parts), np.uint8).copy()
    return GemvJob(tile=tile, image=image, commands=commands, passes=passes, rows=results)
