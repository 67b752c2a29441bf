"""Read a tile's description, and the grade that it names, from their TOML files."""

from pathlib import Path

from spec.conflicts import conflicts
from spec.description import Description, NativeMemory, resolved
from spec.grade import Grade, grade_path, load_grade
from spec.reader import Conflict, DescriptionError, Kind, Problem, read_model
from spec.tile import Tile

__all__ = ["DescriptionError", "Problem", "load_description", "load_tile"]


def load_tile(path: str | Path) -> Tile:
    """Read and resolve a tile; ``DescriptionError`` lists all that is wrong with it."""
    description = load_description(path)
    grade = _load_grade(description, Path(path).parent)
    return Tile(description=resolved(description, grade), grade=grade)


def load_description(path: str | Path) -> Description:
    """Read a description; ``DescriptionError`` lists all that is wrong with it and its grade."""
    path = Path(path)

    def all_conflicts(description: Description) -> list[Conflict]:
        try:
            grade = _load_grade(description, path.parent)
        except DescriptionError as error:
            return [*(Conflict(keys=("memory.grade",), message=f"memory.grade: {line}")
                      for line in str(error).splitlines()),
                    *conflicts(description, None)]
        return conflicts(description, grade)

    return read_model(path, Kind(
        name="tile description", model=Description, conflicts=all_conflicts,
        stand_in=lambda: {"name": "unnamed", "memory": {"grade": "hbm3_6400"}},
        elsewhere={"memory.atom_bytes": "follows from the grade",
                   "memory.address_bits": "follows from the grade"}))


def _load_grade(description: Description, folder: Path) -> Grade | None:
    """Read the grade of a native memory; a path is one from the description's ``folder``."""
    if not isinstance(description.memory, NativeMemory):
        return None
    path = grade_path(description.memory.grade)
    return load_grade(folder / path)
