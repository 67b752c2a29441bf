"""Tensor reads: what a command reads, as regions, and what each part of it is."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.burst_splitter import region_layout
from hdl.tensor_checker import tensor_command_layout
from hdl.tensor_streams import block_layout
from spec.commands import Opcode
from spec.tensor_engine import TensorEngineParams
from spec.tensors import TensorFormat

__all__ = ["TensorReads", "by_width", "span_layout"]


def span_layout(params: TensorEngineParams) -> data.StructLayout:
    """Atoms that come one behind the other and belong together.

    ``scales``: they are scales, for the buffer from ``address`` on. Else they are ``atoms`` of one
    row, of whose last atom ``tail`` elements count; the scale of the first is at ``address`` and
    ``lane`` of the buffer; ``last`` says that what is done to them ends with them.
    """
    return data.StructLayout({
        "atoms": params.checker.row_bits,
        "tail": params.checker.atom_bytes.bit_length(),
        "scales": 1,
        "address": params.scale_address_bits,
        "lane": params.scale_lane_bits,
        "last": 1,
    })


def by_width(name, eight, sixteen, thirty_two):
    """Choose by the width of the elements of the TensorFormat ``name``."""
    return Mux(name == TensorFormat.BF16, sixteen,
               Mux(name == TensorFormat.FP32, thirty_two, eight))


class TensorReads(wiring.Component):
    """Walks over the source of one command: row by row, or block by block where it is transposed.

    Row by row, the scales of as many rows as the buffer holds come before their codes, so that
    memory is read in long pieces; a row's alone where both are copied as they stand. Blocks of
    ``transpose_block`` rows and columns come along the columns first; the scales of a block's rows
    come before it, one atom for each row, which serves as many blocks as it has scales.

    :Timing: one region per cycle. ``regions`` and ``spans`` move together.

    Members
    -------
    command : the command, held from ``start`` on
    start : walk over its source
    regions : stream of regions
    spans : stream of what each region is
    blocks : stream of the sizes of blocks, each ahead of its rows; only with a transposer
    """

    def __init__(self, params: TensorEngineParams):
        if not isinstance(params, TensorEngineParams):
            raise TypeError(f"TensorReads needs TensorEngineParams, not {params!r}")
        self.params = params
        super().__init__({
            "command": In(tensor_command_layout(params.checker)),
            "start": In(1),
            "regions": Out(stream.Signature(region_layout(params.checker.memory))),
            "spans": Out(stream.Signature(span_layout(params))),
            **({"blocks": Out(stream.Signature(block_layout(params.transposer)))}
               if params.transposer else {}),
        })

    def elaborate(self, platform):
        m = Module()
        params, command = self.params, self.command
        checker = params.checker
        lanes = checker.atom_bytes
        index_bits = checker.memory.index_bits
        region, span = self.regions.payload, self.spans.payload
        emit, done = Signal(), Signal()
        m.d.comb += [
            self.regions.valid.eq(emit & self.spans.ready),
            self.spans.valid.eq(emit & self.regions.ready),
            done.eq(emit & self.spans.ready & self.regions.ready),
        ]

        row, scale_row = Signal(index_bits), Signal(index_bits)
        rows_left, scale_rows_left = Signal(checker.rows_bits), Signal(checker.rows_bits)
        # Rows whose scales have been asked for ahead of their codes, and where the next one's are.
        depth = params.scale_buffer_atoms
        ahead, place = Signal(range(depth + 1)), Signal(range(depth + 1))
        scale_step = command.source_scale_row[:len(place)]
        has_scales = command.source_scale_row.any()
        copied = (command.opcode == Opcode.COPY) & (
            command.source_format == command.target_format)
        whole = (command.opcode == Opcode.REDUCE) & command.whole
        # Elements of the last atom of a row.
        places = (command.k - 1)[:len(span.tail)]
        tail = Signal(len(span.tail))
        m.d.comb += [
            tail.eq(1 + by_width(command.source_format, places & (lanes - 1),
                                 places & (lanes // 2 - 1), places & (lanes // 4 - 1))),
            region.index.eq(row),
            region.atoms.eq(command.source_row),
            span.atoms.eq(command.source_row),
            span.tail.eq(tail),
            span.last.eq(~whole | (rows_left == 1)),
        ]

        def scales(atoms):
            return [region.index.eq(scale_row), region.atoms.eq(atoms), span.atoms.eq(atoms),
                    span.scales.eq(~copied), span.last.eq(1)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    row.eq(command.source), scale_row.eq(command.source_scales),
                    rows_left.eq(command.rows), scale_rows_left.eq(command.rows),
                    ahead.eq(0), place.eq(0)]
                with m.If(command.opcode == Opcode.LOAD):
                    m.d.sync += rows_left.eq(1)
                with m.If(self.start):
                    m.next = "ROW"
                    if params.reads_scales:
                        with m.If(has_scales):
                            m.next = "ROW_SCALES"
                    if params.transposer:
                        with m.If(command.opcode == Opcode.TRANSPOSE):
                            m.next = "BAND"
                    if params.rows_per_strip:
                        with m.If(command.opcode == Opcode.GEMV):
                            m.next = "WEIGHTS"

            if params.reads_scales:
                with m.State("ROW_SCALES"):
                    following = place + scale_step
                    m.d.comb += [emit.eq(1), *scales(command.source_scale_row),
                                 span.address.eq(place)]
                    with m.If(done):
                        m.d.sync += [
                            scale_row.eq(scale_row + command.source_scale_row),
                            scale_rows_left.eq(scale_rows_left - 1),
                            place.eq(following), ahead.eq(ahead + 1)]
                        with m.If(copied | (scale_rows_left == 1)
                                  | (following + scale_step > depth)):
                            m.d.sync += place.eq(0)
                            m.next = "ROW"
            with m.State("ROW"):
                m.d.comb += [
                    emit.eq(1), span.scales.eq(0), span.address.eq(place), span.lane.eq(0)]
                with m.If(done):
                    m.d.sync += [row.eq(row + command.source_row), rows_left.eq(rows_left - 1),
                                 ahead.eq(ahead - 1)]
                    if params.reads_scales:
                        m.d.sync += place.eq(place + scale_step)
                    with m.If(rows_left == 1):
                        m.next = "IDLE"
                    if params.reads_scales:
                        with m.Elif(has_scales & (ahead == 1)):
                            m.d.sync += place.eq(0)
                            m.next = "ROW_SCALES"
            if params.transposer:
                self._blocks(m, row, scale_row, rows_left, emit, done, scales, has_scales)
            if params.rows_per_strip:
                self._weights(m, row, rows_left, emit, done)
        return m

    def _blocks(self, m, row, scale_row, rows_left, emit, done, scales, has_scales):
        """States that walk over blocks."""
        params, command = self.params, self.command
        checker, block = params.checker, params.transposer.block
        region, span = self.regions.payload, self.spans.payload
        lanes = checker.atom_bytes
        wide = command.source_format == TensorFormat.BF16
        step = Mux(wide, block * 2 // lanes, block // lanes)

        columns_left = Signal(checker.k_bits)
        number = Signal(range(block))
        lane = Signal(params.scale_lane_bits)
        # Where the block begins, and where the next band of blocks will.
        corner, band = Signal.like(row), Signal.like(row)
        scale_corner, scale_band = Signal.like(row), Signal.like(row)
        first, last_column = Signal(), Signal()
        height, width = Signal(params.transposer.size_bits), Signal(params.transposer.size_bits)
        segment = Signal(range(2 * block // lanes + 1))
        m.d.comb += [
            last_column.eq(columns_left <= block),
            height.eq(Mux(rows_left <= block, rows_left, block)),
            width.eq(Mux(last_column, columns_left, block)),
            segment.eq(Mux(wide, (width + lanes // 2 - 1) >> (lanes // 2).bit_length() - 1,
                           (width + lanes - 1) >> lanes.bit_length() - 1)),
            self.blocks.payload.rows.eq(height),
            self.blocks.payload.columns.eq(width),
            # Codes with scales are transposed as BF16.
            self.blocks.payload.wide.eq(wide | has_scales),
        ]
        last_row = number == height - 1
        following = row + command.source_row

        with m.State("BAND"):
            m.d.sync += [
                columns_left.eq(command.k), corner.eq(row), scale_corner.eq(scale_row),
                first.eq(1), lane.eq(0), number.eq(0)]
            m.next = "BLOCK"
        with m.State("BLOCK"):
            m.d.comb += self.blocks.valid.eq(1)
            m.d.sync += row.eq(corner)
            with m.If(self.blocks.ready):
                m.next = "BLOCK_ROWS"
                if params.checker.requantized and params.reads_scales:
                    with m.If(has_scales & (lane == 0)):
                        m.d.sync += scale_row.eq(scale_corner)
                        m.next = "BLOCK_SCALES"
        if params.checker.requantized and params.reads_scales:
            with m.State("BLOCK_SCALES"):
                m.d.comb += [emit.eq(1), *scales(1), span.address.eq(number)]
                with m.If(done):
                    m.d.sync += [scale_row.eq(scale_row + command.source_scale_row),
                                 number.eq(number + 1)]
                    with m.If(last_row):
                        m.d.sync += [number.eq(0), scale_corner.eq(scale_corner + 1)]
                        with m.If(first):
                            m.d.sync += scale_band.eq(scale_row + command.source_scale_row)
                        m.next = "BLOCK_ROWS"
        with m.State("BLOCK_ROWS"):
            m.d.comb += [
                emit.eq(1), region.atoms.eq(segment), span.atoms.eq(segment), span.last.eq(1),
                span.address.eq(number), span.lane.eq(lane)]
            with m.If(~last_column):
                m.d.comb += span.tail.eq(Mux(wide, lanes // 2, lanes))
            with m.If(done):
                m.d.sync += [row.eq(following), number.eq(number + 1)]
                with m.If(last_row):
                    m.d.sync += [
                        number.eq(0), first.eq(0), corner.eq(corner + step),
                        lane.eq(Mux(lane == params.scales_per_atom - 1, 0, lane + 1)),
                        columns_left.eq(columns_left - block)]
                    with m.If(first):
                        m.d.sync += band.eq(following)
                    m.next = "BLOCK"
                    with m.If(last_column):
                        m.d.sync += [
                            row.eq(Mux(first, following, band)), scale_row.eq(scale_band),
                            rows_left.eq(rows_left - height)]
                        m.next = "BAND"
                        with m.If(rows_left <= block):
                            m.next = "IDLE"

    def _weights(self, m, row, rows_left, emit, done):
        """States that walk over the blocks of a weight stream, along its rows first.

        Before each block comes the atom with its scale, a span without elements.
        """
        params, command = self.params, self.command
        checker, block, strip_rows = params.checker, params.transposer.block, params.rows_per_strip
        region, span, size = self.regions.payload, self.spans.payload, self.blocks.payload
        lanes = checker.atom_bytes
        group_atoms = block // lanes

        columns_left = Signal(checker.k_bits)
        strip, strips = Signal(range(block // strip_rows)), Signal(range(block // strip_rows + 1))
        lane = Signal(params.scale_lane_bits)
        # Atoms from the beginning of the scales, and of a strip, to those of this column of blocks.
        scale_offset = Signal.like(row)
        offset = Signal.like(row)
        here = Signal.like(row)
        width = Signal(range(block + 1))
        part = Signal(range(group_atoms + 1))
        last_band = rows_left <= block
        m.d.comb += [
            width.eq(Mux(columns_left < block, columns_left, block)),
            part.eq((width + lanes - 1) >> lanes.bit_length() - 1),
            strips.eq((Mux(last_band, rows_left, block) + strip_rows - 1)
                      >> strip_rows.bit_length() - 1),
        ]
        strip_atoms = command.source_row * strip_rows

        with m.State("WEIGHTS"):
            m.d.sync += [columns_left.eq(command.k), scale_offset.eq(0), offset.eq(0), lane.eq(0)]
            m.next = "BLOCK_COLUMN"
        with m.State("BLOCK_COLUMN"):
            m.d.sync += [row.eq(command.source), rows_left.eq(command.rows), strip.eq(0)]
            m.next = "WEIGHT_BLOCK"
        with m.State("WEIGHT_BLOCK"):
            m.d.comb += [
                self.blocks.valid.eq(1), size.rows.eq(strips * strip_rows), size.columns.eq(width),
                size.wide.eq(0)]
            with m.If(self.blocks.ready):
                m.next = "WEIGHT_SCALE"
        with m.State("WEIGHT_SCALE"):
            m.d.comb += [emit.eq(1), region.index.eq(row + scale_offset), region.atoms.eq(1),
                         span.atoms.eq(1), span.tail.eq(0), span.last.eq(1)]
            with m.If(done):
                m.d.sync += [here.eq(row + command.source_scale_row + offset),
                             row.eq(row + command.source_scale_row)]
                m.next = "WEIGHT_STRIP"
        with m.State("WEIGHT_STRIP"):
            m.d.comb += [
                emit.eq(1), region.index.eq(here), region.atoms.eq(part * strip_rows),
                span.atoms.eq(part * strip_rows), span.tail.eq(lanes), span.last.eq(1)]
            with m.If(done):
                m.d.sync += [here.eq(here + strip_atoms), row.eq(row + strip_atoms),
                             strip.eq(strip + 1)]
                with m.If(strip == strips - 1):
                    m.d.sync += [strip.eq(0), rows_left.eq(rows_left - block)]
                    m.next = "WEIGHT_BLOCK"
                    with m.If(last_band):
                        m.d.sync += [
                            columns_left.eq(columns_left - block),
                            offset.eq(offset + strip_rows * group_atoms),
                            lane.eq(lane + 1),
                            scale_offset.eq(scale_offset + (lane == params.scales_per_atom - 1))]
                        m.next = "BLOCK_COLUMN"
                        with m.If(columns_left <= block):
                            m.next = "IDLE"
