"""The IP package for boards with HBM: who fits, what is in it, lint, and the tile's bench on it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from spec.load import load_tile
from spec.registers import REGISTERS
from spec.tile import Tile
from tb.simulator import build_directory, build_simulation, run_simulation
from tests.conftest import DESCRIPTIONS, PROJECT
from tools.console import UserError
from tools.doctor import verilator_root
from tools.fpga_package import ALVEO_BOARDS, check_fits, ip_name, package_files
from tools.generate import PACKAGES
from tools.outputs import write_files

# Tile by board: one with the addresses of a pseudo-channel alone, one with those of the whole HBM.
HBM2 = PROJECT / "tiles" / "hbm2_fp8.toml"
WIDE = """name = "wide"
[memory]
address_bits = 33
burst_atoms = 4
outstanding_bursts = 3
[compute]
k_max = 200
[scaling]
group = 32
[host]
queue_depth = 3
[clock]
target_mhz = 333.3
"""


def described(folder: Path, text: str) -> Tile:
    """The tile of a description."""
    path = folder / "description.toml"
    path.write_text(text, encoding="utf-8")
    return load_tile(path)


@cache
def package(tile_text: str, board: str) -> dict[str, str]:
    """The package of a tile (as JSON), made once per process."""
    return package_files(Tile.model_validate_json(tile_text), board)


@pytest.fixture(params=["hbm2-u55c", "wide-u280"])
def packaged(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tile, str, dict[str, str]]:
    """Tile, board and package."""
    kind, board = request.param.split("-")
    tile = load_tile(HBM2) if kind == "hbm2" else described(tmp_path, WIDE)
    return tile, board, package(tile.model_dump_json(), board)


# Who fits


@pytest.mark.parametrize("board", ALVEO_BOARDS)
def test_the_ready_tile_fits_both_boards(board: str) -> None:
    check_fits(load_tile(HBM2), board)


def test_boards_are_whole() -> None:
    for board in ALVEO_BOARDS.values():
        assert 1 << board.address_bits == board.hbm_bytes
        assert 1 << board.pseudo_channel_bits == board.pseudo_channel_bytes


def test_everything_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    tile = described(tmp_path, """name = "wrong"
[memory]
atom_bytes = 64
address_bits = 36
burst_atoms = 32
""")
    with pytest.raises(UserError) as caught:
        package_files(tile, "u280")
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


def test_the_same_input_gives_the_same_package(
        packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
    assert package_files(tile, board) == files
    assert not [name for name, text in files.items() if str(PROJECT) in text]


def test_the_manifest_has_the_digest_of_each_file(
        packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
    found = json.loads(files["manifest.json"])
    assert found["sha256"] == {name: hashlib.sha256(text.encode()).hexdigest()
                               for name, text in files.items() if name != "manifest.json"}
    assert (found["digest"], found["board"], found["part"]) == (
        tile.digest, board, ALVEO_BOARDS[board].part)
    assert set(found["versions"]) == set(PACKAGES)


def test_the_page_names_every_file(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    _, _, files = packaged
    page = files["README.md"]
    assert set(re.findall(r"`([\w.]+\.(?:v|vlt|tcl|xdc|core|h|md|json))`", page)) == (
        set(files) - {"README.md"})
    assert "Vivado was never run" in page


# AXI3 of a manager, AXI4-Lite of a subordinate, as the standard (ARM IHI 0022) lists the signals.
AXI3 = """ARID ARADDR ARLEN ARSIZE ARBURST ARLOCK ARCACHE ARPROT ARVALID ARREADY RID RDATA RRESP RLAST
RVALID RREADY AWID AWADDR AWLEN AWSIZE AWBURST AWLOCK AWCACHE AWPROT AWVALID AWREADY WID WDATA WSTRB
WLAST WVALID WREADY BID BRESP BVALID BREADY""".split()
AXI4_LITE = """AWADDR AWPROT AWVALID AWREADY WDATA WSTRB WVALID WREADY BRESP BVALID BREADY ARADDR
ARPROT ARVALID ARREADY RDATA RRESP RVALID RREADY""".split()
# Signals that the receiving side of a channel drives.
ANSWERS = {"ARREADY", "RID", "RDATA", "RRESP", "RLAST", "RVALID", "AWREADY", "WREADY", "BID",
           "BRESP", "BVALID"}
_PORT = re.compile(r'^ *\(\* X_INTERFACE_INFO = "([^"]+)" \*\)\n(?:^ *\(\* .*\n)?'
                   r'^ *(input|output) wire (?:\[(\d+):0\] )?(\w+),?$', re.MULTILINE)


def ports(wrapper: str) -> dict[str, tuple[str, str, int]]:
    """What each port of the IP is said to be, its direction and its width."""
    found = {name: (info, way, int(high or 0) + 1)
             for info, way, high, name in _PORT.findall(wrapper)}
    assert len(found) == len(re.findall(r"^ *(?:input|output) ", wrapper, re.MULTILINE))
    return found


def test_every_port_says_which_signal_it_is(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
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


def test_interfaces_are_joined_to_clock_and_reset(
        packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
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


def test_constraints_are_of_the_ip(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, _, files = packaged
    text = files[f"{ip_name(tile)}.xdc"]
    named = re.findall(r"\[get_ports (\w+)\]", text)
    assert named == ["aclk"] and set(named) <= set(ports(files[f"{ip_name(tile)}.v"]))
    (period,) = re.findall(r"^create_clock -name aclk -period ([\d.]+) ", text, re.MULTILINE)
    assert float(period) == pytest.approx(1000 / tile.clock_mhz, abs=5e-5)


def test_the_core_file_names_what_there_is(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
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


def test_scripts_are_complete(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, _, files = packaged
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


def test_packaging_declares_every_register(packaged: tuple[Tile, str, dict[str, str]],
                                           tmp_path: Path) -> None:
    tile, board, files = packaged
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
def test_the_example_gives_each_tile_its_channel(
        tiles: int, packaged: tuple[Tile, str, dict[str, str]], tmp_path: Path) -> None:
    tile, board, files = packaged
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
def test_the_example_refuses_other_numbers_of_tiles(
        tiles: str, packaged: tuple[Tile, str, dict[str, str]], tmp_path: Path) -> None:
    calls, error = executed(packaged[2]["example_bd.tcl"], tmp_path, tiles)
    assert not calls
    assert error.startswith(f"the number of tiles must be an integer from 1 to 16, not {tiles}\n")


# Lint


def lint(tile: Tile, folder: Path, *waivers: str) -> list[str]:
    """The warnings of Verilator on the whole package."""
    root = verilator_root()
    assert root is not None
    done = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "--top-module", ip_name(tile),
         "-GPSEUDO_CHANNEL=5", *waivers, f"{tile.name}.v", f"{ip_name(tile)}.v"], cwd=folder,
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "VERILATOR_ROOT": str(root)})
    said = re.findall(r"^%Warning-(\w+): ([^:]+):", done.stderr, re.MULTILINE)
    assert done.returncode == (1 if said else 0), done.stderr
    return [f"{rule} {file}" for rule, file in said]


def test_lint_is_clean_and_needs_the_waiver(packaged: tuple[Tile, str, dict[str, str]],
                                            tmp_path: Path) -> None:
    tile, _, files = packaged
    write_files(tmp_path, files)
    own, ip = f"{tile.name}.vlt", f"{ip_name(tile)}.vlt"
    assert lint(tile, tmp_path, own, ip) == []
    assert lint(tile, tmp_path, own) == [f"SYMRSVDWORD {ip_name(tile)}.v"]


def test_icarus_elaborates_the_package(packaged: tuple[Tile, str, dict[str, str]],
                                       tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed; Verilator's lint elaborates the same files")
    tile, _, files = packaged
    write_files(tmp_path, files)
    done = subprocess.run(["iverilog", "-g2005", "-Wall", "-s", ip_name(tile), "-o", "ip.vvp",
                           f"{tile.name}.v", f"{ip_name(tile)}.v"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# The tile's bench, through the IP


def shim(tile: Tile, board: str, channel: int, wrapper: str) -> str:
    """The ports that the tile's bench expects, around the IP on a pseudo-channel.

    The memory is that pseudo-channel: with the base of another one in an address, or with none, an
    access lies far behind its end. IDs and locks that are not zero end the simulation.
    """
    port = ALVEO_BOARDS[board]
    base = f"{port.address_bits}'d{channel * port.pseudo_channel_bytes}"
    outside, joins = [], []
    for name, (_, way, bits) in ports(wrapper).items():
        bus, _, signal = name.rpartition("_")
        if bus in ("s_axi", "m_axi") and signal != "wid":
            # The length of AXI4, and its lock.
            shown = 8 if signal in ("arlen", "awlen") else 1 if "lock" in signal else bits
            outside.append(f"{way} wire [{shown - 1}:0] {name}")
        inside = {"aclk": "clk", "aresetn": "~rst", "m_axi_wid": "wid", "m_axi_araddr": "araddr",
                  "m_axi_awaddr": "awaddr", "m_axi_arlen": "m_axi_arlen[3:0]",
                  "m_axi_awlen": "m_axi_awlen[3:0]",
                  "m_axi_arlock": "{locks[1], m_axi_arlock}",
                  "m_axi_awlock": "{locks[0], m_axi_awlock}"}.get(name, name)
        joins.append(f".{name}({inside})")
    top = port.address_bits - 1
    return f"""
