"""The Verilog of the IP package: lint, and the tile's bench on the IP."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spec.tile import Tile
from tb.simulator import build_directory, build_simulation, run_simulation
from tests.package_cases import PACKAGED, packaged, ports
from tools.doctor import verilator_root
from tools.fpga_package import ALVEO_BOARDS, ip_name
from tools.outputs import write_files

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


@PACKAGED
def test_lint_is_clean_and_needs_the_waiver(board: str, tmp_path: Path) -> None:
    tile, files = packaged(board)
    write_files(tmp_path, files)
    own, ip = f"{tile.name}.vlt", f"{ip_name(tile)}.vlt"
    assert lint(tile, tmp_path, own, ip) == []
    assert lint(tile, tmp_path, own) == [f"SYMRSVDWORD {ip_name(tile)}.v"]


@PACKAGED
def test_icarus_elaborates_the_package(board: str, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed; Verilator's lint elaborates the same files")
    tile, files = packaged(board)
    write_files(tmp_path, files)
    done = subprocess.run(["iverilog", "-g2005", "-Wall", "-s", ip_name(tile), "-o", "ip.vvp",
                           f"{tile.name}.v", f"{ip_name(tile)}.v"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# The tile's bench, through the IP


def shim(tile: Tile, board: str, channel: int, wrapper: str, reset: str) -> str:
    """The ports that the tile's bench expects, around the IP on a pseudo-channel.

    The memory is that pseudo-channel: with the base of another one in an address, or with none, an
    access lies far behind its end. IDs and locks that are not zero end the simulation. ``reset``
    is what drives ``aresetn``.
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
        inside = {"aclk": "clk", "aresetn": reset, "m_axi_wid": "wid", "m_axi_araddr": "araddr",
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
              tests: str, reset: str = "~rst") -> dict[str, str | None]:
    """Run tests of the tile's bench on the IP; each with the text of its failure or None."""
    executable = build_simulation(
        shim(tile, board, channel, wrapper, reset) + files[f"{tile.name}.v"], "tile")
    folder = build_directory() / "runs" / executable.parent.name / "1"
    return run_simulation(executable, "tb.tile", seed=1, folder=folder, tests=tests,
                          environment={"PNMTILE_PARAMS": tile.model_dump_json()}).tests


@pytest.mark.cosim
@PACKAGED
def test_the_tiles_bench_passes_on_the_ip(board: str) -> None:
    tile, files = packaged(board)
    found = run_bench(tile, board, 21, files, files[f"{ip_name(tile)}.v"], "")
    assert len(found) > 5 and not any(found.values()), found


@pytest.mark.cosim
@pytest.mark.parametrize(("right", "wrong", "failed"), [
    ("araddr = BASE + ", "araddr = ", "error <ErrorCode.READ"),
    ("awaddr = BASE + ", "awaddr = ", "error <ErrorCode.WRITE"),
    ("m_axi_wid = 6'd0", "m_axi_wid = 6'd1", "Verilog $stop"),
])
def test_the_bench_sees_a_broken_ip(right: str, wrong: str, failed: str) -> None:
    tile, files = packaged("u280")
    wrapper = files[f"{ip_name(tile)}.v"]
    assert wrapper.count(right) == 1
    found = run_bench(tile, "u280", 21, files, wrapper.replace(right, wrong), "back_to_back")
    assert found and all(text is not None and failed in text for text in found.values()), found


@pytest.mark.cosim
def test_the_ip_answers_nothing_while_it_is_reset() -> None:
    """Flops have initial values, so the bench would pass without any reset, too."""
    tile, files = packaged("u280")
    found = run_bench(tile, "u280", 21, files, files[f"{ip_name(tile)}.v"], "back_to_back",
                      reset="1'b0")
    (said,) = found.values()
    assert said is not None and said.startswith("the access to 0x0 was not answered"), said
