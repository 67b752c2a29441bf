"""Bench of :class:`hdl.axi4_writer.Axi4Writer`, against the AXI memory of cocotbext-axi."""

import cocotb
from cocotbext.axi import AxiRamWrite, AxiResp

from golden.burst_splitter import burst_splitter
from spec.memory_units import ReadFault
from spec.units import Axi4Params
from tb.axi import ADDRESS_FIELDS, Watch, quiet, write_bus
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.burst_splitter import pack_write_region, random_region
from tb.buses import pauses
from tb.structure import check_registered

__all__ = ["errors", "late_addresses", "most_outstanding", "one_atom_per_cycle",
           "random_regions", "registered", "short_regions", "timeouts"]

PAGE = 4096


class _Memory(AxiRamWrite):
    """Memory that answers the bursts at some addresses with an error."""

    def __init__(self, dut, bench, params, stall):
        self.responses = {}
        super().__init__(write_bus(dut), dut.clk, dut.rst, size=1 << params.address_bits)
        self.b_channel.queue_occupancy_limit = -1
        self._requested = []
        self._receive, self.aw_channel.recv = self.aw_channel.recv, self._receive_and_note
        self._answer, self.b_channel.send = self.b_channel.send, self._answer_as_told
        if stall:
            for channel in (self.aw_channel, self.w_channel, self.b_channel):
                channel.set_pause_generator(pauses(bench.rng, stall))

    async def _receive_and_note(self):
        request = await self._receive()
        self._requested.append(int(request.awaddr))
        return request

    async def _answer_as_told(self, transfer):
        transfer.bresp = self.responses.get(self._requested.pop(0), AxiResp.OKAY)
        await self._answer(transfer)


