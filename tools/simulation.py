# amaranth: UnusedElaboratable=no
"""Whole operations on the simulated tile: tile and memory in RTL, commands from Python."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
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
from tb.dram_model import MODELS, SOURCES, model_arguments, model_instance, read_counts
from tb.memory_traffic import HOST_TRAFFIC_SOURCES, TRAFFIC_MODELS, Traffic, traffic_text
from tb.simulator import SimulationFailed, build_directory, build_simulation, run_simulation

__all__ = ["MEMORY_LATENCY", "HostAnswer", "HostRead", "SystemRun", "simulate"]

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
$memory
$host
endmodule
""")

_HOST_TRAFFIC = Template("""
    host_traffic #(.INDEX_BITS($index_bits), .ATOM_BITS($atom_bits), .ADDRESS_BITS($address_bits))
    host (.clk(clk), .rst(rst), .finished(finished),
$connections
    );
""")

_HOST_READER = Template("""
    host_reader #(.ATOM_BITS($atom_bits), .ADDRESS_BITS($address_bits))
    host (.clk(clk), .rst(rst), .permitted(permitted), .ended(reads_ended),
$connections
    );
""")

_AXI4_MEMORY = Template("""
    axi4_memory #(.ADDRESS_BITS($address_bits), .ATOM_BITS($atom_bits), .LATENCY($latency)) memory (
        .clk(clk), .rst(rst),
$connections
    );
    assign m_axi_rid = 0;
    assign m_axi_bid = 0;
""")

MEMORY_PORTS = (
    "araddr", "arlen", "arvalid", "arready", "rdata", "rresp", "rlast", "rvalid", "rready",
    "awaddr", "awvalid", "awready", "wdata", "wlast", "wvalid", "wready",
    "bresp", "bvalid", "bready")


@dataclass(frozen=True)
class HostRead:
    """A read of ``atoms`` atoms from byte ``address`` of a native tile's host port: while the
    command of number ``command`` is under way where ``during`` is set, else when it has ended."""

    command: int
    address: int
    atoms: int
    during: bool = False


@dataclass(frozen=True)
class HostAnswer:
    """What a read was answered with, and its clock cycles from asking to the last atom."""

    data: bytes
    cycles: int
    errors: int


@dataclass(frozen=True)
class SystemRun:
    """What a simulated list of commands left behind.

    ``corrected`` counts the words of memory in which a bit was wrong; ``uncorrectable`` is the byte
    address of the first atom with two wrong bits in a word, None where there was none.
    ``dram_commands`` counts what a native tile sent by name; None for one behind AXI4. ``answers``
    are those to the host's reads.
    """

    errors: list[tuple[int, ErrorCode]]
    counters: Counters
    corrected: int = 0
    uncorrectable: int | None = None
    dram_commands: dict[str, int] | None = None
    answers: tuple[HostAnswer, ...] = ()


def _wrapper(tile: Tile, component: TileComponent, traffic: bool) -> str:
    """Tile and memory in one module; the registers stay outside, the host port has a reader or
    traffic."""
    wires, connections, memory, host_connections = [], [], [], []
    outer = ["    output logic finished"] if traffic else [
        "    input logic [31:0] permitted", "    output logic [31:0] reads_ended"
    ] if tile.native else []
    for name, member in component.signature.members.items():
        if name == "interrupt":
            continue
        bits = len(Value.cast(getattr(component, name)))
        vector = f"logic {f'[{bits - 1}:0] ' if bits > 1 else ''}{name}"
        if name.startswith("s_mem_axi_"):
            host_connections.append(f"        .{name.removeprefix('s_mem_axi_')}({name})")
        connections.append(f"        .{name}({name})")
        if name.startswith("s_axi_"):
            outer.append(f"    {'input' if member.flow is In else 'output'} {vector}")
            continue
        wires.append(f"    {vector};")
        channel = name.removeprefix("m_axi_")
        if channel in MEMORY_PORTS:
            memory.append(f"        .{channel}({name})")
    return _WRAPPER.substitute(
        top=TOP, tile=tile.name, ports=",\n".join(outer), wires="\n".join(wires),
        connections=",\n".join(connections),
        memory=model_instance(tile.memory_controller) if tile.native else _AXI4_MEMORY.substitute(
            address_bits=tile.axi4.address_bits, atom_bits=tile.atom_bits, latency=MEMORY_LATENCY,
            connections=",\n".join(memory)),
        host=(_HOST_TRAFFIC if traffic else _HOST_READER).substitute(
            index_bits=tile.memory_controller.index_bits, atom_bits=tile.atom_bits,
            address_bits=tile.host_port.address_bits,
            connections=",\n".join(host_connections)) if tile.native else "")


