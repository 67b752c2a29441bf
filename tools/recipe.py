"""The synthesis recipe: yosys and abc commands from RTL to a mapped netlist, hierarchy kept."""

from pathlib import Path
from typing import Literal

from tools.liberty import Library

__all__ = ["ABC_RECIPE", "Effort", "YOSYS_RECIPE", "abc_script", "write_inputs",
           "yosys_script"]

# What the netlist is mapped for: the smallest, a compromise, the fastest.
Effort = Literal["area", "balanced", "speed"]

# Area first. Memories stay $mem_v2 cells: nothing here maps them, and abc stops at them. Tables
# of constants stay logic (-norom).
YOSYS_RECIPE = (
    "proc", "chformal -remove", "opt_expr", "opt_clean", "opt -nodffe -nosdff", "opt",
    "wreduce", "peepopt", "opt_clean", "alumacc", "share", "opt", "memory -nomap -norom",
    "opt_clean", "opt -fast -full", "opt -undriven -fine", "techmap", "opt -fast",
)
ABC_RECIPE = ("strash", "ifraig", "scorr", "dch", "map -a -B 0.9", "topo")
_FAST_RECIPE = ("strash", "ifraig", "scorr", "dch", "map -B 0.9", "topo")
# Without these, one gate may drive hundreds; with them it drives 32 at most.
_BUFFER = ("buffer -c -N 32", "dnsize -c")
_SIZE = ("buffer -c -N 32", "upsize -D {period}", "dnsize -D {period}")
# abc must be told of some library by yosys; the script then reads the real one.
_GENLIB = """\
GATE INV 1 Y=!A; PIN * INV 1 999 1 1 1 1
GATE NAND 1 Y=!(A*B); PIN * INV 1 999 1 1 1 1
GATE _const0_ 0 Y=CONST0;
GATE _const1_ 0 Y=CONST1;
"""
# One gate to call abc with, so that it converts the library once and not for each module.
_CONVERT = "module convert(input a, b, output y); assign y = a & b; endmodule\n"


def abc_script(library: Library, effort: Effort, period_ps: float | None) -> tuple[str, ...]:
    """What abc does to one module.

    ``period_ps`` is the clock period in the library's ps (with the embedded library, those in
    which 1 FO4 is 1000); None asks for the fastest netlist.
    """
    if effort == "area":
        return (*ABC_RECIPE, *(_BUFFER if library.has_buffer else ()))
    aim = 1.0 if effort == "speed" or period_ps is None else period_ps
    size = _SIZE if library.has_buffer else _SIZE[1:]
    return (*_FAST_RECIPE, *(command.format(period=f"{aim:.1f}") for command in size))


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
        "map.constr": f"set_driving_cell {library.inverter.name}\n"
                      f"set_load {4 * library.input_ff:.6f}\n",
        "map.abc": "\n".join(["read_scl library.scl", "read_constr map.constr",
                              *abc_script(library, effort, period_ps), ""]),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def yosys_script(source: str, top: str, library: Library, effort: Effort,
                 period_ps: float | None, memories_as_flops: bool = False) -> str:
    """The script that maps ``source`` and writes ``netlist.json`` and ``netlist.v``."""
    recipe = list(YOSYS_RECIPE)
    if memories_as_flops:
        recipe.insert(recipe.index("techmap"), "memory_map")
    flops = " ".join(f"-liberty library{number}.lib"
                     for number, has_flop in enumerate(library.flop_texts) if has_flop)
    read = "read_rtlil" if source.endswith(".il") else "read_verilog -sv"
    return "\n".join([
        "read_verilog convert.v", "prep -top convert", "techmap",
        "abc -genlib library.genlib -script convert.abc", "design -reset",
        f"{read} {source}", f"hierarchy -check -top {top}",
        *recipe,
        # Flops keep the names of their registers, also those that give the complement.
        "rename -wire",
        f"dfflibmap {flops}", "opt -fast",
        "abc -genlib library.genlib -script map.abc", "opt_clean", "check",
        "write_json netlist.json", "write_verilog -noattr netlist.v", "",
    ])
