"""Activation buffer: the activation codes of all columns."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.units import ActivationBufferParams

__all__ = ["ActivationBuffer"]


class ActivationBuffer(wiring.Component):
    """One memory per column, written an atom at a time, all columns read at one address.

    :Shapes: ``columns`` vectors of ``depth`` atoms.
    :Timing: latency ``ActivationBufferParams.LATENCY`` from address to atoms; one read and one
        write per cycle. A read in the cycle of a write to its address gives the old or the new
        atom, unspecified; the sequencer never does that.

    Members
    -------
    write : stream of ``column``, ``address`` and ``atom``, always ready
    i : stream of addresses, always ready
    o : stream of one atom per column, always ready
    """

    def __init__(self, params: ActivationBufferParams):
        if not isinstance(params, ActivationBufferParams):
            raise TypeError(f"ActivationBuffer needs ActivationBufferParams, not {params!r}")
        self.params = params
        super().__init__({
            "write": In(flow(data.StructLayout({
                "atom": params.atom_bits,
                "address": params.address_bits,
                "column": range(params.columns) if params.columns > 1 else 1,
            }))),
            "i": In(flow(params.address_bits)),
            "o": Out(flow(data.ArrayLayout(params.atom_bits, params.columns))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        for column in range(params.columns):
            storage = memory.Memory(shape=params.atom_bits, depth=params.depth, init=[])
            m.submodules[f"column_{column}"] = storage
            write, read = storage.write_port(), storage.read_port()
            m.d.comb += [
                write.addr.eq(self.write.payload.address),
                write.data.eq(self.write.payload.atom),
                write.en.eq(self.write.valid & (self.write.payload.column == column)),
                read.addr.eq(self.i.payload),
                read.en.eq(self.i.valid),
                self.o.payload[column].eq(read.data),
            ]
        valid = Signal()
        m.d.sync += valid.eq(self.i.valid)
        m.d.comb += self.o.valid.eq(valid)
        return m
