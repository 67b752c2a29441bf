"""``pnmtile verify``: what it says, what it refuses, and how it ends when interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spec.tile import Tile
from tb.simulator import SimulationFailed, SimulatorError
from tests.conftest import DESCRIPTIONS, PROJECT
from tests.processes import interrupted
from tools.benches import UnitRun, run_unit
from tools.cli import HELD, NOT_HELD, WRONG_INPUT, run_command

SMALLEST = str(DESCRIPTIONS[2])


@pytest.fixture(autouse=True)
def _children(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the children of one verb must not end those of the tests that follow."""
    monkeypatch.setattr("tb.simulator._ending", threading.Event())


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results go to a folder of the test."""
    monkeypatch.setenv("PNMTILE_BUILD", str(tmp_path))
    return tmp_path


def _said(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _pretend(monkeypatch: pytest.MonkeyPatch, **tests: str | None) -> list[tuple[str, int]]:
    """Let every bench end at once with these tests; return the list of calls."""
    calls = []

    def run(tile: Tile, unit: str, seed: int) -> UnitRun:
        calls.append((unit, seed))
        return UnitRun(unit, dict(tests), seed, 0.5, Path("/x/simulation.log"))

    monkeypatch.setattr("tools.benches.run_unit", run)
    return calls


@pytest.mark.cosim
def test_verify_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["verify", SMALLEST, "--unit", "decoder", "--unit", "skid_buffer",
                        "--unit", "decoder", "--seed", "5", "--json"]) == HELD
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["held"] is True and answer["seed"] == 5
    assert [unit["unit"] for unit in answer["units"]] == ["decoder", "skid_buffer"]
    for unit in answer["units"]:
        assert len(unit["tests"]) > 1
        assert all(test["held"] and test["failure"] is None for test in unit["tests"])
        assert Path(unit["log"]).is_file()
    assert "--seed 5 repeats this run" in captured.err
    report = json.loads(Path(re.findall(r"^report: (.*)$", captured.err, re.MULTILINE)[0]
                             ).read_text())
    assert report["units"] == answer["units"] and report["versions"]["verilator"]


def test_verify_runs_every_unit_with_one_seed(
        reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        default_tile: Tile) -> None:
    calls = _pretend(monkeypatch, a=None)
    assert run_command(["verify", str(DESCRIPTIONS[0]), "--json"]) == HELD
    seed = json.loads(capsys.readouterr().out)["seed"]
    assert sorted(calls) == sorted((unit, seed) for unit in (*default_tile.units, "tile"))
    run_command(["verify", str(DESCRIPTIONS[0]), "--json"])
    assert json.loads(capsys.readouterr().out)["seed"] != seed


def test_a_failed_bench_is_named(reports: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    _pretend(monkeypatch, good=None, bad="result 3 is wrong\nmore")
    assert run_command(["verify", SMALLEST, "--unit", "column"]) == NOT_HELD
    captured = capsys.readouterr()
    assert "column.bad: result 3 is wrong log: /x/simulation.log" in _said(captured.err)
    assert "FAILED" in captured.err and "column.good" not in captured.err
    (report,) = reports.glob("smallest-*/verify.json")
    assert json.loads(report.read_text())["held"] is False


def test_a_bench_without_tests_does_not_hold(reports: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    _pretend(monkeypatch)
    assert run_command(["verify", SMALLEST, "--unit", "column"]) == NOT_HELD
    assert "column: no test ran; log: /x/simulation.log" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--unit", "colum"], r"--unit colum is no unit; units are decoder, dot_array, .*, tile$"),
    (["--unit", "column", "--unit", ""], r"--unit  is no unit"),
    (["--seed", "-1"], r"Invalid value for '--seed'"),
    (["--seed", "2147483648"], r"Invalid value for '--seed'"),
])
def test_wrong_input(arguments: list[str], message: str,
                     capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["verify", SMALLEST, *arguments]) == WRONG_INPUT
    captured = capsys.readouterr()
    assert re.search(message, re.sub(r"\s*[│\n]\s*", " ", captured.err).strip())
    assert captured.out == ""


def test_a_missing_compiler_is_named(reports: Path, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command(["verify", SMALLEST, "--unit", "decoder"]) == WRONG_INPUT
    assert "g++ is missing (compiles simulations); install it with:" in capsys.readouterr().err


def test_a_build_that_fails_ends_with_2(reports: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    ended = []
    monkeypatch.setattr("tb.simulator.end_children", lambda: ended.append(True))

    def run(tile: Tile, unit: str, seed: int) -> UnitRun:
        raise SimulatorError("g++ failed in /x: no space left")

    monkeypatch.setattr("tools.benches.run_unit", run)
    assert run_command(["verify", SMALLEST, "--unit", "decoder"]) == WRONG_INPUT
    assert "pnmtile: g++ failed in /x: no space left" in capsys.readouterr().err
    assert ended


def test_a_simulation_that_dies_is_a_failed_test(reports: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from spec.load import load_tile

    def die(*arguments: object, **options: object) -> None:
        raise SimulationFailed("the simulation ended without results (exit -11)")

    monkeypatch.setattr("tools.benches.build_simulation",
                        lambda *arguments: tmp_path / "decoder" / "decoder")
    monkeypatch.setattr("tools.benches.run_simulation", die)
    run = run_unit(load_tile(Path(SMALLEST)), "decoder", 1)
    assert not run.passed
    assert run.tests == {"simulation": "the simulation ended without results (exit -11)"}


def test_an_unwritable_build_directory_ends_with_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "build").write_text("a file")
    monkeypatch.setenv("PNMTILE_BUILD", str(tmp_path / "build"))
    assert run_command(["verify", SMALLEST, "--unit", "decoder"]) == WRONG_INPUT
    assert re.search(r"^pnmtile: .*/build", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.cosim
@pytest.mark.parametrize(("child", "number"), [
    ("cc1plus", signal.SIGINT), ("register_file", signal.SIGINT), ("register_file", signal.SIGTERM),
])
def test_interruption_ends_everything(child: str, number: int, tmp_path: Path) -> None:
    environment = dict(os.environ)
    if child == "cc1plus":
        # Nothing is built yet, so that compilers run.
        environment["PNMTILE_BUILD"] = str(tmp_path)
    with subprocess.Popen(
            [sys.executable, "-c", "from tools.cli import main; main()", "verify", SMALLEST,
             "--unit", "register_file", "--unit", "tile", "--seed", str(number)], cwd=PROJECT,
            env=environment, stderr=subprocess.PIPE, text=True) as process:
        interrupted(process, child, number, 120)
    if child == "cc1plus":
        shutil.rmtree(tmp_path)
