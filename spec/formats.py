"""Number formats as data.

Sources: E4M3 and E5M2: OCP "8-bit Floating Point Specification (OFP8)" 1.0; E8M0: OCP
"Microscaling Formats (MX)" 1.0; BF16: the upper half of IEEE-754 binary32; FP32: binary32.
"""

from dataclasses import dataclass

__all__ = [
    "BF16", "E4M3", "E5M2", "E8M0", "FLOAT_FORMATS", "FP32", "SCALE_FORMATS",
    "FloatFormat", "ScaleFormat", "next_power_of_two",
]


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format: sign, exponent, mantissa, from the top bit down.

    The bias is ``2**(exponent_bits - 1) - 1``; exponent field 0 holds zero and subnormals.
    With ``has_infinity`` the largest exponent field holds infinity (mantissa 0) and NaN, as in
    IEEE-754; without, only the code with all exponent and mantissa bits set is NaN.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    has_infinity: bool

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
        return (self.exponent_mask - 1) if self.has_infinity else (self.sign_mask - 2)

    @property
    def infinity_code(self) -> int | None:
        """The positive infinity, or None where the format has none."""
        return self.exponent_mask if self.has_infinity else None

    @property
    def nan_code(self) -> int:
        """The NaN that a conversion into this format gives (quiet, positive)."""
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


@dataclass(frozen=True)
class ScaleFormat:
    """A format that group scales may take.

    ``e8m0`` is an unsigned power of two, ``2**(code - 127)``, with 0xFF for NaN;
    ``fp32`` is binary32.
    """

    name: str
    bits: int

    @property
    def bytes(self) -> int:
        """Bytes of one scale in memory."""
        return self.bits // 8


E4M3 = FloatFormat("e4m3", 4, 3, has_infinity=False)
E5M2 = FloatFormat("e5m2", 5, 2, has_infinity=True)
BF16 = FloatFormat("bf16", 8, 7, has_infinity=True)
FP32 = FloatFormat("fp32", 8, 23, has_infinity=True)
FLOAT_FORMATS = {fmt.name: fmt for fmt in (E4M3, E5M2, BF16, FP32)}

E8M0 = ScaleFormat("e8m0", 8)
SCALE_FORMATS = {"e8m0": E8M0, "fp32": ScaleFormat("fp32", 32)}


def next_power_of_two(count: int) -> int:
    """The smallest power of two that is at least ``count`` (``count >= 1``)."""
    return 1 << (count - 1).bit_length()
