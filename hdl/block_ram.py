"""Block RAM: the memory of a trial design, shared by the tile and the host."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout, write_layout
from hdl.pipeline import flow
from spec.memory_units import ReadFault
from spec.trial_units import BlockRamParams

__all__ = ["BlockRam"]

REQUESTERS = ("host", "tile")


class BlockRam(wiring.Component):
    """One memory with one port to read and one to write; two requesters, each with the streams of
    :class:`hdl.memory_controller.MemoryController`.

    Where both ask in one cycle, the host is first: it asks seldom. A read and a write of one atom
    in the same cycle are in either order; a read that is taken after a write was ``written`` sees
    it. Atoms are zero at power-up, and keep their values through a reset.

    :Timing: one read and one write per cycle; latency ``BlockRamParams.LATENCY`` from a read to its
        answer, one cycle from a write to ``written``. While one requester does not take its answer,
        the reads of both wait. No output but the ``ready`` of a stream follows an input
        combinationally.

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

        # Reads: one stage in the memory, one in the answer's register.
        moves = Signal()
        owner = Signal(len(REQUESTERS))
        answers = [getattr(self, f"{who}_data") for who in REQUESTERS]
        waits = [answer.valid & ~answer.ready for answer in answers]
        m.d.comb += [moves.eq(~Cat(waits).any()), read.en.eq(moves)]
        before = Const(0, 1)
        for place, who in enumerate(REQUESTERS):
            asks, answer = getattr(self, f"{who}_read"), answers[place]
            m.d.comb += asks.ready.eq(moves & ~before)
            with m.If(asks.valid & ~before):
                m.d.comb += read.addr.eq(asks.payload)
            with m.If(moves):
                m.d.sync += [
                    owner[place].eq(asks.valid & ~before),
                    answer.valid.eq(owner[place]),
                ]
                with m.If(owner[place]):
                    m.d.sync += answer.payload.eq(
                        Cat(read.data, Const(ReadFault.NONE, 2)))
            before = before | asks.valid

        # Writes.
        before = Const(0, 1)
        for who in REQUESTERS:
            asks, done = getattr(self, f"{who}_write"), getattr(self, f"{who}_written")
            m.d.comb += asks.ready.eq(~before)
            m.d.sync += done.valid.eq(asks.valid & ~before)
            with m.If(asks.valid & ~before):
                m.d.comb += [
                    write.addr.eq(asks.payload.index),
                    write.data.eq(asks.payload.data),
                    write.en.eq(asks.payload.strobe),
                ]
            before = before | asks.valid
        return m
