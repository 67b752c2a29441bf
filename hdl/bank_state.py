"""Bank state: which banks are open, for whom, and when each may take its next command."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.dram_rules import DramCommand, Scope
from spec.memory_units import MemoryControllerParams

__all__ = ["BankState"]


class BankState(wiring.Component):
    """Timers of every bank, so that no command to it comes too early.

    One counter per bank holds the cycles until the bank could be opened or refreshed, its
    precharge included. That covers tRC, tRP, tRTP, tWR and tRFC in a closed bank; in an open one a
    precharge may come when no more than a precharge is left of it (tRAS, tRTP, tWR).

    :Timing: outputs from flops and one level of logic; they know of a command in the next cycle.
    :Errors: a command that the outputs do not allow is a mistake of the user; not detected.

    Members
    -------
    activate, read, write, precharge, refresh : one bit per bank, the command that is given to it
    close : one bit per bank, the access of the cycle before precharges the bank by itself
    for_write : with ``activate``: the bank is opened for writes
    refresh_all : all banks are refreshed
    open, open_write : one bit per bank; open, and open for writes
    ready : one bit per bank, an access may come
    idle : one bit per bank, closed, and ACT or a refresh may come
    settled : one bit per bank, open, and PRE may come
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"BankState needs MemoryControllerParams, not {params!r}")
        self.params = params
        banks = params.banks
        super().__init__({
            **dict.fromkeys(("activate", "read", "write", "precharge", "refresh", "close",
                             "for_write"), In(banks)),
            "refresh_all": In(1),
            **dict.fromkeys(("open", "open_write", "ready", "idle", "settled"), Out(banks)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        after_activate, after_read, after_write = (
            params.recovery(command)
            for command in (DramCommand.ACT, DramCommand.RDA, DramCommand.WRA))
        to_read, to_write = (params.distance(DramCommand.ACT, command, Scope.BANK)
                             for command in (DramCommand.RD, DramCommand.WR))
        longest = max(after_activate, after_read, after_write, params.refresh_cycles)
        idle, settled = [], []
        for bank in range(params.banks):
            left = Signal(range(longest), name=f"left_{bank}")
            down = Signal(range(longest), name=f"down_{bank}")
            opened = self.open[bank]
            m.d.comb += down.eq(Mux(left == 0, 0, left - 1))
            m.d.sync += left.eq(down)
            # A bank never waits shorter than for its ACT.
            for given, cycles in ((self.read[bank], after_read), (self.write[bank], after_write),
                                  (self.precharge[bank], params.precharge)):
                with m.If(given & (down < cycles - 1)):
                    m.d.sync += left.eq(cycles - 1)
            with m.If(self.activate[bank]):
                m.d.sync += left.eq(after_activate - 1)
            with m.If(self.refresh[bank] | self.refresh_all):
                m.d.sync += left.eq(params.refresh_cycles - 1)

            with m.If(self.precharge[bank] | self.close[bank]):
                m.d.sync += [opened.eq(0), self.ready[bank].eq(0)]
            with m.If(self.activate[bank]):
                m.d.sync += [opened.eq(1), self.open_write[bank].eq(self.for_write[bank])]
            # Between ACT and the first access nothing else moves the counter.
            wait = Mux(self.open_write[bank], after_activate - to_write + 1,
                       after_activate - to_read + 1)
            with m.Elif(opened & (left == wait) & ~self.precharge[bank]):
                m.d.sync += self.ready[bank].eq(1)
            idle.append(~opened & (left == 0))
            settled.append(opened & (left <= params.precharge))
        m.d.comb += [self.idle.eq(Cat(idle)), self.settled.eq(Cat(settled))]
        return m
