"""Frames of a trial design's serial line, packed here a second time, and split bit by bit."""

from spec.trial_units import SerialBridgeParams

__all__ = ["FrameReader", "check_of", "frame", "request"]

END, ESCAPE = 0xC0, 0xDB
ESCAPES = {END: 0xDC, ESCAPE: 0xDD}


def check_of(data: bytes) -> int:
    """CRC-16 with the polynomial x^16 + x^12 + x^5 + 1, from 0xFFFF on, by polynomial division."""
    value = 0xFFFF
    for byte in data:
        for place in reversed(range(8)):
            top = value >> 15 ^ byte >> place & 1
            value = (value << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    return value


def frame(body: bytes) -> bytes:
    """A frame with its check, between two END."""
    check = check_of(body)
    data = [*body, check >> 8, check & 0xFF]
    escaped = [part for byte in data
               for part in ((ESCAPE, ESCAPES[byte]) if byte in ESCAPES else (byte,))]
    return bytes([END, *escaped, END])


def request(tag: int, operation: int, address: int, data: bytes = b"") -> bytes:
    """The body of a request."""
    return bytes([tag, operation, *(address >> 8 * place & 0xFF for place in range(4))]) + data


class FrameReader:
    """Takes the design's bytes and gives the bodies of whole frames."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.inside = self.escaped = False
        self.data = bytearray()

    def take(self, byte: int) -> None:
        """See one byte; everything that is no frame fails."""
        if byte == END:
            assert not self.escaped, "END behind ESCAPE"
            if self.inside and self.data:
                body, check = bytes(self.data[:-2]), self.data[-2] << 8 | self.data[-1]
                assert len(body) >= SerialBridgeParams.REPLY_BYTES, "a reply without status"
                assert check == check_of(body), "a reply with a wrong check"
                self.bodies.append(body)
                self.inside = False
            else:
                self.inside = True
            self.data.clear()
            return
        assert self.inside, f"a byte {byte:#x} outside of frames"
        if self.escaped:
            plain = {escaped: plain for plain, escaped in ESCAPES.items()}
            assert byte in plain, f"{byte:#x} behind ESCAPE"
            byte = plain[byte]
            self.escaped = False
        elif byte == ESCAPE:
            self.escaped = True
            return
        self.data.append(byte)
