"""Timing of a whole design: hand sums, both engines, constraints and what is said of a miss."""

import re
from pathlib import Path

import pytest

from tests.test_tools_memory_model import memory_design
from tools.console import UserError
from tools.constraints import render_constraints
from tools.design_timing import OWN_ENGINE, design_timing
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty
from tools.memory_model import MemoryTiming, with_memory_cells
from tools.netlist import flatten
from tools.sta import StaPath, StaResult, opensta, parse_answer
from tools.timing import Stop
from tools.timing_report import TimedPath, summarise

TAU = 200.0  # ps on the embedded library's paper: 1 FO4 is 1 ns and 5 tau.
# Inputs have the slew of an edge that drives four inverters; delays do not depend on it.


def library(technology=True):
    found = parse_liberty([("generic", generic_liberty())])
    found.technology = technology
    return found


def cell(kind, **nets):
    return {"type": kind, "connections": {pin: [net] for pin, net in nets.items()}}


def module(ports, cells, names=()):
    return {"ports": {name: {"direction": direction, "bits": bits}
                      for name, (direction, bits) in ports.items()},
            "cells": cells,
            "netnames": {name: {"hide_name": 0, "bits": bits}
                         for name, (_, bits) in ports.items()}
            | {name: {"hide_name": 0, "bits": [bit]} for name, bit in names}}


def pipe():
    """A flop in ``a``, an inverter in each unit behind it, a flop in ``b``, and both ports.

    ``a`` passes ``x`` on to ``thru``: two ports with one net inside.
    """
    return {
        "top": module({"clk": ("input", [2]), "x": ("input", [3]), "y": ("output", [6]),
                       "z": ("output", [7])},
                      {"a": {"type": "unit_a", "connections": {
                          "clk": [2], "x": [3], "q": [4], "thru": [5]}},
                       "b": {"type": "unit_b", "connections": {"clk": [2], "d": [4], "y": [6]}},
                       "i": cell("INV_X1", A=5, Y=7)}),
        "unit_a": module({"clk": ("input", [2]), "x": ("input", [3]), "q": ("output", [5]),
                          "thru": ("output", [3])},
                         {"f": cell("DFF_X1", CK=2, D=3, Q=4), "g": cell("INV_X1", A=4, Y=5)},
                         (("state", 4),)),
        "unit_b": module({"clk": ("input", [2]), "d": ("input", [3]), "y": ("output", [5])},
                         {"g": cell("INV_X1", A=3, Y=4), "f": cell("DFF_X1", CK=2, D=4, Q=5)}),
    }


def timed(clock_mhz, technology, folder=Path(".")):
    return design_timing(pipe(), "top", library(technology), {}, "", clock_mhz, folder)


# In tau. The driver: an inverter's delay under its load, without what it has unloaded.
IN = 2  # x drives the flop's D and the inverter in the top.
REG2REG = (6 + 1) + (1 + 1) + (1 + 1) + 5
IN2REG, IN2OUT, REG2OUT = IN + 5, IN + 1 + 4, 6 + 4


def test_paths_cross_unit_boundaries_and_are_the_hand_sums(monkeypatch):
    monkeypatch.setattr("tools.design_timing.opensta", lambda: None)
    report = timed(100.0, True)
    assert report.engine == OWN_ENGINE
    lengths = {group.group: group.length for group in report.groups}
    assert lengths == pytest.approx({"reg2reg": REG2REG * TAU, "in2reg": IN2REG * TAU,
                                     "in2out": IN2OUT * TAU, "reg2out": REG2OUT * TAU}, abs=1)
    slacks = {group.group: group.slack for group in report.groups}
    assert slacks == pytest.approx({
        "reg2reg": 10000 - REG2REG * TAU, "in2reg": 8000 - IN2REG * TAU,
        "in2out": 6000 - IN2OUT * TAU, "reg2out": 8000 - REG2OUT * TAU}, abs=1)
    path = timed(400.0, True).critical
    assert (path.start, path.end) == ("top.a.state", "top.b.y")
    assert [(one.unit, one.cells) for one in path.segments] == [("top.a", 2), ("top.b", 1)]
    assert [one.delay for one in path.segments] == pytest.approx([9 * TAU, 2 * TAU], abs=1)
    assert report.shortest_period == pytest.approx(REG2REG * TAU, abs=1)
    units = {unit.unit: (unit.group, unit.start) for unit in report.units}
    assert units == {"top.a": ("in2reg", "x"), "top.b": ("reg2reg", "top.a.state")}


