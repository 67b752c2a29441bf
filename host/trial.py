"""Jobs on a trial design: memory and registers through its serial line."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.tile import GoldenTile
from host.driver import Counters, Driver
from host.serial_link import SerialLink
from spec.commands import Command, ErrorCode
from spec.tile import Tile

__all__ = ["TrialRun", "expected_memory", "run_on_trial"]

# A trial's memory holds work for far less than that, at any clock.
_COMMAND_S = 30.0


@dataclass(frozen=True)
class TrialRun:
    """The memory after the commands, and the tile's counters."""

    memory: NDArray[np.uint8]
    counters: Counters


async def run_on_trial(link: SerialLink, tile: Tile, image: NDArray[np.uint8],
                       commands: list[Command]) -> TrialRun:
    """Load ``image`` at address 0, execute the commands, and read all of it back.

    :Errors: :class:`host.driver.CommandFailed` when a command ends with an error,
        :class:`host.serial_link.LinkError` when the line or the tile does.
    """
    driver = Driver(link, tile)
    link.write_memory(0, image.tobytes())
    await driver.open_window(0, image.size)
    await driver.take_error()
    await driver.clear_counters()
    for command in commands:
        link.allow(_COMMAND_S)
        await driver.submit(command)
        await driver.fence(command.tag)
        link.allow_any()
        await driver.check()
    counters = await driver.counters()
    memory = np.frombuffer(link.read_memory(0, image.size), np.uint8)
    return TrialRun(memory, counters)


def expected_memory(tile: Tile, image: NDArray[np.uint8],
                    commands: list[Command]) -> NDArray[np.uint8]:
    """The memory that the golden model leaves behind; ``image`` stays as it is."""
    memory = image.copy()
    golden = GoldenTile(tile, memory)
    golden.window_limit = memory.size
    for command in commands:
        error = golden.execute(command.pack())
        assert error == ErrorCode.NONE, error.name
    return memory
