"""Records of the units that a trial design puts around a tile, and the bytes of its serial line."""

from enum import IntEnum
from typing import ClassVar

from pydantic import Field

from spec.registers import REGISTER_ADDRESS_BITS
from spec.units import UnitParams

__all__ = ["PROTOCOL_VERSION", "BlockRamParams", "Operation", "SerialBridgeParams", "Status",
           "UartParams"]

# Changes with every change of the frames or of what is in them.
PROTOCOL_VERSION = 1


class Operation(IntEnum):
    """What a request asks for."""

    HELLO = 0
    READ_REGISTER = 1
    WRITE_REGISTER = 2
    READ_MEMORY = 3
    WRITE_MEMORY = 4


class Status(IntEnum):
    """How a request ended."""

    OKAY = 0
    OPERATION = 1
    LENGTH = 2
    ADDRESS = 3
    REFUSED = 4


class UartParams(UnitParams):
    """A line with 8 data bits, no parity and one stop bit; a bit lasts ``divider`` clock cycles."""

    divider: int = Field(ge=4, le=65535)


class BlockRamParams(UnitParams):
    """A memory of ``atoms`` atoms with two requesters."""

    LATENCY: ClassVar[int] = 5
    atom_bits: int = Field(ge=64, le=512)
    atoms: int = Field(ge=2, le=1 << 24)

    @property
    def index_bits(self) -> int:
        """Width of an atom's number."""
        return (self.atoms - 1).bit_length()


class SerialBridgeParams(UnitParams):
    """Frames on a serial line to accesses to registers and to a memory of ``atoms`` atoms.

    A frame stands between two bytes ``END``. Within it, ``END`` is sent as ``ESCAPE``,
    ``ESCAPED_END``, and ``ESCAPE`` as ``ESCAPE``, ``ESCAPED_ESCAPE``: the bytes of SLIP (RFC 1055).
    Its last two bytes are the CRC of the others, high byte first: polynomial ``CRC_POLYNOMIAL``,
    from ``CRC_START`` on, most significant bit first.
    """

    END: ClassVar[int] = 0xC0
    ESCAPE: ClassVar[int] = 0xDB
    ESCAPED_END: ClassVar[int] = 0xDC
    ESCAPED_ESCAPE: ClassVar[int] = 0xDD
    CRC_POLYNOMIAL: ClassVar[int] = 0x1021
    CRC_START: ClassVar[int] = 0xFFFF
    CRC_BYTES: ClassVar[int] = 2
    # Tag, operation and address of a request; tag and status of a reply.
    REQUEST_BYTES: ClassVar[int] = 6
    REPLY_BYTES: ClassVar[int] = 2
    # Most bytes of memory in one frame.
    DATA_BYTES: ClassVar[int] = 256
    REGISTER_ADDRESS_BITS: ClassVar[int] = REGISTER_ADDRESS_BITS
    atom_bits: int = Field(ge=64, le=512)
    atoms: int = Field(ge=2, le=1 << 24)

    @property
    def index_bits(self) -> int:
        """Width of an atom's number."""
        return (self.atoms - 1).bit_length()

    @property
    def atom_bytes(self) -> int:
        """Bytes of an atom."""
        return self.atom_bits // 8

    @property
    def frame_atoms(self) -> int:
        """Most atoms in one frame."""
        return self.DATA_BYTES // self.atom_bytes

    @property
    def hello(self) -> bytes:
        """What HELLO answers: version, binary logarithm of an atom's bytes, most atoms in a frame,
        a zero."""
        return bytes([PROTOCOL_VERSION, self.atom_bytes.bit_length() - 1, self.frame_atoms, 0])
