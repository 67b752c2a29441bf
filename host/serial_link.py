"""The host's end of a trial design's serial line: registers and memory through frames."""

import binascii
import time
from typing import Protocol

from spec.tile import Tile
from spec.trial_units import PROTOCOL_VERSION, Operation, SerialBridgeParams, Status

__all__ = ["LinkError", "SerialLink", "SerialPort", "pack_frame", "unpack_frame"]

_TRIES = 3
# More than the longest reply, every byte escaped; more than that on the line is no reply.
_KEPT_BYTES = 1024
_END = bytes([SerialBridgeParams.END])
# In this order: what is made by one is not changed by the next.
_ESCAPES = (
    (bytes([SerialBridgeParams.ESCAPE]),
     bytes([SerialBridgeParams.ESCAPE, SerialBridgeParams.ESCAPED_ESCAPE])),
    (_END, bytes([SerialBridgeParams.ESCAPE, SerialBridgeParams.ESCAPED_END])),
)
_STATUS_MEANINGS: dict[int, str] = {
    Status.OPERATION: "it does not know the operation",
    Status.LENGTH: "the length of the data is wrong",
    Status.ADDRESS: "the address is not aligned, or outside",
    Status.REFUSED: "the register refused the access",
}


class SerialPort(Protocol):
    """What is needed of a port; ``serial.Serial`` has it."""

    timeout: float | None

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""

    def read(self, size: int = 1) -> bytes:
        """Read up to ``size`` bytes, fewer after ``timeout`` seconds."""

    def write(self, data: bytes) -> int | None:
        """Send bytes."""


class LinkError(RuntimeError):
    """The other end does not answer, or not as it should; the message says how."""


def pack_frame(body: bytes) -> bytes:
    """Make a frame of a request or a reply: check, escapes, END on both sides."""
    data = body + binascii.crc_hqx(body, SerialBridgeParams.CRC_START).to_bytes(2, "big")
    for plain, escaped in _ESCAPES:
        data = data.replace(plain, escaped)
    return _END + data + _END


def unpack_frame(data: bytes) -> bytes | None:
    """Read what stands between two END; None when its check is wrong or it is too short."""
    for plain, escaped in reversed(_ESCAPES):
        data = data.replace(escaped, plain)
    if len(data) < SerialBridgeParams.CRC_BYTES or binascii.crc_hqx(
            data, SerialBridgeParams.CRC_START):
        return None
    return data[:-SerialBridgeParams.CRC_BYTES]


class SerialLink:
    """Registers and memory of a trial design; a :class:`host.driver.Bus`.

    A request that is not answered within ``timeout_s`` is sent again, up to three times in all;
    the design executes no write to a register twice.

    :Errors: every method raises :class:`LinkError` when no answer comes, when the design refuses,
        and when the time of :meth:`allow` is over.
    """

    def __init__(self, port: SerialPort, tile: Tile, timeout_s: float = 1.0):
        self.port, self.tile, self.timeout_s = port, tile, timeout_s
        self.repeated = 0
        self._tag = 0
        self._limit: tuple[float, float] | None = None
        self._frame_atoms = 1
        self._received = b""

    def hello(self) -> None:
        """Find the design, and check that it is for atoms like the tile's."""
        reply = self._request(Operation.HELLO, 0)
        version, atom, atoms = reply[:3] if len(reply) >= 3 else (0, 0, 0)
        if version != PROTOCOL_VERSION or not atoms:
            raise LinkError(f"the design speaks version {version} of the protocol, this program "
                            f"version {PROTOCOL_VERSION}; build both from one version of pnmtile")
        if 1 << atom != self.tile.atom_bytes:
            raise LinkError(f"the design has atoms of {1 << atom} bytes, {self.tile.name} of "
                            f"{self.tile.atom_bytes}: it was generated from another description")
        self._frame_atoms = atoms

    def allow(self, seconds: float) -> None:
        """Let what follows take so long in all, before it counts as hanging."""
        self._limit = (time.monotonic() + seconds, seconds)

    def allow_any(self) -> None:
        """End the time of :meth:`allow`."""
        self._limit = None

    async def read(self, offset: int) -> int:
        """Read the register at byte ``offset``."""
        return int.from_bytes(self._request(Operation.READ_REGISTER, offset, expected=4), "little")

    async def write(self, offset: int, value: int) -> None:
        """Write the register at byte ``offset``."""
        self._request(Operation.WRITE_REGISTER, offset, value.to_bytes(4, "little"))

    async def wait(self) -> None:
        """Return at once: an access to a register takes long enough."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write whole atoms from byte ``address`` on."""
        step = self._frame_atoms * self.tile.atom_bytes
        for place in range(0, len(data), step):
            self._request(Operation.WRITE_MEMORY, address + place, data[place:place + step])

    def read_memory(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes, whole atoms, from byte ``address`` on."""
        step = self._frame_atoms * self.tile.atom_bytes
        return b"".join(
            self._request(Operation.READ_MEMORY, address + place,
                          bytes([min(step, size - place) // self.tile.atom_bytes]),
                          min(step, size - place))
            for place in range(0, size, step))

    def _request(self, operation: Operation, address: int, data: bytes = b"",
                 expected: int | None = None) -> bytes:
        """Send one request and return the data of its reply; ``expected`` bytes, if that is known.
        """
        if self._limit is not None and time.monotonic() > self._limit[0]:
            raise LinkError(f"the tile has not ended within {self._limit[1]:g} s; load the "
                            "bitstream again, and see whether its clock was met")
        self._tag = (self._tag + 1) % 256
        frame = pack_frame(bytes([self._tag, operation]) + address.to_bytes(4, "little") + data)
        for attempt in range(_TRIES):
            self.repeated += attempt > 0
            self.port.write(frame)
            reply = self._reply()
            if reply is not None:
                break
        else:
            raise LinkError(f"no answer to {operation.name} within {self.timeout_s:g} s, sent "
                            f"{_TRIES} times")
        status, answer = reply[1], reply[2:]
        if status != Status.OKAY:
            meaning = _STATUS_MEANINGS.get(status, f"status {status}")
            raise LinkError(f"the design refused {operation.name} at {address:#x}: {meaning}")
        if expected is not None and len(answer) != expected:
            raise LinkError(f"{operation.name} at {address:#x} was answered with {len(answer)} "
                            f"bytes, not {expected}")
        return answer

    def _reply(self) -> bytes | None:
        """The reply to the last request; None when none came in time."""
        deadline = time.monotonic() + self.timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self.port.timeout = left
            self._received += self.port.read(max(1, self.port.in_waiting))
            *frames, rest = self._received.split(_END)
            self._received = rest[-_KEPT_BYTES:]
            for frame in frames:
                body = unpack_frame(frame)
                if body is not None and len(body) >= 2 and body[0] == self._tag:
                    return body
        return None
