"""Traffic in front of a memory controller and its DRAM: random or sequential, every answer judged.

``tb/memory_traffic.sv`` has the two requesters, ``tb/dram_model.sv`` the DRAM; nothing of Python
runs while they do, so that a million cycles take seconds.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge

from spec.memory_units import MemoryControllerParams
from tb.bench import PERIOD_NS
from tb.dram_model import MODELS, SOURCES, model_instance, port_bits

__all__ = ["HOST_TRAFFIC_SOURCES", "TRAFFIC_MODELS", "TRAFFIC_SOURCES", "Accesses", "Requester",
           "Traffic", "traffic_finishes", "traffic_text", "traffic_top"]

_HERE = Path(__file__).parent

TRAFFIC_SOURCES = (*SOURCES, _HERE / "memory_traffic.sv")
HOST_TRAFFIC_SOURCES = (*TRAFFIC_SOURCES, _HERE / "host_traffic.sv")
TRAFFIC_MODELS = (*MODELS, _HERE / "memory_traffic.cpp")

# Cycles without an end after which the traffic is given up.
CYCLES_MAX = 20_000_000


@dataclass(frozen=True)
class Accesses:
    """``count`` atoms from ``first`` on, in order or at random within ``span`` of them."""

    count: int = 0
    first: int = 0
    span: int = 1
    random: bool = False
    idle: float = 0.0


@dataclass(frozen=True)
class Requester:
    """One requester. ``stall``: how often it does not take an answer. ``partial``: how often a
    write has only some bytes. ``ratio``: reads per write, when both go hand in hand."""

    reads: Accesses = field(default_factory=Accesses)
    writes: Accesses = field(default_factory=Accesses)
    stall: float = 0.0
    partial: float = 0.0
    ratio: int = 0


@dataclass(frozen=True)
class Traffic:
    """What the tile and the host want, and from which seed they draw."""

    tile: Requester = field(default_factory=Requester)
    host: Requester = field(default_factory=Requester)
    seed: int = 1


def traffic_text(traffic: Traffic, params: MemoryControllerParams) -> str:
    """Write traffic as ``tb/memory_traffic.cpp`` reads it."""
    lines = [f"atom {params.atom_bits // 8}", f"seed {traffic.seed}"]
    for who, one in enumerate((traffic.tile, traffic.host)):
        for kind, plan in (("reads", one.reads), ("writes", one.writes)):
            pattern = "random" if plan.random else "sequential"
            lines.append(f"{kind} {who} {plan.count} {pattern} {plan.first} {plan.span} "
                         f"{plan.idle}")
        lines += [f"answers {who} {one.stall}", f"partial {who} {one.partial}",
                  f"ratio {who} {one.ratio}"]
    return "\n".join([*lines, ""])


def traffic_top(params: MemoryControllerParams, controller: str) -> str:
    """Write the module ``memory_system``: requesters, the module ``controller``, DRAM."""
    index, atom = params.index_bits, params.atom_bits
    widths = {"read__payload": index, "read__valid": 1, "read__ready": 1,
              "data__payload": params.read_item_bits, "data__valid": 1, "data__ready": 1,
              "write__payload": index + atom + atom // 8, "write__valid": 1, "write__ready": 1,
              "written__valid": 1}
    streams = {f"{who}_{name}": bits for who in ("tile", "host") for name, bits in widths.items()}
    dram = port_bits(params)

    def wires(names: dict[str, int]) -> str:
        return "".join(f"    logic [{bits - 1}:0] {name};\n" for name, bits in names.items())

    def connect(names: dict[str, int]) -> str:
        return "".join(f", .{name}({name})" for name in names)

    words = {"corrected": (atom // 64).bit_length()}
    return (f"module memory_system (input logic clk, input logic rst, output logic finished);\n"
            f"{wires(streams)}{wires(dram)}{wires(words)}"
            f"    {controller} controller (.clk(clk), .rst(rst), .corrected(corrected)"
            f"{connect(streams)}{connect(dram)});\n"
            f"    memory_traffic #(.INDEX_BITS({index}), .ATOM_BITS({atom})) traffic "
            f"(.clk(clk), .rst(rst), .finished(finished), .corrected(4'(corrected))"
            f"{connect(streams)});\n"
            f"{model_instance(params)}endmodule\n")


@cocotb.test()
async def traffic_finishes(dut):
    """The traffic comes to its end."""
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    end = RisingEdge(dut.finished)
    assert await First(end, ClockCycles(dut.clk, CYCLES_MAX)) is end, (
        f"the traffic had no end within {CYCLES_MAX} cycles")
