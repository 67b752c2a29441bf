"""Result packer: rows of FP32 results to atoms for memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.fifo import Fifo
from hdl.fp32 import fp32_layout, is_nan
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.formats import BF16, FP32
from spec.units import ResultPackerParams, SkidBufferParams

__all__ = ["ResultPacker"]


def _to_bf16(code):
    """Round an FP32 code once, to nearest even, to BF16."""
    value = data.View(fp32_layout, code)
    cut = FP32.mantissa_bits - BF16.mantissa_bits
    up = code[cut - 1] & (code[:cut - 1].any() | code[cut])
    finite = Cat((code[cut:-1] + up)[:BF16.bits - 1], code[-1])
    return Mux(is_nan(value), Const(BF16.nan_code, BF16.bits), finite)


class ResultPacker(wiring.Component):
    """Collects the rows of one command into atoms.

    The golden model is :func:`golden.result_packer.result_packer`.

    :Shapes: rows of ``columns`` FP32 codes in; atoms of ``rows_per_atom`` rows out. A row takes
        ``pitch`` elements; elements of columns that the command does not use, and those past its
        last row, are zero.
    :Formats: FP32, or BF16 rounded once to nearest even (NaN 0x7FC0). Little-endian.
    :Timing: one row per cycle while the consumer takes the atoms.
    :Errors: more than ``depth`` rows that were not released are lost; the sequencer counts them.

    Members
    -------
    command : stream of ``rows`` and ``columns`` of a command, taken before its first row
    i : stream of rows, always ready
    released : one in each cycle in which a row leaves the queue
    o : stream of atoms
    """

    def __init__(self, params: ResultPackerParams):
        if not isinstance(params, ResultPackerParams):
            raise TypeError(f"ResultPacker needs ResultPackerParams, not {params!r}")
        self.params = params
        super().__init__({
            "command": In(stream.Signature(data.StructLayout({
                "rows": params.rows_bits,
                "columns": range(params.columns + 1),
            }))),
            "i": In(flow(data.ArrayLayout(FP32.bits, params.columns))),
            "released": Out(1),
            "o": Out(stream.Signature(params.atom_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.queue = queue = Fifo(params.queue)
        # What the queue reads, possibly from a block RAM, stands in a register of its own.
        m.submodules.head = head = SkidBuffer(SkidBufferParams(bits=params.queue.bits))
        wiring.connect(m, queue.o, head.i)
        m.d.comb += [queue.i.payload.eq(self.i.payload), queue.i.valid.eq(self.i.valid)]

        # Rows that are to come, less one: the sign says that there are none.
        rows = Signal(signed(params.rows_bits + 1), init=-1)
        wanted = ~rows[-1]
        columns = Signal(self.command.payload.columns.shape())
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                rows.eq(self.command.payload.rows - 1),
                columns.eq(self.command.payload.columns),
            ]

        # One row as it stands in memory.
        fmt = params.result_format
        elements = []
        for column in range(params.columns):
            code = head.o.payload.word_select(column, FP32.bits)
            element = _to_bf16(code) if fmt is BF16 else code
            elements.append(Mux(columns > column, element, Const(0, fmt.bits)))
        row_bits = fmt.bits * params.pitch
        row = Signal(row_bits)
        m.d.comb += row.eq(Cat(*elements))

        position = Signal(range(max(2, params.rows_per_atom)))
        take = Signal()
        m.d.comb += [
            take.eq(head.o.valid & wanted & (~self.o.valid | self.o.ready)),
            head.o.ready.eq(take),
            self.released.eq(queue.o.valid & queue.o.ready),
            self.command.ready.eq(~wanted),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            final = rows == 0
            complete = final | (position == params.rows_per_atom - 1)
            m.d.sync += [
                rows.eq(rows - 1),
                position.eq(Mux(complete, 0, position + 1)),
                self.o.valid.eq(complete),
            ]
            with m.If(position == 0):
                m.d.sync += self.o.payload.eq(row)
            for place in range(1, params.rows_per_atom):
                with m.If(position == place):
                    m.d.sync += self.o.payload[place * row_bits:(place + 1) * row_bits].eq(row)
        return m
