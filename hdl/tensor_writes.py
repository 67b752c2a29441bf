"""Tensor writes: where the results of a command go, as regions."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.burst_splitter import write_region_layout
from hdl.tensor_checker import tensor_command_layout
from hdl.tensor_reads import by_width
from spec.commands import Opcode
from spec.tensor_engine import TensorEngineParams
from spec.tensors import ScaleRule, TensorFormat

__all__ = ["TensorWrites"]


class TensorWrites(wiring.Component):
    """Gives the regions of the results of one command in the order in which their atoms come.

    Without scales that is one region, or, where blocks are transposed, the part of each row that a
    block has, block after block. With scales, each row's codes and then its scales; where they are
    copied as they stand, the scales first; where blocks are transposed, the codes of a block, part
    by part, and then its scales.

    :Timing: one region per cycle.

    Members
    -------
    command : the command, held from ``start`` on
    start : give its regions
    o : stream of regions, ``last`` with the last of the command
    """

    def __init__(self, params: TensorEngineParams):
        if not isinstance(params, TensorEngineParams):
            raise TypeError(f"TensorWrites needs TensorEngineParams, not {params!r}")
        self.params = params
        super().__init__({
            "command": In(tensor_command_layout(params.checker)),
            "start": In(1),
            "o": Out(stream.Signature(write_region_layout(params.checker.memory))),
        })

    def elaborate(self, platform):
        m = Module()
        params, command, region = self.params, self.command, self.o.payload
        checker = params.checker
        row, scale_row = Signal(checker.memory.index_bits), Signal(checker.memory.index_bits)
        rows_left = Signal(checker.times_bits)
        copied = command.source_format == command.target_format
        scaled = command.target_scale_row.any()
        m.d.comb += [region.index.eq(row), region.atoms.eq(command.target_row)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [row.eq(command.target), scale_row.eq(command.target_scales),
                             rows_left.eq(command.rows)]
                with m.If(self.start):
                    m.next = "ALL"
                    if params.quantizer or params.reads_scales:
                        with m.If(scaled):
                            m.next = "ROW"
                            with m.If(copied):
                                m.next = "ROW_SCALES"
                    if params.transposer:
                        with m.If(command.opcode == Opcode.TRANSPOSE):
                            m.next = "BAND"
            with m.State("ALL"):
                m.d.comb += [
                    self.o.valid.eq(1), region.atoms.eq(command.target_atoms), region.last.eq(1)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
            with m.State("ROW"):
                m.d.comb += [self.o.valid.eq(1), region.last.eq(copied & (rows_left == 1))]
                with m.If(self.o.ready):
                    m.d.sync += [row.eq(row + command.target_row),
                                 rows_left.eq(rows_left - copied)]
                    m.next = "ROW_SCALES"
                    with m.If(copied & (rows_left == 1)):
                        m.next = "IDLE"
            with m.State("ROW_SCALES"):
                m.d.comb += [
                    self.o.valid.eq(1), region.index.eq(scale_row),
                    region.atoms.eq(command.target_scale_row),
                    region.last.eq(~copied & (rows_left == 1))]
                with m.If(self.o.ready):
                    m.d.sync += [scale_row.eq(scale_row + command.target_scale_row),
                                 rows_left.eq(rows_left - ~copied)]
                    m.next = "ROW"
                    with m.If(~copied & (rows_left == 1)):
                        m.next = "IDLE"
            if params.transposer:
                self._blocks(m, row, scale_row, rows_left, scaled)
        return m

    def _blocks(self, m, row, scale_row, rows_left, scaled):
        """States for blocks. ``rows_left`` are rows of the source, which are columns here."""
        params, command, region = self.params, self.command, self.o.payload
        block, lanes = params.transposer.block, params.checker.atom_bytes
        wide = command.target_format == TensorFormat.BF16
        wide_scales = command.rule == ScaleRule.FP32_DIV
        band, scale_band = Signal.like(row), Signal.like(row)
        number = Signal(range(block))
        left = Signal(params.checker.k_bits)
        width = Signal(params.transposer.size_bits)
        height = Signal(params.transposer.size_bits)

        def atoms(elements, bits):
            return (elements + lanes * 8 // bits - 1) >> (lanes * 8 // bits).bit_length() - 1

        last_band = rows_left <= block
        ends = (number == block - 1) | (left == 1)
        m.d.comb += width.eq(Mux(last_band, rows_left, block))
        part = by_width(command.target_format, atoms(width, 8), atoms(width, 16), 0)
        scale_part = Mux(wide_scales, atoms(height, 32), atoms(height, 8))

        def next_row(of_block):
            """Go on with the next row, the next band, or to the end."""
            with m.If(of_block):
                m.next = "BLOCK"
            with m.Elif(last_band):
                m.next = "IDLE"
            with m.Else():
                m.d.sync += [
                    rows_left.eq(rows_left - block),
                    row.eq(band + Mux(wide, block * 2 // lanes, block // lanes))]
                m.next = "BAND"

        with m.State("BAND"):
            m.d.sync += [left.eq(command.k), number.eq(0), band.eq(row),
                         scale_band.eq(scale_row + command.target_scale_row)]
            m.next = "BLOCK"
        with m.State("BLOCK"):
            m.d.comb += [
                self.o.valid.eq(1), region.atoms.eq(part),
                region.last.eq(last_band & (left == 1) & ~scaled)]
            with m.If(self.o.ready):
                m.d.sync += [row.eq(row + command.target_row),
                             number.eq(Mux(ends, 0, number + 1))]
                with m.If(scaled & ends):
                    m.d.sync += height.eq(number + 1)
                    m.next = "BLOCK_SCALES"
                with m.Else():
                    m.d.sync += left.eq(left - 1)
                    next_row(left != 1)
        with m.State("BLOCK_SCALES"):
            m.d.comb += [
                self.o.valid.eq(1), region.index.eq(scale_row), region.atoms.eq(scale_part),
                region.last.eq(last_band & (left == 1))]
            with m.If(self.o.ready):
                m.d.sync += [left.eq(left - 1), scale_row.eq(scale_row + scale_part)]
                with m.If(left == 1):
                    m.d.sync += scale_row.eq(scale_band)
                next_row(left != 1)
