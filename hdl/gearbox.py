"""Gearbox: three atoms to two beats of one and a half atoms, where codes have six bits."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout
from spec.memory_units import FAULT_BITS, ReadFault
from spec.units import GearboxParams

__all__ = ["Gearbox", "memory_beat_layout"]


def memory_beat_layout(params) -> data.StructLayout:
    """A beat of the sequencer as it comes from memory, and the fault of its atoms; ``params`` has
    ``beat_bits``."""
    return data.StructLayout({"data": params.beat_bits, "fault": FAULT_BITS})


class Gearbox(wiring.Component):
    """Makes beats of atoms.

    While ``packed``, three atoms are two beats: the first beat is the first atom and the lower half
    of the second, the second beat the rest. Otherwise an atom is a beat, with zeros above it. What
    is left of an atom when ``packed`` ends is dropped.

    :Formats: the fault of a beat is that of the first of its atoms that has one.
    :Timing: no latency: a beat comes with its last atom, and an atom is taken with its beat, or at
        once where it does not end one; one atom per cycle.

    Members
    -------
    packed : what is taken next are packed codes
    i : stream of atoms read
    o : stream of beats
    """

    def __init__(self, params: GearboxParams):
        if not isinstance(params, GearboxParams):
            raise TypeError(f"Gearbox needs GearboxParams, not {params!r}")
        self.params = params
        super().__init__({
            "packed": In(1),
            "i": In(stream.Signature(atom_layout(params))),
            "o": Out(stream.Signature(memory_beat_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        bits = self.params.atom_bits
        half = bits // 2
        atom = self.i.payload
        # Atoms of the three that came: of one, all is held, of two, the upper half of the second.
        count = Signal(range(3))
        held, held_fault = Signal(bits), Signal(FAULT_BITS)
        gathers = self.packed & (count == 0)
        take = self.i.valid & self.i.ready
        beat = Mux(count == 1, Cat(held, atom.data[:half]), Cat(held[:half], atom.data))
        m.d.comb += [
            self.i.ready.eq(self.o.ready | gathers),
            self.o.valid.eq(self.i.valid & ~gathers),
            self.o.payload.data.eq(Mux(self.packed, beat, atom.data)),
            self.o.payload.fault.eq(
                Mux(self.packed & (held_fault != ReadFault.NONE), held_fault, atom.fault)),
        ]
        with m.If(take):
            m.d.sync += [
                held.eq(Mux(count == 0, atom.data, atom.data[half:])),
                held_fault.eq(Mux(count == 2, ReadFault.NONE, atom.fault)),
                count.eq(Mux(count == 2, 0, count + 1)),
            ]
        with m.If(~self.packed):
            m.d.sync += [count.eq(0), held_fault.eq(ReadFault.NONE)]
        return m
