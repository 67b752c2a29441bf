"""Store of the cast window: codes and scales that were made, and the answers from them."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import answer_layout, atom_layout
from hdl.window_config import config_layout
from hdl.window_filler import codes_layout
from hdl.window_planner import Answer, order_layout
from spec.memory_units import ReadFault
from spec.tensor_units import CastWindowParams

__all__ = ["WindowStore"]


class WindowStore(wiring.Component):
    """Gives the answers that the orders say.

    Each unit's codes have one of ``SLOTS`` places, from its first order to that of the next unit.
    Its scales go to the store of scales with its first order, so that the store is what the planner
    takes it for, however far the quantizer is ahead.

    :Timing: one order per cycle; a code atom can be read when all codes of its unit have come.
    :Errors: an atom from a unit with a fault has ``ReadFault.RESPONSE``.

    Members
    -------
    config : the window
    order : stream of orders
    plain : stream of the atoms of plain reads
    codes : stream of the atoms of codes of the units, in the order of the orders
    o : stream of answers
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"WindowStore needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({
            "config": In(config_layout(params)),
            "order": In(stream.Signature(order_layout(params))),
            "plain": In(stream.Signature(atom_layout(params))),
            "codes": In(stream.Signature(codes_layout(params))),
            "o": Out(stream.Signature(answer_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params, config, head = self.params, self.config, self.order.payload
        size = params.atom_bytes

        # Stage 1: take the order, and read what it needs.
        full, serving = Signal(range(params.SLOTS)), Signal(range(params.SLOTS))
        slot = Signal.like(serving)
        can, take, moves = Signal(), Signal(), Signal()
        plain = head.answer == Answer.MEMORY
        m.d.comb += [
            slot.eq(serving + head.first),
            can.eq(Mux(plain, self.plain.valid, ~head.first | (full != 0))),
            moves.eq(~self.o.valid | self.o.ready),
            take.eq(self.order.valid & can & moves),
            self.order.ready.eq(can & moves),
            self.plain.ready.eq(self.order.valid & plain & moves),
        ]
        fill, codes = self._slots(m, full, serving, take & head.first)
        m.submodules.scales = scales = Memory(
            shape=data.ArrayLayout(9, size), depth=params.store_atoms, init=[])
        write, read = scales.write_port(granularity=1), scales.read_port()
        word = head.scale[(size - 1).bit_length():]
        unit_scales, fault = Array(fill.scales)[slot], Array(fill.faults)[slot]
        bytes_of_unit = Mux(config.wide, 4, 1) << config.pair
        lane = head.scale[:(size - 1).bit_length()]
        enabled = Signal(size)
        m.d.comb += [
            enabled.eq(((Const(1) << bytes_of_unit) - 1) << lane),
            write.addr.eq(word),
            write.en.eq(Mux(take & head.first, enabled, 0)),
            write.data.as_value().eq(Cat(
                Cat(unit_scales.word_select(byte % params.unit_scale_bytes, 8), fault)
                for byte in range(size))),
            read.addr.eq(word),
            read.en.eq(moves),
            codes.addr.eq(Cat(head.code, slot)),
            codes.en.eq(moves),
        ]

        # Stage 2: the answer.
        answer, atom = Signal(Answer), Signal(atom_layout(params))
        bad, valid_bytes = Signal(), Signal(size)
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(take & ~head.hidden),
                answer.eq(head.answer),
                atom.eq(self.plain.payload),
                bad.eq(fault),
                valid_bytes.eq(Mux(head.last, config.last_bytes, -1)),
            ]
        o = self.o.payload
        with m.Switch(answer):
            with m.Case(Answer.OUTSIDE):
                m.d.comb += o.outside.eq(1)
            with m.Case(Answer.MEMORY):
                m.d.comb += [o.data.eq(atom.data), o.fault.eq(atom.fault)]
            with m.Case(Answer.CODES):
                m.d.comb += [o.data.eq(codes.data),
                             o.fault.eq(Mux(bad, ReadFault.RESPONSE, ReadFault.NONE))]
            with m.Case(Answer.SCALES):
                bytes_ = [Mux(valid_bytes[byte], read.data[byte], 0) for byte in range(size)]
                m.d.comb += [
                    o.data.eq(Cat(one[:8] for one in bytes_)),
                    o.fault.eq(Mux(Cat(one[8] for one in bytes_).any(), ReadFault.RESPONSE,
                                   ReadFault.NONE)),
                ]
        return m

    def _slots(self, m, full, serving, released):
        """Fill the slots; return what is beside their codes, and the port to read the codes."""
        params = self.params
        m.submodules.slots = slots = Memory(
            shape=params.atom_bits, depth=params.SLOTS << params.code_bits, init=[])
        write = slots.write_port()
        filling, place = Signal.like(serving), Signal(params.code_bits)
        fill = _Slots(params)
        taken, whole = Signal(), Signal()
        # The one that is served is not free.
        m.d.comb += [
            self.codes.ready.eq(full != params.SLOTS - 1),
            taken.eq(self.codes.valid & self.codes.ready),
            whole.eq(taken & self.codes.payload.last),
            filling.eq(serving + full + 1),
            write.addr.eq(Cat(place, filling)),
            write.data.eq(self.codes.payload.data),
            write.en.eq(taken),
        ]
        m.d.sync += full.eq(full + whole - released)
        with m.If(taken):
            m.d.sync += [
                place.eq(Mux(self.codes.payload.last, 0, place + 1)),
                Array(fill.scales)[filling].eq(self.codes.payload.scales),
                Array(fill.faults)[filling].eq(self.codes.payload.fault),
            ]
        with m.If(released):
            m.d.sync += serving.eq(serving + 1)
        return fill, slots.read_port()


class _Slots:
    """What is beside the codes of each slot."""

    def __init__(self, params: CastWindowParams):
        places = range(params.SLOTS)
        self.scales = [Signal(params.unit_scale_bytes * 8, name=f"scales_{place}")
                       for place in places]
        self.faults = [Signal(name=f"fault_{place}") for place in places]
