"""AXI4 channels as flat members, named as the standard names them.

Source: ARM IHI 0022, AMBA AXI and ACE protocol specification, AXI4 and AXI4-Lite.
"""

from amaranth.lib.wiring import In, Out

from spec.memory_units import HostPortParams
from spec.units import Axi4Params

__all__ = ["BURST_FIXED", "BURST_INCREMENT", "BURST_WRAP", "CACHE_NORMAL", "RESPONSE_DECERR",
           "RESPONSE_OKAY", "RESPONSE_SLVERR", "lite_members", "read_members",
           "subordinate_members", "write_members"]

BURST_FIXED = 0b00
BURST_INCREMENT = 0b01
BURST_WRAP = 0b10
RESPONSE_OKAY = 0b00
RESPONSE_SLVERR = 0b10
RESPONSE_DECERR = 0b11
# Normal memory, not cacheable, bufferable.
CACHE_NORMAL = 0b0011


def _address_members(prefix: str, address_bits: int, id_bits: int) -> dict:
    return {
        f"{prefix}id": Out(id_bits),
        f"{prefix}addr": Out(address_bits),
        f"{prefix}len": Out(8),
        f"{prefix}size": Out(3),
        f"{prefix}burst": Out(2),
        f"{prefix}lock": Out(1),
        f"{prefix}cache": Out(4),
        f"{prefix}prot": Out(3),
        f"{prefix}valid": Out(1),
        f"{prefix}ready": In(1),
    }


def _read_members(prefix: str, address_bits: int, atom_bits: int, id_bits: int) -> dict:
    return _address_members(f"{prefix}ar", address_bits, id_bits) | {
        f"{prefix}rid": In(id_bits),
        f"{prefix}rdata": In(atom_bits),
        f"{prefix}rresp": In(2),
        f"{prefix}rlast": In(1),
        f"{prefix}rvalid": In(1),
        f"{prefix}rready": Out(1),
    }


def _write_members(prefix: str, address_bits: int, atom_bits: int, id_bits: int) -> dict:
    return _address_members(f"{prefix}aw", address_bits, id_bits) | {
        f"{prefix}wdata": Out(atom_bits),
        f"{prefix}wstrb": Out(atom_bits // 8),
        f"{prefix}wlast": Out(1),
        f"{prefix}wvalid": Out(1),
        f"{prefix}wready": In(1),
        f"{prefix}bid": In(id_bits),
        f"{prefix}bresp": In(2),
        f"{prefix}bvalid": In(1),
        f"{prefix}bready": Out(1),
    }


def read_members(params: Axi4Params) -> dict:
    """Members of a manager's read channels, AR and R."""
    return _read_members("m_axi_", params.address_bits, params.atom_bits, 1)


def write_members(params: Axi4Params) -> dict:
    """Members of a manager's write channels, AW, W and B."""
    return _write_members("m_axi_", params.address_bits, params.atom_bits, 1)


def subordinate_members(params: HostPortParams) -> dict:
    """Members of the memory's subordinate, all five channels, named ``s_mem_axi_*``."""
    sizes = (params.address_bits, params.atom_bits, params.ID_BITS)
    manager = _read_members("s_mem_axi_", *sizes) | _write_members("s_mem_axi_", *sizes)
    return {name: member.flip() for name, member in manager.items()}


def lite_members(address_bits: int) -> dict:
    """Members of an AXI4-Lite subordinate with 32-bit data."""
    return {
        "s_axi_awaddr": In(address_bits),
        "s_axi_awprot": In(3),
        "s_axi_awvalid": In(1),
        "s_axi_awready": Out(1),
        "s_axi_wdata": In(32),
        "s_axi_wstrb": In(4),
        "s_axi_wvalid": In(1),
        "s_axi_wready": Out(1),
        "s_axi_bresp": Out(2),
        "s_axi_bvalid": Out(1),
        "s_axi_bready": In(1),
        "s_axi_araddr": In(address_bits),
        "s_axi_arprot": In(3),
        "s_axi_arvalid": In(1),
        "s_axi_arready": Out(1),
        "s_axi_rdata": Out(32),
        "s_axi_rresp": Out(2),
        "s_axi_rvalid": Out(1),
        "s_axi_rready": In(1),
    }
