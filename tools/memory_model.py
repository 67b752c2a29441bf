"""What stands for a memory: its area, its times, and a cell with a Liberty model of them.

A macro of the library where that is asked for, otherwise an estimate. Areas are in
``tools/memory_area.py``; times are here, in FO4 of the library, and docs/timing.md explains them.

- Bit cells: 10 FO4 from the clock to the data of 16 kbit, and 1 FO4 more (or less) with each
  doubling (or halving) of the bits, 6 at least. That the delay grows by about one gate delay with
  each doubling, up to 1 Mbit, is from B. S. Amrutur and M. A. Horowitz, "Speed and Power Scaling of
  SRAM's", IEEE J. Solid-State Circuits 35(2), 2000; the 10 FO4 are an assumption. Inputs are set
  up 2 FO4 before the clock: an assumption.
- Latches: a word is selected in 4 FO4 and 2 more for each doubling of the words, a fit to flops and
  selectors of the embedded library, then stands in the output register that a clocked port has (2
  FO4 from the clock, 1 of setup). Written words are set up 3 FO4 before the clock: an assumption.
"""

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from tools.console import UserError
from tools.liberty import LibertyCell, Library, parse_cells
from tools.memory_area import Memory, memory_from_cell
from tools.memory_macro import fit

__all__ = ["MemoryChoice", "MemoryTiming", "THRESHOLDS", "choose", "estimate", "with_memory_cells"]

_READ, _WRITE = "RD_", "WR_"
# A two-way selector behind macros that share the words of a memory: an assumption.
_SELECT_FO4 = 2.0


@dataclass(frozen=True)
class MemoryTiming:
    """Times of one memory in ps, and the load of its input pins.

    ``access_ps``: from the clock to the data of a clocked port. ``flow_ps``: from the address, or
    from a written word, to the data of a port without a clock.
    """

    access_ps: float
    flow_ps: float
    read_setup_ps: float
    write_setup_ps: float
    slew_ps: float
    input_ff: float


def estimate(memory: Memory, fo4_ps: float, slew_ps: float, input_ff: float) -> MemoryTiming:
    """The estimate above for one memory, with the FO4 and the inverter of a library."""
    if memory.kind == "latches":
        select = 4.0 + 2.0 * math.log2(max(2, memory.words))
        times = (2.0, select, select + 1.0, 3.0)
    else:
        access = max(6.0, 10.0 + math.log2(memory.bits / 16384))
        times = (access, access, 2.0, 2.0)
    access_ps, flow_ps, read_ps, write_ps = (time * fo4_ps for time in times)
    return MemoryTiming(access_ps, flow_ps, read_ps, write_ps, slew_ps, input_ff)


@dataclass(frozen=True)
class MemoryChoice:
    """What stands for one memory. ``macro`` is the name of the ``count`` macros, if any.

    ``um2`` is None for an estimate; ``origin`` is where area and times come from.
    """

    shape: Memory
    what: str
    origin: str
    ge: float
    um2: float | None
    times: MemoryTiming
    macro: str | None = None
    count: int = 0


def choose(memory: Memory, place: str, library: Library, macros: bool) -> MemoryChoice:
    """What stands for a memory; ``macros``: a macro where the memory is large enough for one.

    :Errors: ``UserError`` naming the memory and the macros when none fits.
    """
    if not macros or memory.kind == "latches":
        return MemoryChoice(memory, f"{memory.kind}, estimate", "literature", memory.ge, None,
                            estimate(memory, *library.fo4, library.input_ff))
    found = fit(memory, library.macros)
    if found is None:
        known = "; ".join(f"{macro.name} has {len(macro.ports)} of which "
                          f"{sum(reads for reads, _ in macro.ports)} read and "
                          f"{sum(writes for _, writes in macro.ports)} write"
                          for macro in library.macros)
        raise UserError(
            f"{place}, {memory.words} words of {memory.width} bits, needs {memory.write_ports} "
            f"write port(s) and another that reads, and no memory macro has that: {known}; give "
            "one that does, or take --memories estimate")
    macro, (fo4_ps, slew_ps) = found.macro, library.fo4
    access = macro.access_ps + _SELECT_FO4 * found.select_levels * fo4_ps
    times = MemoryTiming(access, access, macro.setup_ps, macro.setup_ps, slew_ps, macro.input_ff)
    return MemoryChoice(memory, f"{found.count} x {macro.name}", "library",
                        found.area / library.nand2.area, found.area, times, macro.name,
                        found.count)


