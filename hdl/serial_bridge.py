"""Serial bridge: frames of a serial line to accesses to registers and memory."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import atom_layout, write_layout
from hdl.axi4 import lite_members
from hdl.pipeline import flow
from spec.trial_units import Operation, SerialBridgeParams, Status

__all__ = ["SerialBridge"]

WORD_BYTES = 4


class SerialBridge(wiring.Component):
    """Answers each whole request with one reply, and nothing else with anything.

    Frames, their bytes and their check are those of :class:`spec.trial_units.SerialBridgeParams`.
    A request is a tag, an :class:`spec.trial_units.Operation`, a byte address (four bytes, lowest
    first) and data; a reply is the request's tag, a :class:`spec.trial_units.Status` and data.

    ============== ============================ ===========================
    operation      data of the request          data of the reply
    ============== ============================ ===========================
    HELLO          none                         ``SerialBridgeParams.hello``
    READ_REGISTER  none                         4 bytes, lowest first
    WRITE_REGISTER 4 bytes, lowest first        none
    READ_MEMORY    one byte: how many atoms     the atoms
    WRITE_MEMORY   1 to ``frame_atoms`` atoms   none
    ============== ============================ ===========================

    A reply with a status other than OKAY has no data. WRITE_REGISTER with the tag of the request
    before it is taken as its repetition: it is not executed again, and answered as it was. After
    HELLO, and after reset, no request counts as repeated.

    :Timing: one request at a time. Bytes that come between the end of a request and the end of its
        reply are lost, and with them the frame that they belong to.
    :Errors: a frame whose check is wrong, that is shorter than a request, or longer than the
        longest, is ignored; a line that breaks off within a frame leaves it to be ignored when the
        next one begins. Otherwise the first that applies: OPERATION, an unknown one; LENGTH, of
        the data, or no atoms or more than ``frame_atoms``; ADDRESS, not aligned or outside;
        REFUSED, the registers answered with an error. Memory with a fault is not detected.

    Members
    -------
    i : stream of bytes received, always ready
    o : stream of bytes to send
    m_axi_* : AXI4-Lite manager, the registers
    read, data, write, written : the host's side of :class:`hdl.block_ram.BlockRam`
    """

    def __init__(self, params: SerialBridgeParams):
        if not isinstance(params, SerialBridgeParams):
            raise TypeError(f"SerialBridge needs SerialBridgeParams, not {params!r}")
        self.params = params
        registers = lite_members(params.REGISTER_ADDRESS_BITS)
        super().__init__({
            "i": In(flow(8)),
            "o": Out(stream.Signature(8)),
            **{name.replace("s_axi", "m_axi"): member.flip() for name, member in registers.items()},
            "read": Out(stream.Signature(params.index_bits)),
            "data": In(stream.Signature(atom_layout(params))),
            "write": Out(stream.Signature(write_layout(params))),
            "written": In(flow(1)),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.buffer = buffer = Memory(
            shape=8, depth=params.DATA_BYTES + params.CRC_BYTES, init=[])
        self._store, self._load = buffer.write_port(), buffer.read_port()

        # The request, without and with its data; `_crc` is the check of the reply.
        self._header, self._count = Signal(8 * params.REQUEST_BYTES), Signal(8)
        self._tag, self._operation, self._address = (
            self._header[:8], self._header[8:16], self._header[16:])
        self._length = Signal(range(params.DATA_BYTES + params.CRC_BYTES + 1))
        self._size = Signal(range(params.DATA_BYTES + 1))
        self._crc = Signal(16, init=params.CRC_START)
        # Bytes of `_word` that are filled or to be sent, and atoms that are to be moved.
        self._word = Signal(params.atom_bits)
        self._bytes = Signal(range(params.atom_bytes + 1))
        self._atoms = Signal(range(params.frame_atoms + 1))
        self._index = Signal(params.index_bits)
        self._status = Signal(Status)
        self._last_tag, self._repeatable = Signal(8), Signal()
        # What CHECK finds out for WEIGH: atoms asked for, the one behind the last, and faults.
        self._offset_bits = (params.atom_bytes - 1).bit_length()
        self._wanted = Signal(9)
        self._end = Signal(params.index_bits + 10)
        self._outside, self._no_register = Signal(), Signal()
        self._some, self._repeated, self._to_memory = Signal(), Signal(), Signal()
        # What WEIGH finds out for DECIDE.
        self._known, self._fits, self._reachable = Signal(), Signal(), Signal()

        m.d.comb += [
            self.m_axi_awaddr.eq(self._address),
            self.m_axi_araddr.eq(self._address),
            self.m_axi_wdata.eq(self._word[-8 * WORD_BYTES:]),
            self.m_axi_wstrb.eq(-1),
            # Nothing comes that was not asked for.
            self.m_axi_rready.eq(1),
            self.m_axi_bready.eq(1),
            self.data.ready.eq(1),
            self.read.payload.eq(self._index),
            self.write.payload.eq(Cat(self._index, self._word, C(-1, params.atom_bytes))),
        ]
        self._send_out(m)
        self._receive(m, self._line(m))
        self._accesses(m)
        with m.FSM():
            with m.State("RECEIVE"):
                m.d.sync += self._size.eq(self._length - params.CRC_BYTES)
                with m.If(~self._receiving):
                    m.next = "CHECK"
            with m.State("CHECK"):
                self._check(m)
            with m.State("WEIGH"):
                self._weigh(m)
            with m.State("DECIDE"):
                self._decide(m)
            self._registers(m)
            self._memory(m)
            self._reply(m)
        return m

    def _line(self, m):
        """What came two cycles ago, each bit from a flop."""
        params = self.params
        came, end, escape, escaped = Signal(), Signal(), Signal(), Signal()
        value = Signal(8)
        m.d.sync += came.eq(self.i.valid)
        with m.If(self.i.valid):
            m.d.sync += [
                end.eq(self.i.payload == params.END),
                escape.eq(self.i.payload == params.ESCAPE),
                escaped.eq(escape),
                value.eq(Mux(escape, Mux(self.i.payload == params.ESCAPED_END, params.END,
                                         params.ESCAPE), self.i.payload)),
            ]
        crc = Signal(16, init=params.CRC_START)
        with m.If(came & end):
            m.d.sync += crc.eq(params.CRC_START)
        with m.Elif(came & ~escape):
            m.d.sync += crc.eq(_crc(crc, value, params.CRC_POLYNOMIAL))
        line = _Line()
        m.d.sync += [
            line.value.eq(value), line.byte.eq(came & ~end & ~escape),
            line.other.eq(came & ~end), line.end.eq(came & end),
            line.right.eq((crc == 0) & ~escaped),
        ]
        return line

    def _receive(self, m, line):
        """Collect a frame until one has ended that is whole; then wait for the end of its reply."""
        params = self.params
        self._receiving = Signal(init=1)
        # Bytes of the header that have come, all of them, and of what stands behind it: enough for
        # a check, and no more than there is room for.
        place = Signal(range(params.REQUEST_BYTES))
        headed, enough, full, broken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self._store.addr.eq(self._length),
            self._store.data.eq(line.value),
            self._store.en.eq(self._receiving & line.byte & headed & ~full),
        ]
        with m.If(~self._receiving):
            # What comes meanwhile is lost.
            with m.If(line.other | line.end):
                m.d.sync += broken.eq(line.other)
            with m.If(self._replied):
                m.d.sync += [self._receiving.eq(1), self._length.eq(0)]
        with m.Elif(line.end):
            m.d.sync += [place.eq(0), headed.eq(0), enough.eq(0), full.eq(0), broken.eq(0)]
            with m.If(line.right & enough & ~broken):
                m.d.sync += self._receiving.eq(0)
            with m.Else():
                m.d.sync += self._length.eq(0)
        with m.Elif(line.byte):
            with m.If(~headed):
                m.d.sync += [
                    self._header.eq(Cat(self._header[8:], line.value)),
                    place.eq(place + 1), headed.eq(place == params.REQUEST_BYTES - 1),
                ]
            with m.Elif(full):
                m.d.sync += broken.eq(1)
            with m.Else():
                m.d.sync += [
                    self._length.eq(self._length + 1),
                    enough.eq(self._length >= params.CRC_BYTES - 1),
                    full.eq(self._length == params.DATA_BYTES + params.CRC_BYTES - 1),
                ]
                with m.If(self._length == 0):
                    m.d.sync += self._count.eq(line.value)

    def _check(self, m):
        """What must be known of a whole request."""
        params = self.params
        of_memory = self._address[self._offset_bits:]
        to_memory = self._operation == Operation.WRITE_MEMORY
        wanted = Mux(to_memory, self._size[self._offset_bits:], self._count)
        m.d.sync += [
            self._wanted.eq(wanted), self._to_memory.eq(to_memory),
            self._index.eq(of_memory), self._load.addr.eq(0), self._bytes.eq(0), self._atoms.eq(0),
            self._end.eq(of_memory[:params.index_bits] + wanted),
            self._outside.eq(of_memory[params.index_bits:].any()
                             | self._address[:self._offset_bits].any()),
            self._no_register.eq(self._address[params.REGISTER_ADDRESS_BITS:].any()
                                 | self._address[:2].any()),
            self._some.eq((wanted != 0) & (wanted <= params.frame_atoms)),
            self._repeated.eq(self._repeatable & (self._tag == self._last_tag)),
            self._last_tag.eq(self._tag), self._repeatable.eq(1),
        ]
        m.next = "WEIGH"

    def _weigh(self, m):
        """Whether there is such an operation, with data of this length, at this address."""
        in_registers = ~self._no_register
        in_memory = ~self._outside & (self._end <= self.params.atoms)
        whole = ~self._size[:self._offset_bits].any()
        m.d.sync += self._known.eq(1)
        with m.Switch(self._operation):
            for operation, (length, address) in {
                    Operation.HELLO: (self._size == 0, C(1, 1)),
                    Operation.READ_REGISTER: (self._size == 0, in_registers),
                    Operation.WRITE_REGISTER: (self._size == WORD_BYTES, in_registers),
                    Operation.READ_MEMORY: ((self._size == 1) & self._some, in_memory),
                    Operation.WRITE_MEMORY: (self._some & whole, in_memory)}.items():
                with m.Case(operation):
                    m.d.sync += [self._fits.eq(length), self._reachable.eq(address)]
            with m.Default():
                m.d.sync += self._known.eq(0)
        m.next = "DECIDE"

    def _decide(self, m):
        """Begin what a whole request asks for, or reply why not."""
        m.next = "OPEN"
        with m.If(~self._known):
            m.d.sync += self._status.eq(Status.OPERATION)
        with m.Elif(~self._fits):
            m.d.sync += self._status.eq(Status.LENGTH)
        with m.Elif(~self._reachable):
            m.d.sync += self._status.eq(Status.ADDRESS)
        with m.Elif(~self._repeated | (self._operation != Operation.WRITE_REGISTER)):
            m.d.sync += self._status.eq(Status.OKAY)
            with m.Switch(self._operation):
                for operation, state in {
                        Operation.HELLO: "HELLO", Operation.READ_REGISTER: "READ_REGISTER",
                        Operation.WRITE_REGISTER: "FETCH", Operation.WRITE_MEMORY: "FETCH"}.items():
                    with m.Case(operation):
                        m.next = state
            with m.If((self._operation == Operation.READ_MEMORY) | self._to_memory):
                m.d.sync += self._atoms.eq(self._wanted)

    def _accesses(self, m):
        """Offers that stand until they are taken, and answers, which are used a cycle later: the
        states begin the ones and wait for the others. What is in ``_word`` moves here, too."""
        params = self.params
        taken = ((self.m_axi_arvalid, self.m_axi_arready), (self.m_axi_awvalid, self.m_axi_awready),
                 (self.m_axi_wvalid, self.m_axi_wready), (self.read.valid, self.read.ready),
                 (self.write.valid, self.write.ready))
        for valid, ready in taken:
            with m.If(ready):
                m.d.sync += valid.eq(0)
        # A register's answer; an atom's, which is in `_word` when it is `here`; a write's.
        self._answered, self._refused, self._answer = Signal(), Signal(), Signal(32)
        self._here, self._written = Signal(), Signal()
        m.d.sync += [
            self._answered.eq(self.m_axi_rvalid | self.m_axi_bvalid),
            self._refused.eq(Mux(self.m_axi_rvalid, self.m_axi_rresp[1], self.m_axi_bresp[1])),
            self._answer.eq(self.m_axi_rdata),
            self._here.eq(self.data.valid),
            self._written.eq(self.written.valid),
        ]
        # A byte leaves `_word` at its low end, and one of the request comes in at the high end.
        # While an atom is asked for, `_word` takes whatever stands there, last the answer: so its
        # valid does not have to reach all bits.
        self._move, self._greet, self._reads = Signal(), Signal(), Signal()
        m.d.sync += [self._move.eq(0), self._greet.eq(0)]
        with m.If(self.data.valid):
            m.d.sync += self._reads.eq(0)
        with m.If(self._reads):
            m.d.sync += self._word.eq(self.data.payload.data)
        with m.Elif(self._move):
            m.d.sync += [self._word.eq(Cat(self._word[8:], self._load.data)),
                         self._load.addr.eq(self._load.addr + 1)]
        with m.Elif(self._answered):
            m.d.sync += self._word[:8 * WORD_BYTES].eq(self._answer)
        with m.Elif(self._greet):
            m.d.sync += self._word[:8 * WORD_BYTES].eq(int.from_bytes(params.hello, "little"))

    def _registers(self, m):
        """Accesses to registers."""
        with m.State("READ_REGISTER"):
            m.d.sync += [self.m_axi_arvalid.eq(1), self._bytes.eq(WORD_BYTES)]
            m.next = "ANSWER_REGISTER"
        with m.State("WRITE_REGISTER"):
            m.d.sync += [self.m_axi_awvalid.eq(1), self.m_axi_wvalid.eq(1), self._bytes.eq(0)]
            m.next = "ANSWER_REGISTER"
        with m.State("ANSWER_REGISTER"):
            with m.If(self._answered):
                m.next = "OPEN"
                with m.If(self._refused):
                    m.d.sync += [self._bytes.eq(0), self._status.eq(Status.REFUSED)]

    def _memory(self, m):
        """Accesses to memory, and the data of a request on their way out of the buffer."""
        wanted = Mux(self._to_memory, self.params.atom_bytes, WORD_BYTES)
        with m.State("FETCH"):
            with m.If(self._bytes != wanted):
                m.next = "SHIFT"
            with m.Elif(self._to_memory):
                m.next = "WRITE"
            with m.Else():
                m.next = "WRITE_REGISTER"
        with m.State("SHIFT"):
            m.d.sync += [self._move.eq(1), self._bytes.eq(self._bytes + 1)]
            m.next = "FETCH"
        with m.State("WRITE"):
            m.d.sync += [self.write.valid.eq(1), self._bytes.eq(0),
                         self._atoms.eq(self._atoms - 1)]
            m.next = "WRITTEN"
        with m.State("WRITTEN"):
            with m.If(self._written):
                m.d.sync += self._index.eq(self._index + 1)
                m.next = "FETCH"
                with m.If(self._atoms == 0):
                    m.next = "OPEN"
        with m.State("READ"):
            m.d.sync += [self.read.valid.eq(1), self._reads.eq(1),
                         self._atoms.eq(self._atoms - 1)]
            m.next = "ANSWER"
        with m.State("ANSWER"):
            with m.If(self._here):
                m.d.sync += [self._index.eq(self._index + 1),
                             self._bytes.eq(self.params.atom_bytes)]
                m.next = "DATA"

    def _reply(self, m):
        """Send the status, the data and the check."""
        with m.State("HELLO"):
            m.d.sync += [self._greet.eq(1), self._bytes.eq(WORD_BYTES), self._repeatable.eq(0)]
            m.next = "OPEN"
        with m.State("OPEN"):
            self._send(m, None, "TAG")
        with m.State("TAG"):
            self._send(m, self._tag, "STATUS")
        with m.State("STATUS"):
            self._send(m, self._status, "DATA")
        with m.State("DATA"):
            with m.If(self._bytes != 0):
                self._send(m, self._word[:8], "TAKEN")
                m.d.sync += self._move.eq(~self._sending)
            with m.Elif(self._atoms != 0):
                m.next = "READ"
            with m.Else():
                m.next = "CHECK_HIGH"
        with m.State("TAKEN"):
            m.d.sync += self._bytes.eq(self._bytes - 1)
            m.next = "DATA"
        # The check takes its own bytes, too: behind the high one, the low one stands in its place.
        with m.State("CHECK_HIGH"):
            self._send(m, self._crc[8:], "CHECK_LOW")
        with m.State("CHECK_LOW"):
            self._send(m, self._crc[8:], "CLOSE")
        with m.State("CLOSE"):
            self._send(m, None, "END")
        with m.State("END"):
            with m.If(~self._sending & ~self.o.valid):
                m.d.comb += self._replied.eq(1)
                m.next = "RECEIVE"

    def _send_out(self, m):
        """Bytes on their way out: END as it is, others escaped."""
        params = self.params
        self._replied = Signal()
        self._out, self._plain, self._sending = Signal(8), Signal(), Signal()
        escaping, special = Signal(), Signal()
        m.d.comb += special.eq(
            ~self._plain & ((self._out == params.END) | (self._out == params.ESCAPE)))
        with m.If(self.o.valid):
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        with m.Elif(self._sending):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.eq(Mux(
                    escaping,
                    Mux(self._out == params.END, params.ESCAPED_END, params.ESCAPED_ESCAPE),
                    Mux(special, params.ESCAPE, self._out))),
                escaping.eq(special & ~escaping),
            ]
            with m.If(escaping | ~special):
                m.d.sync += [
                    self._sending.eq(0),
                    self._crc.eq(Mux(self._plain, params.CRC_START,
                                     _crc(self._crc, self._out, params.CRC_POLYNOMIAL))),
                ]

    def _send(self, m, byte, state):
        """Send ``byte``, or END for None, when those before it are out; go on to ``state``."""
        with m.If(~self._sending):
            m.d.sync += [
                self._sending.eq(1),
                self._out.eq(self.params.END if byte is None else byte),
                self._plain.eq(byte is None),
            ]
            m.next = state


class _Line:
    """What comes by the line: a ``byte`` of a frame and its ``value``, or an ``end`` and whether
    the check of what stands before it is ``right``; ``other`` is anything that is no end."""

    def __init__(self):
        self.value = Signal(8, name="value")
        self.byte, self.other, self.end, self.right = (
            Signal(name=f"line_{name}") for name in ("byte", "other", "end", "right"))


def _crc(crc, byte, polynomial):
    """The check after one more byte, its most significant bit first."""
    for place in reversed(range(8)):
        crc = Cat(C(0, 1), crc[:-1]) ^ Mux(crc[-1] ^ byte[place], polynomial, 0)
    return crc
