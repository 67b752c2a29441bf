"""Tensor path: the units between what a command reads and what it gives."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.converter import Converter
from hdl.pipeline import cut, registered
from hdl.quantizer import Quantizer
from hdl.reducer import Reducer
from hdl.reduction_packer import ReductionPacker
from hdl.row_packer import RowPacker
from hdl.tensor_checker import tensor_command_layout
from hdl.tensor_fields import is_wide
from hdl.tensor_streams import block_layout, counts, scaled_layout
from hdl.transposer import Transposer
from spec.commands import Opcode
from spec.tensor_engine import TensorEngineParams
from spec.tensors import ScaleRule, TensorFormat

__all__ = ["TensorPath"]

# Blocks that are asked for ahead of their atoms.
BLOCKS = 16


def _cleared(atom, fmt):
    """The elements that count, of BF16 or FP32, and zeros behind them."""
    wide = fmt == TensorFormat.FP32
    return Cat(
        Mux(Mux(wide, counts(atom.count, half // 2), counts(atom.count, half)),
            atom.data.word_select(half, 16), 0) for half in range(len(atom.data) // 16))


class TensorPath(wiring.Component):
    """Joins the units as the command needs them.

    ::

        i -+------------------------------------------------------+-> o
           +-> reducer -> reduction packer -----------------------+
           +-> converter -+---------------------------------------+
           |              +-> transposer -+-----------------------+
           +--------------+               +-> quantizer -> packer +
           +------------------------------+

    :Timing: one atom per cycle; an FP8 atom is two atoms of BF16 or four of FP32 behind the
        converter.

    Members
    -------
    command : the command, held while its atoms are here
    start : its atoms come from now on
    i : stream of atoms with their scale
    blocks : stream of the sizes of the blocks that are transposed; only with a transposer
    o : stream of atoms
    """

    def __init__(self, params: TensorEngineParams):
        if not isinstance(params, TensorEngineParams):
            raise TypeError(f"TensorPath needs TensorEngineParams, not {params!r}")
        self.params = params
        super().__init__({
            "command": In(tensor_command_layout(params.checker)),
            "start": In(1),
            "i": In(stream.Signature(scaled_layout(params))),
            "o": Out(stream.Signature(params.atom_bits)),
            **({"blocks": In(stream.Signature(block_layout(params.transposer)))}
               if params.transposer else {}),
        })

    def elaborate(self, platform):
        m = Module()
        params, command, i = self.params, self.command, self.i
        opcode = command.opcode
        source, target = command.source_format, command.target_format
        copied = (opcode == Opcode.COPY) & (source == target)
        quantizes = command.target_scale_row.any() & ~copied
        reduces = opcode == Opcode.REDUCE
        weights = opcode == Opcode.GEMV if params.rows_per_strip else Const(0, 1)
        transposes = (opcode == Opcode.TRANSPOSE) | weights
        from_fp8, to_fp8 = source < TensorFormat.BF16, target < TensorFormat.BF16
        converts = ((opcode == Opcode.COPY) & ~copied & (from_fp8 | ~to_fp8)
                    | (opcode == Opcode.TRANSPOSE) & command.source_scale_row.any())
        # They choose among whole atoms, and so come from flops; no atom is here before them.
        quantizes, reduces, weights, transposes, converts, to_fp8 = cut(
            m, True, quantizes=quantizes, reduces=reduces, weights=weights, transposes=transposes,
            converts=converts, to_fp8=to_fp8)

        # Where the atoms are taken, each with its condition.
        taken = []
        given = [(~reduces & ~converts & ~transposes & ~quantizes, i.valid, i.payload.data)]
        taken.append((given[0][0], self.o.ready))
        # Sources of rows for the transposer and the quantizer: condition, stream.
        rows = [(~converts, i)]
        if params.reducer:
            m.submodules.reducer = reducer = Reducer(params.reducer)
            m.submodules.reduction_packer = packer = ReductionPacker(
                params.atom_bits, params.checker.rows_bits)
            wiring.connect(m, reducer.o, packer.i)
            m.d.comb += [
                reducer.format.eq(source),
                reducer.reduction.eq(command.reduction),
                *(reducer.i.payload[name].eq(i.payload[name])
                  for name in ("data", "count", "last", "scale")),
                reducer.i.valid.eq(i.valid & reduces),
                packer.wide.eq(is_wide(command.reduction)),
                packer.results.eq(Mux(command.whole, 1, command.rows)),
                packer.start.eq(self.start),
                packer.o.ready.eq(self.o.ready & reduces),
            ]
            taken.append((reduces, reducer.i.ready))
            given.append((reduces, packer.o.valid, packer.o.payload))
        if params.converter:
            m.submodules.converter = converter = Converter(params.converter)
            m.d.comb += [
                converter.source.eq(source),
                converter.target.eq(Mux(to_fp8, TensorFormat.BF16, target)),
                converter.i.payload.eq(i.payload),
                converter.i.valid.eq(i.valid & converts),
            ]
            taken.append((converts, converter.i.ready))
            rows.append((converts, converter.o))
            here = converts & ~transposes & ~quantizes
            given.append((here, converter.o.valid, _cleared(converter.o.payload, target)))
            with m.If(here):
                m.d.comb += converter.o.ready.eq(self.o.ready)

        def joined(consumer, condition, streams):
            """Connect the one of ``streams`` whose condition holds, where ``condition`` does."""
            for place, (chosen, producer) in enumerate(streams):
                with m.If(condition & chosen):
                    m.d.comb += consumer.valid.eq(producer.valid)
                    if producer is not i:
                        m.d.comb += producer.ready.eq(consumer.ready)
                # A payload that is not valid may be anything.
                with m.If(chosen if place else 1):
                    m.d.comb += [consumer.payload[name].eq(producer.payload[name])
                                 for name in ("data", "count", "last")]

        to_quantizer = [(chosen & ~transposes, producer) for chosen, producer in rows]
        if params.transposer:
            m.submodules.transposer = transposer = Transposer(params.transposer)
            layout = block_layout(params.transposer)
            m.submodules.blocks = blocks = SyncFIFOBuffered(width=layout.size, depth=BLOCKS)
            m.d.comb += [
                blocks.w_data.eq(self.blocks.payload),
                blocks.w_en.eq(self.blocks.valid),
                self.blocks.ready.eq(blocks.w_rdy),
                transposer.block.payload.eq(blocks.r_data),
                transposer.block.valid.eq(blocks.r_rdy),
                blocks.r_en.eq(transposer.block.ready),
            ]
            for chosen, producer in rows:
                with m.If(transposes & chosen):
                    m.d.comb += [transposer.i.valid.eq(producer.valid),
                                 transposer.i.payload.eq(producer.payload.data)]
                    if producer is not i:
                        m.d.comb += producer.ready.eq(transposer.i.ready)
            taken.append((transposes & ~converts, transposer.i.ready))
            to_quantizer.append((transposes, transposer.o))
            plain = transposes & ~quantizes & ~weights
            given.append((plain, transposer.o.valid, transposer.o.payload.data))
            with m.If(plain):
                m.d.comb += transposer.o.ready.eq(self.o.ready)
            if params.rows_per_strip:
                self._weights(m, weights, transposer, taken, given)
        if params.quantizer:
            m.submodules.quantizer = quantizer = Quantizer(params.quantizer)
            m.submodules.row_packer = packer = RowPacker(params.row_packer)
            joined(quantizer.i, quantizes, to_quantizer)
            taken.append((quantizes & ~converts & ~transposes, quantizer.i.ready))
            made, packed = quantizer.o.payload, packer.i.payload
            ends_run = self._runs(m, transposes, quantizer) if params.transposer else made.last
            m.d.comb += [
                quantizer.source.eq(registered(m, Mux(
                    (source == TensorFormat.FP32) & ~converts,
                    TensorFormat.FP32, TensorFormat.BF16), "quantizer_source")),
                quantizer.target.eq(target),
                quantizer.rule.eq(command.rule),
                quantizer.group.eq(command.group),
                packer.wide.eq(command.rule == ScaleRule.FP32_DIV),
                packer.narrow.eq(source == TensorFormat.FP32),
                packer.i.valid.eq(quantizer.o.valid),
                quantizer.o.ready.eq(packer.i.ready),
                *(packed[name].eq(made[name])
                  for name in ("codes", "scale", "group_last", "last")),
                packed.run_last.eq(ends_run),
                packer.o.ready.eq(self.o.ready & quantizes),
            ]
            given.append((quantizes, packer.o.valid, packer.o.payload.data))

        for condition, ready in taken:
            with m.If(condition):
                m.d.comb += i.ready.eq(ready)
        for place, (condition, valid, payload) in enumerate(given):
            with m.If(condition):
                m.d.comb += self.o.valid.eq(valid)
            with m.If(condition if place else 1):
                m.d.comb += self.o.payload.eq(payload)
        return m

    def _weights(self, m, weights, transposer, taken, given):
        """Pass on the atom of scales that came before each block before what the block becomes."""
        i = self.i
        m.submodules.scales = scales = SyncFIFOBuffered(width=self.params.atom_bits, depth=4)
        is_scale, scale_due = i.payload.count == 0, Signal(init=1)
        with m.If(weights):
            m.d.comb += [
                scales.w_data.eq(i.payload.data),
                scales.w_en.eq(i.valid & is_scale),
                transposer.i.valid.eq(i.valid & ~is_scale),
                scales.r_en.eq(self.o.ready & scale_due),
                transposer.o.ready.eq(self.o.ready & ~scale_due),
            ]
        taken.append((weights & is_scale, scales.w_rdy))
        given.append((weights, Mux(scale_due, scales.r_rdy, transposer.o.valid),
                      Mux(scale_due, scales.r_data, transposer.o.payload.data)))
        with m.If(self.start):
            m.d.sync += scale_due.eq(1)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += scale_due.eq(~scale_due & transposer.o.payload.block_last)

    def _runs(self, m, transposes, quantizer):
        """Whether the row that leaves the quantizer is the last of its block."""
        block = self.params.transposer.block
        left, number = Signal(self.params.checker.k_bits), Signal(range(block))
        last = quantizer.o.payload.last
        ends = (number == block - 1) | (left == 1)
        with m.If(quantizer.o.valid & quantizer.o.ready & last):
            m.d.sync += [number.eq(Mux(ends, 0, number + 1)),
                         left.eq(Mux(left == 1, self.command.k, left - 1))]
        with m.If(self.start):
            m.d.sync += [number.eq(0), left.eq(self.command.k)]
        return last & (~transposes | ends)
