"""Command descriptors and registers as data."""

import itertools

import pytest

from spec.commands import COMMAND_WORDS, ERROR_MEANINGS, FIELDS, Command, ErrorCode, Opcode
from spec.registers import REGISTER_ADDRESS_BITS, REGISTERS


def test_fields_tile_the_descriptor() -> None:
    end = 0
    for field in FIELDS:
        assert field.offset == end
        end += field.bits
    assert end == 32 * COMMAND_WORDS


def test_command_survives_packing() -> None:
    command = Command(opcode=Opcode.GEMV, columns=3, tag=0xBEEF, k=0x12345678, rows=(1 << 24) - 1,
                      source=0x0123_4567_89AB_CDEF, target=0xFEDC_BA98_7654_3210)
    words = command.pack()
    assert words == (0xBEEF0302, 0x12345678, 0x00FFFFFF, 0, 0x89ABCDEF, 0x01234567, 0, 0,
                     0x76543210, 0xFEDCBA98, 0, 0)
    assert Command.unpack(words) == command
    command = Command(opcode=Opcode.TRANSPOSE, tag=1, k=2, rows=3, source_format=1,
                      target_format=2, rule=3, group=7, source_scales=0x1_0000_0020,
                      target_scales=0x2_0000_0040)
    words = command.pack()
    assert words == (0x00010006, 2, 3, 0x7321, 0, 0, 0x20, 1, 0, 0, 0x40, 2)
    assert Command.unpack(words) == command
    command = Command(opcode=Opcode.REDUCE, reduction=7, whole=1, to_host=1)
    assert command.pack()[3] == 0x370000
    assert Command(opcode=Opcode.GEMV, transposed=1).pack()[3] == 0x400000


def test_command_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^command field tag must fit u16, not 65536$"):
        Command(opcode=Opcode.FENCE, tag=65536).pack()
    with pytest.raises(ValueError, match=r"^command field k must fit u32, not -1$"):
        Command(opcode=Opcode.LOAD, k=-1).pack()


def test_every_error_has_a_meaning() -> None:
    assert list(ERROR_MEANINGS) == list(ErrorCode)


def test_registers_do_not_overlap() -> None:
    offsets = [register.offset for register in REGISTERS.values()]
    assert all(second >= first + 4 for first, second in itertools.pairwise(offsets))
    assert all(offset % 4 == 0 for offset in offsets)
    assert offsets[-1] + 4 <= 1 << REGISTER_ADDRESS_BITS


def test_bit_fields_lie_within_their_register() -> None:
    for register in REGISTERS.values():
        end = 0
        for field in register.fields:
            assert field.offset >= end
            end = field.offset + field.bits
        assert end <= 32
