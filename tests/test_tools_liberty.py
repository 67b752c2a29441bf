"""Liberty files: what is read, what is left out, and what is said about a broken one."""

import gzip
from pathlib import Path

import pytest

from tools.adder_cells import AdderCell
from tools.boolean import truth_table
from tools.console import UserError
from tools.generic_library import generic_liberty
from tools.liberty import parse_liberty, read_liberty

# Areas in um2 of the open Nangate 45 nm library, whose NAND2_X1 has 0.798 um2.
NANGATE45_UM2 = {
    "INV_X1": 0.532, "INV_X2": 0.798, "INV_X4": 1.33, "INV_X8": 2.394, "BUF_X1": 0.798,
    "BUF_X2": 1.064, "BUF_X4": 1.862, "BUF_X8": 3.458, "NAND2_X1": 0.798, "NAND3_X1": 1.064,
    "NAND4_X1": 1.33, "NOR2_X1": 0.798, "NOR3_X1": 1.064, "NOR4_X1": 1.33, "AND2_X1": 1.064,
    "AND3_X1": 1.33, "AND4_X1": 1.596, "OR2_X1": 1.064, "OR3_X1": 1.33, "OR4_X1": 1.596,
    "AOI21_X1": 1.064, "OAI21_X1": 1.064, "AOI22_X1": 1.33, "OAI22_X1": 1.33,
    "AOI211_X1": 1.33, "OAI211_X1": 1.33,
    "AOI221_X1": 1.596, "OAI221_X1": 1.596, "OAI33_X1": 1.862, "XOR2_X1": 1.596, "XNOR2_X1": 1.596,
    "MUX2_X1": 1.862, "FA_X1": 4.256, "HA_X1": 2.66,
    "DFF_X1": 4.522, "DFFR_X1": 5.32, "DFFS_X1": 5.32,
}

# And of ASAP7 (7.5 tracks), of the cells that its flow uses: NAND2x1 has 0.08748 um2.
ASAP7_UM2 = {
    "INV_X1": 0.04374, "INV_X2": 0.05832, "INV_X4": 0.08748, "INV_X8": 0.1458, "BUF_X2": 0.0729,
    "BUF_X4": 0.10206, "BUF_X8": 0.17496, "NAND2_X1": 0.08748, "NAND3_X1": 0.16038,
    "NOR2_X1": 0.08748, "NOR3_X1": 0.16038, "AND2_X1": 0.08748, "AND3_X1": 0.08748,
    "AND4_X1": 0.10206, "OR2_X1": 0.08748, "OR3_X1": 0.08748, "OR4_X1": 0.10206,
    "AOI21_X1": 0.11664, "OAI21_X1": 0.11664, "AOI22_X1": 0.1458, "OAI22_X1": 0.1458,
    "AOI211_X1": 0.17496, "AO21_X1": 0.08748, "OA21_X1": 0.10206, "AO22_X1": 0.13122,
    "AO221_X1": 0.1458,
    "OA22_X1": 0.1458, "OA211_X1": 0.11664, "MAJ_X1": 0.13122, "XOR2_X1": 0.16038,
    "XNOR2_X1": 0.16038, "FA_X1": 0.20412, "HA_X1": 0.13122, "DFF_X1": 0.2916, "DFFR_X1": 0.37908,
    "DFFS_X1": 0.37908,
}

