"""What a memory costs: an estimate from the literature, in gate equivalents.

Bit cell: 0.346 um2, six transistors, 45 nm (Mistry et al., IEDM 2007), over a NAND2 of 0.798 um2
(NAND2_X1 of the open Nangate 45 nm library). A read port beside the write port makes it an
eight-transistor cell, about 30 % larger (Chang et al., VLSI 2005). Each further port is one more
copy. Decoders, sense amplifiers and drivers: half of a macro's area, an assumption that suits
macros of a few kilobytes.

Memories below a compiler's smallest macro are arrays of latches: DLH_X1 of the same library, and
half an AOI22 per bit and read port. Registers that clocked read ports contain count as flops.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["BIT_CELL_GE", "Memory", "MemoryUse", "PERIPHERY_FACTOR", "memory_from_cell"]

# What stands for the memories of a design: the estimate above, flops of the library, or macros.
MemoryUse = Literal["estimate", "flops", "macro"]

BIT_CELL_GE = 0.346 / 0.798
TWO_PORT_FACTOR = 1.3
PERIPHERY_FACTOR = 2.0
LATCH_GE = 2.660 / 0.798
MUX_LEG_GE = 5 / 3 / 2
FLOP_GE = 4.522 / 0.798
SMALLEST_WORDS, SMALLEST_BITS = 32, 1024


@dataclass(frozen=True)
class Memory:
    """One memory of a unit: its shape, and what it may cost.

    ``registered_ports`` are the read ports that contain their output register.
    """

    name: str
    words: int
    width: int
    read_ports: int
    write_ports: int
    registered_ports: int

    @property
    def bits(self) -> int:
        """Stored bits."""
        return self.words * self.width

    @property
    def kind(self) -> str:
        """``bit cells`` for what a memory compiler makes, ``latches`` for smaller ones."""
        small = self.words < SMALLEST_WORDS or self.bits < SMALLEST_BITS
        return "latches" if small else "bit cells"

    @property
    def ge(self) -> float:
        """Estimated area in GE, read registers included."""
        registers = self.registered_ports * self.width * FLOP_GE
        if self.kind == "latches":
            legs = self.read_ports + max(0, self.write_ports - 1)
            return self.bits * (LATCH_GE + legs * MUX_LEG_GE) + registers
        copies = max(1, self.read_ports) * max(1, self.write_ports)
        ports = TWO_PORT_FACTOR if self.read_ports and self.write_ports else 1.0
        return self.bits * BIT_CELL_GE * ports * PERIPHERY_FACTOR * copies + registers


def memory_from_cell(cell: Mapping[str, Any]) -> Memory:
    """Read a ``$mem_v2`` cell of a yosys JSON netlist."""
    parameters = cell["parameters"]

    def number(name: str) -> int:
        return int(parameters[name], 2)

    def ones(name: str, count: int) -> int:
        return parameters[name][-count:].count("1") if count else 0

    reads, writes = number("RD_PORTS"), number("WR_PORTS")
    # A port of several words is one port: its further words are continuations.
    wide_reads = ones("RD_WIDE_CONTINUATION", reads)
    return Memory(
        name=parameters["MEMID"].lstrip("\\"), words=number("SIZE"), width=number("WIDTH"),
        read_ports=reads - wide_reads, write_ports=writes - ones("WR_WIDE_CONTINUATION", writes),
        registered_ports=ones("RD_CLK_ENABLE", reads))
