"""Transposer: blocks of elements, taken row by row and given column by column."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hdl.skid_buffer import SkidBuffer
from hdl.tensor_streams import block_layout, element_layout
from spec.tensor_units import TransposerParams
from spec.units import SkidBufferParams

__all__ = ["Transposer"]


def _rotated(m: Module, value, count, name: str, up: bool):
    """Return ``value`` with its bytes rotated by ``count`` places, to the top or the bottom."""
    for stage in range(len(count)):
        turned = value.rotate_left(8 << stage) if up else value.rotate_right(8 << stage)
        rotated = Signal(len(value), name=f"{name}_{stage}")
        m.d.comb += rotated.eq(Mux(count[stage], turned, value))
        value = rotated
    return value


class Transposer(wiring.Component):
    """Transposes blocks of up to ``block`` x ``block`` elements of 8 or 16 bits.

    The golden model is :func:`golden.transposer.transposer`.

    :Shapes: a block of ``rows`` x ``columns`` elements, each from 1 to ``block``, comes as
        ``rows`` rows of ``ceil(columns / lanes)`` atoms and leaves as ``columns`` rows of
        ``ceil(rows / lanes)`` atoms; ``lanes`` are the elements of an atom. What stands past
        ``columns`` in an atom that comes means nothing; past ``rows`` in one that leaves is zero.
    :Formats: elements are moved, not interpreted.
    :Timing: one atom in and one atom out per cycle: a block enters while the one before it
        leaves. Full blocks of one element size follow each other without a gap. No output follows
        an input combinationally.
    :Errors: sizes of zero or above ``block`` are not detected.

    One memory per byte of an atom holds two blocks. With ``lanes`` elements of one or two bytes
    in an atom, element (r, c) stands in the memory, or the pair of memories, of number
    ``(r + c) mod lanes``, at an address made of r and ``c // lanes``. So both an atom
    of a row and an atom of a column have one element in each: a row's atom rotated by r, a
    column's by c.

    Members
    -------
    block : stream of ``rows``, ``columns`` and ``wide`` (elements of 16 bits), one for each block,
        taken before its atoms
    i : stream of atoms
    o : stream of ``data``, its number of elements ``count``, ``last`` at the last atom of a
        column and ``block_last`` at the last of the block
    """

    def __init__(self, params: TransposerParams):
        if not isinstance(params, TransposerParams):
            raise TypeError(f"Transposer needs TransposerParams, not {params!r}")
        self.params = params
        super().__init__({
            "block": In(stream.Signature(block_layout(params))),
            "i": In(stream.Signature(params.atom_bits)),
            "o": Out(stream.Signature(data.StructLayout({
                **element_layout(params).members, "block_last": 1}))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        banks = params.atom_bytes
        bank_bits = exact_log2(banks)
        index_bits = exact_log2(params.block)
        atom_bits = exact_log2(params.row_atoms)
        def atom_of(index, wide):
            """Which atom of its row or column the element ``index`` stands in."""
            return Mux(wide, index[bank_bits - 1:], index[bank_bits:])

        def byte_of(index, wide):
            """Where in its atom it stands."""
            return Mux(wide, Cat(0, index[:bank_bits - 1]), index[:bank_bits])

        def address_of(byte, atom, wide):
            """The address bits of the row that begins at ``byte`` in atom ``atom`` of a column.
            Wide elements leave the lowest bit of ``byte`` unused, and need one more of ``atom``."""
            return Cat(byte[1:], Mux(wide, atom[-1], byte[0]), atom[:-1])

        # A block, by its last row and column, and the last atom of each of them.
        layout = data.StructLayout({"row": index_bits, "column": index_bits, "wide": 1,
                                    "row_atom": atom_bits, "column_atom": atom_bits})
        sizes = self.block.payload
        new = Signal(layout)
        m.d.comb += [
            new.row.eq(sizes.rows - 1),
            new.column.eq(sizes.columns - 1),
            new.wide.eq(sizes.wide),
            new.row_atom.eq(atom_of(new.column, sizes.wide)),
            new.column_atom.eq(atom_of(new.row, sizes.wide)),
        ]

        storage = []
        for bank in range(banks):
            memory = Memory(shape=8, depth=params.depth, init=[])
            m.submodules[f"bank_{bank}"] = memory
            storage.append((memory.write_port(), memory.read_port()))
        # Each half of the memories holds a block from its last write to its last read.
        filled = Signal(2)
        held = Signal(data.ArrayLayout(layout, 2))

        # Write stage 1: rotate an atom.
        m.submodules.blocks = blocks = SkidBuffer(SkidBufferParams(bits=layout.size))
        block = data.View(layout, blocks.o.payload)
        row, atom = Signal(index_bits), Signal(atom_bits)
        row_ends = atom == block.row_atom
        block_ends = row_ends & (row == block.row)
        take = Signal()
        staged_valid, staged_last = Signal(), Signal()
        staged = Signal(params.atom_bits)
        staged_address = Signal(atom_bits + index_bits)
        staged_block = Signal(layout)
        m.d.comb += [
            blocks.i.payload.eq(new),
            blocks.i.valid.eq(self.block.valid),
            self.block.ready.eq(blocks.i.ready),
            blocks.o.ready.eq(take & block_ends),
        ]
        entering = _rotated(
            m, self.i.payload, byte_of(row, block.wide), "entering", up=True)
        with m.If(take):
            m.d.sync += [
                staged.eq(entering),
                staged_address.eq(Cat(atom, address_of(
                    byte_of(row, block.wide), atom_of(row, block.wide), block.wide))),
                staged_block.eq(block),
                staged_last.eq(block_ends),
                atom.eq(Mux(row_ends, 0, atom + 1)),
            ]
            with m.If(row_ends):
                m.d.sync += row.eq(Mux(block_ends, 0, row + 1))

        # Write stage 2: store it, once its half is free.
        write_half = Signal()
        free = ~filled.bit_select(write_half, 1)
        store = staged_valid & free
        m.d.comb += [
            self.i.ready.eq(blocks.o.valid & (~staged_valid | free)),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(take | store):
            m.d.sync += staged_valid.eq(take)
        for bank, (write, _) in enumerate(storage):
            m.d.comb += [
                write.addr.eq(Cat(staged_address, write_half)),
                write.data.eq(staged.word_select(bank, 8)),
                write.en.eq(store),
            ]
        for half in range(2):
            # What stands here with the last atom of a block stays.
            with m.If((write_half == half) & ~filled[half]):
                m.d.sync += held[half].eq(staged_block)
        with m.If(store & staged_last):
            m.d.sync += [filled.bit_select(write_half, 1).eq(1), write_half.eq(~write_half)]

        # Read stage 1: address one atom of a column. All stages move together.
        m.submodules.skid = skid = SkidBuffer(SkidBufferParams(bits=self.o.payload.shape().size))
        move = skid.i.ready
        read_half = Signal()
        leaving = held[read_half]
        column, piece = Signal(index_bits), Signal(atom_bits)
        column_ends = piece == leaving.column_atom
        leaves = column_ends & (column == leaving.column)
        read = Signal()
        m.d.comb += read.eq(move & filled.bit_select(read_half, 1))
        rotation = Signal(bank_bits)
        m.d.comb += rotation.eq(byte_of(column, leaving.wide))
        for bank, (_, port) in enumerate(storage):
            # The place in the atom of the byte that stands in this bank.
            byte = (bank - rotation)[:bank_bits]
            m.d.comb += [
                port.addr.eq(Cat(atom_of(column, leaving.wide),
                                 address_of(byte, piece, leaving.wide), read_half)),
                port.en.eq(read),
            ]
        with m.If(read):
            m.d.sync += piece.eq(Mux(column_ends, 0, piece + 1))
            with m.If(column_ends):
                m.d.sync += column.eq(Mux(leaves, 0, column + 1))
            with m.If(leaves):
                m.d.sync += [
                    filled.bit_select(read_half, 1).eq(0),
                    read_half.eq(~read_half),
                ]

        # Read stages 2 and 3: the memories' outputs, then a register behind them.
        about = Signal(data.StructLayout({
            "count": params.count_bits, "last": 1, "block_last": 1,
            "wide": 1, "rotation": bank_bits, "valid": 1}))
        rest = Mux(leaving.wide, leaving.row[:bank_bits - 1], leaving.row[:bank_bits])
        m.d.comb += [
            about.count.eq(Mux(column_ends, rest + 1, Mux(leaving.wide, banks // 2, banks))),
            about.last.eq(column_ends),
            about.block_last.eq(leaves),
            about.wide.eq(leaving.wide),
            about.rotation.eq(rotation),
            about.valid.eq(filled.bit_select(read_half, 1)),
        ]
        about_2, about_3 = Signal.like(about), Signal.like(about)
        raw = Signal(params.atom_bits)
        with m.If(move):
            m.d.sync += [
                about_2.eq(about),
                about_3.eq(about_2),
                raw.eq(Cat(port.data for _, port in storage)),
            ]

        # Read stage 4: rotate back, clear what no row fills.
        turned = _rotated(m, raw, about_3.rotation, "leaving", up=False)
        kept = [Mux(Mux(about_3.wide, place // 2, place) < about_3.count,
                    turned.word_select(place, 8), 0) for place in range(banks)]
        m.d.comb += [
            skid.i.payload.eq(Cat(*kept, about_3.count, about_3.last, about_3.block_last)),
            skid.i.valid.eq(about_3.valid),
            self.o.payload.eq(skid.o.payload),
            self.o.valid.eq(skid.o.valid),
            skid.o.ready.eq(self.o.ready),
        ]
        return m