SMALL = """
/* comment { */
library (small) {
  time_unit : "10ps";
  capacitive_load_unit (1, pf);
  default_wire_load : "heavy";
  wire_load ("heavy") { fanout_length (1, 100); }
  lu_table_template (grid) {
    variable_1 : total_output_net_capacitance;
    variable_2 : input_net_transition;
    index_1 ("0.001, 0.002, 0.004");
    index_2 ("1, 3");
  }
  cell (inv) {
    area : 1.5;
    pin (A) { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "A'";
      internal_power () { related_pin : "A"; rise_power (grid) { values ("9"); } }
      timing () {
        related_pin : "A"; timing_sense : negative_unate;
        cell_rise (grid) { values ("1, 2", "3, 4", \\
                                   "7, 8"); }
        cell_fall (grid) { values ("1, 2", "3, 4", "7, 8"); }
        rise_transition (grid) { values ("1, 1", "1, 1", "1, 1"); }
        fall_transition (grid) { values ("1, 1", "1, 1", "1, 1"); }
      }
    }
  }
  cell (nand_tiny) { area : 0.5; dont_use : true;
    pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A B)"; } }
  cell (nand_big) { area : 2;
    pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!A | !B"; } }
  cell (nand_bigger) { area : 3;
    pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "(A*B)'"; } }
  cell (flop) { area : 8; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
    pin (C) { direction : input; } pin (D) { direction : input; }
    pin (Q) { direction : output; function : "IQ"; } }
}
"""


def test_generic_library_is_the_same_every_time_and_reads_back():
    assert generic_liberty() == generic_liberty()
    library = parse_liberty([("generic", generic_liberty())])
    assert library.nand2.name == "NAND2_X1"
    assert library.nand2.area == 1.0
    assert library.inverter.name == "INV_X1"
    assert library.has_buffer
    logic = [cell for cell in library.cells.values() if not cell.flop]
    assert len(logic) >= 25
    assert all(cell.tables for cell in logic)
    assert all(cell.function is not None for cell in logic if len(cell.tables) == 1)


def test_generic_inverter_with_four_loads_takes_one_nanosecond_on_paper():
    library = parse_liberty([("generic", generic_liberty())])
    assert library.fo4[0] == pytest.approx(1000.0, rel=1e-5)


def test_generic_areas_are_those_of_nangate45_within_a_hundredth():
    library = parse_liberty([("generic", generic_liberty())])
    assert set(library.cells) == set(NANGATE45_UM2)
    for name, cell in library.cells.items():
        assert cell.area == pytest.approx(NANGATE45_UM2[name] / 0.798, rel=0.01), name


def adder_text(function_of_carry, function_of_sum, inputs="ABC", name="adder"):
    pins = "".join(f"pin ({pin}) {{ direction : input; }} " for pin in inputs)
    return SMALL.replace("  cell (flop)", f"""  cell ({name}) {{ area : 9; {pins}
    pin (S) {{ direction : output; function : "{function_of_sum}"; }}
    pin (K) {{ direction : output; function : "{function_of_carry}"; }} }}
  cell (flop)""")


@pytest.mark.parametrize(("carry", "total", "inverted"), [
    ("(A & B) | (C & (A | B))", "C ^ (A ^ B)", (False, False)),
    ("(!A * !B) + (!A * !C) + (!B * !C)",
     "(A * B * !C) + (A * !B * C) + (!A * B * C) + (!A * !B * !C)", (True, True)),
    ("(!A&!C) | (!A&!B) | (!B&!C)", "A ^ B ^ C", (True, False)),
])
def test_full_adders_are_found_by_what_they_compute(carry, total, inverted):
    library = parse_liberty([("x", adder_text(carry, total))])
    assert library.full_adder == AdderCell("adder", 9.0, ("A", "B", "C"), "K", "S", *inverted)
    assert library.half_adder is None


@pytest.mark.parametrize(("carry", "total"), [
    ("(A & !C) | (A & B) | (B & !C)", "A ^ B ^ C"), ("A & B & C", "A ^ B ^ C"),
    ("(A & B) | (C & (A | B))", "A ^ B"), ("A ^ B ^ C", "A ^ B ^ C"), ("A & B", "")])
def test_no_adder_is_found_where_there_is_none(carry, total):
    library = parse_liberty([("x", adder_text(carry, total))])
    assert (library.full_adder, library.half_adder) == (None, None)


