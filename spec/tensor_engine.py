"""Record of the engine that executes commands on whole tensors."""

from typing import ClassVar

from pydantic import Field

from spec.formats import SCALE_FORMATS
from spec.tensor_checks import TensorCheckerParams
from spec.tensor_units import (
    ConverterParams, QuantizerParams, ReducerParams, RowPackerParams, TransposerParams,
)
from spec.units import UnitParams

__all__ = ["TensorEngineParams"]


class TensorEngineParams(UnitParams):
    """The checker, which knows all sizes, and the units that were built."""

    checker: TensorCheckerParams
    quantizer: QuantizerParams | None = None
    row_packer: RowPackerParams | None = None
    converter: ConverterParams | None = None
    reducer: ReducerParams | None = None
    transposer: TransposerParams | None = None
    # Rows that the weight stream interleaves, where GEMV can multiply by transposed weights.
    rows_per_strip: int = Field(0, ge=0, le=64)
    # Parts of rows that are asked for and have not come: those of the shortest rows that are
    # worth it, four atoms long, must cover the latency of the memory.
    SPANS: ClassVar[int] = 64
    # Neighbouring regions are read as one, up to so many atoms.
    JOINED_ATOMS: ClassVar[int] = 64

    @property
    def atom_bits(self) -> int:
        """Bits of an atom."""
        return self.checker.memory.atom_bits

    @property
    def count_bits(self) -> int:
        """Width of a number of elements in an atom."""
        return self.checker.atom_bytes.bit_length()

    @property
    def reads_scales(self) -> bool:
        """Whether any command reads scales beside codes."""
        checker = self.checker
        return any(name in ("e4m3", "e5m2") for name in
                   (*checker.reduce_formats, *checker.copy_formats, *checker.requantized))

    @property
    def scales_per_atom(self) -> int:
        """Scales that are read in one atom."""
        return self.atom_bits // SCALE_FORMATS[self.checker.scale_format].bits

    @property
    def scale_lane_bits(self) -> int:
        """Width of a scale's place in its atom."""
        return (self.scales_per_atom - 1).bit_length()

    @property
    def scale_buffer_atoms(self) -> int:
        """Atoms of scales that are held: of one row, or one atom of each row of a block."""
        groups = -(-self.checker.k_max // self.checker.group)
        block = self.checker.transpose_block if self.checker.requantized else 0
        return max(2, -(-groups // self.scales_per_atom), block)

    def rows_together(self, scale_row: int) -> int:
        """Rows, each with ``scale_row`` atoms of scales, whose scales are read before them all."""
        return self.scale_buffer_atoms // scale_row

    @property
    def scale_address_bits(self) -> int:
        """Width of an address of the scale buffer."""
        return (self.scale_buffer_atoms - 1).bit_length()

    @property
    def group_atoms(self) -> int:
        """Atoms of codes that share a scale."""
        return max(1, self.checker.group // self.checker.atom_bytes)
