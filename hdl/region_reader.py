"""Region reader: regions of memory as one stream of requests, one per atom."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.burst_splitter import region_layout
from hdl.skid_buffer import SkidBuffer
from spec.units import Axi4Params, SkidBufferParams

__all__ = ["RegionReader"]


class RegionReader(wiring.Component):
    """Asks for the atoms of each region in ascending order, region after region.

    The answers come in the order of the requests and pass this unit by.

    :Shapes: a region of at least one atom in; its atoms' numbers out.
    :Timing: the first request two cycles after its region; then one request per cycle, from one
        region to the next as well. No output follows an input combinationally.

    Members
    -------
    i : stream of regions
    request : stream of atom numbers
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"RegionReader needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
            "request": Out(stream.Signature(params.index_bits)),
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

        region = Signal(layout)
        last = region.atoms == 1
        m.d.comb += [
            self.request.payload.eq(region.index),
            skid.o.ready.eq(~self.request.valid | self.request.ready & last),
        ]
        with m.If(skid.o.ready):
            m.d.sync += [region.eq(skid.o.payload), self.request.valid.eq(skid.o.valid)]
        with m.Elif(self.request.ready):
            m.d.sync += [
                region.index.eq(region.index + 1),
                region.atoms.eq(region.atoms - 1),
            ]
        return m