def test_half_adders_and_those_of_the_embedded_library_are_found():
    library = parse_liberty([("x", adder_text("!A + !B", "A B + !A !B", "AB"))])
    assert library.half_adder == AdderCell("adder", 9.0, ("A", "B"), "K", "S", True, True)
    library = parse_liberty([("generic", generic_liberty())])
    assert library.full_adder == AdderCell("FA_X1", pytest.approx(16 / 3, abs=1e-5),
                                           ("A", "B", "CI"), "CO", "S", False, False)
    assert library.half_adder.name == "HA_X1"


def test_reads_units_tables_and_functions():
    library = parse_liberty([("small.lib", SMALL)])
    arc = library.cells["inv"].pins["Y"].arcs[0]
    table = arc.delays[1]
    # Loads along the first axis, in pF; times in units of 10 ps.
    assert table.at(slew=10.0, load=1.0) == pytest.approx(10.0)
    assert table.at(slew=20.0, load=3.0) == pytest.approx(55.0)
    assert table.at(slew=30.0, load=8.0) == pytest.approx(160.0)
    assert library.cells["inv"].pins["A"].capacitance == pytest.approx(1.0)


def test_gate_equivalent_is_the_smallest_nand2_that_may_be_used():
    library = parse_liberty([("small.lib", SMALL)])
    assert library.nand2.name == "nand_big"


def test_leaves_out_unusable_cells_wire_loads_and_power():
    (copy,) = parse_liberty([("small.lib", SMALL)]).texts
    for gone in ("nand_tiny", "wire_load", "internal_power"):
        assert gone not in copy
    again = parse_liberty([("copy.lib", copy)])
    assert list(again.cells) == ["inv", "nand_big", "nand_bigger", "flop"]


def test_reads_gzip_and_takes_files_together(tmp_path):
    start = SMALL.index("  cell (flop)")
    head = SMALL[:SMALL.index("  cell (inv)")]
    logic, flops = tmp_path / "logic.lib", tmp_path / "flops.lib.gz"
    logic.write_text(SMALL[:start] + "}\n")
    flops.write_bytes(gzip.compress((head + SMALL[start:]).encode()))
    library = read_liberty([logic, flops])
    assert list(library.cells) == ["inv", "nand_big", "nand_bigger", "flop"]
    assert library.flop_texts == (False, True)


@pytest.mark.parametrize(("text", "message"), [
    ("module m; endmodule\n",
     "x.lib is no Liberty file: it must begin with 'library (', not with 'module m; endmodule'"),
    ("", "x.lib is no Liberty file: it must begin with 'library (', not with ''"),
    (SMALL[:SMALL.index("pin (Y)")], "x.lib ends inside cell (inv): the file is cut short"),
    (SMALL.replace("area : 1.5;", "area : large;"),
     "x.lib: cell inv has the area 'large'; a number is needed"),
    (SMALL.replace("area : 1.5;", "@ 1.5"),
     "x.lib:15: no Liberty: '@ 1.5'; an attribute, a group or a closing brace is needed"),
    (SMALL.replace('"10ps"', '"1h"'),
     "x.lib: time_unit is '1h'; known are 1ns, 100ps, 10ps, 1ps"),
    (SMALL.replace("ff (IQ", "other (IQ"),
     "Liberty library small has no flip-flop (a cell with an ff group); "
     "give all files of the library after --liberty"),
    (SMALL.replace("A'", "A"), "Liberty library small has no inverter; "
     "give all files of the library after --liberty"),
    (SMALL.replace("!A | !B", "A & B").replace("(A*B)'", "A | B"),
     "Liberty library small has no two-input NAND, whose area is 1 GE; "
     "give all files of the library after --liberty"),
])
def test_says_what_is_wrong_with_a_file(text, message):
    with pytest.raises(UserError) as error:
        parse_liberty([("x.lib", text)])
    assert str(error.value) == message


def test_rejects_files_with_different_units():
    with pytest.raises(UserError, match=r"^b\.lib: its time or capacitance unit differs from "
                                        r"a\.lib; --liberty takes the files of one library$"):
        parse_liberty([("a.lib", SMALL), ("b.lib", SMALL.replace('"10ps"', '"1ns"'))])


