"""Running maximum: the largest of the values of one reduction after the other."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, is_nan
from hdl.maximum_tree import code_of, order_key
from hdl.pipeline import delayed, flow, registered
from spec.formats import FP32

__all__ = ["RunningMaximum"]


class RunningMaximum(wiring.Component):
    """The first largest value of each reduction, and its place.

    :Formats: FP32; NaN is larger than all numbers, and leaves as 0x7FC00000.
    :Timing: latency ``RunningMaximum.LATENCY`` from the value with ``last``; one value per cycle;
        never stalls.

    Members
    -------
    zeros_equal : -0 is as large as +0, not less; holds still
    negate : the largest value leaves with the other sign; holds still
    i : stream of values, their places, and whether it is the last of its reduction
    o : stream of ``value`` and ``place``
    """

    LATENCY = 3

    def __init__(self):
        super().__init__({
            "zeros_equal": In(1),
            "negate": In(1),
            "i": In(flow(data.StructLayout({"value": fp32_layout, "place": 32, "last": 1}))),
            "o": Out(flow(data.StructLayout({"value": FP32.bits, "place": 32}))),
        })

    def elaborate(self, platform):
        m = Module()

        # Stage 1: an integer of the same order.
        value = self.i.payload.value
        nan = Signal()
        m.d.comb += nan.eq(is_nan(value))
        key, negative_zero = order_key(value.as_value(), nan, self.zeros_equal)
        key = registered(m, key, "key")
        negative_zero = registered(m, negative_zero, "negative_zero")
        place = registered(m, self.i.payload.place, "place")
        last = registered(m, self.i.payload.last, "last")
        valid = registered(m, self.i.valid, "valid")

        # Stage 2: keep the larger.
        first = Signal(init=1)
        largest = Signal(FP32.bits)
        largest_sign = Signal()
        largest_place = Signal(32)
        with m.If(valid):
            m.d.sync += first.eq(last)
            with m.If(first | (key > largest)):
                m.d.sync += [
                    largest.eq(key),
                    largest_sign.eq(negative_zero),
                    largest_place.eq(place),
                ]

        # Stage 3: back to FP32.
        code = code_of(largest, largest_sign)
        code = Cat(code[:-1], code[-1] ^ self.negate)
        m.d.sync += [
            self.o.payload.value.eq(Mux(largest.all(), NAN, code)),
            self.o.payload.place.eq(largest_place),
            self.o.valid.eq(delayed(m, valid & last, 1, "result")),
        ]
        return m
