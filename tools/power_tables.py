"""Power data of cell libraries: energies of transitions, leakage, pin capacitances.

Energies of Liberty's ``internal_power`` are in its unit of capacitance times its unit of voltage
squared, and do not hold the charging of the load. Where tables are given per rail, those of the
supplies count: what a ground rail's tables hold is the same charge on its way out.
"""

import gzip
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from tools.boolean import evaluate, names
from tools.console import UserError
from tools.liberty import Table
from tools.liberty_text import Group, parse_groups

__all__ = ["CellPower", "PowerArc", "PowerLibrary", "parse_power",
           "read_power"]

_SI = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_UNIT = re.compile(r"([0-9.eE+-]+)\s*([munpf]?)[WVsfF]?$")


@dataclass(frozen=True)
class PowerArc:
    """One ``internal_power`` group: energy in J of a pin's rise and fall.

    It holds for a share of the cell's states: ``held`` of those in which its state does not change
    at the next clock edge, ``changing`` of the others (equal for cells without state). ``related``
    is the input that causes the transition, None for an input's own energy.
    """

    related: str | None
    rise: Table | None
    fall: Table | None
    held: float
    changing: float

    def share(self, changing: float) -> float:
        """The share of states, where ``changing`` of them change at the next edge."""
        return (1 - changing) * self.held + changing * self.changing


@dataclass
class CellPower:
    """A cell: leakage in W, pins' capacitance in F, and energies by pin."""

    name: str
    leakage: float | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    capacitance: dict[str, float]
    arcs: dict[str, list[PowerArc]]
    clock: str | None


@dataclass
class PowerLibrary:
    """The power data of a library; ``voltage`` in V."""

    name: str
    voltage: float
    cells: dict[str, CellPower] = field(default_factory=dict)


