# amaranth: UnusedElaboratable=no
"""The units of a trial design: what they refuse, their benches, their Verilog."""

import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.trial import Trial as TrialComponent
from hdl.verilog import unit_verilog
from spec.load import load_tile
from spec.trial import BAUD, Trial
from spec.units import SkidBufferParams
from tests.conftest import DESCRIPTIONS, PROJECT
from tools.benches import run_bench
from tools.doctor import verilator_root
from tools.generate import lint_waivers

SEED = 1
SMALLEST = load_tile(PROJECT / "tests" / "descriptions" / "smallest.toml")
SMALL = load_tile(PROJECT / "tests" / "descriptions" / "trial.toml")
BOARD = load_tile(PROJECT / "tiles" / "ulx3s_fp8.toml")
TRIALS = {
    # The shortest bit; a divider that is no power of two; a board's.
    "smallest": Trial(tile=SMALLEST, clock_hz=4 * BAUD, baud=BAUD),
    "small": Trial(tile=SMALL, clock_hz=48_000_000, baud=6_900_000),
    "board": Trial(tile=BOARD, clock_hz=80_000_000, baud=BAUD),
}
# The whole board is simulated by `pnmtile trial`, and takes a minute to build.
CASES = [(name, unit) for name, trial in TRIALS.items() for unit in trial.units
         if (name, unit) != ("board", "trial")]

MEMBERS = {
    "uart_receiver": {"rx": In, "o": Out},
    "uart_transmitter": {"i": In, "tx": Out},
    "block_ram": {f"{who}_{name}": flow for who in ("host", "tile") for name, flow in (
        ("read", In), ("data", Out), ("write", In), ("written", Out))},
    "serial_bridge": {"i": In, "o": Out, "m_axi": None, "read": Out, "data": In, "write": Out,
                      "written": In},
    "trial": {"rx": In, "tx": Out, "interrupt": Out},
}


def _class_name(unit: str) -> str:
    return "".join(part.capitalize() for part in unit.split("_"))


def _make(unit: str, params: Any) -> wiring.Component:
    """The unit's component, made in this file: see its first line."""
    made: wiring.Component = getattr(import_module(f"hdl.{unit}"), _class_name(unit))(params)
    return made


@pytest.mark.parametrize(("name", "unit"), CASES, ids=[f"{unit}-{name}" for name, unit in CASES])
@pytest.mark.cosim
def test_bench_passes(name: str, unit: str) -> None:
    run = run_bench(unit, TRIALS[name].units[unit], SEED)
    assert run.passed, (run.tests, run.log)


@pytest.mark.parametrize("unit", MEMBERS)
def test_members_are_the_contract(unit: str) -> None:
    made = _make(unit, TRIALS["board"].units[unit])
    members = {"m_axi" if name.startswith("m_axi_") else name:
               None if name.startswith("m_axi_") else member.flow
               for name, member in made.signature.members.items()}
    assert members == MEMBERS[unit]


@pytest.mark.parametrize("unit", MEMBERS)
def test_wrong_record_is_rejected(unit: str) -> None:
    for wrong in (SkidBufferParams(bits=3), None):
        with pytest.raises(TypeError, match=rf"^{_class_name(unit)} needs "
                                            r"(a spec\.trial\.Trial|\w+Params), not "):
            _make(unit, wrong)


def test_every_submodule_has_a_name() -> None:
    waiting = [Fragment.get(TrialComponent(TRIALS["board"]), None)]
    while waiting:
        current = waiting.pop()
        assert all(name is not None for _, name, _ in current.subfragments)
        waiting += [child for child, _, _ in current.subfragments]


def test_a_native_tile_has_no_trial() -> None:
    tile = load_tile(DESCRIPTIONS[4])
    with pytest.raises(ValueError, match=f"{tile.name} controls its DRAM itself; a trial design "
                                         'needs memory.interface = "axi4"'):
        Trial(tile=tile, clock_hz=80_000_000, baud=BAUD)


@pytest.mark.parametrize(("clock_hz", "baud", "words"), [
    (3_000_000, 1_000_000, "a line of 1000000 baud needs a clock of 4000000 Hz or more, not "
                           "3000000 Hz"),
    (4_400_000, 1_000_000, "1000000 baud cannot be made from 4400000 Hz: nearest is 1100000"),
])
def test_a_line_that_cannot_be_is_refused(clock_hz: int, baud: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trial(tile=SMALLEST, clock_hz=clock_hz, baud=baud)


def test_verilog_is_lint_free(tmp_path: Path) -> None:
    """With the waivers of the tile that is in it."""
    trial = TRIALS["small"]
    name = trial.tile.name
    (tmp_path / f"{name}.v").write_text(unit_verilog(TrialComponent(trial), "trial"))
    (tmp_path / f"{name}.vlt").write_text(lint_waivers(trial.tile))
    root = verilator_root()
    assert root is not None
    found = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "--top-module", "trial",
         f"{name}.vlt", f"{name}.v"], cwd=tmp_path, text=True, capture_output=True, timeout=120,
        check=False, env={**os.environ, "VERILATOR_ROOT": str(root)})
    assert (found.returncode, found.stderr) == (0, "")
