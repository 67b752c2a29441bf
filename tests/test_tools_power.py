"""Power from toggles and Liberty tables, on a netlist small enough to add up by hand."""

import re
from pathlib import Path

import pytest

from tests.conftest import DESCRIPTIONS
from tools.activity import Waveform
from tools.cell_models import cell_groups
from tools.cli import WRONG_INPUT, run_command
from tools.console import UserError
from tools.gate_netlist import GateNetlist, read_gates, visible_names
from tools.generic_library import generic_liberty
from tools.liberty import Library, parse_liberty
from tools.power_estimate import estimate, unit_powers
from tools.power_tables import PowerLibrary, parse_power

_TIMES = " ".join(f'{kind} (scalar) {{ values ("{value}"); }}' for kind, value in (
    ("cell_rise", 1), ("cell_fall", 1), ("rise_transition", 20), ("fall_transition", 10)))
_HEAD = """library (hand) {
  time_unit : "1ps"; voltage_unit : "1V"; capacitive_load_unit (1, ff);
  leakage_power_unit : "1nW"; nom_voltage : 2.0;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  power_lut_template (by_load) { variable_1 : total_output_net_capacitance; index_1 ("0, 10"); }
  power_lut_template (by_slew) { variable_1 : input_transition_time; index_1 ("0, 20"); }
"""


def _arc(related: str, sense: str) -> str:
    return f'timing () {{ related_pin : "{related}"; timing_sense : {sense}; {_TIMES} }}'


LIBERTY = _HEAD + f"""
  cell (INV) {{ area : 1;
    leakage_power () {{ when : "A"; value : 3; }}
    leakage_power () {{ when : "!A"; value : 1; }}
    pin (A) {{ direction : input; capacitance : 2; rise_capacitance : 3; fall_capacitance : 1; }}
    pin (Y) {{ direction : output; function : "!A"; {_arc("A", "negative_unate")}
      internal_power () {{ related_pin : "A";
        rise_power (by_load) {{ values ("1, 5"); }}
        fall_power (by_load) {{ values ("2, 2"); }} }} }} }}
  cell (NAND2) {{ area : 1; cell_leakage_power : 4;
    pin (A) {{ direction : input; capacitance : 1;
      internal_power () {{ when : "!B"; power (scalar) {{ values ("0.5"); }} }} }}
    pin (B) {{ direction : input; capacitance : 1; }}
    pin (Y) {{ direction : output; function : "!(A & B)"; {_arc("A", "negative_unate")}
      {_arc("B", "negative_unate")}
      internal_power () {{ related_pin : "A"; power (scalar) {{ values ("1"); }} }}
      internal_power () {{ related_pin : "B"; power (scalar) {{ values ("3"); }} }} }} }}
  cell (DFF) {{ area : 4; cell_leakage_power : 10;
    pg_pin (VDD) {{ pg_type : primary_power; }} pg_pin (VSS) {{ pg_type : primary_ground; }}
    ff (IQ, IQN) {{ clocked_on : "CK"; next_state : "D"; }}
    pin (D) {{ direction : input; capacitance : 1; }}
    pin (CK) {{ direction : input; clock : true; capacitance : 4;
      internal_power () {{ when : "D & !Q"; related_pg_pin : VDD;
        rise_power (scalar) {{ values ("0"); }} fall_power (scalar) {{ values ("8"); }} }}
      internal_power () {{ when : "!D & Q"; related_pg_pin : VDD;
        rise_power (scalar) {{ values ("0"); }} fall_power (scalar) {{ values ("8"); }} }}
      internal_power () {{ related_pg_pin : VDD;
        rise_power (scalar) {{ values ("2"); }} fall_power (scalar) {{ values ("4"); }} }}
      internal_power () {{ related_pg_pin : VSS;
        rise_power (scalar) {{ values ("100"); }} fall_power (scalar) {{ values ("100"); }} }} }}
    pin (Q) {{ direction : output; function : "IQ";
      timing () {{ related_pin : "CK"; timing_type : rising_edge; {_TIMES} }}
      internal_power () {{ related_pin : "CK"; related_pg_pin : VDD;
        rise_power (scalar) {{ values ("6"); }} fall_power (scalar) {{ values ("10"); }} }} }} }}
}}
"""
NETLIST = """module top (clk, a, y);
  input clk;
  wire clk;
  input a;
  wire a;
  output y;
  wire y;
  wire _0_;
  wire q;
  \\top.inner inner (
    .clk(clk),
    .d(_0_),
    .q(q)
  );
  NAND2 _1_ (
    .A(a),
    .B(q),
    .Y(_0_)
  );
  INV _2_ (
    .A(_0_),
    .Y(y)
  );
endmodule
module \\top.inner (clk, d, q);
  input clk;
  wire clk;
  input d;
  wire d;
  output q;
  wire q;
  DFF _3_ (
    .CK(clk),
    .D(d),
    .Q(q)
  );
endmodule
"""


