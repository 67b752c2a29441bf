"""Bench of :class:`hdl.register_file.RegisterFile`: every access and event, against a model that
knows each cycle."""

from collections import Counter, deque

import cocotb

from spec.commands import COMMAND_WORDS, ErrorCode
from spec.registers import COUNTERS, REGISTER_ADDRESS_BITS, REGISTERS
from spec.units import RegisterFileParams
from tb.axi import Watch
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields
from tb.register_model import BY_OFFSET, OKAY, SLVERR, RegisterModel
from tb.structure import check_registered

__all__ = ["every_address", "full_queue", "orders", "random_accesses", "registered",
           "same_cycle"]


class _Drive:
    """A channel that the bench drives: keeps an item until it is taken, idles at random."""

    def __init__(self, bench, prefix, names, idle):
        self.bench, self.idle = bench, idle
        self.valid = getattr(bench.dut, f"{prefix}valid")
        self.ready = getattr(bench.dut, f"{prefix}ready")
        self.ports = [getattr(bench.dut, f"{prefix}{name}") for name in names]
        self.items = deque()
        self.offered = False
        self.taken = []
        self.valid.value = 0
        bench.channels.append(self)

    def drive(self):
        """Choose what stands on the channel in the coming cycle."""
        rng = self.bench.rng
        if not self.offered:
            self.offered = bool(self.items) and rng.random() >= self.idle
            values = (self.items[0] if self.offered
                      else [rng.getrandbits(len(port)) for port in self.ports])
            for port, value in zip(self.ports, values, strict=True):
                port.value = value
            self.valid.value = int(self.offered)

    def sample(self, cycle):
        """See whether the coming edge takes the item."""
        if self.offered and self.ready.value == 1:
            self.items.popleft()
            self.taken.append(cycle)
            self.offered = False


class _Open:
    """The ready of a channel that the unit drives; stalls at random."""

    ready = None

    def __init__(self, bench, port, stall):
        self.bench, self.port, self.stall = bench, port, stall
        port.value = 0
        bench.channels.append(self)

    def drive(self):
        """Choose whether the coming cycle stalls."""
        self.port.value = int(self.bench.rng.random() >= self.stall)

    def sample(self, cycle):
        """Nothing to see."""


