"""Decoder: codes to sign, significand and shift."""

from amaranth.hdl import Cat, Const, Module, ShapeLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.arithmetic import DecoderParams
from spec.dot_arrays import ProductsParams
from spec.formats import IntegerFormat, NumberFormat

__all__ = ["Decoder", "Factor", "decoded_layout", "pairs_layout"]


def decoded_layout(fmt: NumberFormat) -> data.StructLayout:
    """Layout of one decoded value of ``fmt``: only what the format has."""
    if isinstance(fmt, IntegerFormat):
        return data.StructLayout({"significand": signed(fmt.significand_bits)})
    return data.StructLayout({
        "significand": fmt.significand_bits,
        "shift": fmt.shift_bits,
        "sign": 1,
        **({"nan": 1} if fmt.has_nan else {}),
        **({"infinite": 1} if fmt.has_infinity else {}),
    })


def pairs_layout(params: ProductsParams, **more: ShapeLike) -> data.StructLayout:
    """Layout of one beat of a dot array: decoded pairs, whether the beat is the first and the last
    of its sum, and what a dot array wants beside, by name and shape."""
    return data.StructLayout({
        "weights": data.ArrayLayout(decoded_layout(params.weight_format), params.lanes),
        "activations": data.ArrayLayout(decoded_layout(params.activation_format), params.lanes),
        "first": 1,
        "last": 1,
        **more,
    })


class Factor:
    """A decoded value with all fields: what its format does not have is 0."""

    def __init__(self, decoded):
        names = {name for name, _ in decoded.shape()}
        self.significand = decoded.significand
        self.shift, self.sign, self.nan, self.infinite = (
            getattr(decoded, name) if name in names else Const(0, 1)
            for name in ("shift", "sign", "nan", "infinite"))
        # The sign of the value, which that of an integer's significand is.
        signed_significand = decoded.significand.shape().signed
        self.negative = decoded.significand[-1] if signed_significand else self.sign


class Decoder(wiring.Component):
    """Codes of one atom to fixed-point factors.

    A finite code stands for ``(-1)**sign * significand * 2**shift * 2**smallest_exponent``,
    subnormals included. The significand of an integer format is signed, and the code itself. The
    golden model is :func:`golden.decoder.decoder`.

    :Shapes: ``lanes`` codes in, ``lanes`` decoded values out.
    :Formats: any of 4 to 16 bits of :mod:`spec.formats`. ``nan`` and ``infinite`` mark the special
        codes; their significand and shift follow from the fields and mean nothing.
    :Timing: latency ``DecoderParams.LATENCY``; one atom per cycle; never stalls.

    Members
    -------
    i : stream of ``lanes`` codes, always ready
    o : stream of ``lanes`` decoded values, always ready
    """

    def __init__(self, params: DecoderParams):
        if not isinstance(params, DecoderParams):
            raise TypeError(f"Decoder needs DecoderParams, not {params!r}")
        self.params = params
        fmt = params.number_format
        super().__init__({
            "i": In(flow(data.ArrayLayout(fmt.bits, params.lanes))),
            "o": Out(flow(data.ArrayLayout(decoded_layout(fmt), params.lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        fmt = self.params.number_format
        m.d.sync += self.o.valid.eq(self.i.valid)
        for lane in range(self.params.lanes):
            code, decoded = self.i.payload[lane], self.o.payload[lane]
            if isinstance(fmt, IntegerFormat):
                m.d.sync += decoded.significand.eq(code)
                continue
            mantissa = code[:fmt.mantissa_bits]
            exponent = code[fmt.mantissa_bits:fmt.bits - 1]
            top = exponent.all()
            special = top if fmt.has_infinity else top & mantissa.all()
            m.d.sync += [
                decoded.significand.eq(Cat(mantissa, exponent.any())),
                decoded.shift.eq(exponent - exponent.any()),
                decoded.sign.eq(code[-1]),
            ]
            if fmt.has_nan:
                m.d.sync += decoded.nan.eq(special & mantissa.any())
            if fmt.has_infinity:
                m.d.sync += decoded.infinite.eq(special & ~mantissa.any())
        return m
