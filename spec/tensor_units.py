"""One frozen record of parameters per unit that works on whole tensors.

As in :mod:`spec.units`: widths are derived here once. All these units take one atom per cycle.
"""

import struct
from typing import ClassVar

from pydantic import Field, field_validator

from spec.formats import FLOAT_FORMATS, FP32, SCALE_FORMATS
from spec.units import UnitParams

__all__ = ["CastWindowParams", "ConverterParams", "QuantizerParams", "ReducerParams",
           "RowPackerParams", "TransposerParams"]



class _TensorParams(UnitParams):
    """What all records here have: the atom."""

    atom_bits: int = Field(ge=64, le=512)

    @property
    def atom_bytes(self) -> int:
        """Bytes of an atom."""
        return self.atom_bits // 8

    @property
    def count_bits(self) -> int:
        """Width of a number of elements in an atom: at most one per byte."""
        return self.atom_bytes.bit_length()

    def lanes(self, name: str) -> int:
        """Elements of the format ``name`` in one atom."""
        return self.atom_bits // FLOAT_FORMATS[name].bits


class QuantizerParams(_TensorParams):
    """Groups of BF16 or FP32 to codes and a scale.

    ``sources``, ``formats``, ``rules`` and ``groups`` are what was built; commands choose among
    them. A group is at least one atom of every source. With ``ranks`` there is one more register
    in front of queue and comparison, and one more in the casts between rounding and the code.
    """

    sources: tuple[str, ...] = ("bf16",)
    formats: tuple[str, ...]
    rules: tuple[str, ...]
    groups: tuple[int, ...]
    amax_floor: float = Field(ge=0.0, le=1.0)
    ranks: int = Field(0, ge=0, le=1)

    @property
    def code_lanes(self) -> int:
        """Most codes that one cycle makes: elements of an atom of BF16."""
        return self.lanes("bf16")

    @property
    def buffer_atoms(self) -> int:
        """Atoms of the largest group, in its widest source."""
        return max(self.groups) // min(self.lanes(name) for name in self.sources)

    @property
    def divides(self) -> bool:
        """Whether scales may be other than powers of two."""
        return "fp32-div" in self.rules

    @property
    def floor_code(self) -> int:
        """The FP32 code of ``amax_floor``, rounded to nearest even."""
        return int.from_bytes(struct.pack("<f", self.amax_floor), "little")

    @property
    def keeps_subnormals(self) -> bool:
        """Whether a subnormal FP32 or BF16 number can matter, as an element or as a scale.

        It does not where even the smallest scale makes less than half of the smallest code of it:
        a scale is at least ``2**(exponent field of the floor - largest_exponent - 1 - 127)``.
        """
        formats = [FLOAT_FORMATS[name] for name in self.formats]
        field = self.floor_code >> FP32.mantissa_bits
        return field < max(fmt.largest_exponent + 3 - fmt.smallest_exponent for fmt in formats)


