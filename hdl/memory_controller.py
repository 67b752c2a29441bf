"""Memory controller: reads and writes of two requesters to DRAM commands of one pseudo-channel."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout, write_layout
from hdl.command_scheduler import CommandScheduler
from hdl.dram_port import command_members, data_members
from hdl.pipeline import delayed, flow, registered
from hdl.reorder_buffer import ReorderBuffer
from hdl.round_robin import in_turn
from hdl.secded_decoder import SecdedDecoder
from hdl.write_buffer import WriteBuffer
from spec.memory_units import (
    FAULT_BITS, TURN, InlineEccParams, MemoryControllerParams, ReadFault,
)

__all__ = ["MemoryController", "requester_members"]


def requester_members(params: MemoryControllerParams | InlineEccParams) -> dict:
    """Members of one requester, seen from the controller: its reads and its writes."""
    return {
        "read": In(stream.Signature(params.index_bits)),
        "data": Out(stream.Signature(atom_layout(params))),
        "write": In(stream.Signature(write_layout(params))),
        "written": Out(flow(1)),
    }


class MemoryController(wiring.Component):
    """Controls one pseudo-channel for the tile and the host.

    :Shapes: atoms, addressed by their index (:meth:`spec.grade.Grade.decompose`).
    :Timing: one read and one write accepted per cycle; one access per cycle. Answers come in the
        order of the requests of each requester. A write is complete when ``written`` says so: every
        read that is accepted later sees it. A read and a write of the same atom that are under way
        at once have no order. ``ready`` of one requester follows ``valid`` of the other
        combinationally.
    :Errors: an atom that does not come in its cycle is answered with ``ReadFault.TIMEOUT``; one
        with two wrong bits in a word with ``ReadFault.UNCORRECTABLE``. Power-up, training,
        self-refresh and power-down are not the controller's: the PHY holds reset until the DRAM is
        ready.

    Members
    -------
    tile_read, tile_data, tile_write, tile_written : the tile's streams
    host_read, host_data, host_write, host_written : the host's streams
    dram_* : the command port and the data port
    corrected : words corrected in this cycle
    uncorrectable : flow of the indices of atoms with two wrong bits in a word
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"MemoryController needs MemoryControllerParams, not {params!r}")
        self.params = params
        super().__init__({
            **{f"{who}_{name}": member for who in ("tile", "host")
               for name, member in requester_members(params).items()},
            **command_members(params),
            **data_members(params),
            "corrected": Out(range(params.secded.words + 1)),
            "uncorrectable": Out(flow(params.index_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.command_scheduler = self.scheduler = CommandScheduler(params)
        m.submodules.write_buffer = self.write_buffer = WriteBuffer(params)
        for unit in (self.scheduler, self.write_buffer):
            for name in unit.signature.members:
                if name.startswith("dram_"):
                    m.d.comb += getattr(self, name).eq(getattr(unit, name))
        self._writes(m)
        self._reads(m)
        return m

    def _push(self, m, queue, valid, index, entry):
        """Send a request to a queue of the scheduler, its index taken apart."""
        fields = {field.name: index[field.low:field.low + field.bits]
                  for field in self.params.grade.address_fields}
        m.d.comb += [
            queue.valid.eq(valid),
            queue.payload.bank.eq(
                Cat(fields["bank_group"], fields["bank"], fields["stack_id"])),
            queue.payload.entry.eq(entry),
            queue.payload.row.eq(fields["row"]),
            queue.payload.column.eq(fields["column"]),
        ]

    def _writes(self, m):
        buffer = self.write_buffer
        for who in ("tile", "host"):
            wiring.connect(m, wiring.flipped(getattr(self, f"{who}_write")), getattr(buffer, who))
            wiring.connect(m, getattr(buffer, f"{who}_written"),
                           wiring.flipped(getattr(self, f"{who}_written")))
        wiring.connect(m, self.scheduler.served_write, buffer.served)
        self._push(m, self.scheduler.writes, buffer.o.valid, buffer.o.payload.index,
                   buffer.o.payload.entry)

    def _reads(self, m):
        """Take the requesters' reads in turn; give each its answers in order."""
        params = self.params
        m.submodules.tile_reads = tile = ReorderBuffer(params.reorder_buffer(params.tile_reads))
        m.submodules.host_reads = host = ReorderBuffer(params.reorder_buffer(params.host_reads))
        from_tile, from_host = Signal(), Signal()
        wants_tile = self.tile_read.valid & tile.free
        wants_host = self.host_read.valid & host.free
        host_turn = in_turn(m, params.host_turn, TURN, wants_tile & wants_host)
        slot_bits = params.read_slot_bits
        entry = Signal(slot_bits + 1)
        m.d.comb += [
            from_host.eq(wants_host & (host_turn | ~wants_tile)),
            from_tile.eq(wants_tile & ~from_host),
            self.tile_read.ready.eq(tile.free & ~from_host),
            self.host_read.ready.eq(from_host),
            tile.take.eq(from_tile),
            host.take.eq(from_host),
        ]
        taken = registered(m, from_tile | from_host, "taken")
        index = registered(m, Mux(from_host, self.host_read.payload, self.tile_read.payload),
                           "index")
        slot = Signal(slot_bits)
        m.d.comb += slot.eq(Mux(from_host, host.slot, tile.slot))
        m.d.sync += entry.eq(Cat(slot, from_host))
        self._push(m, self.scheduler.reads, taken, index, entry)

        # Where each requester's oldest read is.
        m.submodules.sets = sets = Memory(
            shape=len(self.scheduler.tile_set), depth=params.read_queues.entries, init=[])
        write, queue = sets.write_port(), self.scheduler.reads
        m.d.comb += [
            write.en.eq(queue.valid),
            write.addr.eq(queue.payload.entry),
            write.data.eq(queue.payload.bank >> (
                params.grade.organisation.bank_groups.bit_length() - 1)),
        ]
        for of_host, buffer, oldest_set in ((0, tile, self.scheduler.tile_set),
                                            (1, host, self.scheduler.host_set)):
            read = sets.read_port(domain="comb")
            m.d.comb += [read.addr.eq(Cat(Cat(buffer.oldest, 0)[:slot_bits], of_host)),
                         oldest_set.eq(read.data)]

        # The atom of each RD comes in its cycle, or never.
        served = self.scheduler.served_read
        due = delayed(m, served.valid, params.read_latency, "due")
        due_entry = delayed(m, served.payload, params.read_latency, "due_entry")
        filled = registered(m, due, "filled")
        filled_entry = registered(m, due_entry, "filled_entry")
        missing = registered(m, due & ~self.dram_read_valid, "missing")
        fault = Signal(FAULT_BITS)
        if params.ecc_bits:
            m.submodules.decoder = decoder = SecdedDecoder(params.secded)
            m.submodules.indices = indices = Memory(
                shape=params.index_bits, depth=params.read_queues.entries, init=[])
            write, read = indices.write_port(), indices.read_port()
            answer = decoder.o.payload
            wrong = filled & ~missing & answer.uncorrectable
            m.d.comb += [
                decoder.i.valid.eq(due),
                decoder.i.payload.data.eq(self.dram_read_data),
                decoder.i.payload.ecc.eq(self.dram_read_ecc),
                fault.eq(Mux(missing, ReadFault.TIMEOUT,
                             Mux(answer.uncorrectable, ReadFault.UNCORRECTABLE, ReadFault.NONE))),
                write.en.eq(taken),
                write.addr.eq(entry),
                write.data.eq(index),
                read.addr.eq(due_entry),
                self.uncorrectable.valid.eq(wrong),
                self.uncorrectable.payload.eq(read.data),
                self.corrected.eq(Mux(filled & ~missing, sum(answer.corrected), 0)),
            ]
            atom = answer.data
        else:
            m.d.comb += fault.eq(Mux(missing, ReadFault.TIMEOUT, ReadFault.NONE))
            atom = registered(m, self.dram_read_data, "atom")
        of_host = filled_entry[slot_bits]
        for buffer, mine, stream_out in ((tile, ~of_host, self.tile_data),
                                         (host, of_host, self.host_data)):
            m.d.comb += [
                buffer.fill.valid.eq(filled & mine),
                buffer.fill.payload.slot.eq(filled_entry),
                buffer.fill.payload.item.eq(Cat(atom, fault)),
                stream_out.valid.eq(buffer.o.valid),
                stream_out.payload.eq(buffer.o.payload),
                buffer.o.ready.eq(stream_out.ready),
            ]
