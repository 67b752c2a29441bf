"""FP8 codes as FP32 fields, for units that add and compare values of several formats."""

from amaranth.hdl import Cat, Const, Module, Signal

from spec.formats import FP32, FloatFormat

__all__ = ["WIDENED_MANTISSA", "widened"]

# The longest mantissa of an 8-bit format.
WIDENED_MANTISSA = 3


def widened(m: Module, code, fmt: FloatFormat, name: str):
    """The magnitude of a code of ``fmt``, exactly: the upper mantissa bits, and the exponent.

    Subnormal codes become normal FP32 numbers; infinity and NaN stay what they are.
    """
    mantissa = code[:fmt.mantissa_bits]
    exponent = code[fmt.mantissa_bits:fmt.bits - 1]
    upper = Signal(WIDENED_MANTISSA, name=f"{name}_mantissa")
    field = Signal(FP32.exponent_bits, name=f"{name}_exponent")
    m.d.comb += [
        upper.eq(Cat(Const(0, WIDENED_MANTISSA - fmt.mantissa_bits), mantissa)),
        field.eq(exponent + (FP32.bias - fmt.bias)),
    ]
    special = exponent.all() if fmt.has_infinity else exponent.all() & mantissa.all()
    with m.If(special):
        m.d.comb += field.eq((1 << FP32.exponent_bits) - 1)
    with m.Elif(~exponent.any()):
        m.d.comb += [upper.eq(0), field.eq(0)]
        for place in range(fmt.mantissa_bits):
            # The leading one of a subnormal becomes the hidden bit; later places win.
            with m.If(mantissa[place]):
                m.d.comb += [
                    upper.eq(Cat(Const(0, WIDENED_MANTISSA - place), mantissa[:place])),
                    field.eq(fmt.smallest_exponent + place + FP32.bias),
                ]
    return Cat(upper, field)
