"""AXI4 reader: regions of memory as one stream of atoms, in order."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.axi4 import BURST_INCREMENT, CACHE_NORMAL, read_members
from hdl.burst_splitter import BurstSplitter, region_layout
from hdl.skid_buffer import SkidBuffer
from spec.units import Axi4Params

__all__ = ["Axi4Reader", "atom_layout"]


def atom_layout(params: Axi4Params) -> data.StructLayout:
    """An atom as read, and whether its response was an error."""
    return data.StructLayout({"data": params.atom_bits, "error": 1})


class Axi4Reader(wiring.Component):
    """Reads regions with bursts, several under way, all with one ID, so that atoms come in order.

    :Shapes: regions in; their atoms out, region after region.
    :Timing: requests of the next region follow those of the last without waiting for its data; at
        most ``outstanding_bursts`` bursts are under way; one atom per cycle. Every output leaves
        from flops or logic behind flops; none follows an input combinationally.
    :Errors: SLVERR and DECERR set ``error`` of their atom. A response that never comes waits for
        ever; not detected.

    Members
    -------
    i : stream of regions
    o : stream of atoms
    m_axi_ar*, m_axi_r* : the read channels of an AXI4 manager
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"Axi4Reader needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
            "o": Out(stream.Signature(atom_layout(params))),
            **read_members(params),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.splitter = splitter = BurstSplitter(params)
        m.submodules.skid = skid = SkidBuffer(params.skid_buffer)
        wiring.connect(m, wiring.flipped(self.i), splitter.i)

        outstanding = Signal(range(params.outstanding_bursts + 1))
        free = outstanding != params.outstanding_bursts
        burst = splitter.o
        m.d.comb += [
            self.m_axi_arvalid.eq(burst.valid & free),
            burst.ready.eq(self.m_axi_arready & free),
            self.m_axi_araddr.eq(burst.payload.index << params.offset_bits),
            self.m_axi_arlen.eq(burst.payload.beats - 1),
            self.m_axi_arsize.eq(params.offset_bits),
            self.m_axi_arburst.eq(BURST_INCREMENT),
            self.m_axi_arcache.eq(CACHE_NORMAL),
            skid.i.valid.eq(self.m_axi_rvalid),
            skid.i.payload.eq(Cat(self.m_axi_rdata, self.m_axi_rresp[1])),
            self.m_axi_rready.eq(skid.i.ready),
            self.o.valid.eq(skid.o.valid),
            self.o.payload.eq(skid.o.payload),
            skid.o.ready.eq(self.o.ready),
        ]
        asked = self.m_axi_arvalid & self.m_axi_arready
        answered = self.m_axi_rvalid & self.m_axi_rready & self.m_axi_rlast
        m.d.sync += outstanding.eq(outstanding + asked - answered)
        return m
