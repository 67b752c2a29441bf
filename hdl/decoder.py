"""Decoder: FP8 codes to sign, significand and shift."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.arithmetic import DecoderParams
from spec.formats import FloatFormat

__all__ = ["Decoder", "decoded_layout"]


def decoded_layout(fmt: FloatFormat) -> data.StructLayout:
    """Layout of one decoded value of ``fmt``."""
    return data.StructLayout({
        "significand": fmt.significand_bits,
        "shift": fmt.shift_bits,
        "sign": 1,
        "nan": 1,
        "infinite": 1,
    })


class Decoder(wiring.Component):
    """Codes of one atom to fixed-point factors.

    A finite code stands for ``(-1)**sign * significand * 2**shift * 2**smallest_exponent``,
    subnormals included. The golden model is :func:`golden.decoder.decoder`.

    :Shapes: ``lanes`` codes in, ``lanes`` decoded values out.
    :Formats: any 8-bit format of :mod:`spec.formats`. ``nan`` and ``infinite`` mark the special
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
        fmt = params.float_format
        super().__init__({
            "i": In(flow(data.ArrayLayout(fmt.bits, params.lanes))),
            "o": Out(flow(data.ArrayLayout(decoded_layout(fmt), params.lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        fmt = self.params.float_format
        m.d.sync += self.o.valid.eq(self.i.valid)
        for lane in range(self.params.lanes):
            code = self.i.payload[lane]
            mantissa = code[:fmt.mantissa_bits]
            exponent = code[fmt.mantissa_bits:fmt.bits - 1]
            top = exponent.all()
            special = top if fmt.has_infinity else top & mantissa.all()
            decoded = self.o.payload[lane]
            m.d.sync += [
                decoded.significand.eq(Cat(mantissa, exponent.any())),
                decoded.shift.eq(exponent - exponent.any()),
                decoded.sign.eq(code[-1]),
                decoded.nan.eq(special & mantissa.any()),
                decoded.infinite.eq(special & ~mantissa.any() if fmt.has_infinity else 0),
            ]
        return m
