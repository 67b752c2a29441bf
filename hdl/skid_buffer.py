"""Skid buffer: two entries that cut every combinational path of a stream."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.units import SkidBufferParams

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """A stream through registers: payload, valid and ready all leave from flops.

    :Timing: latency ``SkidBufferParams.LATENCY``; one item per cycle. Holds two items when the
        consumer stalls.

    Members
    -------
    i, o : streams of ``bits`` bits
    """

    def __init__(self, params: SkidBufferParams):
        if not isinstance(params, SkidBufferParams):
            raise TypeError(f"SkidBuffer needs SkidBufferParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(params.bits)),
            "o": Out(stream.Signature(params.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        spare = Signal(self.params.bits)
        spare_valid = Signal()
        m.d.comb += self.i.ready.eq(~spare_valid)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | spare_valid),
                spare_valid.eq(0),
            ]
            with m.If(spare_valid):
                m.d.sync += self.o.payload.eq(spare)
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [spare.eq(self.i.payload), spare_valid.eq(1)]
        return m
