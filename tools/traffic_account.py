"""The traffic account of a job: bytes over the memory pins and over the link to the host."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.commands import COMMAND_WORDS
from tools.console import say

if TYPE_CHECKING:
    from spec.tile import Tile
    from tools.simulation import SystemRun

__all__ = ["COMMAND_BYTES", "JobTraffic", "traffic_account"]

# What the host writes for one command: its words and the doorbell, four bytes each.
COMMAND_BYTES = 4 * (COMMAND_WORDS + 1)


@dataclass(frozen=True)
class JobTraffic:
    """What a job moves when every atom is moved once: atoms that its commands read and write,
    bytes of its operands and results as they stand in memory, and its commands."""

    atoms_read: int
    atoms_written: int
    operand_bytes: int
    result_bytes: int
    commands: int


def traffic_account(tile: "Tile", job: JobTraffic, done: "SystemRun | None") -> dict[str, Any]:
    """Bytes by where and which way, each with unit and origin; also said to people.

    Over the memory pins: what the tile's counters counted where the RTL ran, otherwise what
    follows from the layouts. Beside inline check bits, a native tile's DRAM moves more than its
    commands ask for; then the DRAM's reads and writes are counted. Over the host link: operands
    that the host writes to memory before the commands, the commands with the FENCE behind them,
    and the results that it reads; not the polling of registers.
    """
    read, written, origin = job.atoms_read, job.atoms_written, "analytic"
    if done is not None:
        read, written, origin = done.counters.atoms_read, done.counters.atoms_written, "simulated"
        if done.dram_commands is not None and tile.memory_controller.ecc_inline:
            sent = done.dram_commands
            read, written = sent["RD"] + sent["RDA"], sent["WR"] + sent["WRA"]
    counted = {
        "memory_read": (read * tile.atom_bytes, origin),
        "memory_written": (written * tile.atom_bytes, origin),
        "host_to_tile_operands": (job.operand_bytes, "analytic"),
        "host_to_tile_commands": ((job.commands + 1) * COMMAND_BYTES, "analytic"),
        "tile_to_host_results": (job.result_bytes, "analytic"),
    }
    account = {name: {"value": value, "unit": "bytes", "origin": where}
               for name, (value, where) in counted.items()}
    say(f"memory pins: {account['memory_read']['value']} bytes read, "
        f"{account['memory_written']['value']} written ({origin}); host link: "
        f"{job.operand_bytes} bytes of operands and {counted['host_to_tile_commands'][0]} of "
        f"commands to the tile, {job.result_bytes} of results from it (analytic)")
    return account
