"""Command scheduler: chooses the DRAM commands of every cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.bank_queues import BankQueues, pushed_layout
from hdl.bank_state import BankState
from hdl.column_arbiter import ColumnArbiter
from hdl.dram_port import command_members
from hdl.pipeline import flow, registered
from hdl.refresh_scheduler import RefreshScheduler
from hdl.round_robin import next_after, one_hot
from spec.dram_rules import DramCommand, Scope
from spec.memory_units import MemoryControllerParams

__all__ = ["CommandScheduler"]

# Writes wait until so many are together (of the write slots), so that turnarounds are few ...
WRITES_TOGETHER = 3 / 4
# ... or until the first has waited for so many cycles.
WRITE_AGE = 2048
# Cycles in which rows are opened for writes while reads go on, at most.
PREPARE_CYCLES = 32
# A bank counts as just left for so many cycles, and up to as many again.
LEFT_CYCLES = 64
# A write phase with reads waiting ends after so many cycles without a write.
WRITE_PAUSE = 16
# While both come without end, reads and writes have so many cycles each in turn.
PHASE_CYCLES = 128

OUTSIDE = (Scope.OTHER_GROUP, Scope.OTHER_STACK)


class CommandScheduler(wiring.Component):
    """Reads and writes wait per bank; rows are opened ahead, banks are refreshed in between.

    Accesses to one bank of one kind keep their order; others do not. A row stays open exactly as
    long as accesses to it wait: the last one precharges the bank by itself (RDA, WRA). Explicit PRE
    is left for banks that change from reads to writes or must be refreshed.

    Reads come first. Writes wait until they are worth the two turnarounds; their rows are opened
    while reads go on. A bank that a stream has just left is refreshed if it owes one: the stream
    will not be back for long. Where no such moment comes, the refresh waits up to one interval less
    than the grade allows, and is then forced. With all-bank refresh, the refreshes owed are given
    one behind the other when nothing waits, or as late as is allowed.

    :Timing: at most one row and one column command per cycle, in the phases of
        :meth:`spec.memory_units.MemoryControllerParams.phase`; the command port comes from flops,
        two cycles after the choice.

    Members
    -------
    reads, writes : flows of requests
    tile_set, host_set : the set of banks of each requester's oldest read
    served_read : flow of entries whose RD or RDA is on the command port
    served_write : flow of entries whose WR or WRA is on the command port in the next cycle
    dram_row_*, dram_column_* : the command port
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"CommandScheduler needs MemoryControllerParams, not {params!r}")
        self.params = params
        super().__init__({
            "reads": In(flow(pushed_layout(params.read_queues))),
            "writes": In(flow(pushed_layout(params.write_queues))),
            "tile_set": In(range(max(2, params.bank_sets))),
            "host_set": In(range(max(2, params.bank_sets))),
            "served_read": Out(flow(params.read_queues.entry_bits)),
            "served_write": Out(flow(params.write_queues.entry_bits)),
            **command_members(params),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.read_queues = self.read_queues = BankQueues(params.read_queues)
        m.submodules.write_queues = self.write_queues = BankQueues(params.write_queues)
        m.submodules.bank_state = self.banks = BankState(params)
        m.submodules.refresh_scheduler = self.refresh = RefreshScheduler(params)
        m.submodules.column_arbiter = self.arbiter = ColumnArbiter(params)
        wiring.connect(m, wiring.flipped(self.reads), self.read_queues.push)
        wiring.connect(m, wiring.flipped(self.writes), self.write_queues.push)
        # Which stack ID each bank is in, and which bank group, counted over all stack IDs.
        part = params.grade.organisation
        in_stack = part.bank_groups * part.banks_per_group
        self.stack_of = [bank // in_stack for bank in range(params.banks)]
        self.group_of = [stack * part.bank_groups + bank % part.bank_groups
                         for bank, stack in enumerate(self.stack_of)]
        # Banks that take no access and no ACT, as a refresh must come; a row command that needs the
        # whole cycle; the phase of writes, and that which opens rows for them.
        self.hold = Signal(params.banks)
        self.no_column = Signal()
        self.writing, self.preparing, self.reads_wait = Signal(), Signal(), Signal()
        self._phases(m)
        self._rows(m)
        self._columns(m)
        return m

    def _countdown(self, m, cycles: int, event, name: str):
        """Return whether ``cycles`` have passed since the last ``event``."""
        if cycles <= 1:
            return Const(1)
        left = Signal(range(cycles), name=name)
        with m.If(event):
            m.d.sync += left.eq(cycles - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return left == 0

    def _countdowns(self, m, cycles: int, given, bank, group_of, name: str, others=False):
        """Return, bank by bank, whether ``cycles`` have passed since ``given`` was last given to a
        ``bank`` of its group; of another group where ``others``."""
        apart = {}
        for group in sorted(set(group_of)):
            mine = Cat(bank == one for one, here in enumerate(group_of)
                       if (here == group) != others).any()
            apart[group] = self._countdown(m, cycles, given & mine, f"{name}_{group}")
        return Cat(apart[group] for group in group_of)

    def _distance(self, earlier: DramCommand, later: DramCommand, *scopes: Scope) -> int:
        return max(self.params.distance(earlier, later, scope) for scope in scopes)

    def _phases(self, m):
        """Reads, or writes; and the step between, in which rows are opened for writes."""
        params = self.params
        reads, writes = self.read_queues, self.write_queues
        count = Signal(range(params.writes + 1))
        # Cycles of a write phase, or those in which writes wait for one.
        age = Signal(range(WRITE_AGE + 1))
        older = age.eq(Mux(age == WRITE_AGE, age, age + 1))
        # A write phase had to end because reads wait.
        ended = Signal()
        pause = Signal(range(max(PREPARE_CYCLES, WRITE_PAUSE) + 1))
        m.d.sync += count.eq(count + writes.push.valid - writes.serve.valid)
        reads_wait = self.reads_wait
        m.d.sync += reads_wait.eq(reads.held.any())
        openable = self.banks.ready & self.banks.open_write & writes.waiting
        with m.If(self.writing):
            m.d.sync += [older, pause.eq(Mux(writes.serve.valid, 0, pause + 1))]
            with m.If((count == 0)
                      | (reads_wait & ((pause == WRITE_PAUSE) | (age >= PHASE_CYCLES)))):
                m.d.sync += [self.writing.eq(0), age.eq(0), ended.eq(age >= PHASE_CYCLES)]
            with m.Elif(pause == WRITE_PAUSE):
                m.d.sync += pause.eq(0)
        with m.Elif(self.preparing):
            m.d.sync += pause.eq(pause + 1)
            with m.If((openable != 0) | ~reads_wait | (pause == PREPARE_CYCLES)):
                m.d.sync += [self.preparing.eq(0), self.writing.eq(1), pause.eq(0), age.eq(0)]
        with m.Elif(count != 0):
            m.d.sync += [older, pause.eq(0)]
            enough = (count >= int(params.writes * WRITES_TOGETHER)) & (
                ~ended | (age >= PHASE_CYCLES))
            m.d.sync += self.preparing.eq(enough | (age == WRITE_AGE) | ~reads_wait)

    def _rows(self, m):
        """Choose the row command: a refresh, else a precharge, else an activation."""
        params, banks = self.params, self.banks
        count = params.banks
        reads, writes = self.read_queues, self.write_queues
        ACT, PRE = DramCommand.ACT, DramCommand.PRE
        per_bank = params.refresh == "per-bank"
        refresh_command = DramCommand.REFpb if per_bank else DramCommand.REFab
        activate, precharge, refresh = Signal(), Signal(), Signal()
        refresh_all = Signal()
        bank = Signal(range(max(2, count)))

        # When an ACT may come: tRRDS, tRRDL, tFAW, tRREFD.
        apart = self._countdown(m, self._distance(ACT, ACT, *OUTSIDE), activate, "act_apart")
        if per_bank:
            apart &= self._countdown(
                m, self._distance(refresh_command, ACT, Scope.OTHER_BANK), refresh, "ref_apart")
        by_bank = self._countdowns(m, self._distance(ACT, ACT, Scope.GROUP), activate, bank,
                                   self.group_of, "act_group")
        may_open = Signal(count)
        m.d.comb += may_open.eq(banks.idle & by_bank & apart.replicate(count))
        window = params.distance(ACT, ACT, Scope.BANK, window=4)
        recent = Signal(max(1, window - 1))
        number = Signal(range(5))
        m.d.sync += [recent.eq(Cat(activate, recent)),
                     number.eq(number + activate - recent[-1])]

        # Refresh.
        # Writes that wait for their phase do not mind.
        quiet = ~reads.held & ~(writes.held & (self.writing | self.preparing).replicate(count))
        late, owed, urgent = self.refresh.late, self.refresh.owed, self.refresh.urgent
        to_refresh, to_precharge, to_open = Signal(count), Signal(count), Signal(count)
        if per_bank:
            just_left, left = Signal(count), Signal(count)
            clock = Signal(range(LEFT_CYCLES))
            leaving = banks.close & (reads.served.valid | ~self.reads_wait).replicate(count)
            m.d.sync += [clock.eq(clock + 1), just_left.eq(just_left | leaving)]
            with m.If(clock == 0):
                m.d.sync += [just_left.eq(leaving), left.eq(just_left)]
            m.d.comb += [
                self.hold.eq(urgent),
                to_refresh.eq(may_open & (urgent | (owed & quiet & (just_left | left | late)))),
                self.refresh.refreshed.eq(banks.refresh),
            ]
        else:
            pending = Signal()
            m.d.comb += [
                self.hold.eq(pending.replicate(count)),
                refresh_all.eq(pending & banks.idle.all()),
                self.refresh.refreshed.eq(refresh_all),
            ]
            with m.If(~pending):
                m.d.sync += pending.eq(urgent | (owed & quiet.all()))
            with m.Elif(refresh_all & ~self.refresh.more):
                m.d.sync += pending.eq(0)

        # Precharge: a refresh must come, or the bank is open for the wrong kind.
        wrong = Mux(self.writing, ~banks.open_write & writes.held,
                    banks.open_write & reads.held & ~self.preparing.replicate(count))
        free = self._countdown(m, self._distance(PRE, PRE, *OUTSIDE), precharge, "pre_apart")
        m.d.comb += to_precharge.eq(banks.settled & (self.hold | wrong) & free.replicate(count))

        # Activation, for reads or writes.
        for_read = reads.waiting & ~(writes.held & self.writing.replicate(count))
        for_write = writes.waiting & Mux(
            self.writing, -1, ~reads.held & self.preparing.replicate(count))
        m.d.comb += [
            banks.for_write.eq(~for_read),
            to_open.eq(may_open & ~self.hold & (for_read | for_write)
                       & (number < 4).replicate(count)),
        ]

        last = Signal.like(bank)
        m.d.comb += [
            refresh.eq(to_refresh.any()),
            precharge.eq(~refresh & to_precharge.any()),
            activate.eq(~refresh & ~precharge & to_open.any()),
            bank.eq(next_after(m, Mux(refresh, to_refresh, Mux(precharge, to_precharge, to_open)),
                               last, "row_bank")),
            banks.refresh.eq(Mux(refresh, one_hot(bank, count), 0)),
            banks.precharge.eq(Mux(precharge, one_hot(bank, count), 0)),
            banks.activate.eq(Mux(activate, one_hot(bank, count), 0)),
            banks.refresh_all.eq(refresh_all),
            self.no_column.eq((activate & params.exclusive(ACT))
                              | (precharge & params.exclusive(PRE))
                              | (refresh & params.exclusive(refresh_command))),
        ]
        with m.If(refresh | precharge | activate):
            m.d.sync += last.eq(bank)

        # The command port, when the row is known.
        m.d.comb += [reads.look.eq(bank), writes.look.eq(bank)]
        valid = registered(m, refresh | precharge | activate | refresh_all, "row_valid")
        command = registered(m, Mux(activate, ACT, Mux(precharge, PRE, refresh_command)),
                             "row_command")
        row_bank = registered(m, bank, "row_bank_1")
        write = registered(m, banks.for_write.bit_select(bank, 1), "row_write")
        m.d.sync += [
            self.dram_row_valid.eq(valid),
            self.dram_row_command.eq(command),
            self.dram_row_row.eq(Mux(write, writes.row, reads.row)),
        ]
        self._place(m, "row", row_bank)

    def _columns(self, m):
        """Choose the access."""
        params, banks, arbiter = self.params, self.banks, self.arbiter
        reads, writes = self.read_queues, self.write_queues
        RD, WR = DramCommand.RD, DramCommand.WR
        read, write = Signal(), Signal()
        everywhere = (Scope.GROUP, *OUTSIDE)

        may_read = self._countdown(m, self._distance(WR, RD, *everywhere), write, "write_to_read")
        may_write = (self._countdown(m, self._distance(RD, WR, *everywhere), read, "read_to_write")
                     & self._countdown(m, self._distance(WR, WR, *OUTSIDE), write,
                                       "write_to_write"))
        read_apart = self._countdowns(m, self._distance(RD, RD, Scope.GROUP), read, arbiter.bank,
                                      self.group_of, "read_group")
        write_apart = self._countdowns(m, self._distance(WR, WR, Scope.GROUP), write, arbiter.bank,
                                       self.group_of, "write_group")
        stack_apart = self._countdowns(m, params.distance(RD, RD, Scope.OTHER_STACK), read,
                                       arbiter.bank, self.stack_of, "read_stack", others=True)
        usable = Signal(params.banks)
        m.d.comb += [
            usable.eq(banks.open & banks.ready & ~self.hold
                      & (~self.no_column).replicate(params.banks)),
            arbiter.ready.eq(
                usable & ~banks.open_write & reads.waiting & read_apart
                & (~self.writing & may_read).replicate(params.banks)),
            arbiter.reads.eq(arbiter.ready & stack_apart),
            arbiter.writes.eq(
                usable & banks.open_write & writes.waiting & write_apart
                & (self.writing & may_write).replicate(params.banks)),
            arbiter.tile_set.eq(self.tile_set),
            arbiter.host_set.eq(self.host_set),
            arbiter.host.eq(Cat(entry[params.read_slot_bits] for entry in reads.first)),
            read.eq(arbiter.valid & ~self.writing),
            write.eq(arbiter.valid & self.writing),
            reads.serve.valid.eq(read),
            reads.serve.payload.eq(arbiter.bank),
            writes.serve.valid.eq(write),
            writes.serve.payload.eq(arbiter.bank),
            banks.read.eq(Mux(read, one_hot(arbiter.bank, params.banks), 0)),
            banks.write.eq(Mux(write, one_hot(arbiter.bank, params.banks), 0)),
        ]

        # One cycle later it is known whether the row is needed any longer.
        served_read, served_write = reads.served, writes.served
        served = Mux(served_read.valid, served_read.payload.bank, served_write.payload.bank)
        more = Mux(served_read.valid, served_read.payload.more, served_write.payload.more)
        valid = served_read.valid | served_write.valid
        m.d.comb += [
            banks.close.eq(Mux(valid & ~more, one_hot(served, params.banks), 0)),
            self.served_write.valid.eq(served_write.valid),
            self.served_write.payload.eq(served_write.payload.entry),
        ]
        m.d.sync += [
            self.dram_column_valid.eq(valid),
            self.dram_column_command.eq(
                Mux(served_read.valid, Mux(more, RD, DramCommand.RDA),
                    Mux(more, WR, DramCommand.WRA))),
            self.dram_column_row.eq(
                Mux(served_read.valid, served_read.payload.row, served_write.payload.row)),
            self.dram_column_column.eq(
                Mux(served_read.valid, served_read.payload.column, served_write.payload.column)),
            self.served_read.valid.eq(served_read.valid),
            self.served_read.payload.eq(served_read.payload.entry),
        ]
        self._place(m, "column", served)

    def _place(self, m, bus: str, bank):
        """Register a bank's number as stack ID, bank group and bank."""
        part = self.params.grade.organisation
        low = part.bank_groups.bit_length() - 1
        high = low + part.banks_per_group.bit_length() - 1
        bank = Cat(bank)
        m.d.sync += [
            getattr(self, f"dram_{bus}_bank_group").eq(bank[:low]),
            getattr(self, f"dram_{bus}_bank").eq(bank[low:high]),
            getattr(self, f"dram_{bus}_stack_id").eq(bank[high:]),
        ]
