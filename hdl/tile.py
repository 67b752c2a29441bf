"""The tile: registers, sequencer, memory manager, buffers and columns, wired together."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hdl.activation_buffer import ActivationBuffer
from hdl.axi4 import lite_members, read_members, write_members
from hdl.axi4_reader import Axi4Reader
from hdl.axi4_writer import Axi4Writer
from hdl.column import Column
from hdl.command_checker import CommandChecker
from hdl.decoder import Decoder
from hdl.pipeline import delayed, registered
from hdl.register_file import RegisterFile
from hdl.result_packer import ResultPacker
from hdl.scale_buffer import ScaleBuffer
from hdl.sequencer import Sequencer
from spec.registers import REGISTER_ADDRESS_BITS
from spec.tile import Tile as TileRecord

__all__ = ["Tile"]


class Tile(wiring.Component):
    """A processing-near-memory tile behind an AXI4-Lite port, in front of an AXI4 memory.

    The golden model is :class:`golden.tile.GoldenTile`.

    :Formats: as the description says; see docs/architecture.md for the numeric contract.
    :Timing: one atom per cycle while the memory answers; a row's result enters the result queue
        ``Tile.pipeline_cycles`` cycles after its last atom. No output follows an input
        combinationally.

    Members
    -------
    s_axi_* : AXI4-Lite subordinate, the registers of :mod:`spec.registers`
    m_axi_* : AXI4 manager, the memory
    interrupt : level, high while an enabled event is pending
    """

    def __init__(self, params: TileRecord):
        if not isinstance(params, TileRecord):
            raise TypeError(f"Tile needs a spec.tile.Tile, not {params!r}")
        self.params = params
        super().__init__({
            **lite_members(REGISTER_ADDRESS_BITS),
            **read_members(params.axi4),
            **write_members(params.axi4),
            "interrupt": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.register_file = registers = RegisterFile(params.register_file)
        m.submodules.command_checker = checker = CommandChecker(params.command_checker)
        m.submodules.sequencer = sequencer = Sequencer(params.sequencer)
        m.submodules.axi4_reader = reader = Axi4Reader(params.axi4)
        m.submodules.axi4_writer = writer = Axi4Writer(params.axi4)
        m.submodules.result_packer = packer = ResultPacker(params.result_packer)
        self._connect_ports(m, registers, reader, writer)

        # Commands.
        wiring.connect(m, registers.commands, checker.i)
        wiring.connect(m, checker.o, sequencer.command)
        wiring.connect(m, sequencer.ended, registers.ended)
        m.d.comb += [
            checker.window_base.eq(registers.window_base),
            checker.window_limit.eq(registers.window_limit),
            checker.loaded.eq(sequencer.loaded),
            checker.hold.eq(sequencer.busy),
        ]

        # Memory.
        wiring.connect(m, sequencer.read, reader.i)
        wiring.connect(m, reader.o, sequencer.atoms)
        wiring.connect(m, sequencer.write, writer.i)
        wiring.connect(m, writer.done, sequencer.written)
        wiring.connect(m, packer.o, writer.data)
        wiring.connect(m, sequencer.pack, packer.command)
        busy = checker.busy | sequencer.busy
        m.d.comb += [
            sequencer.released.eq(packer.released),
            registers.busy.eq(busy),
            registers.events.eq(Cat(
                busy, sequencer.atom_read, packer.o.valid & packer.o.ready,
                sequencer.stall_memory, sequencer.stall_result)),
        ]

        self._columns(m, sequencer, packer)
        return m

    def _connect_ports(self, m, registers, reader, writer):
        """Join each bus port of the tile to the unit that has a port of that name."""
        for unit in (registers, reader, writer):
            for name, member in unit.signature.members.items():
                if name in self.signature.members:
                    inner, outer = getattr(unit, name), getattr(self, name)
                    m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)

    def _columns(self, m, sequencer, packer):
        """Buffers, decoders and columns, in step with the sequencer's beats."""
        params = self.params
        m.submodules.activation_buffer = buffer = ActivationBuffer(params.activation_buffer)
        m.submodules.weight_scales = weight_scales = ScaleBuffer(params.weight_scale_buffer)
        m.submodules.weight_decoder = weight_decoder = Decoder(params.weight_decoder)
        wiring.connect(m, sequencer.activations, buffer.write)
        wiring.connect(m, sequencer.weight_scales, weight_scales.write)

        # Cycle 1: the activation codes stand beside the weights that they belong to.
        beats = sequencer.beats
        beat = beats.payload
        valid_1 = registered(m, beats.valid, "valid_1")
        weights_1 = registered(m, beat.weights, "weights_1")
        m.d.comb += [
            buffer.i.valid.eq(beats.valid),
            buffer.i.payload.eq(beat.address),
            weight_scales.i.valid.eq(beats.valid),
            weight_scales.i.payload.eq(beat.weight_scale),
            weight_decoder.i.valid.eq(valid_1),
            weight_decoder.i.payload.eq(weights_1),
        ]

        # Cycle 2: decoded weights and activations, and the scales.
        assert params.weight_scale_buffer.LATENCY == (
            params.activation_buffer.LATENCY + params.weight_decoder.LATENCY)
        first = delayed(m, beat.first, 2, "first")
        last = delayed(m, beat.last, 2, "last")
        row = delayed(m, beat.row.as_value(), 2, "row")
        results = []
        for index in range(params.columns):
            m.submodules[f"activation_scales_{index}"] = scales = ScaleBuffer(
                params.activation_scale_buffer)
            m.submodules[f"activation_decoder_{index}"] = decoder = Decoder(
                params.activation_decoder)
            m.submodules[f"column_{index}"] = column = Column(params.column)
            write = sequencer.activation_scales
            m.d.comb += [
                scales.write.valid.eq(write.valid & (write.payload.column == index)),
                scales.write.payload.atom.eq(write.payload.atom),
                scales.write.payload.address.eq(write.payload.address),
                scales.i.valid.eq(beats.valid),
                scales.i.payload.eq(beat.activation_scale),
                decoder.i.valid.eq(buffer.o.valid),
                decoder.i.payload.eq(buffer.o.payload[index]),
                column.i.valid.eq(decoder.o.valid),
                column.i.payload.weights.eq(weight_decoder.o.payload),
                column.i.payload.activations.eq(decoder.o.payload),
                column.i.payload.weight_scale.eq(weight_scales.o.payload),
                column.i.payload.activation_scale.eq(scales.o.payload),
                column.i.payload.first.eq(first),
                column.i.payload.last.eq(last),
                column.i.payload.row.eq(row),
            ]
            results.append(column.o)
        m.d.comb += [
            packer.i.valid.eq(results[0].valid),
            packer.i.payload.eq(Cat(result.payload for result in results)),
        ]
