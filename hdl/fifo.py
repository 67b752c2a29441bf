"""FIFO: a memory whose handshakes come from flops."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spec.units import FifoParams

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """A stream through ``depth`` places: all but one in a memory, the last in its read register.

    For wide streams whose producer and consumer are far apart: valid and ready leave from flops,
    and neither the valid of the one side nor the ready of the other reaches an enable of the memory
    through more than one gate.

    :Timing: latency ``FifoParams.LATENCY``; one item per cycle.

    Members
    -------
    i, o : streams of ``bits`` bits
    """

    def __init__(self, params: FifoParams):
        if not isinstance(params, FifoParams):
            raise TypeError(f"Fifo needs FifoParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(params.bits)),
            "o": Out(stream.Signature(params.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        places = self.params.depth - 1
        m.submodules.storage = storage = Memory(shape=self.params.bits, depth=places, init=[])
        write, read = storage.write_port(), storage.read_port(domain="sync")
        put, get, free = Signal(), Signal(), Signal()
        m.d.comb += [
            put.eq(self.i.valid & self.i.ready),
            free.eq(~self.o.valid | self.o.ready),
            # A free place takes whatever there is, and so does the read register.
            write.en.eq(self.i.ready),
            write.data.eq(self.i.payload),
            read.en.eq(free),
            self.o.payload.eq(read.data),
        ]
        for port, moves in ((write, put), (read, get)):
            with m.If(moves):
                m.d.sync += port.addr.eq(Mux(port.addr == places - 1, 0, port.addr + 1))

        # How many are in the memory, and what follows from that in flops.
        level = Signal(range(places + 1))
        some, full = Signal(), Signal()
        m.d.comb += [get.eq(some & free), self.i.ready.eq(~full)]
        m.d.sync += [
            level.eq(level + put - get),
            some.eq(put | some & ~(get & (level == 1))),
            full.eq(~get & (full | put & (level == places - 1))),
            self.o.valid.eq(some | ~free),
        ]
        return m
