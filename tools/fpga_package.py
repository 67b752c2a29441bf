"""The IP package of a tile for boards with HBM: what Vivado, FuseSoC and people need of it.

The package is generated, linted and simulated here; Vivado itself is not run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from spec.registers import REGISTER_ADDRESS_BITS
from spec.tile import Tile
from tools.console import UserError, to_json
from tools.generate import PACKAGES, generated_files, render
from tools.outputs import manifest, versions

__all__ = ["ALVEO_BOARDS", "AlveoBoard", "check_fits", "ip_name", "package_files"]


@dataclass(frozen=True)
class AlveoBoard:
    """A board with HBM, as a tile behind one of its HBM ports sees it.

    :Source: PG276, AXI High Bandwidth Memory Controller: port descriptions, core overview (ports,
        their protocol, width and addresses); DS923, Virtex UltraScale+ (clock of the HBM in speed
        grade -2); UG1393, HBM Configuration and Use (capacity and pseudo-channels of each card).
    """

    name: str
    # As Vivado names the device: create_project -part.
    part: str
    # UG1393: two stacks in the package, 16 GB (U55C) or 8 GB (U280) together.
    hbm_bytes: int
    # PG276: AXI_xx_ARADDR is [33:0] for stacks of eight dies, [32:0] for stacks of four.
    address_bits: int
    # What the HBM IP adds to the name of a port: "_8HI" for stacks of eight dies.
    port_suffix: str
    # USER_HBM_DENSITY of the HBM IP.
    density: str
    # PG276: sixteen ports a stack, one for each pseudo-channel.
    pseudo_channels: int = 32
    # PG276: the ports are AXI3, AXI_xx_ARLEN is [3:0]: at most sixteen beats.
    protocol: str = "AXI3"
    burst_beats: int = 16
    # PG276: only 256-bit transfers.
    port_bytes: int = 32
    # PG276: AXI_xx_ARID is [5:0].
    id_bits: int = 6
    # DS923: the HBM runs at up to 900 MHz in speed grade -2; PG276: two bits a pin and cycle on
    # 64 pins, 256 bits a cycle at the port: the port takes up half of that clock.
    clock_mhz: float = 450.0

    @property
    def pseudo_channel_bytes(self) -> int:
        """Capacity of one pseudo-channel."""
        return self.hbm_bytes // self.pseudo_channels

    @property
    def pseudo_channel_bits(self) -> int:
        """Width of a byte address within one pseudo-channel."""
        return (self.pseudo_channel_bytes - 1).bit_length()


ALVEO_BOARDS: Mapping[str, AlveoBoard] = MappingProxyType({board.name: board for board in (
    AlveoBoard("u55c", part="xcu55c-fsvh2892-2L-e", hbm_bytes=16 << 30, address_bits=34,
               port_suffix="_8HI", density="16GB"),
    AlveoBoard("u280", part="xcu280-fsvh2892-2L-e", hbm_bytes=8 << 30, address_bits=33,
               port_suffix="", density="8GB"),
)})


def ip_name(tile: Tile) -> str:
    """The name of the IP and of its Verilog module, which wraps the tile's."""
    return f"{tile.name}_ip"


def check_fits(tile: Tile, board: str) -> None:
    """Refuse a tile that the board's HBM ports cannot serve.

    :Errors: ``UserError`` that lists every key in the way, with what would fit; and for a board
        that is not in ``ALVEO_BOARDS``.
    """
    port = _board(board)
    if tile.native:
        raise UserError(
            f'{tile.name} does not fit {board}: memory.interface = "native" drives the pins of a '
            f'pseudo-channel, and {board} has a controller of its own before them; allowed: "axi4"')
    memory = tile.axi4
    wrong = []
    if tile.atom_bytes != port.port_bytes:
        wrong.append(f"memory.atom_bytes = {tile.atom_bytes}, but an HBM port moves "
                     f"{port.port_bytes} bytes a cycle; allowed: {port.port_bytes}")
    if memory.address_bits > port.address_bits:
        wrong.append(f"memory.address_bits = {memory.address_bits}, "
                     f"{memory.address_bits - port.address_bits} more than the HBM of "
                     f"{port.hbm_bytes >> 30} GiB has; allowed: at most {port.address_bits}")
    if memory.burst_atoms > port.burst_beats:
        wrong.append(f"memory.burst_atoms = {memory.burst_atoms}, but a burst of "
                     f"{port.protocol} has at most {port.burst_beats} beats; allowed: at most "
                     f"{port.burst_beats}")
    if tile.clock_mhz > port.clock_mhz:
        wrong.append(f"clock.target_mhz = {tile.clock_mhz:g}, {tile.clock_mhz - port.clock_mhz:g} "
                     f"MHz above what an HBM port takes; allowed: at most {port.clock_mhz:g}")
    if wrong:
        raise UserError("\n  ".join([f"{tile.name} does not fit {board}:", *wrong]))


