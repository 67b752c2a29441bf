"""AXI4 writer: one stream of atoms to regions of memory."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.axi4 import BURST_INCREMENT, CACHE_NORMAL, write_members
from hdl.burst_splitter import BurstSplitter, write_region_layout
from hdl.fifo import Fifo
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.memory_units import FAULT_BITS, ReadFault
from spec.units import Axi4Params, SkidBufferParams

__all__ = ["Axi4Writer"]


class Axi4Writer(wiring.Component):
    """Writes the atoms of regions with bursts.

    A burst is asked for only when all its atoms are here, so that the tile never holds the write
    channel while it computes.

    :Shapes: regions in, their atoms in; one ``done`` per command, when all responses up to those
        of its ``last`` region have come. Atoms are taken only when their region has been.
    :Timing: one atom per cycle, from one region of a command to the next as well; at most
        ``outstanding_bursts`` bursts without response; the next command starts when ``done`` has
        been given. No output follows an input combinationally.
    :Errors: ``done.payload`` is the first fault of the command: RESPONSE for SLVERR and DECERR of
        any burst; TIMEOUT when the memory owes something and neither takes nor answers anything
        for ``timeout_cycles`` cycles. The rest of the command is then dropped as it comes, and
        ``done`` follows. Bursts that were asked for stay so, and are written when the memory takes
        them; their responses are counted and dropped. Commands taken later are written behind them.

    Members
    -------
    i : stream of regions, ``last`` with the last one of a command
    data : stream of atoms
    done : stream of one :class:`spec.memory_units.ReadFault` per command; always ready
    m_axi_aw*, m_axi_w*, m_axi_b* : the write channels of an AXI4 manager
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"Axi4Writer needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(write_region_layout(params))),
            "data": In(stream.Signature(params.atom_bits)),
            "done": Out(flow(FAULT_BITS)),
            **write_members(params),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.splitter = splitter = BurstSplitter(params)
        # A region's atoms are taken when the region has been: short ones must come ahead of them.
        burst_layout = splitter.o.payload.shape()
        m.submodules.bursts = bursts = SkidBuffer(SkidBufferParams(bits=burst_layout.size))
        m.submodules.queue = queue = Fifo(params.write_queue)
        giving_up, timeout = Signal(), Signal()

        # One command at a time: the next starts when all responses of the last have come. Its last
        # region has been taken: `closing`.
        active, closing = Signal(), Signal()
        # Atoms that are to come, less one: the sign says that there are none.
        due = Signal(signed(params.count_bits + 1), init=-1)
        complete = due[-1]
        awaited = Signal(range(params.outstanding_bursts + 1))
        stale = Signal(range(params.outstanding_bursts + 1))
        m.d.comb += [
            splitter.i.payload.index.eq(self.i.payload.index),
            splitter.i.payload.atoms.eq(self.i.payload.atoms),
            splitter.i.valid.eq(self.i.valid & ~closing),
            self.i.ready.eq(splitter.i.ready & ~closing),
            bursts.i.payload.eq(splitter.o.payload),
            bursts.i.valid.eq(splitter.o.valid),
            splitter.o.ready.eq(bursts.i.ready),
            self.data.ready.eq(~complete & (queue.i.ready | giving_up)),
            queue.i.payload.eq(self.data.payload),
            queue.i.valid.eq(self.data.valid & self.data.ready & ~giving_up),
        ]
        begin = self.i.valid & self.i.ready
        m.d.sync += due.eq(due + Mux(begin, self.i.payload.atoms, 0)
                           - (self.data.valid & self.data.ready))

        # Start a burst when its atoms are here and both channels are free. `skip` atoms behind
        # those of the burst under way were given up.
        burst = data.View(burst_layout, bursts.o.payload)
        here = Signal(range(params.write_queue_atoms + 1))
        # Of both one less, so that their signs say that there are none.
        skip = Signal(signed(params.write_queue_atoms.bit_length() + 1), init=-1)
        left = Signal(signed(params.burst_atoms.bit_length() + 1), init=-1)
        ready, start = Signal(), Signal()
        idle, final = left[-1], left == 0
        skipping = idle & ~skip[-1]
        w_taken = self.m_axi_wvalid & self.m_axi_wready
        m.d.comb += [
            ready.eq(bursts.o.valid & (here >= burst.beats)),
            start.eq(ready & ~giving_up & ~timeout & skip[-1]
                     & (awaited + stale != params.outstanding_bursts)
                     & (~self.m_axi_awvalid | self.m_axi_awready)
                     & (idle | final & w_taken)),
            bursts.o.ready.eq(start | giving_up),
        ]
        m.d.sync += here.eq(here + queue.i.valid - Mux(start, burst.beats, 0))
        with m.If(self.m_axi_awready):
            m.d.sync += self.m_axi_awvalid.eq(0)
        with m.If(w_taken):
            m.d.sync += left.eq(left - 1)
        with m.If(start):
            m.d.sync += [
                self.m_axi_awvalid.eq(1),
                self.m_axi_awaddr.eq(burst.index << params.offset_bits),
                self.m_axi_awlen.eq(burst.beats - 1),
                left.eq(burst.beats - 1),
            ]
        with m.If(skipping & queue.o.valid):
            m.d.sync += skip.eq(skip - 1)
        m.d.comb += [
            self.m_axi_awsize.eq(params.offset_bits),
            self.m_axi_awburst.eq(BURST_INCREMENT),
            self.m_axi_awcache.eq(CACHE_NORMAL),
            self.m_axi_wvalid.eq(~idle & queue.o.valid),
            self.m_axi_wdata.eq(queue.o.payload),
            self.m_axi_wstrb.eq(-1),
            self.m_axi_wlast.eq(final),
            queue.o.ready.eq(~idle & self.m_axi_wready | skipping),
            self.m_axi_bready.eq(1),
        ]

        # Responses come in order: first those of bursts that were given up.
        answered = self.m_axi_bvalid & self.m_axi_bready
        fault = self.done.payload
        m.d.sync += [
            awaited.eq(awaited + start - (answered & (stale == 0))),
            stale.eq(stale - (answered & (stale != 0))),
        ]
        with m.If(answered & (stale == 0) & self.m_axi_bresp[1] & (fault == ReadFault.NONE)):
            m.d.sync += fault.eq(ReadFault.RESPONSE)

        # Give up when nothing moved for too long, until the command has ended.
        still = Signal(range(params.timeout_cycles + 1))
        waiting = active & ~giving_up & (
            ready | self.m_axi_awvalid | ~idle | (awaited != 0))
        moves = self.m_axi_awvalid & self.m_axi_awready | w_taken | self.m_axi_bvalid
        stands = waiting & ~moves & ~timeout
        m.d.sync += [
            still.eq(Mux(stands, still + 1, 0)),
            timeout.eq(stands & (still == params.timeout_cycles)),
        ]
        with m.If(timeout):
            m.d.sync += [
                giving_up.eq(1),
                stale.eq(stale + awaited - answered),
                awaited.eq(0),
                skip.eq(skip + here + queue.i.valid - (skipping & queue.o.valid)),
                here.eq(0),
            ]
            with m.If(fault == ReadFault.NONE):
                m.d.sync += fault.eq(ReadFault.TIMEOUT)

        # The splitter takes the region and shows its first burst in the same edge as `closing`.
        with m.If(begin):
            m.d.sync += [active.eq(1), closing.eq(self.i.payload.last)]
        with m.Elif(closing & ~splitter.o.valid & ~bursts.o.valid & (awaited == 0)
                    & complete):
            m.d.comb += self.done.valid.eq(1)
            m.d.sync += [active.eq(0), closing.eq(0), giving_up.eq(0), fault.eq(ReadFault.NONE)]
        return m
