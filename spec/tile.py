"""A resolved tile: everything that follows from a description, derived once, read by all."""

import hashlib
import json
from functools import cached_property

from pydantic import BaseModel, ConfigDict, model_validator

from spec.description import Axi4Memory, Description, NativeMemory, resolved
from spec.formats import FLOAT_FORMATS, SCALE_FORMATS, FloatFormat, ScaleFormat, next_power_of_two
from spec.grade import Grade
from spec.memory_units import HostPortParams, MemoryControllerParams
from spec.units import (
    ActivationBufferParams, Axi4Params, ColumnParams, CommandCheckerParams, DecoderParams,
    DotArrayParams, Fp32AdderParams, Fp32MultiplierParams, RegisterFileParams, ResultPackerParams,
    ScaleBufferParams, SequencerParams, UnitParams,
)

__all__ = ["ROWS_MAX", "Tile"]

# Most rows of one GEMV: the width of the row counters, not of any storage.
ROWS_MAX = (1 << 24) - 1

# Width of the addresses at the host port: wide enough for any place in a SoC's address space.
_HOST_ADDRESS_BITS = 40


class Tile(BaseModel):
    """One tile, resolved. Frozen; every property is derived from ``description`` and ``grade``.

    ``grade`` is the grade of a native memory, and None for an AXI4 one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Description
    grade: Grade | None = None

    @model_validator(mode="after")
    def _has_the_grade_it_needs(self) -> "Tile":
        interface = self.description.memory.interface
        if self.native != (self.grade is not None):
            raise ValueError(
                f"a tile with memory.interface = {interface!r} needs "
                + ("a grade: Tile(description=..., grade=load_grade(...)); spec.load.load_tile "
                   "reads both" if self.native else "no grade"))
        return self

    @property
    def name(self) -> str:
        """The tile's name, and that of its top module."""
        return self.description.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the tile is made from, in hexadecimal: the identity of the tile.

        That is the resolved description, with the values of the grade in the place of its name.
        """
        values = resolved(self.description, self.grade).model_dump()
        if self.grade is not None:
            values["memory"]["grade"] = self.grade.model_dump(
                exclude={"source", "sources", "notes"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    # Memory and clock

    @property
    def native(self) -> bool:
        """Whether the tile controls its pseudo-channel itself."""
        return isinstance(self.description.memory, NativeMemory)

    @property
    def clock_mhz(self) -> float:
        """Clock target in MHz."""
        mhz = resolved(self.description, self.grade).clock.target_mhz
        assert mhz is not None
        return mhz

    @property
    def address_bits(self) -> int:
        """Width of a byte address within the memory."""
        if self.grade is not None:
            return (self.grade.capacity_bytes - 1).bit_length()
        memory = self.description.memory
        assert isinstance(memory, Axi4Memory)
        return memory.address_bits

    @property
    def memory_bytes(self) -> int:
        """Bytes that commands and the host may use, from address 0; not those of check bits."""
        if self.native:
            return self.memory_controller.memory_atoms * self.atom_bytes
        return 1 << self.address_bits

    # Formats

    @property
    def weight_format(self) -> FloatFormat:
        """Format of the weights."""
        return FLOAT_FORMATS[self.description.compute.weights]

    @property
    def activation_format(self) -> FloatFormat:
        """Format of the activations."""
        return FLOAT_FORMATS[self.description.compute.activations]

    @property
    def result_format(self) -> FloatFormat:
        """Format of the results in memory."""
        return FLOAT_FORMATS[self.description.compute.result]

    @property
    def scale_format(self) -> ScaleFormat:
        """Format of the group scales."""
        return SCALE_FORMATS[self.description.scaling.format]

    # Geometry

    @property
    def columns(self) -> int:
        """Activation vectors that share one pass over the weights."""
        return self.description.compute.columns

    @property
    def atom_bytes(self) -> int:
        """Bytes of one access."""
        if self.grade is not None:
            return self.grade.atom_bytes
        memory = self.description.memory
        assert isinstance(memory, Axi4Memory)
        return memory.atom_bytes

    @property
    def atom_bits(self) -> int:
        """Bits of one access."""
        return self.atom_bytes * 8

    @property
    def lanes(self) -> int:
        """Weights in one atom, and multipliers in one column."""
        return self.atom_bits // self.weight_format.bits

    @property
    def group(self) -> int:
        """Elements along K that share a scale."""
        return self.description.scaling.group

    @property
    def group_beats(self) -> int:
        """Atoms of one full group."""
        return self.group // self.lanes

    @property
    def k_max(self) -> int:
        """Longest activation vector."""
        return self.description.compute.k_max

    @property
    def rows_per_strip(self) -> int:
        """Rows that are interleaved group by group, a power of two.

        Two groups of the strip's last row are ``rows_per_strip`` beats apart when the second is a
        tail of one atom; that distance must cover the latency of the accumulation.
        """
        return next_power_of_two(Fp32AdderParams.LATENCY)

    @property
    def rows_per_block(self) -> int:
        """Rows whose weight scales stand together in front of their weights."""
        return max(self.description.scaling.weight_rows, self.rows_per_strip)

    @property
    def scale_rows(self) -> int:
        """Rows of weight scales in one block (1 unless a strip spans several)."""
        return self.rows_per_block // self.description.scaling.weight_rows

    # Layouts in memory, in atoms

    def k_atoms(self, k: int) -> int:
        """Atoms of one row of weights, or of one activation vector, of ``k`` elements."""
        return -(-k // self.lanes)

    def groups(self, k: int) -> int:
        """Groups of a row of ``k`` elements; the last may be shorter."""
        return -(-k // self.group)

    def padded_rows(self, rows: int) -> int:
        """Rows as stored: whole strips."""
        return -(-rows // self.rows_per_strip) * self.rows_per_strip

    def blocks(self, rows: int) -> int:
        """Blocks of ``rows`` rows; the last may hold fewer strips."""
        return -(-rows // self.rows_per_block)

    def activation_scale_atoms(self, k: int) -> int:
        """Atoms of the scales of one activation vector."""
        return -(-self.groups(k) * self.scale_format.bits // self.atom_bits)

    def weight_scale_atoms(self, k: int) -> int:
        """Atoms of the weight scales in front of one block."""
        return -(-self.groups(k) * self.scale_rows * self.scale_format.bits // self.atom_bits)

    def weight_stream_atoms(self, rows: int, k: int) -> int:
        """Atoms of a whole weight stream: scales and codes, in the order in which they are read."""
        return (self.padded_rows(rows) * self.k_atoms(k)
                + self.blocks(rows) * self.weight_scale_atoms(k))

    def result_atoms(self, rows: int) -> int:
        """Atoms of the results of ``rows`` rows."""
        return -(-rows // self.result_packer.rows_per_atom)

    # Unit records

    @property
    def weight_decoder(self) -> DecoderParams:
        """Decoder of the weights."""
        return DecoderParams(format=self.weight_format.name, lanes=self.lanes)

    @property
    def activation_decoder(self) -> DecoderParams:
        """Decoder of one column's activations."""
        return DecoderParams(format=self.activation_format.name, lanes=self.lanes)

    @property
    def dot_array(self) -> DotArrayParams:
        """Dot array of one column."""
        return DotArrayParams(weights=self.weight_format.name,
                              activations=self.activation_format.name,
                              lanes=self.lanes, group_beats=self.group_beats)

    @property
    def column(self) -> ColumnParams:
        """One column: all that an activation vector has of its own."""
        return ColumnParams(dot_array=self.dot_array, scale_format=self.scale_format.name,
                            rows=self.rows_per_strip)

    @property
    def activation_buffer(self) -> ActivationBufferParams:
        """Buffer of the activation codes."""
        return ActivationBufferParams(atom_bits=self.atom_bits, columns=self.columns,
                                      depth=max(2, self.k_atoms(self.k_max)))

    @property
    def activation_scale_buffer(self) -> ScaleBufferParams:
        """Buffer of one column's activation scales."""
        return ScaleBufferParams(atom_bits=self.atom_bits, scale_format=self.scale_format.name,
                                 scales=self.groups(self.k_max))

    @property
    def weight_scale_buffer(self) -> ScaleBufferParams:
        """Buffer of one block's weight scales."""
        return ScaleBufferParams(atom_bits=self.atom_bits, scale_format=self.scale_format.name,
                                 scales=self.groups(self.k_max) * self.scale_rows)

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from an atom of weights leaving the sequencer to its row's result."""
        return (self.activation_buffer.LATENCY + self.weight_decoder.LATENCY
                + self.column.LATENCY)

    @property
    def result_packer(self) -> ResultPackerParams:
        """Packer of the results; deep enough that one row per cycle never waits for a credit."""
        return ResultPackerParams(atom_bits=self.atom_bits, columns=self.columns,
                                  result=self.result_format.name,
                                  depth=next_power_of_two(self.pipeline_cycles + 8),
                                  rows_bits=ROWS_MAX.bit_length())

    @property
    def axi4(self) -> Axi4Params:
        """The AXI4 manager; of a native memory, which has no bursts, the addresses and atoms."""
        memory = self.description.memory
        bursts = memory if isinstance(memory, Axi4Memory) else Axi4Memory()
        return Axi4Params(address_bits=self.address_bits, atom_bits=self.atom_bits,
                          burst_atoms=bursts.burst_atoms,
                          outstanding_bursts=bursts.outstanding_bursts)

    @property
    def memory_controller(self) -> MemoryControllerParams:
        """The controller of the pseudo-channel; ``ValueError`` for an AXI4 memory."""
        memory, grade = resolved(self.description, self.grade).memory, self.grade
        if not isinstance(memory, NativeMemory) or grade is None:
            raise ValueError(f"the tile {self.name} has memory.interface = {memory.interface!r}; "
                             "only a native memory has a controller")
        assert memory.refresh is not None
        return MemoryControllerParams(grade=grade, refresh=memory.refresh,
                                      host_share=memory.host_share, ecc=memory.ecc,
                                      phy_cycles=memory.phy_cycles)

    @property
    def host_port(self) -> HostPortParams:
        """The host's port to a native memory; ``ValueError`` for an AXI4 memory."""
        controller = self.memory_controller
        return HostPortParams(address_bits=max(_HOST_ADDRESS_BITS, self.address_bits),
                              atom_bits=self.atom_bits,
                              memory_atoms=controller.memory_atoms,
                              ecc=controller.ecc)

    @property
    def command_checker(self) -> CommandCheckerParams:
        """Checks of a command before it starts."""
        return CommandCheckerParams(
            memory=self.axi4, memory_atoms=self.memory_bytes // self.atom_bytes,
            columns=self.columns, k_max=self.k_max, rows_max=ROWS_MAX,
            lanes=self.lanes, group=self.group, rows_per_strip=self.rows_per_strip,
            rows_per_block=self.rows_per_block, scale_rows=self.scale_rows,
            scales_per_atom=self.atom_bits // self.scale_format.bits,
            rows_per_result_atom=self.result_packer.rows_per_atom)

    @property
    def sequencer(self) -> SequencerParams:
        """Command execution."""
        return SequencerParams(
            checker=self.command_checker, activation_buffer=self.activation_buffer,
            weight_scale_buffer=self.weight_scale_buffer,
            activation_scale_buffer=self.activation_scale_buffer,
            result_rows=self.result_packer.depth)

    @property
    def register_file(self) -> RegisterFileParams:
        """The AXI4-Lite registers; the identity is the first 32 bits of the digest."""
        return RegisterFileParams(address_bits=self.axi4.address_bits,
                                  queue_depth=self.description.host.queue_depth,
                                  identity=int(self.digest[:8], 16))

    @property
    def units(self) -> dict[str, UnitParams]:
        """Every unit of the tile that stands alone, by name (``a`` of the unit ``b``: ``a.b``)."""
        return {
            "decoder": self.weight_decoder,
            "dot_array": self.dot_array,
            "fp32_rounder": self.column.fp32_rounder,
            "fp32_multiplier": Fp32MultiplierParams(),
            "fp32_adder": Fp32AdderParams(),
            "scale_combiner": self.column.scale_combiner,
            "group_scaler": self.column.group_scaler,
            "row_accumulator": self.column.row_accumulator,
            "column": self.column,
            "activation_buffer": self.activation_buffer,
            "scale_buffer": self.weight_scale_buffer,
            "result_packer": self.result_packer,
            **(self._native_units if self.native else self._axi4_units),
            "command_checker": self.command_checker,
            "sequencer": self.sequencer,
            "register_file": self.register_file,
        }

    @property
    def _axi4_units(self) -> dict[str, UnitParams]:
        """The units between the tile and an AXI4 memory."""
        return {
            "skid_buffer": self.axi4.skid_buffer,
            "burst_splitter": self.axi4,
            "axi4_reader": self.axi4,
            "axi4_writer": self.axi4,
        }

    @property
    def _native_units(self) -> dict[str, UnitParams]:
        """The units between the tile and the pins of a pseudo-channel."""
        controller = self.memory_controller
        return {
            **({"secded_encoder": controller.secded} if controller.ecc_bits else {}),
            **({"secded_decoder": controller.secded} if controller.ecc == "secded" else {}),
            "reorder_buffer": controller.reorder_buffer(controller.tile_reads),
            "bank_queues": controller.read_queues,
            "memory_controller": controller,
            **({"inline_ecc": controller.inline_ecc} if controller.ecc_inline else {}),
            "region_reader": self.axi4,
            "region_writer": self.axi4,
            "host_port": self.host_port,
        }
