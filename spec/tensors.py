"""What commands on whole tensors name: formats, scale rules and reductions, as data.

A tensor in memory is a matrix [rows, k]. Every row begins on an atom and is filled up with
elements that mean nothing; rows follow each other without a gap. The scales of FP8 codes are a
matrix of their own, laid out the same way, [rows, ceil(k / group)].
"""

from enum import IntEnum

from spec.formats import FLOAT_FORMATS, FloatFormat

__all__ = ["FIELD_VALUES", "RULE_NAMES", "Reduction", "ScaleRule", "TensorFormat", "scale_bits",
           "wide_results"]


class TensorFormat(IntEnum):
    """Format of a tensor's elements; ``NONE`` where a command names none."""

    NONE = 0
    E4M3 = 1
    E5M2 = 2
    BF16 = 3
    FP32 = 4

    @property
    def float_format(self) -> FloatFormat:
        """The format's record; ``KeyError`` for ``NONE``."""
        return FLOAT_FORMATS[self.name.lower()]


class ScaleRule(IntEnum):
    """Rule by which a group's scale follows from its largest magnitude."""

    NONE = 0
    E8M0_CEIL = 1
    E8M0_FLOOR = 2
    FP32_DIV = 3


# As descriptions and the command line write them.
RULE_NAMES = {"e8m0-ceil": ScaleRule.E8M0_CEIL, "e8m0-floor": ScaleRule.E8M0_FLOOR,
              "fp32-div": ScaleRule.FP32_DIV}


def scale_bits(rule: ScaleRule) -> int:
    """Bits of one scale that ``rule`` makes."""
    return 32 if rule == ScaleRule.FP32_DIV else 8


class Reduction(IntEnum):
    """What REDUCE makes of a row, or of a whole tensor.

    A result is one word of 32 bits, FP32; of ``ARGMAX`` two: the largest value, and its place (an
    unsigned integer); of ``MOMENTS`` two: the sum, and the sum of squares.
    """

    NONE = 0
    SUM = 1
    SUM_SQUARES = 2
    MAX = 3
    MIN = 4
    AMAX = 5
    ARGMAX = 6
    MOMENTS = 7


def wide_results(reduction: Reduction) -> bool:
    """Whether a result is two words."""
    return reduction in (Reduction.ARGMAX, Reduction.MOMENTS)


# What the fields of a command that name one of several things may hold, 0 for none.
FIELD_VALUES: dict[str, type[IntEnum]] = {
    "format": TensorFormat, "rule": ScaleRule, "reduction": Reduction}
