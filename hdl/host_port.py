"""Host port: the AXI4 subordinate through which the host reads and writes the memory."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import answer_layout, atom_layout, request_layout, write_layout
from hdl.axi4 import RESPONSE_DECERR, RESPONSE_OKAY, RESPONSE_SLVERR, subordinate_members
from hdl.burst_beats import burst_beats
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from spec.memory_units import Aperture, HostPortParams, ReadFault
from spec.units import SkidBufferParams

__all__ = ["HostPort"]

LONGEST_BURST = 256


class HostPort(wiring.Component):
    """Bursts to single reads and writes of atoms, and their answers to responses.

    Bursts are INCR, WRAP and FIXED with 1 to 256 beats of any size up to the atom, from any
    address. Every read beat asks for its atom, also where the beat before had the same; R carries
    the whole atom. Every write beat writes the bytes of its strobes; one without strobes writes
    nothing. Write strobes are taken as they are: the standard asks the manager to set none outside
    the beat's byte lanes. Exclusive accesses are not supported and answer OKAY.

    :Order: responses come in the order of the addresses of their channel, whatever the IDs. Writes
        leave in the order of their beats; B follows when all of its burst are written. Reads and
        writes that are under way at once are unordered. Neither channel ever waits for the other,
        but for the ``read`` stream.
    :Timing: one beat per cycle, also from burst to burst, while ``read_beats`` and
        ``write_bursts`` cover the memory's latency. From AR to ``read`` 4 cycles, from ``data`` to
        R 1 (2 with ``secded``); from AW and W to ``write`` 4, from ``written`` to B 2. No
        output follows an input combinationally.
    :Errors: a beat at or above ``memory_atoms`` reads as zero with DECERR, or is dropped and
        its burst answers DECERR; the memory is asked for nothing. A fault of a read answers SLVERR
        with its beat. A size above the atom, a wrapping burst whose length is not 2, 4, 8 or 16 or
        whose start is not aligned, and a WLAST that does not fit AWLEN are not detected. A burst
        may cross 4096-byte boundaries; one that passes the last address goes on outside.
    :Source: ARM IHI 0022, AMBA AXI and ACE protocol specification, chapter A3.

    With ``ecc = "secded"`` only whole atoms can be written. A beat with some strobes waits until
    all writes before it are written, reads its atom through ``read``, merges, and writes all of
    it; a fault of this read answers SLVERR with the burst and leaves the atom as it was. Read
    beats are asked for only while there is room for their answers, so that a host that takes no
    read data cannot stop its own writes.

    With ``window`` or ``results`` the highest address bits choose one of the apertures of
    :class:`spec.memory_units.Aperture`. Only the memory can be written: a beat elsewhere is dropped
    and its burst answers DECERR.

    - Results: every beat, whatever its address, takes the next atom of ``results``. While there is
      none it waits if ``producing``, and else answers zero with SLVERR. What comes behind it on R
      waits with it, and so does the read of a merge.
    - Codes and scales: the beat goes to ``read`` with its aperture; where ``data`` says that it is
      ``outside``, it reads as zero with DECERR.
    - An aperture that was not built is outside the memory.

    Members
    -------
    s_mem_axi_* : AXI4 subordinate
    read : stream of atom numbers; with ``window``, of ``index`` and ``aperture``
    data : stream of ``data`` and ``fault``, with ``window`` also ``outside``, in the order of
        ``read``
    results : with ``results``, stream of atoms for the host
    producing : with ``results``, a command that may still give atoms is queued or under way; it
        falls only when the last of them has been taken
    write : stream of ``index``, ``data`` and ``strobe``; writes of one atom must take effect in
        order
    written : one per write, in order, when every later read sees it; its payload means nothing
    """

    def __init__(self, params: HostPortParams):
        if not isinstance(params, HostPortParams):
            raise TypeError(f"HostPort needs HostPortParams, not {params!r}")
        self.params = params
        super().__init__({
            **subordinate_members(params),
            "read": Out(stream.Signature(
                request_layout(params) if params.window else params.index_bits)),
            "data": In(stream.Signature(
                answer_layout(params) if params.window else atom_layout(params))),
            **({"results": In(stream.Signature(params.atom_bits)), "producing": In(1)}
               if params.results else {}),
            "write": Out(stream.Signature(write_layout(params))),
            "written": In(flow(1)),
        })

    def elaborate(self, platform):
        m = Module()
        merge = _Merge(self.params)
        self._writes(m, merge)
        self._reads(m, merge)
        return m

    def _reads(self, m, merge):
        """AR, the requests, and R."""
        params = self.params
        beat = burst_beats(m, self, "ar", self._place)
        place = beat.place
        result = place.result if params.results else Const(0)
        unasked = place.outside | result

        # Beats that are not answered, in order, among them the one read of a merge. `awaits` those
        # of which `data` says something: `outside` reaches every bit of an answer, and is late.
        layout = data.StructLayout({"id": params.ID_BITS, "last": 1, "outside": 1, "awaits": 1,
                                    "merge": 1, **({"result": 1} if params.results else {})})
        m.submodules.asked = asked = SyncFIFOBuffered(
            width=layout.size, depth=params.read_beats + merge.possible)
        entry, head = Signal(layout), data.View(layout, asked.r_data)
        free = Signal()
        can_ask = ~self.read.valid | self.read.ready
        m.d.comb += [
            merge.granted.eq(merge.wanted & can_ask),
            beat.take.eq(beat.valid & free & ~merge.granted & (unasked | can_ask)),
            asked.w_en.eq(beat.take | merge.granted),
            entry.eq(Cat(beat.id, beat.last, place.outside & ~merge.granted,
                         ~unasked | merge.granted, merge.granted,
                         *([result & ~merge.granted] if params.results else []))),
            asked.w_data.eq(entry),
        ]
        with m.If(can_ask):
            m.d.sync += [
                self.read.valid.eq(beat.take & ~unasked | merge.granted),
                (self.read.payload.index if params.window else self.read.payload).eq(
                    Mux(merge.granted, merge.index, beat.index)),
            ]
            if params.window:
                m.d.sync += self.read.payload.aperture.eq(
                    Mux(merge.granted, Aperture.MEMORY, place.aperture))

        # Answers: of the memory, or where there is none.
        answer = data.StructLayout({
            "id": params.ID_BITS, "data": params.atom_bits, "resp": 2, "last": 1})
        atom = self.data.payload
        outside = head.outside | atom.outside if params.window else head.outside
        response = Mux(outside, RESPONSE_DECERR,
                       Mux(atom.fault == ReadFault.NONE, RESPONSE_OKAY, RESPONSE_SLVERR))
        payload = Signal(answer)
        valid, ready = Signal(), Signal()
        came = ~head.awaits | self.data.valid
        if params.results:
            result = self._result(m)
            came = Mux(head.result, result.came, came)
            m.d.comb += result.take.eq(asked.r_rdy & head.result & ready)
        leaves = self.s_mem_axi_rvalid & self.s_mem_axi_rready
        m.d.comb += [
            payload.id.eq(head.id),
            payload.data.eq(Mux(outside, 0, atom.data)),
            payload.resp.eq(response),
            payload.last.eq(head.last),
            valid.eq(asked.r_rdy & ~head.merge & came),
            merge.came.eq(asked.r_rdy & head.merge & self.data.valid),
            self.data.ready.eq(asked.r_rdy & head.awaits & (head.merge | ready)),
            asked.r_en.eq(valid & ready | merge.came),
        ]
        if params.results:
            with m.If(head.result):
                m.d.comb += [
                    payload.data.eq(Mux(result.there, result.atom, 0)),
                    payload.resp.eq(Mux(result.there, RESPONSE_OKAY, RESPONSE_SLVERR)),
                ]
        if merge.possible:
            # A merge's answer must never stand behind one that the host does not take.
            m.submodules.answers = answers = SyncFIFOBuffered(
                width=answer.size, depth=params.read_beats)
            m.d.comb += [
                answers.w_data.eq(payload), answers.w_en.eq(valid), ready.eq(answers.w_rdy),
                self.s_mem_axi_rvalid.eq(answers.r_rdy), answers.r_en.eq(self.s_mem_axi_rready),
            ]
            leaving = data.View(answer, answers.r_data)
            reserved = Signal(range(params.read_beats + 1))
            m.d.comb += free.eq(reserved != params.read_beats)
            m.d.sync += reserved.eq(reserved + beat.take - leaves)
        else:
            m.submodules.answers = answers = SkidBuffer(SkidBufferParams(bits=answer.size))
            m.d.comb += [
                answers.i.payload.eq(payload), answers.i.valid.eq(valid),
                ready.eq(answers.i.ready), self.s_mem_axi_rvalid.eq(answers.o.valid),
                answers.o.ready.eq(self.s_mem_axi_rready), free.eq(asked.w_rdy),
            ]
            leaving = data.View(answer, answers.o.payload)
        m.d.comb += [
            self.s_mem_axi_rid.eq(leaving.id),
            self.s_mem_axi_rdata.eq(leaving.data),
            self.s_mem_axi_rresp.eq(leaving.resp),
            self.s_mem_axi_rlast.eq(leaving.last),
        ]

    def _place(self, index):
        """Where a read beat goes: to an ``aperture``, or nowhere, for a ``result`` or because it is
        ``outside``."""
        params = self.params
        if params.space_bits == params.address_bits:
            return {"outside": index >= params.memory_atoms}
        index_bits = params.space_bits - params.offset_bits
        aperture, past = index[index_bits:-1], index[-1]
        outside = past | (index[:index_bits] >= params.memory_atoms)
        if not params.window:
            outside |= aperture[1]
        results = aperture == Aperture.RESULTS
        if not params.results:
            return {"outside": outside | results, "aperture": aperture}
        result = results & ~past
        return {"outside": outside & ~result, "aperture": aperture, "result": result}

    def _result(self, m):
        """The results that wait for the host, and whether a beat that takes one can be answered."""
        params = self.params
        m.submodules.results = waiting = SyncFIFOBuffered(
            width=params.atom_bits, depth=params.RESULT_ATOMS)
        result = _Result(there=waiting.r_rdy, atom=waiting.r_data, came=Signal(name="result_came"),
                         take=Signal(name="result_take"))
        m.d.comb += [
            waiting.w_data.eq(self.results.payload),
            waiting.w_en.eq(self.results.valid),
            self.results.ready.eq(waiting.w_rdy),
            waiting.r_en.eq(result.take),
            # An atom that has been taken is not there at once.
            result.came.eq(waiting.r_rdy | ~self.producing & ~self.results.valid
                           & (waiting.level == 0)),
        ]
        return result

    def _writes(self, m, merge):
        """AW, W, the writes, and B."""
        params = self.params
        beat = burst_beats(
            m, self, "aw", lambda index: {"outside": index >= params.memory_atoms})
        layout = data.StructLayout({
            "data": params.atom_bits, "strobe": params.atom_bits // 8, "any": 1,
            **({"all": 1} if merge.possible else {})})
        m.submodules.w = w = SkidBuffer(SkidBufferParams(bits=layout.size))
        m.d.comb += [
            w.i.payload.eq(Cat(self.s_mem_axi_wdata, self.s_mem_axi_wstrb,
                               self.s_mem_axi_wstrb.any(),
                               *([self.s_mem_axi_wstrb.all()] if merge.possible else []))),
            w.i.valid.eq(self.s_mem_axi_wvalid),
            self.s_mem_axi_wready.eq(w.i.ready),
            w.o.ready.eq(beat.take),
        ]
        atom = data.View(layout, w.o.payload)

        # Writes are numbered; bursts whose data have come are queued, each with its response and
        # the number of the first write behind it. At most the writes of the queued bursts, and of
        # the one whose data come, are not written: twice as many numbers tell before from behind.
        number = range(2 * (params.write_bursts + 1) * LONGEST_BURST)
        ended = data.StructLayout({"id": params.ID_BITS, "resp": 2, "behind": number})
        m.submodules.ended = bursts = SyncFIFOBuffered(
            width=ended.size, depth=params.write_bursts)
        entry, head = Signal(ended), data.View(ended, bursts.r_data)
        # The numbers of the next write, and of the next that is not written.
        following, unwritten = Signal(number), Signal(number)

        ready = Signal()
        dropped, sent = beat.place.outside | ~atom.any, Signal()
        part = ~dropped & ~atom.all if merge.possible else Const(0)
        merging = Signal()
        good = self.data.payload.fault == ReadFault.NONE
        can_send = ~self.write.valid | self.write.ready
        m.d.comb += [
            ready.eq(beat.valid & w.o.valid & (~beat.last | bursts.w_rdy)),
            merge.wanted.eq(ready & part & ~merging & (unwritten == following)),
            merge.index.eq(beat.index),
            beat.take.eq(merge.came | ready & ~part & (dropped | can_send)),
            sent.eq(~dropped & (~merge.came | good)),
        ]
        with m.If(merge.granted):
            m.d.sync += merging.eq(1)
        with m.Elif(merge.came):
            m.d.sync += merging.eq(0)
        with m.If(can_send):
            m.d.sync += self.write.valid.eq(beat.take & sent)
            m.d.sync += self.write.payload.index.eq(beat.index)
            if merge.possible:
                m.d.sync += self.write.payload.strobe.eq(-1)
                for byte in range(params.atom_bits // 8):
                    m.d.sync += self.write.payload.data.word_select(byte, 8).eq(
                        Mux(atom.strobe[byte], atom.data.word_select(byte, 8),
                            self.data.payload.data.word_select(byte, 8)))
            else:
                m.d.sync += [self.write.payload.strobe.eq(atom.strobe),
                             self.write.payload.data.eq(atom.data)]

        response, behind = Signal(2), Signal(number)
        m.d.comb += [
            entry.id.eq(beat.id),
            entry.resp.eq(response | Mux(beat.place.outside, RESPONSE_DECERR, 0)
                          | Mux(merge.came & ~good, RESPONSE_SLVERR, 0)),
            behind.eq(following + sent),
            entry.behind.eq(behind),
            bursts.w_data.eq(entry),
            bursts.w_en.eq(beat.take & beat.last),
        ]
        with m.If(beat.take):
            m.d.sync += [
                following.eq(behind),
                response.eq(Mux(beat.last, RESPONSE_OKAY, entry.resp)),
            ]

        answer, ahead = Signal(), Signal(number)
        m.d.comb += [
            ahead.eq(unwritten - head.behind),
            answer.eq(bursts.r_rdy & ~ahead[-1]
                      & (~self.s_mem_axi_bvalid | self.s_mem_axi_bready)),
            bursts.r_en.eq(answer),
        ]
        m.d.sync += unwritten.eq(unwritten + self.written.valid)
        with m.If(self.s_mem_axi_bready):
            m.d.sync += self.s_mem_axi_bvalid.eq(0)
        with m.If(answer):
            m.d.sync += [
                self.s_mem_axi_bvalid.eq(1),
                self.s_mem_axi_bid.eq(head.id),
                self.s_mem_axi_bresp.eq(head.resp),
            ]


@dataclass(frozen=True)
class _Result:
    """The next atom of the results, and whether a beat can be answered, with it or without;
    ``take`` (to be driven) answers one."""

    there: Signal
    atom: Signal
    came: Signal
    take: Signal


class _Merge:
    """What the two directions tell each other about the read of a read-modify-write."""

    def __init__(self, params: HostPortParams):
        self.possible = params.ecc == "secded"
        self.wanted, self.granted, self.came = (
            Signal(name=f"merge_{name}") for name in ("wanted", "granted", "came"))
        self.index = Signal(params.index_bits, name="merge_index")
