"""Region writer: one stream of atoms to regions of memory, one write per atom."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import write_layout
from hdl.burst_splitter import region_layout
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.units import Axi4Params, SkidBufferParams

__all__ = ["RegionWriter"]


class RegionWriter(wiring.Component):
    """Writes the atoms of a region in ascending order, every byte of them.

    :Shapes: a region of at least one atom in, its atoms in; one ``done`` per region, when all its
        atoms are written.
    :Timing: one atom per cycle; one region at a time: the next is taken when ``done`` of the last
        has been given. ``done`` comes in the cycle after the last ``written``. No output follows
        an input combinationally.
    :Errors: a one in any ``written`` sets ``done.payload``. A ``written`` that never comes waits
        for ever; not detected.

    Members
    -------
    i : stream of regions
    data : stream of atoms
    write : stream of writes, ``index``, ``data`` and ``strobe``
    written : stream of one bit per write, in order, whether it failed; always ready
    done : stream of one bit per region, whether a write failed; always ready
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"RegionWriter needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
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

        active, failed = Signal(), Signal()
        index = Signal(params.index_bits)
        unsent, unwritten = Signal(params.count_bits), Signal(params.count_bits)
        sending = unsent.any()
        m.d.comb += [
            self.i.ready.eq(~active),
            self.write.valid.eq(skid.o.valid & sending),
            self.write.payload.index.eq(index),
            self.write.payload.data.eq(skid.o.payload),
            self.write.payload.strobe.eq(-1),
            skid.o.ready.eq(self.write.ready & sending),
            self.done.valid.eq(active & ~unwritten.any()),
            self.done.payload.eq(failed),
        ]
        with m.If(self.write.valid & self.write.ready):
            m.d.sync += [index.eq(index + 1), unsent.eq(unsent - 1)]
        with m.If(self.written.valid):
            m.d.sync += [
                unwritten.eq(unwritten - 1),
                failed.eq(failed | self.written.payload),
            ]
        with m.If(self.done.valid):
            m.d.sync += active.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                active.eq(1),
                failed.eq(0),
                index.eq(self.i.payload.index),
                unsent.eq(self.i.payload.atoms),
                unwritten.eq(self.i.payload.atoms),
            ]
        return m
