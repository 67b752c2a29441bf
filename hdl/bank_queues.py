"""Bank queues: one first-in first-out queue per bank, all in one pool."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow, registered
from spec.memory_units import BankQueuesParams

__all__ = ["BankQueues", "pushed_layout", "served_layout"]


def pushed_layout(params: BankQueuesParams) -> data.StructLayout:
    """A request on its way into its bank's queue; ``entry`` is its place in the pool."""
    return data.StructLayout({"bank": params.bank_bits, "entry": params.entry_bits,
                              "row": params.row_bits, "column": params.column_bits})


def served_layout(params: BankQueuesParams) -> data.StructLayout:
    """A request that leaves; ``more`` says that the next one of its bank has the same row."""
    return data.StructLayout({"bank": params.bank_bits, "entry": params.entry_bits,
                              "row": params.row_bits, "column": params.column_bits, "more": 1})


class BankQueues(wiring.Component):
    """Requests wait in the order in which they came to their bank; banks are independent.

    An entry's number is given by whoever pushes, who frees it later than it is served. The queues
    are linked lists through the pool, so that any bank may use any part of it.

    :Timing: ``served`` one cycle after ``serve``. A bank that is served waits again two cycles
        later at the earliest. A pushed request waits in the next cycle. ``row`` one cycle after
        ``look``.
    :Errors: an entry that is pushed while it waits, and a bank that is served while none of its
        requests waits, are mistakes of the user; not detected.

    Members
    -------
    push : flow of requests
    serve : flow of banks whose first request leaves
    served : flow of the requests that leave
    look : number of a bank
    row : row of the first request of the bank that ``look`` was
    waiting : one bit per bank, a request can be served
    held : one bit per bank, requests are there
    first : entry that waits first, per bank
    """

    def __init__(self, params: BankQueuesParams):
        if not isinstance(params, BankQueuesParams):
            raise TypeError(f"BankQueues needs BankQueuesParams, not {params!r}")
        self.params = params
        super().__init__({
            "push": In(flow(pushed_layout(params))),
            "serve": In(flow(params.bank_bits)),
            "served": Out(flow(served_layout(params))),
            "look": In(params.bank_bits),
            "row": Out(params.row_bits),
            "waiting": Out(params.banks),
            "held": Out(params.banks),
            "first": Out(data.ArrayLayout(params.entry_bits, params.banks)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        entry_bits = params.entry_bits
        m.submodules.requests = requests = Memory(
            shape=params.row_bits + params.column_bits, depth=params.entries, init=[])
        # Behind each entry: the one that follows it in its bank, and whether it has the same row.
        m.submodules.links = links = Memory(shape=entry_bits + 1, depth=params.entries, init=[])
        m.submodules.rows = rows = Memory(shape=params.row_bits, depth=params.banks, init=[])
        head = Array(Signal(entry_bits, name=f"head_{bank}") for bank in range(params.banks))
        tail = Array(Signal(entry_bits, name=f"tail_{bank}") for bank in range(params.banks))
        held = Array(Signal(name=f"held_{bank}") for bank in range(params.banks))
        busy = Array(Signal(name=f"busy_{bank}") for bank in range(params.banks))
        m.d.comb += [
            self.held.eq(Cat(held)),
            self.waiting.eq(Cat(held) & ~Cat(busy)),
            Cat(self.first).eq(Cat(head)),
        ]

        # A request leaves: first its entry, in the next cycle the one that follows.
        served = registered(m, self.serve.valid, "served_valid")
        bank = registered(m, self.serve.payload, "served_bank")
        entry = registered(m, head[self.serve.payload], "served_entry")
        push = self.push.payload
        same_bank = self.push.valid & (push.bank == bank)
        last = tail[bank] == entry
        request, link = requests.read_port(domain="comb"), links.read_port(domain="comb")
        m.d.comb += [
            request.addr.eq(entry),
            link.addr.eq(entry),
            self.served.valid.eq(served),
            self.served.payload.bank.eq(bank),
            self.served.payload.entry.eq(entry),
            Cat(self.served.payload.column, self.served.payload.row).eq(request.data),
            self.served.payload.more.eq(~last & link.data[entry_bits]),
        ]
        with m.If(self.serve.valid):
            m.d.sync += busy[self.serve.payload].eq(1)
        with m.If(served):
            m.d.sync += busy[bank].eq(0)
            with m.If(~last):
                m.d.sync += head[bank].eq(link.data[:entry_bits])
            with m.Else():
                m.d.sync += held[bank].eq(0)

        # A request comes: behind the last one of its bank, or first when that has just left.
        alone = Signal()
        row_before = rows.read_port(domain="comb")
        request_in, link_in, row_in = (memory.write_port() for memory in (requests, links, rows))
        m.d.comb += [
            row_before.addr.eq(push.bank),
            row_in.addr.eq(push.bank),
            row_in.data.eq(push.row),
            row_in.en.eq(self.push.valid),
            request_in.addr.eq(push.entry),
            request_in.data.eq(Cat(push.column, push.row)),
            request_in.en.eq(self.push.valid),
            link_in.addr.eq(tail[push.bank]),
            link_in.data.eq(Cat(push.entry, row_before.data == push.row)),
            link_in.en.eq(self.push.valid & ~alone),
            alone.eq(~held[push.bank] | (served & same_bank & last)),
        ]
        with m.If(self.push.valid):
            m.d.sync += [tail[push.bank].eq(push.entry), held[push.bank].eq(1)]
            with m.If(alone):
                m.d.sync += head[push.bank].eq(push.entry)

        looked = registered(m, head[self.look], "looked")
        row = requests.read_port(domain="comb")
        m.d.comb += [row.addr.eq(looked), self.row.eq(row.data[params.column_bits:])]
        return m
