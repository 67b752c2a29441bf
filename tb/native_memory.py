"""A pseudo-channel in simulation behind the pins of a native tile, as bytes for the bench."""

from random import Random
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from golden.secded import encode
from spec.memory_units import MemoryControllerParams
from tb.memory_controller_model import Dram

__all__ = ["NativeMemory"]


class _PlacedDram(Dram):
    """A DRAM that only has what was placed: any other access is a stray one."""

    def read(self, index):
        if index not in self.atoms:
            raise AssertionError(f"the tile uses atom {index:#x}, where nothing was placed")
        return self.atoms[index]


class NativeMemory:
    """A DRAM at ``dram_*`` that judges every command, and ``size`` bytes of it from address 0.

    Starts with the clock cycle that follows its making: the tile must then leave its reset. While
    no atom is due, one comes all the same in ``stray`` of the cycles.

    Members
    -------
    dram : its ``lost`` and ``flipped`` make faults; see :class:`tb.memory_controller_model.Dram`
    """

    def __init__(self, dut, params: MemoryControllerParams, size: int, rng: Random, stray: float):
        self.dut, self.params, self.size = dut, params, size
        self.bench = SimpleNamespace(dut=dut, rng=rng, cycle=0)
        self.dram = _PlacedDram(self.bench, params, lambda *write: None, lambda index: None)
        self.dram.stray = stray
        self.atom_bytes, self.check_bytes = params.atom_bits // 8, params.atom_bits // 64
        dut.dram_read_valid.value = 0
        cocotb.start_soon(self._run())

    async def _run(self):
        """Each cycle at its falling edge: the tile's outputs follow no input within it."""
        while True:
            await FallingEdge(self.dut.clk)
            self.dram.drive()
            self.dram.sample(self.bench.cycle)
            self.bench.cycle += 1

    def index(self, address: int) -> int:
        """The atom that begins at a byte address."""
        assert address % self.atom_bytes == 0, f"{address:#x} is no multiple of the atom"
        return address // self.atom_bytes

    def check_index(self, address: int) -> int:
        """The atom that holds the check bits of the one at ``address``, where they are inline."""
        return self.params.inline_ecc.check_atom(self.index(address))

    def place(self, address: int, data: bytes) -> None:
        """Write whole atoms past the tile, with their check bits."""
        first, size, check_size = self.index(address), self.atom_bytes, self.check_bytes
        checks = encode(np.frombuffer(data, np.uint64)).tobytes()
        atoms = self.dram.atoms
        for number in range(self.index(len(data))):
            index = first + number
            atom = int.from_bytes(data[number * size:][:size], "little")
            check = int.from_bytes(checks[number * check_size:][:check_size], "little")
            if self.params.ecc_bits:
                atom |= check << self.params.atom_bits
            atoms[index] = atom
            if self.params.ecc_inline:
                place, shift = self.params.inline_ecc.check_atom(index), index % 8 * check_size * 8
                mask = (1 << check_size * 8) - 1 << shift
                atoms[place] = atoms.get(place, 0) & ~mask | check << shift

    def contents(self) -> bytes:
        """The bytes of the memory; fails where a refresh is overdue or a check bit is wrong."""
        self.dram.finish()
        size, low = self.atom_bytes, (1 << self.params.atom_bits) - 1
        atoms = self.dram.atoms
        data = b"".join((atoms[index] & low).to_bytes(size, "little")
                        for index in range(self.size // size))
        if self.params.ecc_inline:
            places = map(self.check_index, range(0, self.size, 8 * size))
            checks = np.frombuffer(b"".join(atoms[place].to_bytes(size, "little")
                                            for place in places), np.uint8)
            wrong = np.flatnonzero(checks != encode(np.frombuffer(data, np.uint64)))
            assert not wrong.size, f"wrong check bits of the word at {8 * wrong[0]:#x}"
        return data