class _Writing:
    """Regions, their atoms, what memory must hold, and the bursts that must be asked for."""

    def __init__(self, dut, idle=0.0, memory_stall=0.0):
        quiet(dut)
        self.params = params = params_from_environment(Axi4Params)
        self.bench = Bench(dut)
        self.regions, self.data = self.bench.source(idle=idle), self.bench.source("data", idle)
        self.done, self.bursts = Scoreboard("done"), Scoreboard("m_axi_aw")
        self.bench.scoreboards.append(self.bursts)
        self.bench.sink(self.done, "done", take=self._done)
        self.memory = _Memory(dut, self.bench, params, memory_stall)
        self.pages = {}
        self.requests = Watch(self.bench, "m_axi_aw", ADDRESS_FIELDS, offered=self._offered)
        self.beats = Watch(self.bench, "m_axi_w", ("data", "strb", "last"), took=self._beat)
        self.answers = Watch(self.bench, "m_axi_b", ("resp",))
        self.asked_atoms = self.left = 0
        self.open = []
        self.bursts_sent = 0
        self.answers_due = []
        self.given_up = []
        self.most = 0
        self.failed = False

    def _offered(self, request):
        """A burst is asked for: it must be the next, and all its atoms must be here."""
        params, beats = self.params, request["len"] + 1
        self.bursts.check((request["addr"], beats))
        fixed = {name: request[name] for name in ADDRESS_FIELDS if name not in ("addr", "len")}
        assert fixed == {"size": (params.atom_bits // 8).bit_length() - 1, "burst": 1,
                         "cache": 0b0011, "id": 0, "lock": 0, "prot": 0}, fixed
        self.asked_atoms += beats
        here = sum(cycle < self.bench.cycle for cycle in self.data.taken)
        assert self.asked_atoms <= here, "a burst was asked for before its atoms were here"
        self.open.append(beats)
        under_way = len(self.requests.offers) - len(self.answers.taken)
        self.most = max(self.most, under_way)
        assert under_way <= params.outstanding_bursts, "too many bursts under way"

    def _beat(self, beat):
        """An atom leaves: its burst was asked for, all bytes count, the last is marked."""
        if not self.left:
            assert self.open, "data without a burst"
            self.left = self.open.pop(0)
        self.left -= 1
        assert beat["strb"] == (1 << self.params.atom_bits // 8) - 1
        assert beat["last"] == (self.left == 0), "wlast is not on the last beat of its burst"

    def _done(self, fault):
        """A command ended: all its responses must have come, and none of the next; or it was given
        up."""
        if fault == ReadFault.TIMEOUT:
            self._give_up()
        assert len(self.answers.taken) == self.answers_due.pop(0), "done before all responses"
        self.done.check(fault)

    def _give_up(self):
        """The only command expected was given up: all its atoms are taken, and its bursts that were
        not asked for must never be. What it leaves in memory is not known."""
        assert len(self.answers_due) == 1 and not self.data.items, "given up before its atoms came"
        unasked = len(self.bursts.expected)
        self.bursts.expected.clear()
        self.bursts_sent -= unasked
        self.answers_due = [len(self.answers.taken)]
        self.done.expected.clear()
        self.done.expect(int(ReadFault.TIMEOUT))
        self.asked_atoms = len(self.data.taken)
        self.given_up.append(self.bench.cycle)

    def _page(self, address):
        """What memory must hold around ``address``: random bytes at first."""
        base = address - address % PAGE
        if base not in self.pages:
            self.pages[base] = bytearray(self.bench.rng.randbytes(PAGE))
            self.memory.write(base, self.pages[base])
        return self.pages[base]

    def send(self, index, atoms, errors=0.0, last=True):
        """Write a region, the ``last`` of its command or not; a share of its bursts is answered
        with an error."""
        params, rng = self.params, self.bench.rng
        self.regions.send(pack_write_region(index, atoms, params, last))
        size = params.atom_bits // 8
        for atom in range(index, index + atoms):
            data = rng.randbytes(size)
            place = atom * size % PAGE
            self._page(atom * size)[place:place + size] = data
            self.data.send(int.from_bytes(data, "little"))
        # The bytes before and behind the region must stay as they are.
        for border in (index - 1, index + atoms):
            if 0 <= border < 1 << params.index_bits:
                self._page(border * size)
        bursts = burst_splitter(index, atoms, params)
        for first, beats in bursts:
            self.bursts.expect((first * size, beats), f"{atoms} atoms from {index}")
            if rng.random() < errors:
                self.memory.responses[first * size] = rng.choice((AxiResp.SLVERR, AxiResp.DECERR))
            self.failed |= first * size in self.memory.responses
        self.bursts_sent += len(bursts)
        if not last:
            return
        self.answers_due.append(self.bursts_sent)
        fault = ReadFault.RESPONSE if self.failed else ReadFault.NONE
        self.done.expect(int(fault), f"last {atoms} atoms from {index}")
        self.failed = False

    async def steps(self, cycles):
        """Go through cycles in which nothing need move."""
        for _ in range(cycles):
            self.bench.moved = -1
            await self.bench.step()

    async def ends(self):
        """Wait for the ends of all regions."""
        while self.done.expected:
            await self.steps(1)

    async def end(self, commands):
        """Wait for everything, and compare all memory that was touched or could have been."""
        await self.bench.drain(at_least=commands)
        assert len(self.answers.taken) == len(self.requests.taken) and not self.left
        for base, expected in self.pages.items():
            assert self.memory.read(base, PAGE) == expected, f"memory differs in page {base:#x}"
        assert set(self.memory.mem.segs) == set(self.pages), "memory was written elsewhere"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.6], memory_stall=[0.0, 0.5])
