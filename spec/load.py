"""Read a tile's description from its TOML file."""

from pathlib import Path

from spec.description import Description, conflicts
from spec.reader import DescriptionError, Kind, Problem, read_model
from spec.tile import Tile

__all__ = ["DescriptionError", "Problem", "load_description", "load_tile"]

_DESCRIPTION = Kind(name="tile description", model=Description, conflicts=conflicts,
                    stand_in=lambda: {"name": "unnamed"})


def load_tile(path: str | Path) -> Tile:
    """Read and resolve a tile; ``DescriptionError`` when it cannot be used."""
    return Tile(description=load_description(path))


def load_description(path: str | Path) -> Description:
    """Read a description; ``DescriptionError`` lists all that is wrong with it."""
    return read_model(Path(path), _DESCRIPTION)
