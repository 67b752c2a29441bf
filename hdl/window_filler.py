"""Filler of the cast window: atoms of BF16 from memory to atoms of codes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout
from hdl.quantizer import Quantizer
from hdl.window_config import config_layout
from spec.memory_units import ReadFault
from spec.tensor_units import CastWindowParams
from spec.tensors import TensorFormat

__all__ = ["WindowFiller", "codes_layout", "unit_layout"]

# Units whose atoms have come and whose codes have not left the quantizer.
UNITS_INSIDE = 64


def unit_layout(params: CastWindowParams) -> data.StructLayout:
    """What atoms of memory are for: a ``unit``, the ``last`` of the window, or one plain read."""
    return data.StructLayout({"unit": 1, "last": 1})


def codes_layout(params: CastWindowParams) -> data.StructLayout:
    """An atom of codes; with the ``last`` of its unit the unit's scales, again and again for as
    many bytes as a unit's scales have at most, and whether an atom of it came with a fault."""
    return data.StructLayout({"data": params.atom_bits, "last": 1,
                              "scales": params.unit_scale_bytes * 8, "fault": 1})


class WindowFiller(wiring.Component):
    """Sends the atoms of units through a quantizer, and plain reads past it.

    :Timing: one atom per cycle. ``plain`` follows ``data`` combinationally.

    Members
    -------
    config : the window
    data : stream of atoms, in the order in which they were asked for
    units : stream, what the atoms are for: one item for each plain read and for each unit
    plain : stream of the atoms of plain reads
    codes : stream of the atoms of codes of the units
    fault : an atom of a unit came with a fault, in the cycle before
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"WindowFiller needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({
            "config": In(config_layout(params)),
            "data": In(stream.Signature(atom_layout(params))),
            "units": In(stream.Signature(unit_layout(params))),
            "plain": Out(stream.Signature(atom_layout(params))),
            "codes": Out(stream.Signature(codes_layout(params))),
            "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.quantizer = quantizer = Quantizer(self.params.quantizer)
        m.submodules.faults = faults = SyncFIFOBuffered(width=1, depth=UNITS_INSIDE)
        m.d.comb += [
            quantizer.source.eq(TensorFormat.BF16),
            quantizer.target.eq(self.config.target),
            quantizer.rule.eq(self.config.rule),
            quantizer.group.eq(self.config.group),
        ]
        self._atoms(m, quantizer, faults)
        self._codes(m, quantizer, faults)
        return m

    def _atoms(self, m, quantizer, faults):
        """From memory to the quantizer, a unit as a row."""
        config, head = self.config, self.units.payload
        came = self.data.valid & self.units.valid
        number, bad = Signal(self.params.index_bits), Signal()
        fault = self.data.payload.fault != ReadFault.NONE
        final, taken = Signal(), Signal()
        m.d.comb += [
            final.eq(number == Mux(head.last, config.last_atom, config.unit_mask)),
            quantizer.i.valid.eq(came & head.unit & faults.w_rdy),
            quantizer.i.payload.data.eq(self.data.payload.data),
            quantizer.i.payload.count.eq(
                Mux(head.last & final, config.last_count, self.params.code_lanes)),
            quantizer.i.payload.last.eq(final),
            taken.eq(quantizer.i.valid & quantizer.i.ready),
            self.plain.valid.eq(came & ~head.unit),
            self.plain.payload.eq(self.data.payload),
            self.data.ready.eq(self.units.valid & Mux(
                head.unit, quantizer.i.ready & faults.w_rdy, self.plain.ready)),
            self.units.ready.eq(self.data.valid & Mux(head.unit, taken & final,
                                                      self.plain.ready)),
            faults.w_data.eq(bad | fault),
            faults.w_en.eq(taken & final),
        ]
        m.d.sync += self.fault.eq(taken & fault)
        with m.If(taken):
            m.d.sync += [number.eq(Mux(final, 0, number + 1)), bad.eq(~final & (bad | fault))]

    def _codes(self, m, quantizer, faults):
        """From the quantizer, two beats to an atom."""
        params = self.params
        beat, o = quantizer.o.payload, self.codes
        upper, lower = Signal(), Signal(params.atom_bits // 2)
        # Whether a fault came with a unit is known when all of it has come.
        there = quantizer.o.valid & faults.r_rdy
        whole = upper | beat.last
        m.d.comb += [
            o.valid.eq(there & whole),
            o.payload.data.eq(Mux(upper, Cat(lower, beat.codes), beat.codes)),
            o.payload.last.eq(beat.last),
            o.payload.fault.eq(faults.r_data),
            o.payload.scales.eq(self._scales(m, beat, quantizer.o.valid & quantizer.o.ready)),
            quantizer.o.ready.eq(there & (~whole | o.ready)),
            faults.r_en.eq(o.valid & o.ready & beat.last),
        ]
        with m.If(quantizer.o.valid & quantizer.o.ready):
            m.d.sync += [upper.eq(~whole), lower.eq(beat.codes)]

    def _scales(self, m, beat, taken):
        """The scales of the unit, with its last beat."""
        params, config = self.params, self.config
        total = params.unit_scale_bytes
        narrow = beat.scale[:8].replicate(total)
        wide = beat.scale.replicate(total // 4) if params.scale_bytes_max == 4 else narrow
        both = Mux(config.wide, wide, narrow)
        if total == params.scale_bytes_max:
            return both
        # In a unit of two groups, the first one's scale has the even places.
        held, second = Signal(8 * total), Signal()
        with m.If(taken):
            m.d.sync += second.eq(~beat.last & (second | beat.group_last))
            with m.If(~second):
                m.d.sync += held.eq(both)
        odd = [Mux(config.wide, byte >> 2 & 1, byte & 1) for byte in range(total)]
        return Cat(Mux(second & ~odd[byte], held.word_select(byte, 8), both.word_select(byte, 8))
                   for byte in range(total))
