"""Sequencer: executes checked commands, one after the other."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.burst_splitter import region_layout, write_region_layout
from hdl.command_checker import ERROR_BITS, checked_layout
from hdl.gearbox import memory_beat_layout
from hdl.pipeline import flow
from hdl.row_accumulator import row_layout
from spec.commands import ErrorCode, Opcode
from spec.memory_units import FAULT_BITS, ReadFault
from spec.units import SequencerParams

__all__ = ["Sequencer", "beat_layout", "ended_layout", "fault_code"]


def beat_layout(params: SequencerParams) -> data.StructLayout:
    """One beat of weights with all that the columns must know of it.

    Scales are numbered as they are read, or of two formats, as those of the first one are: what is
    read is then the number's upper bits, where the second format has several groups in a beat.
    """
    return data.StructLayout({
        "weights": params.checker.weight_bits,
        **({"narrow": 1} if params.checker.narrow is not None else {}),
        "address": params.activation_buffer.address_bits,
        "weight_scale": params.weight_scale_buffer.index_bits + params.scale_part_bits,
        "activation_scale": params.activation_scale_buffer.index_bits + params.scale_part_bits,
        "first": 1,
        "last": 1,
        "row": row_layout(params.slot_bits),
    })


def ended_layout() -> data.StructLayout:
    """How a command ended."""
    return data.StructLayout({"tag": 16, "error": ERROR_BITS, "fence": 1})


def fault_code(fault, otherwise, response):
    """The error code of a fault, that of RESPONSE given, and ``otherwise`` where there is none."""
    for kind, code in ((ReadFault.RESPONSE, response), (ReadFault.UNCORRECTABLE, ErrorCode.ECC),
                       (ReadFault.TIMEOUT, ErrorCode.TIMEOUT)):
        otherwise = Mux(fault == kind, Const(code, ERROR_BITS), otherwise)
    return otherwise


class Sequencer(wiring.Component):
    """Turns commands into requests to memory, and the atoms that come into writes and beats.

    The atoms of a command come in the order of the memory layout, so each is used as it comes: a
    scale is written in the cycle before the first atom that it belongs to can be, and is never
    overwritten before the last one has read it. Rows, groups and strips follow each other without
    a gap.

    The columns never stall: the last beat of a row is held back until the result queue has room
    for its row, counting the rows that are still in the pipeline.

    :Timing: one atom per cycle. ``beats`` follows ``atoms`` combinationally.
    :Errors: the first atom with a fault, or else a fault of the writer, is reported when the
        command ends; the command runs to its end, and its results are invalid.

    Members
    -------
    command : stream of checked commands
    given : the atoms of what is on ``command`` come without being read
    read, write : streams of regions
    atoms : stream of atoms read, or of beats of one and a half where codes are packed
    packed : what is taken next are packed codes; only where codes can be
    written : stream of the writer's ends, a :class:`spec.memory_units.ReadFault` each, always ready
    pack : stream of ``rows`` and ``columns`` for the result packer
    released : a row left the result queue
    beats : stream of weights for the columns, always ready
    activations, activation_scales, weight_scales, weight_zeros : streams of buffer writes, always
        ready; the last where weights have zero points
    loaded : K of the vector that each column holds, 0 for none; above it its format
    ended : stream of command ends, always ready
    busy, atom_read, stall_memory, stall_result : for the counters
    """

    def __init__(self, params: SequencerParams):
        if not isinstance(params, SequencerParams):
            raise TypeError(f"Sequencer needs SequencerParams, not {params!r}")
        self.params = params
        checker = params.checker
        memory = checker.memory
        column = range(checker.columns) if checker.columns > 1 else 1
        super().__init__({
            "command": In(stream.Signature(checked_layout(checker))),
            "given": In(1),
            "read": Out(stream.Signature(region_layout(memory))),
            "write": Out(stream.Signature(write_region_layout(memory))),
            "atoms": In(stream.Signature(memory_beat_layout(checker))),
            **({"packed": Out(1)} if checker.packed else {}),
            "written": In(flow(FAULT_BITS)),
            "pack": Out(stream.Signature(data.StructLayout({
                "rows": checker.rows_bits,
                "columns": range(checker.columns + 1),
            }))),
            "released": In(1),
            "beats": Out(flow(beat_layout(params))),
            "activations": Out(flow(data.StructLayout({
                "atom": params.activation_buffer.atom_bits,
                "address": (params.activation_buffer.address_bits
                            + params.activation_buffer.part_bits),
                "column": column,
            }))),
            "activation_scales": Out(flow(data.StructLayout({
                "atom": memory.atom_bits,
                "address": params.activation_scale_buffer.address_bits,
                "column": column,
            }))),
            "weight_scales": Out(flow(data.StructLayout({
                "atom": memory.atom_bits,
                "address": params.weight_scale_buffer.address_bits,
            }))),
            **({} if params.weight_zero_buffer is None else {
                "weight_zeros": Out(flow(data.StructLayout({
                    "atom": memory.atom_bits,
                    "address": params.weight_zero_buffer.address_bits,
                }))),
            }),
            "loaded": Out(data.ArrayLayout(checker.loaded_bits, checker.columns)),
            "ended": Out(flow(ended_layout())),
            "busy": Out(1),
            "atom_read": Out(1),
            "stall_memory": Out(1),
            "stall_result": Out(1),
        })

    def _by_format(self, narrow, values):
        """The one of ``values``, of each format one, that a command needs."""
        return Mux(narrow, values[1], values[0]) if len(values) > 1 else values[0]

    def elaborate(self, platform):
        m = Module()
        params = self.params
        checker = params.checker
        command = Signal(checked_layout(checker))
        zeros = params.weight_zero_buffer is not None
        read_fault, write_fault = Signal(FAULT_BITS), Signal(FAULT_BITS)
        all_written = Signal()

        # Requests of the current command; each is offered until it is taken.
        read_source, read_other = Signal(), Signal()
        write_results, pack_results = Signal(), Signal()
        m.d.comb += [
            self.read.valid.eq(read_source | read_other),
            self.read.payload.index.eq(Mux(read_source, command.source, command.other)),
            self.read.payload.atoms.eq(
                Mux(read_source, command.source_atoms, command.other_atoms)),
            self.write.valid.eq(write_results),
            self.write.payload.index.eq(command.other),
            self.write.payload.atoms.eq(command.other_atoms),
            self.write.payload.last.eq(1),
            self.pack.valid.eq(pack_results),
            self.pack.payload.rows.eq(command.rows),
            self.pack.payload.columns.eq(command.columns),
        ]
        with m.If(self.read.ready):
            with m.If(read_source):
                m.d.sync += read_source.eq(0)
            with m.Else():
                m.d.sync += read_other.eq(0)
        with m.If(self.write.ready):
            m.d.sync += write_results.eq(0)
        with m.If(self.pack.ready):
            m.d.sync += pack_results.eq(0)

        # The atom that comes next, by its place in the layout.
        atom = self.atoms.payload.data
        streaming, take = Signal(), Signal()
        address = Signal(checker.k_atoms_bits)
        span_base = Signal(checker.k_atoms_bits)
        beat = Signal(range(max(2, *params.turn_beats)))
        slot = Signal(params.slot_bits)
        last_address, last_scale = Signal.like(address), Signal(checker.scale_atoms_bits)
        span = Signal(range(max(2, params.spans_max + 1)))
        # Beats of a group, and spans of a sum of the dot array, are powers of two.
        narrow = command.narrow if checker.narrow is not None else Const(0)
        group = self._by_format(narrow, [address[beats.bit_length() - 1:]
                                         for beats in params.group_beats])
        last_beat = self._by_format(narrow, [Const(beats - 1) for beats in params.turn_beats])
        sum_bits = (params.sum_beats // params.span_beats).bit_length() - 1
        transposed = command.transposed if checker.transposed else Const(0)
        # By transposed weights, a strip is a block, and the strips are counted to find its scale.
        strips = max(params.strips_per_block)
        if checker.transposed:
            strips = max(strips, checker.scales_per_atom)
        strip = Signal(range(max(2, strips)))
        rows_left = Signal(checker.rows_bits)
        last_slot, strip_rows = Const(checker.rows_per_strip - 1), Const(checker.rows_per_strip)
        strips_end = strip == self._by_format(narrow, [
            Const(count - 1) for count in params.strips_per_block])
        if checker.transposed:
            block = checker.rows_per_block
            strip_rows = Mux(transposed, block, strip_rows)
            last_slot = Mux(transposed, Mux(rows_left < block, rows_left, block) - 1, last_slot)
            strips_end = Mux(transposed, strip == checker.scales_per_atom - 1, strips_end)

        row_end = address == last_address
        span_end = row_end | (beat == last_beat)
        strip_end = row_end & (slot == last_slot)
        block_end = strip_end & strips_end
        command_end = strip_end & (rows_left <= strip_rows)
        scales_end = transposed | (address == last_scale)

        # Room for results, less one: less with each row that ends, more with each that leaves. The
        # sign says that there is none; no atom is then taken, whether a row ends with it or not.
        ends_row = Signal()
        room = Signal(signed(params.result_rows.bit_length() + 1), init=params.result_rows - 1)
        weights_phase = Signal()
        m.d.comb += ends_row.eq(weights_phase & row_end & (slot < rows_left))
        m.d.sync += room.eq(room + self.released - (take & ends_row))
        held = weights_phase & room[-1]

        if checker.transposed:
            # A block of few rows must not follow so soon that its sums are not there yet.
            settle = Signal(range(params.row_distance))
            settled = settle == 0
            with m.If(take & span_end & (last_slot < params.row_distance - 1)):
                m.d.sync += settle.eq(params.row_distance - 1)
            with m.Elif(~settled):
                m.d.sync += settle.eq(settle - 1)
            held = held | transposed & ~weights_phase & ~settled
        m.d.comb += [
            take.eq(streaming & self.atoms.valid & ~held),
            self.atoms.ready.eq(streaming & ~held),
            self.atom_read.eq(take),
            self.stall_memory.eq(streaming & ~self.atoms.valid),
            self.stall_result.eq(streaming & self.atoms.valid & held),
        ]
        with m.If(take & (read_fault == ReadFault.NONE)):
            m.d.sync += read_fault.eq(self.atoms.payload.fault)
        # The results may be written before the atoms of the last strip's padding rows have come.
        with m.If(self.written.valid):
            m.d.sync += [all_written.eq(1), write_fault.eq(self.written.payload)]

        # A strip that spans several rows of scales picks by the row's number in the strip.
        weight_scale = self._by_format(narrow, [
            Cat(slot[params.slot_bits - (one.scale_rows - 1).bit_length():], group)
            for one in checker.formats])
        if checker.transposed:
            weight_scale = Mux(transposed, strip, group)

        def numbered(scale):
            """The number of a beat's scale, or of the first of those that it has."""
            if not params.scale_part_bits:
                return scale
            return Mux(narrow, scale << params.scale_part_bits, scale)

        beats = self.beats.payload
        m.d.comb += [
            beats.weights.eq(atom),
            beats.address.eq(address),
            beats.weight_scale.eq(numbered(weight_scale)),
            beats.activation_scale.eq(numbered(group)),
            *([beats.narrow.eq(narrow)] if checker.narrow is not None else []),
            beats.first.eq((beat == 0) & ~span[:sum_bits].any()),
            beats.last.eq(span_end & (row_end | span[:sum_bits].all())),
            beats.row.slot.eq(slot),
            beats.row.first.eq(~span[sum_bits:].any()),
            beats.row.last.eq(ends_row),
            self.activations.payload.atom.eq(atom),
            self.activations.payload.address.eq(address),
            self.activations.payload.column.eq(command.columns),
            self.activation_scales.payload.atom.eq(atom),
            self.activation_scales.payload.address.eq(address),
            self.activation_scales.payload.column.eq(command.columns),
            self.weight_scales.payload.atom.eq(atom),
            self.weight_scales.payload.address.eq(Mux(transposed, 0, address)),
        ]

        if zeros:
            m.d.comb += [
                self.weight_zeros.payload.atom.eq(atom),
                self.weight_zeros.payload.address.eq(address),
            ]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += [
                    command.eq(self.command.payload),
                    rows_left.eq(self.command.payload.rows),
                    last_address.eq(self.command.payload.k_atoms - 1),
                    last_scale.eq(self.command.payload.scale_atoms - 1),
                    read_fault.eq(ReadFault.NONE),
                    write_fault.eq(ReadFault.NONE),
                    all_written.eq(0),
                    strip.eq(0),
                ]
                with m.If(self.command.valid):
                    m.next = "END"
                    with m.If(self.command.payload.error == ErrorCode.NONE):
                        with m.If(self.command.payload.opcode == Opcode.LOAD):
                            m.d.sync += [read_source.eq(~self.given), read_other.eq(~self.given)]
                            m.next = "LOAD_CODES"
                        with m.Elif(self.command.payload.opcode == Opcode.GEMV):
                            m.d.sync += [
                                read_source.eq(~self.given), write_results.eq(1),
                                pack_results.eq(1)]
                            m.next = "GEMV_SCALES"

            phases = [
                ("LOAD_CODES", self.activations, row_end, "LOAD_SCALES"),
                ("LOAD_SCALES", self.activation_scales, scales_end, "END"),
                ("GEMV_SCALES", self.weight_scales, scales_end,
                 "GEMV_ZEROS" if zeros else "GEMV_WEIGHTS")]
            if zeros:
                phases.append(("GEMV_ZEROS", self.weight_zeros, address == command.zero_atoms - 1,
                               "GEMV_WEIGHTS"))
            for state, buffer, end, following in phases:
                with m.State(state):
                    m.d.comb += [streaming.eq(1), buffer.valid.eq(take)]
                    if state == "LOAD_CODES" and checker.activations_packed:
                        m.d.comb += self.packed.eq(1)
                    with m.If(take):
                        # By transposed weights, the address is that of the group.
                        m.d.sync += address.eq(
                            Mux(transposed, address, Mux(end, 0, address + 1)))
                        with m.If(end):
                            m.next = following
            with m.State("GEMV_WEIGHTS"):
                m.d.comb += [
                    streaming.eq(1), weights_phase.eq(1), self.beats.valid.eq(take)]
                if checker.weights_packed:
                    m.d.comb += self.packed.eq(1)
                with m.If(take):
                    m.d.sync += [address.eq(address + 1), beat.eq(beat + 1)]
                    with m.If(span_end):
                        m.d.sync += [beat.eq(0), slot.eq(slot + 1)]
                        with m.If(slot == last_slot):
                            m.d.sync += [slot.eq(0), span_base.eq(address + 1),
                                         span.eq(span + 1)]
                            with m.If(transposed):
                                m.next = "GEMV_SCALES"
                        with m.Else():
                            m.d.sync += address.eq(span_base)
                    with m.If(strip_end):
                        m.d.sync += [
                            address.eq(0), span_base.eq(0), span.eq(0),
                            rows_left.eq(rows_left - strip_rows),
                            strip.eq(Mux(block_end, 0, strip + 1)),
                        ]
                    with m.If(command_end):
                        m.next = "WRITE"
                    with m.Elif(block_end):
                        m.next = "GEMV_SCALES"
            with m.State("WRITE"):
                with m.If(all_written):
                    m.next = "END"

            with m.State("END"):
                m.d.comb += self.ended.valid.eq(1)
                m.next = "IDLE"
                for column in range(checker.columns):
                    with m.If((command.error == ErrorCode.NONE) & (command.columns == column)
                              & (command.opcode == Opcode.LOAD)):
                        m.d.sync += self.loaded[column].eq(
                            Mux(read_fault.any(), 0, Cat(command.k, narrow)))

        m.d.comb += [
            self.busy.eq(~fsm.ongoing("IDLE")),
            self.ended.payload.tag.eq(command.tag),
            self.ended.payload.fence.eq(
                (command.opcode == Opcode.FENCE) & (command.error == ErrorCode.NONE)),
            self.ended.payload.error.eq(fault_code(
                read_fault, fault_code(write_fault, command.error, ErrorCode.WRITE),
                ErrorCode.READ)),
        ]
        return m
