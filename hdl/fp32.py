"""What the FP32 units share: fields, special values and the rounding step."""

from amaranth.hdl import Cat, Const, Mux, Signal, signed
from amaranth.lib import data

from hdl.shift import shifted_right_sticky
from spec.formats import FP32

__all__ = ["NAN", "ZERO", "fp32_layout", "infinity", "is_infinity", "is_nan", "packed",
           "rounded", "significand"]

NAN = Const(FP32.nan_code, FP32.bits)
ZERO = Const(0, FP32.bits)

fp32_layout = data.StructLayout({
    "mantissa": FP32.mantissa_bits,
    "exponent": FP32.exponent_bits,
    "sign": 1,
})


def infinity(sign):
    """The infinity of ``sign``."""
    return Cat(Const(FP32.infinity_code, FP32.bits - 1), sign)


def is_nan(value):
    """Whether a view of ``fp32_layout`` is NaN."""
    return value.exponent.all() & value.mantissa.any()


def is_infinity(value):
    """Whether a view of ``fp32_layout`` is an infinity."""
    return value.exponent.all() & ~value.mantissa.any()


def significand(value):
    """The significand of a finite view of ``fp32_layout``, hidden bit on top."""
    return Cat(value.mantissa, value.exponent.any())


def rounded(exponent, significand):
    """Round to nearest even and pack exponent and mantissa, without the sign.

    ``significand`` has the hidden bit on top (zero only if ``exponent`` is zero), then 23 bits of
    mantissa, the guard bit, and any number of bits that only count as zero or not. A carry out of
    the mantissa is right as it stands: it increments the exponent, from a subnormal to the
    smallest normal or from the largest finite value to infinity.
    """
    below = len(significand) - FP32.significand_bits
    kept = significand[below:]
    up = significand[below - 1] & (significand[:below - 1].any() | kept[0])
    return (Cat(kept[:-1], exponent) + up)[:FP32.bits - 1]


def packed(m, exponent, significand, name):
    """Round and pack a value of any exponent, without the sign.

    ``exponent`` is the field that the value has if that has no limits, signed, and no more than 254
    for zero; ``significand`` has its leading one on top, or is zero. Below the normal numbers it
    becomes subnormal, above them infinity.
    """
    field = Signal(signed(len(exponent)), name=f"{name}_field")
    below = Signal(len(exponent), name=f"{name}_below")
    padding = max(0, FP32.significand_bits - len(significand))
    m.d.comb += [field.eq(exponent), below.eq(Mux(field < 1, 1 - field, 0))]
    shifted = shifted_right_sticky(m, Cat(Const(0, padding), significand), below,
                                   f"{name}_subnormal")
    normal = Mux(field < 1, 0, field)[:FP32.exponent_bits]
    return Mux(field > (1 << FP32.exponent_bits) - 2, FP32.infinity_code,
               rounded(normal, shifted))[:FP32.bits - 1]
