"""Bench of :class:`hdl.axi4_reader.Axi4Reader`, against the AXI memory of cocotbext-axi."""

import cocotb
from cocotbext.axi import AxiRamRead, AxiResp

from golden.burst_splitter import burst_splitter
from spec.memory_units import ReadFault
from spec.units import Axi4Params
from tb.axi import ADDRESS_FIELDS, Watch, quiet, read_bus
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.burst_splitter import pack_region, random_region
from tb.buses import pauses
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["errors", "most_outstanding", "one_atom_per_cycle", "random_regions", "registered",
           "timeouts"]


class _Memory(AxiRamRead):
    """Memory that takes any number of bursts, and answers some atoms with an error."""

    def __init__(self, dut, bench, params, stall):
        self.bench, self.atom_bytes = bench, params.atom_bits // 8
        self.responses = {}
        super().__init__(read_bus(dut), dut.clk, dut.rst, size=1 << params.address_bits)
        self.ar_channel.queue_occupancy_limit = -1
        self._answer, self.r_channel.send = self.r_channel.send, self._answer_as_told
        self._order = []
        if stall:
            for channel in (self.ar_channel, self.r_channel):
                channel.set_pause_generator(pauses(bench.rng, stall))

    async def _read(self, address, length):
        self._order.append(address // self.atom_bytes)
        return await super()._read(address, length)

    async def _answer_as_told(self, transfer):
        transfer.rresp = self.responses.get(self._order.pop(0), AxiResp.OKAY)
        await self._answer(transfer)


class _Reading:
    """Regions, the atoms that must come of them, and the bursts that must be asked for."""

    def __init__(self, dut, idle=0.0, stall=0.0, memory_stall=0.0):
        quiet(dut)
        self.params = params = params_from_environment(Axi4Params)
        self.bench = Bench(dut)
        self.source = self.bench.source(idle=idle)
        self.atoms, self.bursts = Scoreboard("o"), Scoreboard("m_axi_ar")
        self.bench.scoreboards.append(self.bursts)
        self.sink = self.bench.sink(self.atoms, stall=stall, take=self._atom)
        self.memory = _Memory(dut, self.bench, params, memory_stall)
        self.requests = Watch(self.bench, "m_axi_ar", ADDRESS_FIELDS, took=self._asked)
        self.answers = Watch(self.bench, "m_axi_r", ("data", "resp", "last"), took=self._answered)
        self.outstanding = self.most = 0
        self.sent = self.given_up = 0

    def _atom(self, atom):
        """Once one of the atoms expected was given up, so are all, with any data."""
        if atom >> self.params.atom_bits == ReadFault.TIMEOUT:
            assert self.atoms.expected, "an atom was given up that nobody asked for"
            self.atoms.expected.popleft()
            self.given_up += 1
        else:
            assert not self.given_up, "a good atom among those given up"
            self.atoms.check(atom)

    def _asked(self, request):
        params = self.params
        self.bursts.check((request["addr"], request["len"] + 1))
        fixed = {name: request[name] for name in ADDRESS_FIELDS if name not in ("addr", "len")}
        assert fixed == {"size": (params.atom_bits // 8).bit_length() - 1, "burst": 1,
                         "cache": 0b0011, "id": 0, "lock": 0, "prot": 0}, fixed
        self.outstanding += 1
        self.most = max(self.most, self.outstanding)
        assert self.outstanding <= params.outstanding_bursts, "too many bursts under way"

    def _answered(self, answer):
        self.outstanding -= answer["last"]

    def send(self, index, atoms, errors=0.0):
        """Read a region; a share of its atoms is answered with an error."""
        params, rng = self.params, self.bench.rng
        self.sent = self.bench.cycle
        self.source.send(pack_region(index, atoms, params))
        size = params.atom_bits // 8
        for atom in range(index, index + atoms):
            if atom not in self.memory.responses:
                self.memory.write(atom * size, rng.randbytes(size))
                self.memory.responses[atom] = (
                    AxiResp.OKAY if rng.random() >= errors
                    else rng.choice((AxiResp.SLVERR, AxiResp.DECERR)))
            value = int.from_bytes(self.memory.read(atom * size, size), "little")
            fault = (ReadFault.NONE if self.memory.responses[atom] == AxiResp.OKAY
                     else ReadFault.RESPONSE)
            self.atoms.expect(fields((value, params.atom_bits), (fault, 2)), f"atom {atom}")
        for first, beats in burst_splitter(index, atoms, params):
            self.bursts.expect((first * size, beats), f"{atoms} atoms from {index}")
        return atoms

    async def steps(self, cycles):
        """Go through cycles in which nothing need move."""
        for _ in range(cycles):
            self.bench.moved = -1
            await self.bench.step()

    async def gives_up(self):
        """Expect that everything expected is given up, ``timeout_cycles`` cycles after the last
        region was sent or the memory moved; its bursts that were not asked for must never be."""
        limit = self.params.timeout_cycles

        def moved():
            offers = self.requests.offers[-1:]
            taken = [cycle for watch in (self.requests, self.answers)
                     for cycle, _ in watch.taken[-1:]]
            return max([self.sent, *offers, *taken])

        count = len(self.atoms.expected)
        while not self.given_up:
            await self.steps(1)
            assert self.bench.cycle <= moved() + limit + 8, "not given up in time"
        assert self.bench.cycle > moved() + limit, "given up too early"
        while self.atoms.expected:
            await self.steps(1)
        assert self.given_up >= count - 2
        asked = int(self.requests.refused is not None)
        while len(self.bursts.expected) > asked:
            self.bursts.expected.pop()
        self.given_up = 0

    async def end(self, at_least):
        """Wait for everything, and check that it came."""
        await self.bench.drain(at_least=0)
        self.atoms.close(at_least)
        assert self.outstanding == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5], memory_stall=[0.0, 0.4])
