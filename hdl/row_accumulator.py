"""Row accumulator: the scaled group sums of interleaved rows, added in FP32."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.fp32 import ZERO, fp32_layout
from hdl.fp32_adder import Fp32Adder
from hdl.pipeline import delayed, flow, registered
from spec.arithmetic import RowAccumulatorParams
from spec.formats import FP32

__all__ = ["RowAccumulator", "row_layout"]


def row_layout(slot_bits: int) -> data.StructLayout:
    """Where a group stands: its row's number in the strip, first and last group of that row."""
    return data.StructLayout({"slot": slot_bits, "first": 1, "last": 1})


class RowAccumulator(wiring.Component):
    """Sum over the groups of each row, in the order in which they come.

    The golden model is :func:`golden.row_accumulator.row_accumulator`.

    :Formats: FP32, ``acc = fl32(acc + t)``, starting at +0; the adder is
        :class:`hdl.fp32_adder.Fp32Adder`.
    :Timing: latency ``RowAccumulatorParams.LATENCY`` from the group with ``row.last``; one group
        per cycle; never stalls.
    :Errors: two groups of one row less than the latency of the adder apart lose the first; not
        detected. The strips of the memory layout keep the distance.

    Members
    -------
    i : stream of ``term`` and ``row``, always ready
    o : stream of FP32 codes, one per row, always ready
    """

    def __init__(self, params: RowAccumulatorParams):
        if not isinstance(params, RowAccumulatorParams):
            raise TypeError(f"RowAccumulator needs RowAccumulatorParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(data.StructLayout({
                "term": fp32_layout,
                "row": row_layout(params.slot_bits),
            }))),
            "o": Out(flow(FP32.bits)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = Fp32Adder(self.params.adder)
        last_out = delayed(m, self.i.payload.row.last, self.params.LATENCY, "last")
        (self._memory if self.params.in_memory else self._flops)(m, adder)
        m.d.comb += [
            self.o.valid.eq(adder.o.valid & last_out),
            self.o.payload.eq(adder.o.payload),
        ]
        return m

    def _flops(self, m, adder):
        """Few sums."""
        row = self.i.payload.row
        sums = [Signal(FP32.bits, name=f"sum_{slot}") for slot in range(self.params.rows)]
        slot_out = delayed(m, row.slot, self.params.adder.LATENCY, "slot")

        # A sum that leaves the adder in this very cycle is taken from there.
        chosen = Signal(FP32.bits)
        once = "operands" in self.params.adder.cuts
        for slot, total in enumerate(sums):
            with m.If(adder.o.valid & (slot_out == slot)):
                m.d.sync += total.eq(adder.o.payload)
            with m.If(row.slot == slot):
                m.d.comb += chosen.eq(
                    total if once else
                    Mux(adder.o.valid & (slot_out == slot), adder.o.payload, total))
        if once:
            # Behind the choice, a single time: longer, but registers follow at once.
            chosen = Mux(adder.o.valid & (slot_out == row.slot), adder.o.payload, chosen)
        m.d.comb += [
            adder.i.valid.eq(self.i.valid),
            adder.i.payload.a.eq(Mux(row.first, ZERO, chosen)),
            adder.i.payload.b.eq(self.i.payload.term),
        ]

    def _memory(self, m, adder):
        """Many sums."""
        m.submodules.sums = sums = Memory(shape=FP32.bits, depth=self.params.rows, init=[])
        write = sums.write_port()
        read = sums.read_port(transparent_for=[write])
        slot = registered(m, self.i.payload.row.slot, "slot")
        slot_out = delayed(m, slot, self.params.adder.LATENCY, "slot_out")
        here = adder.o.valid & (slot_out == slot)
        m.d.comb += [
            read.addr.eq(self.i.payload.row.slot),
            write.addr.eq(slot_out),
            write.data.eq(adder.o.payload),
            write.en.eq(adder.o.valid),
            adder.i.valid.eq(registered(m, self.i.valid, "valid")),
            adder.i.payload.a.eq(Mux(registered(m, self.i.payload.row.first, "first"), ZERO,
                                     Mux(here, adder.o.payload, read.data))),
            adder.i.payload.b.eq(registered(m, self.i.payload.term.as_value(), "term")),
        ]