def simulate(tile: Tile, image: NDArray[np.uint8], commands: list[Command],
             folder: Path | None = None, vcd: Path | None = None,
             progress: Callable[[int], None] | None = None, trace: Path | None = None,
             accesses: Path | None = None, host: Traffic | None = None,
             faults: str = "", reads: Sequence[HostRead] = (),
             netlist: str | None = None) -> SystemRun:
    """Execute ``commands`` on the simulated tile; ``image`` is its memory, changed in place.

    A native tile has a whole pseudo-channel, of which ``image`` is the beginning, and every DRAM
    command is checked. ``trace`` gets its DRAM commands and ``accesses`` its loads and stores; see
    :func:`tb.dram_model.model_arguments`.

    With ``host``, its ``host`` requester is random traffic at the host port of a native tile while
    the commands run, every answer judged; it must stay away from the atoms that the commands write.
    ``faults`` are wrong bits in the DRAM, as :func:`tb.dram_model.model_arguments` has them.
    ``reads`` are what a host reads that takes one answer per cycle; without ``host`` only.

    ``netlist`` is Verilog that takes the place of the tile's RTL, under the tile's name.

    ``progress`` is called now and then with the atoms read so far. ``vcd`` gets the waveform.
    Waveform and traces are also kept of a simulation that failed. The log stays in ``folder``;
    without one, only if it failed.

    :Errors: :class:`tb.simulator.SimulationFailed` when the tile does not do its work,
        :class:`tb.simulator.SimulatorError` when the simulation cannot be built or run,
        ``ValueError`` for a trace of a tile that sends no DRAM commands.
    """
    if not tile.native and (trace or accesses):
        raise ValueError(f"{tile.name} sends no DRAM commands that could be traced: its memory is "
                         "behind AXI4")
    executable = _system(tile.model_dump_json(), vcd is not None, host is not None,
                         build_directory(), netlist)
    place = folder or build_directory() / "runs" / f"{tile.name}-{os.getpid()}"
    place.mkdir(parents=True, exist_ok=True)
    with (_written(vcd) as waveform, _written(trace) as trace_to,
          _written(accesses) as accesses_to):
        done = _run(executable, tile, image, commands, place, waveform, trace_to, accesses_to,
                    progress, host, faults, reads)
    if folder is None:
        shutil.rmtree(place, ignore_errors=True)
    return done


@cache
def _system(text: str, trace: bool, host: bool, build: Path, netlist: str | None = None) -> Path:
    """The simulation of a tile (as JSON) and its memory, generated once per process."""
    tile = Tile.model_validate_json(text)
    here = Path(__file__).parent.parent / "tb"
    component = TileComponent(tile)
    return build_simulation(
        _wrapper(tile, component, host) + (netlist or unit_verilog(component, tile.name)), TOP,
        sources=(HOST_TRAFFIC_SOURCES if host else (*SOURCES, here / "host_reader.sv")
                 if tile.native else (here / "axi4_memory.sv",)),
        models=(TRAFFIC_MODELS if host else (*MODELS, here / "host_reader.cpp")
                if tile.native else (here / "axi4_memory.cpp",)),
        # With a waveform, the time goes into writing it.
        # A netlist's takes far longer to compile than to run.
        trace=trace, optimise="-O0" if netlist else "-O1" if trace else "-O2")


def _run(executable: Path, tile: Tile, image: NDArray[np.uint8], commands: list[Command],
         folder: Path, waveform: Path | None, trace: Path | None, accesses: Path | None,
         progress: Callable[[int], None] | None, host: Traffic | None, faults: str,
         reads: Sequence[HostRead]) -> SystemRun:
    memory, answer, atoms = folder / "memory.bin", folder / "answer.json", folder / "atoms"
    counts = folder / "dram_commands"
    for path in (answer, atoms, counts):
        path.unlink(missing_ok=True)
    job = folder / "job.json"
    job.write_text(json.dumps({"commands": [command.pack() for command in commands],
                               "bytes": image.size, "answer": str(answer), "atoms": str(atoms),
                               "reads": [(read.command, read.during) for read in reads]}))

    options: tuple[str, ...] = (f"+memory={memory}",)
    if tile.native:
        wrong_bits = folder / "faults"
        wrong_bits.write_text(faults)
        options = model_arguments(tile.memory_controller, folder, memory, trace=trace,
                                  accesses=accesses, counts=counts, faults=wrong_bits)
    if host is not None:
        traffic = folder / "traffic"
        traffic.write_text(traffic_text(host, tile.memory_controller))
        options += (f"+traffic={traffic}",)
    host_reads, host_answers = folder / "host_reads", folder / "host_answers"
    if tile.native and host is None:
        host_reads.write_text("".join(f"{read.address} {read.atoms}\n" for read in reads))
        options += (f"+host_reads={host_reads}", f"+host_answers={host_answers}")
    if waveform is not None:
        options += ("--trace", "--trace-file", str(waveform))

    def poll() -> None:
        if progress is not None and atoms.exists():
            text = atoms.read_text()
            if text:
                progress(int(text))

    try:
        image.tofile(memory)
        result = run_simulation(
            executable, "tb.system", seed=0, folder=folder, poll=poll,
            arguments=options,
            environment={"PNMTILE_PARAMS": tile.model_dump_json(), "PNMTILE_JOB": str(job)})
        if not result.passed or not answer.exists():
            words = "; ".join(text.strip() for text in result.tests.values() if text)
            raise SimulationFailed(f"the simulated tile failed: {words or 'no test ran'}\n"
                                   f"log: {folder / 'simulation.log'}")
        image[:] = np.fromfile(memory, np.uint8, image.size)
    finally:
        memory.unlink(missing_ok=True)
    said = json.loads(answer.read_text())
    return SystemRun(errors=[(tag, ErrorCode(code)) for tag, code in said["errors"]],
                     counters=Counters(**said["counters"]), corrected=said["corrected"],
                     uncorrectable=said["uncorrectable"],
                     dram_commands=read_counts(counts) if tile.native else None,
                     answers=_answers(host_answers) if reads else ())


def _answers(file: Path) -> tuple[HostAnswer, ...]:
    """Read what ``tb/host_reader.cpp`` wrote."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return tuple(HostAnswer(bytes.fromhex(data), int(cycles), int(errors))
                 for cycles, errors, data in lines)


@contextmanager
def _written(file: Path | None) -> Iterator[Path | None]:
    """Where to write a file that takes its name when the simulation has ended, failed or not."""
    if file is None:
        yield None
        return
    place = file.resolve()
    partial = place.with_name(f".writing-{place.name}")
    try:
        yield partial
        partial.replace(place)
    except SimulationFailed:
        if partial.exists():
            partial.replace(place)
        raise
    finally:
        partial.unlink(missing_ok=True)