def with_memory_cells(modules: Mapping[str, Any], times: Mapping[tuple[str, str], MemoryTiming]
                      ) -> tuple[dict[str, Any], dict[str, LibertyCell], str]:
    """Replace the memories of a netlist by cells of single-bit pins.

    ``times`` is by module and cell name. Returns the modules, the cells, and the Liberty text that
    describes them. An input that reaches several pins of one kind (the enables of a word's bits)
    is connected, and loaded, once.
    """
    replaced: dict[str, Any] = dict(modules)
    texts: dict[tuple[str, MemoryTiming], str] = {}
    names: dict[tuple[str, MemoryTiming], str] = {}
    for module, name in times:
        cell = modules[module]["cells"][name]
        pins = [(f"{port}_{place}", port, place, bit)
                for port, bits in sorted(cell["connections"].items())
                for place, bit in enumerate(bits)]
        key = (" ".join(pin[0] for pin in pins) + cell["parameters"]["RD_CLK_ENABLE"],
               times[module, name])
        if key not in names:
            names[key] = f"memory{len(names)}"
            texts[key] = _cell(names[key], cell, times[module, name])
        connections: dict[str, list[Any]] = {}
        seen: set[tuple[str, Any]] = set()
        for pin, port, _, bit in pins:
            if (port, bit) not in seen:
                connections[pin] = [bit]
                seen.add((port, bit))
        if replaced[module] is modules[module]:
            replaced[module] = copy(modules[module])
            replaced[module]["cells"] = dict(modules[module]["cells"])
        replaced[module]["cells"][name] = {"type": names[key], "connections": connections}
    text = "\n".join(["library (memories) {", *_HEAD, *texts.values(), "}", ""])
    return replaced, parse_cells("memories", text), text


# Where on an edge delays and slews are measured, in percent of the supply.
THRESHOLDS = (
    *(f"  {side}_threshold_pct_{edge} : 50;" for side in ("input", "output")
      for edge in ("rise", "fall")),
    *(f"  slew_{place}_threshold_pct_{edge} : {share};" for place, share in (
        ("lower", 20), ("upper", 80)) for edge in ("rise", "fall")),
)
_HEAD = (
    "  delay_model : table_lookup;", '  time_unit : "1ps";', "  capacitive_load_unit (1, ff);",
    '  voltage_unit : "1V";', '  current_unit : "1mA";', '  leakage_power_unit : "1nW";',
    '  pulling_resistance_unit : "1kohm";', "  nom_process : 1;", "  nom_temperature : 25;",
    "  nom_voltage : 1;",
    *THRESHOLDS,
)


def _cell(name: str, cell: Mapping[str, Any], times: MemoryTiming) -> str:
    """One memory as a Liberty cell; its ports are in ``cell`` as yosys has them."""
    shape = memory_from_cell(cell)
    widths = {port: len(bits) for port, bits in cell["connections"].items()}
    parameters = cell["parameters"]
    reads, writes = int(parameters["RD_PORTS"], 2), int(parameters["WR_PORTS"], 2)
    # Bit i of such a parameter, counted from its end, is about port i.
    clocked = [parameters["RD_CLK_ENABLE"][-1 - port] == "1" for port in range(reads)]
    lines = [f"  cell ({name}) {{", "    area : 0;"]
    for port, width in sorted(widths.items()):
        ports = reads if port.startswith(_READ) else writes
        for place in range(width):
            one = place * ports // width if ports else 0
            lines.append(f"    pin ({port}_{place}) {{")
            if port == "RD_DATA":
                lines.append("      direction : output;")
                lines += _data(one, clocked[one], widths, shape, times)
            else:
                lines += ["      direction : input;", f"      capacitance : {times.input_ff:.6f};"]
                if port in ("RD_CLK", "WR_CLK"):
                    lines.append("      clock : true;")
                elif port.startswith(_WRITE):
                    lines += _setup(f"WR_CLK_{one}", times.write_setup_ps)
                elif clocked[one]:
                    lines += _setup(f"RD_CLK_{one}", times.read_setup_ps)
            lines.append("    }")
    return "\n".join([*lines, "  }"])


def _data(port: int, clocked: bool, widths: Mapping[str, int], shape: Memory,
          times: MemoryTiming) -> list[str]:
    """What a bit of a read port follows."""
    if clocked:
        return _arc(f"RD_CLK_{port}", "rising_edge", times.access_ps, times.slew_ps)
    address = widths["RD_ADDR"] // max(1, widths["RD_EN"])
    lines: list[str] = []
    for bit in range(port * address, (port + 1) * address):
        lines += _arc(f"RD_ADDR_{bit}", "combinational", times.flow_ps, times.slew_ps)
    for written in range(widths["WR_CLK"] if shape.write_ports else 0):
        lines += _arc(f"WR_CLK_{written}", "rising_edge", times.flow_ps, times.slew_ps)
    return lines


def _arc(related: str, kind: str, delay: float, slew: float) -> list[str]:
    tables = [f"        {table} (scalar) {{ values (\"{value:.3f}\"); }}" for table, value in (
        ("cell_rise", delay), ("cell_fall", delay), ("rise_transition", slew),
        ("fall_transition", slew))]
    return ["      timing () {", f'        related_pin : "{related}";',
            f"        timing_type : {kind};", "        timing_sense : non_unate;", *tables,
            "      }"]


def _setup(clock: str, value: float) -> list[str]:
    return ["      timing () {", f'        related_pin : "{clock}";',
            "        timing_type : setup_rising;",
            *(f"        {edge}_constraint (scalar) {{ values (\"{value:.3f}\"); }}"
              for edge in ("rise", "fall")), "      }"]
