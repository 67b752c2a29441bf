"""The IP package for boards with HBM: who fits, what is in it, what its scripts do."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spec.load import load_tile
from spec.registers import REGISTERS
from tests.conftest import DESCRIPTIONS, PROJECT
from tests.package_cases import HBM2, PACKAGED, packaged, ports
from tools.console import UserError
from tools.fpga_package import ALVEO_BOARDS, check_fits, ip_name, package_files
from tools.generate import PACKAGES


# Who fits


@pytest.mark.parametrize("board", ALVEO_BOARDS)
def test_the_ready_tile_fits_both_boards(board: str) -> None:
    check_fits(load_tile(HBM2), board)


def test_boards_are_whole() -> None:
    for board in ALVEO_BOARDS.values():
        assert 1 << board.address_bits == board.hbm_bytes
        assert 1 << board.pseudo_channel_bits == board.pseudo_channel_bytes


def test_everything_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("""name = "wrong"
[memory]
atom_bytes = 64
address_bits = 36
burst_atoms = 32
""", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        package_files(load_tile(path), "u280")
    assert str(caught.value) == """wrong does not fit u280:
  memory.atom_bytes = 64, but an HBM port moves 32 bytes a cycle; allowed: 32
  memory.address_bits = 36, 3 more than the HBM of 8 GiB has; allowed: at most 33
  memory.burst_atoms = 32, but a burst of AXI3 has at most 16 beats; allowed: at most 16
  clock.target_mhz = 800, 350 MHz above what an HBM port takes; allowed: at most 450"""


def test_a_native_tile_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        check_fits(load_tile(PROJECT / "tiles" / "hbm3_fp8_native.toml"), "u55c")
    assert str(caught.value) == (
        'hbm3_fp8_native does not fit u55c: memory.interface = "native" drives the pins of a '
        'pseudo-channel, and u55c has a controller of its own before them; allowed: "axi4"')


def test_a_board_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UserError, match=r"^--board u250 has no HBM package; boards with one: "
                                        r"u55c, u280$"):
        check_fits(load_tile(DESCRIPTIONS[0]), "u250")


# What is in it


@PACKAGED
def test_the_same_input_gives_the_same_package(board: str) -> None:
    tile, files = packaged(board)
    assert package_files(tile, board) == files
    assert not [name for name, text in files.items() if str(PROJECT) in text]


@PACKAGED
def test_the_manifest_has_the_digest_of_each_file(board: str) -> None:
    tile, files = packaged(board)
    found = json.loads(files["manifest.json"])
    assert found["sha256"] == {name: hashlib.sha256(text.encode()).hexdigest()
                               for name, text in files.items() if name != "manifest.json"}
    assert (found["digest"], found["board"], found["part"]) == (
        tile.digest, board, ALVEO_BOARDS[board].part)
    assert set(found["versions"]) == set(PACKAGES)


@PACKAGED
def test_the_page_names_every_file(board: str) -> None:
    _, files = packaged(board)
    page = files["README.md"]
    assert set(re.findall(r"`([\w.]+\.(?:v|vlt|tcl|xdc|core|h|md|json))`", page)) == (
        set(files) - {"README.md"})
    assert "Vivado was never run" in page


# AXI3 of a manager, AXI4-Lite of a subordinate, as the standard (ARM IHI 0022) lists the signals.
AXI3 = """ARID ARADDR ARLEN ARSIZE ARBURST ARLOCK ARCACHE ARPROT ARVALID ARREADY
RID RDATA RRESP RLAST RVALID RREADY
AWID AWADDR AWLEN AWSIZE AWBURST AWLOCK AWCACHE AWPROT AWVALID AWREADY
WID WDATA WSTRB WLAST WVALID WREADY BID BRESP BVALID BREADY""".split()
AXI4_LITE = """AWADDR AWPROT AWVALID AWREADY WDATA WSTRB WVALID WREADY BRESP BVALID BREADY ARADDR
ARPROT ARVALID ARREADY RDATA RRESP RVALID RREADY""".split()
# Signals that the receiving side of a channel drives.
ANSWERS = {"ARREADY", "RID", "RDATA", "RRESP", "RLAST", "RVALID", "AWREADY", "WREADY", "BID",
           "BRESP", "BVALID"}


@PACKAGED
def test_every_port_says_which_signal_it_is(board: str) -> None:
    tile, files = packaged(board)
    found = ports(files[f"{ip_name(tile)}.v"])
    expected = {
        "aclk": ("xilinx.com:signal:clock:1.0 aclk CLK", "input"),
        "aresetn": ("xilinx.com:signal:reset:1.0 aresetn RST", "input"),
        "interrupt": ("xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT", "output"),
    }
    for bus, signals in (("m_axi", AXI3), ("s_axi", AXI4_LITE)):
        for signal in signals:
            way = "input" if (signal in ANSWERS) == (bus == "m_axi") else "output"
            expected[f"{bus}_{signal.lower()}"] = (
                f"xilinx.com:interface:aximm:1.0 {bus} {signal}", way)
    assert {name: port[:2] for name, port in found.items()} == expected
    widths = {"araddr": ALVEO_BOARDS[board].address_bits, "arlen": 4, "arlock": 2, "arsize": 3,
              "arburst": 2, "arcache": 4, "arprot": 3, "arid": 6, "rid": 6, "wid": 6, "bid": 6,
              "rdata": 256, "wdata": 256, "wstrb": 32, "rresp": 2, "bresp": 2, "wlast": 1}
    widths |= {f"aw{name[2:]}": bits for name, bits in widths.items() if name.startswith("ar")}
    assert {name: found[f"m_axi_{name}"][2] for name in widths} == widths


@PACKAGED
def test_interfaces_are_joined_to_clock_and_reset(board: str) -> None:
    tile, files = packaged(board)
    said = re.findall(r'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME (\w+), ([^"]+)"',
                      files[f"{ip_name(tile)}.v"])
    parameters = {name: dict(pair.split(" ") for pair in text.split(", ")) for name, text in said}
    assert parameters["aclk"] == {"ASSOCIATED_BUSIF": "s_axi:m_axi", "ASSOCIATED_RESET": "aresetn"}
    assert parameters["aresetn"] == {"POLARITY": "ACTIVE_LOW"}
    assert parameters["interrupt"] == {"SENSITIVITY": "LEVEL_HIGH"}
    assert parameters["s_axi"]["PROTOCOL"] == "AXI4LITE"
    assert parameters["m_axi"]["PROTOCOL"] == "AXI3"
    assert parameters["m_axi"]["ADDR_WIDTH"] == str(ALVEO_BOARDS[board].address_bits)
    assert parameters["m_axi"]["MAX_BURST_LENGTH"] == str(tile.axi4.burst_atoms)


@PACKAGED
def test_constraints_are_of_the_ip(board: str) -> None:
    tile, files = packaged(board)
    text = files[f"{ip_name(tile)}.xdc"]
    named = re.findall(r"\[get_ports (\w+)\]", text)
    assert named == ["aclk"] and set(named) <= set(ports(files[f"{ip_name(tile)}.v"]))
    (period,) = re.findall(r"^create_clock -name aclk -period ([\d.]+) ", text, re.MULTILINE)
    assert float(period) == pytest.approx(1000 / tile.clock_mhz, abs=5e-5)


@PACKAGED
def test_the_core_file_names_what_there_is(board: str) -> None:
    tile, files = packaged(board)
    text = files[f"{ip_name(tile)}.core"]
    assert text.startswith("CAPI=2:\n") and "\t" not in text
    sections = dict(re.findall(r"^(\w+):\n((?:^(?: .*)?\n)+)", text, re.MULTILINE))
    assert set(sections) == {"filesets", "parameters", "targets"}
    assert set(re.findall(r"^      - (\S+)$", sections["filesets"], re.MULTILINE)) == {
        f"{name}.{kind}" for name in (tile.name, ip_name(tile)) for kind in ("v", "vlt")} | {
            f"{ip_name(tile)}.xdc"} <= set(files)
    defined = set(re.findall(r"^  (\w+):$", sections["filesets"] + sections["parameters"],
                             re.MULTILINE))
    used = set(re.findall(r"^      - (\w+)$", sections["targets"], re.MULTILINE))
    assert used == defined
    assert set(re.findall(r"toplevel: (\w+)", sections["targets"])) == {ip_name(tile)}
    assert re.findall(r"part: (\S+)", sections["targets"]) == [ALVEO_BOARDS[board].part]


# Tcl


def complete(text: str) -> bool:
    """Whether braces and brackets of a script close what they open, and quotes come in pairs.

    Enough for scripts whose words in quotes and comments keep these pairs, too.
    """
    opened = []
    for mark in re.sub(r"\\.", "", text):
        if mark in "{[":
            opened.append(mark)
        elif mark in "}]" and (not opened or opened.pop() + mark not in ("{}", "[]")):
            return False
    return not opened and text.count('"') % 2 == 0


@PACKAGED
def test_scripts_are_complete(board: str) -> None:
    tile, files = packaged(board)
    for name in ("package_ip.tcl", "example_bd.tcl", f"{ip_name(tile)}.xdc"):
        assert complete(files[name])
    broken = files["package_ip.tcl"]
    assert not complete(broken.replace("]", "", 1))
    assert not complete(broken.replace("}\n", "\n", 1))


# Every command that Tcl itself does not have is Vivado's: it is written down and answers its name.
_RECORDER = """
proc unknown {args} {
    puts stdout [join $args "\t"]
    return "<[lindex $args 0]>"
}
"""


def executed(script: str, folder: Path, *arguments: str) -> tuple[list[list[str]], str]:
    """The commands that a script gives to Vivado, and what Tcl says of an error."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("tclsh is not installed; test_scripts_are_complete looks at the same scripts")
    (folder / "recorded.tcl").write_text(_RECORDER + script, encoding="utf-8")
    done = subprocess.run([tclsh, "recorded.tcl", *arguments], cwd=folder, capture_output=True,
                          text=True, timeout=60, check=False)
    assert (done.returncode == 0) == (not done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()], done.stderr


