# amaranth: UnusedElaboratable=no
"""Every unit: its members, the parameters that it rejects, and that it can be built."""

from importlib import import_module
from typing import Any

import pytest
from amaranth.hdl import Fragment, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.tile import Tile as TileComponent
from spec.arithmetic import Fp32AdderParams
from spec.load import load_tile
from spec.tile import Tile
from spec.units import SkidBufferParams
from tests.conftest import DESCRIPTIONS
from tools.benches import units_of

# The streams and other members of each unit; buses are named by their prefix.
MEMBERS = {
    "decoder": {"i": In, "o": Out},
    "subword_decoder": {"i": In, "o": Out},
    "zero_subtractor": {"i": In, "o": Out},
    "dot_array": {"i": In, "o": Out},
    "subword_dot_array": {"i": In, "o": Out},
    "block_dot_array": {"i": In, "o": Out},
    "aligned_dot_array": {"i": In, "o": Out},
    "fp32_dot_array": {"i": In, "o": Out},
    "fp32_rounder": {"i": In, "o": Out},
    "fp32_multiplier": {"i": In, "o": Out},
    "fp32_adder": {"i": In, "o": Out},
    "scale_combiner": {"i": In, "o": Out},
    "group_scaler": {"i": In, "o": Out},
    "row_accumulator": {"i": In, "o": Out},
    "column": {"i": In, "o": Out},
    "activation_buffer": {"write": In, "i": In, "o": Out},
    "scale_buffer": {"write": In, "i": In, "o": Out},
    "result_packer": {"command": In, "i": In, "released": Out, "o": Out},
    "quantizer": {"source": In, "target": In, "rule": In, "group": In, "i": In, "o": Out},
    "row_packer": {"wide": In, "narrow": In, "i": In, "o": Out},
    "converter": {"source": In, "target": In, "i": In, "o": Out},
    "reducer": {"format": In, "reduction": In, "i": In, "o": Out},
    "transposer": {"block": In, "i": In, "o": Out},
    "cast_window": {"read": In, "data": Out, "memory_read": Out, "memory_data": In, "window": In,
                    "mapped": In, **{f"{who}_{name}": In for who in ("host", "tile")
                                     for name in ("write", "written")}},
    "fifo": {"i": In, "o": Out},
    "gearbox": {"packed": In, "i": In, "o": Out},
    "skid_buffer": {"i": In, "o": Out},
    "burst_splitter": {"i": In, "o": Out},
    "axi4_reader": {"i": In, "o": Out, "m_axi": None},
    "axi4_writer": {"i": In, "data": In, "done": Out, "m_axi": None},
    "secded_encoder": {"i": In, "o": Out},
    "secded_decoder": {"i": In, "o": Out},
    "reorder_buffer": {"take": In, "slot": Out, "free": Out, "oldest": Out, "fill": In, "o": Out},
    "bank_queues": {"push": In, "serve": In, "served": Out, "look": In, "row": Out, "waiting": Out,
                    "held": Out, "first": Out},
    "memory_controller": {"dram": None, "tile_read": In, "tile_data": Out, "tile_write": In,
                          "tile_written": Out, "host_read": In, "host_data": Out,
                          "host_write": In, "host_written": Out, "corrected": Out,
                          "uncorrectable": Out},
    "inline_ecc": {
        **{f"{who}_{name}": flow for who in ("tile", "host")
           for name, flow in (("read", In), ("data", Out), ("write", In), ("written", Out))},
        **{f"memory_{who}_{name}": flow for who in ("tile", "host")
           for name, flow in (("read", Out), ("data", In), ("write", Out), ("written", In))},
        "corrected": Out, "uncorrectable": Out},
    "region_reader": {"i": In, "request": Out},
    "region_writer": {"i": In, "data": In, "write": Out, "written": In, "done": Out},
    "host_port": {"s_mem_axi": None, "read": Out, "data": In, "write": Out, "written": In},
    "command_checker": {"i": In, "o": Out, "window_base": In, "window_limit": In, "loaded": In,
                        "hold": In, "busy": Out},
    "tensor_checker": {"i": In, "o": Out, "window_base": In, "window_limit": In, "hold": In,
                       "busy": Out},
    "sequencer": {"command": In, "given": In, "read": Out, "write": Out, "atoms": In, "written": In,
                  "pack": Out, "released": In, "beats": Out, "activations": Out,
                  "activation_scales": Out, "weight_scales": Out, "loaded": Out, "ended": Out,
                  "busy": Out, "atom_read": Out, "stall_memory": Out, "stall_result": Out},
    "register_file": {"s_axi": None, "interrupt": Out, "commands": Out, "ended": In,
                      "window_base": Out, "window_limit": Out, "busy": In, "events": In,
                      "corrected": In, "uncorrectable": In},
}
TILE_MEMBERS = {
    "axi4": {"s_axi": None, "m_axi": None, "interrupt": Out},
    "native": {"s_axi": None, "s_mem_axi": None, "dram": None, "interrupt": Out},
}
BUSES = ("s_axi", "m_axi", "s_mem_axi", "dram")
TILES = [load_tile(path) for path in DESCRIPTIONS]
UNITS_OF_TILES = [(tile, unit) for tile in TILES for unit in units_of(tile)]
EVERY_UNIT = pytest.mark.parametrize(
    ("tile", "unit"), UNITS_OF_TILES,
    ids=[f"{tile.name}-{unit}" for tile, unit in UNITS_OF_TILES])


