"""AXI4 reader: regions of memory as one stream of atoms, in order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout
from hdl.axi4 import BURST_INCREMENT, CACHE_NORMAL, read_members
from hdl.burst_splitter import BurstSplitter, region_layout
from hdl.skid_buffer import SkidBuffer
from spec.memory_units import FAULT_BITS, ReadFault
from spec.units import Axi4Params

__all__ = ["Axi4Reader"]


class Axi4Reader(wiring.Component):
    """Reads regions with bursts, several under way, all with one ID, so that atoms come in order.

    :Shapes: regions in; their atoms out, region after region.
    :Timing: requests of the next region follow those of the last without waiting for its data; at
        most ``outstanding_bursts`` bursts are under way; one atom per cycle. Every output leaves
        from flops or logic behind flops; none follows an input combinationally.
    :Errors: SLVERR and DECERR give their atom the fault RESPONSE. When atoms are owed and the
        memory neither takes a request nor offers an answer for ``timeout_cycles`` cycles, all
        atoms owed of the regions taken so far, and of those taken meanwhile, come with the fault
        TIMEOUT and any data, one per cycle. A request on the channel then stays there until it is
        taken, answers of the bursts that were given up are counted and dropped when they come,
        and regions taken later are read as ever; until then these bursts count as under way.

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
        burst = splitter.o

        # Bursts asked for whose answers have not ended, and those of them that were given up, which
        # are answered first.
        in_flight = Signal(range(params.outstanding_bursts + 1))
        stale = Signal(range(params.outstanding_bursts + 1))
        owed_atoms = Signal(range(params.outstanding_bursts * params.burst_atoms + 1))
        giving_up, timeout = Signal(), Signal()
        asked = self.m_axi_arvalid & self.m_axi_arready
        answered = self.m_axi_rvalid & self.m_axi_rready
        ended = answered & self.m_axi_rlast
        dropping = stale != 0

        # The request stands in registers, so that it can stay while its region is given up.
        free = (in_flight != params.outstanding_bursts) | ended
        request = Signal()
        m.d.comb += [
            request.eq(burst.valid & free & (~self.m_axi_arvalid | self.m_axi_arready)
                       & ~giving_up & ~timeout),
            burst.ready.eq(request | giving_up & (owed_atoms == 0)),
            self.m_axi_arsize.eq(params.offset_bits),
            self.m_axi_arburst.eq(BURST_INCREMENT),
            self.m_axi_arcache.eq(CACHE_NORMAL),
        ]
        with m.If(self.m_axi_arready):
            m.d.sync += self.m_axi_arvalid.eq(0)
        with m.If(request):
            m.d.sync += [
                self.m_axi_arvalid.eq(1),
                self.m_axi_araddr.eq(burst.payload.index << params.offset_bits),
                self.m_axi_arlen.eq(burst.payload.beats - 1),
            ]

        # Atoms as answered, or in place of answers that are not waited for any more.
        given = Signal()
        m.d.comb += [
            self.m_axi_rready.eq(dropping | skid.i.ready & ~giving_up),
            skid.i.valid.eq(Mux(giving_up, owed_atoms != 0, self.m_axi_rvalid & ~dropping)),
            skid.i.payload.eq(Cat(self.m_axi_rdata, Mux(
                giving_up, Const(ReadFault.TIMEOUT, FAULT_BITS),
                Mux(self.m_axi_rresp[1], Const(ReadFault.RESPONSE, FAULT_BITS),
                    Const(ReadFault.NONE, FAULT_BITS))))),
            given.eq(skid.i.valid & skid.i.ready),
            self.o.valid.eq(skid.o.valid),
            self.o.payload.eq(skid.o.payload),
            skid.o.ready.eq(self.o.ready),
        ]
        m.d.sync += [
            in_flight.eq(in_flight + request - ended),
            stale.eq(stale - (ended & dropping)),
            owed_atoms.eq(owed_atoms - given
                          + Mux(burst.valid & burst.ready, burst.payload.beats, 0)),
        ]

        # Give up when nothing moved for too long, until nothing is owed.
        still = Signal(range(params.timeout_cycles + 1))
        waiting = (burst.valid | (owed_atoms != 0)) & ~giving_up
        idle = waiting & ~asked & ~self.m_axi_rvalid & ~timeout
        m.d.sync += [
            still.eq(Mux(idle, still + 1, 0)),
            timeout.eq(idle & (still == params.timeout_cycles)),
        ]
        with m.If(timeout):
            m.d.sync += [giving_up.eq(1), stale.eq(in_flight - ended)]
        with m.Elif((owed_atoms == 0) & ~burst.valid):
            m.d.sync += giving_up.eq(0)
        return m
