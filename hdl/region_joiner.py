"""Region joiner: neighbouring regions as one."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.burst_splitter import region_layout
from hdl.skid_buffer import SkidBuffer
from spec.units import Axi4Params, SkidBufferParams

__all__ = ["RegionJoiner"]

# Cycles without another region after which one is passed on as it stands.
PATIENCE = 2


class RegionJoiner(wiring.Component):
    """Joins a region to the one before where it begins at its end, so that bursts get long.

    :Shapes: regions of at least one atom in; the same atoms in the same order out, as regions that
        take no more once they have ``atoms_max`` atoms, a power of two.
    :Timing: takes one region per cycle while they can be joined; one that is not followed by
        another is passed on after ``PATIENCE`` cycles. No output follows an input combinationally.

    Members
    -------
    i, o : streams of regions
    """

    def __init__(self, params: Axi4Params, atoms_max: int):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"RegionJoiner needs Axi4Params, not {params!r}")
        self.params, self.atoms_max = params, atoms_max
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
            "o": Out(stream.Signature(region_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        layout = region_layout(self.params)
        m.submodules.skid = skid = SkidBuffer(SkidBufferParams(bits=layout.size))
        m.d.comb += [
            skid.i.payload.eq(self.i.payload),
            skid.i.valid.eq(self.i.valid),
            self.i.ready.eq(skid.i.ready),
        ]
        coming = data.View(layout, skid.o.payload)

        # The region after the one held, where it ends, and whether it begins where the one before
        # it ended.
        following, present = Signal(layout), Signal()
        end, adjacent = Signal(self.params.index_bits), Signal()
        held, offered = Signal(), Signal()
        index, atoms = self.o.payload.index, self.o.payload.atoms
        waited = Signal(range(PATIENCE + 1))
        joins, stays, free, take = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            joins.eq(present & adjacent & ~atoms[self.atoms_max.bit_length() - 1:].any()),
            # What was offered once must stay as it is.
            stays.eq(held & ~offered & (joins | ~present & (waited != PATIENCE))),
            self.o.valid.eq(held & ~stays),
            free.eq(~held | stays | self.o.ready),
            take.eq(present & free),
            skid.o.ready.eq(~present | free),
        ]
        m.d.sync += [
            offered.eq(self.o.valid & ~self.o.ready),
            waited.eq(waited + (stays & ~take)),
        ]
        with m.If(skid.o.ready):
            m.d.sync += [present.eq(skid.o.valid), following.eq(coming)]
            with m.If(skid.o.valid):
                m.d.sync += [adjacent.eq(coming.index == end),
                             end.eq(coming.index + coming.atoms)]
        with m.If(take):
            m.d.sync += [held.eq(1), waited.eq(0)]
            with m.If(stays):
                m.d.sync += atoms.eq(atoms + following.atoms)
            with m.Else():
                m.d.sync += [index.eq(following.index), atoms.eq(following.atoms)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += held.eq(0)
        return m
