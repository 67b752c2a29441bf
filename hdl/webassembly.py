"""Programs in WebAssembly (yosys, nextpnr), compiled for this machine by one process at a time.

The package yowasp-runtime compiles a program when it first runs and writes the result over what its
cache holds. A process that has just mapped the file of another one into memory is then ended by a
bus error, so the first run is made alone, under a lock that all others wait for.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

__all__ = ["compile_once"]


def compile_once(package: str, program: str, progress: Callable[[str], None] | None = None) -> None:
    """Have the function ``program`` of an installed YoWASP ``package`` compiled and cached.

    Done once per machine and version; afterwards it takes no time. ``progress`` is told when it
    takes long. A cache that cannot be written and a package that is missing are left alone: the
    program's own run says so.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "YoWASP"
    folder = Path(os.environ.get("YOWASP_CACHE_DIR", home)) / package
    with suppress(OSError, metadata.PackageNotFoundError):
        version = metadata.version(package)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{program}.version").open("a+", encoding="utf-8") as compiled:
            fcntl.flock(compiled, fcntl.LOCK_EX)
            compiled.seek(0)
            if compiled.read() == version:
                return
            if progress is not None:
                progress(f"{program.removeprefix('run_')} compiles itself for this machine (once, "
                         "about two minutes)")
            done = subprocess.run(
                [sys.executable, "-c", f"import sys, {package} as package; "
                                       f"sys.exit(package.{program}(['--version']))"],
                stdin=subprocess.DEVNULL, capture_output=True)
            if done.returncode == 0:
                compiled.truncate(0)
                compiled.write(version)
