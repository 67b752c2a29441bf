"""UART receiver: a serial line to bytes."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.trial_units import UartParams

__all__ = ["UartReceiver"]

DATA_BITS = 8


class UartReceiver(wiring.Component):
    """Bytes of a line with 8 data bits, least significant first, no parity, one stop bit.

    The line is asynchronous: it goes through two flops first. Each bit is read once, in its middle.

    :Timing: a byte comes in the middle of its stop bit; the next start bit may follow at once, so
        a sender may be faster by almost half a bit in ten.
    :Errors: a low that has ended before the middle of a start bit is ignored. A byte without stop
        bit is dropped, and nothing is received until the line is high again.

    Members
    -------
    rx : the line, high while idle
    o : stream of bytes, always ready
    """

    def __init__(self, params: UartParams):
        if not isinstance(params, UartParams):
            raise TypeError(f"UartReceiver needs UartParams, not {params!r}")
        self.params = params
        super().__init__({"rx": In(1), "o": Out(flow(8))})

    def elaborate(self, platform):
        m = Module()
        divider = self.params.divider
        line = Signal(2, init=0b11)
        m.d.sync += line.eq(Cat(self.rx, line[0]))
        now = line[1]

        left = Signal(range(divider))
        bits = Signal(range(DATA_BITS + 1))
        byte = Signal(DATA_BITS)
        m.d.comb += self.o.payload.eq(byte)
        m.d.sync += [self.o.valid.eq(0), left.eq(left - 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [left.eq(divider // 2 - 1), bits.eq(0)]
                with m.If(~now):
                    m.next = "START"
            with m.State("START"):
                with m.If(now):
                    m.next = "IDLE"
                with m.Elif(left == 0):
                    m.d.sync += left.eq(divider - 1)
                    m.next = "DATA"
            with m.State("DATA"):
                with m.If(left == 0):
                    m.d.sync += [left.eq(divider - 1), bits.eq(bits + 1)]
                    with m.If(bits == DATA_BITS):
                        m.d.sync += self.o.valid.eq(now)
                        m.next = "END"
                    with m.Else():
                        m.d.sync += byte.eq(Cat(byte[1:], now))
            with m.State("END"):
                with m.If(now):
                    m.next = "IDLE"
        return m
