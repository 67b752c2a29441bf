"""Inline ECC: check bits in a region of the same memory, for two requesters."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Out

from hdl.memory_controller import requester_members
from hdl.pipeline import flow, registered
from hdl.round_robin import next_after
from hdl.secded_decoder import SecdedDecoder
from hdl.secded_encoder import check_bits
from spec.memory_units import InlineEccParams, ReadFault
from spec.secded import DATA_BITS

__all__ = ["InlineEcc"]

# The check bits of so many atoms fill one.
GROUP_BITS = 3


class InlineEcc(wiring.Component):
    """Stands between the requesters and the memory controller, and keeps check bits for them.

    Data are in the atoms [0, 7/8 N) of N; the check bits of atom a are the bytes of group a mod 8
    of its check atom, :meth:`spec.memory_units.InlineEccParams.check_atom`, a byte per 64-bit word.

    :Formats: the code of :mod:`spec.secded`.
    :Timing: one request of all four streams accepted per cycle; one answer per cycle. A check atom
        is read before the first atom that needs it, and kept for the reads of that requester that
        follow and need the same; a write is two writes. So nine accesses for eight atoms read in
        order. ``ready`` of one stream follows ``valid`` of the others, and ``ready`` of the memory,
        combinationally.
    :Errors: as :class:`hdl.memory_controller.MemoryController` for side-band check bits: a word
        with two wrong bits, in itself or in its check bits, is answered with
        ``ReadFault.UNCORRECTABLE``; a fault of a check atom's own read is the fault of every atom
        that it was read for. A correction stays out of the memory. An atom of the check region is
        not to be asked for, and every write is of a whole atom, whatever its strobe; neither is
        detected.

    A read waits for the writes, and a write for the reads, that are under way and may share its
    check atom; others pass. Each stream has its turns in which those that would hold it up wait.
    Reads are asked for only while there is room for their answers, so that a requester that takes
    none cannot stop the writes.

    Members
    -------
    tile_*, host_* : the requesters' streams, see :func:`hdl.memory_controller.requester_members`
    memory_tile_*, memory_host_* : the same streams of the memory controller
    corrected : words corrected in this cycle
    uncorrectable : flow of the indices of atoms with two wrong bits in a word
    """

    def __init__(self, params: InlineEccParams):
        if not isinstance(params, InlineEccParams):
            raise TypeError(f"InlineEcc needs InlineEccParams, not {params!r}")
        self.params = params
        members = {f"{who}_{name}": member for who in ("tile", "host")
                   for name, member in requester_members(params).items()}
        super().__init__({
            **members,
            **{f"memory_{name}": member.flip() for name, member in members.items()},
            "corrected": Out(range(params.secded.words + 1)),
            "uncorrectable": Out(flow(params.index_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        reads = [_Read(self, m, who, count) for who, count in
                 (("tile", params.tile_reads), ("host", params.host_reads))]
        writes = [_Write(self, m, who) for who in ("tile", "host")]
        self._accept(m, reads, writes)
        self._answer(m, reads)
        return m

    def _accept(self, m, reads, writes):
        """Take one request; none that meets one under way that it must not mix with."""
        params = self.params
        requests = [*reads, *writes]
        tile_write, host_write = writes
        read = Cat(count.any() for count in self._under_way(m, reads))
        for one in reads:
            m.d.comb += one.conflict.eq(tile_write.holds(one.tag) | host_write.holds(one.tag))
        for one, other in ((tile_write, host_write), (host_write, tile_write)):
            m.d.comb += one.conflict.eq(read.bit_select(one.bucket, 1) | other.holds(one.tag))

        turn = Signal(range(len(requests)))
        waits = Signal()
        held = Signal(params.bucket_bits)
        m.d.comb += [
            waits.eq(Array(one.wants & one.conflict for one in requests)[turn]),
            held.eq(Array(one.bucket for one in requests)[turn]),
        ]
        with m.If(~waits):
            m.d.sync += turn.eq(turn + 1)
        good = Signal(len(requests))
        m.d.comb += good.eq(Cat(one.wants & ~one.conflict & ~(waits & (one.bucket == held))
                                for one in requests))
        number = next_after(m, good, (turn - 1)[:len(turn)], "number")
        for place, one in enumerate(requests):
            m.d.comb += one.taken.eq(good[place] & (number == place))
        for write in writes:
            with m.If(write.taken):
                for one in reads:
                    with m.If(one.kept_tag == write.tag):
                        m.d.sync += one.kept.eq(0)

    def _under_way(self, m, reads):
        """Count the reads under way, by the low bits of their check atoms."""
        most = sum(one.count for one in reads)
        started, bucket = Signal(), Signal(self.params.bucket_bits)
        self.read_ended, self.ended_index = Signal(), Signal(self.params.index_bits)
        ended = self.ended_index[GROUP_BITS:][:len(bucket)]
        m.d.comb += [started.eq(reads[0].taken | reads[1].taken),
                     bucket.eq(Mux(reads[0].taken, reads[0].bucket, reads[1].bucket))]
        counts = []
        for place in range(1 << self.params.bucket_bits):
            count = Signal(range(most + 1), name=f"reads_{place}")
            m.d.sync += count.eq(count + (started & (bucket == place))
                                 - (self.read_ended & (ended == place)))
            counts.append(count)
        return counts

    def _answer(self, m, reads):
        """Take the memory's answers, one in a cycle, and decode those that are data."""
        params = self.params
        tile, host = reads
        from_tile, from_host, host_last = Signal(), Signal(), Signal()
        m.d.comb += [
            from_host.eq(host.came & ~(tile.came & host_last)),
            from_tile.eq(tile.came & ~from_host),
            tile.used.eq(from_tile),
            host.used.eq(from_host),
        ]
        with m.If(from_tile | from_host):
            m.d.sync += host_last.eq(from_host)
        m.submodules.decoder = decoder = SecdedDecoder(params.secded)
        m.d.comb += [
            decoder.i.valid.eq(from_tile & ~tile.oldest.check | from_host & ~host.oldest.check),
            decoder.i.payload.eq(Mux(from_host, host.coded, tile.coded)),
        ]
        valid = registered(m, decoder.i.valid, "decoded")
        of_host = registered(m, from_host, "of_host")
        index = registered(m, Mux(from_host, host.oldest.index, tile.oldest.index), "index")
        fault = registered(m, Mux(from_host, host.fault, tile.fault), "fault")
        answer = decoder.o.payload
        read = valid & (fault == ReadFault.NONE)
        item = Cat(answer.data, fault | Mux(read & answer.uncorrectable,
                                            ReadFault.UNCORRECTABLE, ReadFault.NONE))
        m.d.comb += [
            self.read_ended.eq(valid),
            self.ended_index.eq(index),
            self.corrected.eq(Mux(read, sum(answer.corrected), 0)),
            self.uncorrectable.valid.eq(read & answer.uncorrectable),
            self.uncorrectable.payload.eq(index),
            tile.answers.w_en.eq(valid & ~of_host),
            host.answers.w_en.eq(valid & of_host),
            tile.answers.w_data.eq(item),
            host.answers.w_data.eq(item),
        ]


