"""Planner of the cast window: what each beat that the host reads is made from."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import request_layout
from hdl.window_config import CONFIG_CYCLES, config_layout, scale_place, span_place
from spec.memory_units import Aperture
from spec.tensor_units import CastWindowParams

__all__ = ["Answer", "WindowPlanner", "fetch_layout", "order_layout"]


class Answer(Enum, shape=2):  # type: ignore[call-arg]  # Amaranth's Enum has it.
    """Where an answer comes from."""

    OUTSIDE = 0
    MEMORY = 1
    CODES = 2
    SCALES = 3


def fetch_layout(params: CastWindowParams) -> data.StructLayout:
    """Atoms to read: one of the memory, or with ``unit`` those of the unit at the place ``index``
    of the window."""
    return data.StructLayout({"index": params.index_bits, "unit": 1, "last": 1})


def order_layout(params: CastWindowParams) -> data.StructLayout:
    """An answer to give.

    ``first``: a new unit comes before it, whose scales go to byte ``scale`` of the store;
    ``hidden``: nothing but that, there is no answer. ``code`` is the atom of the unit; ``scale``
    the byte of the store; ``last``: the last atom of scales.
    """
    return data.StructLayout({
        "answer": Answer, "first": 1, "hidden": 1, "last": 1,
        "code": params.code_bits, "scale": params.scale_place_bits})


class WindowPlanner(wiring.Component):
    """Turns every read of the host to an order for its answer, and to what must be fetched.

    Codes of the unit that was planned last, and scales of the range of units that were planned one
    behind the other, need nothing; others fetch their units, one per cycle. All units that an order
    needs are fetched before it.

    :Timing: one read per cycle that fetches one unit or none; an order one cycle after its read.
        ``order`` and ``fetch`` are given when both are ready.

    Members
    -------
    i : stream of reads
    order : stream of answers, in the order of the reads
    fetch : stream of what to fetch, in the order of the orders
    config : the window
    mapped : there is another window; ``load`` takes it over as soon as all orders are ``idle``.
        Reads wait until ``config`` has followed
    loading : high meanwhile
    changed : what was fetched until now must not be used for other reads
    idle : no order is left
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"WindowPlanner needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(request_layout(params))),
            "order": Out(stream.Signature(order_layout(params))),
            "fetch": Out(stream.Signature(fetch_layout(params))),
            "config": In(config_layout(params)),
            "mapped": In(1), "load": Out(1), "loading": Out(1), "changed": In(1), "idle": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        bits = self.params.index_bits
        read = Signal(data.StructLayout({
            "valid": 1, "answer": Answer, "index": bits, "place": bits, "final": bits,
            "code": self.params.code_bits, "last": 1}))
        taken = Signal()
        waits = self._windows(m, read)
        self._decode(m, read, taken, waits)
        self._plan(m, read, taken)
        return m

    def _windows(self, m, read):
        """Change from one window to the next, with no read between the input and its answer."""
        pending = Signal()
        cycles = Signal(range(CONFIG_CYCLES + 1))
        m.d.comb += [
            self.load.eq(pending & ~read.valid & self.idle & (cycles == 0)),
            self.loading.eq(cycles != 0),
        ]
        with m.If(self.load):
            m.d.sync += cycles.eq(CONFIG_CYCLES)
        with m.Elif(self.loading):
            m.d.sync += cycles.eq(cycles - 1)
        with m.If(self.mapped):
            m.d.sync += pending.eq(1)
        with m.Elif(self.load):
            m.d.sync += pending.eq(0)
        return pending | self.loading

    def _decode(self, m, read, taken, waits):
        """Stage 1: where the read is in the window."""
        config, request = self.config, self.i.payload
        index = request.index
        codes, scales = (request.aperture == one for one in (Aperture.CODES, Aperture.SCALES))
        # A code atom is two source atoms, a unit all with the same upper bits.
        code_place, first_place = Signal.like(index), Signal.like(index)
        unit = ~config.unit_mask
        m.d.comb += [
            code_place.eq(index << 1),
            first_place.eq(span_place(self.params, config, index)),
            self.i.ready.eq((~read.valid | taken) & ~waits),
        ]
        place = Mux(codes, code_place & unit, first_place)
        outside = config.closed | Mux(codes, index > config.last_code, index > config.last_scale)
        with m.If(~read.valid | taken):
            m.d.sync += [
                read.valid.eq(self.i.valid & ~waits),
                read.answer.eq(Mux(
                    codes | scales,
                    Mux(outside, Answer.OUTSIDE, Mux(codes, Answer.CODES, Answer.SCALES)),
                    Answer.MEMORY)),
                read.index.eq(index),
                read.place.eq(place),
                # The last unit of an atom of scales.
                read.final.eq(Mux(index == config.last_scale, config.last_unit,
                                  place | config.span_mask & unit)),
                read.code.eq((code_place & config.unit_mask) >> 1),
                read.last.eq(index == config.last_scale),
            ]

    def _plan(self, m, read, taken):
        """Stage 2: what the read needs, and what is there."""
        params, config = self.params, self.config
        bits = params.index_bits
        codes, scales = read.answer == Answer.CODES, read.answer == Answer.SCALES
        # The unit planned last, whose codes are there, and the range of those whose scales are:
        # from ``low`` up to ``high``. The span that begins at ``limit`` displaces the first one.
        kept, current = Signal(), Signal(bits)
        known = Signal()
        low, high, limit = Signal(bits + 1), Signal(bits + 1), Signal(bits + 2)
        # An atom of scales is made from one unit after another; ``made`` when all are planned.
        making, made, at = Signal(), Signal(), Signal(bits)

        place = Signal(bits)
        there, new, can = Signal(), Signal(), Signal()
        m.d.comb += [
            place.eq(Mux(making, at, read.place)),
            there.eq(Mux(codes, kept & (current == read.place),
                         made | known & (read.place >= low) & (read.final < high))),
            new.eq((codes | scales) & ~there),
            can.eq(self.order.ready & self.fetch.ready),
            taken.eq(read.valid & can & ~(scales & new)),
            self.order.valid.eq(read.valid & can),
            self.order.payload.answer.eq(read.answer),
            self.order.payload.first.eq(new),
            self.order.payload.hidden.eq(scales & new),
            self.order.payload.last.eq(read.last),
            self.order.payload.code.eq(read.code),
            self.order.payload.scale.eq(scale_place(params, config, place)),
            self.fetch.valid.eq(read.valid & can & (new | (read.answer == Answer.MEMORY))),
            self.fetch.payload.index.eq(Mux(new, place, read.index)),
            self.fetch.payload.unit.eq(new),
            self.fetch.payload.last.eq(new & (place == config.last_unit)),
        ]

        following = Signal(bits + 1)
        m.d.comb += following.eq(place + config.unit_mask + 1)
        with m.If(read.valid & can):
            with m.If(new):
                m.d.sync += [kept.eq(1), current.eq(place)]
                with m.If(known & (place == high)):
                    m.d.sync += high.eq(following)
                    with m.If(place == limit):
                        m.d.sync += [low.eq(low + config.span_mask + 1),
                                     limit.eq(limit + config.span_mask + 1)]
                with m.Elif(~(known & (place >= low) & (place < high))):
                    m.d.sync += [known.eq(1), low.eq(place), high.eq(following),
                                 limit.eq((place & ~config.span_mask) + config.store_span)]
            with m.If(scales):
                m.d.sync += [
                    making.eq(new & (place != read.final)),
                    made.eq(new & (place == read.final)),
                    at.eq(following),
                ]
        with m.If(self.changed | self.loading):
            m.d.sync += [kept.eq(0), known.eq(0)]
        return m
