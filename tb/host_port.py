"""Bench of :class:`hdl.host_port.HostPort`: bursts against a byte-accurate memory."""

import logging

import cocotb
from cocotb.triggers import ReadOnly, Timer
from cocotbext.axi import AxiBus, AxiMaster

from spec.memory_units import Aperture, HostPortParams
from tb.bench import PERIOD_NS, Bench, params_from_environment
from tb.buses import pauses
from tb.host_port_model import CHANNELS, FIXED, INCR, OKAY, WRAP, Burst, Host, Memory
from tb.structure import check_registered

__all__ = ["apertures", "bursts_under_way", "channels_are_independent", "ends_of_memory", "faults",
           "latency", "manager", "offers_without_ready", "one_beat_per_cycle", "random_bursts",
           "registered", "registered_in_traffic", "results_in_time", "same_atom"]


def _atoms(host, index, length, identity=1):
    """A burst of whole atoms."""
    size_bits = (host.size - 1).bit_length()
    return Burst(identity, index * host.size, length, size_bits, INCR)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5], wait=[0, 40])
async def random_bursts(dut, idle, stall, wait):
    """Random bursts of every kind: reads in one half of the memory and around its end while writes
    go to the other, then the other way round, so that what was written is read."""
    host = Host(dut, idle, stall)
    rng, atoms = host.rng, host.params.memory_atoms
    host.memory.delay = lambda: rng.randint(0, wait)
    space = (1 << host.params.address_bits) // host.size
    # Few atoms, so that bursts meet again in the same ones.
    halves = [(0, 60), (atoms - 60, min(space, atoms + 20))]
    await host.bench.start()
    for _ in range(6):
        for _ in range(12):
            host.write(host.burst(*halves[0]), host.strobes)
            host.read(host.burst(*halves[1]))
        await host.quiet(at_least=12)
        halves.reverse()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.4])
