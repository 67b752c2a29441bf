"""Activation buffer: the activation codes of all columns."""

from itertools import product

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.units import ActivationBufferParams

__all__ = ["ActivationBuffer"]


class ActivationBuffer(wiring.Component):
    """Written an atom at a time; of all columns, one beat is read at one address.

    :Shapes: ``columns`` vectors of ``depth`` beats of ``atoms_per_beat`` atoms, each place of a
        beat a memory of its own. ``write.address`` counts atoms, ``i`` beats.
    :Timing: latency ``ActivationBufferParams.LATENCY`` from address to beats; one read and one
        write per cycle. A read in the cycle of a write to its address gives the old or the new
        atom, unspecified; the sequencer never does that.

    Members
    -------
    write : stream of ``column``, ``address`` and ``atom``, always ready
    i : stream of addresses, always ready
    o : stream of one beat per column, always ready
    """

    def __init__(self, params: ActivationBufferParams):
        if not isinstance(params, ActivationBufferParams):
            raise TypeError(f"ActivationBuffer needs ActivationBufferParams, not {params!r}")
        self.params = params
        super().__init__({
            "write": In(flow(data.StructLayout({
                "atom": params.atom_bits,
                "address": params.address_bits + params.part_bits,
                "column": range(params.columns) if params.columns > 1 else 1,
            }))),
            "i": In(flow(params.address_bits)),
            "o": Out(flow(data.ArrayLayout(params.beat_bits, params.columns))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        address = self.write.payload.address
        for column, part in product(range(params.columns), range(params.atoms_per_beat)):
            storage = memory.Memory(shape=params.atom_bits, depth=params.depth, init=[])
            name = f"column_{column}" + (f"_{part}" if params.part_bits else "")
            m.submodules[name] = storage
            write, read = storage.write_port(), storage.read_port()
            m.d.comb += [
                write.addr.eq(address[params.part_bits:]),
                write.data.eq(self.write.payload.atom),
                write.en.eq(self.write.valid & (self.write.payload.column == column)
                            & (address[:params.part_bits] == part)),
                read.addr.eq(self.i.payload),
                read.en.eq(self.i.valid),
                self.o.payload[column].word_select(part, params.atom_bits).eq(
                    read.data),
            ]
        valid = Signal()
        m.d.sync += valid.eq(self.i.valid)
        m.d.comb += self.o.valid.eq(valid)
        return m
