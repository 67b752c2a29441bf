"""Results on disk: whole files or none."""

import errno
import os
from pathlib import Path

import pytest

from spec.tile import Tile
from tools.console import UserError
from tools.outputs import manifest, tile_directory, versions, write_file, write_files


def test_writes_files_into_new_directories(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "b", {"x": "text\n", "y": b"\x00\xff"})
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["x", "y"]
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"text\n"
    assert (tmp_path / "a" / "b" / "y").read_bytes() == b"\x00\xff"


def test_replaces_a_file_and_keeps_others(tmp_path: Path) -> None:
    write_files(tmp_path, {"x": "old", "y": "kept"})
    write_file(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "y").read_text() == "kept"
    assert len(os.listdir(tmp_path)) == 2


def _full_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let the disk be full when the file of this number is to be flushed."""
    calls = iter(range(1000))

    def fsync(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"x": "old"})
    _full_at(monkeypatch, 1)
    with pytest.raises(UserError) as caught:
        write_files(tmp_path, {"x": "new", "y": "new"})
    assert str(caught.value) == (
        f"cannot write to {tmp_path}: no space left on device; nothing was changed there; free "
        "some space or choose another directory")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_full_disk_leaves_no_new_directory(tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    _full_at(monkeypatch, 0)
    with pytest.raises(UserError):
        write_files(tmp_path / "a" / "b", {"x": "new"})
    assert os.listdir(tmp_path) == []


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path / "a", {"x": "new"})
    assert os.listdir(tmp_path) == []


def test_refuses_a_directory_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    with pytest.raises(UserError, match="y: it is a directory; remove it"):
        write_files(tmp_path, {"x": "new", "y": "new"})
    assert os.listdir(tmp_path) == ["y"]


def test_refuses_a_file_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(UserError, match="cannot write to .*/a/b: not a directory"):
        write_files(tmp_path / "a" / "b", {"x": "new"})


def test_tile_directory_has_name_and_digest(tmp_path: Path, tile: Tile) -> None:
    directory = tile_directory(tile, tmp_path / "build")
    assert directory == tmp_path / "build" / f"{tile.name}-{tile.digest[:12]}"
    assert directory.is_dir()
    assert tile_directory(tile, tmp_path / "build") == directory


def test_manifest_identifies_files(default_tile: Tile) -> None:
    found = manifest(default_tile, ["numpy", "no-such-package"], {"b": "abc", "a": b""}, seed=7)
    assert found["digest"] == default_tile.digest
    assert found["seed"] == 7
    assert found["versions"] == versions(["numpy"]) | {"no-such-package": None}
    # SHA-256 of nothing and of "abc", from FIPS 180-2.
    assert list(found["sha256"].items()) == [
        ("a", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("b", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ]
