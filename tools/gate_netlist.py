"""A gate-level netlist as one flat list of gates, whose nets keep the names that a waveform has."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cell_models import cell_models, cells_of
from tools.console import UserError
from tools.liberty_text import Group
from tools.yosys import run_yosys

__all__ = ["Gate", "GateNetlist", "read_gates", "visible_names"]

_HIDDEN = re.compile(r"(?<![\w\\$.])_(\d+)_(?!\w)")


def visible_names(netlist: str) -> str:
    """The netlist with names for the nets that have none: simulators do not record ``_12_``."""
    return _HIDDEN.sub(r"net_\1_", netlist)


@dataclass(frozen=True, slots=True)
class Gate:
    """A library cell in the unit of a path; its pins' nets (constants are left out)."""

    cell: str
    unit: str
    name: str
    nets: dict[str, int]


@dataclass(frozen=True)
class GateNetlist:
    """All gates below ``top``. ``names`` are a net's names, each with the bit of its vector;
    ``units`` are the module of every path, in the order of the hierarchy."""

    top: str
    gates: list[Gate]
    names: list[list[tuple[str, int]]]
    units: dict[str, str]


def read_gates(netlist: str, top: str, cells: Mapping[str, Group], out: Path,
               progress: Callable[[str], None] | None = None) -> GateNetlist:
    """Read a netlist as yosys writes it; paths begin with ``top``.

    :Errors: ``UserError`` when yosys cannot read it.
    """
    used = cells_of(netlist, cells)
    folder = Path(tempfile.mkdtemp(prefix=".gates-", dir=out))
    try:
        (folder / "netlist.v").write_text(netlist, encoding="utf-8")
        (folder / "models.v").write_text(cell_models(cells, used), encoding="utf-8")
        run_yosys("\n".join(["read_verilog -lib models.v", "read_verilog -sv netlist.v",
                             f"hierarchy -top {top}", "proc", "write_json netlist.json", ""]),
                  folder, progress)
        modules = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))["modules"]
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _Flat(modules, top, used).netlist()


class _Flat:
    """The hierarchy dissolved: nets that ports join have one number."""

    def __init__(self, modules: Mapping[str, Any], top: str, cells: set[str]) -> None:
        self.modules, self.top, self.cells = modules, top, cells
        self.parents: list[int] = []
        self.found: list[tuple[str, str, str, dict[str, int]]] = []
        self.names: list[tuple[int, str, int]] = []
        self.units: dict[str, str] = {}
        self._visit(top, top, {})

    def netlist(self) -> GateNetlist:
        """The flat netlist."""
        names: list[list[tuple[str, int]]] = [[] for _ in self.parents]
        for net, name, place in self.names:
            names[self._root(net)].append((name, place))
        return GateNetlist(self.top, [
            Gate(cell, unit, name, {pin: self._root(net) for pin, net in nets.items()})
            for cell, unit, name, nets in self.found], names, self.units)

    def _root(self, net: int) -> int:
        while self.parents[net] != net:
            self.parents[net] = self.parents[self.parents[net]]
            net = self.parents[net]
        return net

    def _visit(self, kind: str, path: str, outside: Mapping[str, list[int | None]]) -> None:
        module = self.modules[kind]
        local: dict[int, int] = {}
        self.units[path] = kind

        def net(bit: int | str) -> int | None:
            if isinstance(bit, str):
                return None
            if bit not in local:
                local[bit] = len(self.parents)
                self.parents.append(len(self.parents))
            return local[bit]

        for name, described in module["netnames"].items():
            for place, bit in enumerate(described["bits"]):
                number = net(bit)
                if number is not None:
                    self.names.append((number, f"{path}.{name.removeprefix(chr(92))}", place))
        for port, described in module["ports"].items():
            for bit, other in zip(described["bits"], outside.get(port, ()), strict=False):
                number = net(bit)
                if number is not None and other is not None:
                    self.parents[self._root(number)] = self._root(other)
        for name, cell in module["cells"].items():
            joined = {pin: [net(bit) for bit in bits] for pin, bits in cell["connections"].items()}
            if cell["type"] in self.cells:
                self.found.append((cell["type"], path, name, {
                    pin: bits[0] for pin, bits in joined.items()
                    if bits and bits[0] is not None}))
            elif cell["type"] in self.modules:
                self._visit(cell["type"], f"{path}.{name}", joined)
