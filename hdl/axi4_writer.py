"""AXI4 writer: one stream of atoms to regions of memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.axi4 import BURST_INCREMENT, CACHE_NORMAL, write_members
from hdl.burst_splitter import BurstSplitter, region_layout
from hdl.pipeline import flow
from spec.units import Axi4Params

__all__ = ["Axi4Writer"]


class Axi4Writer(wiring.Component):
    """Writes the atoms of a region with bursts.

    A burst is asked for only when all its atoms are here, so that the tile never holds the write
    channel while it computes.

    :Shapes: a region in, its atoms in; one ``done`` per region, when all responses have come.
    :Timing: one atom per cycle; at most ``outstanding_bursts`` bursts without response. No output
        follows an input combinationally.
    :Errors: SLVERR and DECERR of any burst set ``done.payload``.

    Members
    -------
    i : stream of regions
    data : stream of atoms
    done : stream of one bit per region, whether a response was an error; always ready
    m_axi_aw*, m_axi_w*, m_axi_b* : the write channels of an AXI4 manager
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"Axi4Writer needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
            "data": In(stream.Signature(params.atom_bits)),
            "done": Out(flow(1)),
            **write_members(params),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.splitter = splitter = BurstSplitter(params)
        m.submodules.queue = queue = SyncFIFOBuffered(
            width=params.atom_bits, depth=params.write_queue_atoms)
        m.d.comb += [
            queue.w_data.eq(self.data.payload),
            queue.w_en.eq(self.data.valid),
            self.data.ready.eq(queue.w_rdy),
        ]

        # One region at a time: the next starts when all responses of the last have come.
        active = Signal()
        outstanding = Signal(range(params.outstanding_bursts + 1))
        m.d.comb += [
            splitter.i.payload.eq(self.i.payload),
            splitter.i.valid.eq(self.i.valid & ~active),
            self.i.ready.eq(splitter.i.ready & ~active),
        ]

        # Start a burst when its atoms are here and both channels are free.
        burst = splitter.o
        here = Signal(range(params.write_queue_atoms + 1))
        left = Signal(range(params.burst_atoms + 1))
        start = Signal()
        w_taken = self.m_axi_wvalid & self.m_axi_wready
        m.d.comb += [
            start.eq(burst.valid & (here >= burst.payload.beats)
                     & (outstanding != params.outstanding_bursts)
                     & (~self.m_axi_awvalid | self.m_axi_awready)
                     & ((left == 0) | (left == 1) & w_taken)),
            burst.ready.eq(start),
        ]
        m.d.sync += here.eq(here + (self.data.valid & self.data.ready)
                            - Mux(start, burst.payload.beats, 0))
        with m.If(self.m_axi_awready):
            m.d.sync += self.m_axi_awvalid.eq(0)
        with m.If(w_taken):
            m.d.sync += left.eq(left - 1)
        with m.If(start):
            m.d.sync += [
                self.m_axi_awvalid.eq(1),
                self.m_axi_awaddr.eq(burst.payload.index << params.offset_bits),
                self.m_axi_awlen.eq(burst.payload.beats - 1),
                left.eq(burst.payload.beats),
            ]
        m.d.comb += [
            self.m_axi_awsize.eq(params.offset_bits),
            self.m_axi_awburst.eq(BURST_INCREMENT),
            self.m_axi_awcache.eq(CACHE_NORMAL),
            self.m_axi_wvalid.eq((left != 0) & queue.r_rdy),
            self.m_axi_wdata.eq(queue.r_data),
            self.m_axi_wstrb.eq(-1),
            self.m_axi_wlast.eq(left == 1),
            queue.r_en.eq((left != 0) & self.m_axi_wready),
            self.m_axi_bready.eq(1),
        ]

        answered = self.m_axi_bvalid & self.m_axi_bready
        failed = Signal()
        m.d.sync += outstanding.eq(outstanding + start - answered)
        with m.If(answered):
            m.d.sync += failed.eq(failed | self.m_axi_bresp[1])
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [active.eq(1), failed.eq(0)]
        # The splitter takes the region and shows its first burst in the same edge as `active`.
        with m.Elif(active & ~burst.valid & (outstanding == 0)):
            m.d.comb += self.done.valid.eq(1)
            m.d.sync += active.eq(0)
        m.d.comb += self.done.payload.eq(failed)
        return m
