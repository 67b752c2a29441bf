"""Reduction packer: results of REDUCE to atoms for memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReductionPacker"]

WORD_BITS = 32


class ReductionPacker(wiring.Component):
    """Puts results of one or two words one behind the other.

    :Shapes: ``results`` results in; atoms out, the last filled up with zeros.
    :Timing: one result per cycle while the consumer takes the atoms.

    Members
    -------
    wide : results have two words; held while results come
    results : number of results of a command; taken with ``start``
    start : the results of the next command come from now on
    i : stream of ``value`` and ``second``
    o : stream of atoms
    """

    def __init__(self, atom_bits: int, results_bits: int):
        self.atom_bits, self.results_bits = atom_bits, results_bits
        super().__init__({
            "wide": In(1),
            "results": In(results_bits),
            "start": In(1),
            "i": In(stream.Signature(data.StructLayout({"value": 32, "second": 32}))),
            "o": Out(stream.Signature(atom_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        words = self.atom_bits // WORD_BITS
        left = Signal(self.results_bits)
        place = Signal(range(words))
        take, complete = Signal(), Signal()
        step = Mux(self.wide, 2, 1)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
            complete.eq((left == 1) | (place == words - step)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                left.eq(left - 1), self.o.valid.eq(complete),
                place.eq(Mux(complete, 0, place + step))]
            with m.If(place == 0):
                m.d.sync += self.o.payload.eq(
                    Cat(self.i.payload.value, Mux(self.wide, self.i.payload.second, 0)))
            for word in range(1, words):
                with m.If(place == word):
                    m.d.sync += self.o.payload.word_select(word, WORD_BITS).eq(
                        self.i.payload.value)
                    if word % 2 == 0:
                        with m.If(self.wide):
                            m.d.sync += self.o.payload.word_select(word + 1, WORD_BITS).eq(
                                self.i.payload.second)
        with m.If(self.start):
            m.d.sync += left.eq(self.results)
        return m