class CastWindowParams(_TensorParams):
    """The window through which the host reads BF16 in memory as codes and scales.

    It works in *units*: a group, or where a code atom has two groups, both. ``window_groups`` are
    the groups whose scales it keeps. ``requests`` are the most requests of the host, and the most
    units, under way; ``writes`` the most writes of one requester that are not written. ``ranks`` as
    for the quantizer.
    """

    index_bits: int = Field(ge=10, le=60)
    formats: tuple[str, ...]
    rules: tuple[str, ...]
    groups: tuple[int, ...]
    amax_floor: float = Field(ge=0.0, le=1.0)
    ranks: int = Field(0, ge=0, le=1)
    window_groups: int = Field(ge=32, le=65536)
    requests: int = Field(128, ge=8, le=1024)
    writes: int = Field(64, ge=1, le=1024)
    # Units whose codes are held: one is read by the host, the next ones are filled.
    SLOTS: ClassVar[int] = 4
    ELEMENT_BITS: ClassVar[int] = 32

    @property
    def quantizer(self) -> QuantizerParams:
        """The window's own quantizer."""
        return QuantizerParams(atom_bits=self.atom_bits, sources=("bf16",), formats=self.formats,
                               rules=self.rules, groups=self.groups, amax_floor=self.amax_floor,
                               ranks=self.ranks)

    @property
    def code_lanes(self) -> int:
        """Elements of an atom of BF16."""
        return self.lanes("bf16")

    @property
    def scale_bytes_max(self) -> int:
        """Bytes of the widest scale."""
        return 4 if "fp32-div" in self.rules else 1

    def unit_atoms(self, group: int) -> int:
        """Atoms of BF16 in a whole unit."""
        return max(group // self.code_lanes, 2)

    def span_atoms(self, group: int, wide: bool) -> int:
        """Atoms of BF16 whose scales fill an atom, where scales are FP32 (``wide``) or E8M0."""
        return self.atom_bytes // (4 if wide else 1) * group // self.code_lanes

    @property
    def unit_scale_bytes(self) -> int:
        """Most bytes of the scales of a unit."""
        return self.scale_bytes_max * (2 if min(self.groups) < self.atom_bytes else 1)

    @property
    def unit_codes(self) -> int:
        """Most atoms of codes in a unit."""
        return self.unit_atoms(max(self.groups)) // 2

    @property
    def code_bits(self) -> int:
        """Width of the number of a code atom within its unit."""
        return max(1, (self.unit_codes - 1).bit_length())

    @property
    def scale_place_bits(self) -> int:
        """Width of the number of a byte of the scales that are kept."""
        return (self.store_atoms * self.atom_bytes - 1).bit_length()

    @property
    def store_atoms(self) -> int:
        """Atoms of scales that are kept, a power of two."""
        return max(2, self.window_groups * self.scale_bytes_max // self.atom_bytes)


class RowPackerParams(_TensorParams):
    """Codes and scales of quantized rows to atoms: all codes of a row, then its scales.

    ``scales_max`` scales of ``scale_bits_max`` bits stand together at most.
    """

    scales_max: int = Field(ge=1, le=1 << 16)
    scale_bits_max: int = Field(ge=8, le=32)

    @property
    def code_lanes(self) -> int:
        """Most codes that come in one cycle."""
        return self.lanes("bf16")

    @property
    def scale_atoms(self) -> int:
        """Atoms of scales that it holds."""
        return max(2, -(-self.scales_max * self.scale_bits_max // self.atom_bits))


class ConverterParams(_TensorParams):
    """Atoms of any of ``sources`` to atoms of any of ``targets``, BF16 or FP32.

    ``scale_format`` is that of FP8 sources.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    scale_format: str

    @property
    def scale_bits(self) -> int:
        """Bits of a scale."""
        return SCALE_FORMATS[self.scale_format].bits


class ReducerParams(_TensorParams):
    """Reductions of rows of any of ``formats``; ``scale_format`` is that of FP8 ones."""

    formats: tuple[str, ...]
    scale_format: str
    # Atoms follow each other in so many chains, as an addition takes longer than an atom.
    CHAINS: ClassVar[int] = 4

    @property
    def leaves(self) -> int:
        """Most elements in one atom."""
        return max(self.lanes(name) for name in self.formats)


class TransposerParams(_TensorParams):
    """Blocks of up to ``block`` x ``block`` elements of 8 or 16 bits."""

    block: int = Field(ge=8, le=256)

    @field_validator("block")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"TransposerParams.block must be a power of two, not {value}")
        return value

    @property
    def size_bits(self) -> int:
        """Width of a number of rows or columns of a block."""
        return self.block.bit_length()

    @property
    def row_atoms(self) -> int:
        """Most atoms of one row of a block."""
        return self.block * 16 // self.atom_bits

    @property
    def depth(self) -> int:
        """Words of each of the byte-wide memories: two blocks."""
        return 2 * self.block * self.row_atoms
