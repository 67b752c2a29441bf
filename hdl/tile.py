"""The tile: registers, sequencer, memory side, buffers and columns, wired together."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hdl.activation_buffer import ActivationBuffer
from hdl.axi4 import lite_members, read_members, subordinate_members, write_members
from hdl.axi4_reader import Axi4Reader
from hdl.axi4_writer import Axi4Writer
from hdl.cast_window import CastWindow
from hdl.column import Column
from hdl.command_checker import CommandChecker
from hdl.decoder import Decoder
from hdl.dram_port import command_members, data_members
from hdl.gearbox import Gearbox
from hdl.host_port import HostPort
from hdl.inline_ecc import InlineEcc
from hdl.memory_controller import MemoryController
from hdl.pipeline import delayed, registered
from hdl.region_reader import RegionReader
from hdl.region_writer import RegionWriter
from hdl.register_file import RegisterFile
from hdl.result_packer import ResultPacker
from hdl.scale_buffer import ScaleBuffer
from hdl.sequencer import Sequencer
from hdl.subword_decoder import SubwordDecoder
from hdl.tensor_unit import TensorUnit
from hdl.zero_subtractor import ZeroSubtractor
from spec.formats import FP32
from spec.registers import REGISTER_ADDRESS_BITS
from spec.tile import Tile as TileRecord

__all__ = ["Tile"]


def _native_members(params: TileRecord) -> dict:
    controller = params.memory_controller
    return {**command_members(controller), **data_members(controller),
            **subordinate_members(params.host_port)}


@dataclass(frozen=True)
class MemoryPort:
    """Streams towards the memory: regions to read and their atoms, regions to write, their data
    and their ends."""

    read: Any
    atoms: Any
    write: Any
    data: Any
    written: Any


class Tile(wiring.Component):
    """A processing-near-memory tile behind an AXI4-Lite port, in front of its memory.

    The golden model is :class:`golden.tile.GoldenTile`.

    :Formats: as the description says; see docs/architecture.md for the numeric contract.
    :Timing: one atom per cycle while the memory answers; a row's result enters the result queue
        ``Tile.pipeline_cycles`` cycles after its last atom. No output follows an input
        combinationally.

    Members
    -------
    s_axi_* : AXI4-Lite subordinate, the registers of :mod:`spec.registers`
    m_axi_* : AXI4 manager, the memory; where the memory is native, instead:
    dram_* : the command and data port of the pseudo-channel; see :mod:`hdl.dram_port`
    s_mem_axi_* : AXI4 subordinate, the host's port to the memory
    interrupt : level, high while an enabled event is pending
    """

    def __init__(self, params: TileRecord):
        if not isinstance(params, TileRecord):
            raise TypeError(f"Tile needs a spec.tile.Tile, not {params!r}")
        self.params = params
        super().__init__({
            **lite_members(REGISTER_ADDRESS_BITS),
            **(_native_members(params) if params.native else
               read_members(params.axi4) | write_members(params.axi4)),
            "interrupt": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.register_file = registers = RegisterFile(params.register_file)
        m.submodules.command_checker = checker = CommandChecker(params.command_checker)
        m.submodules.sequencer = sequencer = Sequencer(params.sequencer)
        m.submodules.result_packer = packer = ResultPacker(params.result_packer)
        self._connect_ports(m, registers)

        m.d.comb += [
            checker.window_base.eq(registers.window_base),
            checker.window_limit.eq(registers.window_limit),
            checker.loaded.eq(sequencer.loaded),
        ]
        counted = (sequencer.atom_read, sequencer.stall_memory, sequencer.stall_result)
        tensors = None
        if params.tensor_engine is None:
            atoms = sequencer.atoms
            if params.gearbox is not None:
                m.submodules.gearbox = gearbox = Gearbox(params.gearbox)
                m.d.comb += gearbox.packed.eq(sequencer.packed)
                wiring.connect(m, gearbox.o, sequencer.atoms)
                atoms = gearbox.i
                # An atom that is no beat yet is no stall.
                taken = atoms.valid & atoms.ready
                counted = (taken, sequencer.stall_memory & ~taken, sequencer.stall_result)
            port = MemoryPort(sequencer.read, atoms, sequencer.write, packer.o, sequencer.written)
            wiring.connect(m, registers.commands, checker.i)
            wiring.connect(m, checker.o, sequencer.command)
            wiring.connect(m, sequencer.ended, registers.ended)
            busy = checker.busy | sequencer.busy
            m.d.comb += checker.hold.eq(sequencer.busy)
        else:
            m.submodules.tensor_unit = tensors = TensorUnit(
                params.tensor_engine, params.command_checker)
            port = MemoryPort(tensors.read, tensors.atoms, tensors.write, tensors.data,
                              tensors.written)
            self._tensors(m, tensors, registers, checker, sequencer, packer)
            busy = tensors.busy
            counted = tuple(event & ~tensors.loading | tensors.events[place]
                            for place, event in enumerate(counted))

        memory = self._native_memory if params.native else self._axi4_memory
        memory(m, registers, port, tensors)
        wiring.connect(m, sequencer.pack, packer.command)
        m.d.comb += [
            sequencer.released.eq(packer.released),
            registers.busy.eq(busy),
            registers.events.eq(Cat(
                busy, counted[0], port.data.valid & port.data.ready, *counted[1:])),
        ]

        self._columns(m, sequencer, packer)
        return m

    def _tensors(self, m, tensors, registers, checker, sequencer, packer):
        """What executes commands on whole tensors, between all else and the memory."""
        for first, second in (
                (registers.commands, tensors.commands), (tensors.plain, checker.i),
                (checker.o, tensors.checked), (tensors.execute, sequencer.command),
                (sequencer.read, tensors.sequencer_read),
                (tensors.sequencer_atoms, sequencer.atoms),
                (sequencer.write, tensors.sequencer_write), (packer.o, tensors.sequencer_data),
                (tensors.sequencer_written, sequencer.written),
                (sequencer.ended, tensors.sequencer_ended), (tensors.ended, registers.ended)):
            wiring.connect(m, first, second)
        m.d.comb += [
            tensors.window_base.eq(registers.window_base),
            tensors.window_limit.eq(registers.window_limit),
            tensors.checker_busy.eq(checker.busy),
            tensors.sequencer_busy.eq(sequencer.busy),
            checker.hold.eq(tensors.hold),
            sequencer.given.eq(tensors.given),
        ]

    def _connect_ports(self, m, *units):
        """Join each bus port of the tile to the unit that has a port of that name."""
        for unit in units:
            for name, member in unit.signature.members.items():
                if name in self.signature.members:
                    inner, outer = getattr(unit, name), getattr(self, name)
                    m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)

    def _axi4_memory(self, m, registers, port, tensors):
        """An AXI4 manager."""
        m.submodules.axi4_reader = reader = Axi4Reader(self.params.axi4)
        m.submodules.axi4_writer = writer = Axi4Writer(self.params.axi4)
        self._connect_ports(m, reader, writer)
        wiring.connect(m, port.read, reader.i)
        wiring.connect(m, reader.o, port.atoms)
        wiring.connect(m, port.write, writer.i)
        wiring.connect(m, writer.done, port.written)
        wiring.connect(m, port.data, writer.data)

    def _native_memory(self, m, registers, port, tensors):
        """The controller of the pseudo-channel, which the host shares."""
        params = self.params
        m.submodules.region_reader = reader = RegionReader(params.axi4)
        m.submodules.region_writer = writer = RegionWriter(params.axi4)
        m.submodules.host_port = host = HostPort(params.host_port)
        m.submodules.memory_controller = controller = MemoryController(params.memory_controller)
        self._connect_ports(m, controller, host)
        inline = params.memory_controller.ecc_inline
        memory = self._inline_ecc(m, controller) if inline else controller
        wiring.connect(m, port.read, reader.i)
        wiring.connect(m, reader.request, memory.tile_read)
        wiring.connect(m, memory.tile_data, port.atoms)
        wiring.connect(m, port.write, writer.i)
        wiring.connect(m, port.data, writer.data)
        wiring.connect(m, writer.write, memory.tile_write)
        wiring.connect(m, memory.tile_written, writer.written)
        if params.cast_window is None:
            wiring.connect(m, host.read, memory.host_read)
            wiring.connect(m, memory.host_data, host.data)
        else:
            self._cast_window(m, host, memory, tensors)
        if params.host_port.results:
            wiring.connect(m, tensors.results, host.results)
            m.d.comb += host.producing.eq(registers.commands.valid | tensors.busy)
        wiring.connect(m, host.write, memory.host_write)
        wiring.connect(m, memory.host_written, host.written)
        wrong = memory.uncorrectable
        m.d.comb += [
            # A native write has no answer that could be a fault.
            port.written.valid.eq(writer.done.valid),
            registers.corrected.eq(memory.corrected),
            registers.uncorrectable.valid.eq(wrong.valid),
            registers.uncorrectable.payload.eq(wrong.payload << params.axi4.offset_bits),
        ]

    def _cast_window(self, m, host, memory, tensors):
        """What makes codes and scales of the BF16 that the host reads."""
        m.submodules.cast_window = window = CastWindow(self.params.cast_window)
        wiring.connect(m, host.read, window.read)
        wiring.connect(m, window.data, host.data)
        wiring.connect(m, window.memory_read, memory.host_read)
        wiring.connect(m, memory.host_data, window.memory_data)
        mapped = tensors.mapped
        m.d.comb += [
            window.mapped.eq(registered(m, tensors.map, "mapped")),
            window.window.source.eq(mapped.source),
            window.window.elements.eq(mapped.k),
            window.window.target.eq(mapped.target_format),
            window.window.rule.eq(mapped.rule),
            window.window.group.eq(mapped.group),
        ]
        for who in ("host", "tile"):
            write, written = getattr(memory, f"{who}_write"), getattr(memory, f"{who}_written")
            m.d.comb += [
                getattr(window, f"{who}_write").valid.eq(write.valid & write.ready),
                getattr(window, f"{who}_write").payload.eq(write.payload.index),
                getattr(window, f"{who}_written").valid.eq(written.valid),
            ]

    def _inline_ecc(self, m, controller):
        """What makes and checks the check bits that the controller does not see."""
        m.submodules.inline_ecc = ecc = InlineEcc(self.params.memory_controller.inline_ecc)
        for who in ("tile", "host"):
            for name in ("read", "data", "write", "written"):
                wiring.connect(m, getattr(ecc, f"memory_{who}_{name}"),
                               getattr(controller, f"{who}_{name}"))
        return ecc

    def _columns(self, m, sequencer, packer):
        """Buffers, decoders and columns, in step with the sequencer's beats."""
        params = self.params
        m.submodules.activation_buffer = buffer = ActivationBuffer(params.activation_buffer)
        m.submodules.weight_scales = weight_scales = ScaleBuffer(params.weight_scale_buffer)
        wiring.connect(m, sequencer.activations, buffer.write)
        wiring.connect(m, sequencer.weight_scales, weight_scales.write)

        beats = sequencer.beats
        beat = beats.payload
        m.d.comb += [
            buffer.i.valid.eq(beats.valid),
            buffer.i.payload.eq(beat.address),
            weight_scales.i.valid.eq(beats.valid),
            weight_scales.i.payload.eq(beat.weight_scale[params.sequencer.scale_part_bits:]),
        ]

        # Cycle 1, or where zero points come first, cycle 2: the activation codes stand beside the
        # weights that they belong to. A cycle later: factors of both, and the scales.
        cycles = params.weight_cycles
        factors, odd_factors = self._factors(m, sequencer)
        wait = cycles - params.activation_buffer.LATENCY - params.activation_decoder.LATENCY
        first = delayed(m, beat.first, cycles, "first")
        last = delayed(m, beat.last, cycles, "last")
        if params.narrow is not None:
            # With the codes, and with their factors.
            narrow = delayed(m, beat.narrow, cycles - params.activation_decoder.LATENCY, "narrow")
            factors_narrow = delayed(m, beat.narrow, cycles, "factors_narrow")
        row = delayed(m, beat.row.as_value(), cycles, "row")
        of_weights = self._scales(m, beat, "weight", weight_scales, "weight_scale")
        results = []
        for index in range(params.columns):
            m.submodules[f"activation_scales_{index}"] = scales = ScaleBuffer(
                params.activation_scale_buffer)
            m.submodules[f"column_{index}"] = column = Column(params.column)
            write = sequencer.activation_scales
            m.d.comb += [
                scales.write.valid.eq(write.valid & (write.payload.column == index)),
                scales.write.payload.atom.eq(write.payload.atom),
                scales.write.payload.address.eq(write.payload.address),
                scales.i.valid.eq(beats.valid),
                scales.i.payload.eq(beat.activation_scale[params.sequencer.scale_part_bits:]),
                column.i.payload.weights.eq(factors),
                column.i.payload.first.eq(first),
                column.i.payload.last.eq(last),
                column.i.payload.row.eq(row),
            ]
            codes = delayed(m, buffer.o.payload[index], wait, f"activations_{index}")
            valid = delayed(m, buffer.o.valid, wait, f"activations_valid_{index}")
            if params.narrow is None:
                m.submodules[f"activation_decoder_{index}"] = decoder = Decoder(
                    params.activation_decoder)
                m.d.comb += [
                    decoder.i.payload.eq(codes),
                    column.i.payload.activations.eq(decoder.o.payload),
                ]
            else:
                m.submodules[f"activation_decoder_{index}"] = decoder = SubwordDecoder(
                    params.activation_subword_decoder)
                m.d.comb += [
                    decoder.i.payload.codes.eq(codes),
                    decoder.i.payload.narrow.eq(narrow),
                    column.i.payload.activations.eq(decoder.o.payload.factors),
                    column.i.payload.odd_activations.eq(decoder.o.payload.odd),
                    column.i.payload.odd_weights.eq(odd_factors),
                    column.i.payload.narrow.eq(factors_narrow),
                ]
            m.d.comb += [decoder.i.valid.eq(valid), column.i.valid.eq(decoder.o.valid)]
            for name, scale in (*of_weights.items(), *self._scales(
                    m, beat, "activation", scales, f"activation_scale_{index}").items()):
                m.d.comb += column.i.payload[name].eq(scale)
            results.append(column.o)
        m.d.comb += [
            packer.i.valid.eq(results[0].valid),
            packer.i.payload.eq(Cat(result.payload for result in results)),
        ]

    def _factors(self, m, sequencer):
        """The weights as they are multiplied, and the odd ones of a narrow format or None."""
        params, beats = self.params, sequencer.beats
        if params.narrow is not None:
            m.submodules.weight_decoder = decoder = SubwordDecoder(params.weight_subword_decoder)
            m.d.comb += [
                decoder.i.valid.eq(registered(m, beats.valid, "weights_valid")),
                decoder.i.payload.codes.eq(registered(m, beats.payload.weights, "weights")),
                decoder.i.payload.narrow.eq(registered(m, beats.payload.narrow, "weights_narrow")),
            ]
            return decoder.o.payload.factors, decoder.o.payload.odd
        if not params.zero_points:
            m.submodules.weight_decoder = decoder = Decoder(params.weight_decoder)
            m.d.comb += [
                decoder.i.valid.eq(registered(m, beats.valid, "weights_valid")),
                decoder.i.payload.eq(registered(m, beats.payload.weights, "weights")),
            ]
            return decoder.o.payload, None
        m.submodules.weight_zeros = zeros = ScaleBuffer(params.weight_zero_buffer)
        m.submodules.zero_subtractor = subtractor = ZeroSubtractor(params.zero_subtractor)
        wiring.connect(m, sequencer.weight_zeros, zeros.write)
        m.d.comb += [
            zeros.i.valid.eq(beats.valid),
            zeros.i.payload.eq(beats.payload.weight_scale),
            subtractor.i.valid.eq(zeros.o.valid),
            subtractor.i.payload.codes.eq(
                delayed(m, beats.payload.weights, zeros.params.LATENCY, "weights")),
            subtractor.i.payload.zeros.eq(zeros.o.payload),
        ]
        return subtractor.o.payload, None

    def _scales(self, m, beat, side, buffer, name):
        """What a column takes of one side's scales, by name, in the cycle in which they come."""
        if not self.params.block_scaled:
            wait = self.params.weight_cycles - buffer.params.LATENCY
            scales = buffer.o.payload
            if self.params.sequencer.scale_part_bits:
                # The one group of a wide beat has one scale of those that are read together.
                part = delayed(m, beat[f"{side}_scale"][:self.params.sequencer.scale_part_bits],
                               buffer.params.LATENCY, f"{name}_part")
                bits = buffer.params.scale_bits
                scales = Cat(scales.word_select(part, bits), scales[bits:])
            return {f"{side}_scale": delayed(m, scales, wait, name)}
        # The scale of the tensor is in the last atom of scales that was written, and is read with
        # those of the blocks.
        tensor = Signal(FP32.bits, name=name)
        with m.If(buffer.write.valid):
            m.d.sync += tensor.eq(buffer.write.payload.atom[:FP32.bits])
        return {f"{side}_scale": delayed(m, tensor, buffer.params.LATENCY, name),
                f"{side}_block_scales": buffer.o.payload}
