"""Register driver: the same code drives a simulated tile and one on a board.

The bus is whatever can read and write a 32-bit register; see :class:`Bus`.
"""

from dataclasses import dataclass
from typing import Protocol

from spec.commands import COMMAND_WORDS, ERROR_MEANINGS, Command, ErrorCode, Opcode
from spec.registers import COUNTERS, REGISTERS
from spec.tile import Tile

__all__ = ["Bus", "CommandFailed", "Counters", "Driver", "WrongTile"]


class Bus(Protocol):
    """A 32-bit register bus."""

    async def read(self, offset: int) -> int:
        """Read the register at byte ``offset``."""

    async def write(self, offset: int, value: int) -> None:
        """Write the register at byte ``offset``."""

    async def wait(self) -> None:
        """Return when the interrupt may have risen; a bus without interrupt just lets time pass."""


class WrongTile(RuntimeError):
    """The tile behind the bus was not generated from this description."""


class CommandFailed(RuntimeError):
    """A command ended with an error; with ``ErrorCode.ECC``, ``address`` is the first byte address
    of an uncorrectable atom, or None when the tile has none."""

    def __init__(self, code: ErrorCode, tag: int, address: int | None = None):
        self.code, self.tag, self.address = code, tag, address
        place = "" if address is None else f"; the first such atom is at {address:#x}"
        super().__init__(f"command {tag} ended with error {code.value} ({code.name}): "
                         f"{ERROR_MEANINGS[code]}{place}")


@dataclass(frozen=True)
class Counters:
    """The tile's counters, in clock cycles and atoms."""

    cycles: int
    atoms_read: int
    atoms_written: int
    stall_memory: int
    stall_result: int


class Driver:
    """Drives the registers of one tile."""

    def __init__(self, bus: Bus, tile: Tile):
        self.bus, self.tile = bus, tile

    async def read(self, name: str) -> int:
        """Read a register by name."""
        return await self.bus.read(REGISTERS[name].offset)

    async def write(self, name: str, value: int) -> None:
        """Write a register by name."""
        await self.bus.write(REGISTERS[name].offset, value)

    async def read_field(self, register: str, field: str) -> int:
        """Read one field of a register."""
        bits = REGISTERS[register].field(field)
        return await self.read(register) >> bits.offset & ((1 << bits.bits) - 1)

    async def identify(self) -> None:
        """Raise :class:`WrongTile` unless the tile has this description's identity."""
        identity = await self.read("identity")
        if identity != self.tile.register_file.identity:
            raise WrongTile(f"the tile's identity is {identity:#010x}, but {self.tile.name} has "
                            f"{self.tile.register_file.identity:#010x}: it was generated from "
                            f"another description")

    async def open_window(self, base: int, limit: int) -> None:
        """Let commands touch the bytes ``[base, limit)`` and no others."""
        for name, value in (("window_base", base), ("window_limit", limit)):
            await self.write(f"{name}_low", value & 0xFFFFFFFF)
            await self.write(f"{name}_high", value >> 32)

    async def submit(self, command: Command) -> None:
        """Queue a command; waits while the queue is full."""
        await self.submit_words(command.pack())

    async def submit_words(self, words: tuple[int, ...]) -> None:
        """Queue a descriptor of ``COMMAND_WORDS`` words; waits while the queue is full."""
        assert len(words) == COMMAND_WORDS
        for index, word in enumerate(words):
            await self.write(f"command_{index}", word)
        while await self.read_field("status", "full"):
            pass
        await self.write("doorbell", 1)

    async def fence(self, tag: int) -> None:
        """Queue a FENCE and wait until it has ended: all earlier commands have, too."""
        fence = 1 << REGISTERS["interrupt"].field("fence").offset
        await self.write("interrupt", fence)
        await self.write("interrupt_enable", fence)
        await self.submit(Command(opcode=Opcode.FENCE, tag=tag))
        while not await self.read_field("interrupt", "fence"):
            await self.bus.wait()

    async def take_error(self) -> tuple[ErrorCode, int]:
        """Return code and tag of the first command that failed, and clear them; what
        :meth:`uncorrectable` tells is cleared as well."""
        error = await self.read("error")
        await self.write("clear", 1 << REGISTERS["clear"].field("error").offset)
        return ErrorCode(error & 0xFF), error >> 16

    async def check(self) -> None:
        """Raise :class:`CommandFailed` when a command has failed since the last check."""
        address = await self.uncorrectable()
        code, tag = await self.take_error()
        if code != ErrorCode.NONE:
            raise CommandFailed(code, tag, address if code == ErrorCode.ECC else None)

    async def uncorrectable(self) -> int | None:
        """Return the byte address of the first atom with an uncorrectable word since the last
        :meth:`take_error` or :meth:`check`; None when there was none."""
        if not await self.read_field("status", "uncorrectable"):
            return None
        return await self.read("ecc_address_low") | await self.read("ecc_address_high") << 32

    async def corrected(self) -> int:
        """Return the words of memory that were corrected since :meth:`clear_counters`."""
        return await self.read("ecc_corrected")

    async def clear_counters(self) -> None:
        """Set the counters to zero."""
        await self.write("clear", 1 << REGISTERS["clear"].field("counters").offset)

    async def counters(self) -> Counters:
        """Read the counters."""
        values = {}
        for name in COUNTERS:
            low = await self.read(f"{name}_low")
            values[name] = low | await self.read(f"{name}_high") << 32
        return Counters(**values)
