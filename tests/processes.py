"""Children of a process, for the tests that interrupt one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools.cli import INTERRUPTED

__all__ = ["alive", "descendants", "interrupted", "wait_for"]


def _parents() -> dict[int, tuple[int, str]]:
    """Parent and name of every process that is alive."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # It has just ended.
        name = text[text.index("(") + 1:text.rindex(")")]
        state, parent = text[text.rindex(")") + 2:].split()[:2]
        if state != "Z":
            found[int(entry.name)] = (int(parent), name)
    return found


def descendants(pid: int) -> dict[int, str]:
    """Process number and name of all children of ``pid``, and theirs."""
    parents = _parents()
    found: dict[int, str] = {}
    grown = True
    while grown:
        grown = False
        for child, (parent, name) in parents.items():
            if child not in found and (parent == pid or parent in found):
                found[child] = name
                grown = True
    return found


def alive(pid: int) -> bool:
    """Whether a process has not ended yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pid in _parents()


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until ``condition`` holds; False when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def interrupted(process: subprocess.Popen[str], child: str, number: int, seconds: float) -> None:
    """Send a signal to one of our commands as soon as ``child`` runs below it: it must end in 30
    seconds with the signal's exit code, without a traceback, and leave no child."""
    try:
        assert wait_for(lambda: child in descendants(process.pid).values(), seconds)
        children = descendants(process.pid)
        process.send_signal(number)
        _, messages = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (INTERRUPTED if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in messages
    assert wait_for(lambda: not any(alive(pid) for pid in children), 5)
