"""The power of a tile's netlist at work: measured, and as a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spec.tile import Tile
from tools.activity import Waveform
from tools.cell_models import cell_groups
from tools.console import UserError
from tools.gate_level import simulation_netlist
from tools.gate_netlist import GateNetlist, read_gates, visible_names
from tools.liberty import Library
from tools.power_estimate import UnitPower, estimate, unit_powers
from tools.power_tables import PowerLibrary, read_power
from tools.power_workload import (
    Workload, WorkloadName, gemv_workload, quantize_workload,
)
from tools.simulation import simulate

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["NOT_INCLUDED", "WorkloadPower", "measure_power", "render"]

NOT_INCLUDED = (
    "wires: nets have the capacitance of the pins on them",
    "the clock tree: the clock's pins count, buffers and wires before them do not",
    "glitches: gates have no delay, so a net changes once per cycle at most",
    "memories (buffers and queues): no cell library holds their arrays; their output registers "
    "and decoders are in none of the numbers either",
    "pads, PHY and DRAM",
)
_MAKE: Mapping[WorkloadName, Callable[[Tile], Workload]] = {
    "gemv": gemv_workload, "quantize": quantize_workload}


@dataclass(frozen=True)
class WorkloadPower:
    """The power of a tile during one workload, at its clock target.

    ``work`` of ``unit`` was done in ``cycles``; ``held`` says that the netlist's results were
    the golden model's.
    """

    workload: WorkloadName
    what: str
    held: bool
    clock_mhz: float
    cycles: int
    work: int
    unit: str
    voltage: float
    units: tuple[UnitPower, ...]

    @property
    def joule_per_work(self) -> float:
        """Energy of a MAC or byte, all of the tile and leakage included."""
        return self.units[0].total.total * self.cycles / (self.clock_mhz * 1e6) / self.work

    def share(self, unit: str) -> float:
        """The part of the total that units of a name take, with what is inside them."""
        return sum(row.total.total for row in self.units
                   if row.path.rpartition(".")[2] == unit) / self.units[0].total.total

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        origin = "simulated activity, energies of the library"
        total = self.units[0].total
        return {
            "workload": self.workload, "what": self.what, "equals_golden": self.held,
            "clock_mhz": self.clock_mhz, "cycles": self.cycles, "voltage_v": self.voltage,
            f"{self.unit}s": self.work,
            "energy": {"value": self.joule_per_work * 1e12, "unit": f"pJ per {self.unit}",
                       "origin": origin},
            "power": {name: {"value": getattr(total, name), "unit": "W", "origin": origin}
                      for name in ("total", "switching", "internal", "leakage", "clock")},
            "units": [{"path": row.path, "module": row.module, "gates": row.gates,
                       **{f"{kind}_{name}_w": getattr(power, name)
                          for kind, power in (("own", row.own), ("total", row.total))
                          for name in ("total", "switching", "internal", "leakage", "clock")}}
                      for row in self.units],
        }


def measure_power(tile: Tile, netlist: str, library: Library, files: Sequence[Path],
                  workloads: Sequence[WorkloadName], out: Path,
                  progress: Callable[[str], None] | None = None) -> list[WorkloadPower]:
    """Simulate a tile's netlist at work and add up the power of its gates.

    ``files`` are those of ``library``. ``out`` gets the waveforms while they are read.

    :Errors: ``UserError`` for a library without power data and for tiles that cannot be measured;
        those of :func:`tools.simulation.simulate`.
    """
    tell = progress or (lambda text: None)
    if tile.native:
        raise UserError(f"the memory of {tile.name} is native; power is measured of tiles behind "
                        "AXI4 (memory.interface = \"axi4\")")
    cells = cell_groups(library)
    named = visible_names(netlist)
    tell("reading the netlist")
    gates = read_gates(named, tile.name, cells, out, progress)
    tell("reading the library's power data")
    power = read_power(files, {gate.cell for gate in gates.gates})
    text = simulation_netlist(named, cells)
    return [_measure(tile, _MAKE[name](tile), text, gates, power, library, out, tell)
            for name in workloads]


def _measure(tile: Tile, workload: Workload, text: str, gates: GateNetlist, power: PowerLibrary,
             library: Library, out: Path, tell: Callable[[str], None]) -> WorkloadPower:
    tell(f"simulating {workload.name} on the gates")
    vcd = out / f"{workload.name}.vcd"
    before = workload.job.image.copy()
    try:
        done = simulate(tile, workload.job.image, workload.job.commands, netlist=text, vcd=vcd)
        tell("counting toggles")
        waveform = Waveform(vcd)
        begin, end, work = workload.window(waveform.transfers(
            "system.clk", "system.m_axi_rvalid", "system.m_axi_rready"))
        toggles = waveform.toggles(begin, end)
    finally:
        vcd.unlink(missing_ok=True)
    cycles = toggles["system.clk"][0][0]
    found = estimate(gates, power, library.cells, _net_toggles(gates, toggles),
                     cycles / (tile.clock_mhz * 1e6), library.fo4[1])
    return WorkloadPower(
        workload.name, workload.what,
        not done.errors and workload.right(before, workload.job.image, tile), tile.clock_mhz,
        cycles, work, workload.unit, power.voltage, tuple(unit_powers(gates, found)))


def _net_toggles(gates: GateNetlist, toggles: Mapping[str, list[tuple[int, int]]]
                 ) -> list[tuple[float, float]]:
    """The toggles of every net, by whichever of its names the waveform has."""
    found: list[tuple[float, float]] = []
    used = {net for gate in gates.gates for net in gate.nets.values()}
    for net, names in enumerate(gates.names):
        counts = next((bits[place] for name, place in names
                       for bits in (toggles.get(f"system.tile{name.removeprefix(gates.top)}"),)
                       if bits is not None and place < len(bits)), None)
        assert counts is not None or net not in used or not names, names
        found.append(counts or (0, 0))
    return found


def render(power: WorkloadPower) -> "Table":
    """The power of every unit as a table for people."""
    from rich.table import Table

    total = power.units[0].total
    table = Table(
        title=f"{power.workload}: {power.joule_per_work * 1e12:.4g} pJ per {power.unit}, "
        f"{total.total * 1e3:.4g} mW at {power.clock_mhz:g} MHz and {power.voltage:g} V",
        caption=f"{power.what}; {power.cycles} cycles. Activity: simulated on the gates; energies: "
        "the library's.")
    table.add_column("unit", no_wrap=True)
    for name in ("gates", "own mW", "total mW", "share", "switching", "internal", "leakage",
                 "of it clock"):
        table.add_column(name, justify="right")
    for row in power.units:
        whole = row.total
        table.add_row(
            "  " * row.path.count(".") + row.path.rpartition(".")[2], f"{row.gates:,}",
            *(f"{value * 1e3:.4f}" for value in (row.own.total, whole.total)),
            f"{whole.total / total.total:.1%}",
            *(f"{value * 1e3:.4f}" for value in (whole.switching, whole.internal, whole.leakage,
                                                 whole.clock)))
    return table
