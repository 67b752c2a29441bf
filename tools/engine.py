"""What executes the jobs of ``pnmtile run``: the golden model, or the simulated RTL."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spec.registers import COUNTERS
from tools.console import UserError, console, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spec.commands import Command
    from spec.tile import Tile
    from tools.simulation import SystemRun

__all__ = ["Engine", "Failed", "Job", "Recordings", "performance", "simulated"]

# Files that a simulation writes, by option.
Recordings = dict[str, Path | None]


class Engine(StrEnum):
    """What does the work."""

    golden = "golden"
    rtl = "rtl"


class Failed(Exception):
    """The simulated tile did not do what it was told to."""


class Job(Protocol):
    """A memory image and the commands that work on it; ``atoms`` are those that they read."""

    @property
    def image(self) -> "NDArray[np.uint8]":
        """The memory from address 0 on."""

    @property
    def commands(self) -> "list[Command]":
        """The commands, in order."""

    @property
    def atoms(self) -> int:
        """Atoms that all commands together read."""


def simulated(tile: "Tile", job: Job, recordings: Recordings) -> "SystemRun":
    """Execute a job on the simulated RTL: its image holds the results then.

    :Errors: :class:`Failed` when the tile does not do its work, ``UserError`` when it cannot be
        simulated.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tb.simulator import SimulationFailed, SimulatorError
    from tools.doctor import require
    from tools.simulation import simulate

    require("verilator", "g++")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("building the simulation", total=job.atoms)

        def update(atoms: int) -> None:
            progress.update(bar, completed=atoms, description="simulating")

        try:
            done = simulate(tile, job.image, job.commands, progress=update,
                            vcd=recordings["vcd"], trace=recordings["trace"],
                            accesses=recordings["accesses"])
        except SimulationFailed as error:
            raise Failed(str(error)) from None
        except SimulatorError as error:
            raise UserError(str(error)) from None
    for tag, code in done.errors:
        raise Failed(f"command {tag} ended with {code.name} on the simulated tile")
    return done


def performance(tile: "Tile", done: "SystemRun | None") -> dict[str, Any]:
    """What the counters say, with units and origin; null on the golden model."""
    if done is None:
        reason = "the golden model has no clock; use --engine rtl"
        return {name: None for name in (*COUNTERS, "bandwidth_share")} | {"reason": reason}
    counters = done.counters
    # Atoms that the pins could carry in a cycle.
    peak = tile.grade.timing.nCCDS / tile.grade.timing.nBL if tile.grade else 1.0
    atoms = counters.atoms_read + counters.atoms_written
    share = atoms / max(counters.cycles, 1) / peak
    numbers = {name: getattr(counters, name) for name in COUNTERS}
    say(f"{counters.cycles} cycles ({counters.cycles / tile.clock_mhz:.2f} us "
        f"at {tile.clock_mhz:g} MHz), {counters.atoms_read} atoms read, "
        f"{counters.atoms_written} written, {counters.stall_memory} cycles waiting for memory, "
        f"{counters.stall_result} for room; {share:.2%} of the pins (simulated)")
    units = {"cycles": "clock cycles", "atoms": f"{tile.atom_bytes} bytes",
             "bandwidth_share": f"atoms per cycle over the pins' {peak:g}"}
    commands = {}
    if done.dram_commands is not None and tile.grade:
        sent = ", ".join(f"{number} {name}" for name, number in done.dram_commands.items()
                         if number)
        say(f"DRAM commands: {sent}; each checked against {tile.grade.name}")
        commands["dram_commands"] = done.dram_commands
        units["dram_commands"] = "commands since reset, those before and after the job included"
    return {**numbers, **commands, "bandwidth_share": round(share, 6), "origin": "simulated",
            "units": units}
