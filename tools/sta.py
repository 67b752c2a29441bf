"""Static timing analysis by OpenSTA (``sta``), where it is installed.

The flat netlist is written as Verilog with cells ``c0, c1, ...``, and one run of Tcl prints the
worst path to each end in lines of its own, so that no report has to be parsed.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tools.console import UserError
from tools.constraints import EXTERNAL_SHARE, render_constraints
from tools.liberty import Library
from tools.memory_model import THRESHOLDS
from tools.netlist import Netlist
from tools.process import run_child

__all__ = ["StaPath", "StaResult", "opensta", "parse_answer", "run_opensta"]

_TIMEOUT_S = 1800.0
_STRING = re.compile(r'"[^"]*"')
_STEPS = 14
# Both spellings of the option: it was renamed between versions.
_SCRIPT = """\
set_cmd_units -time ns -capacitance fF
proc constrain {{period external}} {{
{constraints}
}}
proc worst_paths {{many from}} {{
  if {{[catch {{find_timing_paths -path_delay max {{*}}$from -group_path_count $many}} paths]}} {{
    set paths [find_timing_paths -path_delay max {{*}}$from -group_count $many]
  }}
  return $paths
}}
proc show {{from}} {{
  foreach path [worst_paths 1000000 $from] {{
    puts "path [get_property $path slack] [get_full_name [get_property $path startpoint]]\
 [get_full_name [get_property $path endpoint]]"
  }}
}}
proc worst {{}} {{
  set found 1e30
  foreach path [worst_paths 1 {{}}] {{
    set slack [get_property $path slack]
    if {{$slack < $found}} {{set found $slack}}
  }}
  return $found
}}
constrain {period} {external}
show [list -from [all_inputs]]
show [list -from [all_registers -clock_pins]]
set found 1e30
foreach path [worst_paths 1 {{}}] {{
  if {{[get_property $path slack] < $found}} {{
    set found [get_property $path slack]
    set critical $path
  }}
}}
if {{$found < 1e30}} {{
  foreach point [get_property $critical points] {{
    puts "point [get_full_name [get_property $point pin]] [get_property $point arrival]"
  }}
  set high {period}
  while {{[constrain $high [expr $high * {share}]; worst] < 0}} {{set high [expr $high * 2]}}
  set low [expr $high / 2]
  while {{[constrain $low [expr $low * {share}]; worst] >= 0 && $low > 1e-4}} {{
    set high $low
    set low [expr $low / 2]
  }}
  for {{set step 0}} {{$step < {steps}}} {{incr step}} {{
    set middle [expr ($low + $high) / 2]
    constrain $middle [expr $middle * {share}]
    if {{[worst] < 0}} {{set low $middle}} else {{set high $middle}}
  }}
  puts "period $high"
}}
puts "done"
exit
"""


class StaPath(NamedTuple):
    """The worst path from ports, or from registers, to one end; names are OpenSTA's."""

    slack_ps: float
    start: str
    end: str


@dataclass(frozen=True)
class StaResult:
    """What one run found. ``points`` are the pins of the critical path and when they change.

    ``period_ps`` is the shortest period without a violation, by bisection; None without paths.
    """

    paths: tuple[StaPath, ...]
    points: tuple[tuple[str, float], ...]
    period_ps: float | None


def opensta() -> tuple[str, str] | None:
    """Path and version of the installed OpenSTA; None when there is none."""
    path = shutil.which("sta")
    if path is None:
        return None
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=False,
                                stdin=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Other programs are called sta, too.
    version = answer.stdout.split()[-1:] if answer.returncode == 0 else []
    return (path, version[0]) if version and re.match(r"\d+\.\d+", version[0]) else None


