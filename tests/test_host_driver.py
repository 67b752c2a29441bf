"""The register driver on registers that are a dictionary."""

import asyncio
from typing import Any

import pytest

from host.driver import CommandFailed, Driver
from spec.commands import ErrorCode
from spec.registers import REGISTERS
from spec.tile import Tile


class _Registers:
    """Registers that read as told; ``clear.error`` clears what a tile clears."""

    def __init__(self, **values: int):
        self.values = values

    async def read(self, offset: int) -> int:
        name = next(name for name, register in REGISTERS.items() if register.offset == offset)
        return self.values.get(name, 0)

    async def write(self, offset: int, value: int) -> None:
        assert offset == REGISTERS["clear"].offset and value == 1
        for name in ("error", "status", "ecc_address_low", "ecc_address_high"):
            self.values.pop(name, None)

    async def wait(self) -> None:
        raise AssertionError("nothing to wait for")


def _run(tile: Tile, method: str, **values: int) -> Any:
    return asyncio.run(getattr(Driver(_Registers(**values), tile), method)())


def test_check_names_the_address_of_an_uncorrectable_atom(default_tile: Tile) -> None:
    with pytest.raises(CommandFailed, match=(
            r"^command 7 ended with error 14 \(ECC\): a word with two wrong bits was read; results "
            r"are invalid; the first such atom is at 0x300001000$")) as failed:
        _run(default_tile, "check", error=14 | 7 << 16, status=8, ecc_address_low=0x1000,
             ecc_address_high=3)
    assert failed.value.code == ErrorCode.ECC and failed.value.address == 0x3_0000_1000


@pytest.mark.parametrize("status", [0, 8])
def test_check_names_no_address_with_other_errors(default_tile: Tile, status: int) -> None:
    with pytest.raises(CommandFailed, match=(
            r"^command 9 ended with error 15 \(TIMEOUT\): the memory did not answer in time; "
            r"results are invalid$")) as failed:
        _run(default_tile, "check", error=15 | 9 << 16, status=status, ecc_address_low=64)
    assert failed.value.address is None


def test_check_passes_without_an_error(default_tile: Tile) -> None:
    _run(default_tile, "check", status=7)


@pytest.mark.parametrize("status, address", [(7, None), (8, 0x40), (15, 0x40)])
def test_uncorrectable_is_an_address_or_none(default_tile: Tile, status: int,
                                             address: int | None) -> None:
    assert _run(default_tile, "uncorrectable", status=status, ecc_address_low=0x40) == address


def test_corrected_reads_its_register(default_tile: Tile) -> None:
    assert _run(default_tile, "corrected", ecc_corrected=5) == 5
