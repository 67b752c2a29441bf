"""Number formats as data.

Sources: E4M3 and E5M2: OCP "8-bit Floating Point Specification (OFP8)" 1.0; E2M1, E2M3, E3M2,
MXINT8 and E8M0: OCP "Microscaling Formats (MX)" 1.0, section 5; NVFP4: NVIDIA, "Introducing NVFP4
for Efficient and Accurate Low-Precision Inference"; BF16: the upper half of IEEE-754 binary32;
FP16 and FP32: binary16 and binary32; INT8 and INT4: two's complement; UINT8 and UINT4: with a zero
point, as Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018), section 2.1.
"""

from dataclasses import dataclass

__all__ = [
    "BF16", "E2M1", "E2M3", "E3M2", "E4M3", "E5M2", "E8M0", "FLOAT_FORMATS", "FORMATS", "FP16",
    "FP32", "SCALE_FORMATS", "WEIGHT_FORMATS", "FloatFormat", "IntegerFormat", "NumberFormat",
    "ScaleFormat", "WIDER_FORMATS", "WeightFormat", "ZeroPointFormat", "lanes_of",
    "next_power_of_two", "packed",
]


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format: sign, exponent, mantissa, from the top bit down.

    The bias is ``2**(exponent_bits - 1) - 1``; exponent field 0 holds zero and subnormals.
    With ``has_infinity`` the largest exponent field holds infinity (mantissa 0) and NaN, as in
    IEEE-754; without, only the code with all exponent and mantissa bits set is NaN; without
    ``has_nan``, every code is finite.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    has_infinity: bool
    has_nan: bool = True

    @property
    def bits(self) -> int:
        """Width of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def significand_bits(self) -> int:
        """Width of a significand, hidden bit included."""
        return self.mantissa_bits + 1

    @property
    def sign_mask(self) -> int:
        """The sign bit."""
        return 1 << (self.bits - 1)

    @property
    def exponent_mask(self) -> int:
        """The exponent field, in place."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def mantissa_mask(self) -> int:
        """The mantissa field."""
        return (1 << self.mantissa_bits) - 1

    @property
    def largest_code(self) -> int:
        """The positive code of the largest finite magnitude (E4M3: 0x7E, 448)."""
        if self.has_infinity:
            return self.exponent_mask - 1
        return self.sign_mask - (2 if self.has_nan else 1)

    @property
    def infinity_code(self) -> int | None:
        """The positive infinity, or None where the format has none."""
        return self.exponent_mask if self.has_infinity else None

    @property
    def nan_code(self) -> int:
        """What a conversion of NaN into this format gives: NaN (quiet, positive), or 0 where there
        is none; the NaN is then in the scale."""
        if not self.has_nan:
            return 0
        if self.has_infinity:
            return self.exponent_mask | (1 << (self.mantissa_bits - 1))
        return self.sign_mask - 1

    @property
    def smallest_exponent(self) -> int:
        """Exponent of the least significant bit of a subnormal: the weight of code 1."""
        return 1 - self.bias - self.mantissa_bits

    @property
    def largest_exponent(self) -> int:
        """Exponent of the largest finite magnitude (E4M3: 8, as 448 = 1.75 * 2**8)."""
        return (self.largest_code >> self.mantissa_bits) - self.bias

    @property
    def largest_shift(self) -> int:
        """Largest left shift of a significand when written as ``significand << shift``."""
        return self.largest_exponent - self.mantissa_bits - self.smallest_exponent

    @property
    def shift_bits(self) -> int:
        """Width of that shift."""
        return self.largest_shift.bit_length()

    @property
    def largest_magnitude(self) -> int:
        """Largest finite magnitude in units of ``2**smallest_exponent`` (E4M3: 448 * 2**9)."""
        significand = (self.largest_code & self.mantissa_mask) | (1 << self.mantissa_bits)
        return significand << self.largest_shift

    @property
    def lowest_magnitude(self) -> int:
        """Magnitude of the lowest finite value, in the same units."""
        return self.largest_magnitude


