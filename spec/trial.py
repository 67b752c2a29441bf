"""A trial design: a tile, its memory in block RAM, and a serial line to both."""

from pydantic import Field, model_validator

from spec.memory_units import HostPortParams
from spec.tile import Tile
from spec.trial_units import BlockRamParams, SerialBridgeParams, UartParams
from spec.units import UnitParams

__all__ = ["BAUD", "BAUD_TOLERANCE", "Trial"]

# Bits per second of a board's line: what USB adapters have, and clocks of whole MHz divide into.
BAUD = 1_000_000

# Most that a bit may be longer or shorter than the line's: half a bit in ten is lost at 5 %, and
# the other side may be off, too.
BAUD_TOLERANCE = 0.02


class Trial(UnitParams):
    """A tile behind AXI4, with its whole address space in block RAM, and a line of ``baud`` bits
    per second; ``clock_hz`` is the frequency that it really gets."""

    tile: Tile
    clock_hz: int = Field(ge=1_000_000)
    baud: int = Field(ge=300)

    @model_validator(mode="after")
    def _possible(self) -> "Trial":
        if self.tile.native:
            raise ValueError(f"{self.tile.name} controls its DRAM itself; a trial design needs "
                             'memory.interface = "axi4"')
        divider = round(self.clock_hz / self.baud)
        if divider < 4:
            raise ValueError(f"a line of {self.baud} baud needs a clock of {4 * self.baud} Hz or "
                             f"more, not {self.clock_hz} Hz")
        if abs(self.clock_hz / divider / self.baud - 1) > BAUD_TOLERANCE:
            raise ValueError(f"{self.baud} baud cannot be made from {self.clock_hz} Hz: nearest "
                             f"is {self.clock_hz / divider:.0f}")
        return self

    @property
    def uart(self) -> UartParams:
        """Both directions of the line."""
        return UartParams(divider=round(self.clock_hz / self.baud))

    @property
    def memory_atoms(self) -> int:
        """Atoms of the memory."""
        return self.tile.memory_bytes // self.tile.atom_bytes

    @property
    def block_ram(self) -> BlockRamParams:
        """The memory."""
        return BlockRamParams(atom_bits=self.tile.atom_bits, atoms=self.memory_atoms)

    @property
    def memory_port(self) -> HostPortParams:
        """The AXI4 subordinate in front of the memory; its answers come within few cycles."""
        return HostPortParams(address_bits=self.tile.address_bits, atom_bits=self.tile.atom_bits,
                              memory_atoms=self.memory_atoms, read_beats=8, write_bursts=4)

    @property
    def serial_bridge(self) -> SerialBridgeParams:
        """What answers the host's frames."""
        return SerialBridgeParams(atom_bits=self.tile.atom_bits, atoms=self.memory_atoms)

    @property
    def units(self) -> dict[str, UnitParams]:
        """The units around the tile that stand alone, by name."""
        return {
            "uart_receiver": self.uart,
            "uart_transmitter": self.uart,
            "block_ram": self.block_ram,
            "serial_bridge": self.serial_bridge,
            "trial": self,
        }
