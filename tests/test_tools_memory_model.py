"""What stands for a memory: estimates, macros of a Liberty file, and the cell with its times."""

import pytest

from tools.console import UserError
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty
from tools.memory_area import Memory
from tools.memory_macro import Macro, fit
from tools.memory_model import MemoryTiming, choose, with_memory_cells
from tools.netlist import flatten
from tools.timing import longest_paths

LARGE = Memory("m", 512, 256, 1, 1, 1)
SMALL = Memory("m", 4, 32, 1, 1, 0)
MACRO = """
library (srams) {
  time_unit : "1ps";
  capacitive_load_unit (1, pf);
  lu_table_template (t) { variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance; index_1 ("1, 100"); index_2 ("0.001, 0.1"); }
  type (word) { base_type : array; data_type : bit; bit_width : 64; bit_from : 63; bit_to : 0; }
  cell (sram_256x64) {
    area : 5000;
    memory () { type : ram; address_width : 8; word_width : 64; }
    pin (clk) { direction : input; clock : true; capacitance : 0.02; }
    bus (ra) { bus_type : word; direction : input; capacitance : 0.003;
      timing () { related_pin : "clk"; timing_type : setup_rising;
        rise_constraint (scalar) { values ("70"); } fall_constraint (scalar) { values ("90"); } } }
    bus (rd) { bus_type : word; direction : output;
      memory_read () { address : ra; }
      timing () { related_pin : "clk"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (t) { values ("300, 399", "300, 399"); }
        cell_fall (t) { values ("300, 399", "300, 399"); }
        rise_transition (t) { values ("9, 9", "9, 9"); }
        fall_transition (t) { values ("9, 9", "9, 9"); } } }
    bus (wd) { bus_type : word; direction : input; capacitance : 0.003;
      memory_write () { address : wa; clocked_on : "clk"; } }
  }
}
"""


def library(*more):
    return parse_liberty([("generic", generic_liberty()), *more])


def test_estimates_are_those_of_the_documentation():
    found = choose(LARGE, "u.m", library(), False)
    assert (found.what, found.origin, found.um2) == ("bit cells, estimate", "literature", None)
    assert found.times.access_ps == pytest.approx(13e3, rel=1e-5)  # 2**17 bits: 10 + 3 FO4.
    assert found.times.read_setup_ps == found.times.write_setup_ps == pytest.approx(2e3, rel=1e-5)
    tiny = choose(Memory("m", 64, 16, 1, 1, 1), "u.m", library(), False)
    assert tiny.times.access_ps == pytest.approx(6e3, rel=1e-5)
    found = choose(SMALL, "u.m", library(), True)  # No macro is made so small.
    assert (found.what, found.macro) == ("latches, estimate", None)
    assert found.times.flow_ps == pytest.approx(8e3, rel=1e-5)
    assert found.times.read_setup_ps == pytest.approx(9e3, rel=1e-5)


def test_a_macro_is_read_with_its_ports_area_and_times():
    (macro,) = library(("srams.lib", MACRO)).macros
    assert (macro.name, macro.words, macro.width, macro.area) == ("sram_256x64", 256, 64, 5000.0)
    assert sorted(macro.ports) == [(False, True), (True, False)]
    # At a load of four inverters, 4 fF, of 1 to 100 in the table.
    assert macro.access_ps == pytest.approx(303.0)
    assert (macro.setup_ps, macro.input_ff) == (90.0, pytest.approx(20.0))


def test_macros_are_tiled_and_selected():
    found = choose(LARGE, "u.m", library(("srams.lib", MACRO)), True)
    assert (found.macro, found.count, found.origin) == ("sram_256x64", 8, "library")
    assert found.um2 == found.ge == 40000.0  # The area of a NAND2 is 1 in this library.
    assert found.times.access_ps == pytest.approx(303 + 2000, rel=1e-5)  # Of two, one is selected.


def macro(name, words, width, ports, area):
    return Macro(name, words, width, ports, area, 1.0, 1.0, 1.0)


READ, WRITE, BOTH = (True, False), (False, True), (True, True)


@pytest.mark.parametrize(("memory", "ports", "count"), [
    (Memory("m", 100, 32, 1, 1, 1), (READ, WRITE), 1),
    (Memory("m", 100, 32, 1, 1, 1), (BOTH, READ), 1),
    (Memory("m", 100, 32, 2, 1, 2), (READ, WRITE), 2),
    (Memory("m", 100, 32, 2, 1, 2), (BOTH, BOTH, BOTH), 1),
    (Memory("m", 129, 33, 1, 1, 1), (READ, WRITE), 4),
    (Memory("m", 100, 32, 1, 0, 1), (BOTH,), 1),
    (Memory("m", 100, 32, 1, 1, 1), (BOTH,), None),
    (Memory("m", 100, 32, 1, 2, 1), (READ, WRITE), None),
])
def test_each_port_needs_one_of_the_macro(memory, ports, count):
    found = fit(memory, [macro("a", 128, 32, ports, 10.0)])
    assert (found.count if found else None) == count


