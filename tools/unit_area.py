"""Area, memories and delay of every unit of a mapped netlist."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tools.console import UserError
from tools.liberty import Library
from tools.memory_model import MemoryChoice
from tools.synthesis_report import MemoryArea, UnitArea, UnitDelay
from tools.timing import CombinationalLoopError, module_delay

__all__ = ["unit_areas"]


def unit_areas(modules: Mapping[str, Any], top: str, library: Library,
               choices: Mapping[tuple[str, str], MemoryChoice], slacks: Mapping[str, float | None]
               ) -> tuple[tuple[UnitArea, ...], tuple[MemoryArea, ...]]:
    """The rows of all units, the top first, and of all memories.

    ``choices`` is what stands for each memory, by module and cell; ``slacks`` are those of units.

    :Errors: ``UserError`` for a cell whose area nothing tells.
    """
    tree = _Tree(modules, library, choices, slacks)
    units = list(tree.rows(top, (top,), 0))
    whole = units[0].total_ge
    return (tuple(replace(unit, share=unit.total_ge / whole if whole else 0.0) for unit in units),
            tuple(tree.memories))


class _Tree:
    """The hierarchy of a mapped netlist."""

    def __init__(self, modules: Mapping[str, Any], library: Library,
                 choices: Mapping[tuple[str, str], MemoryChoice],
                 slacks: Mapping[str, float | None]) -> None:
        self.modules = modules
        self.library = library
        self.technology = library.technology
        self.choices = choices
        self.slacks = slacks
        self.memories: list[MemoryArea] = []
        self._delays: dict[str, UnitDelay] = {}

    def rows(self, module: str, paths: tuple[str, ...], depth: int) -> Iterator[UnitArea]:
        """The row of one module, of the instances in ``paths``, then those of the modules inside.
        """
        path, instances = paths[0], len(paths)
        area, cells, flops = 0.0, 0, 0
        memories: list[MemoryChoice] = []
        children: dict[str, list[str]] = {}
        for name, cell in self.modules[module]["cells"].items():
            kind = cell["type"]
            if kind in self.library.cells:
                found = self.library.cells[kind]
                area, cells, flops = area + found.area, cells + 1, flops + found.flop
            elif kind in self.modules:
                children.setdefault(kind, []).append(name)
            elif kind == "$mem_v2":
                memories.append(self.choices[module, name])
            elif kind != "$scopeinfo":
                raise UserError(f"unit {path}: nothing in the library {self.library.name} "
                                f"implements {kind} ({name}), so its area is not known")
        for memory in memories:
            shape = memory.shape
            self.memories.append(MemoryArea(
                path=path, name=shape.name, instances=instances, words=shape.words,
                width=shape.width, read_ports=shape.read_ports, write_ports=shape.write_ports,
                registered_read_ports=shape.registered_ports, bits=shape.bits * instances,
                kind=shape.kind, choice=memory.what, origin=memory.origin,
                ge=_round(memory.ge * instances),
                um2=None if memory.um2 is None else _round(memory.um2 * instances),
                access=self._time(memory.times.access_ps if shape.registered_ports else
                                  memory.times.flow_ps),
                read_setup=self._time(memory.times.read_setup_ps),
                write_setup=self._time(memory.times.write_setup_ps)))
        inside: list[UnitArea] = []
        direct: list[UnitArea] = []
        for kind, names in sorted(children.items(), key=lambda item: item[1][0]):
            below = list(self.rows(kind, tuple(f"{one}.{name}" for one in paths
                                               for name in sorted(names)), depth + 1))
            direct.append(below[0])
            inside += below
        ge = _round(instances * area / self.library.nand2.area)
        um2 = _round(instances * area) if self.technology else None
        bits = instances * sum(memory.shape.bits for memory in memories)
        memory_ge = _round(instances * sum(memory.ge for memory in memories))
        yield UnitArea(
            path=path, module=module, depth=depth, instances=instances, cells=cells * instances,
            flops=flops * instances, own_ge=ge, own_um2=um2, own_memory_bits=bits,
            own_memory_ge=memory_ge,
            total_cells=cells * instances + sum(unit.total_cells for unit in direct),
            total_flops=flops * instances + sum(unit.total_flops for unit in direct),
            total_ge=_round(ge + sum(unit.total_ge for unit in direct)),
            total_um2=None if um2 is None else
            _round(um2 + sum(unit.total_um2 or 0.0 for unit in direct)),
            total_memory_bits=bits + sum(unit.total_memory_bits for unit in direct),
            total_memory_ge=_round(memory_ge + sum(unit.total_memory_ge for unit in direct)),
            share=0.0, delay=self._delay(module),
            slack=min((slack for one in paths if (slack := self.slacks.get(one)) is not None),
                      default=None))
        yield from inside

    def _time(self, ps: float) -> float:
        return round(ps if self.technology else ps / self.library.fo4[0], 2)

    def _delay(self, module: str) -> UnitDelay:
        unit = "ps" if self.technology else "FO4"
        if module not in self._delays:
            try:
                found = module_delay(self.modules[module], self.library)
                reason = "the unit has no path through cells of its own"
            except CombinationalLoopError as error:
                found, reason = None, str(error)
            if found is None:
                self._delays[module] = UnitDelay(None, unit, None, None, reason)
            else:
                self._delays[module] = UnitDelay(self._time(found.ps), unit, found.start,
                                                 found.end, None)
        return self._delays[module]


def _round(value: float) -> float:
    return round(value, 3)
