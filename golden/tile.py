"""Functional tile: executes command descriptors on a memory image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.command_checker import command_checker
from golden.decoder import code_dtype
from golden.gemv import gemv_fp32
from golden.result_packer import result_packer
from golden.scales import block_scales, weight_scale_dtype
from golden.tensor_checker import tensor_checker
from golden.tensor_commands import TensorResults, reading_place, tensor_command
from spec.commands import Command, ErrorCode, Opcode
from spec.formats import WeightFormat, packed
from spec.memory_units import ReadFault
from spec.tensor_checks import TensorCheckerParams, tensor_sizes
from spec.tensors import ScaleRule
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
    column holds no vector; another command that failed writes nothing (RTL writes results that are
    invalid).

    Members
    -------
    window_base, window_limit : the host's window, ``[base, limit)`` in bytes. Of each value, bits
        below an atom and above bit ``address_bits`` are ignored, as the registers do.
    faults : what is wrong with the atoms of the image that cannot be read, by number; of several
        in one command, the one that is read first decides
    host_results : what each command gave that sent its results to the host, in order
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
        self.host_results: list[bytes] = []
        self._mapped: Command | None = None
        self._codes: list[NDArray[Any]] = [np.zeros(0, np.uint8)] * tile.columns
        self._scales: list[NDArray[Any]] = [np.zeros(0, np.uint8)] * tile.columns
        # K of each column's vector, and above it its format.
        self._loaded = [0] * tile.columns

    def execute(self, words: tuple[int, ...]) -> ErrorCode:
        """Execute one descriptor and return how it ended."""
        command = Command.unpack(words)
        window, params = (self.window_base, self.window_limit), self.tile.tensor_checker
        if params is not None and command.opcode in params.opcodes and (
                command.opcode != Opcode.LOAD or command.source_format):
            return (tensor_checker(command, window, params)
                    or self._execute_tensor(command, params))
        error = command_checker(command, window, self._loaded, self.tile.command_checker)
        if error != ErrorCode.NONE or command.opcode == Opcode.FENCE:
            return error
        return self._load(command) if command.opcode == Opcode.LOAD else self._gemv(command)

    def window_codes(self) -> NDArray[np.uint8]:
        """The codes [K] that the host reads from the cast window now; ``ValueError`` when it is
        closed, or when the image does not hold the memory behind it."""
        command, shown = self._window()
        return shown.target.reshape(-1)[:command.k]

    def window_scales(self) -> NDArray[Any]:
        """The scales of those codes, uint8 or float32 [groups]; ``ValueError`` likewise."""
        command, shown = self._window()
        scales = shown.target_scales.reshape(-1)
        if command.rule == ScaleRule.FP32_DIV:
            scales = np.frombuffer(scales.tobytes(), "<f4").astype(np.float32)
        return scales[:-(-command.k // (1 << command.group))]

    def _regions(self, command: Command) -> tuple[tuple[int, int], tuple[int, int]]:
        """Address and bytes of the source and the other region: scales (LOAD) or results."""
        tile = self.tile.formats[command.format_index]
        if command.opcode == Opcode.LOAD:
            other = command.source_scales
            atoms = tile.activation_atoms(command.k), tile.activation_scale_atoms(command.k)
        else:
            other = command.target
            atoms = (tile.weight_stream_atoms(command.rows, command.k),
                     tile.result_atoms(command.k if command.transposed else command.rows))
        return (command.source, atoms[0] * tile.atom_bytes), (other, atoms[1] * tile.atom_bytes)

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

    def _as_scales(self, data: NDArray[np.uint8], count: int) -> NDArray[Any]:
        """The first ``count`` scales in whole atoms of them."""
        tile = self.tile
        if tile.block_scaled:
            tensor = np.frombuffer(data[-tile.atom_bytes:].tobytes(), "<f4", 1)
            return block_scales(data[:count], tensor[0])
        if tile.scale_format.name == "e8m0":
            return data[:count].copy()
        return np.frombuffer(data.tobytes(), "<f4", count).astype(np.float32)

    def _load(self, command: Command) -> ErrorCode:
        source, other = self._regions(command)
        column = command.columns
        tile = self.tile.formats[command.format_index]
        self._loaded[column] = 0
        error = self._read_error(source) or self._read_error(other)
        if error != ErrorCode.NONE:
            return error
        codes, scales = self._read(source), self._read(other)
        # Whole atoms: the lanes past k take part in GEMV as they stand.
        width = tile.k_atoms(command.k) * tile.lanes
        self._codes[column] = _elements(codes, tile.activation_format)[:width]
        self._scales[column] = self._as_scales(scales, tile.stored_groups(command.k))
        self._loaded[column] = (
            command.k | command.format_index << self.tile.command_checker.k_bits)
        return ErrorCode.NONE

    def _gemv(self, command: Command) -> ErrorCode:
        tile = self.tile.formats[command.format_index]
        source, other = self._regions(command)
        error = self._read_error(source)
        if error != ErrorCode.NONE:
            return error
        if not self._there(other):
            return ErrorCode.WRITE
        weights, scales = self._unpacked(self._read(source), command.rows, command.k, tile)
        count = command.rows
        if command.transposed:
            count = command.k
            codes = np.zeros((count, tile.k_atoms(command.rows) * tile.lanes), np.uint8)
            codes[:, :command.rows] = weights[:, :count].T
            weights, scales = codes, np.ascontiguousarray(scales.T)
        used = range(command.columns)
        results = gemv_fp32(weights, scales, np.stack([self._codes[c] for c in used]),
                            np.stack([self._scales[c] for c in used]), tile)
        rows = np.zeros((count, tile.columns), np.uint32)
        rows[:, :command.columns] = results
        self.memory[other[0]:other[0] + other[1]] = result_packer(
            rows, command.columns, tile.result_packer)
        return ErrorCode.NONE

    def _unpacked(self, stream: NDArray[np.uint8], rows: int, k: int,
                  tile: Tile) -> tuple[NDArray[Any], NDArray[Any]]:
        """Codes [rows, lanes of whole atoms] and scales [scale rows, stored groups] of a stream of
        ``tile``'s format."""
        strip_rows, width = tile.rows_per_strip, tile.k_atoms(k) * tile.lanes
        groups, together = tile.stored_groups(k), tile.groups_per_beat
        full = k // tile.span * tile.span
        codes, scales = [], []
        place = 0
        for first in range(0, rows, tile.rows_per_block):
            size = tile.weight_scale_atoms(k) * tile.atom_bytes
            ordered = self._as_scales(stream[place:place + size], groups * tile.scale_rows)
            place += size
            if tile.zero_points:
                size = tile.weight_zero_atoms(k) * tile.atom_bytes
                both = np.empty(ordered.shape, weight_scale_dtype(tile))
                both["scale"] = ordered
                both["zero"] = _elements(stream[place:place + size],
                                         tile.weight_format)[:ordered.size]
                ordered = both
                place += size
            ordered = ordered.reshape(groups // together, tile.scale_rows, together)
            scales.append(ordered.transpose(1, 0, 2).reshape(tile.scale_rows, groups))
            strips = -(-min(rows - first, tile.rows_per_block) // strip_rows)
            size = strips * strip_rows * tile.k_atoms(k) * tile.weight_beat_bits // 8
            block = _elements(stream[place:place + size], tile.weight_format)
            block = block.reshape(strips, strip_rows * width)
            place += size
            # A strip is its full groups, each with all rows, and then the tail of all rows.
            body = block[:, :strip_rows * full].reshape(
                strips, full // tile.span, strip_rows, tile.span)
            tail = block[:, strip_rows * full:].reshape(strips, strip_rows, width - full)
            codes.append(np.concatenate(
                [body.transpose(0, 2, 1, 3).reshape(strips * strip_rows, full),
                 tail.reshape(strips * strip_rows, width - full)], axis=1))
        scale_rows = -(-rows // tile.description.scaling.weight_rows)
        return np.concatenate(codes)[:rows], np.concatenate(scales)[:scale_rows]

    # Commands on whole tensors

    def _execute_tensor(self, command: Command, params: TensorCheckerParams) -> ErrorCode:
        if command.opcode == Opcode.MAP:
            self._mapped = command if command.k else None
            return ErrorCode.NONE
        if command.opcode == Opcode.LOAD:
            self._loaded[command.columns] = 0
        sizes, atom_bytes = tensor_sizes(command, params), self.tile.atom_bytes
        source = command.source, sizes.source_atoms * atom_bytes
        scales = command.source_scales, sizes.source_scale_atoms * atom_bytes
        faults = [(reading_place(command, atom, of_scales, sizes, self.tile), fault)
                  for of_scales, region in ((False, source), (True, scales))
                  for atom, fault in self._faults_of(region)]
        if faults:
            return READ_ERRORS[min(faults)[1]]
        results = tensor_command(command, self._read(source), self._read(scales), self.tile)
        if command.opcode == Opcode.LOAD:
            self._codes[command.columns] = results.target.reshape(-1)
            self._scales[command.columns] = self._as_scales(
                results.target_scales.reshape(-1), self.tile.groups(command.k))
            self._loaded[command.columns] = command.k
        elif command.to_host:
            self.host_results.append(results.host)
        else:
            return self._write_tensor(command, results)
        return ErrorCode.NONE

    def _faults_of(self, region: tuple[int, int]) -> list[tuple[int, ReadFault]]:
        """Atoms of a region that cannot be read, numbered within it."""
        address, size = (part // self.tile.atom_bytes for part in region)
        found: list[tuple[int, ReadFault]] = [
            (atom - address, fault) for atom, fault in self.faults.items()
            if atom - address in range(size) and fault != ReadFault.NONE]
        if not self._there(region):
            missing = max(self.memory.size // self.tile.atom_bytes - address, 0)
            found.append((missing, ReadFault.RESPONSE))
        return found

    def _write_tensor(self, command: Command, results: TensorResults) -> ErrorCode:
        regions = [(address, data.reshape(-1)) for address, data in (
            (command.target, results.target), (command.target_scales, results.target_scales))]
        if not all(self._there((address, data.size)) for address, data in regions):
            return ErrorCode.WRITE
        for address, data in regions:
            self.memory[address:address + data.size] = data
        return ErrorCode.NONE

    def _window(self) -> tuple[Command, TensorResults]:
        """What is mapped, and what it shows."""
        command, params = self._mapped, self.tile.tensor_checker
        if command is None or params is None:
            raise ValueError("the cast window is closed; open it with MAP")
        region = command.source, tensor_sizes(command, params).source_atoms * self.tile.atom_bytes
        if not self._there(region):
            raise ValueError(f"the cast window shows memory up to {sum(region):#x}, but the image "
                             f"has {self.memory.size:#x} bytes")
        return command, tensor_command(command, self._read(region), np.zeros(0, np.uint8),
                                       self.tile)


def _elements(data: NDArray[np.uint8], fmt: WeightFormat) -> NDArray[Any]:
    """The whole codes in bytes of memory, one after the other from the lowest bit up."""
    if packed(fmt):
        bits = np.unpackbits(data[:data.size // 3 * 3], bitorder="little").reshape(-1, fmt.bits)
        codes: NDArray[Any] = np.packbits(bits, axis=1, bitorder="little")[:, 0]
        return codes
    if fmt.bits == 4:
        return np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
    return np.frombuffer(data.tobytes(), f"<u{fmt.bits // 8}").astype(code_dtype(fmt))
