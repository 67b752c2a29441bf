"""Whole operations on the simulated tile: tile and memory in RTL, commands from Python."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
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
from tb.simulator import SimulatorError, build_directory, build_simulation, run_simulation

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
    seconds: float


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

    ``progress`` is called now and then with the atoms read so far. ``vcd`` gets the waveform.

    :Errors: :class:`tb.simulator.SimulatorError` when the simulation cannot be built or run.
    """
    folder = folder or build_directory() / "runs" / f"{tile.name}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent.parent / "tb"
    component = TileComponent(tile)
    executable = build_simulation(
        _wrapper(tile, component) + unit_verilog(component, tile.name), TOP,
        sources=(here / "axi4_memory.sv",),
        models=(here / "axi4_memory.cpp",), trace=vcd is not None, optimise="-O2")
    memory, answer, atoms = folder / "memory.bin", folder / "answer.json", folder / "atoms"
    for path in (answer, atoms):
        path.unlink(missing_ok=True)
    image.tofile(memory)

    def poll() -> None:
        if progress is not None and atoms.exists():
            text = atoms.read_text()
            if text:
                progress(int(text))

    arguments: tuple[str, ...] = (f"+memory={memory}",)
    if vcd is not None:
        arguments += ("--trace", "--trace-file", str(vcd))
    try:
        result = run_simulation(
            executable, "tb.system", seed=0, folder=folder, arguments=arguments, poll=poll,
            environment={"PNMTILE_PARAMS": tile.description.model_dump_json(),
                         "PNMTILE_JOB": json.dumps({
                             "commands": [command.pack() for command in commands],
                             "bytes": image.size, "answer": str(answer), "atoms": str(atoms)})})
        if not result.passed or not answer.exists():
            raise SimulatorError(f"the simulation failed; see {folder / 'simulation.log'}:\n"
                                 f"{result.log[-2000:]}")
        image[:] = np.fromfile(memory, np.uint8)
    finally:
        memory.unlink(missing_ok=True)
    said = json.loads(answer.read_text())
    return SystemRun(errors=[(tag, ErrorCode(code)) for tag, code in said["errors"]],
                     counters=Counters(**said["counters"]), seconds=result.seconds)
