"""The embedded technology-independent cell library, written as Liberty text.

It comes in two calibrations: ``generic`` has the areas of planar libraries (Nangate45, SKY130),
``generic-finfet`` those of FinFET ones (ASAP7). A few rules and a table give every number;
docs/area.md explains them.

- Area, planar: a cell is as wide as its transistor columns (a p and an n transistor over each
  other) plus one column to the neighbour; NAND2, three columns, is 1 GE.
- Area, FinFET: a cell is as wide as its transistor fingers plus two gate pitches; a stack of n
  transistors has n fingers each, so that all gates have an inverter's drive. 1 GE is a NAND2, six
  pitches. ``_PITCHES`` has the widths that ASAP7's cells have, breaks in their diffusion included.
- Delay: logical effort (Sutherland, Sproull, Harris, "Logical Effort", 1999). The unit ``tau`` is
  the delay of an inverter that drives an identical one, parasitics left out; a fan-out-of-4
  inverter takes 4 + 1 = 5 tau, and this is 1 FO4. On paper 1 FO4 is 1 ns and the inverter's input
  is 1 fF, so that tools which know only Liberty print FO4.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Calibration", "generic_liberty"]

Calibration = Literal["generic", "generic-finfet"]
TAU_PER_FO4 = 5.0


@dataclass(frozen=True)
class _Output:
    """An output: its function, whether it inverts (None: neither), and the parasitic delay in tau
    from each input, or from all of them."""

    function: str
    inverting: bool | None
    parasitics: dict[str, float] | float


@dataclass(frozen=True)
class _Cell:
    """A combinational cell of so many transistor columns.

    Inputs have their capacitance in those of an inverter; ``drive`` is over an inverter's.
    """

    name: str
    columns: int
    inputs: dict[str, float]
    outputs: dict[str, _Output]
    drive: float = 1


def _gate(name: str, columns: int, function: str, inputs: dict[str, tuple[float, float]],
          drive: float = 1, inverting: bool | None = True) -> _Cell:
    return _Cell(name, columns, {pin: effort for pin, (effort, _) in inputs.items()},
                 {"Y": _Output(function, inverting, {pin: parasitic for pin, (_, parasitic)
                                                     in inputs.items()})}, drive)


def _same(names: str, effort: float, parasitic: float) -> dict[str, tuple[float, float]]:
    return {name: (effort, parasitic) for name in names}


def _inverter(drive: int) -> _Cell:
    return _gate(f"INV_X{drive}", drive, "!A", _same("A", drive, 1), drive)


def _buffer(drive: int) -> _Cell:
    # A first inverter of half the size: it drives an input of twice its own.
    first = max(1, drive // 2)
    stage = drive / first + 1
    return _gate(f"BUF_X{drive}", first + drive, "A", _same("A", first, stage + 1), drive, False)


# Simple gates: g and p from the book's table; an output inverter adds its own parasitic delay and
# is a load of 1. AOI and OAI: widths for equal drive (series transistors doubled, p twice n), g =
# input width / 3, p = output diffusion / 3. XOR2 = NOR2 + AOI21, XNOR2 = NAND2 + OAI21, MUX2 =
# select inverter + AOI22 + inverter: the longest way through counts.
_GATES: tuple[_Cell, ...] = (
    _gate("NAND2_X1", 2, "!(A & B)", _same("AB", 4 / 3, 2)),
    _gate("NAND3_X1", 3, "!(A & B & C)", _same("ABC", 5 / 3, 3)),
    _gate("NAND4_X1", 4, "!(A & B & C & D)", _same("ABCD", 6 / 3, 4)),
    _gate("NOR2_X1", 2, "!(A | B)", _same("AB", 5 / 3, 2)),
    _gate("NOR3_X1", 3, "!(A | B | C)", _same("ABC", 7 / 3, 3)),
    _gate("NOR4_X1", 4, "!(A | B | C | D)", _same("ABCD", 9 / 3, 4)),
    _gate("AND2_X1", 3, "A & B", _same("AB", 4 / 3, 2 + 1 + 1), inverting=False),
    _gate("AND3_X1", 4, "A & B & C", _same("ABC", 5 / 3, 3 + 1 + 1), inverting=False),
    _gate("AND4_X1", 5, "A & B & C & D", _same("ABCD", 6 / 3, 4 + 1 + 1), inverting=False),
    _gate("OR2_X1", 3, "A | B", _same("AB", 5 / 3, 2 + 1 + 1), inverting=False),
    _gate("OR3_X1", 4, "A | B | C", _same("ABC", 7 / 3, 3 + 1 + 1), inverting=False),
    _gate("OR4_X1", 5, "A | B | C | D", _same("ABCD", 9 / 3, 4 + 1 + 1), inverting=False),
    _gate("AOI21_X1", 3, "!((A & B) | C)", {**_same("AB", 6 / 3, 7 / 3), "C": (5 / 3, 7 / 3)}),
    _gate("OAI21_X1", 3, "!((A | B) & C)", {**_same("AB", 6 / 3, 8 / 3), "C": (4 / 3, 8 / 3)}),
    _gate("AOI22_X1", 4, "!((A & B) | (C & D))", _same("ABCD", 6 / 3, 12 / 3)),
    _gate("OAI22_X1", 4, "!((A | B) & (C | D))", _same("ABCD", 6 / 3, 12 / 3)),
    _gate("AOI211_X1", 4, "!((A & B) | C | D)",
         {**_same("AB", 8 / 3, 10 / 3), **_same("CD", 7 / 3, 10 / 3)}),
    _gate("OAI211_X1", 4, "!((A | B) & C & D)",
         {**_same("AB", 7 / 3, 11 / 3), **_same("CD", 5 / 3, 11 / 3)}),
    _gate("AOI221_X1", 5, "!((A & B) | (C & D) | E)",
          {**_same("ABCD", 8 / 3, 11 / 3), "E": (7 / 3, 11 / 3)}),
    _gate("OAI221_X1", 5, "!((A | B) & (C | D) & E)",
          {**_same("ABCD", 7 / 3, 13 / 3), "E": (5 / 3, 13 / 3)}),
    _gate("OAI33_X1", 6, "!((A | B | C) & (D | E | F))", _same("ABCDEF", 8 / 3, 18 / 3)),
    _gate("XOR2_X1", 5, "A ^ B", _same("AB", 11 / 3, (5 / 3 + 2) + 7 / 3), inverting=None),
    _gate("XNOR2_X1", 5, "!(A ^ B)", _same("AB", 10 / 3, (4 / 3 + 2) + 8 / 3), inverting=None),
    _gate("MUX2_X1", 6, "(S & B) | (!S & A)",
         {**_same("AB", 6 / 3, 4 + 1 + 1), "S": (1 + 6 / 3, (2 + 1) + 4 + 1 + 1)}, inverting=None),
)
# Full adder: the mirror adder of 28 transistors, each as wide as an inverter's. Its carry stage,
# two in series, drives at 1/2 its own diffusion (2), the sum stage (1) and the output inverter (1):
# 8 tau, and 1 for that inverter; the sum stage drives at 1/2 its diffusion (2) and an inverter (1):
# 6 more. Half adder: XOR2 and AND2 side by side. Either has one gap between its transistors.
_ADDERS = (
    _Cell("FA_X1", 15, {"A": 4, "B": 4, "CI": 3}, {
        "CO": _Output("(A & B) | (CI & (A | B))", False, 8 + 1),
        "S": _Output("A ^ B ^ CI", None, 8 + 6 + 1)}),
    _Cell("HA_X1", 9, {"A": 4 / 3 + 11 / 3, "B": 4 / 3 + 11 / 3}, {
        "CO": _Output("A & B", False, 4), "S": _Output("A ^ B", None, 6)}),
)
# Gates of the FinFET calibration, where AND-OR gates with an inverter behind them are smaller than
# those without, which need more fingers.
_AND_ORS = (
    _gate("AO21_X1", 4, "(A & B) | C", {**_same("AB", 6 / 3, 7 / 3 + 2), "C": (5 / 3, 7 / 3 + 2)},
          inverting=False),
    _gate("OA21_X1", 4, "(A | B) & C", {**_same("AB", 6 / 3, 8 / 3 + 2), "C": (4 / 3, 8 / 3 + 2)},
          inverting=False),
    _gate("AO22_X1", 5, "(A & B) | (C & D)", _same("ABCD", 6 / 3, 12 / 3 + 2), inverting=False),
    _gate("OA22_X1", 5, "(A | B) & (C | D)", _same("ABCD", 6 / 3, 12 / 3 + 2), inverting=False),
    _gate("AO221_X1", 6, "(A & B) | (C & D) | E",
          {**_same("ABCD", 8 / 3, 11 / 3 + 2), "E": (7 / 3, 11 / 3 + 2)}, inverting=False),
    _gate("OA211_X1", 5, "(A | B) & C & D",
          {**_same("AB", 7 / 3, 11 / 3 + 2), **_same("CD", 5 / 3, 11 / 3 + 2)}, inverting=False),
    _gate("MAJ_X1", 6, "(A & B) | (C & (A | B))",
          {**_same("AB", 12 / 3, 12 / 3 + 2), "C": (6 / 3, 12 / 3 + 2)}, inverting=False),
)
# Adders without the inverters behind them, as FinFET libraries have them: half drive.
_INVERTED_ADDERS = (
    _Cell("FA_X1", 12, {"A": 4, "B": 4, "CI": 3}, {
        "CON": _Output("!((A & B) | (CI & (A | B)))", True, (2 + 1) * 2),
        "SN": _Output("!(A ^ B ^ CI)", None, (2 + 1) * 2 + 2 * 2)}, 1 / 2),
    _Cell("HA_X1", 7, {"A": (4 / 3 + 10 / 3) / 2, "B": (4 / 3 + 10 / 3) / 2}, {
        "CON": _Output("!(A & B)", True, 2), "SN": _Output("!(A ^ B)", None, 6)}, 1 / 2),
)
# Flops: 32 transistors (two latches, clock and output inverters), 36 with an asynchronous input;
# clock to output 2 FO4 at a load of four inverters, setup 1 FO4 (about 3 FO4 in all, as static
# master-slave flops have). Those of the FinFET calibration give the complement.
_FLOPS = (("DFF_X1", 16, None), ("DFFR_X1", 19, "clear"), ("DFFS_X1", 19, "preset"))
_FLOP_DELAY = 2 * TAU_PER_FO4 - 4
_SETUP = 1 * TAU_PER_FO4
# Widths of the cells of the FinFET calibration in gate pitches. Cells that ASAP7's flow does not
# have (NAND4, NOR4, OAI211, MUX2) are not among them.
_PITCHES = {
    "INV_X1": 3, "INV_X2": 4, "INV_X4": 6, "INV_X8": 10, "BUF_X2": 5, "BUF_X4": 7, "BUF_X8": 12,
    "NAND2_X1": 6, "NAND3_X1": 11, "NOR2_X1": 6, "NOR3_X1": 11, "AND2_X1": 6, "AND3_X1": 6,
    "AND4_X1": 7, "OR2_X1": 6, "OR3_X1": 6, "OR4_X1": 7, "AOI21_X1": 8, "OAI21_X1": 8,
    "AOI22_X1": 10, "OAI22_X1": 10, "AOI211_X1": 12, "AO21_X1": 6, "OA21_X1": 7, "AO22_X1": 9,
    "AO221_X1": 10,
    "OA22_X1": 10, "OA211_X1": 8, "MAJ_X1": 9, "XOR2_X1": 11, "XNOR2_X1": 11, "FA_X1": 14,
    "HA_X1": 9, "DFF_X1": 20, "DFFR_X1": 26, "DFFS_X1": 26,
}

_SENSES = {True: "negative_unate", False: "positive_unate", None: "non_unate"}
# Points of both axes of every table; abc looks at the slope before the last one.
_POINTS = (1, 4, 16, 64, 1024)
_AXIS = ", ".join(str(point) for point in _POINTS)


def _cells(calibration: Calibration) -> list[_Cell]:
    sizes = [make(drive) for make in (_inverter, _buffer) for drive in (1, 2, 4, 8)]
    if calibration == "generic":
        return [*sizes, *_GATES, *_ADDERS]
    return [cell for cell in (*sizes, *_GATES, *_AND_ORS, *_INVERTED_ADDERS)
            if cell.name in _PITCHES]


def _area(calibration: Calibration, name: str, columns: int) -> float:
    """Area in GE."""
    return (columns + 1) / 3 if calibration == "generic" else _PITCHES[name] / 6


def generic_liberty(calibration: Calibration = "generic") -> str:
    """Return the library as Liberty text; the same bytes every time."""
    lines = [
        f"library (pnmtile_{calibration.replace('-', '_')}) {{",
        "  delay_model : table_lookup;",
        '  time_unit : "1ns";',
        '  voltage_unit : "1V";',
        '  current_unit : "1mA";',
        '  leakage_power_unit : "1nW";',
        '  pulling_resistance_unit : "1kohm";',
        "  capacitive_load_unit (1, ff);",
        "  nom_process : 1.0;",
        "  nom_temperature : 25.0;",
        "  nom_voltage : 1.0;",
        "  default_max_transition : 1000.0;",
        "  lu_table_template (delay) {",
        "    variable_1 : input_net_transition;",
        "    variable_2 : total_output_net_capacitance;",
        f'    index_1 ("{_AXIS}");',
        f'    index_2 ("{_AXIS}");',
        "  }",
        "  lu_table_template (setup) {",
        "    variable_1 : related_pin_transition;",
        "    variable_2 : constrained_pin_transition;",
        f'    index_1 ("{_AXIS}");',
        f'    index_2 ("{_AXIS}");',
        "  }",
    ]
    for cell in _cells(calibration):
        lines += _combinational(cell, _area(calibration, cell.name, cell.columns))
    for name, columns, asynchronous in _FLOPS:
        lines += _flop(name, _area(calibration, name, columns), asynchronous,
                       calibration == "generic-finfet")
    return "\n".join([*lines, "}", ""])


def _table(kind: str, template: str, offset: float, slope: float) -> list[str]:
    """A table that is linear in the load and the same for every slew."""
    row = ", ".join(f"{(offset + slope * point) / TAU_PER_FO4:.6f}" for point in _POINTS)
    rows = ", ".join([f'"{row}"'] * len(_POINTS))
    return [f"        {kind} ({template}) {{ values ({rows}); }}"]


def _arc(related: str, attributes: list[str], parasitic: float, drive: float) -> list[str]:
    """One timing arc: parasitic delay plus load over drive, whatever the input's slew.

    abc wants slews above 0: an edge is as long as its delay.
    """
    lines = ["      timing () {", f'        related_pin : "{related}";']
    lines += [f"        {attribute};" for attribute in attributes]
    for kind in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"):
        lines += _table(kind, "delay", parasitic, 1 / drive)
    return [*lines, "      }"]


def _input(name: str, capacitance: float, extra: tuple[str, ...] = ()) -> list[str]:
    return [f"    pin ({name}) {{", "      direction : input;",
            f"      capacitance : {capacitance:.6f};", *extra, "    }"]


def _output(name: str, function: str, arcs: list[str]) -> list[str]:
    return [f"    pin ({name}) {{", "      direction : output;", f'      function : "{function}";',
            "      max_capacitance : 1000.0;", *arcs, "    }"]


def _combinational(cell: _Cell, area: float) -> list[str]:
    lines = [f"  cell ({cell.name}) {{", f"    area : {area:.6f};"]
    for pin, capacitance in cell.inputs.items():
        lines += _input(pin, capacitance)
    for pin, output in cell.outputs.items():
        arcs: list[str] = []
        for related in cell.inputs:
            parasitic = (output.parasitics[related] if isinstance(output.parasitics, dict)
                         else output.parasitics)
            arcs += _arc(related, [f"timing_sense : {_SENSES[output.inverting]}"], parasitic,
                         cell.drive)
        lines += _output(pin, output.function, arcs)
    return [*lines, "  }"]


def _flop(name: str, area: float, asynchronous: str | None, inverted: bool) -> list[str]:
    lines = [f"  cell ({name}) {{", f"    area : {area:.6f};",
             "    ff (IQ, IQN) {", '      clocked_on : "CK";', '      next_state : "D";']
    arcs = _arc("CK", ["timing_type : rising_edge", "timing_sense : non_unate"], _FLOP_DELAY, 1)
    if asynchronous is not None:
        lines.append(f'      {asynchronous} : "!RN";')
    lines.append("    }")
    if asynchronous is not None:
        lines += _input("RN", 4 / 3)
        falls = (asynchronous == "clear") != inverted
        sense = "positive_unate" if falls else "negative_unate"
        arcs += _arc("RN", [f"timing_type : {asynchronous}", f"timing_sense : {sense}"],
                     _FLOP_DELAY, 1)
    setup = ["      timing () {", '        related_pin : "CK";',
             "        timing_type : setup_rising;",
             *_table("rise_constraint", "setup", _SETUP, 0),
             *_table("fall_constraint", "setup", _SETUP, 0), "      }"]
    lines += _input("CK", 1.0, ("      clock : true;",))
    lines += _input("D", 1.0, tuple(setup))
    output = ("QN", "IQN") if inverted else ("Q", "IQ")
    return [*lines, *_output(*output, arcs), "  }"]
