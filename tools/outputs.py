"""Where results go, and how: whole files under their final names, or none.

Files are first written beside their final place and then renamed, so that a full disk or an
interruption leaves nothing half-written under a final name.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spec.tile import Tile
from tools.console import UserError

__all__ = ["manifest", "tile_directory", "versions", "write_file", "write_files"]


def tile_directory(tile: Tile, root: Path | None = None) -> Path:
    """The directory of a tile's results, ``<root>/<name>-<digest>``; made when missing.

    Without ``root``, that is ``$PNMTILE_BUILD``, or ``build`` in the working directory.
    """
    root = root or Path(os.environ.get("PNMTILE_BUILD", "build"))
    directory = root / f"{tile.name}-{tile.digest[:12]}"
    with _explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def write_file(path: Path, content: str | bytes) -> None:
    """Write one file; ``UserError`` when it cannot be written, and then nothing is changed."""
    write_files(path.parent, {path.name: content})


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by name into a directory, which is made when missing.

    All are written before the first takes its final name. Files of other names stay.
    ``UserError`` when that cannot be done; the directories made here are then removed again.
    """
    with _explained(directory), contextlib.ExitStack() as undo:
        for missing in reversed([path for path in (directory, *directory.parents)
                                 if not path.exists()]):
            missing.mkdir()
            undo.callback(_remove_empty, missing)
        for name in files:
            if (directory / name).is_dir():
                raise UserError(f"cannot write {directory / name}: it is a directory; "
                                "remove it or choose another place")
        beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
        undo.callback(shutil.rmtree, beside, ignore_errors=True)
        for name, content in files.items():
            with (beside / name).open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            os.replace(beside / name, directory / name)


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a ``UserError`` that says where and why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write to {directory}: {reason[:1].lower()}{reason[1:]}; nothing "
                        "was changed there; free some space or choose another directory"
                        ) from None


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Versions of installed packages by name; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def manifest(tile: Tile, packages: Iterable[str], files: Mapping[str, str | bytes],
             **facts: Any) -> dict[str, Any]:
    """What results are made of: description, grade, versions, SHA-256 of each file, and ``facts``.

    It holds no time and no path, so that the same input gives the same manifest.
    """
    return {
        "tile": tile.name,
        "digest": tile.digest,
        "description": tile.description.model_dump(mode="json", exclude_none=True),
        **({"grade": tile.grade.model_dump(mode="json")} if tile.grade else {}),
        "versions": versions(packages),
        **facts,
        "sha256": {name: hashlib.sha256(
            content.encode() if isinstance(content, str) else content).hexdigest()
            for name, content in sorted(files.items())},
    }
