"""Libraries by name: where kits lie, which cells are left out, and how to get a missing one."""

import gzip
import re

import pytest

from tests.conftest import DESCRIPTIONS
from tools.cli import WRONG_INPUT, run_command
from tools.console import UserError
from tools.generic_library import generic_liberty
from tools.pdk import load_pdk, pdk_files

TEXT = generic_liberty()
SKY130 = "libs.ref/sky130_fd_sc_hd/lib/sky130_fd_sc_hd__tt_025C_1v80.lib"
IHP = "libs.ref/sg13g2_stdcell/lib/sg13g2_stdcell_typ_1p20V_25C.lib"
GF180 = "libs.ref/gf180mcu_fd_sc_mcu7t5v0/{}/gf180mcu_fd_sc_mcu7t5v0__tt_025C_5v00.lib"
ASAP7 = tuple(f"asap7sc7p5t_{part}_RVT_TT_nldm_{date}.lib" for part, date in (
    ("AO", 211120), ("INVBUF", 220122), ("OA", 211120), ("SEQ", 220123), ("SIMPLE", 211120)))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    return tmp_path


def put(root, *names, text=TEXT):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz")
                                  else text.encode())


@pytest.mark.parametrize(("pdk", "names"), [
    ("sky130", [f"sky130A/{SKY130}"]),
    ("sky130", [f"ciel/sky130/versions/0f1e2d/sky130A/{SKY130}"]),
    ("sky130", [f"volare/sky130/versions/0f1e2d/sky130A/{SKY130}"]),
    ("sky130", ["sky130hd/lib/sky130_fd_sc_hd__tt_025C_1v80.lib.gz"]),
    ("ihp-sg13g2", [f"ihp-sg13g2/{IHP}"]),
    ("gf180", [f"gf180mcuD/{GF180.format('lib')}"]),
    ("gf180", [f"gf180mcuC/{GF180.format('liberty')}"]),
    ("nangate45", ["nangate45/lib/NangateOpenCellLibrary_typical.lib"]),
    ("nangate45", ["flow/platforms/nangate45/lib/NangateOpenCellLibrary_typical.lib.gz"]),
    ("asap7", [f"asap7/lib/NLDM/{name}.gz" for name in ASAP7]),
    ("asap7", [f"asap7/lib/{name}" for name in ASAP7]),
])
def test_kits_are_found_as_they_lie(root, pdk, names):
    put(root, *names)
    assert [str(path.relative_to(root)) for path in pdk_files(pdk)] == names


def test_a_part_of_a_kit_is_none_and_the_home_directory_is_the_default(root, monkeypatch):
    put(root, *(f"asap7/lib/{name}" for name in ASAP7[:4]))
    with pytest.raises(UserError):
        pdk_files("asap7")
    monkeypatch.delenv("PDK_ROOT")
    monkeypatch.setenv("HOME", str(root))
    put(root, f".ciel/sky130A/{SKY130}")
    assert pdk_files("sky130") == (root / ".ciel" / "sky130A" / SKY130,)


def test_a_missing_kit_says_how_to_get_it(root, capsys):
    assert run_command(["synth", str(DESCRIPTIONS[2]), "--pdk", "sky130"]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert said == (
        f"pnmtile: the library sky130 was not found; looked for {root}/sky130A/{SKY130}, "
        f"{root}/flow/platforms/sky130A/{SKY130}(.gz) and other layouts; to get it: pip install "
        "ciel, then: ciel ls-remote --pdk-family sky130; ciel enable --pdk-family sky130 VERSION; "
        "or give its files with --liberty\n")


def test_of_several_versions_none_is_chosen(root):
    put(root, *(f"ciel/sky130/versions/{one}/sky130A/{SKY130}" for one in ("0a", "0b")))
    with pytest.raises(UserError, match=r"^the library sky130 lies below .* in 2 versions, and "
                                        r"none is enabled; choose one with: ciel enable, or give "
                                        r"its files with --liberty$"):
        pdk_files("sky130")


def test_cells_that_the_flow_does_not_use_are_left_out(root):
    names = ("NAND2x1", "NAND2xp5", "FAx1", "HAxp5", "DFFHQNx1", "DFFHQx4", "SDFHx1")
    cells = dict(zip(names, ("NAND2_X1", "NAND3_X1", "FA_X1", "HA_X1", "DFF_X1", "DFFR_X1",
                             "DFFS_X1"), strict=True))
    text = TEXT
    for name, cell in cells.items():
        text = re.sub(rf"cell \({cell}\)", f"cell ({name}_ASAP7_75t_R)", text)
    put(root, *(f"asap7/lib/{name}" for name in ASAP7), text=text)
    library = load_pdk("asap7")
    assert library.technology and library.name == "asap7"
    kept = {name.removesuffix("_ASAP7_75t_R") for name in library.cells}
    assert kept & set(names) == {"NAND2x1", "FAx1", "HAxp5", "DFFHQNx1"}
    assert {name.removesuffix("_ASAP7_75t_R") for name in library.unused} == {
        "NAND2xp5", "DFFHQx4", "SDFHx1"}
    assert "NAND2xp5" not in library.texts[0]


def test_a_gate_equivalent_is_a_nand2_even_where_the_flow_does_not_use_it(root):
    put(root, f"gf180mcuD/{GF180.format('lib')}",
        text=re.sub(r"cell \((\w+)_X(\d)\)", r"cell (\1_\2)", TEXT.replace(
            "cell (NAND3_X1)", "cell (NAND3_X2)").replace("cell (DFF_X1)", "cell (DFF_X2)"))
        )
    library = load_pdk("gf180")
    assert library.nand2.name == "NAND2_1"
    assert "NAND2_1" not in library.cells
    assert library.inverter.name == "INV_2"


@pytest.mark.parametrize(("options", "message"), [
    (["--dont-use", "X"], "--dont-use is about the cells of --liberty; give its files, and no "
                          "--pdk"),
    (["--pdk", "generic", "--liberty", "cells.lib"],
     "cells.lib: holds cells; beside --pdk, --liberty takes files of memory macros (cells with a "
     "memory group) only"),
    (["--memories", "macro"],
     "--memories macro needs a library with a technology (--pdk or --liberty) and memory macros: "
     "give their Liberty files with --liberty, too"),
])
def test_options_that_do_not_go_together(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "cells.lib")
    assert run_command(["synth", str(DESCRIPTIONS[2]), *options]) == WRONG_INPUT
    assert capsys.readouterr().err == f"pnmtile: {message}\n"
