"""Column: everything that one activation vector has of its own between buffers and results."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import decoded_layout
from hdl.dot_array import DotArray
from hdl.fp32_rounder import Fp32Rounder
from hdl.group_scaler import GroupScaler
from hdl.pipeline import delayed, flow
from hdl.row_accumulator import RowAccumulator, row_layout
from hdl.scale_combiner import ScaleCombiner
from spec.arithmetic import ColumnParams
from spec.formats import FP32

__all__ = ["Column"]


class Column(wiring.Component):
    """One element of the result: dot products of groups, scaled and added.

    The golden model is :func:`golden.column.column`.

    :Shapes: beats of ``lanes`` decoded pairs; one FP32 result per row.
    :Formats: as its units say: :class:`~hdl.dot_array.DotArray`,
        :class:`~hdl.fp32_rounder.Fp32Rounder`, :class:`~hdl.scale_combiner.ScaleCombiner`,
        :class:`~hdl.group_scaler.GroupScaler`, :class:`~hdl.row_accumulator.RowAccumulator`.
    :Timing: latency ``ColumnParams.LATENCY`` from the last beat of a row's last group; one beat
        per cycle; never stalls. ``row`` and the scales count with the last beat of their group.
    :Errors: rows that do not keep the distance of their strip; see ``RowAccumulator``.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``weight_scale``, ``activation_scale``, ``first``
        and ``last`` beat of a group, and ``row``; always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: ColumnParams):
        if not isinstance(params, ColumnParams):
            raise TypeError(f"Column needs ColumnParams, not {params!r}")
        self.params = params
        dot = params.dot_array
        scale_bits = params.scale_combiner.format.bits
        super().__init__({
            "i": In(flow(data.StructLayout({
                "weights": data.ArrayLayout(decoded_layout(dot.weight_format), dot.lanes),
                "activations": data.ArrayLayout(decoded_layout(dot.activation_format), dot.lanes),
                "weight_scale": scale_bits,
                "activation_scale": scale_bits,
                "first": 1,
                "last": 1,
                "row": row_layout(params.row_accumulator.slot_bits),
            }))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.dot_array = dot = DotArray(params.dot_array)
        m.submodules.fp32_rounder = rounder = Fp32Rounder(params.fp32_rounder)
        m.submodules.scale_combiner = combiner = ScaleCombiner(params.scale_combiner)
        m.submodules.group_scaler = scaler = GroupScaler(params.group_scaler)
        m.submodules.row_accumulator = accumulator = RowAccumulator(params.row_accumulator)
        beat = self.i.payload

        wiring.connect(m, dot.o, rounder.i)
        scale_wait = params.sum_cycles - params.scale_combiner.LATENCY
        row_wait = params.sum_cycles + params.group_scaler.LATENCY
        m.d.comb += [
            dot.i.valid.eq(self.i.valid),
            dot.i.payload.weights.eq(beat.weights),
            dot.i.payload.activations.eq(beat.activations),
            dot.i.payload.first.eq(beat.first),
            dot.i.payload.last.eq(beat.last),
            combiner.i.valid.eq(self.i.valid & beat.last),
            combiner.i.payload.weight.eq(beat.weight_scale),
            combiner.i.payload.activation.eq(beat.activation_scale),
            scaler.i.valid.eq(rounder.o.valid),
            scaler.i.payload.sum.eq(rounder.o.payload),
            scaler.i.payload.scale.eq(delayed(m, combiner.o.payload, scale_wait, "scale")),
            accumulator.i.valid.eq(scaler.o.valid),
            accumulator.i.payload.term.eq(scaler.o.payload),
            accumulator.i.payload.row.eq(delayed(m, beat.row.as_value(), row_wait, "row")),
            self.o.valid.eq(accumulator.o.valid),
            self.o.payload.eq(accumulator.o.payload),
        ]
        return m
