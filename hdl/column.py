"""Column: everything that one activation vector has of its own between buffers and results."""

from amaranth.hdl import Module, Mux
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
from hdl.subword_dot_array import SubwordDotArray, odd_layouts
from spec.column import ColumnParams
from spec.dot_arrays import AlignedDotArrayParams, SubwordDotArrayParams
from spec.formats import FP32

__all__ = ["Column"]


class Column(wiring.Component):
    """One element of the result: dot products of groups, scaled and added.

    The golden model is :func:`golden.column.column`.

    :Shapes: beats of ``lanes`` decoded pairs; one FP32 result per row.
    :Formats: as its units say: :class:`~hdl.dot_array.DotArray` and
        :class:`~hdl.fp32_rounder.Fp32Rounder`, or
        :class:`~hdl.block_dot_array.BlockDotArray` or
        :class:`~hdl.subword_dot_array.SubwordDotArray` in the place of the first, or
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
        blocks have scales, ``narrow``, ``odd_weights`` and ``odd_activations`` where there are two
        pairs of formats, ``first`` and ``last`` beat of a group, and ``row``; always ready
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
                **({"narrow": 1, **odd_layouts(params.dot_array)}
                   if isinstance(params.dot_array, SubwordDotArrayParams) else {}),
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
        terms = [self._scaled(m, place, total) for place, total in enumerate(self._sums(m))]
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

    def _suffix(self, place):
        """What tells the units of a group of the beat from those of the others."""
        return f"_{place}" if self.params.groups_per_beat > 1 else ""

    def _sums(self, m):
        """The streams of the FP32 sums of the groups of the beat."""
        params, groups = self.params, range(self.params.groups_per_beat)
        if params.interleaved:
            name, unit = (("aligned_dot_array", AlignedDotArray)
                          if isinstance(params.dot_array, AlignedDotArrayParams) else
                          ("fp32_dot_array", Fp32DotArray))
            m.submodules[name] = dot = unit(params.dot_array)
            m.d.comb += dot.i.payload.slot.eq(self.i.payload.row.slot)
            self._feed(m, dot)
            return [dot.o]
        rounders = [Fp32Rounder(params.fp32_rounders[place]) for place in groups]
        for place in groups:
            m.submodules[f"fp32_rounder{self._suffix(place)}"] = rounders[place]
        if isinstance(params.dot_array, SubwordDotArrayParams):
            self._subword_sums(m, rounders)
            return [rounder.o for rounder in rounders]
        for place in groups:
            if params.block_scale_bits:
                m.submodules.block_dot_array = dot = BlockDotArray(params.dot_array)
                m.d.comb += [
                    dot.i.payload.weight_scales.eq(self.i.payload.weight_block_scales),
                    dot.i.payload.activation_scales.eq(self.i.payload.activation_block_scales),
                ]
            else:
                m.submodules[f"dot_array{self._suffix(place)}"] = dot = DotArray(params.dot_array)
            self._feed(m, dot, place)
            wiring.connect(m, dot.o, rounders[place].i)
        return [rounder.o for rounder in rounders]

    def _feed(self, m, dot, place=0):
        """Give a dot array the operands of its group of the beat."""
        beat, lanes = self.i.payload, self.params.dot_array.lanes
        m.d.comb += [
            dot.i.valid.eq(self.i.valid),
            dot.i.payload.first.eq(beat.first),
            dot.i.payload.last.eq(beat.last),
        ]
        for lane in range(lanes):
            m.d.comb += [
                dot.i.payload.weights[lane].eq(beat.weights[place * lanes + lane]),
                dot.i.payload.activations[lane].eq(beat.activations[place * lanes + lane]),
            ]

    def _subword_sums(self, m, rounders):
        """Sums of one of two pairs of formats, to one rounder, or to one for each narrow group."""
        beat = self.i.payload
        m.submodules.subword_dot_array = dot = SubwordDotArray(self.params.dot_array)
        self._feed(m, dot)
        m.d.comb += [
            dot.i.payload.narrow.eq(beat.narrow),
            dot.i.payload.odd_weights.eq(beat.odd_weights),
            dot.i.payload.odd_activations.eq(beat.odd_activations),
        ]
        sums = dot.o.payload
        m.d.comb += rounders[0].i.valid.eq(dot.o.valid)
        m.d.comb += [rounders[0].i.payload[name].eq(sums[name])
                     for name, _ in rounders[0].i.payload.shape()]
        for rounder in rounders[1:]:
            # No format of 4 bits has special values.
            m.d.comb += [rounder.i.valid.eq(dot.o.valid),
                         rounder.i.payload.value.eq(sums.second)]

    def _scaled(self, m, place, total):
        """The stream of the scaled sums of one group of the beat, out of that of its sums."""
        params, beat = self.params, self.i.payload
        suffix = self._suffix(place)
        m.submodules[f"scale_combiner{suffix}"] = combiner = ScaleCombiner(params.scale_combiner)
        m.submodules[f"group_scaler{suffix}"] = scaler = GroupScaler(params.group_scaler)
        bits = params.scale_combiner.format.bits
        wait = params.sum_cycles - params.scale_combiner.LATENCY
        scales = [side.word_select(place, bits)
                  for side in (beat.weight_scale, beat.activation_scale)]
        if place and params.several:
            # A wide beat has one group: of the others, the sum is 0, and so must its scaled sum be.
            scales = [Mux(beat.narrow, scale, 0) for scale in scales]
        m.d.comb += [
            combiner.i.valid.eq(self.i.valid & beat.last),
            combiner.i.payload.weight.eq(scales[0]),
            combiner.i.payload.activation.eq(scales[1]),
            scaler.i.valid.eq(total.valid),
            scaler.i.payload.sum.eq(total.payload),
            scaler.i.payload.scale.eq(delayed(m, combiner.o.payload, wait, f"scale{suffix}")),
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