class _Request:
    """A stream of requests: whether its first one can be taken, and whether it is."""

    def __init__(self, params, index, name):
        self.tag = index[GROUP_BITS:]
        self.bucket = self.tag[:params.bucket_bits]
        self.wants, self.conflict, self.taken = (
            Signal(name=f"{name}_{part}") for part in ("wants", "conflict", "taken"))


def _check_index(params, index):
    """The check atom of an atom, see :meth:`spec.memory_units.InlineEccParams.check_atom`."""
    bits = [~index[bit] if place == params.inverted_place else index[bit]
            for place, bit in enumerate(params.check_order)]
    return Cat(*bits, Const(7, GROUP_BITS))


class _Read(_Request):
    """The reads of one requester."""

    def __init__(self, unit, m, who, count):
        params, self.count = unit.params, count
        request, memory = getattr(unit, f"{who}_read"), getattr(unit, f"memory_{who}_read")
        super().__init__(params, request.payload, f"{who}_read")

        # The read whose requests to the memory are not sent; ``fetch``: the check atom comes first.
        valid, fetch = Signal(name=f"{who}_read_valid"), Signal(name=f"{who}_read_fetch")
        index = Signal(params.index_bits, name=f"{who}_read_index")
        self.kept = Signal(name=f"{who}_kept")
        self.kept_tag = Signal(len(self.tag), name=f"{who}_kept_tag")
        reserved = Signal(range(count + 1), name=f"{who}_reserved")

        layout = data.StructLayout({"check": 1, "index": params.index_bits})
        asked = SyncFIFOBuffered(width=layout.size, depth=count + 2)
        # One more, for the cycle in which an item moves to the output.
        self.answers = SyncFIFOBuffered(width=params.atom_bits + 2, depth=count + 1)
        m.submodules[f"{who}_asked"], m.submodules[f"{who}_answers"] = asked, self.answers
        sent, left = memory.valid & memory.ready, Signal(name=f"{who}_left")
        answer = getattr(unit, f"{who}_data")
        m.d.comb += [
            memory.valid.eq(valid & asked.w_rdy),
            memory.payload.eq(Mux(fetch, _check_index(params, index), index)),
            asked.w_en.eq(sent),
            asked.w_data.eq(Cat(fetch, index)),
            self.wants.eq(request.valid & (~valid | sent & ~fetch) & (reserved != count)),
            request.ready.eq(self.taken),
            answer.valid.eq(self.answers.r_rdy),
            answer.payload.eq(self.answers.r_data),
            left.eq(answer.valid & answer.ready),
            self.answers.r_en.eq(left),
        ]
        m.d.sync += reserved.eq(reserved + self.taken - left)
        with m.If(sent):
            m.d.sync += [fetch.eq(0), valid.eq(fetch)]
        with m.If(self.taken):
            m.d.sync += [
                valid.eq(1),
                index.eq(request.payload),
                fetch.eq(~self.kept | (self.kept_tag != self.tag)),
                self.kept.eq(1),
                self.kept_tag.eq(self.tag),
            ]

        # Answers: ``used`` takes the one that ``came``.
        came, self.oldest = getattr(unit, f"memory_{who}_data"), data.View(layout, asked.r_data)
        self.came, self.used = Signal(name=f"{who}_came"), Signal(name=f"{who}_used")
        check = Signal(params.atom_bits, name=f"{who}_check")
        check_fault = Signal(2, name=f"{who}_check_fault")
        group = self.oldest.index[:GROUP_BITS]
        self.coded = Cat(came.payload.data, check.word_select(group, params.ecc_bits))
        self.fault = Mux(came.payload.fault == ReadFault.NONE, check_fault, came.payload.fault)
        m.d.comb += [
            self.came.eq(came.valid & asked.r_rdy),
            came.ready.eq(self.used),
            asked.r_en.eq(self.used),
        ]
        with m.If(self.used & self.oldest.check):
            m.d.sync += [check.eq(came.payload.data), check_fault.eq(came.payload.fault)]
            with m.If(came.payload.fault != ReadFault.NONE):
                m.d.sync += self.kept.eq(0)


