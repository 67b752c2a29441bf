"""hdl.webassembly: of processes that start together, one compiles and the others wait for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdl.webassembly import compile_once

PACKAGE = """
import pathlib, time

def run_slow(arguments):
    assert arguments == ["--version"]
    with pathlib.Path(__file__).with_name("runs").open("a") as runs:
        runs.write("begin\\n")
        time.sleep(0.5)
    return CODE
"""
CALL = "from hdl.webassembly import compile_once; compile_once('slow_package', 'run_slow')"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose program is slow, on the path of this process and of its children."""
    (tmp_path / "slow_package.py").write_text(PACKAGE.replace("CODE", "0"), encoding="utf-8")
    _version(tmp_path, "1.0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def _version(folder: Path, version: str) -> None:
    facts = folder / "slow_package-0.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: slow_package\n"
                                    f"Version: {version}\n", encoding="utf-8")


def _runs(folder: Path) -> int:
    return len((folder / "runs").read_text(encoding="utf-8").splitlines())


def test_processes_that_start_together_compile_once(package: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", CALL]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert _runs(package) == 1


def test_each_version_is_compiled_and_told(package: Path) -> None:
    told: list[str] = []
    for version, runs in (("1.0", 1), ("1.0", 1), ("2.0", 2)):
        _version(package, version)
        compile_once("slow_package", "run_slow", told.append)
        assert (_runs(package), len(told)) == (runs, runs)
    assert told[0].startswith("slow compiles itself for this machine")


def test_a_failure_is_not_remembered(package: Path) -> None:
    (package / "slow_package.py").write_text(PACKAGE.replace("CODE", "3"), encoding="utf-8")
    for runs in (1, 2):
        compile_once("slow_package", "run_slow")
        assert _runs(package) == runs


def test_what_cannot_be_prepared_is_left_to_the_program(package: Path) -> None:
    compile_once("no_such_package", "run_slow")
    (package / "cache").write_text("a file where a folder should be", encoding="utf-8")
    compile_once("slow_package", "run_slow")
    assert not (package / "runs").exists()