module tile (input wire clk, input wire rst, output wire interrupt, {", ".join(outside)});
    wire [{top}:0] araddr, awaddr;
    wire [5:0] wid;
    wire [1:0] locks;
    assign m_axi_araddr = araddr - {base};
    assign m_axi_awaddr = awaddr - {base};
    assign m_axi_arlen[7:4] = 0;
    assign m_axi_awlen[7:4] = 0;
    always @(posedge clk) if ({{wid, m_axi_arid, m_axi_awid, locks}} != 0)
        $fatal(1, "an ID or a lock is not zero");
    {ip_name(tile)} #(.PSEUDO_CHANNEL({channel})) ip ({", ".join(joins)});
endmodule
{wrapper}"""


def run_bench(tile: Tile, board: str, channel: int, files: dict[str, str], wrapper: str,
              tests: str) -> dict[str, str | None]:
    """Run tests of the tile's bench on the IP; each with the text of its failure or None."""
    executable = build_simulation(
        shim(tile, board, channel, wrapper) + files[f"{tile.name}.v"], "tile")
    folder = build_directory() / "runs" / executable.parent.name / "1"
    return run_simulation(executable, "tb.tile", seed=1, folder=folder, tests=tests,
                          environment={"PNMTILE_PARAMS": tile.model_dump_json()}).tests


@pytest.mark.cosim
def test_the_tiles_bench_passes_on_the_ip(packaged: tuple[Tile, str, dict[str, str]]) -> None:
    tile, board, files = packaged
    found = run_bench(tile, board, 21, files, files[f"{ip_name(tile)}.v"], "")
    assert len(found) > 5 and not any(found.values()), found


@pytest.mark.cosim
@pytest.mark.parametrize(("right", "wrong", "failed"), [
    ("araddr = BASE + ", "araddr = ", "error <ErrorCode.READ"),
    ("awaddr = BASE + ", "awaddr = ", "error <ErrorCode.WRITE"),
    ("m_axi_wid = 6'd0", "m_axi_wid = 6'd1", "Verilog $stop"),
])
def test_the_bench_sees_a_broken_ip(right: str, wrong: str, failed: str, tmp_path: Path) -> None:
    tile = described(tmp_path, WIDE)
    files = package(tile.model_dump_json(), "u280")
    wrapper = files[f"{ip_name(tile)}.v"]
    assert wrapper.count(right) == 1
    found = run_bench(tile, "u280", 21, files, wrapper.replace(right, wrong), "back_to_back")
    assert found and all(text is not None and failed in text for text in found.values()), found