def read_power(files: Sequence[Path], cells: Collection[str], grounds: bool = False
               ) -> PowerLibrary:
    """Read the power data of some cells of a library's files.

    ``grounds``: count tables of ground rails, too.

    :Errors: ``UserError`` for files that cannot be read, units or a voltage that are missing or
        differ between the files, a cell that is not there, and a library without power data.
    """
    texts = []
    for path in files:
        try:
            content = path.read_bytes()
            text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        except (OSError, EOFError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None
        texts.append((path.name, text.decode("utf-8", errors="replace")))
    return parse_power(texts, cells, grounds)


def parse_power(texts: Sequence[tuple[str, str]], cells: Collection[str],
                grounds: bool = False) -> PowerLibrary:
    """As :func:`read_power`, of texts with the names that errors show."""
    found: PowerLibrary | None = None
    for file, text in texts:
        group = parse_groups(file, text, power=cells)[0]
        voltage = _number(file, group, "nom_voltage") * _unit(file, group, "voltage_unit")
        if found is None:
            found = PowerLibrary(group.name, voltage)
        elif found.voltage != voltage:
            raise UserError(f"{file}: nom_voltage is {voltage:g} V, that of {texts[0][0]} "
                            f"{found.voltage:g} V; give files of one corner")
        reader = _Reader(file, group, grounds)
        for cell in group.of("cell"):
            found.cells.setdefault(cell.name, reader.cell(cell))
    assert found is not None
    missing = sorted(set(cells) - set(found.cells))
    if missing:
        raise UserError(f"the Liberty library {found.name} has no cell {missing[0]}")
    if not any(cell.leakage or any(cell.arcs.values()) for cell in found.cells.values()):
        raise UserError(f"the Liberty library {found.name} has no power data (internal_power, "
                        "leakage); give the files of a library that has")
    return found


def _number(file: str, group: Group, name: str) -> float:
    try:
        return float(group.get(name))
    except ValueError:
        raise UserError(f"{file}: {name} is {group.get(name)!r}; power needs a number") from None


def _unit(file: str, group: Group, name: str) -> float:
    match = _UNIT.fullmatch(group.get(name).replace(" ", ""))
    if match is None:
        raise UserError(f"{file}: {name} is {group.get(name)!r}; power needs it, as in 1V, 1nW")
    return float(match[1]) * _SI[match[2]]


class _Reader:
    """One file's units and templates."""

    def __init__(self, file: str, library: Group, grounds: bool) -> None:
        self.file, self.library, self.grounds = file, library, grounds
        load = [word.strip(' "').lower() for word in
                library.get("capacitive_load_unit", "").split(",")]
        if len(load) != 2 or load[1] not in ("ff", "pf"):
            raise UserError(f"{file}: capacitive_load_unit is {', '.join(load)!r}; "
                            "a number and ff or pf are needed")
        self.farad = float(load[0]) * _SI[load[1][0]]
        self.second = _unit(file, library, "time_unit")
        self.joule = self.farad * _unit(file, library, "voltage_unit") ** 2
        self.templates = {group.name: group for group in library.of("power_lut_template")}

    @cached_property
    def watt(self) -> float:
        """The unit of leakage."""
        return _unit(self.file, self.library, "leakage_power_unit")

    def cell(self, group: Group) -> CellPower:
        pins = [pin for pin in group.of("pin") if pin.get("direction") in ("input", "output")]
        supplies = {pin.name for pin in group.of("pg_pin") if "ground" in pin.get("pg_type")}
        states = _States(group, pins)
        clocked = next(iter(group.of("ff")), None)
        clocks = names(clocked.get("clocked_on")) if clocked else set()
        return CellPower(
            group.name, self._leakage(group, supplies, states),
            tuple(pin.name for pin in pins if pin.get("direction") == "input"),
            tuple(pin.name for pin in pins if pin.get("direction") == "output"),
            {pin.name: self._capacitance(pin) for pin in pins},
            {pin.name: list(self._arcs(pin, supplies, states)) for pin in pins},
            next(iter(clocks), None))

    def _capacitance(self, pin: Group) -> float:
        edges = [float(pin.get(name)) for name in ("rise_capacitance", "fall_capacitance")
                 if name in pin.values]
        value = sum(edges) / 2 if len(edges) == 2 else float(pin.get("capacitance", "0"))
        return value * self.farad

    def _leakage(self, group: Group, grounds: set[str], states: "_States") -> float | None:
        """The mean over the cell's states; groups without condition hold for the others."""
        weighted = weights = 0.0
        default = None
        for leak in group.of("leakage_power"):
            if leak.get("related_pg_pin") in grounds:
                continue
            value = float(leak.get("value"))
            if leak.get("when"):
                share = states.share(leak.get("when"), 0.5)
                weighted, weights = weighted + share * value, weights + share
            else:
                default = value
        if default is None and "cell_leakage_power" in group.values:
            default = float(group.get("cell_leakage_power"))
        if weights > 0.999:
            return weighted / weights * self.watt
        if default is not None:
            return (weighted + (1 - weights) * default) * self.watt
        return weighted / weights * self.watt if weights else None

    def _arcs(self, pin: Group, grounds: set[str], states: "_States") -> Iterator[PowerArc]:
        found = [(group.get("related_pin"), group.get("related_pg_pin"), group)
                 for group in pin.of("internal_power")
                 if self.grounds or group.get("related_pg_pin") not in grounds]
        for related, rail, group in found:
            when = group.get("when")
            if when:
                held, changing = states.shares(when)
            else:  # What the conditions of the same kind leave.
                others = [states.shares(other.get("when")) for other_related, other_rail, other in
                          found if (other_related, other_rail) == (related, rail)
                          and other.get("when")]
                held = max(0.0, 1 - sum(share for share, _ in others))
                changing = max(0.0, 1 - sum(share for _, share in others))
            tables = {edge: self._table(table) for edge in ("rise", "fall")
                      for table in group.of(f"{edge}_power", "power")}
            causes: list[str | None] = [*related.split()]
            for name in causes or [None]:
                yield PowerArc(name, tables.get("rise"), tables.get("fall"), held, changing)

    def _table(self, group: Group) -> Table:
        values = tuple(value * self.joule for value in group.numbers("values"))
        template = self.templates.get(group.name, group)
        axes = {}
        for number in "12":
            axis = group.numbers(f"index_{number}") or template.numbers(f"index_{number}")
            if axis:
                axes[template.get(f"variable_{number}", "input_transition_time")] = axis
        slews = next((axis for name, axis in axes.items() if "capacitance" not in name), (0.0,))
        loads = next((axis for name, axis in axes.items() if "capacitance" in name), (0.0,))
        if len(values) == 1:
            return Table((0.0,), (0.0,), (values,))
        if len(values) != len(slews) * len(loads):
            raise UserError(f"{self.file}: a power table of {group.name} has {len(values)} values "
                            f"for {len(slews)} x {len(loads)} points")
        by_load = "capacitance" in next(iter(axes)) and len(axes) > 1
        rows = tuple(values[start::len(slews)] if by_load
                     else values[start * len(loads):(start + 1) * len(loads)]
                     for start in range(len(slews)))
        return Table(tuple(slew * self.second for slew in slews),
                     tuple(load * self.farad for load in loads), rows)


class _States:
    """The states of a cell, all equally likely: its inputs, its own state, its outputs."""

    def __init__(self, cell: Group, pins: list[Group]) -> None:
        inputs = [pin.name for pin in pins if pin.get("direction") == "input"]
        storage = next(iter(cell.of("ff", "latch")), None)
        true, false = ([part.strip().strip('"') for part in storage.name.split(",")]
                       if storage else ("", ""))
        self.held: list[dict[str, int]] = []
        self.changing: list[dict[str, int]] = []
        variables = [*inputs, *([true] if storage else [])]
        for bits in product((0, 1), repeat=min(len(variables), 12)):
            values = dict(zip(variables, bits, strict=False)) | {"0": 0}
            if storage:
                values[false] = 1 - values[true]
            for pin in pins:
                if pin.get("direction") == "output":
                    values[pin.name] = _value(pin.get("function"), values)
            changes = storage is not None and storage.kind == "ff" and _value(
                storage.get("next_state"), values) != values[true]
            (self.changing if changes else self.held).append(values)

    def shares(self, when: str) -> tuple[float, float]:
        """The shares of the states that do not change, and that do, in which a condition holds."""
        held, changing = (sum(_value(when, values) for values in some) / len(some) if some else None
                          for some in (self.held, self.changing))
        return held or 0.0, changing if changing is not None else held or 0.0

    def share(self, when: str, changing: float) -> float:
        """As :meth:`shares`, both together."""
        held, other = self.shares(when)
        return (1 - changing) * held + changing * other


def _value(expression: str, values: dict[str, int]) -> int:
    try:
        return int(evaluate(expression, values, 1)) & 1
    except ValueError:
        return 0  # A function that no expression gives, such as a state table's.