def run_opensta(program: str, netlist: Netlist, ports: Mapping[str, Any], clock: str,
                library: Library, memories: str, clock_mhz: float, folder: Path) -> StaResult:
    """Time a flat netlist against a clock with a fifth of its period outside on either side.

    ``ports`` are the top module's, as yosys has them; ``memories`` is the Liberty text of cells
    that the library lacks. ``folder`` holds a temporary directory meanwhile.

    :Errors: ``UserError`` when OpenSTA fails, in its own words.
    """
    period = 1000 / clock_mhz
    names = {name: f"p{number}" for number, name in enumerate(sorted(ports))}
    inputs = [names[name] for name in names
              if ports[name]["direction"] == "input" and name != clock]
    constraints = render_constraints("top", clock_mhz, inputs, clock=names.get(clock, ""),
                                     library=library, as_procedure=True)
    files = {f"library{number}.lib": _acceptable(text)
             for number, text in enumerate(library.texts)}
    if memories:
        files["memories.lib"] = memories
    reads = [f"read_liberty {name}" for name in files]
    files["top.v"] = _verilog(netlist, ports, names)
    files["timing.tcl"] = "\n".join([*reads, "read_verilog top.v", "link_design top", ""]) + (
        _SCRIPT.format(constraints=constraints, period=f"{period:.6f}", share=EXTERNAL_SHARE,
                       external=f"{period * float(EXTERNAL_SHARE):.6f}", steps=_STEPS))
    with tempfile.TemporaryDirectory(prefix=".timing-", dir=folder) as temporary:
        place = Path(temporary)
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
        run_child([program, "-no_splash", "-exit", "timing.tcl"], log=place / "answer", cwd=place,
                  timeout_s=_TIMEOUT_S)
        found = parse_answer((place / "answer").read_text(encoding="utf-8", errors="replace"))
    given = {short: name for name, short in names.items()}

    def renamed(pin: str) -> str:
        port, bracket, place = pin.partition("[")
        return given.get(port, port) + bracket + place

    return replace(found, points=tuple((renamed(pin), ps) for pin, ps in found.points),
                   paths=tuple(StaPath(path.slack_ps, renamed(path.start), renamed(path.end))
                               for path in found.paths))


def _acceptable(text: str) -> str:
    """A Liberty text as OpenSTA takes it: no line breaks inside of strings, and thresholds."""
    text = _STRING.sub(lambda found: found[0].replace("\n", " "), text)
    if "input_threshold_pct_rise" in text:
        return text
    head, brace, rest = text.partition("{")
    return "\n".join([head + brace, *THRESHOLDS, rest])


def parse_answer(text: str) -> StaResult:
    """Read what the script printed; ``UserError`` with OpenSTA's words when it did not end."""
    paths, points = [], []
    period = None
    lines = text.splitlines()
    for line in lines:
        words = line.split()
        if words[:1] == ["path"]:
            paths.append(StaPath(float(words[1]) * 1000, words[2], words[3]))
        elif words[:1] == ["point"]:
            points.append((words[1], float(words[2]) * 1000))
        elif words[:1] == ["period"]:
            period = float(words[1]) * 1000
    wrong = [line for line in lines if line.startswith("Error") or "Creating black box" in line]
    if wrong or "done" not in lines:
        raise UserError("OpenSTA could not time the netlist; its words: "
                        + (" | ".join((wrong or lines[-3:])[:3]) or "none"))
    return StaResult(tuple(paths), tuple(points), period)


def _verilog(netlist: Netlist, ports: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The netlist as Verilog: nets ``n0``, cells ``c0``; constants are left out of the cells."""
    lines = [f"module top ({', '.join(names.values())});"]
    inside = dict((name, net) for net, name in (*netlist.starts, *netlist.ends))
    assigns = []
    for name, port in sorted(ports.items()):
        width = len(port["bits"])
        lines.append(f"  {port['direction']} {f'[{width - 1}:0] ' if width > 1 else ''}"
                     f"{names[name]};")
        for place, bit in enumerate(port["bits"]):
            which = f"[{place}]" if width > 1 else ""
            if port["direction"] == "input":
                assigns.append(f"  assign n{inside[name + which]} = {names[name]}{which};")
            else:
                inner = f"n{inside[name + which]}" if isinstance(bit, int) else f"1'b{bit}"
                assigns.append(f"  assign {names[name]}{which} = {inner};")
    used = {net for one in netlist.cells for net in one.nets.values()} | set(inside.values())
    lines += [f"  wire n{net};" for net in sorted(used)] + assigns
    for number, one in enumerate(netlist.cells):
        pins = ", ".join(f".{pin}(n{net})" for pin, net in sorted(one.nets.items()))
        lines.append(f"  {one.cell.name} c{number} ({pins});")
    return "\n".join([*lines, "endmodule", ""])
