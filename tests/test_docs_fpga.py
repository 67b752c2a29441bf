"""What docs/fpga.md says of boards and protocol is what ``spec`` has."""

import re

from spec.boards import BOARDS
from spec.trial import BAUD
from spec.trial_units import PROTOCOL_VERSION, Operation, SerialBridgeParams, Status
from tests.conftest import PROJECT
from tests.test_docs import table

TEXT = (PROJECT / "docs" / "fpga.md").read_text(encoding="utf-8")


def test_the_boards_are_those() -> None:
    assert [row[:5] for row in table("fpga.md", "board")] == [
        [board.name, board.device.name, str(board.device.resources["TRELLIS_COMB"]),
         str(board.device.block_ram_bytes), str(board.device.block_ram_bytes.bit_length() - 1)]
        for board in BOARDS.values()]


def test_operations_and_statuses_are_those() -> None:
    assert [row[:2] for row in table("fpga.md", "operation")] == [
        [operation.name, str(operation.value)] for operation in Operation]
    assert [row[:2] for row in table("fpga.md", "status")] == [
        [status.name, str(status.value)] for status in Status]


def test_the_line_is_that() -> None:
    kind = SerialBridgeParams
    assert f"{BAUD:,} baud" in TEXT and PROTOCOL_VERSION == 1
    frame = re.search(r"two bytes 0x(..); within it 0x(..) is sent as 0x(..) 0x(..) and 0x(..) as "
                      r"0x(..) 0x(..) ", TEXT)
    assert frame is not None
    assert [int(byte, 16) for byte in frame.groups()] == [
        kind.END, kind.END, kind.ESCAPE, kind.ESCAPED_END, kind.ESCAPE, kind.ESCAPE,
        kind.ESCAPED_ESCAPE]
    assert f"polynomial {kind.CRC_POLYNOMIAL:#x}, start 0x{kind.CRC_START:X}" in TEXT
    longest = kind.REQUEST_BYTES + kind.DATA_BYTES + kind.CRC_BYTES
    assert f"at most {kind.DATA_BYTES} bytes" in TEXT and f"longer than {longest} bytes" in TEXT


def test_the_pins_are_those() -> None:
    pins = {pin.port: pin.site for pin in BOARDS["ulx3s-85f"].pins}
    assert f"clock 25 MHz at {pins['clk_25mhz']}" in TEXT
    assert f"serial line at {pins['ftdi_txd']} and {pins['ftdi_rxd']}" in TEXT
