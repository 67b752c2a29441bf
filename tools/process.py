"""Child processes that never outlive the command that started them."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    with log.open("wb") as output:
        try:
            child = subprocess.Popen(
                names, cwd=cwd, env={**os.environ, **(environment or {})}, stdout=output,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        except FileNotFoundError:
            raise UserError(f"{names[0]} is missing; `pnmtile doctor` says how to install it"
                            ) from None
        try:
            return child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise UserError(f"{names[0]} took more than {timeout_s:g} s and was ended; "
                            f"its output is in {log}") from None
        finally:
            _end_group(child)


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