class _Write(_Request):
    """The writes of one requester."""

    def __init__(self, unit, m, who):
        params = unit.params
        request, memory = getattr(unit, f"{who}_write"), getattr(unit, f"memory_{who}_write")
        super().__init__(params, request.payload.index, f"{who}_write")

        # The write that is sent, first its data, then its check bits.
        valid, second = Signal(name=f"{who}_write_valid"), Signal(name=f"{who}_write_second")
        index = Signal(params.index_bits, name=f"{who}_write_index")
        atom = Signal(params.atom_bits, name=f"{who}_write_data")
        ecc = Signal(params.ecc_bits, name=f"{who}_write_ecc")
        sent = memory.valid & memory.ready

        # Check atoms of the writes under way, in circular order.
        places = range(params.writes)
        self.busy = Signal(params.writes, name=f"{who}_busy")
        self.tags = [Signal(len(self.tag), name=f"{who}_tag_{place}") for place in places]
        newest, oldest = (Signal(range(params.writes), name=f"{who}_{name}")
                          for name in ("newest", "oldest"))
        written, done = getattr(unit, f"memory_{who}_written"), getattr(unit, f"{who}_written")
        half = Signal(name=f"{who}_half")
        m.d.comb += [
            memory.valid.eq(valid),
            memory.payload.index.eq(Mux(second, _check_index(params, index), index)),
            memory.payload.data.eq(Mux(second, ecc.replicate(1 << GROUP_BITS), atom)),
            self.wants.eq(
                request.valid & (~valid | sent & second) & ~self.busy.bit_select(newest, 1)
            ),
            request.ready.eq(self.taken),
            done.valid.eq(written.valid & half),
        ]
        bytes_of_group = params.ecc_bits // 8
        for byte in range(params.atom_bits // 8):
            m.d.comb += memory.payload.strobe[byte].eq(
                ~second | (index[:GROUP_BITS] == byte // bytes_of_group))
        with m.If(sent):
            m.d.sync += [second.eq(~second), valid.eq(~second)]
        with m.If(written.valid):
            m.d.sync += half.eq(~half)
        with m.If(done.valid):
            m.d.sync += [oldest.eq(oldest + 1), self.busy.bit_select(oldest, 1).eq(0)]
        with m.If(self.taken):
            m.d.sync += [
                valid.eq(1),
                index.eq(request.payload.index),
                atom.eq(request.payload.data),
                ecc.eq(Cat(check_bits(request.payload.data.word_select(word, DATA_BITS))
                           for word in range(params.secded.words))),
                newest.eq(newest + 1),
                self.busy.bit_select(newest, 1).eq(1),
                Array(self.tags)[newest].eq(self.tag),
            ]

    def holds(self, tag):
        """Whether a write under way has the check atom ``tag``."""
        return Cat(busy & (mine == tag)
                   for busy, mine in zip(self.busy, self.tags, strict=True)).any()