@dataclass(frozen=True)
class IntegerFormat:
    """Two's complement with ``fraction_bits`` bits behind the point.

    It has what a :class:`FloatFormat` has that is read to multiply and to quantize: every code is a
    significand with its sign, and shifted by nothing. A conversion into it saturates at plus and
    minus ``largest_code``, so that no sign is favoured; the code below that is multiplied like any
    other.
    """

    name: str
    bits: int
    fraction_bits: int = 0

    has_infinity = False
    has_nan = False
    infinity_code = None
    nan_code = 0
    largest_shift = 0
    shift_bits = 0

    @property
    def significand_bits(self) -> int:
        """Width of a significand, its sign included."""
        return self.bits

    @property
    def sign_mask(self) -> int:
        """The sign bit."""
        return 1 << (self.bits - 1)

    @property
    def largest_code(self) -> int:
        """The code of the largest value (INT8: 127)."""
        return self.sign_mask - 1

    @property
    def smallest_exponent(self) -> int:
        """Exponent of the least significant bit."""
        return -self.fraction_bits

    @property
    def largest_exponent(self) -> int:
        """Exponent of the largest value (INT8: 6, as 127 = 1.984375 * 2**6)."""
        return self.bits - 2 - self.fraction_bits

    @property
    def largest_magnitude(self) -> int:
        """The largest value in units of ``2**smallest_exponent``."""
        return self.largest_code

    @property
    def lowest_magnitude(self) -> int:
        """Magnitude of the lowest value, in the same units."""
        return self.sign_mask


@dataclass(frozen=True)
class ZeroPointFormat:
    """Unsigned integers with a zero point: what is multiplied is the code less the zero point of
    its group, which has the same format."""

    name: str
    bits: int

    @property
    def difference(self) -> str:
        """Name of the format of a difference (uint4: int5)."""
        return f"int{self.bits + 1}"

    @property
    def largest_code(self) -> int:
        """The code of the largest value."""
        return (1 << self.bits) - 1


NumberFormat = FloatFormat | IntegerFormat
WeightFormat = NumberFormat | ZeroPointFormat


@dataclass(frozen=True)
class ScaleFormat:
    """A format that group scales may take.

    ``e8m0`` is an unsigned power of two, ``2**(code - 127)``, with 0xFF for NaN; ``fp32`` is
    binary32. ``e4m3`` are NVFP4's scales of blocks: an :data:`E4M3` code whose sign is ignored,
    beside a scale of the whole tensor in binary32.
    """

    name: str
    bits: int

    @property
    def bytes(self) -> int:
        """Bytes of one scale in memory."""
        return self.bits // 8


E2M1 = FloatFormat("e2m1", 2, 1, has_infinity=False, has_nan=False)
E2M3 = FloatFormat("e2m3", 2, 3, has_infinity=False, has_nan=False)
E3M2 = FloatFormat("e3m2", 3, 2, has_infinity=False, has_nan=False)
E4M3 = FloatFormat("e4m3", 4, 3, has_infinity=False)
E5M2 = FloatFormat("e5m2", 5, 2, has_infinity=True)
BF16 = FloatFormat("bf16", 8, 7, has_infinity=True)
FP16 = FloatFormat("fp16", 5, 10, has_infinity=True)
FP32 = FloatFormat("fp32", 8, 23, has_infinity=True)
FLOAT_FORMATS = {fmt.name: fmt for fmt in (E4M3, E5M2, BF16, FP32)}

E8M0 = ScaleFormat("e8m0", 8)
# All that can be multiplied, the narrow ones first; int5 and int9 are differences.
FORMATS: dict[str, NumberFormat] = {
    "e2m1": E2M1, "e2m3": E2M3, "e3m2": E3M2, "e4m3": E4M3, "e5m2": E5M2, "fp16": FP16,
    "bf16": BF16, "int4": IntegerFormat("int4", 4), "int5": IntegerFormat("int5", 5),
    "int8": IntegerFormat("int8", 8), "mxint8": IntegerFormat("mxint8", 8, fraction_bits=6),
    "int9": IntegerFormat("int9", 9)}
# All that weights may have in memory.
WEIGHT_FORMATS: dict[str, WeightFormat] = {
    **FORMATS, "uint4": ZeroPointFormat("uint4", 4), "uint8": ZeroPointFormat("uint8", 8)}
SCALE_FORMATS = {"e8m0": E8M0, "fp32": ScaleFormat("fp32", 32), "e4m3": ScaleFormat("e4m3", 8)}


# Formats of 4 bits, and those of 8 bits and the same kind that have all of their values.
WIDER_FORMATS: dict[str, tuple[str, ...]] = {"e2m1": ("e4m3", "e5m2"), "int4": ("int8",)}


def packed(fmt: WeightFormat) -> bool:
    """Whether codes of ``fmt`` (6 bits) make beats of one and a half atoms."""
    return fmt.bits == 6


def lanes_of(atom_bits: int, weights: WeightFormat) -> int:
    """Weights of one beat: of an atom, or of one and a half."""
    return atom_bits * (3 if packed(weights) else 2) // (2 * weights.bits)


def next_power_of_two(count: int) -> int:
    """The smallest power of two that is at least ``count`` (``count >= 1``)."""
    return 1 << (count - 1).bit_length()
