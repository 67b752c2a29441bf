"""Refresh scheduler: says which banks owe a refresh, and which may wait no longer."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.memory_units import MemoryControllerParams

__all__ = ["RefreshScheduler"]


class RefreshScheduler(wiring.Component):
    """Counts, per bank, the refreshes owed: one more each nREFI, one less with each refresh.

    A refresh is postponed by at most ``refresh_postponed_max`` intervals; one interval before that
    limit a bank is ``urgent``. With all-bank refresh, the banks share one count.

    :Timing: outputs from flops and one level of logic.

    Members
    -------
    refreshed : one bit per bank (all-bank: bit 0 alone), a refresh is given
    owed : one bit per bank, at least one refresh is owed
    late : one bit per bank, at least half of those that may be postponed are
    more : one bit per bank, at least two are
    urgent : one bit per bank, the refresh must come next
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"RefreshScheduler needs MemoryControllerParams, not {params!r}")
        self.params = params
        counts = params.banks if params.refresh == "per-bank" else 1
        super().__init__({"refreshed": In(counts), "owed": Out(counts), "late": Out(counts),
                          "more": Out(counts), "urgent": Out(counts)})

    def elaborate(self, platform):
        m = Module()
        params = self.params
        interval = params.grade.timing.nREFI
        postponed = params.grade.organisation.refresh_postponed_max

        # The interval, in cycles of the grade's clock.
        ck = Signal(range(interval + params.cycle_ck))
        tick = Signal()
        m.d.comb += tick.eq(ck >= interval - params.cycle_ck)
        m.d.sync += ck.eq(Mux(tick, ck - (interval - params.cycle_ck), ck + params.cycle_ck))

        owed, late, more, urgent = [], [], [], []
        for place in range(len(self.refreshed)):
            count = Signal(range(postponed + 2), name=f"count_{place}")
            m.d.sync += count.eq(count + tick - self.refreshed[place])
            owed.append(count != 0)
            late.append(count >= max(2, postponed // 2))
            more.append(count >= 2)
            urgent.append(count >= params.refreshes_gathered)
        m.d.comb += [self.owed.eq(Cat(owed)), self.late.eq(Cat(late)), self.more.eq(Cat(more)),
                     self.urgent.eq(Cat(urgent))]
        return m
