"""``make demo``: one description all the way, and a table of what came out.

The default tile is generated, verified, run on a synthetic GEMV and synthesised, each by the verb
of the ``pnmtile`` command that a user would call.
"""

import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spec.load import load_tile
from tools.cli import HELD, INTERRUPTED, NOT_HELD, run_command
from tools.console import UserError, console, say
from tools.outputs import tile_directory, write_file

__all__ = ["StepFailed", "main"]

TILE = Path(__file__).resolve().parent.parent / "tiles" / "hbm3_fp8.toml"
ROWS, K, SEED = 512, 4096, 1


class StepFailed(Exception):
    """A step that did not hold; the text says why."""


@dataclass(frozen=True)
class _Outcome:
    """What a step found or made and measured, and where it lies."""

    facts: str
    where: Path | None = None


@dataclass(frozen=True)
class _Step:
    name: str
    announcement: str
    work: Callable[[str, Path], _Outcome]


def main() -> int:
    """Run every step; return 0, or 1 as soon as one does not hold, or 130 when interrupted."""
    # Termination ends like Ctrl-C: simulations and yosys are ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tile = os.path.relpath(TILE)
    done: list[tuple[str, _Outcome, float]] = []
    started = time.monotonic()
    try:
        build = tile_directory(load_tile(tile))
        for number, step in enumerate(_STEPS, start=1):
            say(f"\n[{number}/{len(_STEPS)}] {step.name}: {step.announcement}")
            since = time.monotonic()
            done.append((step.name, step.work(tile, build), time.monotonic() - since))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (StepFailed, UserError) as error:
        name = _STEPS[len(done)].name
        say(f"\ndemo: step {name} did not hold: {error}", style="bold red")
        return NOT_HELD
    _show(tile, done, time.monotonic() - started)
    return HELD


def _answer(*arguments: str) -> dict[str, Any]:
    """Run one ``pnmtile`` command line and return its JSON; its text for people goes through."""
    say(f"$ pnmtile {' '.join(arguments)}")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = run_command([*arguments, "--json"])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != HELD:
        raise StepFailed(f"pnmtile {arguments[0]} ended with exit code {code}; see above")
    answer: dict[str, Any] = json.loads(output.getvalue())
    return answer


def _doctor(tile: str, build: Path) -> _Outcome:
    needs = _answer("doctor")["needs"]
    found = sum(need["found"] is not None for need in needs)
    return _Outcome(f"{found} of {len(needs)} packages and programs, all that are required")


def _generate(tile: str, build: Path) -> _Outcome:
    folder = build / "generated"
    files = _answer("generate", tile, "--output", str(folder))["files"]
    return _Outcome(f"{len(files)} files: Verilog, registers, constraints, manifest", folder)


def _verify(tile: str, build: Path) -> _Outcome:
    units = _answer("verify", tile, "--seed", str(SEED))["units"]
    tests = sum(len(unit["tests"]) for unit in units)
    return _Outcome(f"{len(units)} units, {tests} tests against the golden models, seed {SEED}",
                    build / "verify.json")


def _run(tile: str, build: Path) -> _Outcome:
    """The same GEMV on both engines; their files must be equal byte for byte."""
    import numpy as np

    from tools.tensors import npy_bytes

    folder = build / "demo"
    rng = np.random.default_rng(SEED)
    inputs = []
    for name, shape in (("weights", (ROWS, K)), ("activations", (1, K))):
        place = folder / f"{name}.npy"
        write_file(place, npy_bytes(rng.standard_normal(shape, np.float32)))
        inputs += [f"--{name}", str(place)]
    results = {engine: folder / f"results_{engine}.npy" for engine in ("golden", "rtl")}
    answers = {engine: _answer("run", tile, "gemv", *inputs, "--out", str(place),
                               "--engine", engine) for engine, place in results.items()}
    if results["golden"].read_bytes() != results["rtl"].read_bytes():
        raise StepFailed(f"{results['rtl']} differs from {results['golden']}")
    rtl = answers["rtl"]
    return _Outcome(f"GEMV {ROWS} x {K}: {rtl['cycles']:,} cycles, {rtl['bandwidth_share']:.2%} "
                    f"of the pins; RTL = golden, every bit (simulated)", results["rtl"])


def _synth(tile: str, build: Path) -> _Outcome:
    report = _answer("synth", tile)
    area, delay = report["area"], report["delay"]
    return _Outcome(
        f"{area['logic']['value']:,.0f} {area['logic']['unit']} of logic, "
        f"{area['memory_bits']['value']:,} bits of memory; longest path {delay['value']:.1f} "
        f"{delay['unit']} in {delay['slowest_unit'].rpartition('.')[2]} (synthesised)",
        build / "synth" / "synthesis.txt")


_STEPS = (
    _Step("doctor", "what the other steps need", _doctor),
    _Step("generate", "Verilog and what belongs to it (yosys compiles itself once per machine: "
          "up to two minutes)", _generate),
    _Step("verify", "every unit and the tile in simulation (one to two minutes)", _verify),
    _Step("run", "one GEMV on the golden model and on the simulated RTL (half a minute)", _run),
    _Step("synth", "area and delay with the embedded library (about a minute)", _synth),
)


def _show(tile: str, done: list[tuple[str, _Outcome, float]], seconds: float) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{tile}: every step held", caption=f"{seconds:.0f} s in all")
    table.add_column("step", no_wrap=True)
    table.add_column("made and measured")
    table.add_column("time (s)", justify="right")
    for name, outcome, took in done:
        place = f"\n{os.path.relpath(outcome.where)}" if outcome.where else ""
        table.add_row(name, Text(outcome.facts).append(place, "dim"), f"{took:.1f}")
    console().print()
    console().print(table)


if __name__ == "__main__":
    sys.exit(main())