async def random_regions(dut, idle, stall, memory_stall):
    """Random regions, waits on every channel; data, bursts and their number are right."""
    reading = _Reading(dut, idle, stall, memory_stall)
    count = sum(reading.send(*random_region(reading.bench.rng, reading.params, 100))
                for _ in range(30))
    await reading.bench.start()
    await reading.end(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def errors(dut):
    """SLVERR and DECERR mark exactly the atoms that they came with."""
    reading = _Reading(dut, 0.2, 0.2, 0.2)
    count = sum(reading.send(*random_region(reading.bench.rng, reading.params, 100), errors=0.3)
                for _ in range(15))
    kinds = set(reading.memory.responses.values())
    assert kinds == {AxiResp.OKAY, AxiResp.SLVERR, AxiResp.DECERR}
    await reading.bench.start()
    await reading.end(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def most_outstanding(dut):
    """While the memory answers nothing, exactly ``outstanding_bursts`` are asked for, of one
    region and of the next."""
    reading = _Reading(dut)
    params = reading.params
    reading.memory.r_channel.pause = True
    half = max(1, params.outstanding_bursts // 2) * params.burst_atoms
    count = sum(reading.send(index * half, half) for index in range(4))
    await reading.bench.start()
    for _ in range(4 * params.outstanding_bursts + 20):
        await reading.bench.step()
    assert reading.outstanding == params.outstanding_bursts
    reading.memory.r_channel.pause = False
    await reading.end(at_least=count)
    assert reading.most == params.outstanding_bursts


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """From a memory that always answers: an atom per cycle over bursts and regions, where the
    bursts under way cover the way to the memory and back, and four in five cycles where they do
    not. With a single burst under way, its end lets the next one start, two cycles later at a
    region's border."""
    reading = _Reading(dut)
    params = reading.params
    start, count = 3, 0
    for atoms in (100, 61, 100):
        count += reading.send(start, atoms)
        start += atoms
    await reading.bench.start()
    await reading.end(at_least=count)
    came = reading.sink.came
    if params.outstanding_bursts > 1:
        if (params.outstanding_bursts - 1) * params.burst_atoms >= 8:
            assert came == list(range(came[0], came[0] + count))
        assert came[-1] - came[0] < 5 * count // 4
        return
    ends = [cycle for cycle, _ in reading.answers.taken]
    asked = [cycle for cycle, _ in reading.requests.taken]
    late = [(end, ask) for end, ask in zip(ends, asked[1:], strict=False) if ask > end + 2]
    assert not late, f"ends of bursts, and when the next was asked for: {late}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(channel=["ar", "r"])
async def timeouts(dut, channel):
    """A memory that takes no request, or stops in the middle of a burst: what is owed is given up
    in time, of two regions at once and again of the next; the answers that come later are dropped,
    and a region that is asked for meanwhile is right."""
    reading = _Reading(dut, stall=0.1)
    params, bench = reading.params, reading.bench
    paused = getattr(reading.memory, f"{channel}_channel")
    await bench.start()
    reading.send(*random_region(bench.rng, params, 40))
    await bench.drain(at_least=0)
    for late in (False, True):
        first = bench.rng.randrange(1 << params.index_bits - 8)
        if channel == "ar":
            paused.pause = True
            await reading.steps(2)
        reading.send(first, 4 * params.burst_atoms + 3)
        reading.send(first + 7, 5)
        while channel == "r" and len(reading.answers.taken) % params.burst_atoms != (
                params.burst_atoms // 2):
            await reading.steps(1)
        paused.pause = True
        await reading.steps(10)
        await reading.gives_up()
        count = reading.send(first + 3, 2 * params.burst_atoms)
        if late:
            await reading.gives_up()
            count = reading.send(first + 3, 2 * params.burst_atoms)
        await reading.steps(params.timeout_cycles // 2)
        assert len(reading.atoms.expected) == count, "an answer while the memory gave none"
        paused.pause = False
        count = reading.send(first, 40)
        await bench.drain(at_least=0)
        assert reading.outstanding == 0 and not reading.given_up


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(
        dut,
        ["i__payload", "i__valid", "o__ready", "m_axi_arready", "m_axi_rdata", "m_axi_rid",
         "m_axi_rresp", "m_axi_rlast", "m_axi_rvalid"],
        ["i__ready", "o__payload", "o__valid", "m_axi_arvalid", "m_axi_araddr", "m_axi_rready"])
