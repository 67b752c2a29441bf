"""Chain sum: the terms of one reduction after the other, added in interleaved chains."""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32_adder import Fp32Adder
from hdl.pipeline import delayed, flow
from hdl.positive_adder import PositiveAdder
from spec.arithmetic import Fp32AdderParams
from spec.formats import FP32
from spec.tensor_units import ReducerParams

__all__ = ["ChainSum"]


class ChainSum(wiring.Component):
    """Sum of the terms of each reduction.

    Term ``i`` goes to chain ``i mod CHAINS``, so that an addition has ended when its chain's next
    one begins; each chain is added in ascending order, and at the end
    ``fl32(fl32(c0 + c1) + fl32(c2 + c3))``. A chain starts at the identity, -0.

    :Formats: FP32, ``fl32`` as :class:`hdl.fp32_adder.Fp32Adder` rounds. ``positive``: the terms
        have no sign, the identity is +0, and the adders are
        :class:`hdl.positive_adder.PositiveAdder`.
    :Timing: latency ``latency`` from the term with ``last``; one term per cycle; never stalls.

    Parameters
    ----------
    positive : bool

    Members
    -------
    i : stream of ``term``, and whether it is the ``last`` of its reduction
    o : stream of FP32 codes
    """

    def __init__(self, positive: bool):
        self.positive = positive
        self.bits = FP32.bits - positive
        self.adder_latency = PositiveAdder.LATENCY if positive else Fp32AdderParams().LATENCY
        self.latency = 3 * self.adder_latency
        assert ReducerParams.CHAINS == 4 >= self.adder_latency
        super().__init__({
            "i": In(flow(data.StructLayout({"term": self.bits, "last": 1}))),
            "o": Out(flow(self.bits)),
        })

    def _sum(self, m: Module, name: str, a, b):
        if self.positive:
            m.submodules[name] = adder = PositiveAdder()
            m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
            return adder.o.as_value()
        m.submodules[name] = adder = Fp32Adder(Fp32AdderParams())
        m.d.comb += [adder.i.payload.a.eq(a), adder.i.payload.b.eq(b), adder.i.valid.eq(1)]
        return adder.o.payload

    def elaborate(self, platform):
        m = Module()
        chains = ReducerParams.CHAINS
        identity = Const(0 if self.positive else FP32.sign_mask, self.bits)
        term, last, valid = self.i.payload.term, self.i.payload.last, self.i.valid

        # The chain of the next term; ``first`` while that chain has none yet.
        chain = Signal(range(chains))
        first = Signal(init=1)
        with m.If(valid):
            m.d.sync += [
                chain.eq(Mux(last, 0, chain + 1)),
                first.eq(last | first & (chain != chains - 1)),
            ]
        chain_out = delayed(m, chain, self.adder_latency, "chain")
        first_out = delayed(m, first, self.adder_latency, "first")
        valid_out = delayed(m, valid, self.adder_latency, "valid")
        last_out = delayed(m, valid & last, self.adder_latency, "last")

        # A sum that leaves the adder in this very cycle is taken from there.
        sums = Array(Signal(self.bits, name=f"sum_{place}") for place in range(chains))
        current = Array(Signal(self.bits, name=f"current_{place}") for place in range(chains))
        total = self._sum(m, "accumulator", Mux(first, identity, current[chain]), term)
        ends = []
        for place in range(chains):
            leaves = valid_out & (chain_out == place)
            m.d.comb += current[place].eq(Mux(leaves, total, sums[place]))
            m.d.sync += sums[place].eq(current[place])
            # Chain 0 always has a term.
            ends.append(Mux(first_out & (chain_out < place), identity, current[place])
                        if place else current[place])

        low = self._sum(m, "low", ends[0], ends[1])
        high = self._sum(m, "high", ends[2], ends[3])
        m.d.comb += [
            self.o.payload.eq(self._sum(m, "whole", low, high)),
            self.o.valid.eq(delayed(m, last_out, 2 * self.adder_latency, "result")),
        ]
        return m
