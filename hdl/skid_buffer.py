"""Skid buffer: two entries that cut every combinational path of a stream."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.units import SkidBufferParams

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """A stream through registers: valid and ready leave from flops, the payload from one of two.

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
        entries = [Signal(self.params.bits, name=f"entry_{place}") for place in range(2)]
        write, read, full = Signal(), Signal(), Signal()
        writes, fills = Signal(), Signal()
        take = self.i.valid & self.i.ready
        give = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(~full),
            writes.eq(write ^ take),
            fills.eq(self.o.valid & ~give & (full | take)),
            self.o.payload.eq(Mux(read, *reversed(entries))),
        ]
        m.d.sync += [
            write.eq(writes),
            read.eq(read ^ give),
            full.eq(fills),
            self.o.valid.eq(take | full | self.o.valid & ~give),
        ]
        # A free entry takes whatever there is, so that neither the valid of one side nor the ready
        # of the other has to reach the flops of the payload; a flop of its own lets it.
        for place, entry in enumerate(entries):
            free = Signal(name=f"free_{place}", init=1 - place)
            m.d.sync += free.eq(~fills & (writes == place))
            with m.If(free):
                m.d.sync += entry.eq(self.i.payload)
        return m
