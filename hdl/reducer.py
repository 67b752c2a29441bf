"""Reducer: rows of elements to sums, extremes and places."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.adder_tree import AdderTree, SquareTree
from hdl.chain_sum import ChainSum
from hdl.fixed_sum import FixedSum
from hdl.group_scaler import GroupScaler
from hdl.maximum_tree import MaximumTree
from hdl.pipeline import delayed, registered
from hdl.running_maximum import RunningMaximum
from hdl.tensor_streams import counts
from spec.arithmetic import GroupScalerParams
from spec.formats import E4M3, FLOAT_FORMATS, FP32
from spec.tensor_units import ReducerParams
from spec.tensors import Reduction, TensorFormat

__all__ = ["Reducer"]

_EXTREMES = (Reduction.MAX, Reduction.MIN, Reduction.AMAX, Reduction.ARGMAX)


class Reducer(wiring.Component):
    """Reductions of rows, one atom per cycle.

    The golden model, which has the order of all additions, is :func:`golden.reducer.reducer`.

    :Shapes: atoms of a reduction in, any number, each with any number of elements; one result out.
    :Formats: elements of ``params.formats``, FP8 ones with one scale per atom; results two words:
        ``value``, and ``second``, which is 0 except for ARGMAX and MOMENTS.
    :Timing: one atom per cycle, within and between reductions of any length. Room for the results
        is reserved as their last atoms enter: ``i.ready`` falls only while ``o`` is refused, and
        follows no input combinationally. The exception: extremes of FP8 atoms whose scale may
        make different codes equal, or special ones of zero and infinity, take a cycle per
        element; that is for ARGMAX a scale of ``2**97`` and more, or with FP32 below ``2**-126``;
        for the others an FP32 scale that is zero, infinite or NaN.
    :Errors: ``format`` and ``reduction`` that change while atoms or results are inside give
        anything; a format that was not built as well. Not detected.

    Members
    -------
    format : ``TensorFormat`` of the elements; holds still
    reduction : ``Reduction``; holds still
    i : stream of atoms: ``data``, ``count`` valid elements, the lowest ones, ``scale`` (E8M0 in
        the low 8 bits), ``last`` of its reduction
    o : stream of ``value`` and ``second``
    """

    def __init__(self, params: ReducerParams):
        if not isinstance(params, ReducerParams):
            raise TypeError(f"Reducer needs ReducerParams, not {params!r}")
        self.params = params
        super().__init__({
            "format": In(3),
            "reduction": In(3),
            "i": In(stream.Signature(data.StructLayout({
                "data": params.atom_bits,
                "count": params.count_bits,
                "scale": 32,
                "last": 1,
            }))),
            "o": Out(stream.Signature(data.StructLayout({"value": 32, "second": 32}))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        self._small = tuple(name for name in params.formats if FLOAT_FORMATS[name].bits == 8)
        self._scaler = GroupScalerParams(scale_format=params.scale_format)
        self._extreme = Signal()
        self._argmax = Signal()
        m.d.comb += [
            self._extreme.eq(Cat(self.reduction == kind for kind in _EXTREMES).any()),
            self._argmax.eq(self.reduction == Reduction.ARGMAX),
        ]
        full = Signal()
        self._enter(m, full)
        self._compute(m)
        self._leave(m, full)
        return m

    def _is(self, name: str):
        return self.format == TensorFormat[name.upper()]

    def _is_small(self):
        return Cat(self._is(name) for name in self._small).any()

    def _enter(self, m: Module, full) -> None:
        """One register for the atom. Where codes may become equal, or lose their order, its
        elements leave one by one, as atoms of one element each."""
        params, atom = self.params, self.i.payload
        exponent = atom.scale[FP32.mantissa_bits:FP32.bits - 1]
        if not self._small:
            apart = Const(0, 1)
        elif params.scale_format == "e8m0":
            apart = self._argmax & atom.scale[5:8].all()
        else:
            apart = Mux(self._argmax, exponent[5:].all() | ~exponent.any(),
                        exponent.all() | ~atom.scale[:FP32.bits - 1].any())

        stored, valid, last, single = Signal(params.atom_bits), Signal(), Signal(), Signal()
        count = Signal(params.count_bits)
        present = Signal(params.leaves)
        more = single & present[1]
        m.d.comb += self.i.ready.eq(~more & ~full)
        with m.If(more):
            m.d.sync += [stored.eq(stored >> 8), present.eq(present >> 1)]
        with m.Else():
            m.d.sync += [
                stored.eq(atom.data),
                present.eq(Cat(counts(atom.count, lane) for lane in range(params.leaves))),
                valid.eq(self.i.valid & self.i.ready),
                last.eq(atom.last),
                count.eq(atom.count),
                single.eq(self.i.valid & self.i.ready & apart & self._extreme & self._is_small()),
            ]
            if self._small:
                scale = Signal(self._scaler.combiner.format.bits, name="scale")
                self._scale = scale
                m.d.sync += scale.eq(atom.scale)
        self._stored, self._valid, self._last = stored, valid, last & ~more
        self._present = Cat(present[0], present[1:] & (~single).replicate(params.leaves - 1))
        self._count = Mux(single, 1, count)

    def _tapped(self, history, taps):
        """``history[cycles]`` of the format that is chosen; ``taps`` are cycles by format."""
        value = history[0]
        for name, cycles in taps.items():
            value = Mux(self._is(name), history[cycles], value)
        return value

    def _history(self, m: Module, value, *taps, name: str):
        history = [value]
        for cycle in range(max(cycles for tap in taps for cycles in tap.values())):
            history.append(delayed(m, history[-1], 1, f"{name}_{cycle + 1}"))
        return history

    def _arrivals(self, m: Module, valid, taps, name: str):
        """``valid``, so many cycles later as ``taps`` says for the format that is chosen.

        Nothing stays behind that a format with more cycles would see later.
        """
        line = Const(0, 1)
        for cycles in range(max(taps.values()), 0, -1):
            entering = [self._is(format) for format, tap in taps.items() if tap == cycles]
            line = registered(m, line | valid & Cat(entering).any(), f"{name}_{cycles}")
        return line

    def _scaled(self, m: Module, name: str, value, scale):
        m.submodules[name] = scaler = GroupScaler(self._scaler)
        if self.params.scale_format == "e8m0":
            # As a combined scale, of which the other one is 2**0.
            scale = Cat((scale + FP32.bias)[:9], scale.all())
        m.d.comb += [
            scaler.i.payload.sum.eq(value),
            scaler.i.payload.scale.eq(scale),
            scaler.i.valid.eq(1),
        ]
        return scaler.o.payload

    def _compute(self, m: Module) -> None:
        params = self.params
        scaling = {name: self._scaler.LATENCY if name in self._small else 0
                   for name in params.formats}
        scale_sign = Const(0, 1)
        if self._small and params.scale_format == "fp32":
            scale_sign = self._scale[-1] & self._is_small()

        # The largest element: MIN is that of the negated ones. A negative scale turns the order.
        m.submodules.maximum_tree = maximum_tree = MaximumTree(params)
        m.d.comb += [
            maximum_tree.format.eq(self.format),
            maximum_tree.data.eq(self._stored),
            maximum_tree.present.eq(self._present),
            maximum_tree.negate.eq((self.reduction == Reduction.MIN) ^ scale_sign),
            maximum_tree.absolute.eq(self.reduction == Reduction.AMAX),
            maximum_tree.zeros_equal.eq(self._argmax),
        ]
        largest = {name: maximum_tree.latency(name) for name in params.formats}

        # The sum of the elements.
        sums, total = {}, Const(0, FP32.bits)
        if E4M3.name in params.formats:
            m.submodules.fixed_sum = fixed_sum = FixedSum(params.lanes(E4M3.name))
            m.d.comb += [fixed_sum.data.eq(self._stored), fixed_sum.present.eq(self._present)]
            sums[E4M3.name], total = FixedSum.LATENCY, fixed_sum.o
        if AdderTree.entering(params):
            m.submodules.adder_tree = adder_tree = AdderTree(params)
            m.d.comb += [
                adder_tree.format.eq(self.format),
                adder_tree.data.eq(self._stored),
                adder_tree.present.eq(self._present),
            ]
            total = Mux(self._is(E4M3.name), total, adder_tree.o) if sums else adder_tree.o
            sums |= {name: adder_tree.latency(name) for name in adder_tree.formats}

        # The sum of their squares.
        m.submodules.square_tree = square_tree = SquareTree(params)
        m.d.comb += [
            square_tree.format.eq(self.format),
            square_tree.data.eq(self._stored),
            square_tree.present.eq(self._present),
        ]
        squares = {name: square_tree.latency(name) for name in params.formats}

        # Scales: the sum once, its squares twice.
        value, square = Mux(self._extreme, maximum_tree.value, total), square_tree.o
        if self._small:
            small = [{name: tap[name] for name in self._small} for tap in (largest, sums, squares)]
            again = {name: cycles + self._scaler.LATENCY for name, cycles in small[2].items()}
            history = self._history(m, self._scale, *small, again, name="scale")
            first = Mux(self._extreme, self._tapped(history, small[0]),
                        self._tapped(history, small[1]))
            if params.scale_format == "fp32":
                first = Cat(first[:-1], first[-1] & ~self._extreme)
            once = self._scaled(m, "scaler", value, first)
            twice = self._scaled(m, "square_scaler", square, self._tapped(history, small[2]))
            twice = self._scaled(m, "second_square_scaler", twice, self._tapped(history, again))
            value = Mux(self._is_small(), once, value)
            square = Mux(self._is_small(), twice[:-1], square)

        # From atom to atom.
        largest = {name: largest[name] + scaling[name] for name in params.formats}
        sums = {name: sums[name] + scaling[name] for name in params.formats}
        squares = {name: squares[name] + 2 * scaling[name] for name in params.formats}
        self._latencies = (largest, sums, squares)
        last = self._history(m, self._last, largest, sums, squares, name="last")
        count = self._history(m, self._count, largest, name="count")
        lane = self._history(m, maximum_tree.lane, scaling, name="lane")

        m.submodules.running_maximum = self._maximum = maximum = RunningMaximum()
        counted = Signal(32)
        with m.If(maximum.i.valid):
            m.d.sync += counted.eq(
                Mux(maximum.i.payload.last, 0, counted + self._tapped(count, largest)))
        m.d.comb += [
            maximum.zeros_equal.eq(self._argmax),
            maximum.negate.eq(self.reduction == Reduction.MIN),
            maximum.i.valid.eq(self._arrivals(m, self._valid & self._extreme, largest, "largest")),
            maximum.i.payload.last.eq(self._tapped(last, largest)),
            maximum.i.payload.value.eq(value),
            maximum.i.payload.place.eq(counted + self._tapped(lane, scaling)),
        ]
        m.submodules.sum = self._sum = ChainSum(positive=False)
        m.submodules.square_sum = self._square_sum = ChainSum(positive=True)
        summed = ~self._extreme & (self.reduction != Reduction.SUM_SQUARES)
        squared = ~self._extreme & (self.reduction != Reduction.SUM)
        for name, chains, term, taps, wanted in (
                ("summed", self._sum, value, sums, summed),
                ("squared", self._square_sum, square, squares, squared)):
            m.d.comb += [
                chains.i.payload.term.eq(term),
                chains.i.payload.last.eq(self._tapped(last, taps)),
                chains.i.valid.eq(self._arrivals(m, self._valid & wanted, taps, name)),
            ]

    def _leave(self, m: Module, full) -> None:
        """Results wait in two queues, as the second word may come later than the first."""
        # All results that are between both ends when one enters each cycle; and no fewer words
        # than a memory of its own is made for.
        largest, sums, squares = (max(taps.values()) for taps in self._latencies)
        depth = max(33, 4 + max(largest + RunningMaximum.LATENCY, sums + self._sum.latency,
                                squares + self._square_sum.latency))
        inside = Signal(range(depth + 1))
        m.d.comb += full.eq(inside == depth)
        enters = self.i.valid & self.i.ready & self.i.payload.last
        leaves = self.o.valid & self.o.ready
        m.d.sync += inside.eq(inside + enters - leaves)

        m.submodules.values = values = SyncFIFOBuffered(width=32, depth=depth)
        m.submodules.seconds = seconds = SyncFIFOBuffered(width=32, depth=depth)
        maximum = self._maximum.o
        square = Cat(self._square_sum.o.payload, Const(0, 1))
        moments = self.reduction == Reduction.MOMENTS
        with m.If(self._extreme):
            m.d.comb += [
                values.w_data.eq(maximum.payload.value),
                values.w_en.eq(maximum.valid),
                seconds.w_data.eq(Mux(self._argmax, maximum.payload.place, 0)),
                seconds.w_en.eq(maximum.valid),
            ]
        with m.Elif(self.reduction == Reduction.SUM_SQUARES):
            m.d.comb += [
                values.w_data.eq(square),
                values.w_en.eq(self._square_sum.o.valid),
                seconds.w_en.eq(self._square_sum.o.valid),
            ]
        with m.Else():
            m.d.comb += [
                values.w_data.eq(self._sum.o.payload),
                values.w_en.eq(self._sum.o.valid),
                seconds.w_data.eq(Mux(moments, square, 0)),
                seconds.w_en.eq(Mux(moments, self._square_sum.o.valid, self._sum.o.valid)),
            ]
        m.d.comb += [
            self.o.valid.eq(values.r_rdy & seconds.r_rdy),
            self.o.payload.value.eq(values.r_data),
            self.o.payload.second.eq(seconds.r_data),
            values.r_en.eq(leaves),
            seconds.r_en.eq(leaves),
        ]
