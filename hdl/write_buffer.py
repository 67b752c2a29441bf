"""Write buffer: atoms to write, from their acceptance until their WR is sent."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import write_layout
from hdl.pipeline import flow, registered
from hdl.round_robin import in_turn
from hdl.secded_encoder import SecdedEncoder
from spec.memory_units import TURN, MemoryControllerParams

__all__ = ["WriteBuffer"]


class WriteBuffer(wiring.Component):
    """Takes the writes of two requesters in turn, holds their data, and says when they are done.

    :Timing: one write per cycle. ``o`` and the data one cycle after a write is accepted;
        ``dram_write_*`` one cycle after ``served``. ``written`` two cycles after ``served`` at the
        earliest, in the order of acceptance. ``ready`` of one requester follows ``valid`` of the
        other combinationally.

    Members
    -------
    tile, host : streams of writes
    o : flow of ``index`` and ``entry``, the writes accepted
    served : flow of entries whose WR is on the command port in the next cycle
    tile_written, host_written : flows of one bit, 0, per write
    dram_write_data, dram_write_strobe, dram_write_ecc : for the data port
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"WriteBuffer needs MemoryControllerParams, not {params!r}")
        self.params = params
        entry_bits = params.write_queues.entry_bits
        ecc = {"dram_write_ecc": Out(params.ecc_bits)} if params.ecc_bits else {}
        super().__init__({
            "tile": In(stream.Signature(write_layout(params))),
            "host": In(stream.Signature(write_layout(params))),
            "o": Out(flow(data.StructLayout({"index": params.index_bits, "entry": entry_bits}))),
            "served": In(flow(entry_bits)),
            "tile_written": Out(flow(1)),
            "host_written": Out(flow(1)),
            "dram_write_data": Out(params.atom_bits),
            "dram_write_strobe": Out(params.atom_bits // 8),
            **ecc,
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        slots = params.writes

        # Whose turn it is, while both want a slot.
        take_host, accept = Signal(), Signal()
        free = Signal(init=1)
        host_turn = in_turn(m, params.host_turn, TURN,
                            accept & self.host.valid & self.tile.valid)
        m.d.comb += [
            take_host.eq(self.host.valid & (host_turn | ~self.tile.valid)),
            accept.eq(free & (self.host.valid | self.tile.valid)),
            self.host.ready.eq(free & take_host),
            self.tile.ready.eq(free & ~take_host),
        ]

        # Slots, in circular order.
        def following(slot):
            return Mux(slot == slots - 1, 0, slot + 1)

        newest, oldest = Signal(range(slots)), Signal(range(slots))
        count = Signal(range(slots + 1))
        later = Signal.like(count)
        done = Array(Signal(name=f"done_{slot}") for slot in range(slots))
        of_host = Array(Signal(name=f"of_host_{slot}") for slot in range(slots))
        release = Signal()
        m.d.comb += [
            release.eq((count != 0) & done[oldest]),
            later.eq(count + accept - release),
            self.tile_written.valid.eq(release & ~of_host[oldest]),
            self.host_written.valid.eq(release & of_host[oldest]),
        ]
        m.d.sync += [count.eq(later), free.eq(later != slots)]
        with m.If(accept):
            m.d.sync += [newest.eq(following(newest)), of_host[newest].eq(take_host)]
        with m.If(release):
            m.d.sync += [oldest.eq(following(oldest)), done[oldest].eq(0)]
        sent = registered(m, self.served.valid, "sent")
        sent_entry = registered(m, self.served.payload, "sent_entry")
        with m.If(sent):
            m.d.sync += done[sent_entry].eq(1)

        # One cycle later, with check bits, into the memory and the queues.
        item = Mux(take_host, Cat(self.host.payload), Cat(self.tile.payload))
        item = data.View(write_layout(params), item)
        entry = registered(m, newest, "entry")
        valid = registered(m, accept, "accepted")
        m.d.comb += [self.o.valid.eq(valid), self.o.payload.entry.eq(entry)]
        m.d.sync += self.o.payload.index.eq(item.index)
        strobe = registered(m, item.strobe, "strobe")
        if params.ecc_bits:
            m.submodules.encoder = encoder = SecdedEncoder(params.secded)
            m.d.comb += [encoder.i.valid.eq(accept), encoder.i.payload.eq(item.data)]
            stored = Cat(strobe, encoder.o.payload)
            outputs = Cat(self.dram_write_strobe, self.dram_write_data, self.dram_write_ecc)
        else:
            stored = Cat(strobe, registered(m, item.data, "data"))
            outputs = Cat(self.dram_write_strobe, self.dram_write_data)
        m.submodules.storage = storage = Memory(shape=len(stored), depth=slots, init=[])
        write, read = storage.write_port(), storage.read_port()
        m.d.comb += [
            write.en.eq(valid),
            write.addr.eq(entry),
            write.data.eq(stored),
            read.en.eq(self.served.valid),
            read.addr.eq(self.served.payload),
            outputs.eq(read.data),
        ]
        return m
