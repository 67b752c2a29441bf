"""Block RAM: the memory of a trial design, shared by the tile and the host."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout, write_layout
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.memory_units import FAULT_BITS, ReadFault
from spec.trial_units import BlockRamParams
from spec.units import SkidBufferParams

__all__ = ["BlockRam"]

REQUESTERS = ("host", "tile")


class BlockRam(wiring.Component):
    """One memory with one port to read and one to write; two requesters, each with the streams of
    :class:`hdl.memory_controller.MemoryController`.

    Where both ask in one cycle, the host is first: it asks seldom. A read and a write of one atom
    in the same cycle are in either order; a read that is taken after a write was ``written`` sees
    it. Atoms are zero at power-up, and keep their values through a reset.

    :Timing: one read and one write per cycle, a write of the host every second; latency
        ``BlockRamParams.LATENCY`` from a read to its answer, one cycle from a write of the tile to
        ``written``, two from one of the host. While one requester does not take its answer, the
        reads of both wait. All outputs leave from flops, or a gate behind flops.

    Members
    -------
    tile_read, host_read : streams of atom numbers
    tile_data, host_data : streams of atoms, in the order of the reads
    tile_write, host_write : streams of ``index``, ``data`` and ``strobe``
    tile_written, host_written : one per write; the payload means nothing
    """

    def __init__(self, params: BlockRamParams):
        if not isinstance(params, BlockRamParams):
            raise TypeError(f"BlockRam needs BlockRamParams, not {params!r}")
        self.params = params
        super().__init__({name: member for who in REQUESTERS for name, member in {
            f"{who}_read": In(stream.Signature(params.index_bits)),
            f"{who}_data": Out(stream.Signature(atom_layout(params))),
            f"{who}_write": In(stream.Signature(write_layout(params))),
            f"{who}_written": Out(flow(1)),
        }.items()})

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.memory = memory = Memory(shape=params.atom_bits, depth=params.atoms, init=[])
        read = memory.read_port(domain="sync")
        write = memory.write_port(domain="sync", granularity=8)

        # Reads: one stage to wait in, one that has the number, one more for its way to all block
        # RAMs, one in the memory, one in the buffer of the answers. There is one for both: neither
        # moves on before the other's is taken.
        moves = Signal()
        chosen, asked, owner = (Signal(len(REQUESTERS), name=name)
                                for name in ("chosen", "asked", "owner"))
        index, address = Signal(params.index_bits), Signal(params.index_bits)
        answer = data.StructLayout({"atom": params.atom_bits, "owner": len(REQUESTERS)})
        m.submodules.answers = answers = SkidBuffer(SkidBufferParams(bits=answer.size))
        leaving = data.View(answer, answers.o.payload)
        m.d.comb += [
            moves.eq(answers.i.ready), read.en.eq(moves), read.addr.eq(address),
            answers.i.payload.eq(Cat(read.data, owner)),
            answers.i.valid.eq(owner.any()),
        ]
        with m.If(moves):
            m.d.sync += [asked.eq(chosen), address.eq(index), owner.eq(asked)]
        before = Const(0, 1)
        for place, who in enumerate(REQUESTERS):
            asks = SkidBuffer(SkidBufferParams(bits=params.index_bits))
            m.submodules[f"{who}_reads"] = asks
            wiring.connect(m, wiring.flipped(getattr(self, f"{who}_read")), asks.i)
            to = getattr(self, f"{who}_data")
            m.d.comb += [
                asks.o.ready.eq(moves & ~before),
                to.payload.eq(Cat(leaving.atom, Const(ReadFault.NONE, FAULT_BITS))),
                to.valid.eq(answers.o.valid & leaving.owner[place]),
            ]
            with m.If(leaving.owner[place]):
                m.d.comb += answers.o.ready.eq(to.ready)
            with m.If(moves):
                m.d.sync += chosen[place].eq(asks.o.valid & ~before)
                with m.If(asks.o.valid & ~before):
                    m.d.sync += index.eq(asks.o.payload)
            before = before | asks.o.valid

        # Writes, with a register in front of the memory. The tile's goes at once, but for the cycle
        # in which that of the host does. `free` is a flop of its own: `now` drives every bit of a
        # write, and is late.
        tile, host = self.tile_write, self.host_write
        held, now, free = Signal(host.payload.shape()), Signal(), Signal(init=1)
        comes = Signal()
        m.d.comb += [
            comes.eq(host.valid & free),
            host.ready.eq(free),
            tile.ready.eq(free),
        ]
        m.d.sync += [
            write.addr.eq(Mux(now, held.index, tile.payload.index)),
            write.data.eq(Mux(now, held.data, tile.payload.data)),
            write.en.eq(Mux(now, held.strobe, Mux(tile.valid, tile.payload.strobe, 0))),
        ]
        with m.If(~now):
            m.d.sync += held.eq(host.payload)
        m.d.sync += [
            now.eq(comes),
            free.eq(~comes),
            self.host_written.valid.eq(now),
            self.tile_written.valid.eq(tile.valid & free),
        ]
        return m
