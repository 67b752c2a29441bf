"""Subword decoder: codes of one of two formats to factors, those of the narrow one in pairs."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import Decoder, decoded_layout
from hdl.pipeline import flow
from spec.arithmetic import SubwordDecoderParams
from spec.formats import FORMATS, FloatFormat, IntegerFormat

__all__ = ["SubwordDecoder"]


class SubwordDecoder(wiring.Component):
    """Codes of one atom to the factors of a subword dot array.

    An even narrow code becomes the wide code of its value and takes the way of these; odd ones have
    a decoder of their own. Both are :class:`~hdl.decoder.Decoder`. The golden model is
    :func:`golden.subword_decoder.subword_decoder`.

    :Shapes: ``lanes`` wide codes, or twice as many narrow ones; ``lanes`` factors of each format.
    :Formats: ``wide`` has 8 bits and all values of ``narrow``, which has 4.
    :Timing: latency ``SubwordDecoderParams.LATENCY``; one atom per cycle; never stalls.

    Members
    -------
    i : stream of ``codes`` and ``narrow``, which says of which format they are; always ready
    o : stream of ``factors``, of the wide codes or the even narrow ones, and ``odd`` ones, of code
        0 where codes are wide; always ready
    """

    def __init__(self, params: SubwordDecoderParams):
        if not isinstance(params, SubwordDecoderParams):
            raise TypeError(f"SubwordDecoder needs SubwordDecoderParams, not {params!r}")
        self.params = params
        layouts = [data.ArrayLayout(decoded_layout(FORMATS[name]), params.lanes)
                   for name in (params.wide, params.narrow)]
        super().__init__({
            "i": In(flow(data.StructLayout({
                "codes": data.ArrayLayout(FORMATS[params.wide].bits, params.lanes),
                "narrow": 1,
            }))),
            "o": Out(flow(data.StructLayout({"factors": layouts[0], "odd": layouts[1]}))),
        })

    def elaborate(self, platform):
        m = Module()
        params, narrow = self.params, self.i.payload.narrow
        m.submodules.wide_decoder = wide = Decoder(params.wide_decoder)
        m.submodules.odd_decoder = odd = Decoder(params.narrow_decoder)
        m.d.comb += [
            wide.i.valid.eq(self.i.valid),
            odd.i.valid.eq(self.i.valid),
            self.o.valid.eq(wide.o.valid),
            self.o.payload.factors.eq(wide.o.payload),
            self.o.payload.odd.eq(odd.o.payload),
        ]
        bits = FORMATS[params.narrow].bits
        for lane, code in enumerate(self.i.payload.codes):
            even = Signal(FORMATS[params.wide].bits, name=f"even_{lane}")
            self._widen(m, code[:bits], even)
            m.d.comb += [
                wide.i.payload[lane].eq(Mux(narrow, even, code)),
                odd.i.payload[lane].eq(Mux(narrow, code[bits:], 0)),
            ]
        return m

    def _widen(self, m, code, widened):
        """The wide code of a narrow code's value."""
        wide, narrow = FORMATS[self.params.wide], FORMATS[self.params.narrow]
        if isinstance(narrow, IntegerFormat):
            m.d.comb += widened.eq(code.as_signed())
            return
        with m.Switch(code[:-1]):
            for magnitude in range(narrow.sign_mask):
                with m.Case(magnitude):
                    same = Const(_wide_code(magnitude, narrow, wide), wide.bits - 1)
                    m.d.comb += widened.eq(Cat(same, code[-1]))


def _wide_code(magnitude: int, narrow: FloatFormat, wide: FloatFormat) -> int:
    """The code of ``wide`` for a magnitude of ``narrow``, none of which is subnormal there."""
    exponent = magnitude >> narrow.mantissa_bits
    significand = magnitude & narrow.mantissa_mask | bool(exponent) << narrow.mantissa_bits
    if not significand:
        return 0
    # The leading one stands at bit `top`, of weight 2**(smallest_exponent + top + shift).
    top = significand.bit_length() - 1
    power = narrow.smallest_exponent + top + max(exponent, 1) - 1
    mantissa = (significand << wide.mantissa_bits - top) & wide.mantissa_mask
    return (power + wide.bias) << wide.mantissa_bits | mantissa
