"""A resolved tile: everything that follows from a description, derived once, read by all."""

import hashlib
import json
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from spec.description import Description
from spec.formats import FLOAT_FORMATS, SCALE_FORMATS, FloatFormat, ScaleFormat, next_power_of_two
from spec.units import (
    ActivationBufferParams, Axi4Params, ColumnParams, CommandCheckerParams, DecoderParams,
    DotArrayParams, Fp32AdderParams, Fp32MultiplierParams, RegisterFileParams, ResultPackerParams,
    ScaleBufferParams, SequencerParams, UnitParams,
)

__all__ = ["ROWS_MAX", "Tile"]

# Most rows of one GEMV: the width of the row counters, not of any storage.
ROWS_MAX = (1 << 24) - 1


class Tile(BaseModel):
    """One tile, resolved. Frozen; every property is derived from ``description``."""

    model_config = ConfigDict(frozen=True)

    description: Description

    @property
    def name(self) -> str:
        """The tile's name, and that of its top module."""
        return self.description.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description, in hexadecimal: the identity of the tile."""
        text = json.dumps(self.description.model_dump(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

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
        return self.description.memory.atom_bytes

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
        """The AXI4 manager."""
        memory = self.description.memory
        return Axi4Params(address_bits=memory.address_bits, atom_bits=self.atom_bits,
                          burst_atoms=memory.burst_atoms,
                          outstanding_bursts=memory.outstanding_bursts)

    @property
    def command_checker(self) -> CommandCheckerParams:
        """Checks of a command before it starts."""
        return CommandCheckerParams(
            memory=self.axi4, columns=self.columns, k_max=self.k_max, rows_max=ROWS_MAX,
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
            "skid_buffer": self.axi4.skid_buffer,
            "burst_splitter": self.axi4,
            "axi4_reader": self.axi4,
            "axi4_writer": self.axi4,
            "command_checker": self.command_checker,
            "sequencer": self.sequencer,
            "register_file": self.register_file,
        }
