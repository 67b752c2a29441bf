"""Verilog models of library cells against yosys's own reading of the Liberty text."""

from pathlib import Path

import pytest

from tools.cell_models import cell_groups, cell_models, inline_cells
from tools.console import UserError
from tools.generic_library import generic_liberty
from tools.liberty import Library, parse_liberty
from tools.yosys import run_yosys


def _pin(name: str, function: str = "") -> str:
    if not function:
        return f"pin ({name}) {{ direction : input; capacitance : 1; }}"
    return f'pin ({name}) {{ direction : output; function : "{function}"; }}'


# What the embedded library has not: adders, enables, both asynchronous inputs, falling edges,
# latches, and every operator and its precedence.
MORE_CELLS = {
    "FA": [_pin("A"), _pin("B"), _pin("CI"), _pin("S", "A ^ B ^ CI"),
           _pin("CO", "A B | CI (A ^ B)")],
    "MIX": [_pin("A"), _pin("B"), _pin("C"), _pin("D"), _pin("Y", "A + !B * C ^ D'")],
    "DFFE": ['ff (IQ, IQN) { clocked_on : "CK"; next_state : "(E & D) | (!E & IQ)"; }',
             _pin("CK"), _pin("D"), _pin("E"), _pin("Q", "IQ"), _pin("QN", "IQN")],
    "DFFN": ['ff (IQ, IQN) { clocked_on : "!CK"; next_state : "!D"; }', _pin("CK"), _pin("D"),
             _pin("QN", "IQN")],
    "DFFRS": ['ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; clear : "!RN"; '
              'preset : "!SN"; clear_preset_var1 : L; clear_preset_var2 : L; }',
              _pin("CK"), _pin("D"), _pin("RN"), _pin("SN"), _pin("Q", "IQ")],
    "LATCH": ['latch (IQ, IQN) { enable : "G"; data_in : "D"; }', _pin("G"), _pin("D"),
              _pin("Q", "IQ")],
}


def _library() -> Library:
    cells = "".join(f"cell ({name}) {{ area : 1; {' '.join(parts)} }}\n"
                    for name, parts in MORE_CELLS.items())
    text = generic_liberty().rstrip().removesuffix("}") + cells + "}\n"
    return parse_liberty([("library", text)])


@pytest.mark.slow
def test_models_do_what_yosys_reads_in_the_liberty_text(tmp_path: Path) -> None:
    library = _library()
    cells = cell_groups(library)
    assert {"FA", "DFFRS", "NAND2_X1", "DFF_X1", "MUX2_X1"} <= set(cells)
    (tmp_path / "library.lib").write_text(library.texts[0])
    (tmp_path / "models.v").write_text(cell_models(cells, cells))
    script = ["read_liberty library.lib"]
    script += [f"rename {name} {name}_gold" for name in cells]
    script += ["read_verilog models.v", "proc", "opt_clean"]
    asynchronous = ("DFFR_X1", "DFFS_X1", "DFFRS", "LATCH")
    for name in cells:
        script += [f"equiv_make {name}_gold {name} {name}_both", f"cd {name}_both",
                   "async2sync" if name in asynchronous else "opt_clean",
                   "equiv_simple", "equiv_induct", "equiv_status -assert", "cd"]
    run_yosys("\n".join([*script, ""]), tmp_path)


@pytest.mark.slow
def test_a_wrong_model_is_found(tmp_path: Path) -> None:
    """What the test above relies on can fail."""
    library = _library()
    cells = cell_groups(library)
    (tmp_path / "library.lib").write_text(library.texts[0])
    (tmp_path / "models.v").write_text(cell_models(cells, ["FA"]).replace("|", "&", 1))
    with pytest.raises(UserError, match="unproven"):
        run_yosys("\n".join([
            "read_liberty library.lib", "rename FA FA_gold", "read_verilog models.v", "proc",
            "equiv_make FA_gold FA both", "cd both", "equiv_simple", "equiv_induct",
            "equiv_status -assert", ""]), tmp_path)


def test_both_asynchronous_inputs_give_what_the_library_says() -> None:
    (text,) = (cell_models(cell_groups(_library()), ["DFFRS"]),)
    assert "wire clear_ = ~RN;" in text and "wire preset_ = ~SN & ~~RN;" in text
    assert "wire IQN = (~RN & ~SN) ? 1'b0 : ~IQ;" in text


def test_instances_become_what_their_cells_do() -> None:
    netlist = ("module top(a, b, clk, q);\n"
               "  NAND2_X1 _1_ (\n    .A(a),\n    .B(\\b [0]),\n    .Y(_0_)\n  );\n"
               "  DFF_X1 _2_ (\n    .CK(clk),\n    .D(_0_),\n    .Q(q)\n  );\n"
               "  LATCH _3_ (\n    .D(a),\n    .G(clk),\n    .Q(r)\n  );\nendmodule\n")
    found = inline_cells(netlist, cell_groups(_library()))
    assert "  assign _0_ = ~(a & \\b [0] );\n" in found
    assert "  always @(posedge clk) _2__state <= _0_;\n  assign q = _2__state;\n" in found
    # A latch stays an instance, and its model is there.
    assert "module LATCH (G, D, Q);" in found and "  LATCH _3_ (\n" in found


@pytest.mark.parametrize(("parts", "message"), [
    (['statetable ("G D", "IQ") { table : "H - : - : N"; }', _pin("G"), _pin("Y", "G")],
     "cell BAD: no model can be made of it: it has a group statetable"),
    ([_pin("A"), 'pin (Y) { direction : output; function : "A"; three_state : "A"; }'],
     "cell BAD: no model can be made of it: its output Y has three states"),
    ([_pin("A"), _pin("Y", "A & B")], "cell BAD: no model can be made of it: B is no pin"),
    ([_pin("A"), _pin("Y", "A &")], "cell BAD: no model can be made of it: "),
])
def test_cells_without_a_model_are_refused(parts: list[str], message: str) -> None:
    text = generic_liberty().rstrip().removesuffix("}")
    text += f"cell (BAD) {{ {' '.join(parts)} }}\n}}\n"
    cells = cell_groups(parse_liberty([("library", text)]))
    with pytest.raises(UserError) as caught:
        cell_models(cells, ["BAD"])
    assert str(caught.value).startswith(message)


def test_a_cell_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="cell NOR9 of the netlist is not in the library"):
        cell_models(cell_groups(_library()), ["NOR9"])