@pytest.fixture(scope="module")
def library() -> Library:
    return parse_liberty([("hand.lib", LIBERTY)])


@pytest.fixture(scope="module")
def gates(library: Library, tmp_path_factory: pytest.TempPathFactory) -> GateNetlist:
    return read_gates(visible_names(NETLIST), "top", cell_groups(library),
                      tmp_path_factory.mktemp("gates"))


@pytest.fixture
def power() -> PowerLibrary:
    return parse_power([("hand.lib", LIBERTY)], ["INV", "NAND2", "DFF"])


def test_power_is_what_it_is_by_hand(gates: GateNetlist, library: Library,
                                     power: PowerLibrary) -> None:
    """100 cycles of 1 ns; every energy below in fJ."""
    counts = {"top.clk": (100, 100), "top.a": (10, 10), "top.net_0_": (20, 20),
              "top.q": (5, 5), "top.y": (20, 20)}
    toggles = [next((counts[name] for name, _ in names if name in counts), (0, 0))
               for names in gates.names]
    found = dict(zip((gate.cell for gate in gates.gates), estimate(
        gates, power, library.cells, toggles, 100e-9, 0.0), strict=True))
    to_watts = 1e-15 / 100e-9
    half = 2.0**2 / 2
    # Its net has the INV's pin (2 fF, the mean of both edges) and the DFF's D (1 fF). The port a
    # charges the pin A. Each output edge is A's arc in 20 of 30 input edges, B's in the others; an
    # edge of A costs more where B is 0, in half of the states.
    nand = found["NAND2"]
    assert nand.switching == pytest.approx((half * 3 * 40 + half * 1 * 20) * to_watts)
    assert nand.internal == pytest.approx((40 * (1 * 20 + 3 * 10) / 30 + 20 * 0.5 / 2) * to_watts)
    assert nand.leakage == pytest.approx(4e-9) and nand.clock == 0
    # No load: energies of the tables' first column.
    assert found["INV"].switching == 0
    assert found["INV"].internal == pytest.approx((20 * 1 + 20 * 2) * to_watts)
    assert found["INV"].leakage == pytest.approx(2e-9)
    # Q changes at 10 of 100 edges. Where it does, a rise of the clock costs 0 and a fall 8;
    # elsewhere 2 and 4. What the ground rail's table says is not counted twice.
    dff = found["DFF"]
    clock_inside = 100 * (0.9 * (2 + 4) + 0.1 * (0 + 8))
    assert dff.internal == pytest.approx((clock_inside + 5 * 6 + 5 * 10) * to_watts)
    assert dff.switching == pytest.approx((half * 1 * 10 + half * 4 * 200) * to_watts)
    assert dff.clock == pytest.approx((clock_inside + half * 4 * 200) * to_watts)


def test_states_that_are_unrelated(gates: GateNetlist, library: Library,
                                   power: PowerLibrary) -> None:
    toggles = [(100, 100) if ("top.clk", 0) in names else (0, 0) for names in gates.names]
    found = dict(zip((gate.cell for gate in gates.gates), estimate(
        gates, power, library.cells, toggles, 100e-9, 0.0, independent=True), strict=True))
    assert found["DFF"].internal == pytest.approx(100 * (0.5 * 6 + 0.5 * 8) * 1e-15 / 100e-9)


def test_tables_are_read_at_the_slew_and_load(power: PowerLibrary) -> None:
    (arc,) = power.cells["INV"].arcs["Y"]
    assert arc.rise is not None and arc.rise.at(0.0, 5e-15) == pytest.approx(3e-15)


