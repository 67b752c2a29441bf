"""A resolved tile: everything that follows from a description, derived once, read by all."""

import hashlib
import json
from functools import cached_property

from spec.arithmetic import (
    DecoderParams, Fp32MultiplierParams, SubwordDecoderParams, ZeroSubtractorParams,
)
from spec.column import ColumnParams
from spec.description import resolved, single_formats
from spec.dot_arrays import (
    AlignedDotArrayParams, AnyDotArrayParams, BlockDotArrayParams, DotArrayParams,
    SubwordDotArrayParams,
)
from spec.formats import next_power_of_two, packed
from spec.memory_units import HostPortParams
from spec.tile_geometry import ROWS_MAX
from spec.tile_tensors import TensorTile
from spec.units import (
    ActivationBufferParams, CommandCheckerParams, GearboxParams, RegisterFileParams,
    ResultPackerParams, ScaleBufferParams, SequencerParams, UnitParams,
)

__all__ = ["ROWS_MAX", "Tile"]

# Width of the addresses at the host port, with those that choose the aperture: wide enough for any
# place in a SoC's address space.
_HOST_ADDRESS_BITS = 40


class Tile(TensorTile):
    """One tile, resolved. Frozen; every property is derived from ``description`` and ``grade``.

    ``grade`` is the grade of a native memory, and None for an AXI4 one.
    """

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the tile is made from, in hexadecimal: the identity of the tile.

        That is the resolved description, with the values of the grade in the place of its name.
        """
        values = resolved(self.description, self.grade).model_dump(exclude_none=True)
        if self.grade is not None:
            values["memory"]["grade"] = self.grade.model_dump(
                exclude={"source", "sources", "notes"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def formats(self) -> tuple["Tile", ...]:
        """The tile as it is with each of its pairs of formats alone, in the order of the
        description: what a command that names one computes, and how its operands lie in memory;
        itself, if there is one pair. All else here is of the first, or of the hardware, which they
        share."""
        if len(self.description.compute.pairs) == 1:
            return (self,)
        return tuple(Tile(description=description, grade=self.grade)
                     for description in single_formats(self.description))

    @property
    def narrow(self) -> "Tile | None":
        """The tile with its second pair of formats, None where it has one."""
        return self.formats[1] if len(self.formats) > 1 else None

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
    def weight_subword_decoder(self) -> SubwordDecoderParams | None:
        """Decoder of weights of two formats, None where they have one."""
        if self.narrow is None:
            return None
        return SubwordDecoderParams(wide=self.weight_format.name, lanes=self.lanes,
                                    narrow=self.narrow.weight_format.name)

    @property
    def activation_subword_decoder(self) -> SubwordDecoderParams | None:
        """Decoder of one column's activations of two formats, None where they have one."""
        if self.narrow is None:
            return None
        return SubwordDecoderParams(wide=self.activation_format.name, lanes=self.lanes,
                                    narrow=self.narrow.activation_format.name)

    @property
    def dot_array(self) -> AnyDotArrayParams:
        """Dot array of one column, or of one of the groups of a beat."""
        dot = self.dot_array_of(self.rows_per_strip)
        if self.narrow is None:
            return dot
        narrow = self.narrow.dot_array
        assert isinstance(narrow, DotArrayParams)
        return SubwordDotArrayParams(**dot.model_dump(), narrow=narrow)

    @property
    def column(self) -> ColumnParams:
        """One column: all that an activation vector has of its own."""
        return ColumnParams(dot_array=self.dot_array,
                            scale_format="fp32" if self.block_scaled else self.scale_format.name,
                            groups_per_beat=1 if self.block_scaled else self._groups_per_read,
                            sums_per_group=max(1, self.group // self.sum_elements),
                            fp32=self.fp32_adder.fp32,
                            rows=(self.rows_per_block if self.transposed_gemv
                                  else self.rows_per_strip))

    @property
    def activation_buffer(self) -> ActivationBufferParams:
        """Buffer of the activation codes."""
        beat_bits = self.lanes * self.activation_format.bits
        return ActivationBufferParams(atom_bits=beat_bits // self.activation_atoms_per_beat,
                                      columns=self.columns,
                                      depth=max(2, self.k_atoms(self.k_max)),
                                      atoms_per_beat=self.activation_atoms_per_beat)

    @property
    def activation_scale_buffer(self) -> ScaleBufferParams:
        """Buffer of one column's activation scales."""
        return self._scale_buffer(max(tile.stored_groups(self.k_max) for tile in self.formats))

    @property
    def weight_scale_buffer(self) -> ScaleBufferParams:
        """Buffer of one block's weight scales."""
        return self._scale_buffer(max(tile.stored_groups(self.k_max) * tile.scale_rows
                                      for tile in self.formats))

    @property
    def weight_zero_buffer(self) -> ScaleBufferParams | None:
        """Buffer of one block's zero points, None where weights have none."""
        if not self.zero_points:
            return None
        return ScaleBufferParams(
            atom_bits=self.atom_bits, scale_bits=self.weight_format.bits,
            scales=self.stored_groups(self.k_max) * self.scale_rows,
            scales_per_read=self.groups_per_beat)

    @property
    def zero_subtractor(self) -> ZeroSubtractorParams:
        """What takes zero points away from weights."""
        return ZeroSubtractorParams(bits=self.weight_format.bits, lanes=self.lanes,
                                    groups=self.groups_per_beat)

    @property
    def weight_cycles(self) -> int:
        """Cycles from an atom of weights leaving the sequencer to its factors: they wait for their
        scales, and for their zero points before."""
        return self.weight_scale_buffer.LATENCY + (
            self.zero_subtractor.LATENCY if self.zero_points else 0)

    @property
    def _groups_per_read(self) -> int:
        """Groups of one beat of any format."""
        return max(tile.groups_per_beat for tile in self.formats)

    def _scale_buffer(self, scales: int) -> ScaleBufferParams:
        """A buffer of ``scales`` scales, and of the atom with that of the tensor, which is written
        behind them."""
        per_atom = self.atom_bits // self.scale_format.bits
        atoms = -(-scales // per_atom) + self.tensor_scale_atoms
        return ScaleBufferParams(
            atom_bits=self.atom_bits, scale_bits=self.scale_format.bits,
            scales=atoms * per_atom if self.tensor_scale_atoms else scales,
            scales_per_read=self._groups_per_read)

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from an atom of weights leaving the sequencer to its row's result."""
        return self.weight_cycles + self.column.LATENCY

    @property
    def result_packer(self) -> ResultPackerParams:
        """Packer of the results; deep enough that one row per cycle never waits for a credit."""
        return ResultPackerParams(atom_bits=self.atom_bits, columns=self.columns,
                                  result=self.result_format.name,
                                  depth=next_power_of_two(self.pipeline_cycles + 8),
                                  rows_bits=ROWS_MAX.bit_length())

    def result_atoms(self, rows: int) -> int:
        """Atoms of the results of ``rows`` rows."""
        return -(-rows // self.result_packer.rows_per_atom)

    @property
    def host_port(self) -> HostPortParams:
        """The host's port to a native memory; ``ValueError`` for an AXI4 memory."""
        controller, window = self.memory_controller, self.cast_window is not None
        results = bool(self.tensor_units)
        apertures = HostPortParams.APERTURE_BITS if window or results else 0
        return HostPortParams(
            address_bits=max(_HOST_ADDRESS_BITS, self.address_bits + apertures),
            atom_bits=self.atom_bits, memory_atoms=controller.memory_atoms, ecc=controller.ecc,
            window=window, results=results)

    @property
    def command_checker(self) -> CommandCheckerParams:
        """Checks of a command before it starts."""
        zeros = self.weight_zero_buffer
        per_scale_atom = self.atom_bits // self.scale_format.bits
        return CommandCheckerParams(
            memory=self.axi4, memory_atoms=self.memory_bytes // self.atom_bytes,
            columns=self.columns, k_max=self.k_max, rows_max=ROWS_MAX,
            lanes=self.lanes, group=self.lanes * self.group_beats,
            rows_per_strip=self.rows_per_strip,
            rows_per_block=self.rows_per_block, scale_rows=self.scale_rows,
            scales_per_atom=per_scale_atom // self.groups_per_beat,
            rows_per_result_atom=self.result_packer.rows_per_atom,
            transposed=self.transposed_gemv, activation_atoms=self.activation_atoms_per_beat,
            tensor_scale_atoms=self.tensor_scale_atoms,
            zeros_per_atom=zeros.reads_per_atom if zeros else 0,
            weights_packed=packed(self.weight_format),
            activations_packed=packed(self.activation_format),
            narrow=self.narrow.command_checker if self.narrow is not None else None)

    @property
    def gearbox(self) -> GearboxParams | None:
        """What makes beats of one and a half atoms, None where there are none."""
        if not self.command_checker.packed:
            return None
        return GearboxParams(atom_bits=self.atom_bits)

    @property
    def sequencer(self) -> SequencerParams:
        """Command execution."""
        return SequencerParams(
            checker=self.command_checker, activation_buffer=self.activation_buffer,
            weight_scale_buffer=self.weight_scale_buffer,
            weight_zero_buffer=self.weight_zero_buffer,
            activation_scale_buffer=self.activation_scale_buffer,
            result_rows=self.result_packer.depth, row_distance=self.row_distance,
            span_beats=self.span // self.lanes,
            sum_beats=max(1, self.sum_elements // self.lanes))

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
            "decoder": self.activation_decoder if self.zero_points else self.weight_decoder,
            **({"subword_decoder": self.weight_subword_decoder}
               if self.weight_subword_decoder is not None else {}),
            **({"zero_subtractor": self.zero_subtractor} if self.zero_points else {}),
            **self._summing_units,
            "fp32_multiplier": Fp32MultiplierParams(fp32=self.fp32_adder.fp32),
            "fp32_adder": self.fp32_adder,
            "scale_combiner": self.column.scale_combiner,
            "group_scaler": self.column.group_scaler,
            "row_accumulator": self.column.row_accumulator,
            "column": self.column,
            "activation_buffer": self.activation_buffer,
            "scale_buffer": self.weight_scale_buffer,
            "fifo": self.result_packer.queue,
            "result_packer": self.result_packer,
            **self.tensor_units,
            **(self._native_units if self.native else self._axi4_units),
            **({"gearbox": self.gearbox} if self.gearbox is not None else {}),
            "command_checker": self.command_checker,
            "sequencer": self.sequencer,
            "register_file": self.register_file,
        }

    @property
    def _summing_units(self) -> dict[str, UnitParams]:
        """The units that make FP32 sums of products."""
        if isinstance(self.dot_array, SubwordDotArrayParams):
            return {"subword_dot_array": self.dot_array,
                    "fp32_rounder": self.column.fp32_rounder}
        if isinstance(self.dot_array, DotArrayParams):
            return {"dot_array": self.dot_array, "fp32_rounder": self.column.fp32_rounder}
        if isinstance(self.dot_array, BlockDotArrayParams):
            return {"dot_array": self.dot_array.dot_array, "block_dot_array": self.dot_array,
                    "fp32_rounder": self.column.fp32_rounder}
        aligned = isinstance(self.dot_array, AlignedDotArrayParams)
        return {"aligned_dot_array" if aligned else "fp32_dot_array": self.dot_array}

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
            **({"cast_window": self.cast_window} if self.cast_window is not None else {}),
        }
