"""Bench of :class:`hdl.serial_bridge.SerialBridge`."""

import cocotb

from spec.trial_units import Operation, SerialBridgeParams, Status
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.frames import END, ESCAPE, FrameReader, check_of, frame, request
from tb.packing import fields

__all__ = ["broken_frames", "every_data_byte", "lost_bytes", "random_requests", "refusals",
           "repetitions"]

LIMIT = 400_000


class _Registers:
    """AXI4-Lite subordinate: stores words, counts accesses, refuses odd offsets; stalls at random.
    """

    ready = None

    def __init__(self, bench, stall):
        self.bench, self.stall = bench, stall
        self.dut = bench.dut
        self.words, self.writes = {}, []
        self.refused = set()
        self.address = self.data = self.answer = self.read = None
        for name in ("awready", "wready", "bvalid", "arready", "rvalid", "bresp", "rresp", "rdata"):
            getattr(self.dut, f"m_axi_{name}").value = 0
        bench.channels.append(self)

    def _port(self, name):
        return getattr(self.dut, f"m_axi_{name}")

    def drive(self):
        """Choose what stands on the channels in the coming cycle."""
        rng = self.bench.rng
        for name, held in (("awready", self.address), ("wready", self.data),
                           ("arready", self.read)):
            self._port(name).value = int(held is None and rng.random() >= self.stall)
        ends = None not in (self.address, self.data) and rng.random() >= self.stall
        if ends and self.answer is None:
            address, data = self.address, self.data
            self.answer = 2 if address in self.refused else 0
            self.writes.append((address, data))
            if not self.answer:
                self.words[address] = data
        self._port("bvalid").value = int(self.answer is not None)
        self._port("bresp").value = self.answer or 0
        gives = self.read is not None and (
            self._port("rvalid").value == 1 or rng.random() >= self.stall)
        self._port("rvalid").value = int(gives)
        bad = self.read in self.refused
        self._port("rresp").value = 2 * int(bad)
        self._port("rdata").value = (self.words.get(self.read, 0) if gives and not bad
                                     else rng.getrandbits(32))

    def sample(self, cycle):
        """See what the coming edge takes."""
        for channel, held in (("aw", self.address), ("w", self.data), ("ar", self.read)):
            assert held is None or self._port(f"{channel}valid").value == 0, (
                f"m_axi_{channel}: a second transfer of one access")

        def taken(channel):
            return (self._port(f"{channel}valid").value == 1
                    and self._port(f"{channel}ready").value == 1)

        if taken("aw"):
            self.address = int(self._port("awaddr").value)
        if taken("w"):
            assert self._port("wstrb").value == 0xF
            self.data = int(self._port("wdata").value)
        if taken("b"):
            self.address = self.data = self.answer = None
        if taken("ar"):
            self.read = int(self._port("araddr").value)
        elif taken("r"):
            self.read = None


