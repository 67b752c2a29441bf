"""Whether a board holds the trial design of a tile, and what would fit if not."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from spec.boards import BLOCK_RAM_BITS, Board
from spec.tile import Tile
from tools.console import UserError

__all__ = ["Netlist", "check_logic", "check_memory", "read_netlist", "resources"]

# What each cell takes, in nextpnr's names of resources. A 16 x 4 memory is four LUTs and what
# writes them.
_TAKES = {
    "LUT4": {"TRELLIS_COMB": 1}, "CCU2C": {"TRELLIS_COMB": 2},
    "TRELLIS_DPR16X4": {"TRELLIS_COMB": 4, "TRELLIS_RAMW": 1}, "TRELLIS_FF": {"TRELLIS_FF": 1},
    "DP16KD": {"DP16KD": 1}, "MULT18X18D": {"MULT18X18D": 1},
}
# The smallest atom that a description can have.
ATOM_BYTES_MIN = 8
_WORDS = {"TRELLIS_COMB": "LUTs", "TRELLIS_FF": "flops", "TRELLIS_RAMW": "LUT memories",
          "DP16KD": "block RAMs", "MULT18X18D": "multipliers"}


@dataclass(frozen=True)
class Netlist:
    """A synthesised design: its cells by type, those of each column by column, and its
    instances."""

    cells: dict[str, int]
    column_cells: dict[str, int]
    instances: tuple[str, ...]


def read_netlist(file: Path) -> Netlist:
    """Read the JSON that yosys wrote, of a flattened design with the top module ``top``."""
    cells = json.loads(file.read_text(encoding="utf-8"))["modules"]["top"]["cells"]
    kinds = {name: cell["type"] for name, cell in cells.items()}
    return Netlist(
        cells=dict(Counter(kind for kind in kinds.values() if not kind.startswith("$"))),
        column_cells=dict(Counter(kind for name, kind in kinds.items()
                                  if name.startswith("trial.tile.column_0."))),
        instances=tuple(sorted(name for name, kind in kinds.items() if kind == "$scopeinfo")))


def resources(cells: dict[str, int]) -> dict[str, int]:
    """What cells take, in nextpnr's names."""
    taken: Counter[str] = Counter()
    for kind, count in cells.items():
        for name, each in _TAKES.get(kind, {}).items():
            taken[name] += count * each
    return dict(taken)


def check_memory(tile: Tile, board: Board) -> None:
    """Raise ``UserError`` when the tile's address space alone is more than all block RAM."""
    if tile.native:
        return  # No trial design at all, which somebody else says.
    there = board.device.block_ram_bytes
    if tile.memory_bytes > there:
        raise UserError(
            f"{board.name} cannot hold {tile.name}: its memory takes {tile.memory_bytes} bytes of "
            f"block RAM, and all of it is {there} bytes; memory.address_bits = "
            f"{there.bit_length() - 1} or less would fit, not {tile.address_bits}")


def check_logic(tile: Tile, board: Board, netlist: Netlist) -> None:
    """Raise ``UserError`` for each resource of which the design takes more than there is, before
    it is placed."""
    needed, there = resources(netlist.cells), board.device.resources
    lacking = {name: count for name, count in needed.items() if count > there[name]}
    if not lacking:
        return
    problems = [f"{count} {_WORDS[name]}, {count - there[name]} more than the {there[name]} of "
                f"{board.device.name}" for name, count in sorted(lacking.items())]
    raise UserError(f"{board.name} cannot hold {tile.name}: it takes " + "; ".join(problems)
                    + _advice(tile, board, netlist, lacking))


def _advice(tile: Tile, board: Board, netlist: Netlist, lacking: dict[str, int]) -> str:
    """Which key of the description would fit, estimated from the counts of this design."""
    there = board.device.resources
    advice = []
    if "DP16KD" in lacking:
        # The memory halves with each address bit; other memories stay.
        memory = tile.memory_bytes * 8 // BLOCK_RAM_BITS
        rest = there["DP16KD"] - (lacking["DP16KD"] - memory)
        bits = (rest * BLOCK_RAM_BITS // 8).bit_length() - 1 if rest > 0 else 0
        advice.append(f"memory.address_bits = {bits}" if bits >= 16 else "a smaller compute.k_max")
    logic = {name: count - there[name] for name, count in lacking.items() if name != "DP16KD"}
    if logic:
        advice.append(_less_logic(tile, resources(netlist.column_cells), logic))
    return f"; {' and '.join(advice)} would fit (estimated)"


def _less_logic(tile: Tile, column: dict[str, int], excess: dict[str, int]) -> str:
    """What saves ``excess``: fewer columns, or one with fewer lanes, which an atom's bytes are.
    What else would become smaller is not counted."""
    columns = min(tile.columns - -(-count // max(column.get(name, 0), 1))
                  for name, count in excess.items())
    if columns >= 1:
        return f"compute.columns = {columns}"
    atom_bytes = tile.atom_bytes // 2
    while atom_bytes >= ATOM_BYTES_MIN:
        lanes_left = atom_bytes / tile.atom_bytes
        if all(count <= column.get(name, 0) * (tile.columns - lanes_left)
               for name, count in excess.items()):
            one = "compute.columns = 1 with " if tile.columns > 1 else ""
            return f"{one}memory.atom_bytes = {atom_bytes}, which is also the lanes,"
        atom_bytes //= 2
    return "a tile with fewer sections of tensor units"
