"""The synthesis recipe: yosys and abc commands from RTL to a mapped netlist, hierarchy kept."""

from pathlib import Path
from typing import Literal

from tools.adder_cells import AdderCell
from tools.liberty import Library

__all__ = ["WORD_RECIPE", "Effort", "abc_script", "adder_map", "uses_adders", "write_inputs",
           "yosys_recipe", "yosys_script"]

# What the netlist is mapped for: the smallest, a compromise, the fastest.
Effort = Literal["area", "balanced", "speed"]

# Memories stay $mem_v2 cells: nothing here maps them, and abc stops at them. Tables of constants
# stay logic (-norom).
WORD_RECIPE = (
    "proc", "chformal -remove", "opt_expr", "opt_clean", "opt -nodffe -nosdff", "opt",
    "wreduce", "peepopt", "opt_clean",
    # Signed products from 8 bits on by Booth's recoding; shorter ones are smaller without.
    "booth t:$mul r:A_SIGNED=1 %i r:A_WIDTH>=8 %i",
    "alumacc", "share", "opt", "memory -nomap -norom",
    "opt_clean", "opt -fast -full", "opt -undriven -fine",
)
# Sums of many terms as rows of full adders, in the library's cells.
_ADDERS = ("maccmap", "techmap -map adders.v")
# Flops keep the names of their registers, also those that give the complement.
_TO_GATES = ("techmap", "opt -fast", "rename -wire")
# Below this width abc makes smaller logic of a row of full adders than full-adder cells are: the
# products of FP8 significands.
_ADDER_WIDTH = 16

_SMALL = ("strash", "ifraig", "scorr", "dch", "amap -m", "topo")
_QUICK = ("strash", "ifraig", "scorr", "dch", "map -B 0.9", "topo", "strash", "dch",
          "map -B 0.9", "topo")
_QUICKEST = ("strash", "ifraig", "scorr", "dch -f", "map -B 0.9", "topo", "strash", "dch -f",
             "map -B 0.9", "topo")
# Without these, one gate may drive hundreds.
_BUFFER = {"area": "buffer -c -N 32", "balanced": "buffer -c -N 16", "speed": "buffer -c -N 16"}
# Of the period, for the logic of one unit: the rest is for flops and for what lies outside.
_LOGIC_SHARE = 0.8
# What is aimed at without a clock in the library's time, in FO4.
_PATH_FO4 = 45.0
# abc must be told of some library by yosys; the script then reads the real one.
_GENLIB = """\
GATE INV 1 Y=!A; PIN * INV 1 999 1 1 1 1
GATE NAND 1 Y=!(A*B); PIN * INV 1 999 1 1 1 1
GATE _const0_ 0 Y=CONST0;
GATE _const1_ 0 Y=CONST1;
"""
# One gate to call abc with, so that it converts the library once and not for each module.
_CONVERT = "module convert(input a, b, output y); assign y = a & b; endmodule\n"


def uses_adders(library: Library, effort: Effort) -> bool:
    """Whether sums of many terms are mapped to full-adder cells.

    They are the smallest, but come in one strength: the recipe for speed leaves sums to abc.
    """
    return library.full_adder is not None and effort != "speed"


def abc_script(library: Library, effort: Effort, period_ps: float | None) -> tuple[str, ...]:
    """What abc does to one module.

    ``period_ps`` is the clock period in the library's ps; None where it has no technology.
    """
    buffer = (_BUFFER[effort],) if library.has_buffer else ()
    if effort == "area":
        return (*_SMALL, *buffer, *(("dnsize -c",) if buffer else ()))
    aim = _PATH_FO4 * library.fo4[0] if period_ps is None else _LOGIC_SHARE * period_ps
    return (*(_QUICK if effort == "balanced" else _QUICKEST), *buffer,
            f"upsize -D {aim:.1f}", f"dnsize -D {aim:.1f}")


def adder_map(cell: AdderCell) -> str:
    """Verilog by which yosys makes rows of full adders of the library's cell.

    An adder with a constant input is smaller as logic.
    """
    first, second, third = cell.inputs
    carry = "~carry" if cell.carry_inverted else "carry"
    total = "~total" if cell.sum_inverted else "total"
    return f"""\
(* techmap_celltype = "$fa" *)
module full_adder_row(A, B, C, X, Y);
  parameter WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_C_ = 0;
  localparam [WIDTH-1:0] CONSTANT =
    _TECHMAP_CONSTMSK_A_ | _TECHMAP_CONSTMSK_B_ | _TECHMAP_CONSTMSK_C_;
  (* force_downto *) input [WIDTH-1:0] A, B, C;
  (* force_downto *) output [WIDTH-1:0] X, Y;
  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin: place
      if (WIDTH < {_ADDER_WIDTH} || CONSTANT[i]) begin
        assign Y[i] = A[i] ^ B[i] ^ C[i];
        assign X[i] = (A[i] & B[i]) | (C[i] & (A[i] ^ B[i]));
      end else begin
        wire carry, total;
        {cell.name} adder (.{first}(A[i]), .{second}(B[i]), .{third}(C[i]),
          .{cell.carry}(carry), .{cell.sum}(total));
        assign X[i] = {carry};
        assign Y[i] = {total};
      end
    end
  endgenerate
endmodule
"""


def write_inputs(library: Library, folder: Path, effort: Effort, period_ps: float | None) -> None:
    """Write the library and the scripts for abc into the folder where yosys will run."""
    reads = []
    for number, text in enumerate(library.texts):
        (folder / f"library{number}.lib").write_text(text, encoding="utf-8")
        reads.append(f"read_lib -w {'-m ' if number else ''}library{number}.lib")
    files = {
        "library.genlib": _GENLIB,
        "convert.v": _CONVERT,
        "convert.abc": "\n".join([*reads, "write_scl library.scl", "strash", "map", ""]),
        "map.constr": f"set_driving_cell {library.driver.name}\n"
                      f"set_load {4 * library.input_ff:.6f}\n",
        "map.abc": "\n".join(["read_scl library.scl", "read_constr map.constr",
                              *abc_script(library, effort, period_ps), ""]),
    }
    if library.full_adder is not None and uses_adders(library, effort):
        files["adders.v"] = adder_map(library.full_adder)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def yosys_recipe(library: Library, effort: Effort, memories_as_flops: bool) -> tuple[str, ...]:
    """What yosys does before cells of the library take the place of flops and gates."""
    return (*WORD_RECIPE, *(_ADDERS if uses_adders(library, effort) else ()),
            *(("memory_map",) if memories_as_flops else ()), *_TO_GATES)


def yosys_script(source: str, top: str, library: Library, effort: Effort,
                 period_ps: float | None, memories_as_flops: bool = False) -> str:
    """The script that maps ``source`` and writes ``netlist.json`` and ``netlist.v``."""
    flops = " ".join(f"-liberty library{number}.lib"
                     for number, has_flop in enumerate(library.flop_texts) if has_flop)
    read = "read_rtlil" if source.endswith(".il") else "read_verilog -sv"
    return "\n".join([
        "read_verilog convert.v", "prep -top convert", "techmap",
        "abc -genlib library.genlib -script convert.abc", "design -reset",
        f"{read} {source}", f"hierarchy -check -top {top}",
        *yosys_recipe(library, effort, memories_as_flops),
        f"dfflibmap {flops}", "opt -fast",
        "abc -genlib library.genlib -script map.abc", "opt_clean", "check",
        "write_json netlist.json", "write_verilog -noattr netlist.v", "",
    ])
