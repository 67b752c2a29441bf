"""Column arbiter: chooses the bank of the next access."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.round_robin import next_after
from spec.memory_units import TURN, MemoryControllerParams

__all__ = ["ColumnArbiter"]


class ColumnArbiter(wiring.Component):
    """Among the banks whose access may come now, chooses one.

    The requesters take turns in reading, as long as both have an access that may come: the host's
    turn is its share of ``TURN`` reads. Within a turn, the banks of a
    set follow each other: those with the same number in all bank groups, which a sequential stream
    goes through together. Reads begin with the set of the requester's oldest read, so that answers
    come nearly in order; writes stay in the set of the last one. Other sets come when none of these
    banks can, so that no cycle is lost.

    :Timing: the choice follows combinationally; the turn and the last choices are registered.

    Members
    -------
    reads, writes : one bit per bank, a read or a write of it may come; never both kinds at once
    ready : one bit per bank, a read may come, now or when nCCDR has passed
    host : one bit per bank, its first read is the host's
    tile_set, host_set : the set of the oldest read of each requester
    valid : one of them comes
    bank : of which bank
    """

    def __init__(self, params: MemoryControllerParams):
        if not isinstance(params, MemoryControllerParams):
            raise TypeError(f"ColumnArbiter needs MemoryControllerParams, not {params!r}")
        self.params = params
        super().__init__({
            "reads": In(params.banks),
            "ready": In(params.banks),
            "writes": In(params.banks),
            "host": In(params.banks),
            "tile_set": In(range(max(2, params.bank_sets))),
            "host_set": In(range(max(2, params.bank_sets))),
            "valid": Out(1),
            "bank": Out(range(max(2, params.banks))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        groups = params.grade.organisation.bank_groups
        sets = params.bank_sets

        # Whose turn it is. Who has the turn and waits for another stack ID is waited for: reads of
        # the stack ID before would put it off for ever.
        wanted = Signal(params.banks)
        tile, host = Signal(params.banks), Signal(params.banks)
        tile_ready = (self.ready & ~self.host).any()
        host_ready = (self.ready & self.host).any()
        turn_host, other = Signal(), Signal()
        left = Signal(range(TURN))
        mine, others = Signal(), Signal()
        m.d.comb += [
            tile.eq(self.reads & ~self.host),
            host.eq(self.reads & self.host),
            mine.eq(Mux(turn_host, host_ready, tile_ready)),
            others.eq(Mux(turn_host, tile_ready, host_ready)),
            other.eq(others & (~mine | (left == 0))),
            self.valid.eq(wanted.any()),
        ]
        with m.If(other):
            m.d.sync += [
                turn_host.eq(~turn_host),
                left.eq(Mux(turn_host, TURN - params.host_turn - 1, params.host_turn - 1)),
            ]
        with m.Elif(self.valid & (left != 0)):
            m.d.sync += left.eq(left - 1)

        # Who goes on where: tile's reads, host's reads, writes.
        stream = Signal(2)
        m.d.comb += stream.eq(Mux(self.writes.any(), 2, turn_host ^ other))
        m.d.comb += wanted.eq(Array([tile, host, self.writes, self.writes])[stream])

        # The set where it begins, or the next that has an access.
        write_set, first_set = Signal(range(max(2, sets))), Signal(range(max(2, sets)))
        m.d.comb += first_set.eq(
            Array([self.tile_set, self.host_set, write_set, write_set])[stream])
        last_group = Signal(range(max(2, groups)))
        in_set = [wanted[index * groups:(index + 1) * groups] for index in range(sets)]
        any_in_set = Signal(sets)
        m.d.comb += any_in_set.eq(Cat(part.any() for part in in_set))
        stay = any_in_set.bit_select(first_set, 1)
        following = next_after(m, any_in_set, first_set, "following")
        chosen_set = Signal(range(max(2, sets)))
        m.d.comb += chosen_set.eq(Mux(stay, first_set, following))
        of_set = Signal(groups)
        m.d.comb += of_set.eq(Array(in_set)[chosen_set])
        group = next_after(m, of_set, last_group, "group")
        m.d.comb += self.bank.eq(
            chosen_set * groups + group if groups > 1 else chosen_set)
        with m.If(self.valid):
            m.d.sync += last_group.eq(group)
        with m.If(self.writes.any()):
            m.d.sync += write_set.eq(chosen_set)
        return m
