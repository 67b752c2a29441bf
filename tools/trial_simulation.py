"""The trial design in simulation, its serial line at a pseudo-terminal."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hdl.trial import Trial as TrialComponent
from hdl.verilog import unit_verilog
from spec.tile import Tile
from tb.simulator import (
    BenchResult, SimulationFailed, SimulatorError, build_directory, build_simulation,
    run_simulation,
)
from tools.trial_design import trial_design

__all__ = ["SIMULATED_DIVIDER", "simulated_port"]

# Clock cycles of a bit: few, as they are what a simulation costs.
SIMULATED_DIVIDER = 4
TOP = "trial_system"
_WRAPPER = f"""
module {TOP} (input logic clk, input logic rst, output logic finished);
    logic rx, tx, interrupt;
    trial trial (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .interrupt(interrupt));
    serial_line #(.DIVIDER({SIMULATED_DIVIDER})) serial_line (
        .clk(clk), .rst(rst), .rx(rx), .tx(tx), .finished(finished));
endmodule
"""
_POLL_S = 0.05


@contextmanager
def simulated_port(tile: Tile) -> Iterator[str]:
    """Simulate the trial design of a tile and give the name of the port that it is at.

    The simulation ends with the context.

    :Errors: :class:`tb.simulator.SimulatorError` when it cannot be built or dies.
    """
    here = Path(__file__).parent.parent / "tb"
    executable = build_simulation(
        _WRAPPER + unit_verilog(TrialComponent(trial_design(
            tile, baud=round(tile.clock_mhz * 1e6 / SIMULATED_DIVIDER))), "trial"), TOP,
        sources=(here / "serial_line.sv",), models=(here / "serial_line.cpp",))
    place = build_directory() / "runs"
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="trial-", dir=place) as folder:
        line = Path(folder) / "line"
        ended: list[BenchResult | SimulatorError] = []

        def simulate() -> None:
            try:
                ended.append(run_simulation(
                    executable, "tb.trial_line", seed=0, folder=Path(folder),
                    environment={}, arguments=(f"+line={line}",)))
            except SimulatorError as error:
                ended.append(error)

        simulation = threading.Thread(target=simulate)
        simulation.start()
        try:
            while not line.exists() and simulation.is_alive():
                simulation.join(_POLL_S)
            if line.exists():
                yield line.read_text()
        finally:
            line.unlink(missing_ok=True)
            simulation.join()
            # Whatever the host met then was a consequence.
            _check(ended)


def _check(ended: list[BenchResult | SimulatorError]) -> None:
    for result in ended:
        if isinstance(result, SimulatorError):
            raise result
        if not result.passed:
            raise SimulationFailed("the simulated trial design ended early: "
                                   f"{result.log[-2000:]}")