@PACKAGED
def test_packaging_declares_every_register(board: str, tmp_path: Path) -> None:
    tile, files = packaged(board)
    calls, error = executed(files["package_ip.tcl"], tmp_path)
    assert not error
    added = [call[1] for call in calls if call[0] == "ipx::add_register"]
    assert added == list(REGISTERS)
    offsets = [int(call[2], 0) for call in calls
               if call[:2] == ["set_property", "address_offset"]]
    assert offsets == [register.offset for register in REGISTERS.values()]
    fields = [call[1] for call in calls if call[0] == "ipx::add_field"]
    assert fields == [field.name for register in REGISTERS.values() for field in register.fields]
    (project,) = (call for call in calls if call[0] == "create_project")
    assert project[project.index("-part") + 1] == ALVEO_BOARDS[board].part
    (sources,) = (call for call in calls if call[:2] == ["add_files", "-norecurse"])
    assert {Path(name).name for name in sources[2].split()} == {
        f"{tile.name}.v", f"{ip_name(tile)}.v"}
    assert ["set_property", "version", re.findall(r"_ip:([\d.]+)\"", files[
        f"{ip_name(tile)}.core"])[0], "<ipx::current_core>"] in calls
    assert calls[-2][0] == "ipx::save_core"


@pytest.mark.parametrize("tiles", [1, 16])
@PACKAGED
def test_the_example_gives_each_tile_its_channel(tiles: int, board: str, tmp_path: Path) -> None:
    tile, files = packaged(board)
    port = ALVEO_BOARDS[board]
    calls, error = executed(files["example_bd.tcl"], tmp_path, str(tiles))
    assert not error
    channels = [int(call[2]) for call in calls
                if call[:2] == ["set_property", "CONFIG.PSEUDO_CHANNEL"]]
    assert channels == list(range(tiles))
    joined = [call[1] for call in calls if call[0] == "get_bd_intf_pins"]
    for channel in range(tiles):
        # Named one after the other: what is joined.
        place = joined.index(f"tile_{channel}/m_axi")
        assert joined[place + 1] == f"hbm/SAXI_{channel:02}{port.port_suffix}"
    (settings,) = (call[2].split() for call in calls if call[:2] == ["set_property", "-dict"]
                   and "USER_HBM_STACK" in call[2])
    values = dict(zip(settings[::2], settings[1::2], strict=True))
    assert values["CONFIG.USER_HBM_DENSITY"] == f"{port.hbm_bytes >> 30}GB"
    assert [number for number in range(32) if values[f"CONFIG.USER_SAXI_{number:02}"] == "true"
            ] == [*range(tiles), 16]
    assigned = [call for call in calls if call[0] == "assign_bd_address" and call[4] != "4096"]
    assert {int(call[2]) for call in assigned} == {
        channel * port.pseudo_channel_bytes for channel in range(32)}
    assert len(assigned) == 32 + tiles
    # What a tile's port could reach besides is said to be left out.
    assert sum(call[0] == "exclude_bd_addr_seg" for call in calls) == 31 * tiles
    (cell,) = {call[4] for call in calls if call[0] == "create_bd_cell" and "pnmtile" in call[4]}
    assert f'name: "{cell}"' in files[f"{ip_name(tile)}.core"]


@pytest.mark.parametrize("tiles", ["0", "17", "two"])
@PACKAGED
def test_the_example_refuses_other_numbers_of_tiles(tiles: str, board: str, tmp_path: Path) -> None:
    calls, error = executed(packaged(board)[1]["example_bd.tcl"], tmp_path, tiles)
    assert not calls
    assert error.startswith(f"the number of tiles must be an integer from 1 to 16, not {tiles}\n")