def test_units_add_up(gates: GateNetlist, library: Library, power: PowerLibrary) -> None:
    toggles = [(10.0, 10.0)] * len(gates.names)
    found = estimate(gates, power, library.cells, toggles, 1e-7, 0.0)
    units = {unit.path: unit for unit in unit_powers(gates, found)}
    assert list(units) == ["top", "top.inner"]
    assert units["top"].gates == 2 and units["top.inner"].gates == 1
    assert units["top"].total.total == pytest.approx(sum(one.total for one in found))
    assert units["top.inner"].total == units["top.inner"].own


def test_ground_rails_count_on_request() -> None:
    with_grounds = parse_power([("hand.lib", LIBERTY)], ["DFF"], grounds=True)
    without = parse_power([("hand.lib", LIBERTY)], ["DFF"])
    assert len(with_grounds.cells["DFF"].arcs["CK"]) == len(without.cells["DFF"].arcs["CK"]) + 1


VCD = """$version x $end
$timescale 1ps $end
$scope module top $end
$var wire 1 ! clk $end
$var wire 1 " valid $end
$var wire 4 # bus [3:0] $end
$var wire 1 $ b[1] $end
$scope module inner $end
$var wire 1 " v $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
0!
0"
b0000 #
1$
#10
1!
1"
#20
0!
b0110 #
#30
1!
0"
b0011 #
0$
#40
0!
"""


def test_toggles_are_counted_within_the_time(tmp_path: Path) -> None:
    file = tmp_path / "x.vcd"
    file.write_text(VCD)
    waveform = Waveform(file)
    assert waveform.has("top.inner.v") and not waveform.has("top.w")
    everything = waveform.toggles(1, 1000)
    assert everything["top.clk"] == [(2, 2)]
    assert everything["top.valid"] == everything["top.inner.v"] == [(1, 1)]
    assert everything["top.bus"] == [(1, 0), (1, 0), (1, 1), (0, 0)]
    assert everything["top.b[1]"] == [(0, 1)]
    part = waveform.toggles(20, 30)
    assert part["top.clk"] == [(0, 1)] and part["top.bus"] == [(0, 0), (1, 0), (1, 0), (0, 0)]
    # Taken is what was there before the edge: at 30, not at 10.
    assert waveform.transfers("top.clk", "top.valid", "top.inner.v") == [30]
    with pytest.raises(ValueError, match="has no variable top.w"):
        waveform.transfers("top.clk", "top.w", "top.valid")


@pytest.mark.parametrize(("old", "new", "message"), [
    ("nom_voltage : 2.0;", "", "hand.lib: nom_voltage is '';"),
    ('leakage_power_unit : "1nW";', "", "hand.lib: leakage_power_unit is ''; power needs it"),
    ('voltage_unit : "1V";', 'voltage_unit : "1 foot";', "hand.lib: voltage_unit is '1 foot'"),
    ('values ("1, 5")', 'values ("1, 5, 6")', "hand.lib: a power table of by_load has 3 values"),
])
def test_power_data_that_cannot_be_used(old: str, new: str, message: str) -> None:
    assert old in LIBERTY
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        parse_power([("hand.lib", LIBERTY.replace(old, new))], ["INV", "NAND2", "DFF"])


def test_corners_are_not_mixed() -> None:
    other = LIBERTY.replace("nom_voltage : 2.0", "nom_voltage : 1.8")
    with pytest.raises(UserError, match="other.lib: nom_voltage is 1.8 V, that of hand.lib 2 V"):
        parse_power([("hand.lib", LIBERTY), ("other.lib", other)], ["INV"])


def test_a_library_without_power_is_refused() -> None:
    with pytest.raises(UserError, match="pnmtile_generic has no power data"):
        parse_power([("generic.lib", generic_liberty())], ["NAND2_X1"])


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "power needs the power data of a technology, which the embedded library has not"),
    (["--liberty", "none.lib", "--workload", "quantize"],
     "--workload quantize is none that smallest can do; allowed: gemv"),
])
def test_wrong_input(arguments: list[str], message: str,
                     capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["power", str(DESCRIPTIONS[2]), *arguments]) == WRONG_INPUT
    assert message in capsys.readouterr().err
