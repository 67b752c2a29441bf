"""Functional tile: executes command descriptors on a memory image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.command_checker import command_checker
from golden.gemv import gemv_fp32
from golden.result_packer import result_packer
from spec.commands import Command, ErrorCode, Opcode
from spec.memory_units import ReadFault
from spec.tile import Tile

__all__ = ["READ_ERRORS", "GoldenTile"]

# How a command ends whose first atom with a fault has this one.
READ_ERRORS = {
    ReadFault.RESPONSE: ErrorCode.READ,
    ReadFault.UNCORRECTABLE: ErrorCode.ECC,
    ReadFault.TIMEOUT: ErrorCode.TIMEOUT,
}


class GoldenTile:
    """A tile without a clock.

    ``memory`` (uint8, address 0 first) is read and written in place. Commands are checked in the
    order of :class:`spec.commands.ErrorCode`; one that fails a check changes nothing. Memory that
    the window opens but the image does not hold answers with READ or WRITE: after a failed LOAD its
    column holds no vector; a failed GEMV writes nothing (RTL writes results that are invalid).

    Members
    -------
    window_base, window_limit : the host's window, ``[base, limit)`` in bytes. Of each value, bits
        below an atom and above bit ``address_bits`` are ignored, as the registers do.
    faults : what is wrong with the atoms of the image that cannot be read, by number; of several
        in one command, the one that is read first decides
    """

    def __init__(self, tile: Tile, memory: NDArray[np.uint8]):
        if not isinstance(tile, Tile):
            raise TypeError(f"GoldenTile needs a Tile, not {tile!r}")
        check_array("GoldenTile: memory", memory, np.uint8, dimensions=1)
        self.tile = tile
        self.memory = memory
        self.window_base = 0
        self.window_limit = 0
        self.faults: dict[int, ReadFault] = {}
        self._codes: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)] * tile.columns
        self._scales: list[NDArray[Any]] = [np.zeros(0, np.uint8)] * tile.columns
        self._k = [0] * tile.columns

    def execute(self, words: tuple[int, ...]) -> ErrorCode:
        """Execute one descriptor and return how it ended."""
        command = Command.unpack(words)
        error = command_checker(command, (self.window_base, self.window_limit), self._k,
                                self.tile.command_checker)
        if error != ErrorCode.NONE or command.opcode == Opcode.FENCE:
            return error
        return self._load(command) if command.opcode == Opcode.LOAD else self._gemv(command)

    def _regions(self, command: Command) -> tuple[tuple[int, int], tuple[int, int]]:
        """Address and bytes of the source and the other region."""
        tile = self.tile
        if command.opcode == Opcode.LOAD:
            atoms = tile.k_atoms(command.k), tile.activation_scale_atoms(command.k)
        else:
            atoms = (tile.weight_stream_atoms(command.rows, command.k),
                     tile.result_atoms(command.rows))
        return ((command.source, atoms[0] * tile.atom_bytes),
                (command.other, atoms[1] * tile.atom_bytes))

    # Execution

    def _there(self, region: tuple[int, int]) -> bool:
        address, size = region
        return address + size <= self.memory.size

    def _read_error(self, region: tuple[int, int]) -> ErrorCode:
        """The error of the first atom that cannot be read."""
        address, size = region
        atoms = range(address // self.tile.atom_bytes, (address + size) // self.tile.atom_bytes)
        for atom in sorted(self.faults):
            if atom in atoms and self.faults[atom] != ReadFault.NONE:
                return READ_ERRORS[self.faults[atom]]
        return ErrorCode.NONE if self._there(region) else ErrorCode.READ

    def _read(self, region: tuple[int, int]) -> NDArray[np.uint8]:
        address, size = region
        return self.memory[address:address + size]

    def _as_scales(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        if self.tile.scale_format.name == "e8m0":
            return data
        return np.frombuffer(data.tobytes(), "<f4").astype(np.float32)

    def _load(self, command: Command) -> ErrorCode:
        source, other = self._regions(command)
        column = command.columns
        self._k[column] = 0
        error = self._read_error(source) or self._read_error(other)
        if error != ErrorCode.NONE:
            return error
        codes, scales = self._read(source), self._read(other)
        # Whole atoms: the lanes past k take part in GEMV as they stand.
        self._codes[column] = codes.copy()
        self._scales[column] = self._as_scales(scales)[:self.tile.groups(command.k)].copy()
        self._k[column] = command.k
        return ErrorCode.NONE

    def _gemv(self, command: Command) -> ErrorCode:
        tile = self.tile
        source, other = self._regions(command)
        error = self._read_error(source)
        if error != ErrorCode.NONE:
            return error
        if not self._there(other):
            return ErrorCode.WRITE
        weights, scales = self._unpacked(self._read(source), command.rows, command.k)
        used = range(command.columns)
        results = gemv_fp32(weights, scales, np.stack([self._codes[c] for c in used]),
                            np.stack([self._scales[c] for c in used]), tile)
        rows = np.zeros((command.rows, tile.columns), np.uint32)
        rows[:, :command.columns] = results
        self.memory[other[0]:other[0] + other[1]] = result_packer(
            rows, command.columns, tile.result_packer)
        return ErrorCode.NONE

    def _unpacked(self, stream: NDArray[np.uint8], rows: int,
                  k: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Codes [rows, lanes of whole atoms] and scales [scale rows, groups] of a stream."""
        tile = self.tile
        strip_rows, width = tile.rows_per_strip, tile.k_atoms(k) * tile.lanes
        full = k // tile.group * tile.group
        codes, scales = [], []
        place = 0
        for first in range(0, rows, tile.rows_per_block):
            size = tile.weight_scale_atoms(k) * tile.atom_bytes
            block_scales = self._as_scales(stream[place:place + size])
            block_scales = block_scales[:tile.groups(k) * tile.scale_rows]
            scales.append(block_scales.reshape(tile.groups(k), tile.scale_rows).T)
            place += size
            strips = -(-min(rows - first, tile.rows_per_block) // strip_rows)
            size = strips * strip_rows * width
            block = stream[place:place + size].reshape(strips, strip_rows * width)
            place += size
            # A strip is its full groups, each with all rows, and then the tail of all rows.
            body = block[:, :strip_rows * full].reshape(
                strips, full // tile.group, strip_rows, tile.group)
            tail = block[:, strip_rows * full:].reshape(strips, strip_rows, width - full)
            codes.append(np.concatenate(
                [body.transpose(0, 2, 1, 3).reshape(strips * strip_rows, full),
                 tail.reshape(strips * strip_rows, width - full)], axis=1))
        scale_rows = -(-rows // tile.description.scaling.weight_rows)
        return np.concatenate(codes)[:rows], np.concatenate(scales)[:scale_rows]
