"""The embedded technology-independent cell library, written as Liberty text.

Two rules and a table give every number; docs/area.md explains them.

- Area: a cell is as wide as its transistor columns (a p and an n transistor over each other) plus
  one column to the neighbour; NAND2, three columns, is 1 GE.
- Delay: logical effort (Sutherland, Sproull, Harris, "Logical Effort", 1999). The unit ``tau`` is
  the delay of an inverter that drives an identical one, parasitics left out; a fan-out-of-4
  inverter takes 4 + 1 = 5 tau, and this is 1 FO4. On paper 1 FO4 is 1 ns and the inverter's input
  is 1 fF, so that tools which know only Liberty print FO4.
"""

from dataclasses import dataclass

__all__ = ["Cell", "GENERIC_CELLS", "TAU_PER_FO4", "generic_liberty"]

TAU_PER_FO4 = 5.0


@dataclass(frozen=True)
class Cell:
    """One cell: inputs with capacitance in unit inverters and intrinsic delay in tau."""

    name: str
    columns: int
    function: str
    inputs: dict[str, tuple[float, float]]
    drive: int = 1
    inverting: bool | None = True

    @property
    def area(self) -> float:
        """Area in GE."""
        return (self.columns + 1) / 3


def _same(names: str, effort: float, parasitic: float) -> dict[str, tuple[float, float]]:
    return {name: (effort, parasitic) for name in names}


def _inverter(drive: int) -> Cell:
    return Cell(f"INV_X{drive}", drive, "!A", _same("A", drive, 1), drive)


