"""Traffic on the memory controller and its DRAM alone, without a tile: for measuring and proving.

The DRAM checks every command, the traffic every answer; see :mod:`tb.memory_traffic`.
"""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdl.memory_controller import MemoryController
from hdl.verilog import unit_verilog
from spec.memory_units import MemoryControllerParams, ReadFault
from tb.dram_model import model_arguments, read_counts
from tb.memory_traffic import TRAFFIC_MODELS, TRAFFIC_SOURCES, Traffic, traffic_text, traffic_top
from tb.simulator import (
    SimulationFailed, build_directory, build_simulation, run_simulation,
)

__all__ = ["TrafficRun", "run_traffic"]


@dataclass(frozen=True)
class TrafficRun:
    """What came of it. ``cycles`` are tile cycles from the first access to the last answer.

    ``faults`` counts the answers by :class:`spec.memory_units.ReadFault`; ``wrong`` those without
    fault whose data was not what it must be; ``corrected`` the words with one wrong bit; ``last``
    the cycle of the last answer or write of the tile and of the host.
    """

    cycles: int
    reads: int
    writes: int
    wrong: int
    corrected: int
    faults: dict[ReadFault, int]
    last: tuple[int, int]
    commands: dict[str, int]

    def share(self, params: MemoryControllerParams) -> float:
        """Data moved, as a share of what the pins carry when no cycle is lost."""
        accesses = self.reads + self.writes
        return accesses * params.grade.timing.nBL / (self.cycles * params.cycle_ck)


def run_traffic(params: MemoryControllerParams, traffic: Traffic, *,
                image: NDArray[np.uint8] | None = None, faults: str = "",
                trace: Path | None = None) -> TrafficRun:
    """Simulate until all accesses of ``traffic`` are answered.

    ``trace`` gets every DRAM command as :func:`tb.dram_checker.read_trace` reads it.

    ``image`` is what the memory holds from address 0 on (else zeros); ``faults`` are lines as
    :func:`tb.dram_model.model_arguments` says.

    :Errors: :class:`tb.simulator.SimulationFailed` when a DRAM rule is broken, an answer is wrong
        or nothing moves any more, with the words of the checker.
    """
    executable = _system(params.model_dump_json(), build_directory())
    folder = build_directory() / "runs" / f"traffic-{params.grade.name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {name: folder / name for name in ("memory", "image", "traffic", "answer", "faults",
                                              "counts")}
    data = np.zeros(0, np.uint8) if image is None else image
    for name in ("memory", "image"):
        data.tofile(files[name])
    files["traffic"].write_text(traffic_text(traffic, params))
    files["faults"].write_text(faults)
    arguments = model_arguments(params, folder, files["memory"], faults=files["faults"],
                                counts=files["counts"], trace=trace)
    result = run_simulation(
        executable, "tb.memory_traffic", seed=traffic.seed, folder=folder, environment={},
        arguments=(*arguments, *(f"+{name}={files[name]}"
                                 for name in ("traffic", "image", "answer"))))
    words = "\n".join(text.strip() for text in result.tests.values() if text)
    if words or not files["answer"].exists():
        raise SimulationFailed(f"{words or 'no test ran'}\nlog: {folder / 'simulation.log'}")
    said = json.loads(files["answer"].read_text())
    counts = read_counts(files["counts"])
    shutil.rmtree(folder, ignore_errors=True)
    return TrafficRun(
        cycles=said["cycles"], reads=said["reads"], writes=said["writes"], wrong=said["wrong"],
        corrected=said["corrected"], faults=dict(zip(ReadFault, said["faults"], strict=True)),
        last=(said["requesters"][0]["last"], said["requesters"][1]["last"]), commands=counts)


@cache
def _system(params: str, build: Path) -> Path:
    """The simulation of a controller (its record as JSON), generated once per process."""
    record = MemoryControllerParams.model_validate_json(params, strict=False)
    name = "memory_controller"
    return build_simulation(
        traffic_top(record, name) + unit_verilog(MemoryController(record), name), "memory_system",
        sources=TRAFFIC_SOURCES, models=TRAFFIC_MODELS, optimise="-O2")