def test_a_missed_clock_says_by_how_much_and_where(monkeypatch):
    monkeypatch.setattr("tools.design_timing.opensta", lambda: None)
    assert timed(100.0, True).met is True
    report = timed(400.0, True)
    assert (report.met, report.failing, report.endpoints) == (False, 1, 4)
    assert report.verdict() == (
        "the clock of 400 MHz (2500 ps) is missed by 700.0 ps at 1 of 4 ends; worst: top.a.state "
        "to top.b.y, 3.2 FO4; 312.5 MHz is the highest clock")
    embedded = timed(400.0, False)
    assert embedded.met is None
    assert embedded.critical.length == pytest.approx(REG2REG / 5, abs=0.01)
    assert embedded.to_dict()["highest_clock"]["value"] is None


def test_opensta_finds_the_same_paths(tmp_path, monkeypatch):
    if opensta() is None:
        pytest.skip("OpenSTA (sta) is not installed")
    found = timed(400.0, True, tmp_path)
    assert re.match(r"OpenSTA \d", found.engine)
    monkeypatch.setattr("tools.design_timing.opensta", lambda: None)
    own = timed(400.0, True)
    assert [group.group for group in found.groups] == [group.group for group in own.groups]
    for theirs, ours in zip((*found.groups, *found.units), (*own.groups, *own.units),
                            strict=True):
        assert theirs.length == pytest.approx(ours.length, rel=0.01)
        assert (theirs.start, theirs.end, theirs.failing, theirs.endpoints) == (
            ours.start, ours.end, ours.failing, ours.endpoints)
    assert found.shortest_period == pytest.approx(own.shortest_period, rel=0.01)
    assert [(one.unit, one.cells) for one in found.critical.segments] == [
        (one.unit, one.cells) for one in own.critical.segments]
    assert list(tmp_path.iterdir()) == []


def test_a_path_from_a_port_leaves_out_what_is_outside(tmp_path, monkeypatch):
    # 10 ns: x arrives at 2 ns, its driver takes 0.4 ns; then the inverter, and 2 ns outside.
    netlist = flatten(pipe(), "top", library().cells)
    (inverter,) = [f"c{number}" for number, one in enumerate(netlist.cells) if one.unit == "top"]
    answer = StaResult((StaPath(-1000.0, "x", "z"),), (
        ("x", 2400.0), (f"{inverter}/A", 2400.0), (f"{inverter}/Y", 3400.0), ("z", 3400.0)), 11e3)
    monkeypatch.setattr("tools.design_timing.opensta", lambda: ("sta", "2.0"))
    monkeypatch.setattr("tools.design_timing.run_opensta", lambda *_: answer)
    path = timed(100.0, True).critical
    assert (path.group, path.start, path.end, path.slack) == ("in2out", "x", "z", -1000.0)
    assert path.length == 7000.0  # 60 % of the period, and 1 ns more.
    assert [(one.unit, one.cells, one.delay) for one in path.segments] == [("top", 1, 1400.0)]


def test_the_critical_path_is_the_one_of_the_least_slack(monkeypatch):
    # At 2.6 ns the path between registers misses 0.6 ns, the one through the top 1400 of 1560 ps.
    monkeypatch.setattr("tools.design_timing.opensta", lambda: None)
    report = timed(1e6 / 2600, True)
    assert report.critical.slack == pytest.approx(-600, abs=1)
    paths = [TimedPath(1000.0, "u", "a", "u", "b", "1.D"), TimedPath(801.0, None, "i", "u", "c",
                                                                    "2.D")]
    stops = {"a": "u", "i": "top"}

    def summed(technology, end=None):
        return summarise("e", paths, lambda path: [Stop(stops[path.start], path.ps)],
                         library(technology), 1e6 / 990, None, end)

    # 10 ps are missing to the first; the second lacks 9 ps but asks for 1001.25 ps.
    assert (summed(True).critical.start, summed(True).critical.segments[0].unit) == ("u.a", "u")
    assert summed(True).shortest_period == pytest.approx(1001.25)
    assert summed(False).critical.start == "i"
    assert summed(True, "2.D").critical.segments[0].unit == "top"