def _buffer(drive: int) -> Cell:
    # A first inverter of half the size: it drives an input of twice its own.
    first = max(1, drive // 2)
    stage = drive / first + 1
    return Cell(f"BUF_X{drive}", first + drive, "A", _same("A", first, stage + 1), drive, False)


# Simple gates: g and p from the book's table; an output inverter adds its own parasitic delay and
# is a load of 1. AOI and OAI: widths for equal drive (series transistors doubled, p twice n), g =
# input width / 3, p = output diffusion / 3. XOR2 = NOR2 + AOI21, XNOR2 = NAND2 + OAI21, MUX2 =
# select inverter + AOI22 + inverter: the longest way through counts.
GENERIC_CELLS: tuple[Cell, ...] = (
    *(_inverter(drive) for drive in (1, 2, 4, 8)),
    *(_buffer(drive) for drive in (1, 2, 4, 8)),
    Cell("NAND2_X1", 2, "!(A & B)", _same("AB", 4 / 3, 2)),
    Cell("NAND3_X1", 3, "!(A & B & C)", _same("ABC", 5 / 3, 3)),
    Cell("NAND4_X1", 4, "!(A & B & C & D)", _same("ABCD", 6 / 3, 4)),
    Cell("NOR2_X1", 2, "!(A | B)", _same("AB", 5 / 3, 2)),
    Cell("NOR3_X1", 3, "!(A | B | C)", _same("ABC", 7 / 3, 3)),
    Cell("NOR4_X1", 4, "!(A | B | C | D)", _same("ABCD", 9 / 3, 4)),
    Cell("AND2_X1", 3, "A & B", _same("AB", 4 / 3, 2 + 1 + 1), inverting=False),
    Cell("AND3_X1", 4, "A & B & C", _same("ABC", 5 / 3, 3 + 1 + 1), inverting=False),
    Cell("AND4_X1", 5, "A & B & C & D", _same("ABCD", 6 / 3, 4 + 1 + 1), inverting=False),
    Cell("OR2_X1", 3, "A | B", _same("AB", 5 / 3, 2 + 1 + 1), inverting=False),
    Cell("OR3_X1", 4, "A | B | C", _same("ABC", 7 / 3, 3 + 1 + 1), inverting=False),
    Cell("OR4_X1", 5, "A | B | C | D", _same("ABCD", 9 / 3, 4 + 1 + 1), inverting=False),
    Cell("AOI21_X1", 3, "!((A & B) | C)", {**_same("AB", 6 / 3, 7 / 3), "C": (5 / 3, 7 / 3)}),
    Cell("OAI21_X1", 3, "!((A | B) & C)", {**_same("AB", 6 / 3, 8 / 3), "C": (4 / 3, 8 / 3)}),
    Cell("AOI22_X1", 4, "!((A & B) | (C & D))", _same("ABCD", 6 / 3, 12 / 3)),
    Cell("OAI22_X1", 4, "!((A | B) & (C | D))", _same("ABCD", 6 / 3, 12 / 3)),
    Cell("AOI211_X1", 4, "!((A & B) | C | D)",
         {**_same("AB", 8 / 3, 10 / 3), **_same("CD", 7 / 3, 10 / 3)}),
    Cell("OAI211_X1", 4, "!((A | B) & C & D)",
         {**_same("AB", 7 / 3, 11 / 3), **_same("CD", 5 / 3, 11 / 3)}),
    Cell("XOR2_X1", 5, "A ^ B", _same("AB", 11 / 3, (5 / 3 + 2) + 7 / 3), inverting=None),
    Cell("XNOR2_X1", 5, "!(A ^ B)", _same("AB", 10 / 3, (4 / 3 + 2) + 8 / 3), inverting=None),
    Cell("MUX2_X1", 6, "(S & B) | (!S & A)",
         {**_same("AB", 6 / 3, 4 + 1 + 1), "S": (1 + 6 / 3, (2 + 1) + 4 + 1 + 1)}, inverting=None),
)
# Adders: output to function, sense and parasitic delay of all inputs. Full adder: the mirror adder
# of 28 transistors, each as wide as an inverter's, and one gap. Its carry stage, two in series,
# drives at 1/2 its own diffusion (2), the sum stage (1) and the output inverter (1): 8 tau, and 1
# for that inverter; the sum stage drives at 1/2 its diffusion (2) and an inverter (1): 6 more.
# Half adder: XOR2 and AND2 side by side, with a gap.
_Outputs = dict[str, tuple[str, bool | None, float]]
_ADDERS: tuple[tuple[str, int, dict[str, float], _Outputs], ...] = (
    ("FA_X1", 15, {"A": 4, "B": 4, "CI": 3},
     {"CO": ("(A & B) | (CI & (A | B))", False, 8 + 1), "S": ("A ^ B ^ CI", None, 8 + 6 + 1)}),
    ("HA_X1", 9, {"A": 4 / 3 + 11 / 3, "B": 4 / 3 + 11 / 3},
     {"CO": ("A & B", False, 4), "S": ("A ^ B", None, 6)}),
)
# Flops: 32 transistors (two latches, clock and output inverters), 36 with an asynchronous input;
# clock to output 2 FO4 at a load of four inverters, setup 1 FO4 (about 3 FO4 in all, as static
# master-slave flops have).
_FLOPS = (("DFF_X1", 16, None), ("DFFR_X1", 19, "clear"), ("DFFS_X1", 19, "preset"))
_FLOP_DELAY = 2 * TAU_PER_FO4 - 4
_SETUP = 1 * TAU_PER_FO4

_SENSES = {True: "negative_unate", False: "positive_unate", None: "non_unate"}
# Points of both axes of every table; abc looks at the slope before the last one.
_POINTS = (1, 4, 16, 64, 1024)
_AXIS = ", ".join(str(point) for point in _POINTS)


def generic_liberty() -> str:
    """Return the library as Liberty text; the same bytes every time."""
    lines = [
        "library (pnmtile_generic) {",
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
    for cell in GENERIC_CELLS:
        lines += _combinational(cell)
    for adder in _ADDERS:
        lines += _adder(*adder)
    for name, columns, asynchronous in _FLOPS:
        lines += _flop(name, columns, asynchronous)
    return "\n".join([*lines, "}", ""])


def _table(kind: str, template: str, offset: float, slope: float) -> list[str]:
    """A table that is linear in the load and the same for every slew."""
    row = ", ".join(f"{(offset + slope * point) / TAU_PER_FO4:.6f}" for point in _POINTS)
    rows = ", ".join([f'"{row}"'] * len(_POINTS))
    return [f"        {kind} ({template}) {{ values ({rows}); }}"]


def _arc(related: str, attributes: list[str], parasitic: float, drive: int) -> list[str]:
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


def _adder(name: str, columns: int, inputs: dict[str, float], outputs: _Outputs) -> list[str]:
    lines = [f"  cell ({name}) {{", f"    area : {(columns + 1) / 3:.6f};"]
    for pin, capacitance in inputs.items():
        lines += _input(pin, capacitance)
    for pin, (function, inverting, parasitic) in outputs.items():
        lines += _output(pin, function, [line for related in inputs for line in _arc(
            related, [f"timing_sense : {_SENSES[inverting]}"], parasitic, 1)])
    return [*lines, "  }"]


def _combinational(cell: Cell) -> list[str]:
    sense = _SENSES[cell.inverting]
    lines = [f"  cell ({cell.name}) {{", f"    area : {cell.area:.6f};"]
    arcs: list[str] = []
    for name, (capacitance, parasitic) in cell.inputs.items():
        lines += _input(name, capacitance)
        arcs += _arc(name, [f"timing_sense : {sense}"], parasitic, cell.drive)
    return [*lines, *_output("Y", cell.function, arcs), "  }"]


def _flop(name: str, columns: int, asynchronous: str | None) -> list[str]:
    lines = [f"  cell ({name}) {{", f"    area : {(columns + 1) / 3:.6f};",
             "    ff (IQ, IQN) {", '      clocked_on : "CK";', '      next_state : "D";']
    arcs = _arc("CK", ["timing_type : rising_edge", "timing_sense : non_unate"], _FLOP_DELAY, 1)
    if asynchronous is not None:
        lines.append(f'      {asynchronous} : "!RN";')
    lines.append("    }")
    if asynchronous is not None:
        lines += _input("RN", 4 / 3)
        sense = "positive_unate" if asynchronous == "clear" else "negative_unate"
        arcs += _arc("RN", [f"timing_type : {asynchronous}", f"timing_sense : {sense}"],
                     _FLOP_DELAY, 1)
    setup = ["      timing () {", '        related_pin : "CK";',
             "        timing_type : setup_rising;",
             *_table("rise_constraint", "setup", _SETUP, 0),
             *_table("fall_constraint", "setup", _SETUP, 0), "      }"]
    lines += _input("CK", 1.0, ("      clock : true;",))
    lines += _input("D", 1.0, tuple(setup))
    return [*lines, *_output("Q", "IQ", arcs), "  }"]
