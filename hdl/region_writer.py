"""Region writer: one stream of atoms to regions of memory, one write per atom."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import write_layout
from hdl.burst_splitter import write_region_layout
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.units import Axi4Params, SkidBufferParams

__all__ = ["RegionWriter"]


class RegionWriter(wiring.Component):
    """Writes the atoms of each region in ascending order, every byte of them.

    :Shapes: regions of at least one atom in, their atoms in; one ``done`` per command, when all
        atoms up to its ``last`` region are written.
    :Timing: one atom per cycle, from one region of a command to the next as well; the next command
        starts when ``done`` has been given. ``done`` comes in the cycle after the last
        ``written``. No output follows an input combinationally.
    :Errors: a one in any ``written`` sets ``done.payload``. A ``written`` that never comes waits
        for ever; not detected.

    Members
    -------
    i : stream of regions, ``last`` with the last one of a command
    data : stream of atoms
    write : stream of writes, ``index``, ``data`` and ``strobe``
    written : stream of one bit per write, in order, whether it failed; always ready
    done : stream of one bit per command, whether a write failed; always ready
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"RegionWriter needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(write_region_layout(params))),
            "data": In(stream.Signature(params.atom_bits)),
            "write": Out(stream.Signature(write_layout(params))),
            "written": In(flow(1)),
            "done": Out(flow(1)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.skid = skid = SkidBuffer(SkidBufferParams(bits=params.atom_bits))
        wiring.connect(m, wiring.flipped(self.data), skid.i)

        layout = write_region_layout(params)
        m.submodules.regions = regions = SkidBuffer(SkidBufferParams(bits=layout.size))
        m.d.comb += [
            regions.i.payload.eq(self.i.payload),
            regions.i.valid.eq(self.i.valid),
            self.i.ready.eq(regions.i.ready),
        ]
        region = data.View(layout, regions.o.payload)

        # `closing`: the last region of the command has begun.
        closing, failed = Signal(), Signal()
        index = Signal(params.index_bits)
        unsent, unwritten = Signal(params.count_bits), Signal(params.count_bits)
        sending, sent, begin = unsent.any(), Signal(), Signal()
        m.d.comb += [
            sent.eq(self.write.valid & self.write.ready),
            begin.eq(regions.o.valid & ~closing & (~sending | sent & (unsent == 1))),
            regions.o.ready.eq(begin),
            self.write.valid.eq(skid.o.valid & sending),
            self.write.payload.index.eq(index),
            self.write.payload.data.eq(skid.o.payload),
            self.write.payload.strobe.eq(-1),
            skid.o.ready.eq(self.write.ready & sending),
            self.done.valid.eq(closing & ~unwritten.any()),
            self.done.payload.eq(failed),
        ]
        m.d.sync += unwritten.eq(
            unwritten + Mux(begin, region.atoms, 0) - self.written.valid)
        with m.If(begin):
            m.d.sync += [
                closing.eq(region.last), index.eq(region.index), unsent.eq(region.atoms)]
        with m.Elif(sent):
            m.d.sync += [index.eq(index + 1), unsent.eq(unsent - 1)]
        with m.If(self.done.valid):
            m.d.sync += [closing.eq(0), failed.eq(0)]
        with m.Elif(self.written.valid):
            m.d.sync += failed.eq(failed | self.written.payload)
        return m
