"""Scale buffer: group scales, written by the atom, read one beat's at a time."""

from amaranth.hdl import Module
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import delayed, flow
from spec.units import ScaleBufferParams

__all__ = ["ScaleBuffer"]


class ScaleBuffer(wiring.Component):
    """A memory of atoms of scales.

    :Shapes: ``scales`` scales, rounded up to whole atoms; ``scales_per_read`` neighbours are read
        together, the first lowest.
    :Timing: latency ``ScaleBufferParams.LATENCY`` from index to scales; one read and one write per
        cycle. A read in the cycle of a write to its atom is unspecified.

    Members
    -------
    write : stream of ``address`` and ``atom``, always ready
    i : stream of the numbers of reads, always ready
    o : stream of scales, always ready
    """

    def __init__(self, params: ScaleBufferParams):
        if not isinstance(params, ScaleBufferParams):
            raise TypeError(f"ScaleBuffer needs ScaleBufferParams, not {params!r}")
        self.params = params
        super().__init__({
            "write": In(flow(data.StructLayout({
                "atom": params.atom_bits,
                "address": params.address_bits,
            }))),
            "i": In(flow(params.index_bits)),
            "o": Out(flow(params.read_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.storage = storage = memory.Memory(
            shape=params.atom_bits, depth=params.depth, init=[])
        write, read = storage.write_port(), storage.read_port()
        position_bits = params.index_bits - params.address_bits
        position = delayed(m, self.i.payload[:position_bits], 1, "position")
        m.d.comb += [
            write.addr.eq(self.write.payload.address),
            write.data.eq(self.write.payload.atom),
            write.en.eq(self.write.valid),
            # Read in every cycle: an enable would have to reach each bit of an atom.
            read.addr.eq(self.i.payload[position_bits:]),
        ]
        m.d.sync += [
            self.o.payload.eq(read.data.word_select(position, params.read_bits)),
            self.o.valid.eq(delayed(m, self.i.valid, 1, "valid")),
        ]
        return m
