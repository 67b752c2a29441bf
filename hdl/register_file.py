"""Register file: the AXI4-Lite registers and the command queue."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.axi4 import lite_members
from hdl.command_checker import command_layout
from hdl.pipeline import flow, registered
from hdl.sequencer import ended_layout
from spec.commands import COMMAND_WORDS, ErrorCode
from spec.registers import COUNTERS, REGISTER_ADDRESS_BITS, REGISTERS
from spec.units import RegisterFileParams

__all__ = ["CORRECTED_BITS", "RegisterFile"]

COUNTER_BITS = 64
# A count of the words of one atom.
CORRECTED_BITS = 4
OKAY, SLVERR = 0b00, 0b10


class RegisterFile(wiring.Component):
    """The registers of :mod:`spec.registers`, and the queue of commands behind the doorbell.

    Byte strobes are honoured. A read of a register that cannot be read, a write to one that cannot
    be written, an address that holds no register, and a doorbell that finds the queue full answer
    SLVERR and change nothing else (the last sets ``status.refused``).

    :Timing: one write and one read under way at a time, each answered in the third cycle after it
        is taken at the earliest; all outputs leave from flops or logic behind flops, none follows
        an input combinationally. Events are counted a cycle after they are seen.

    Members
    -------
    s_axi_* : AXI4-Lite subordinate
    interrupt : level, high while an enabled event is pending
    commands : stream of descriptors
    ended : stream of command ends, always ready
    window_base, window_limit : the host's window, in bytes
    busy : a command is under way behind the queue
    events : one bit per counter of :data:`spec.registers.COUNTERS`, counted in each cycle
    corrected : words in which a bit was corrected, counted in each cycle
    uncorrectable : stream of byte addresses of atoms with a word that is not, always ready
    """

    def __init__(self, params: RegisterFileParams):
        if not isinstance(params, RegisterFileParams):
            raise TypeError(f"RegisterFile needs RegisterFileParams, not {params!r}")
        self.params = params
        super().__init__({
            **lite_members(REGISTER_ADDRESS_BITS),
            "interrupt": Out(1),
            "commands": Out(stream.Signature(command_layout())),
            "ended": In(flow(ended_layout())),
            "window_base": Out(params.window_bits),
            "window_limit": Out(params.window_bits),
            "busy": In(1),
            "events": In(len(COUNTERS)),
            "corrected": In(CORRECTED_BITS),
            "uncorrectable": In(flow(params.address_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        stored = {register.name: Signal(32, name=register.name)
                  for register in REGISTERS.values() if register.access in ("rw", "w1c")}
        write, read = self._bus(m)

        # Written registers, byte by byte.
        for name, register in REGISTERS.items():
            if register.access == "ro":
                continue
            with m.If(write.hits[name]):
                if register.access == "rw":
                    m.d.sync += stored[name].eq(
                        (stored[name] & ~write.mask) | (write.data & write.mask))
                elif register.access == "w1c":
                    m.d.sync += stored[name].eq(stored[name] & ~(write.data & write.mask))
        for name in ("window_base", "window_limit"):
            address = Cat(stored[f"{name}_low"], stored[f"{name}_high"])
            m.d.comb += getattr(self, name).eq(address)

        # Commands.
        words = Cat(*(stored[f"command_{word}"] for word in range(COMMAND_WORDS)))
        m.submodules.queue = queue = SyncFIFOBuffered(
            width=len(words), depth=self.params.queue_depth)
        doorbell = write.hits["doorbell"]
        m.d.comb += [
            queue.w_data.eq(words),
            queue.w_en.eq(doorbell & queue.w_rdy),
            self.commands.payload.eq(queue.r_data),
            self.commands.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.commands.ready),
        ]

        # Events and errors. What happens in the cycle of a clear is not lost.
        clear = Signal(2)
        m.d.sync += clear.eq(Mux(write.comes & (write.address == REGISTERS["clear"].offset),
                                 write.data & write.mask, 0))
        refused = Signal()
        error_code, error_tag = Signal(8), Signal(16)
        fence_tag, ended = Signal(16), Signal(32)
        interrupt = stored["interrupt"]
        with m.If(clear[0]):
            m.d.sync += [refused.eq(0), error_code.eq(0), error_tag.eq(0)]
        with m.If(doorbell & ~queue.w_rdy):
            m.d.sync += refused.eq(1)
        with m.If(self.ended.valid):
            m.d.sync += ended.eq(ended + 1)
            with m.If(self.ended.payload.fence):
                m.d.sync += [fence_tag.eq(self.ended.payload.tag), interrupt[0].eq(1)]
            with m.If(self.ended.payload.error != ErrorCode.NONE):
                m.d.sync += interrupt[1].eq(1)
                with m.If(clear[0] | (error_code == 0)):
                    m.d.sync += [error_code.eq(self.ended.payload.error),
                                 error_tag.eq(self.ended.payload.tag)]
        m.d.sync += self.interrupt.eq((interrupt & stored["interrupt_enable"]).any())

        # Wrong bits in memory.
        uncorrectable = Signal()
        ecc_address = Signal(self.params.address_bits)
        ecc_corrected = Signal(32)
        with m.If(clear[0]):
            m.d.sync += [uncorrectable.eq(0), ecc_address.eq(0)]
        with m.If(self.uncorrectable.valid & (clear[0] | ~uncorrectable)):
            m.d.sync += [uncorrectable.eq(1), ecc_address.eq(self.uncorrectable.payload)]
        total = Mux(clear[1], 0, ecc_corrected) + self.corrected
        m.d.sync += ecc_corrected.eq(Mux(total[32:].any(), 0xFFFFFFFF, total))

        # Counters; reading a low half holds the high half.
        values = {
            "identity": self.params.identity,
            "status": Cat(self.busy | queue.level.any(), ~queue.w_rdy, refused, uncorrectable),
            "error": Cat(error_code, Signal(8, name="zero"), error_tag),
            "fence_tag": fence_tag,
            "ended": ended,
            "ecc_address_low": ecc_address[:32],
            "ecc_address_high": ecc_address[32:],
            "ecc_corrected": ecc_corrected,
            **stored,
        }
        high, held = Signal(32), Const(0, 32)
        events = registered(m, self.events, "event")
        for index, name in enumerate(COUNTERS):
            counter = Signal(COUNTER_BITS, name=name)
            with m.If(events[index]):
                m.d.sync += counter.eq(counter + 1)
            with m.If(clear[1]):
                m.d.sync += counter.eq(0)
            values[f"{name}_low"], values[f"{name}_high"] = counter[:32], high
            held |= Mux(read.hits[f"{name}_low"], counter[32:], 0)
        with m.If(Cat(read.hits[f"{name}_low"] for name in COUNTERS).any()):
            m.d.sync += high.eq(held)

        # Not more than one register is hit.
        word = Const(0, 32)
        for name, hit in read.hits.items():
            word |= Mux(hit, values[name], 0)
        with m.If(read.enable):
            m.d.sync += [self.s_axi_rdata.eq(word),
                         self.s_axi_rresp.eq(Mux(Cat(*read.hits.values()).any(), OKAY, SLVERR))]
        with m.If(write.enable):
            refuses = doorbell & ~queue.w_rdy
            m.d.sync += self.s_axi_bresp.eq(
                Mux(Cat(*write.hits.values()).any() & ~refuses, OKAY, SLVERR))
        return m

    def _bus(self, m):
        """Take address and data of writes in any order; answer one write and one read at a time."""
        write, read = _Access("write", "ro"), _Access("read", "wo")
        address_held, data_held, strobe = Signal(), Signal(), Signal(4)
        m.d.comb += [
            self.s_axi_awready.eq(~address_held & ~self.s_axi_bvalid),
            self.s_axi_wready.eq(~data_held & ~self.s_axi_bvalid),
            write.comes.eq(address_held & data_held & ~write.enable),
            write.mask.eq(Cat(*(bit.replicate(8) for bit in strobe))),
            self.s_axi_arready.eq(~read.comes & ~read.enable & ~self.s_axi_rvalid),
        ]
        with m.If(self.s_axi_awvalid & self.s_axi_awready):
            m.d.sync += [address_held.eq(1), write.address.eq(self.s_axi_awaddr & ~3)]
        with m.If(self.s_axi_wvalid & self.s_axi_wready):
            m.d.sync += [data_held.eq(1), write.data.eq(self.s_axi_wdata),
                         strobe.eq(self.s_axi_wstrb)]
        with m.If(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)
        with m.If(write.enable):
            m.d.sync += [address_held.eq(0), data_held.eq(0), self.s_axi_bvalid.eq(1)]

        m.d.sync += read.comes.eq(self.s_axi_arvalid & self.s_axi_arready)
        with m.If(self.s_axi_arvalid & self.s_axi_arready):
            m.d.sync += read.address.eq(self.s_axi_araddr & ~3)
        with m.If(self.s_axi_rready):
            m.d.sync += self.s_axi_rvalid.eq(0)
        with m.If(read.enable):
            m.d.sync += self.s_axi_rvalid.eq(1)

        for access in (write, read):
            m.d.sync += access.enable.eq(access.comes)
            for name, hit in access.hits.items():
                m.d.sync += hit.eq(access.comes & (access.address == REGISTERS[name].offset))
        return write, read


class _Access:
    """One access as the registers see it: ``comes`` is high for one cycle, ``enable`` in the next,
    and with it the one of ``hits`` whose register it is for, if that can be accessed so."""

    def __init__(self, name: str, excluded: str):
        self.comes, self.enable = Signal(name=f"{name}_comes"), Signal(name=f"{name}_enable")
        self.hits = {register: Signal(name=f"{name}_{register}")
                     for register, entry in REGISTERS.items() if entry.access != excluded}
        self.address = Signal(REGISTER_ADDRESS_BITS, name=f"{name}_address")
        self.data = Signal(32, name=f"{name}_data")
        self.mask = Signal(32, name=f"{name}_mask")
