"""Tensor beats: the atoms that were read, each with what its unit must know of it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.tensor_reads import span_layout
from hdl.tensor_streams import scaled_layout
from spec.tensor_engine import TensorEngineParams

__all__ = ["TensorBeats"]


class TensorBeats(wiring.Component):
    """Takes the atoms of each span: scales go into a buffer, all others leave with their scale.

    :Timing: one atom per cycle; ``o`` one cycle after its atom.

    Members
    -------
    lanes : elements of a whole atom; holds still
    spans : stream of what the atoms are, as :class:`hdl.tensor_reads.TensorReads` gives it
    atoms : stream of atoms
    o : stream of atoms with their scale
    """

    def __init__(self, params: TensorEngineParams):
        if not isinstance(params, TensorEngineParams):
            raise TypeError(f"TensorBeats needs TensorEngineParams, not {params!r}")
        self.params = params
        super().__init__({
            "lanes": In(params.count_bits),
            "spans": In(stream.Signature(span_layout(params))),
            "atoms": In(stream.Signature(params.atom_bits)),
            "o": Out(stream.Signature(scaled_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        span, beat = self.spans.payload, self.o.payload
        # The coming atom is the `place`th of its span.
        place = Signal(params.checker.row_bits, init=1)
        later = Signal()
        ends, take, free = Signal(), Signal(), Signal()
        m.d.comb += [
            ends.eq(place == span.atoms),
            free.eq(~self.o.valid | self.o.ready),
            take.eq(self.atoms.valid & self.spans.valid & free),
            self.atoms.ready.eq(self.spans.valid & free),
            self.spans.ready.eq(self.atoms.valid & free & ends),
        ]
        with m.If(take):
            m.d.sync += [place.eq(Mux(ends, 1, place + 1)), later.eq(~ends)]
        with m.If(free):
            m.d.sync += [
                self.o.valid.eq(take & ~span.scales),
                beat.data.eq(self.atoms.payload),
                beat.count.eq(Mux(ends, span.tail, self.lanes)),
                beat.last.eq(ends & span.last),
            ]
        if params.reads_scales:
            self._scales(m, span, take, ends, later)
        return m

    def _scales(self, m, span, take, ends, later):
        """The buffer of the scales, and which of them belongs to the atom."""
        params = self.params
        bits = params.atom_bits // params.scales_per_atom
        m.submodules.buffer = buffer = Memory(
            shape=params.atom_bits, depth=params.scale_buffer_atoms, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        # Of the atoms behind the first of a span, which `later` tells.
        address, lane = Signal(params.scale_address_bits), Signal(params.scale_lane_bits)
        atom = Signal(range(params.group_atoms + 1))
        at, at_lane, at_atom = Signal.like(address), Signal.like(lane), Signal.like(atom)
        m.d.comb += [
            at.eq(Mux(later, address, span.address)),
            at_lane.eq(Mux(later, lane, span.lane)),
            at_atom.eq(Mux(later, atom, 0)),
            write.addr.eq(at),
            write.data.eq(self.atoms.payload),
            write.en.eq(take & span.scales),
            read.addr.eq(at),
            read.en.eq(take & ~span.scales),
        ]
        group_ends = at_atom == params.group_atoms - 1
        with m.If(take):
            m.d.sync += [
                address.eq(at + (span.scales
                                 | group_ends & (at_lane == params.scales_per_atom - 1))),
                atom.eq(Mux(group_ends, 0, at_atom + 1)),
                lane.eq(at_lane + (group_ends & ~span.scales)),
            ]
        taken_lane = Signal.like(lane)
        with m.If(read.en):
            m.d.sync += taken_lane.eq(at_lane)
        m.d.comb += self.o.payload.scale.eq(read.data.word_select(taken_lane, bits))
