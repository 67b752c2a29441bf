"""Tensor unit: checks and executes commands on whole tensors, beside checker and sequencer."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout
from hdl.burst_splitter import region_layout, write_region_layout
from hdl.command_checker import checked_layout, command_layout
from hdl.pipeline import flow
from hdl.sequencer import ended_layout
from hdl.tensor_checker import TensorChecker, tensor_command_layout
from hdl.tensor_engine import TensorEngine
from spec.commands import ErrorCode, Opcode
from spec.memory_units import FAULT_BITS
from spec.tensor_engine import TensorEngineParams
from spec.tensors import TensorFormat
from spec.units import CommandCheckerParams

__all__ = ["TensorUnit"]


class TensorUnit(wiring.Component):
    """Gives each command to the checker that knows it, and the memory to what executes it.

    Only one command is under way at a time, and only one is checked.

    Members
    -------
    commands : stream of descriptors from the queue
    plain : stream of those for the command checker; ``checker_busy`` says that it has one
    checked, execute : streams of checked commands, from the command checker and to the sequencer
    given : the command on ``execute`` is a LOAD whose atoms come without being read
    window_base, window_limit : the window that the host opened, in bytes
    sequencer_busy, hold : a command of the sequencer, or any, is under way
    sequencer_* : streams between the sequencer (and its results, ``data``) and memory
    read, atoms, write, data, written : the same towards the memory
    ended : stream of command ends, always ready
    results : stream of results for the host
    mapped, map : the cast window; see :class:`hdl.tensor_engine.TensorEngine`
    busy : a command is checked or under way
    events : ``atom_read``, ``stall_memory`` and ``stall_result`` of tensors, for the counters
    loading : what the sequencer takes does not come from memory
    """

    def __init__(self, params: TensorEngineParams, checker: CommandCheckerParams):
        self.params, self.checker = params, checker
        memory = checker.memory
        regions, writes = (stream.Signature(layout(memory))
                           for layout in (region_layout, write_region_layout))
        atoms, data = stream.Signature(atom_layout(memory)), stream.Signature(memory.atom_bits)
        super().__init__({
            "commands": In(stream.Signature(command_layout())),
            "plain": Out(stream.Signature(command_layout())),
            "checker_busy": In(1),
            "checked": In(stream.Signature(checked_layout(checker))),
            "execute": Out(stream.Signature(checked_layout(checker))),
            "given": Out(1),
            "window_base": In(memory.address_bits + 1),
            "window_limit": In(memory.address_bits + 1),
            "sequencer_busy": In(1),
            "hold": Out(1),
            "sequencer_read": In(regions), "read": Out(regions),
            "sequencer_atoms": Out(atoms), "atoms": In(atoms),
            "sequencer_write": In(writes), "write": Out(writes),
            "sequencer_data": In(data), "data": Out(data),
            "sequencer_written": Out(flow(FAULT_BITS)), "written": In(flow(FAULT_BITS)),
            "sequencer_ended": In(flow(ended_layout())), "ended": Out(flow(ended_layout())),
            "results": Out(data),
            "mapped": Out(tensor_command_layout(params.checker)),
            "map": Out(1),
            "busy": Out(1),
            "events": Out(3),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.tensor_checker = checker = TensorChecker(self.params.checker)
        m.submodules.tensor_engine = engine = TensorEngine(self.params)
        self._commands(m, checker, engine)

        def choose(condition, first, second, target):
            """Connect one of two streams to ``target``."""
            m.d.comb += [
                target.valid.eq(Mux(condition, first.valid, second.valid)),
                target.payload.eq(Mux(condition, first.payload, second.payload)),
                first.ready.eq(target.ready & condition),
                second.ready.eq(target.ready & ~condition),
            ]

        tensor = engine.busy
        writes = engine.writing
        choose(tensor, engine.read, self.sequencer_read, self.read)
        choose(writes, engine.write, self.sequencer_write, self.write)
        choose(writes, engine.data, self.sequencer_data, self.data)
        m.d.comb += [
            engine.atoms.payload.eq(self.atoms.payload),
            engine.atoms.valid.eq(self.atoms.valid & tensor),
            self.sequencer_atoms.payload.eq(
                Mux(engine.loading, engine.loads.payload, self.atoms.payload)),
            # While the engine reads for itself, the sequencer has no command and takes nothing.
            self.sequencer_atoms.valid.eq(
                Mux(engine.loading, engine.loads.valid, self.atoms.valid)),
            engine.loads.ready.eq(engine.loading & self.sequencer_atoms.ready),
            self.atoms.ready.eq(Mux(tensor, engine.atoms.ready, self.sequencer_atoms.ready)),
            engine.written.payload.eq(self.written.payload),
            engine.written.valid.eq(self.written.valid & writes),
            self.sequencer_written.payload.eq(self.written.payload),
            self.sequencer_written.valid.eq(self.written.valid & ~writes),
            engine.loaded.eq(engine.loading & self.sequencer_ended.valid),
            self.ended.valid.eq(engine.ended.valid | self.sequencer_ended.valid),
            self.ended.payload.eq(Mux(
                engine.ended.valid, engine.ended.payload, self.sequencer_ended.payload)),
            self.results.payload.eq(engine.results.payload),
            self.results.valid.eq(engine.results.valid),
            engine.results.ready.eq(self.results.ready),
            self.mapped.eq(engine.mapped),
            self.map.eq(engine.map),
            self.loading.eq(engine.loading),
            self.events.eq(Mux(tensor, engine.events, 0)),
        ]
        return m

    def _commands(self, m, checker, engine):
        """From the queue through the checkers to what executes."""
        command, checked = self.commands.payload, checker.o
        opcodes = [opcode for opcode in self.params.checker.opcodes if opcode != Opcode.LOAD]
        tensor = Signal()
        m.d.comb += [
            tensor.eq((command.opcode == Opcode.LOAD) & (command.source_format != TensorFormat.NONE)
                      | sum((command.opcode == opcode for opcode in opcodes), Const(0, 1)).any()),
            checker.i.payload.eq(command),
            checker.i.valid.eq(self.commands.valid & tensor & ~self.checker_busy),
            self.plain.payload.eq(command),
            self.plain.valid.eq(self.commands.valid & ~tensor & ~checker.busy),
            self.commands.ready.eq(Mux(tensor, checker.i.ready & ~self.checker_busy,
                                       self.plain.ready & ~checker.busy)),
            checker.window_base.eq(self.window_base),
            checker.window_limit.eq(self.window_limit),
            self.hold.eq(self.sequencer_busy | engine.busy),
            checker.hold.eq(self.hold),
            self.busy.eq(checker.busy | self.checker_busy | self.hold),
        ]
        # LOAD, and GEMV by transposed weights, go to both: the engine gives the sequencer what it
        # would read.
        load = (checked.payload.opcode == Opcode.LOAD) & (checked.payload.error == ErrorCode.NONE)
        plain = self.checked.payload
        weights = plain.transposed & (plain.error == ErrorCode.NONE)
        execute = self.execute
        m.d.comb += execute.payload.eq(plain)
        with m.If(checked.valid):
            m.d.comb += [
                execute.valid.eq(load & engine.command.ready),
                execute.payload.opcode.eq(Opcode.LOAD),
                execute.payload.tag.eq(checked.payload.tag),
                execute.payload.error.eq(ErrorCode.NONE),
                execute.payload.columns.eq(checked.payload.columns),
                execute.payload.k.eq(checked.payload.k),
                execute.payload.k_atoms.eq(checked.payload.target_row),
                execute.payload.scale_atoms.eq(checked.payload.target_scale_row),
                execute.payload.transposed.eq(0),
                self.given.eq(1),
                engine.command.payload.eq(checked.payload),
                engine.command.valid.eq(~load | execute.ready),
                checked.ready.eq(engine.command.ready & (~load | execute.ready)),
            ]
        with m.Elif(weights):
            # Results have the rows that the weights have as columns.
            lanes = self.checker.lanes
            m.d.comb += [
                execute.valid.eq(self.checked.valid & engine.command.ready),
                execute.payload.k.eq(plain.rows),
                execute.payload.k_atoms.eq((plain.rows + lanes - 1) >> lanes.bit_length() - 1),
                execute.payload.rows.eq(plain.k),
                self.given.eq(1),
                engine.command.payload.opcode.eq(Opcode.GEMV),
                engine.command.payload.rows.eq(plain.rows),
                engine.command.payload.k.eq(plain.k),
                engine.command.payload.source.eq(plain.source),
                engine.command.payload.source_row.eq(plain.k_atoms),
                engine.command.payload.source_scale_row.eq(plain.scale_atoms),
                engine.command.valid.eq(self.checked.valid & execute.ready),
                self.checked.ready.eq(execute.ready & engine.command.ready),
            ]
        with m.Else():
            m.d.comb += [execute.valid.eq(self.checked.valid),
                         self.checked.ready.eq(execute.ready)]