def test_opensta_times_memories_the_same(tmp_path, monkeypatch):
    if opensta() is None:
        pytest.skip("OpenSTA (sta) is not installed")
    cells = library()
    for clocked in (True, False):
        modules = memory_design(clocked)
        times = MemoryTiming(3000.0, 7000.0, 500.0, 250.0, 100.0, 1.0)
        replaced, memories, text = with_memory_cells(modules, {("top", "m"): times})
        monkeypatch.setattr("tools.design_timing.opensta", opensta)
        found = design_timing(replaced, "top", cells, memories, text, 100.0, tmp_path)
        assert found.engine.startswith("OpenSTA")
        monkeypatch.setattr("tools.design_timing.opensta", lambda: None)
        own = design_timing(replaced, "top", cells, memories, text, 100.0, tmp_path)
        assert found.endpoints == own.endpoints
        assert found.shortest_period == pytest.approx(own.shortest_period, rel=0.01)
        assert found.critical.length == pytest.approx(own.critical.length, rel=0.01)
        assert found.critical.slack == pytest.approx(own.critical.slack, abs=10)
        # Both bits of the word are equally late, at three flops.
        assert {found.critical.end, own.critical.end} <= {"top.end", "top.a10", "top.a11"}


def test_without_a_working_opensta_the_engine_says_so(tmp_path, monkeypatch):
    program = tmp_path / "sta"
    program.write_text("#!/bin/sh\necho Error: out of licences\n")
    program.chmod(0o755)
    monkeypatch.setattr("tools.design_timing.opensta", lambda: (str(program), "9.9"))
    report = timed(100.0, True, tmp_path)
    assert report.engine == (f"{OWN_ENGINE}, as OpenSTA could not time the netlist; its words: "
                             "Error: out of licences")
    assert report.met is True


ANSWER = """\
Warning: library0.lib, line 67 default_operating_condition typical not found.
path 6.901719e-01 c1/Q p2
path -1.5e-02 p0[3] c7/D
point c1/CK 0.0
point c1/Q 9.186103e-02
point p2 9.867714e-02
period 1.015
done
"""


def test_reads_what_opensta_prints():
    found = parse_answer(ANSWER)
    assert found.paths == (StaPath(pytest.approx(690.1719), "c1/Q", "p2"),
                           StaPath(pytest.approx(-15.0), "p0[3]", "c7/D"))
    assert found.points[1] == ("c1/Q", pytest.approx(91.86103))
    assert found.period_ps == pytest.approx(1015.0)


@pytest.mark.parametrize(("text", "words"), [
    (ANSWER.replace("done\n", ""),
     "point c1/Q 9.186103e-02 | point p2 9.867714e-02 | period 1.015"),
    (ANSWER + "Error: top.v, line 3 syntax error\n", "Error: top.v, line 3 syntax error"),
    ("Warning: module INV_X1 not found.  Creating black box for c0.\ndone\n",
     "Warning: module INV_X1 not found.  Creating black box for c0."), ("", "none")])
def test_says_what_opensta_said(text, words):
    with pytest.raises(UserError) as error:
        parse_answer(text)
    assert str(error.value) == f"OpenSTA could not time the netlist; its words: {words}"


def test_another_program_of_that_name_is_not_opensta(tmp_path, monkeypatch):
    program = tmp_path / "sta"
    program.write_text("#!/bin/sh\necho usage: sta FILE\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert opensta() is None
    program.write_text("#!/bin/sh\necho 2.6.0\n")
    assert opensta() == (str(program), "2.6.0")


def test_a_cell_that_nothing_implements_is_named():
    modules = {"top": module({}, {"u": cell("$_DLATCH_P_", E=2, D=3, Q=4)})}
    with pytest.raises(UserError, match=r"^unit top: nothing in the library implements "
                                        r"\$_DLATCH_P_ \(u\), so the design cannot be timed$"):
        flatten(modules, "top", {})


def test_constraints_have_what_is_outside_where_a_library_is_given():
    text = render_constraints("t", 800.0, ["a"])
    assert "create_clock -name clk -period 1.2500 [get_ports clk]" in text
    assert "set_input_delay 0.2500 -clock clk $data_inputs" in text
    assert "set_driving_cell" not in text
    text = render_constraints("t", 800.0, ["a"], library=library(), clock="")
    assert "create_clock -name clk -period 1.2500\n" in text
    assert "set_driving_cell -lib_cell INV_X1 $data_inputs" in text
    assert "set_load 4.0000 [all_outputs]" in text