def test_names_a_file_that_cannot_be_read(tmp_path: Path):
    missing = tmp_path / "missing.lib"
    with pytest.raises(UserError) as error:
        read_liberty([missing])
    assert str(error.value) == (f"{missing}: No such file or directory; "
                                "--liberty takes Liberty files (.lib, .lib.gz)")
    with pytest.raises(UserError) as error:
        read_liberty([tmp_path])
    assert str(error.value) == (f"{tmp_path}: Is a directory; "
                                "--liberty takes Liberty files (.lib, .lib.gz)")


@pytest.mark.parametrize("cut", [slice(0, 100), slice(0, -8), slice(0, -1)])
def test_names_a_file_whose_gzip_data_is_damaged(tmp_path: Path, cut: slice):
    damaged = tmp_path / "damaged.lib.gz"
    data = gzip.compress(SMALL.encode())
    for content in (data[cut], data[:-8] + bytes(8)):
        damaged.write_bytes(content)
        with pytest.raises(UserError) as error:
            read_liberty([damaged])
        assert str(error.value) == f"{damaged}: the gzip data is damaged; get the file again"


def test_a_file_that_is_no_text_is_no_liberty(tmp_path: Path):
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF\x02\x01\x01\x00\xff\xfe")
    with pytest.raises(UserError, match=r"^program is no Liberty file: it must begin with "
                                        r"'library \(', not with '\\x7fELF"):
        read_liberty([program])


def test_finfet_areas_are_those_of_asap7_within_a_hundredth():
    library = parse_liberty([("generic", generic_liberty("generic-finfet"))])
    assert set(library.cells) == set(ASAP7_UM2)
    assert library.nand2.area == 1.0
    for name, cell in library.cells.items():
        assert cell.area == pytest.approx(ASAP7_UM2[name] / 0.08748, rel=0.01), name


@pytest.mark.parametrize("patterns", [("nand_*", "!*_big"), ("nand_bigger",)])
def test_patterns_say_which_cells_are_not_used(patterns):
    library = parse_liberty([("small.lib", SMALL)], patterns)
    assert list(library.cells) == ["inv", "nand_big", "flop"]
    assert list(library.unused) == ["nand_bigger"]
    assert "nand_bigger" not in library.texts[0] and "nand_big" in library.texts[0]


def test_patterns_that_leave_no_inverter_are_refused():
    with pytest.raises(UserError, match="^Liberty library small has no inverter; "):
        parse_liberty([("small.lib", SMALL)], ("inv",))


@pytest.mark.parametrize(("expression", "table"), [
    ("A", 0b1010), ("!A", 0b0101), ("A'", 0b0101), ("A B", 0b1000), ("A&B", 0b1000),
    ("A*!B", 0b0010), ("A+B", 0b1110), ("A^B", 0b0110), ("!(A|B)", 0b0001),
    ("A | B & A", 0b1010), ("!A ^ B", 0b1001), ("(A B)'", 0b0111), ("1", 0b1111), ("0", 0),
])
def test_functions_have_their_truth_tables(expression, table):
    assert truth_table(expression, ["A", "B"]) == table


@pytest.mark.parametrize("expression", ["", "C", "A &", "(A", "A)", "A ? B"])
def test_rejects_what_is_no_function(expression):
    with pytest.raises(ValueError):
        truth_table(expression, ["A", "B"])


def test_timing_from_one_output_to_another_is_left_out():
    text = generic_liberty()
    place = text.index("pin (S)", text.index("cell (FA_X1)"))
    text = text[:place] + text[place:].replace('related_pin : "CI"', 'related_pin : "CO"', 1)
    pins = parse_liberty([("generic", text)]).cells["FA_X1"].pins
    assert [arc.related for arc in pins["S"].arcs] == ["A", "B"]