def package_files(tile: Tile, board: str) -> dict[str, str]:
    """All files of the IP package by name, ``manifest.json`` last.

    The same tile and board give the same text.

    :Errors: ``UserError`` as of :func:`check_fits`.
    """
    check_fits(tile, board)
    port, name = _board(board), ip_name(tile)
    # The IP's own constraints take the place of those for a tile that stands alone.
    files = {file: text for file, text in generated_files(tile).items()
             if file not in ("manifest.json", f"{tile.name}.sdc")}
    period = 1000 / Decimal(repr(tile.clock_mhz))
    values = dict(board=port, name=name, version=_version(), period=f"{period:.4f}",
                  clock_mhz=f"{tile.clock_mhz:.10g}", clock_hz=round(tile.clock_mhz * 1e6))
    for file, template, more in (
            (f"{name}.v", "fpga_ip.v.j2", {"ports": _ports(tile, port)}),
            (f"{name}.vlt", "fpga_ip.vlt.j2", {}),
            (f"{name}.xdc", "alveo.xdc.j2", {}),
            (f"{name}.core", "fpga_ip.core.j2", {}),
            ("package_ip.tcl", "fpga_package_ip.tcl.j2", {}),
            ("example_bd.tcl", "fpga_example_bd.tcl.j2", {}),
            ("README.md", "fpga_readme.md.j2", {})):
        files[file] = render(template, tile, **values, **more)
    return {**files, "manifest.json": to_json(manifest(tile, PACKAGES, files, board=port.name,
                                                       part=port.part))}


def _board(name: str) -> AlveoBoard:
    try:
        return ALVEO_BOARDS[name]
    except KeyError:
        raise UserError(f"--board {name} has no HBM package; boards with one: "
                        f"{', '.join(ALVEO_BOARDS)}") from None


def _version() -> str:
    """Version of the IP: Vivado takes two numbers, and this is the project's."""
    return ".".join((versions(["pnmtile"])["pnmtile"] or "0.0").split(".")[:2])


def _ports(tile: Tile, board: AlveoBoard) -> list[dict[str, Any]]:
    """The ports of the tile's buses: each with its bus, its signal in the standard, its width at
    the tile (``inner``) and at the IP (``outer``), and whether it is an output."""
    from amaranth.hdl import Shape
    from amaranth.lib.wiring import Out

    from hdl.axi4 import lite_members, read_members, write_members

    # AXI3 at the width of an HBM port; everything else is as the tile has it.
    length_bits = (board.burst_beats - 1).bit_length()
    outer = {"m_axi_rid": board.id_bits, "m_axi_bid": board.id_bits}
    for channel in ("m_axi_ar", "m_axi_aw"):
        outer |= {f"{channel}id": board.id_bits, f"{channel}addr": board.address_bits,
                  f"{channel}len": length_bits, f"{channel}lock": 2}
    members = {**lite_members(REGISTER_ADDRESS_BITS), **read_members(tile.axi4),
               **write_members(tile.axi4)}
    found = []
    for name, member in members.items():
        bus, _, signal = name.rpartition("_")
        bits = Shape.cast(member.shape).width
        found.append({"name": name, "bus": bus, "signal": signal.upper(), "inner": bits,
                      "outer": outer.get(name, bits), "output": member.flow is Out})
    return found
