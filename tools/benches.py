"""Units of a tile, built and run with their benches."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from amaranth.lib import wiring

from hdl.verilog import unit_verilog
from spec.tile import Tile
from spec.units import UnitParams
from tb.simulator import (
    SimulationFailed, build_directory, build_simulation, run_simulation,
)

__all__ = ["UNITS", "UnitRun", "component", "run_bench", "run_unit", "units_of"]

# Units of all tiles, in the order in which a fault is easiest to understand; the tile itself comes
# last. Which of them a tile has, units_of says.
UNITS = (
    "decoder", "subword_decoder", "zero_subtractor", "dot_array", "subword_dot_array",
    "block_dot_array", "aligned_dot_array",
    "fp32_dot_array", "fp32_rounder", "fp32_multiplier", "fp32_adder", "scale_combiner",
    "group_scaler", "row_accumulator", "column", "activation_buffer", "scale_buffer", "fifo",
    "result_packer", "quantizer", "row_packer", "converter", "reducer", "transposer", "skid_buffer",
    "burst_splitter", "axi4_reader", "axi4_writer", "secded_encoder", "secded_decoder",
    "reorder_buffer", "bank_queues", "memory_controller", "inline_ecc", "region_reader",
    "region_writer", "host_port", "cast_window", "gearbox", "command_checker", "tensor_checker",
    "sequencer", "register_file", "tile",
)

# Amaranth is not made for several threads at once.
_generating = threading.Lock()


@dataclass(frozen=True)
class UnitRun:
    """One bench's result: its tests by name, each with the text of its failure or None."""

    unit: str
    tests: dict[str, str | None]
    seed: int
    seconds: float
    log: Path

    @property
    def passed(self) -> bool:
        """Whether there were tests and none failed."""
        return bool(self.tests) and not any(self.tests.values())


def units_of(tile: Tile) -> tuple[str, ...]:
    """The units that the tile has, in the order of ``UNITS``."""
    records = tile.units
    return tuple(unit for unit in UNITS if unit in records or unit == "tile")


def component(unit: str, params: UnitParams | Tile) -> wiring.Component:
    """Make the unit's component: ``dot_array`` is class ``DotArray`` of ``hdl.dot_array``."""
    kind: Callable[..., wiring.Component] = getattr(
        import_module(f"hdl.{unit}"), "".join(part.capitalize() for part in unit.split("_")))
    return kind(params)


def run_unit(tile: Tile, unit: str, seed: int) -> UnitRun:
    """Build ``unit`` with the tile's parameters and run ``tb.<unit>``.

    The same seed repeats the same run. The log stays in the build directory. A simulation that dies
    counts as a failed test.

    :Errors: ``ValueError`` for a unit that the tile does not have;
        :class:`tb.simulator.SimulatorError` when it cannot be built or started.
    """
    if unit not in units_of(tile):
        raise ValueError(f"{tile.name} has no unit {unit}; its units are "
                         f"{', '.join(units_of(tile))}")
    return run_bench(unit, tile if unit == "tile" else tile.units[unit], seed)


def run_bench(unit: str, params: UnitParams | Tile, seed: int) -> UnitRun:
    """Build ``unit`` with ``params`` and run ``tb.<unit>``, as :func:`run_unit` does."""
    started = time.monotonic()
    with _generating:
        verilog = unit_verilog(component(unit, params), unit)
    executable = build_simulation(verilog, unit)
    folder = build_directory() / "runs" / executable.parent.name / str(seed)
    try:
        tests = run_simulation(executable, f"tb.{unit}", seed=seed, folder=folder,
                               environment={"PNMTILE_PARAMS": params.model_dump_json()}).tests
    except SimulationFailed as error:
        tests = {"simulation": str(error)}
    return UnitRun(unit, tests, seed, time.monotonic() - started, folder / "simulation.log")
