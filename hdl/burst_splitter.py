"""Burst splitter: one region of atoms to bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spec.units import Axi4Params

__all__ = ["BurstSplitter", "region_layout", "write_region_layout"]


def region_layout(params: Axi4Params) -> data.StructLayout:
    """A region of memory: the number of its first atom, and how many atoms."""
    return data.StructLayout({"index": params.index_bits, "atoms": params.count_bits})


def write_region_layout(params: Axi4Params) -> data.StructLayout:
    """A region to write, and whether the command ends with it."""
    return data.StructLayout({**region_layout(params).members, "last": 1})


class BurstSplitter(wiring.Component):
    """Cuts a region at the multiples of ``burst_atoms``.

    A burst so never crosses the 4096-byte boundary of AXI4 (the description sees to
    ``burst_atoms`` times the atom), and all bursts but the first and last are full and aligned.

    :Shapes: a region of at least one atom in; bursts of 1 to ``burst_atoms`` beats out.
    :Timing: the first burst one cycle after the region; then one burst per cycle.

    Members
    -------
    i : stream of regions
    o : stream of ``index`` and ``beats``, with ``last`` on the last burst of a region
    """

    def __init__(self, params: Axi4Params):
        if not isinstance(params, Axi4Params):
            raise TypeError(f"BurstSplitter needs Axi4Params, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(region_layout(params))),
            "o": Out(stream.Signature(data.StructLayout({
                "index": params.index_bits,
                "beats": range(params.burst_atoms + 1),
                "last": 1,
            }))),
        })

    def elaborate(self, platform):
        m = Module()
        burst = self.params.burst_atoms
        region = Signal(region_layout(self.params))
        room = Signal(range(burst + 1))
        place_bits = (burst - 1).bit_length()
        m.d.comb += [
            room.eq(burst - region.index[:place_bits] if burst > 1 else 1),
            self.o.payload.index.eq(region.index),
            self.o.payload.last.eq(region.atoms <= room),
            self.o.payload.beats.eq(Mux(self.o.payload.last, region.atoms, room)),
            self.i.ready.eq(~self.o.valid),
        ]
        with m.If(self.i.ready):
            m.d.sync += [region.eq(self.i.payload), self.o.valid.eq(self.i.valid)]
        with m.Elif(self.o.ready):
            # What is left begins at the next multiple; behind the last burst nothing is left.
            m.d.sync += [
                region.index.eq(Cat(Const(0, place_bits), region.index[place_bits:] + 1)),
                region.atoms.eq(region.atoms - room),
                self.o.valid.eq(~self.o.payload.last),
            ]
        return m
