"""Reorder buffer: items that come in any order leave in the order in which they were asked for."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.memory_units import ReorderBufferParams

__all__ = ["ReorderBuffer", "fill_layout"]


def fill_layout(params: ReorderBufferParams) -> data.StructLayout:
    """An item, and the slot that was taken for it."""
    return data.StructLayout({"slot": params.slot_bits, "item": params.bits})


class ReorderBuffer(wiring.Component):
    """Slots in a memory, taken in circular order, filled in any order, emptied in order.

    :Shapes: one item in and one item out for each slot taken.
    :Timing: an item that is filled when all earlier ones have left leaves
        ``ReorderBufferParams.LATENCY`` cycles later; one item per cycle. Where all slots are
        taken, one is free in the cycle in which the oldest item stands at the output. No output
        follows an input combinationally.
    :Errors: ``take`` while ``free`` is low takes nothing. A fill of a slot that is not taken, or
        a second one of the same slot, is not detected.

    The storage is read synchronously, so that it can be an SRAM with one write and one read port;
    no address is written and read in the same cycle.

    Members
    -------
    take : take the next slot
    slot : the number of the next slot
    free : whether a slot can be taken
    oldest : the number of the slot whose item leaves next
    fill : stream of ``slot`` and ``item``, always ready
    o : stream of items in the order of their slots
    """

    def __init__(self, params: ReorderBufferParams):
        if not isinstance(params, ReorderBufferParams):
            raise TypeError(f"ReorderBuffer needs ReorderBufferParams, not {params!r}")
        self.params = params
        super().__init__({
            "take": In(1),
            "slot": Out(params.slot_bits),
            "free": Out(1, init=1),
            "oldest": Out(params.slot_bits),
            "fill": In(flow(fill_layout(params))),
            "o": Out(stream.Signature(params.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        entries = self.params.entries
        m.submodules.storage = storage = memory.Memory(
            shape=self.params.bits, depth=entries, init=[])
        write, read = storage.write_port(), storage.read_port()

        def following(slot):
            return Mux(slot == entries - 1, 0, slot + 1)

        # An item moves to the output of the storage; its slot is empty then.
        filled = Signal(entries)
        oldest = self.oldest
        move = Signal()
        m.d.comb += [
            move.eq(filled.bit_select(oldest, 1) & (~self.o.valid | self.o.ready)),
            write.addr.eq(self.fill.payload.slot),
            write.data.eq(self.fill.payload.item),
            write.en.eq(self.fill.valid),
            read.addr.eq(oldest),
            read.en.eq(move),
            self.o.payload.eq(read.data),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(1),
                oldest.eq(following(oldest)),
                filled.bit_select(oldest, 1).eq(0),
            ]
        with m.If(self.fill.valid):
            m.d.sync += filled.bit_select(self.fill.payload.slot, 1).eq(1)

        used, left = Signal(range(entries + 1)), Signal(range(entries + 1))
        taken = self.take & self.free
        m.d.comb += left.eq(used + taken - move)
        m.d.sync += used.eq(left)
        m.d.sync += self.free.eq(left != entries)
        with m.If(taken):
            m.d.sync += self.slot.eq(following(self.slot))
        return m