def _class_name(unit: str) -> str:
    return "".join(part.capitalize() for part in unit.split("_"))


def _make(unit: str, params: Any) -> wiring.Component:
    """The unit's component, made in this file: see its first line."""
    made: wiring.Component = getattr(import_module(f"hdl.{unit}"), _class_name(unit))(params)
    return made


def _made(tile: Tile, unit: str) -> wiring.Component:
    return _make(unit, tile if unit == "tile" else tile.units[unit])


@EVERY_UNIT
def test_members_are_the_contract(tile: Tile, unit: str) -> None:
    members = {}
    for name, member in _made(tile, unit).signature.members.items():
        bus = next((bus for bus in BUSES if name.startswith(f"{bus}_")), None)
        members[bus or name] = None if bus else member.flow
    expected = (TILE_MEMBERS[tile.description.memory.interface] if unit == "tile"
                else MEMBERS[unit])
    if unit == "host_port" and tile.host_port.results:
        expected = {**expected, "results": In, "producing": In}
    if unit == "sequencer" and tile.zero_points:
        expected = {**expected, "weight_zeros": Out}
    if unit == "sequencer" and tile.gearbox is not None:
        expected = {**expected, "packed": Out}
    assert members == expected


@EVERY_UNIT
def test_unit_elaborates(tile: Tile, unit: str) -> None:
    made = _made(tile, unit)
    fragment = Fragment.get(made, None)
    # Every submodule has a name: the reports are by hierarchy.
    waiting = [fragment]
    while waiting:
        current = waiting.pop()
        assert all(name is not None for _, name, _ in current.subfragments)
        waiting += [child for child, _, _ in current.subfragments]
    assert fragment.statements or fragment.subfragments


@pytest.mark.parametrize("unit", [*MEMBERS, "tile"])
def test_wrong_record_is_rejected(unit: str) -> None:
    for wrong in (SkidBufferParams(bits=3) if unit != "skid_buffer" else Fp32AdderParams(), None,
                  {"bits": 3}):
        with pytest.raises(TypeError, match=rf"^{_class_name(unit)} needs (a spec\.tile\.Tile|"
                                            r"\w+Params), not "):
            _make(unit, wrong)


def test_streams_of_the_arithmetic_never_stall(tile: Tile) -> None:
    units = {"decoder", "subword_decoder", "subword_dot_array", "zero_subtractor", "dot_array",
             "block_dot_array", "aligned_dot_array", "fp32_dot_array", "fp32_rounder",
             "fp32_multiplier", "fp32_adder", "scale_combiner", "group_scaler", "row_accumulator",
             "column", "activation_buffer", "scale_buffer"} & set(tile.units)
    assert len(units) >= 10
    for unit in units:
        members = _made(tile, unit).signature.members
        assert all(member.signature.always_ready for member in members.values()), unit


@pytest.mark.parametrize("tile", [tile for tile in TILES if not tile.native],
                         ids=lambda tile: tile.name)
def test_bus_widths_follow_the_description(tile: Tile) -> None:
    made = TileComponent(tile)
    widths = {name: len(Value.cast(getattr(made, name))) for name in (
        "m_axi_araddr", "m_axi_awaddr", "m_axi_rdata", "m_axi_wdata", "m_axi_wstrb",
        "s_axi_wdata", "s_axi_rdata", "interrupt")}
    address, atom = tile.address_bits, tile.atom_bits
    assert widths == {"m_axi_araddr": address, "m_axi_awaddr": address, "m_axi_rdata": atom,
                      "m_axi_wdata": atom, "m_axi_wstrb": atom // 8, "s_axi_wdata": 32,
                      "s_axi_rdata": 32, "interrupt": 1}
