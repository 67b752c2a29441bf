"""AXI4 channels as flat members, named as the standard names them.

Source: ARM IHI 0022, AMBA AXI and ACE protocol specification, AXI4 and AXI4-Lite.
"""

from amaranth.lib.wiring import In, Out

from spec.units import Axi4Params

__all__ = ["BURST_INCREMENT", "CACHE_NORMAL", "lite_members", "read_members", "write_members"]

BURST_INCREMENT = 0b01
# Normal memory, not cacheable, bufferable.
CACHE_NORMAL = 0b0011


def _address_members(prefix: str, address_bits: int) -> dict:
    return {
        f"{prefix}id": Out(1),
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


def read_members(params: Axi4Params) -> dict:
    """Members of a manager's read channels, AR and R."""
    return _address_members("m_axi_ar", params.address_bits) | {
        "m_axi_rid": In(1),
        "m_axi_rdata": In(params.atom_bits),
        "m_axi_rresp": In(2),
        "m_axi_rlast": In(1),
        "m_axi_rvalid": In(1),
        "m_axi_rready": Out(1),
    }


def write_members(params: Axi4Params) -> dict:
    """Members of a manager's write channels, AW, W and B."""
    return _address_members("m_axi_aw", params.address_bits) | {
        "m_axi_wdata": Out(params.atom_bits),
        "m_axi_wstrb": Out(params.atom_bits // 8),
        "m_axi_wlast": Out(1),
        "m_axi_wvalid": Out(1),
        "m_axi_wready": In(1),
        "m_axi_bid": In(1),
        "m_axi_bresp": In(2),
        "m_axi_bvalid": In(1),
        "m_axi_bready": Out(1),
    }


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
