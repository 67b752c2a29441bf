"""Whole operations on the simulated tile: tile and memory in RTL, commands from Python."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

import numpy as np
from amaranth.hdl import Value
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from hdl.tile import Tile as TileComponent
from hdl.verilog import unit_verilog
from host.driver import Counters
from spec.commands import Command, ErrorCode
from spec.tile import Tile
from tb.simulator import SimulationFailed, build_directory, build_simulation, run_simulation

__all__ = ["MEMORY_LATENCY", "SystemRun", "simulate"]

# Cycles from a read address to its first atom: some 80 ns at 800 MHz, a loaded HBM controller.
MEMORY_LATENCY = 64
TOP = "system"

_WRAPPER = Template("""
module $top (
    input logic clk, input logic rst, output logic interrupt,
$ports
);
$wires
    $tile tile (.clk(clk), .rst(rst), .interrupt(interrupt),
$connections
    );
    axi4_memory #(.ADDRESS_BITS($address_bits), .ATOM_BITS($atom_bits), .LATENCY($latency)) memory (
        .clk(clk), .rst(rst),
$memory
    );
    assign m_axi_rid = 0;
    assign m_axi_bid = 0;
endmodule
""")


MEMORY_PORTS = (
    "araddr", "arlen", "arvalid", "arready", "rdata", "rresp", "rlast", "rvalid", "rready",
    "awaddr", "awvalid", "awready", "wdata", "wlast", "wvalid", "wready",
    "bresp", "bvalid", "bready")


@dataclass(frozen=True)
class SystemRun:
    """What a simulated list of commands left behind."""

    errors: list[tuple[int, ErrorCode]]
    counters: Counters


def _wrapper(tile: Tile, component: TileComponent) -> str:
    """Tile and memory in one module; the registers stay outside."""
    outer, wires, connections, memory = [], [], [], []
    for name, member in component.signature.members.items():
        if name == "interrupt":
            continue
        bits = len(Value.cast(getattr(component, name)))
        vector = f"logic {f'[{bits - 1}:0] ' if bits > 1 else ''}{name}"
        connections.append(f"        .{name}({name})")
        if name.startswith("s_axi"):
            outer.append(f"    {'input' if member.flow is In else 'output'} {vector}")
            continue
        wires.append(f"    {vector};")
        channel = name.removeprefix("m_axi_")
        if channel in MEMORY_PORTS:
            memory.append(f"        .{channel}({name})")
    return _WRAPPER.substitute(
        top=TOP, tile=tile.name, ports=",\n".join(outer), wires="\n".join(wires),
        connections=",\n".join(connections), memory=",\n".join(memory),
        address_bits=tile.axi4.address_bits, atom_bits=tile.atom_bits, latency=MEMORY_LATENCY)


def simulate(tile: Tile, image: NDArray[np.uint8], commands: list[Command],
             folder: Path | None = None, vcd: Path | None = None,
             progress: Callable[[int], None] | None = None) -> SystemRun:
    """Execute ``commands`` on the simulated tile; ``image`` is its memory, changed in place.

    ``progress`` is called now and then with the atoms read so far. ``vcd`` gets the waveform, also
    that of a simulation that failed. The log stays in ``folder``; without one, only if it failed.

    :Errors: :class:`tb.simulator.SimulationFailed` when the tile does not do its work,
        :class:`tb.simulator.SimulatorError` when the simulation cannot be built or run.
    """
    executable = _system(tile, vcd is not None, build_directory())
    place = folder or build_directory() / "runs" / f"{tile.name}-{os.getpid()}"
    place.mkdir(parents=True, exist_ok=True)
    with _waveform(vcd) as options:
        done = _run(executable, tile, image, commands, place, options, progress)
    if folder is None:
        shutil.rmtree(place, ignore_errors=True)
    return done


@cache
def _system(tile: Tile, trace: bool, build: Path) -> Path:
    """The simulation of a tile and its memory, generated once per process."""
    here = Path(__file__).parent.parent / "tb"
    component = TileComponent(tile)
    return build_simulation(
        _wrapper(tile, component) + unit_verilog(component, tile.name), TOP,
        sources=(here / "axi4_memory.sv",), models=(here / "axi4_memory.cpp",),
        # With a waveform, the time goes into writing it.
        trace=trace, optimise="-O1" if trace else "-O2")


def _run(executable: Path, tile: Tile, image: NDArray[np.uint8], commands: list[Command],
         folder: Path, options: tuple[str, ...],
         progress: Callable[[int], None] | None) -> SystemRun:
    memory, answer, atoms = folder / "memory.bin", folder / "answer.json", folder / "atoms"
    for path in (answer, atoms):
        path.unlink(missing_ok=True)
    job = folder / "job.json"
    job.write_text(json.dumps({"commands": [command.pack() for command in commands],
                               "bytes": image.size, "answer": str(answer), "atoms": str(atoms)}))

    def poll() -> None:
        if progress is not None and atoms.exists():
            text = atoms.read_text()
            if text:
                progress(int(text))

    try:
        image.tofile(memory)
        result = run_simulation(
            executable, "tb.system", seed=0, folder=folder, poll=poll,
            arguments=(f"+memory={memory}", *options),
            environment={"PNMTILE_PARAMS": tile.description.model_dump_json(),
                         "PNMTILE_JOB": str(job)})
        if not result.passed or not answer.exists():
            words = "; ".join(text.strip() for text in result.tests.values() if text)
            raise SimulationFailed(f"the simulated tile failed: {words or 'no test ran'}\n"
                                   f"log: {folder / 'simulation.log'}")
        image[:] = np.fromfile(memory, np.uint8)
    finally:
        memory.unlink(missing_ok=True)
    said = json.loads(answer.read_text())
    return SystemRun(errors=[(tag, ErrorCode(code)) for tag, code in said["errors"]],
                     counters=Counters(**said["counters"]))


@contextmanager
def _waveform(vcd: Path | None) -> Iterator[tuple[str, ...]]:
    """Options of the simulation for a waveform, which takes its name when it is whole."""
    if vcd is None:
        yield ()
        return
    place = vcd.resolve()
    partial = place.with_name(f".writing-{place.name}")
    try:
        yield ("--trace", "--trace-file", str(partial))
        partial.replace(place)
    except SimulationFailed:
        if partial.exists():
            partial.replace(place)
        raise
    finally:
        partial.unlink(missing_ok=True)
