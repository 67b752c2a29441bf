"""UART transmitter: bytes to a serial line."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.trial_units import UartParams

__all__ = ["UartTransmitter"]

# Start bit, eight data bits, stop bit.
FRAME_BITS = 10


class UartTransmitter(wiring.Component):
    """Bytes to a line with 8 data bits, least significant first, no parity, one stop bit.

    :Timing: the start bit begins one cycle after its byte was taken, and the next byte is taken
        when the stop bit has ended. ``tx`` leaves from a flop.

    Members
    -------
    i : stream of bytes
    tx : the line, high while idle
    """

    def __init__(self, params: UartParams):
        if not isinstance(params, UartParams):
            raise TypeError(f"UartTransmitter needs UartParams, not {params!r}")
        self.params = params
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        divider = self.params.divider
        rest = Signal(FRAME_BITS - 1)
        bits = Signal(range(FRAME_BITS + 1))
        left = Signal(range(divider))
        m.d.comb += self.i.ready.eq(bits == 0)
        with m.If(bits == 0):
            with m.If(self.i.valid):
                m.d.sync += [
                    self.tx.eq(0),
                    rest.eq(Cat(self.i.payload, Const(1, 1))),
                    bits.eq(FRAME_BITS),
                    left.eq(divider - 1),
                ]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Else():
            m.d.sync += [
                self.tx.eq(rest[0]),
                rest.eq(Cat(rest[1:], Const(1, 1))),
                bits.eq(bits - 1),
                left.eq(divider - 1),
            ]
        return m
