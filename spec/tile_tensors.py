"""The units of a tile that work on whole tensors."""

from spec.tensor_checks import TensorCheckerParams
from spec.tensor_engine import TensorEngineParams
from spec.tensor_units import (
    CastWindowParams, ConverterParams, QuantizerParams, ReducerParams, RowPackerParams,
    TransposerParams,
)
from spec.tile_geometry import ROWS_MAX, TileGeometry
from spec.units import UnitParams

__all__ = ["TensorTile"]


class TensorTile(TileGeometry):
    """The part of :class:`spec.tile.Tile` that commands on whole tensors need; a unit that the
    description does not build is None."""

    @property
    def transposed_gemv(self) -> bool:
        """Whether GEMV can multiply by transposed weights: their scales are those of square blocks,
        each as large as one of the transposer, whose rows are far enough apart to be added."""
        transpose, scaling = self.description.transpose, self.description.scaling
        return (transpose is not None and not self.interleaved
                and scaling.weight_rows == scaling.group == transpose.block
                and self.group_beats >= self.fp32_adder.LATENCY)

    @property
    def quantizer_ranks(self) -> int:
        """Registers more in the casts of the quantizer."""
        assert self.pipeline.quantizer is not None
        return self.pipeline.quantizer

    @property
    def quantizer(self) -> QuantizerParams | None:
        """Quantizer of the commands."""
        described, convert = self.description.quantize, self.description.convert
        if described is None:
            return None
        wide = convert is not None and "fp32" in convert.formats
        return QuantizerParams(
            atom_bits=self.atom_bits, sources=("bf16", "fp32") if wide else ("bf16",),
            formats=described.formats, rules=described.rules, groups=described.groups,
            amax_floor=self.description.scaling.amax_floor, ranks=self.quantizer_ranks)

    @property
    def row_packer(self) -> RowPackerParams | None:
        """Packer of what the quantizer makes."""
        described, transpose = self.description.quantize, self.description.transpose
        if described is None:
            return None
        scales = -(-self.k_max // min(described.groups))
        return RowPackerParams(
            atom_bits=self.atom_bits, scales_max=max(scales, transpose.block if transpose else 1),
            scale_bits_max=32 if "fp32-div" in described.rules else 8)

    @property
    def converter(self) -> ConverterParams | None:
        """Converter to BF16 and FP32: for COPY, and in front of what takes no FP8."""
        described = self.description
        formats: set[str] = set(described.convert.formats) if described.convert else set()
        if described.transpose and described.quantize:
            # Codes are transposed to groups of the other direction by way of BF16.
            formats |= {self.activation_format.name, "bf16"}
        if not formats:
            return None
        return ConverterParams(
            atom_bits=self.atom_bits,
            sources=tuple(name for name in ("e4m3", "e5m2", "bf16", "fp32") if name in formats),
            targets=tuple(name for name in ("bf16", "fp32") if name in formats),
            scale_format=self.scale_format.name)

    @property
    def reducer(self) -> ReducerParams | None:
        """Reducer."""
        described = self.description.reduce
        return None if described is None else ReducerParams(
            atom_bits=self.atom_bits, formats=described.formats,
            scale_format=self.scale_format.name)

    @property
    def transposer(self) -> TransposerParams | None:
        """Transposer."""
        described = self.description.transpose
        return None if described is None else TransposerParams(
            atom_bits=self.atom_bits, block=described.block)

    @property
    def tensor_checker(self) -> TensorCheckerParams | None:
        """Checks of a command on a whole tensor before it starts."""
        described = self.description
        quantize, transpose = described.quantize, described.transpose
        if not (quantize or transpose or described.reduce or described.convert):
            return None
        requantized: tuple[str, ...] = ()
        if quantize and transpose and transpose.block in quantize.groups:
            # Scales of codes that are read must be those of a block's rows.
            codes = ("e4m3", "e5m2") if self.group == transpose.block else ()
            requantized = tuple(name for name in (*codes, "bf16")
                                if self.converter and name in self.converter.sources)
        return TensorCheckerParams(
            memory=self.axi4, memory_atoms=self.memory_bytes // self.atom_bytes,
            columns=self.columns, k_max=self.k_max, rows_max=ROWS_MAX,
            group=self.group, scale_format=self.scale_format.name,
            load_format=self.activation_format.name, load_rule=described.scaling.rule,
            formats=quantize.formats if quantize else (),
            rules=quantize.rules if quantize else (),
            groups=quantize.groups if quantize else (),
            reduce_formats=described.reduce.formats if described.reduce else (),
            transpose_block=transpose.block if transpose else 0,
            requantized=requantized,
            copy_formats=described.convert.formats if described.convert else (),
            host=self.native, window=quantize is not None and quantize.window)

    @property
    def tensor_engine(self) -> TensorEngineParams | None:
        """Execution of commands on whole tensors."""
        checker = self.tensor_checker
        return None if checker is None else TensorEngineParams(
            checker=checker, quantizer=self.quantizer, row_packer=self.row_packer,
            converter=self.converter, reducer=self.reducer, transposer=self.transposer,
            rows_per_strip=self.rows_per_strip if self.transposed_gemv else 0)

    @property
    def cast_window(self) -> CastWindowParams | None:
        """The window through which the host reads BF16 as FP8; None where it is not built."""
        described = self.description.quantize
        if described is None or not described.window:
            return None
        controller = self.memory_controller
        return CastWindowParams(
            atom_bits=self.atom_bits, index_bits=controller.index_bits,
            formats=described.formats, rules=described.rules, groups=described.groups,
            amax_floor=self.description.scaling.amax_floor, ranks=self.quantizer_ranks,
            window_groups=described.window_groups, writes=controller.writes)

    @property
    def tensor_units(self) -> dict[str, UnitParams]:
        """The units that work on whole tensors, those that are built."""
        units = {"quantizer": self.quantizer, "row_packer": self.row_packer,
                 "converter": self.converter, "reducer": self.reducer,
                 "transposer": self.transposer, "tensor_checker": self.tensor_checker}
        return {name: params for name, params in units.items() if params is not None}
