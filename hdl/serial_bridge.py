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

        longest = params.REQUEST_BYTES + params.DATA_BYTES + params.CRC_BYTES
        self._length = Signal(range(longest + 1))
        self._crc = Signal(16, init=params.CRC_START)
        self._tag, self._operation, self._address = Signal(8), Signal(8), Signal(32)
        self._count = Signal(8)
        # Bytes of `_word` that are filled or to be sent, and atoms that are to be moved.
        self._word = Signal(params.atom_bits)
        self._bytes = Signal(range(params.atom_bytes + 1))
        self._atoms = Signal(range(params.frame_atoms + 1))
        self._index = Signal(params.index_bits)
        self._status = Signal(Status)
        self._last_tag, self._repeatable = Signal(8), Signal()
        # What CHECK finds out for DECIDE: atoms asked for, the one behind the last, and faults.
        self._offset_bits = (params.atom_bytes - 1).bit_length()
        self._wanted = Signal(9)
        self._end = Signal(params.index_bits + 10)
        self._outside, self._no_register = Signal(), Signal()
        self._some, self._repeated = Signal(), Signal()
        self._broken = Signal()

        m.d.comb += [
            self.m_axi_awaddr.eq(self._address),
            self.m_axi_araddr.eq(self._address),
            self.m_axi_wdata.eq(self._word[-8 * WORD_BYTES:]),
            self.m_axi_wstrb.eq(-1),
            self.read.payload.eq(self._index),
            self.write.payload.eq(Cat(self._index, self._word, C(-1, params.atom_bytes))),
            self._store.addr.eq(self._length - params.REQUEST_BYTES),
        ]
        self._sending(m)
        with m.FSM() as fsm:
            with m.State("RECEIVE"):
                self._receive(m, longest)
            with m.State("CHECK"):
                self._check(m)
            with m.State("DECIDE"):
                self._decide(m)
            self._registers(m)
            self._memory(m)
            self._reply(m)
        # What comes meanwhile is lost.
        with m.If(self.i.valid & ~fsm.ongoing("RECEIVE")):
            m.d.sync += self._broken.eq(self.i.payload != params.END)
        return m

    def _receive(self, m, longest):
        """Collect a frame; ``CHECK`` when it has ended and was not broken."""
        params = self.params
        escaped = Signal()
        byte = Signal(8)
        m.d.comb += byte.eq(Mux(escaped, Mux(self.i.payload == params.ESCAPED_END, params.END,
                                             params.ESCAPE), self.i.payload))
        m.d.comb += self._store.data.eq(byte)
        with m.If(self.i.valid):
            with m.If(self.i.payload == params.END):
                m.d.sync += [self._length.eq(0), self._crc.eq(params.CRC_START),
                             self._broken.eq(0), escaped.eq(0)]
                with m.If((self._crc == 0) & ~self._broken & ~escaped
                          & (self._length >= params.REQUEST_BYTES + params.CRC_BYTES)):
                    m.d.sync += self._length.eq(
                        self._length - params.REQUEST_BYTES - params.CRC_BYTES)
                    m.next = "CHECK"
            with m.Elif(self.i.payload == params.ESCAPE):
                m.d.sync += escaped.eq(1)
            with m.Elif(self._length == longest):
                m.d.sync += self._broken.eq(1)
            with m.Else():
                m.d.sync += [escaped.eq(0), self._length.eq(self._length + 1),
                             self._crc.eq(_crc(self._crc, byte, params.CRC_POLYNOMIAL))]
                with m.Switch(self._length):
                    with m.Case(0):
                        m.d.sync += self._tag.eq(byte)
                    with m.Case(1):
                        m.d.sync += self._operation.eq(byte)
                    for place in range(4):
                        with m.Case(2 + place):
                            m.d.sync += self._address.word_select(place, 8).eq(byte)
                    with m.Case(params.REQUEST_BYTES):
                        m.d.sync += self._count.eq(byte)
                m.d.comb += self._store.en.eq(self._length >= params.REQUEST_BYTES)

    def _check(self, m):
        """What must be known of a whole request; ``_length`` is that of its data."""
        params = self.params
        of_memory = self._address[self._offset_bits:]
        wanted = Mux(self._operation == Operation.WRITE_MEMORY,
                     self._length[self._offset_bits:], self._count)
        m.d.sync += [
            self._wanted.eq(wanted),
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
        m.next = "DECIDE"

    def _decide(self, m):
        """Begin what a whole request asks for, or reply why not."""
        in_registers = ~self._no_register
        in_memory = ~self._outside & (self._end <= self.params.atoms)
        whole = ~self._length[:self._offset_bits].any()
        with m.If(~self._repeated | (self._operation != Operation.WRITE_REGISTER)):
            m.d.sync += self._status.eq(Status.OKAY)
        self._begin(m, {
            Operation.HELLO: (self._length == 0, C(1, 1), "HELLO"),
            Operation.READ_REGISTER: (self._length == 0, in_registers, "ASK_REGISTER"),
            Operation.WRITE_REGISTER: (self._length == WORD_BYTES, in_registers, "FETCH"),
            Operation.READ_MEMORY: ((self._length == 1) & self._some, in_memory, "OPEN"),
            Operation.WRITE_MEMORY: (self._some & whole, in_memory, "FETCH"),
        })

    def _begin(self, m, operations):
        """Go on where the operation begins, or to the reply."""
        with m.Switch(self._operation):
            for operation, (length, address, state) in operations.items():
                with m.Case(operation):
                    with m.If(~length):
                        m.d.sync += self._status.eq(Status.LENGTH)
                        m.next = "OPEN"
                    with m.Elif(~address):
                        m.d.sync += self._status.eq(Status.ADDRESS)
                        m.next = "OPEN"
                    if operation == Operation.WRITE_REGISTER:
                        with m.Elif(self._repeated):
                            m.next = "OPEN"
                    with m.Else():
                        m.next = state
                        if operation in (Operation.READ_MEMORY, Operation.WRITE_MEMORY):
                            m.d.sync += self._atoms.eq(self._wanted)
            with m.Default():
                m.d.sync += self._status.eq(Status.OPERATION)
                m.next = "OPEN"

    def _registers(self, m):
        """Accesses to registers."""
        with m.State("ASK_REGISTER"):
            m.d.comb += self.m_axi_arvalid.eq(1)
            with m.If(self.m_axi_arready):
                m.next = "READ_REGISTER"
        with m.State("READ_REGISTER"):
            m.d.comb += self.m_axi_rready.eq(1)
            with m.If(self.m_axi_rvalid):
                m.d.sync += [
                    self._word.eq(self.m_axi_rdata),
                    self._bytes.eq(Mux(self.m_axi_rresp[1], 0, WORD_BYTES)),
                    self._status.eq(Mux(self.m_axi_rresp[1], Status.REFUSED, Status.OKAY)),
                ]
                m.next = "OPEN"
        taken = Signal(2)
        with m.State("WRITE_REGISTER"):
            m.d.comb += [self.m_axi_awvalid.eq(~taken[0]), self.m_axi_wvalid.eq(~taken[1]),
                         self.m_axi_bready.eq(1)]
            m.d.sync += taken.eq(taken | Cat(self.m_axi_awready, self.m_axi_wready))
            with m.If(self.m_axi_bvalid):
                m.d.sync += [
                    taken.eq(0), self._bytes.eq(0),
                    self._status.eq(Mux(self.m_axi_bresp[1], Status.REFUSED, Status.OKAY)),
                ]
                m.next = "OPEN"

    def _memory(self, m):
        """Accesses to memory, and the data of a request on their way out of the buffer."""
        params = self.params
        to_memory = self._operation == Operation.WRITE_MEMORY
        wanted = Mux(to_memory, params.atom_bytes, WORD_BYTES)
        with m.State("FETCH"):
            with m.If(self._bytes == wanted):
                with m.If(to_memory):
                    m.next = "WRITE"
                with m.Else():
                    m.next = "WRITE_REGISTER"
            with m.Else():
                m.next = "SHIFT"
        with m.State("SHIFT"):
            m.d.sync += [
                self._word.eq(Cat(self._word[8:], self._load.data)),
                self._bytes.eq(self._bytes + 1),
                self._load.addr.eq(self._load.addr + 1),
            ]
            m.next = "FETCH"
        with m.State("WRITE"):
            m.d.comb += self.write.valid.eq(1)
            with m.If(self.write.ready):
                m.d.sync += [self._bytes.eq(0), self._index.eq(self._index + 1),
                             self._atoms.eq(self._atoms - 1)]
                m.next = "WRITTEN"
        with m.State("WRITTEN"):
            with m.If(self.written.valid):
                m.next = "FETCH"
                with m.If(self._atoms == 0):
                    m.next = "OPEN"
        with m.State("READ"):
            m.d.comb += self.read.valid.eq(1)
            with m.If(self.read.ready):
                m.d.sync += [self._index.eq(self._index + 1), self._atoms.eq(self._atoms - 1)]
                m.next = "ANSWER"
        with m.State("ANSWER"):
            m.d.comb += self.data.ready.eq(1)
            with m.If(self.data.valid):
                m.d.sync += [self._word.eq(self.data.payload.data),
                             self._bytes.eq(params.atom_bytes)]
                m.next = "DATA"

    def _reply(self, m):
        """Send the status, the data and the check."""
        params = self.params
        with m.State("HELLO"):
            m.d.sync += [
                self._word.eq(int.from_bytes(params.hello, "little")),
                self._bytes.eq(len(params.hello)), self._repeatable.eq(0),
            ]
            m.next = "OPEN"
        with m.State("OPEN"):
            m.d.sync += self._crc.eq(params.CRC_START)
            self._send(m, None, "TAG")
        with m.State("TAG"):
            self._send(m, self._tag, "STATUS")
        with m.State("STATUS"):
            self._send(m, self._status, "DATA")
        with m.State("DATA"):
            with m.If(self._bytes != 0):
                self._send(m, self._word[:8], "DATA")
                with m.If(self._sent):
                    m.d.sync += [self._word.eq(self._word[8:]), self._bytes.eq(self._bytes - 1)]
            with m.Elif(self._atoms != 0):
                m.next = "READ"
            with m.Else():
                m.next = "CHECK_HIGH"
        with m.State("CHECK_HIGH"):
            self._send(m, self._crc[8:], "CHECK_LOW", checked=False)
        with m.State("CHECK_LOW"):
            self._send(m, self._crc[:8], "CLOSE", checked=False)
        with m.State("CLOSE"):
            m.d.sync += [self._crc.eq(params.CRC_START), self._length.eq(0)]
            self._send(m, None, "RECEIVE")

    def _sending(self, m):
        """Bytes on their way out: END as it is, others escaped."""
        params = self.params
        self._sent = Signal()
        self._out, self._offered = Signal(8), Signal()
        self._plain, self._checked = Signal(), Signal()
        escaping, special, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            special.eq(~self._plain
                       & ((self._out == params.END) | (self._out == params.ESCAPE))),
            self.o.valid.eq(self._offered),
            self.o.payload.eq(Mux(
                escaping, Mux(self._out == params.END, params.ESCAPED_END, params.ESCAPED_ESCAPE),
                Mux(special, params.ESCAPE, self._out))),
            taken.eq(self.o.valid & self.o.ready),
            self._sent.eq(taken & (escaping | ~special)),
        ]
        with m.If(taken):
            m.d.sync += escaping.eq(special & ~escaping)
        with m.If(self._sent & self._checked):
            m.d.sync += self._crc.eq(_crc(self._crc, self._out, params.CRC_POLYNOMIAL))

    def _send(self, m, byte, state, checked=True):
        """Send ``byte``, or END for None, and go on to ``state``."""
        m.d.comb += [
            self._offered.eq(1),
            self._out.eq(self.params.END if byte is None else byte),
            self._plain.eq(byte is None),
            self._checked.eq(checked and byte is not None),
        ]
        with m.If(self._sent):
            m.next = state


def _crc(crc, byte, polynomial):
    """The check after one more byte, its most significant bit first."""
    for place in reversed(range(8)):
        crc = Cat(C(0, 1), crc[:-1]) ^ Mux(crc[-1] ^ byte[place], polynomial, 0)
    return crc