class _Access:
    """Accesses and events, and what must come of them."""

    def __init__(self, dut, idle=0.0, stall=0.0, queue_stall=0.5, events=0.3):
        self.dut = dut
        self.params = params_from_environment(RegisterFileParams)
        self.bench = bench = Bench(dut)
        self.rng, self.events = bench.rng, events
        self.aw = _Drive(bench, "s_axi_aw", ("addr", "prot"), idle)
        self.w = _Drive(bench, "s_axi_w", ("data", "strb"), idle)
        self.ar = _Drive(bench, "s_axi_ar", ("addr", "prot"), idle)
        self.b_ready = _Open(bench, dut.s_axi_bready, stall)
        self.r_ready = _Open(bench, dut.s_axi_rready, stall)
        self.b = Watch(bench, "s_axi_b", ("resp",), offered=self._written)
        self.r = Watch(bench, "s_axi_r", ("data", "resp"), offered=self._read)
        self.commands = Scoreboard("commands")
        self.queue = bench.sink(self.commands, "commands", queue_stall)
        bench.channels.append(self)
        bench.watchers.append(self._watch)
        self.ready = None
        self.writes, self.reads = deque(), deque()
        self.model = RegisterModel(self.params)
        self.answered = Counter()
        self.new_write = self.new_read = None
        self.next_ended = self.next_uncorrectable = None
        self.before = {"ended": None, "events": 0, "popped": 0, "busy": 0, "corrected": 0,
                       "uncorrectable": None}
        # Events are counted a cycle later than the rest takes effect.
        self.events_before = 0

    # The unit's other inputs.

    def drive(self):
        """Choose the events of the coming cycle."""
        rng, dut = self.rng, self.dut
        ended = self.next_ended
        if ended is None and rng.random() < self.events / 4:
            ended = (rng.getrandbits(16), rng.choice((0, 0, rng.randint(1, max(ErrorCode)))),
                     int(rng.random() < 0.4))
        self.next_ended = None
        uncorrectable = self.next_uncorrectable
        if uncorrectable is None and rng.random() < self.events / 8:
            uncorrectable = rng.getrandbits(self.params.address_bits)
        self.next_uncorrectable = None
        self.now = {"ended": ended, "events": sum((rng.random() < self.events) << place
                                                  for place in range(len(COUNTERS))),
                    "busy": int(rng.random() < 0.5), "popped": 0,
                    "corrected": rng.randint(0, 8) if rng.random() < self.events else 0,
                    "uncorrectable": uncorrectable}
        tag, error, fence = ended or (rng.getrandbits(16), rng.getrandbits(8), 1)
        dut.ended__valid.value = int(ended is not None)
        dut.ended__payload.value = fields((tag, 16), (error, 8), (fence, 1))
        dut.events.value = self.now["events"]
        dut.corrected.value = self.now["corrected"]
        dut.uncorrectable__valid.value = int(uncorrectable is not None)
        dut.uncorrectable__payload.value = (
            rng.getrandbits(self.params.address_bits) if uncorrectable is None else uncorrectable)
        dut.busy.value = self.now["busy"]

    def sample(self, cycle):
        """See whether a command leaves the queue."""
        self.now["popped"] = int(self.queue.came[-1:] == [cycle])

    # What comes of accesses. An answer shows in the cycle after the access.

    def _written(self, answer):
        assert self.writes, "an answer to no write"
        self.new_write = (self.writes.popleft(), answer["resp"])
        done = len(self.b.offers)
        assert min(len(self.aw.taken), len(self.w.taken)) >= done, "answered before it was taken"

    def _read(self, answer):
        assert self.reads, "an answer to no read"
        self.new_read = (self.reads.popleft(), answer["resp"], answer["data"])
        assert len(self.ar.taken) >= len(self.r.offers), "answered before it was taken"

    def _watch(self):
        model, dut = self.model, self.dut
        expected_interrupt = int(
            model.stored["interrupt"] & model.stored["interrupt_enable"] != 0)
        if self.new_read:
            offset, response, data = self.new_read
            expected, value, sure = model.read(offset, self.before["busy"])
            about = f"read of {offset:#04x}"
            assert response == expected, f"{about}: response {response}, must be {expected}"
            assert data & sure == value & sure, f"{about}: {data:#x}, must be {value:#x}"
            model.hold(offset)
            self.answered["read", response] += 1
        write = None
        if self.new_write:
            (offset, data, strobe), response = self.new_write
            register = BY_OFFSET.get(offset)
            legal = register is not None and register.access != "ro"
            if register is REGISTERS["doorbell"]:
                full = model.full()
                legal = response == OKAY if full is None else not full
            about = f"write of {offset:#04x}"
            expected = OKAY if legal else SLVERR
            assert response == expected, f"{about}: response {response}, must be {expected}"
            write = (offset, data, strobe, legal)
            self.answered["write", response] += 1
        command = model.step(write, self.before)
        if command is not None:
            self.commands.expect(command)
        self.new_read = self.new_write = None
        if self.bench.cycle:
            assert dut.interrupt.value == expected_interrupt, "interrupt is wrong"
        mask = (1 << self.params.window_bits) - 1
        for name in ("window_base", "window_limit"):
            address = model.stored[f"{name}_low"] | model.stored[f"{name}_high"] << 32
            assert int(getattr(dut, name).value) == address & mask, f"{name} is wrong"
        self.before = self.now | {"events": self.events_before}
        self.events_before = self.now["events"]

    # Accesses.

    def write(self, offset, data, strobe=0xF):
        """Queue a write; bits of the address within a word do not count."""
        self.writes.append((offset & ~3, data, strobe))
        self.aw.items.append((offset, self.rng.getrandbits(3)))
        self.w.items.append((data, strobe))

    def read(self, offset):
        """Queue a read."""
        self.reads.append(offset & ~3)
        self.ar.items.append((offset, self.rng.getrandbits(3)))

    def write_name(self, name, data, strobe=0xF):
        """Queue a write of a register."""
        self.write(REGISTERS[name].offset, data, strobe)

    def read_name(self, name):
        """Queue a read of a register."""
        self.read(REGISTERS[name].offset)

    async def answers(self, idle_cycles=0):
        """Wait for all answers, and some cycles more."""
        started = self.bench.cycle
        while self.writes or self.reads or self.b.refused or self.r.refused:
            await self.bench.step()
            assert self.bench.cycle < started + 40_000, "an access was never answered"
        for _ in range(idle_cycles):
            await self.bench.step()

    async def end(self, reads, writes):
        """Wait for all answers and all commands."""
        await self.answers()
        self.queue.stall = 0.0
        await self.bench.drain(at_least=0)
        assert len(self.r.taken) == reads and len(self.b.taken) == writes

    def random_write(self):
        """Any write: some data and strobes make no difference, some do."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.15:
            return self.write_name("doorbell", rng.getrandbits(32), rng.getrandbits(4))
        if kind < 0.25:
            return self.write_name("clear", rng.getrandbits(2), rng.choice((1, 1, 15, 14)))
        if kind < 0.4:
            return self.write_name(rng.choice(("interrupt", "interrupt_enable")),
                                   rng.getrandbits(2), rng.choice((1, 1, 15, 14)))
        offset = (rng.choice(list(BY_OFFSET)) if kind < 0.9
                  else rng.getrandbits(REGISTER_ADDRESS_BITS))
        return self.write(offset | rng.choice((0, 0, 0, rng.randrange(4))), rng.getrandbits(32),
                          rng.choice((15, 15, rng.getrandbits(4))))

    def random_read(self):
        """Any read; often the two halves of a counter, one after the other."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.2:
            name = rng.choice(COUNTERS)
            self.read_name(f"{name}_low")
            self.read_name(f"{name}_high")
            return 2
        self.read(rng.choice(list(BY_OFFSET)) | rng.choice((0, 0, 0, rng.randrange(4)))
                  if kind < 0.9 else rng.getrandbits(REGISTER_ADDRESS_BITS))
        return 1


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.6], stall=[0.0, 0.6], queue_stall=[0.5, 0.98])
async def random_accesses(dut, idle, stall, queue_stall):
    """Reads and writes of everything, at once and in any order of their channels, among events."""
    access = _Access(dut, idle, stall, queue_stall)
    await access.bench.start()
    reads = 0
    for _ in range(300):
        access.random_write()
        reads += access.random_read()
    await access.end(reads, writes=300)
    assert all(access.answered[kind, response] > 10
               for kind in ("read", "write") for response in (OKAY, SLVERR)), access.answered


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_address(dut):
    """Every address is written with ones and with zeros, and read after each."""
    access = _Access(dut)
    await access.bench.start()
    addresses = range(0, 1 << REGISTER_ADDRESS_BITS, 4)
    for data in (0xFFFFFFFF, 0, 0x12345678):
        for address in addresses:
            access.write(address, data)
            await access.answers()
            access.read(address)
            await access.answers()
    await access.end(3 * len(addresses), 3 * len(addresses))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_queue(dut):
    """The queue takes ``queue_depth`` commands; the next doorbell is refused and queues nothing,
    ``status`` says so until cleared, and the commands come in order."""
    access = _Access(dut, queue_stall=1.0)
    depth = access.params.queue_depth
    await access.bench.start()
    reads = writes = 0
    for _ in range(2):
        for place in range(depth + 2):
            for index in range(COMMAND_WORDS):
                access.write_name(f"command_{index}", access.rng.getrandbits(32))
            access.write_name("doorbell", 0, 0)
            await access.answers(idle_cycles=8)
            assert access.b.taken[-1][1]["resp"] == (OKAY if place < depth else SLVERR)
            access.read_name("status")
            await access.answers()
            status = access.r.taken[-1][1]["data"]
            assert status >> 1 & 3 == (place >= depth - 1) | (place >= depth) << 1
            writes, reads = writes + COMMAND_WORDS + 1, reads + 1
        access.queue.stall = 0.0
        await access.answers(idle_cycles=depth + 10)
        access.read_name("status")
        access.write_name("clear", 1)
        await access.answers()
        assert access.r.taken[-1][1]["data"] >> 1 & 3 == 2
        access.queue.stall = 1.0
        writes, reads = writes + 1, reads + 1
    await access.end(reads, writes)
    access.commands.close(at_least=2 * depth)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def orders(dut):
    """An address before its data, data before its address, and both at once."""
    access = _Access(dut)
    await access.bench.start()
    for late, address_idle, data_idle in ((1, 0.0, 1.0), (-1, 1.0, 0.0), (0, 0.0, 0.0)):
        for _ in range(20):
            access.aw.idle, access.w.idle = address_idle, data_idle
            before = len(access.b.offers)
            access.write_name(f"command_{access.rng.randrange(COMMAND_WORDS)}",
                              access.rng.getrandbits(32), access.rng.getrandbits(4))
            for _ in range(access.rng.randint(2, 5)):
                await access.bench.step()
            assert late == 0 or len(access.b.offers) == before, "answered half a write"
            access.aw.idle = access.w.idle = 0.0
            await access.answers()
            order = access.w.taken[-1] - access.aw.taken[-1]
            assert (order > 0) - (order < 0) == late
    for index in range(COMMAND_WORDS):
        access.read_name(f"command_{index}")
    await access.end(COMMAND_WORDS, 60)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def same_cycle(dut):
    """An error, a fence, an uncorrectable atom and a clear of them in one cycle, and in the cycles
    around it: what came in that cycle is kept."""
    access = _Access(dut, events=0.0)
    await access.bench.start()
    access.write_name("interrupt_enable", 3)
    await access.answers()
    reads = writes = 0
    for distance in range(8):
        for error in (0, 1, 2):
            for name in ("clear", "interrupt"):
                access.next_ended = (0x1234, 5, 1)
                access.next_uncorrectable = 0x120 + distance
                await access.bench.step()
                access.write_name(name, 3)
                for step in range(8):
                    if step == distance:
                        access.next_ended = (0x2000 + distance, error, 1 - error // 2)
                        access.next_uncorrectable = 0x340 if error else None
                    await access.bench.step()
                for status in ("error", "interrupt", "fence_tag", "ended", "status",
                               "ecc_address_low"):
                    access.read_name(status)
                access.write_name("clear", 1)
                await access.answers()
                reads, writes = reads + 6, writes + 2
    await access.end(reads, writes + 1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(
        dut,
        [f"s_axi_{name}" for name in (
            "awaddr", "awprot", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr",
            "arprot", "arvalid", "rready")]
        + ["commands__ready", "ended__payload", "ended__valid", "busy", "events", "corrected",
           "uncorrectable__payload", "uncorrectable__valid"],
        [f"s_axi_{name}" for name in (
            "awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid")]
        + ["interrupt", "commands__valid", "window_base", "window_limit"],
        seldom=("interrupt", "commands__valid", "window_base", "window_limit"), cycles=2000)
