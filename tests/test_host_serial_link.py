"""The host's end of the serial line, against a design that is a few lines of Python."""

import asyncio
import binascii
from collections.abc import Callable

import pytest

from host.serial_link import LinkError, SerialLink, pack_frame, unpack_frame
from spec.load import load_tile
from spec.trial_units import Operation, Status
from tb.frames import FrameReader, frame
from tests.conftest import PROJECT

TILE = load_tile(PROJECT / "tests" / "descriptions" / "trial.toml")
HELLO = bytes([1, 4, 16, 0])


class _Design:
    """A port behind which ``answer`` makes bytes of the body of each whole request."""

    def __init__(self, answer: Callable[[bytes], bytes]):
        self.answer = answer
        self.timeout: float | None = None
        self.bodies: list[bytes] = []
        self.waiting = b""

    @property
    def in_waiting(self) -> int:
        return len(self.waiting)

    def read(self, size: int = 1) -> bytes:
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data

    def write(self, data: bytes) -> int:
        reader = FrameReader()
        for byte in data:
            reader.take(byte)
        for body in reader.bodies:
            self.bodies.append(body)
            self.waiting += self.answer(body)
        return len(data)


def _okay(body: bytes, data: bytes = b"") -> bytes:
    return frame(bytes([body[0], Status.OKAY]) + data)


def _link(answer: Callable[[bytes], bytes], timeout_s: float = 0.05) -> tuple[SerialLink, _Design]:
    design = _Design(answer)
    return SerialLink(design, TILE, timeout_s), design


@pytest.mark.parametrize("body", [
    b"", b"a", bytes(range(256)), b"\xc0" * 20, b"\xdb\xdc\xdb\xdd\xc0\xdb", bytes(40)])
def test_frames_are_what_the_design_reads(body: bytes) -> None:
    packed = pack_frame(body)
    assert packed == frame(body)
    assert packed.count(b"\xc0") == 2
    assert unpack_frame(packed[1:-1]) == body


def test_a_damaged_frame_is_no_frame() -> None:
    packed = pack_frame(bytes(range(30)))[1:-1]
    for place in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[place] ^= 1 << bit
            assert unpack_frame(bytes(damaged)) is None
    for end in range(len(packed)):
        assert unpack_frame(packed[:end]) is None


def test_the_check_is_the_published_one() -> None:
    # CRC-16/IBM-3740 of "123456789".
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1
    assert pack_frame(b"123456789")[-3:-1] == b"\x29\xb1"


def test_registers_and_memory_are_asked_for_as_they_should() -> None:
    replies = {Operation.HELLO: HELLO, Operation.READ_REGISTER: b"\x78\x56\x34\x12",
               Operation.READ_MEMORY: bytes(16)}
    link, design = _link(lambda body: _okay(body, replies.get(Operation(body[1]), b"")))
    link.hello()
    assert asyncio.run(link.read(0x20)) == 0x12345678
    asyncio.run(link.write(0x58, 0xA1B2C3D4))
    assert link.read_memory(0x100, 16) == bytes(16)
    link.write_memory(0x40, bytes(range(256)) + bytes(range(64)))
    assert design.bodies == [
        b"\1\0" + bytes(4), b"\2\1\x20\0\0\0", b"\3\2\x58\0\0\0\xd4\xc3\xb2\xa1",
        b"\4\3\0\1\0\0\1", b"\5\4\x40\0\0\0" + bytes(range(256)),
        b"\6\4\x40\1\0\0" + bytes(range(64))]
    assert link.repeated == 0


def test_what_is_no_reply_is_passed_over_and_a_lost_one_is_asked_for_again() -> None:
    seen: list[bytes] = []

    def answer(body: bytes) -> bytes:
        seen.append(body)
        garbage = b"\0\xff\xdb\xc0\xc0 garbage" + frame(bytes([body[0] ^ 1, 0]) + b"old!")
        good = _okay(body, b"\1\0\0\0")
        return garbage + (good[:-3] if len(seen) < 3 else good)

    link, _ = _link(answer)
    assert asyncio.run(link.read(0)) == 1
    assert link.repeated == 2
    assert len(set(seen)) == 1, "a repetition has the tag of the first"


@pytest.mark.parametrize(("answer", "words"), [
    (lambda body: b"", "no answer to HELLO within 0.05 s, sent 3 times"),
    (lambda body: b"\xff" * 5000, "no answer to HELLO within 0.05 s, sent 3 times"),
    (lambda body: frame(bytes([body[0], Status.REFUSED])),
     "the design refused HELLO at 0x0: the register refused the access"),
    (lambda body: frame(bytes([body[0], 77])), "the design refused HELLO at 0x0: status 77"),
    (lambda body: _okay(body, b"\2\4\x10\0"), "the design speaks version 2 of the protocol, this "
     "program version 1; build both from one version of pnmtile"),
    (lambda body: _okay(body, b""), "the design speaks version 0 of the protocol, this program "
     "version 1; build both from one version of pnmtile"),
    (lambda body: _okay(body, b"\1\5\x08\0"), "the design has atoms of 32 bytes, trial_small of "
     "16: it was generated from another description"),
])
def test_a_design_that_is_none_is_told(answer: Callable[[bytes], bytes], words: str) -> None:
    link, _ = _link(answer)
    with pytest.raises(LinkError) as caught:
        link.hello()
    assert str(caught.value) == words


def test_an_answer_of_the_wrong_length_is_told() -> None:
    link, _ = _link(lambda body: _okay(body, b"abc"))
    with pytest.raises(LinkError, match="READ_REGISTER at 0x4 was answered with 3 bytes, not 4"):
        asyncio.run(link.read(4))


def test_a_tile_that_hangs_is_given_up() -> None:
    link, _ = _link(lambda body: _okay(body, bytes(4)))
    link.allow(0.0)
    with pytest.raises(LinkError, match="the tile has not ended within 0 s; load the bitstream "
                                        "again, and see whether its clock was met"):
        for _ in range(1000):
            asyncio.run(link.read(4))
    link.allow_any()
    assert asyncio.run(link.read(4)) == 0
