"""Child processes that never outlive the command that started them."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tools.console import UserError

__all__ = ["run_child"]

_GRACE_S = 5.0


def run_child(command: Sequence[str | Path], *, log: Path, cwd: Path | None = None,
              environment: Mapping[str, str] | None = None, timeout_s: float | None = None) -> int:
    """Run a command with its output in ``log`` and return its exit code (negative: a signal).

    The child leads its own process group. Whatever ends the wait early (Ctrl-C, a termination,
    the timeout: ``UserError``) ends the whole group first, gently, then after five seconds by
    force. ``environment`` is added to this process's.
    """
    names = [str(part) for part in command]
    child: subprocess.Popen[bytes] | None = None
    with log.open("wb") as output:
        try:
            with _signals_held_back():
                child = subprocess.Popen(
                    names, cwd=cwd, env={**os.environ, **(environment or {})}, stdout=output,
                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
            return child.wait(timeout_s)
        except FileNotFoundError:
            raise UserError(f"{names[0]} is missing; `pnmtile doctor` says how to install it"
                            ) from None
        except subprocess.TimeoutExpired:
            raise UserError(f"{names[0]} took more than {timeout_s:g} s and was ended; "
                            f"its output is in {log}") from None
        finally:
            if child is not None:
                _end_group(child)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold handled SIGINT and SIGTERM back while a child starts, and raise them afterwards.

    An exception of a handler inside ``Popen`` would lose the child that already runs. Python
    runs handlers in the main thread only; in others this does nothing.
    """
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: handler for number in (signal.SIGINT, signal.SIGTERM)
                    if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in held:
        signal.raise_signal(number)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End a child's process group; a no-op when all of it has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(_GRACE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue  # An impatient second Ctrl-C goes on to force.