async def random_regions(dut, idle, memory_stall):
    """Random commands, waits on every channel: memory, bursts, their number and the ends."""
    writing = _Writing(dut, idle, memory_stall)
    for place in range(40):
        writing.send(*random_region(writing.bench.rng, writing.params, 60), last=place % 4 != 0)
    await writing.bench.start()
    await writing.end(commands=30)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def late_addresses(dut):
    """Data may be taken long before the address of its burst; an address that waits stays."""
    writing = _Writing(dut)
    memory, rng = writing.memory, writing.bench.rng
    memory.w_channel.queue_occupancy_limit = -1
    memory.aw_channel.set_pause_generator(pauses(rng, 0.9))
    for _ in range(20):
        writing.send(*random_region(rng, writing.params, 40))
    await writing.bench.start()
    await writing.end(commands=20)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def errors(dut):
    """SLVERR and DECERR of any burst are reported with its command, and not with the next."""
    writing = _Writing(dut, 0.1, 0.2)
    for place in range(40):
        index, atoms = random_region(writing.bench.rng, writing.params, 60)
        writing.memory.responses.clear()
        writing.send(index, atoms, errors=0.3 if place % 2 else 0.0)
        if not place:
            await writing.bench.start()
        await writing.bench.drain(at_least=place + 1, quiet=0)
    await writing.end(commands=40)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def most_outstanding(dut):
    """While the memory answers no burst, exactly ``outstanding_bursts`` are started, and the
    region does not end."""
    writing = _Writing(dut)
    params = writing.params
    writing.memory.b_channel.pause = True
    writing.send(0, (params.outstanding_bursts + 2) * params.burst_atoms)
    await writing.bench.start()
    for _ in range((params.outstanding_bursts + 4) * params.burst_atoms + 30):
        await writing.bench.step()
    assert len(writing.requests.taken) == params.outstanding_bursts
    writing.memory.b_channel.pause = False
    await writing.end(commands=1)
    assert writing.most == params.outstanding_bursts


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """Into a memory that always takes, an atom per cycle over the full bursts of a region. With a
    single burst under way, its response lets the next one start."""
    writing = _Writing(dut)
    params = writing.params
    writing.send(0, 150)
    await writing.bench.start()
    await writing.end(commands=1)
    cycles = [cycle for cycle, _ in writing.beats.taken]
    if params.outstanding_bursts > 1:
        assert cycles == list(range(cycles[0], cycles[0] + 150))
        return
    answers = [cycle for cycle, _ in writing.answers.taken]
    late = [(answer, offer) for answer, offer in zip(answers, writing.requests.offers[1:],
                                                     strict=False) if offer > answer + 2]
    assert not late, f"responses, and when the next burst was asked for: {late}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def short_regions(dut):
    """Regions of one short burst each follow each other without a gap, where more than one burst
    may be under way."""
    writing = _Writing(dut)
    params = writing.params
    atoms, regions = min(4, params.burst_atoms), 40
    for number in range(regions):
        writing.send(3 * params.burst_atoms * number, atoms, last=number == regions - 1)
    await writing.bench.start()
    await writing.end(commands=1)
    cycles = [cycle for cycle, _ in writing.beats.taken]
    if params.outstanding_bursts > 1 and atoms > 1:
        assert cycles == list(range(cycles[0], cycles[0] + regions * atoms))


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stuck=["aw", "w", "aw w", "b"])
async def timeouts(dut, stuck):
    """A memory that takes no address or no data, or answers nothing: the region is given up in
    time, and so is the next; all their atoms are taken. A region that is asked for before the
    memory goes on is written, and so are those behind it."""
    writing = _Writing(dut)
    params, bench, memory = writing.params, writing.bench, writing.memory
    limit, size = params.timeout_cycles, 3 * params.burst_atoms + 2
    dead, good = 1 << params.index_bits - 1, 5
    await bench.start()
    writing.send(good, 40)
    await bench.drain(at_least=1)
    for late in (False, True):
        # Pages of the dead regions hold what was asked for before or after: not compared.
        for channel in stuck.split():
            getattr(memory, f"{channel}_channel").pause = True
        for _ in range(1 + late):
            count, sent = len(writing.given_up), bench.cycle
            writing.send(dead, size)
            await writing.ends()
            assert len(writing.given_up) == count + 1, "a region ended that nobody wrote"
            moved = (cycle for watch in (writing.requests, writing.beats, writing.answers)
                     for cycle, _ in watch.taken[-1:])
            time = writing.given_up[-1] - max(sent, *moved)
            assert limit <= time <= limit + 40 + 2 * size, f"given up after {time} cycles"
        writing.send(good, size)
        await writing.steps(limit // 2)
        assert writing.done.expected, "a region ended that nobody wrote"
        for channel in stuck.split():
            getattr(memory, f"{channel}_channel").pause = False
        writing.send(good + 9, 60)
        await bench.drain(at_least=0)
    page = dead * params.atom_bits // 8
    for base in [base for base in writing.pages if abs(base - page) <= PAGE]:
        writing.pages[base][:] = memory.read(base, PAGE)
    await writing.end(commands=1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(
        dut,
        ["i__payload", "i__valid", "data__payload", "data__valid", "m_axi_awready",
         "m_axi_wready", "m_axi_bid", "m_axi_bresp", "m_axi_bvalid"],
        ["i__ready", "data__ready", "m_axi_awvalid", "m_axi_awaddr",
         "m_axi_wvalid", "m_axi_wdata", "m_axi_wlast"],
        seldom=("data__ready",))
