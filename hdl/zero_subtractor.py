"""Zero subtractor: unsigned weights less the zero points of their groups."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import decoded_layout
from hdl.pipeline import flow
from spec.arithmetic import ZeroSubtractorParams

__all__ = ["ZeroSubtractor"]


class ZeroSubtractor(wiring.Component):
    """Codes of one atom less zero points, in the place of a decoder.

    The golden model is :func:`golden.zero_subtractor.zero_subtractor`.

    :Shapes: ``lanes`` codes and ``groups`` zero points in, ``lanes`` decoded values out.
    :Formats: codes and zero points unsigned, of ``bits`` bits; differences two's complement, a bit
        wider, exact.
    :Timing: latency ``ZeroSubtractorParams.LATENCY``; one atom per cycle; never stalls.

    Members
    -------
    i : stream of ``codes`` and ``zeros``, always ready
    o : stream of ``lanes`` decoded values, always ready
    """

    def __init__(self, params: ZeroSubtractorParams):
        if not isinstance(params, ZeroSubtractorParams):
            raise TypeError(f"ZeroSubtractor needs ZeroSubtractorParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(data.StructLayout({
                "codes": data.ArrayLayout(params.bits, params.lanes),
                "zeros": data.ArrayLayout(params.bits, params.groups),
            }))),
            "o": Out(flow(data.ArrayLayout(decoded_layout(params.difference), params.lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.d.sync += self.o.valid.eq(self.i.valid)
        for lane in range(params.lanes):
            zero = self.i.payload.zeros[lane // (params.lanes // params.groups)]
            m.d.sync += self.o.payload[lane].significand.eq(self.i.payload.codes[lane] - zero)
        return m