async def manager(dut, share):
    """The manager of cocotbext-axi: unaligned bytes of any length, at several places at once."""
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
    params = params_from_environment(HostPortParams)
    bench = Bench(dut)
    memory = Memory(bench, params, share)
    rng, size = bench.rng, params.atom_bits // 8
    memory.delay = lambda: rng.randint(0, 12)
    bus = AxiMaster(AxiBus.from_prefix(dut, "s_mem_axi"), dut.clk, dut.rst)
    if share:
        for channel in (bus.write_if.aw_channel, bus.write_if.w_channel, bus.write_if.b_channel,
                        bus.read_if.ar_channel, bus.read_if.r_channel):
            channel.set_pause_generator(pauses(rng, share))
    length = min(params.memory_atoms * size, 1 << params.address_bits)
    places = 4
    part = length // places

    async def use(base):
        held = bytearray(2000)
        await bus.write(base, bytes(held))
        for _ in range(12):
            start = rng.randrange(2000)
            count = rng.randint(1, 2000 - start)
            beat = rng.choice((None, rng.randint(0, (size - 1).bit_length())))
            if rng.random() < 0.5:
                held[start:start + count] = data = rng.randbytes(count)
                answer = await bus.write(base + start, data, size=beat)
            else:
                answer = await bus.read(base + start, count, size=beat)
                assert answer.data == held[start:start + count]
            assert answer.resp == OKAY
        answer = await bus.read(base, 2000)
        assert answer.data == held

    await bench.start()
    users = [cocotb.start_soon(use(place * part + rng.randrange(part - 2000)))
             for place in range(places)]
    while not all(user.done() for user in users):
        await bench.step()
    for user in users:
        await user


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.3])
async def faults(dut, idle):
    """A fault answers SLVERR with its beat; a merge with it leaves the atom as it was."""
    host = Host(dut, idle, idle)
    rng = host.rng
    host.memory.delay = lambda: rng.randint(0, 9)
    for index in range(80):
        if rng.random() < 0.3:
            host.memory.faults[index] = rng.randint(1, 3)
    assert set(host.memory.faults.values()) == {1, 2, 3}
    await host.bench.start()
    for _ in range(6):
        for _ in range(10):
            host.write(host.burst(0, 40), host.strobes)
            host.read(host.burst(40, 80))
        await host.quiet(at_least=10)
        for _ in range(10):
            host.read(host.burst(0, 40))
        await host.quiet()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def ends_of_memory(dut):
    """Beats outside answer DECERR and ask for nothing, those inside are as ever."""
    host = Host(dut)
    atoms, space = host.params.memory_atoms, (1 << host.params.address_bits) // host.size
    size_bits = (host.size - 1).bit_length()
    await host.bench.start()
    last = _atoms(host, atoms - 1, 1)
    for act in (host.write, host.read):
        act(last)
        await host.quiet()
        for first in (atoms - 2, atoms - 1, atoms, space - 3):
            if first >= space:
                continue
            for length in (1, 2, 3, 5, 256):
                # Past the last address, too: nothing begins again at zero.
                act(_atoms(host, first, length, identity=length % 16))
                act(last)
        for length in (2, 4, 8, 16):
            index = (atoms - 1) // length * length + length // 2
            if index < space:
                act(Burst(3, index * host.size, length, size_bits, WRAP))
        if atoms < space:
            act(Burst(5, atoms * host.size, 4, 0, FIXED))
            act(Burst(6, atoms * host.size - 2, 5, 0, INCR))
        await host.quiet(at_least=0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def apertures(dut, idle, stall):
    """Bursts to and around every part of the address space, in one order with those to the memory;
    where the port has no such aperture, there is nothing. Writes change only the memory."""
    host = Host(dut, idle, stall)
    rng, window = host.rng, host.memory.WINDOW_ATOMS
    host.memory.delay = lambda: rng.randint(0, 20)
    for aperture in (Aperture.CODES, Aperture.SCALES):
        for index in rng.sample(range(window), 10):
            host.memory.faults[host.place(aperture, index)] = rng.randint(1, 3)
    await host.bench.start()
    for round_ in range(6):
        producing = host.results is not None and round_ < 3
        if host.results is not None:
            # In the last rounds, beats ask for more than there is.
            host.produce(0 if producing else 12 - len(host.produced))
            while host.results.items:
                await host.bench.step()
            dut.producing.value = int(producing)
        for _ in range(12):
            aperture = rng.choice(tuple(Aperture))
            base = host.place(aperture)
            burst = host.burst(base, base + window + 10)
            if producing and aperture == Aperture.RESULTS:
                host.produce(burst.length)
            host.read(burst)
            base += 100 * (aperture == Aperture.MEMORY)
            host.write(host.burst(base, base + window), host.strobes)
        await host.quiet()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def results_in_time(dut):
    """A read of results waits while a command may give some, and ends in error when none may."""
    host = Host(dut)
    await host.bench.start()
    first = host.place(Aperture.RESULTS, 5)
    if host.results is None:
        host.read(_atoms(host, first, 3))
        await host.quiet()
        return

    async def wait(cycles=200):
        before = host.ends.compared
        for _ in range(cycles):
            await host.bench.step()
        return host.ends.compared - before

    # Results that nobody reads wait before the port, and are read later, each once.
    host.produce(host.params.RESULT_ATOMS + 4)
    assert await wait() == 0 and len(host.results.items) == 4
    host.read(_atoms(host, first, host.params.RESULT_ATOMS + 4))
    host.read(_atoms(host, first, 2))
    await host.quiet()
    # A read that comes first waits, and all behind it.
    dut.producing.value = 1
    host.results.idle = 1.0
    host.produce(3)
    host.read(_atoms(host, first, 4))
    host.read(_atoms(host, 3, 1))
    assert await wait() == 0
    host.results.idle = 0.9
    assert await wait() == 3
    # The command ends without another.
    dut.producing.value = 0
    await host.quiet()
    # It ends in the cycle after its only result.
    dut.producing.value, host.results.idle = 1, 1.0
    host.produce(1)
    host.read(_atoms(host, first, 2))
    assert await wait() == 0
    host.results.idle = 0.0
    while host.results.items:
        await host.bench.step()
    dut.producing.value = 0
    await host.quiet()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(wait=[0, 30])
async def same_atom(dut, wait):
    """Beats that write parts of the same atoms again and again, while the earlier ones wait."""
    host = Host(dut)
    rng, size_bits = host.rng, (host.size - 1).bit_length()
    host.memory.delay = lambda: rng.randint(0, wait)
    await host.bench.start()
    for _ in range(8):
        for index in (7, 8):
            host.write(Burst(rng.getrandbits(4), index * host.size, 9, size_bits, FIXED),
                       lambda lanes: lanes & rng.choice((-1, rng.getrandbits(host.size))))
            host.write(Burst(rng.getrandbits(4), index * host.size + 3, 16, 0, INCR))
            host.write(_atoms(host, index, 2), host.strobes)
        await host.quiet(at_least=0)
        host.read(_atoms(host, 7, 3))
        await host.quiet()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def bursts_under_way(dut):
    """While the memory answers nothing, read beats are asked for up to ``read_beats``, of four
    bursts and more, and the data of ``write_bursts`` bursts come; each is answered after that."""
    host = Host(dut)
    params = host.params
    host.memory.open = False
    for burst in range(6):
        host.read(_atoms(host, burst * 8, max(1, params.read_beats // 4), burst))
    count = params.write_bursts + 8
    for burst in range(count):
        host.write(_atoms(host, 100 + 2 * burst, 2, burst % 16))
    await host.bench.start()
    for _ in range(2 * params.read_beats + 4 * count):
        await host.bench.step()
    assert len(host.memory.read.came) == params.read_beats and len(host.ar.taken) >= 4
    # One burst more stands with its last beat before the full queue.
    assert len(host.memory.write.came) == 2 * params.write_bursts + 1
    assert not host.r.came and not host.b.came
    host.memory.open = True
    await host.quiet(at_least=6)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(length=[1, 2, 16])
async def one_beat_per_cycle(dut, length):
    """With a memory of some latency, whole atoms: one beat per cycle over all bursts, in both
    directions at once."""
    host = Host(dut)
    params = host.params
    # The queues cover the way through the unit and this.
    delay = max(0, min(params.read_beats, params.write_bursts * length) - 12)
    host.memory.delay = lambda: delay
    for burst in range(160 // length):
        host.read(_atoms(host, burst * length, length, burst % 16))
        host.write(_atoms(host, 200 + burst * length, length, burst % 16))
    await host.bench.start()
    await host.quiet()
    came, sent = host.r.came, host.memory.write.came
    assert len(came) == len(sent) == 160 // length * length
    assert came == list(range(came[0], came[0] + len(came)))
    if params.write_bursts * length > 12:
        assert sent == list(range(sent[0], sent[0] + len(sent)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """Lone accesses take as many cycles as promised."""
    host = Host(dut)
    await host.bench.start()
    for index in range(5):
        host.read(_atoms(host, index, 1))
        host.write(_atoms(host, 50 + index, 1))
        await host.quiet()
    memory = host.memory

    def between(earlier, later):
        return {after - before for before, after in zip(earlier, later, strict=True)}

    assert between(host.ar.taken, memory.read.came) == {4}
    assert between(memory.data.taken, host.r.came) == {1 if host.params.ecc == "none" else 2}
    assert between(host.w.taken, memory.write.came) == {4}
    assert between(memory.written.taken, host.b.came) == {2}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def channels_are_independent(dut):
    """Writes end while the host takes no read data, and reads end while it takes no response or
    sends no write data."""
    host = Host(dut)
    host.memory.delay = lambda: 5

    def act(round_):
        for burst in range(2 * max(host.params.read_beats, host.params.write_bursts) // 4):
            host.read(_atoms(host, 4 * burst, 4))
            host.write(_atoms(host, 300 + 4 * (burst + round_), 3), host.strobes)

    async def waits_only(ended, stuck):
        for _ in range(2500):
            await host.bench.step()
        assert not ended.expected, f"{len(ended.expected)} of {ended.name} wait for the other side"
        assert stuck.expected

    await host.bench.start()
    host.r.stall = 1.0
    act(0)
    await waits_only(host.answers, host.ends)
    host.r.stall = 0.0
    await host.quiet()
    host.b.stall = 1.0
    act(1)
    await waits_only(host.ends, host.answers)
    host.b.stall = 0.0
    await host.quiet()
    host.w.idle = 1.0
    act(2)
    await waits_only(host.ends, host.answers)
    host.w.idle = 0.0
    await host.quiet()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def offers_without_ready(dut):
    """No offer waits for its taker to be ready first."""
    host = Host(dut)
    memory = host.memory
    await host.bench.start()
    for sinks, names in (((memory.read, memory.write), ("read__valid", "write__valid")),
                         ((host.r, host.b), ("s_mem_axi_rvalid", "s_mem_axi_bvalid"))):
        for sink in sinks:
            sink.stall = 1.0
        host.read(_atoms(host, 3, 1))
        host.write(_atoms(host, 9, 1))
        for _ in range(20):
            await host.bench.step()
        assert [int(getattr(dut, name).value) for name in names] == [1, 1], names
        for sink in sinks:
            sink.stall = 0.0
        await host.quiet()


def _inputs(results):
    return [*(f"s_mem_axi_{channel}{name}" for channel in ("ar", "aw", "w")
              for name in (*CHANNELS[channel], "valid")),
            "s_mem_axi_bready", "s_mem_axi_rready", "read__ready", "write__ready",
            "data__payload", "data__valid", "written__payload", "written__valid",
            *(("results__payload", "results__valid", "producing") if results else ())]


def _outputs(results):
    return [*(f"s_mem_axi_{channel}{name}" for channel in ("b", "r")
              for name in (*CHANNELS[channel], "valid")),
            "s_mem_axi_arready", "s_mem_axi_awready", "s_mem_axi_wready", "read__payload",
            "read__valid", "data__ready", "write__payload", "write__valid",
            *(("results__ready",) if results else ())]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally, whatever stands on the inputs. Most of these
    bursts miss the memory; the next test sees the rest."""
    results = hasattr(dut, "producing")
    await check_registered(dut, _inputs(results), _outputs(results),
                           seldom=tuple(_outputs(results)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered_in_traffic(dut):
    """No output follows an input that changes between two edges, while bursts are under way."""
    host = Host(dut, 0.2, 0.2)
    rng = host.rng
    host.memory.delay = lambda: rng.randint(0, 5)
    for burst in range(20):
        host.read(host.burst(0, 40))
        host.write(host.burst(100, 140), host.strobes)
        host.write(_atoms(host, host.params.memory_atoms - 1, 2, burst % 16), lambda lanes: 0)
        host.read(_atoms(host, host.params.memory_atoms - 2, 3, burst % 16))
    results = host.results is not None
    if results:
        # More than there is room for, so that the port is not always ready.
        host.produce(host.params.RESULT_ATOMS + 8)
        host.read(_atoms(host, host.place(Aperture.RESULTS), len(host.produced)))
    await host.bench.start()
    seen = {name: set() for name in _outputs(results)}
    while host.answers.expected or host.ends.expected:
        stood = {name: getattr(dut, name).value for name in _inputs(results)}
        before = {name: int(getattr(dut, name).value) for name in seen}
        for name in stood:
            port = getattr(dut, name)
            port.value = rng.getrandbits(len(port))
        await ReadOnly()
        following = [name for name, value in before.items()
                     if int(getattr(dut, name).value) != value]
        assert not following, f"{', '.join(following)}: follows an input combinationally"
        await Timer(PERIOD_NS / 8, unit="ns")
        for name, value in stood.items():
            getattr(dut, name).value = value
        await host.bench.step()
        for name, value in before.items():
            seen[name].add(value)
    still = [name for name, values in seen.items() if len(values) == 1]
    assert not still, f"{', '.join(still)}: never changed"
    await host.quiet()
