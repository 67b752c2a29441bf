"""Column: everything that one activation vector has of its own between buffers and results."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.aligned_dot_array import AlignedDotArray
from hdl.block_dot_array import BlockDotArray
from hdl.decoder import decoded_layout
from hdl.dot_array import DotArray
from hdl.fp32_adder import Fp32Adder
from hdl.fp32_dot_array import Fp32DotArray
from hdl.fp32_rounder import Fp32Rounder
from hdl.group_scaler import GroupScaler
from hdl.pipeline import delayed, flow
from hdl.row_accumulator import RowAccumulator, row_layout
from hdl.scale_combiner import ScaleCombiner
from spec.arithmetic import AlignedDotArrayParams, ColumnParams
from spec.formats import FP32

__all__ = ["Column"]


class Column(wiring.Component):
    """One element of the result: dot products of groups, scaled and added.

    The golden model is :func:`golden.column.column`.

    :Shapes: beats of ``lanes`` decoded pairs; one FP32 result per row.
    :Formats: as its units say: :class:`~hdl.dot_array.DotArray` and
        :class:`~hdl.fp32_rounder.Fp32Rounder`, or
        :class:`~hdl.block_dot_array.BlockDotArray` in the place of the first, or
        :class:`~hdl.aligned_dot_array.AlignedDotArray` or
        :class:`~hdl.fp32_dot_array.Fp32DotArray`; :class:`~hdl.scale_combiner.ScaleCombiner`,
        :class:`~hdl.group_scaler.GroupScaler`, :class:`~hdl.row_accumulator.RowAccumulator`. The
        groups of one beat are added in pairs of neighbours, pairs of pairs and so on, by
        :class:`~hdl.fp32_adder.Fp32Adder`.
    :Timing: latency ``ColumnParams.LATENCY`` from the last beat of a row's last group; one beat
        per cycle; never stalls. ``row`` and the scales count with the last beat of their group.
    :Errors: rows that do not keep the distance of their strip; see ``RowAccumulator``.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``weight_scale`` and ``activation_scale`` (one for
        each group of the beat), ``weight_block_scales`` and ``activation_block_scales`` where
        blocks have scales, ``first`` and ``last`` beat of a group, and ``row``; always ready
    o : stream of FP32 codes, always ready
    """

    def __init__(self, params: ColumnParams):
        if not isinstance(params, ColumnParams):
            raise TypeError(f"Column needs ColumnParams, not {params!r}")
        self.params = params
        scale_bits = params.scale_combiner.format.bits * params.groups_per_beat
        super().__init__({
            "i": In(flow(data.StructLayout({
                "weights": data.ArrayLayout(decoded_layout(params.weight_format), params.lanes),
                "activations": data.ArrayLayout(
                    decoded_layout(params.activation_format), params.lanes),
                "weight_scale": scale_bits,
                "activation_scale": scale_bits,
                **({"weight_block_scales": params.block_scale_bits,
                    "activation_block_scales": params.block_scale_bits}
                   if params.block_scale_bits else {}),
                "first": 1,
                "last": 1,
                "row": row_layout(params.row_accumulator.slot_bits),
            }))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.row_accumulator = accumulator = RowAccumulator(params.row_accumulator)
        terms = [self._group(m, place) for place in range(params.groups_per_beat)]
        while len(terms) > 1:
            terms = [self._joined(m, *terms[place:place + 2], f"{len(terms) // 2}_{place // 2}")
                     for place in range(0, len(terms), 2)]
        row = self.i.payload.row.as_value()
        m.d.comb += [
            accumulator.i.valid.eq(terms[0].valid),
            accumulator.i.payload.term.eq(terms[0].payload),
            accumulator.i.payload.row.eq(delayed(m, row, params.scaled_cycles, "row")),
            self.o.valid.eq(accumulator.o.valid),
            self.o.payload.eq(accumulator.o.payload),
        ]
        return m

    def _group(self, m, place):
        """The units of one group of the beat; the stream of its scaled sums."""
        params, beat = self.params, self.i.payload
        suffix = f"_{place}" if params.groups_per_beat > 1 else ""
        m.submodules[f"scale_combiner{suffix}"] = combiner = ScaleCombiner(params.scale_combiner)
        m.submodules[f"group_scaler{suffix}"] = scaler = GroupScaler(params.group_scaler)
        if params.interleaved:
            name, unit = (("aligned_dot_array", AlignedDotArray)
                          if isinstance(params.dot_array, AlignedDotArrayParams) else
                          ("fp32_dot_array", Fp32DotArray))
            m.submodules[name] = dot = unit(params.dot_array)
            m.d.comb += dot.i.payload.slot.eq(beat.row.slot)
            total = dot.o
        else:
            if params.block_scale_bits:
                m.submodules.block_dot_array = dot = BlockDotArray(params.dot_array)
                m.d.comb += [
                    dot.i.payload.weight_scales.eq(beat.weight_block_scales),
                    dot.i.payload.activation_scales.eq(beat.activation_block_scales),
                ]
            else:
                m.submodules[f"dot_array{suffix}"] = dot = DotArray(params.dot_array)
            m.submodules[f"fp32_rounder{suffix}"] = rounder = Fp32Rounder(params.fp32_rounder)
            wiring.connect(m, dot.o, rounder.i)
            total = rounder.o
        bits, lanes = params.scale_combiner.format.bits, params.dot_array.lanes
        wait = params.sum_cycles - params.scale_combiner.LATENCY
        m.d.comb += [
            dot.i.valid.eq(self.i.valid),
            dot.i.payload.first.eq(beat.first),
            dot.i.payload.last.eq(beat.last),
            combiner.i.valid.eq(self.i.valid & beat.last),
            combiner.i.payload.weight.eq(beat.weight_scale.word_select(place, bits)),
            combiner.i.payload.activation.eq(beat.activation_scale.word_select(place, bits)),
            scaler.i.valid.eq(total.valid),
            scaler.i.payload.sum.eq(total.payload),
            scaler.i.payload.scale.eq(delayed(m, combiner.o.payload, wait, f"scale{suffix}")),
        ]
        for lane in range(lanes):
            m.d.comb += [
                dot.i.payload.weights[lane].eq(beat.weights[place * lanes + lane]),
                dot.i.payload.activations[lane].eq(beat.activations[place * lanes + lane]),
            ]
        return scaler.o

    def _joined(self, m, first, second, name):
        """The stream of the sums of two streams in step."""
        m.submodules[f"fp32_adder_{name}"] = adder = Fp32Adder(
            self.params.row_accumulator.adder)
        m.d.comb += [
            adder.i.valid.eq(first.valid),
            adder.i.payload.a.eq(first.payload),
            adder.i.payload.b.eq(second.payload),
        ]
        return adder.o
