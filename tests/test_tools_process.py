"""Child processes: answers, time limits, and signals at the worst moment."""

import signal
import subprocess
from pathlib import Path

import pytest

from tools.console import UserError
from tools.process import run_child


def test_exit_code_and_output(tmp_path: Path) -> None:
    assert run_child(["sh", "-c", "echo $WORD; exit 3"], log=tmp_path / "log",
                     environment={"WORD": "here"}) == 3
    assert (tmp_path / "log").read_text() == "here\n"


def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-program is missing; `pnmtile doctor`"):
        run_child(["no-such-program"], log=tmp_path / "log")


def test_time_limit_ends_the_child(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sleep took more than 0\.1 s and was ended"):
        run_child(["sleep", "60"], log=tmp_path / "log", timeout_s=0.1)


def test_signal_while_the_child_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_child(["sleep", "60"], log=tmp_path / "log")
    assert signal.getsignal(signal.SIGINT) is handler
    assert started[0].returncode == -signal.SIGTERM