def test_the_smallest_fit_is_taken():
    found = fit(Memory("m", 100, 64, 1, 1, 1), [
        macro("large", 1024, 64, (READ, WRITE), 50.0), macro("fits", 128, 32, (READ, WRITE), 10.0)])
    assert (found.macro.name, found.count, found.area) == ("fits", 2, 20.0)


def test_a_memory_that_no_macro_holds_is_named():
    one = library()
    one.macros = [macro("single", 1024, 64, (BOTH,), 10.0)]
    with pytest.raises(UserError) as error:
        choose(LARGE, "tile.buffer.m", one, True)
    assert str(error.value) == (
        "tile.buffer.m, 512 words of 256 bits, needs 1 write port(s) and another that reads, and "
        "no memory macro has that: single has 1 of which 1 read and 1 write; give one that does, "
        "or take --memories estimate")


@pytest.mark.parametrize(("old", "new", "message"), [
    ("address_width : 8", "address_width : many",
     "memory macro sram_256x64 has the address_width 'many'; a number is needed"),
    ("area : 5000", "area : large",
     "memory macro sram_256x64 has the area 'large'; a number is needed")])
def test_broken_macros_are_named(old, new, message):
    with pytest.raises(UserError) as error:
        library(("srams.lib", MACRO.replace(old, new)))
    assert str(error.value) == message


def test_macros_alone_are_no_library():
    with pytest.raises(UserError, match=r"^srams\.lib: only memory macros; give the files of a "
                                        r"cell library, too$"):
        parse_liberty([("srams.lib", MACRO)])


def memory_cell(clocked):
    """Four words of two bits, address and data from flops' nets, enables all one net."""
    return {
        "type": "$mem_v2",
        "parameters": {"MEMID": "\\m", "SIZE": "100", "WIDTH": "10", "RD_PORTS": "1",
                       "WR_PORTS": "1", "RD_WIDE_CONTINUATION": "0", "WR_WIDE_CONTINUATION": "0",
                       "RD_CLK_ENABLE": "1" if clocked else "0"},
        "connections": {"RD_CLK": [2], "RD_ADDR": [10, 11], "RD_DATA": [12, 13], "RD_EN": ["1"],
                        "WR_CLK": [2], "WR_ADDR": [10, 11], "WR_DATA": [10, 10],
                        "WR_EN": [11, 11]},
    }


def memory_design(clocked):
    """Two flops, a memory that they address and write, and a flop that takes its first bit."""
    return {"top": {
        "ports": {"clk": {"direction": "input", "bits": [2]}}, "netnames": {},
        "cells": {
            "m": memory_cell(clocked),
            **{f"a{bit}": {"type": "DFF_X1", "connections": {"CK": [2], "D": [13], "Q": [bit]}}
               for bit in (10, 11)},
            "end": {"type": "DFF_X1", "connections": {"CK": [2], "D": [12], "Q": [14]}}}}}


def paths_through(clocked):
    modules = memory_design(clocked)
    cells = library()
    times = MemoryTiming(3000.0, 7000.0, 500.0, 250.0, 100.0, 1.0)
    replaced, memories, text = with_memory_cells(modules, {("top", "m"): times})
    assert modules["top"]["cells"]["m"]["type"] == "$mem_v2"
    assert text.count("cell (memory0)") == 1
    netlist = flatten(replaced, "top", {**cells.cells, **memories})
    paths, _ = longest_paths(netlist, cells, None)
    return {(path.start, path.end): path.ps for path in paths if "D" in path.end_pin}, {
        path.end_pin.partition(".")[2]: path.ps for path in paths if path.end == "m"}


def test_paths_begin_and_end_at_a_clocked_memory():
    data, inside = paths_through(True)
    assert data["m", "end"] == pytest.approx(3000 + 1000, abs=1)
    # 6 tau of a flop, the load of two addresses and of data that is one net; the setup of a side.
    assert inside["RD_ADDR_0"] == pytest.approx((6 + 3) * 200 + 500, abs=1)
    assert inside["WR_DATA_0"] == pytest.approx((6 + 3) * 200 + 250, abs=1)
    # Enables of both bits are one net, and one load.
    assert inside["WR_EN_0"] == pytest.approx((6 + 3) * 200 + 250, abs=1)
    assert "WR_EN_1" not in inside


def test_paths_go_through_a_memory_that_is_read_without_a_clock():
    data, inside = paths_through(False)
    assert data["a10", "end"] == pytest.approx((6 + 3) * 200 + 7000 + 1000, abs=1)
    assert "RD_ADDR_0" not in inside
    assert inside["WR_ADDR_0"] == pytest.approx((6 + 3) * 200 + 250, abs=1)