class _Host:
    """Sends frames, and expects the replies that they deserve."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.params = params = params_from_environment(SerialBridgeParams)
        self.bench = Bench(dut)
        self.rng = self.bench.rng
        self.size = params.atom_bits // 8
        self.source = self.bench.source(idle=idle)
        self.replies = Scoreboard("replies")
        self.reader = FrameReader()
        self.bench.sink(self.replies, stall=stall, take=self._byte)
        self.registers = _Registers(self.bench, stall)
        self.memory = {}
        self.answers = self.bench.source("data", idle)
        self.written = self.bench.source("written", idle)
        nothing = Scoreboard("memory")
        self.bench.sink(nothing, "read", stall, take=self._read)
        self.bench.sink(nothing, "write", stall, take=self._write)
        self.written_atoms = []
        self.tag = 0

    def _byte(self, byte):
        before = len(self.reader.bodies)
        self.reader.take(byte)
        for body in self.reader.bodies[before:]:
            self.replies.check(body)

    def _read(self, index):
        self.answers.send(fields((self.memory.get(index, 0), self.params.atom_bits), (0, 2)))

    def _write(self, item):
        params = self.params
        index = item & (1 << params.index_bits) - 1
        item >>= params.index_bits
        data = item & (1 << params.atom_bits) - 1
        assert item >> params.atom_bits == (1 << self.size) - 1, "not all strobes"
        self.memory[index] = data
        self.written_atoms.append(index)
        self.written.send(0)

    async def end(self):
        """Wait for all replies; nothing else may come."""
        await self.bench.drain(at_least=0, limit=LIMIT, quiet=60)
        assert not self.reader.inside

    async def ask(self, operation, address, data=b"", status=Status.OKAY, answer=b"", tag=None):
        """Send one request, expect its reply and wait for it."""
        if tag is None:
            self.tag = tag = (self.tag + 1) % 256
        self.send(frame(request(tag, operation, address, data)))
        self.replies.expect(bytes([tag, status]) + answer)
        while self.replies.expected or self.source.items:
            await self.bench.step()
            assert self.bench.cycle < LIMIT, "no reply"

    def send(self, data):
        """Put bytes on the line."""
        for byte in data:
            self.source.send(byte)

    def atoms(self, index, count):
        """The bytes that the memory holds."""
        return b"".join(self.memory.get(index + place, 0).to_bytes(self.size, "little")
                        for place in range(count))

    async def some(self):
        """One random request of those that are granted."""
        rng, params = self.rng, self.params
        operation = rng.choice(tuple(Operation))
        register = 4 * rng.randrange(1 << params.REGISTER_ADDRESS_BITS - 2)
        count = rng.randint(1, min(params.frame_atoms, params.atoms))
        index = rng.choice((0, params.atoms - count, rng.randint(0, params.atoms - count)))
        if operation == Operation.HELLO:
            await self.ask(operation, rng.getrandbits(32), answer=hello(params))
        elif operation == Operation.READ_REGISTER:
            self.registers.words[register] = value = rng.getrandbits(32)
            await self.ask(operation, register, answer=value.to_bytes(4, "little"))
        elif operation == Operation.WRITE_REGISTER:
            value = rng.getrandbits(32)
            before = len(self.registers.writes)
            await self.ask(operation, register, value.to_bytes(4, "little"))
            assert self.registers.writes[before:] == [(register, value)]
        elif operation == Operation.READ_MEMORY:
            for atom in range(index, index + count):
                self.memory.setdefault(atom, rng.getrandbits(params.atom_bits))
            await self.ask(operation, index * self.size, bytes([count]),
                           answer=self.atoms(index, count))
        else:
            data = rng.randbytes(count * self.size)
            before = len(self.written_atoms)
            await self.ask(operation, index * self.size, data)
            assert self.atoms(index, count) == data
            assert self.written_atoms[before:] == list(range(index, index + count))


def hello(params):
    """What HELLO must answer: version 1, binary logarithm of an atom's bytes, atoms in a frame."""
    size = params.atom_bits // 8
    return bytes([1, size.bit_length() - 1, 256 // size, 0])


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.4], stall=[0.0, 0.5])
async def random_requests(dut, idle, stall):
    """Requests that are granted, one after the other."""
    host = _Host(dut, idle, stall)
    await host.bench.start()
    for _ in range(60):
        await host.some()
    await host.end()
    host.replies.close(at_least=60)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_data_byte(dut):
    """Each byte goes through in both directions, those that are escaped most of all."""
    host = _Host(dut)
    await host.bench.start()
    count = max(1, 256 // host.size)
    special = bytes(host.rng.choice((END, ESCAPE, 0xDC, 0xDD)) for _ in range(256))
    for data in (bytes(range(256)), special, bytes([END] * 256)):
        atoms = min(count, host.params.atoms)
        data = data[:atoms * host.size]
        await host.ask(Operation.WRITE_MEMORY, 0, data)
        assert host.atoms(0, atoms) == data
        await host.ask(Operation.READ_MEMORY, 0, bytes([atoms]), answer=data)
    for byte in range(0, 256, 3):
        await host.ask(Operation.READ_REGISTER, 4, answer=bytes(4), tag=byte)
    await host.end()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def refusals(dut):
    """What is asked for wrongly is refused, and nothing is touched."""
    host = _Host(dut)
    params, size = host.params, host.size
    memory_end = params.atoms * size
    registers_end = 1 << params.REGISTER_ADDRESS_BITS
    host.registers.refused = {8}
    await host.bench.start()
    most = params.frame_atoms
    for operation, address, data, status in (
            (5, 0, b"", Status.OPERATION), (255, 0, b"abcd", Status.OPERATION),
            (Operation.HELLO, 0, b"a", Status.LENGTH),
            (Operation.READ_REGISTER, 0, b"a", Status.LENGTH),
            (Operation.READ_REGISTER, 2, b"", Status.ADDRESS),
            (Operation.READ_REGISTER, registers_end, b"", Status.ADDRESS),
            (Operation.READ_REGISTER, 1 << 31, b"", Status.ADDRESS),
            (Operation.READ_REGISTER, 8, b"", Status.REFUSED),
            (Operation.WRITE_REGISTER, 0, b"abc", Status.LENGTH),
            (Operation.WRITE_REGISTER, 0, b"abcde", Status.LENGTH),
            (Operation.WRITE_REGISTER, 1, b"abcd", Status.ADDRESS),
            (Operation.WRITE_REGISTER, registers_end, b"abcd", Status.ADDRESS),
            (Operation.READ_MEMORY, 0, b"", Status.LENGTH),
            (Operation.READ_MEMORY, 0, b"\0", Status.LENGTH),
            (Operation.READ_MEMORY, 0, bytes([most + 1]), Status.LENGTH),
            (Operation.READ_MEMORY, 0, b"\1\1", Status.LENGTH),
            (Operation.READ_MEMORY, 1, b"\1", Status.ADDRESS),
            (Operation.READ_MEMORY, size - 1, b"\1", Status.ADDRESS),
            (Operation.READ_MEMORY, memory_end, b"\1", Status.ADDRESS),
            (Operation.READ_MEMORY, memory_end - size, b"\2", Status.ADDRESS
             if most > 1 else Status.LENGTH),
            (Operation.READ_MEMORY, 0x80000000, b"\1", Status.ADDRESS),
            (Operation.WRITE_MEMORY, 0, b"", Status.LENGTH),
            (Operation.WRITE_MEMORY, 0, bytes(size - 1), Status.LENGTH),
            (Operation.WRITE_MEMORY, 0, bytes(size + 1), Status.LENGTH),
            (Operation.WRITE_MEMORY, size // 2, bytes(size), Status.ADDRESS),
            (Operation.WRITE_MEMORY, memory_end, bytes(size), Status.ADDRESS)):
        await host.ask(operation, address, data, status)
    assert not host.written_atoms and not host.registers.writes
    await host.ask(Operation.WRITE_REGISTER, 8, b"abcd", Status.REFUSED)
    await host.some()
    await host.end()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def broken_frames(dut):
    """Garbage, and frames that are broken off, damaged, too short or too long, are ignored, and
    the next request is answered."""
    host = _Host(dut, idle=0.1)
    rng, params = host.rng, host.params
    await host.bench.start()
    good = frame(request(207, Operation.WRITE_MEMORY, 0, rng.randbytes(host.size)))
    longest = frame(request(207, Operation.WRITE_MEMORY, 0, bytes(params.DATA_BYTES + 1)))
    body = request(207, Operation.HELLO, 0)
    damaged = frame(body)
    wrong_end = bytes([END, *body, check_of(body) >> 8, ESCAPE, END])
    # Whole, but not at its end.
    full = frame(request(207, Operation.WRITE_MEMORY, 0, bytes(params.DATA_BYTES)))
    beyond = [full[:-1] + bytes([9, END]), damaged[:-1] + bytes([ESCAPE, END])]
    for garbage in (
            rng.randbytes(700), bytes([END] * 9), bytes([ESCAPE] * 9), bytes(9), good[:-2],
            *(good[:rng.randrange(1, len(good) - 1)] for _ in range(12)), longest,
            longest * 2, *beyond, damaged[:4] + bytes([damaged[4] ^ 1]) + damaged[5:],
            frame(b""), frame(body[:-1]), wrong_end,
            # Right by itself, but in the middle of something longer.
            rng.randbytes(1500).replace(bytes([END]), b"\0") + frame(body)[1:]):
        host.send(garbage)
        while host.source.items:
            await host.bench.step()
        assert not host.written_atoms
        await host.some()
        host.written_atoms.clear()
        host.memory.clear()
    await host.end()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def lost_bytes(dut):
    """What comes while a request is answered is lost as a whole, not in part."""
    host = _Host(dut, stall=0.9)
    await host.bench.start()
    size, count = host.size, min(host.params.frame_atoms, host.params.atoms)
    for start in (0, 1, 3, 20, 60):
        host.send(frame(request(200, Operation.READ_MEMORY, 0, bytes([count]))))
        host.replies.expect(bytes([200, 0]) + bytes(count * size))
        while host.source.items:
            await host.bench.step()
        for _ in range(start):
            await host.bench.step()
        # The first bytes of this are lost, and its end comes when the reply has ended.
        host.source.idle = 0.97
        host.send(frame(request(201, Operation.WRITE_MEMORY, 0, bytes([9] * size))))
        while host.replies.expected or host.source.items:
            await host.bench.step()
        host.source.idle = 0.0
        assert not host.written_atoms, "a request was executed whose beginning was lost"
        # What is behind lost bytes may look whole.
        host.send(frame(request(202, Operation.READ_MEMORY, 0, bytes([count]))) + b"abc")
        host.replies.expect(bytes([202, 0]) + bytes(count * size))
        while host.replies.expected or host.source.items:
            await host.bench.step()
        host.send(frame(request(203, Operation.WRITE_MEMORY, 0, bytes([9] * size)))[1:])
        while host.source.items:
            await host.bench.step()
        assert not host.written_atoms, "a request was executed whose beginning was lost"
        await host.some()
        host.memory.clear()
        host.written_atoms.clear()
    await host.end()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def repetitions(dut):
    """A repeated write to a register is answered, but not executed again."""
    host = _Host(dut)
    host.registers.refused = {8}
    await host.bench.start()
    writes = host.registers.writes

    async def write(tag, address, word, count, status=Status.OKAY):
        await host.ask(Operation.WRITE_REGISTER, address, word, status, tag=tag)
        assert len(writes) == count

    # The first request after reset is none, whatever its tag.
    await write(0, 4, b"abcd", 1)
    await write(0, 4, b"abcd", 1)
    await write(0, 4, b"abcd", 1)
    await write(1, 4, b"abcd", 2)
    await write(2, 8, b"abcd", 3, Status.REFUSED)
    await write(2, 8, b"abcd", 3, Status.REFUSED)
    # Something else between.
    await host.ask(Operation.READ_REGISTER, 4, answer=b"abcd", tag=3)
    await write(2, 4, b"efgh", 4)
    # A new host.
    await host.ask(Operation.HELLO, 0, answer=hello(host.params), tag=2)
    await write(2, 4, b"efgh", 5)
    # Reads and memory writes are done again: the same comes of it.
    for _ in range(2):
        await host.ask(Operation.READ_REGISTER, 4, answer=b"efgh", tag=9)
    await host.end()
