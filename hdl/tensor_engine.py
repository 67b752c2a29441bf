"""Tensor engine: executes checked commands on whole tensors, one after the other."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout
from hdl.burst_splitter import region_layout, write_region_layout
from hdl.pipeline import flow, registered
from hdl.region_joiner import RegionJoiner
from hdl.sequencer import ended_layout, fault_code
from hdl.skid_buffer import SkidBuffer
from hdl.tensor_beats import TensorBeats
from hdl.tensor_checker import tensor_command_layout
from hdl.tensor_path import TensorPath
from hdl.tensor_reads import TensorReads, by_width, span_layout
from hdl.tensor_writes import TensorWrites
from spec.commands import ErrorCode, Opcode
from spec.memory_units import FAULT_BITS, ReadFault
from spec.tensor_engine import TensorEngineParams
from spec.units import SkidBufferParams

__all__ = ["TensorEngine"]


class TensorEngine(wiring.Component):
    """Reads a tensor, sends it through the units that the command needs, and places the results.

    :Timing: one atom per cycle is read while the memory answers and the results are taken, as far
        as the command makes no more results than it reads.
    :Errors: the first atom with a fault, or else a fault of the writer, is reported when the
        command ends; the command runs to its end, and its results are invalid.

    Members
    -------
    command : stream of checked commands
    read : stream of regions
    atoms : stream of atoms read
    write : stream of regions for results
    data : stream of results for memory
    results : stream of results for the host
    written : stream of the writer's ends, a :class:`spec.memory_units.ReadFault` each
    loads : stream of atoms for the sequencer, in place of what it would read; only while
        ``loading``. Of LOAD the codes and then the scales; of GEMV by transposed weights, of each
        block, along the rows of the stored weights first, an atom with its scale and then its
        codes, transposed
    loading : such a command is under way; the sequencer ends it, which ``loaded`` tells
    writing : another command that reads is under way
    mapped : the cast window as the last MAP left it, and ``map`` in the cycle of another
    ended : stream of command ends, always ready; not those that the sequencer ends
    busy : a command is under way
    events : ``atom_read``, ``stall_memory`` and ``stall_result``, for the counters
    """

    def __init__(self, params: TensorEngineParams):
        if not isinstance(params, TensorEngineParams):
            raise TypeError(f"TensorEngine needs TensorEngineParams, not {params!r}")
        self.params = params
        checker = params.checker
        memory = checker.memory
        super().__init__({
            "command": In(stream.Signature(tensor_command_layout(checker))),
            "read": Out(stream.Signature(region_layout(memory))),
            "atoms": In(stream.Signature(atom_layout(memory))),
            "write": Out(stream.Signature(write_region_layout(memory))),
            "data": Out(stream.Signature(memory.atom_bits)),
            "results": Out(stream.Signature(memory.atom_bits)),
            "written": In(flow(FAULT_BITS)),
            "loads": Out(stream.Signature(atom_layout(memory))),
            "loading": Out(1),
            "writing": Out(1),
            "loaded": In(1),
            "mapped": Out(tensor_command_layout(checker)),
            "map": Out(1),
            "ended": Out(flow(ended_layout())),
            "busy": Out(1),
            "events": Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        memory = params.checker.memory
        command = Signal(tensor_command_layout(params.checker))
        start, running, take = Signal(), Signal(), Signal()
        read_fault, write_fault = Signal(FAULT_BITS), Signal(FAULT_BITS)

        # What is read: regions for the memory, and in the same order what they are.
        m.submodules.reads = reads = TensorReads(params)
        m.submodules.joiner = joiner = RegionJoiner(memory, params.JOINED_ATOMS)
        layout = span_layout(params)
        m.submodules.spans = spans = SyncFIFOBuffered(width=layout.size, depth=params.SPANS)
        m.submodules.beats = beats = TensorBeats(params)
        m.submodules.path = path = TensorPath(params)
        wiring.connect(m, reads.regions, joiner.i)
        wiring.connect(m, joiner.o, wiring.flipped(self.read))
        # Whether the path is ready is not to reach the memory side in the same cycle.
        m.submodules.ready = ready = SkidBuffer(
            SkidBufferParams(bits=beats.o.payload.shape().size))
        m.d.comb += [
            ready.i.valid.eq(beats.o.valid),
            ready.i.payload.eq(beats.o.payload.as_value()),
            beats.o.ready.eq(ready.i.ready),
            path.i.valid.eq(ready.o.valid),
            path.i.payload.as_value().eq(ready.o.payload),
            ready.o.ready.eq(path.i.ready),
        ]
        if params.transposer:
            wiring.connect(m, reads.blocks, path.blocks)
        m.d.comb += [
            reads.command.eq(command), path.command.eq(command),
            reads.start.eq(start), path.start.eq(start),
            beats.lanes.eq(by_width(command.source_format, *(
                memory.atom_bits // bits for bits in (8, 16, 32)))),
            spans.w_data.eq(reads.spans.payload),
            spans.w_en.eq(reads.spans.valid),
            reads.spans.ready.eq(spans.w_rdy),
            beats.spans.payload.eq(data.View(layout, spans.r_data)),
            beats.spans.valid.eq(spans.r_rdy),
            spans.r_en.eq(beats.spans.ready),
            beats.atoms.payload.eq(self.atoms.payload.data),
            beats.atoms.valid.eq(self.atoms.valid & running),
            self.atoms.ready.eq(beats.atoms.ready & running),
            take.eq(beats.atoms.valid & beats.atoms.ready),
            self.events.eq(Cat(take, spans.r_rdy & running & ~self.atoms.valid,
                               beats.atoms.valid & ~take)),
        ]
        with m.If(take & (read_fault == ReadFault.NONE)):
            m.d.sync += read_fault.eq(self.atoms.payload.fault)

        # Where the results go: into the buffers, to the host, to memory. These flags choose among
        # whole atoms, and so come from flops; they are not yet right when a command starts.
        loads = (command.opcode == Opcode.LOAD) | (command.opcode == Opcode.GEMV)
        to_load = registered(m, loads, "to_load")
        to_host = registered(m, command.to_host, "to_host")
        m.submodules.writes = writes = TensorWrites(params)
        m.submodules.skid = skid = SkidBuffer(SkidBufferParams(bits=memory.atom_bits))
        wiring.connect(m, path.o, skid.i)
        host_done = self._host_results(m, writes, skid, to_host)
        m.d.comb += [
            writes.command.eq(command),
            self.write.payload.eq(writes.o.payload),
            self.write.valid.eq(writes.o.valid & ~to_host),
            self.data.payload.eq(skid.o.payload),
            self.data.valid.eq(skid.o.valid & ~to_load & ~to_host),
            self.loads.payload.data.eq(skid.o.payload),
            self.loads.payload.fault.eq(read_fault),
            self.loads.valid.eq(skid.o.valid),
            self.results.payload.eq(skid.o.payload),
        ]
        with m.If(to_load):
            m.d.comb += skid.o.ready.eq(self.loads.ready)
        with m.Elif(~to_host):
            m.d.comb += [skid.o.ready.eq(self.data.ready), writes.o.ready.eq(self.write.ready)]

        finished = Signal()
        m.d.comb += finished.eq(self.written.valid | host_done)
        with m.If(running & self.written.valid):
            m.d.sync += write_fault.eq(self.written.payload)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += [command.eq(self.command.payload), read_fault.eq(ReadFault.NONE),
                             write_fault.eq(ReadFault.NONE), self.busy.eq(self.command.valid)]
                with m.If(self.command.valid):
                    m.next = "START"
                    with m.If((self.command.payload.error != ErrorCode.NONE)
                              | (self.command.payload.opcode == Opcode.MAP)):
                        m.next = "END"
            with m.State("START"):
                m.d.comb += [start.eq(1), writes.start.eq(~loads)]
                m.d.sync += [running.eq(1), self.loading.eq(loads), self.writing.eq(~loads)]
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(finished | self.loaded):
                    m.d.sync += [running.eq(0), self.loading.eq(0), self.writing.eq(0)]
                with m.If(finished):
                    m.next = "END"
                with m.If(self.loaded):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
            with m.State("END"):
                m.d.comb += [
                    self.ended.valid.eq(1),
                    self.map.eq((command.opcode == Opcode.MAP)
                                & (command.error == ErrorCode.NONE))]
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        with m.If(self.map):
            m.d.sync += self.mapped.eq(command)
        m.d.comb += [
            self.ended.payload.tag.eq(command.tag),
            self.ended.payload.error.eq(fault_code(
                read_fault, fault_code(write_fault, command.error, ErrorCode.WRITE),
                ErrorCode.READ)),
        ]
        return m

    def _host_results(self, m, writes, skid, to_host):
        """Let the atoms of each region pass to the host; return whether those of the last have."""
        if not self.params.checker.host:
            return Const(0, 1)
        # Regions are taken ahead of their atoms, while few of those are left.
        left, last = Signal(self.params.checker.memory.count_bits), Signal()
        passes = left != 0
        take, give, done = Signal(), Signal(), Signal()
        with m.If(to_host):
            m.d.comb += [
                self.results.valid.eq(skid.o.valid & passes),
                skid.o.ready.eq(self.results.ready & passes),
                writes.o.ready.eq(left < 4),
                take.eq(writes.o.valid & writes.o.ready),
                give.eq(self.results.valid & self.results.ready),
                done.eq(give & last & (left == 1)),
            ]
        m.d.sync += left.eq(left + Mux(take, writes.o.payload.atoms, 0) - give)
        with m.If(take):
            m.d.sync += last.eq(writes.o.payload.last)
        return done
