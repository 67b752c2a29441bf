"""Bench of :class:`hdl.cast_window.CastWindow`: every answer against the golden quantizer."""

import cocotb

from spec.memory_units import Aperture
from tb.cast_window_model import CLOSED, Window, WindowBench
from tb.structure import check_registered

__all__ = ["closed", "faults", "mapped_under_way", "one_atom_per_cycle", "plain_reads",
           "random_reads", "registered", "scales_before_codes", "sequential", "stalled_host",
           "write_while_scales_are_made", "writes_between", "writes_under_way"]

CODES, SCALES, MEMORY = Aperture.CODES, Aperture.SCALES, Aperture.MEMORY


def _run(window, aperture, first=0, count=None):
    """Read atoms one behind the other, to the end by default."""
    count = window.atoms_of(aperture) - first if count is None else count
    for index in range(first, first + count):
        window.read(aperture, index)


def _random(window, reads):
    """Read single atoms and runs of all apertures, some past the end."""
    rng = window.rng
    while reads > 0:
        aperture = rng.choice((CODES, CODES, SCALES, MEMORY))
        count = rng.choice((1, 1, 2, rng.randint(1, 12)))
        atoms = window.atoms_of(aperture) if aperture != MEMORY else 50
        first = max(0, rng.choice((rng.randrange(atoms + 3), atoms - 2)))
        _run(window, aperture, first, count)
        reads -= count


def _kinds(params):
    return [(target, rule, group) for target in params.formats for rule in params.rules
            for group in params.groups]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.3])
async def sequential(dut, idle):
    """Windows of every kind: all codes, then all scales, then what is behind them. Each source
    atom is read once, as long as the scales are kept."""
    window = WindowBench(dut, idle, idle)
    params, rng = window.params, window.rng
    await window.start()
    total = 0
    for target, rule, group in _kinds(params):
        wide = rule == "fp32-div"
        store = params.store_atoms * params.span_atoms(group, wide) * params.code_lanes
        for elements in (1, rng.randint(2, 3 * group), min(store, 16 * group + rng.randrange(90))):
            atoms = -(-elements // params.code_lanes)
            await window.map(Window(rng.randrange((1 << params.index_bits) - atoms + 1),
                                    elements, target, rule, group))
            before = len(window.order)
            _run(window, CODES)
            _run(window, SCALES)
            await window.quiet()
            read = window.order[before:]
            assert read == [window.window.source + place for place in range(atoms)], (
                f"{window.window}: {len(read)} atoms were read, of {atoms}")
            for aperture in (CODES, SCALES):
                end = window.atoms_of(aperture)
                total += end
                window.read(aperture, end)
                window.read(aperture, (1 << params.index_bits) - 1)
            await window.quiet()
    window.end(total)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.6], wait=[0, 60])
async def random_reads(dut, idle, stall, wait):
    """Reads of any order and length of all apertures, in one order of answers."""
    window = WindowBench(dut, idle, stall, stall)
    window.delay = lambda: window.rng.randint(0, wait)
    await window.start()
    for _ in range(8):
        await window.map(window.random_window())
        _random(window, 60)
        await window.quiet()
    window.end(480)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def scales_before_codes(dut):
    """Scales that were not made yet, those of a part of an atom, and those that were displaced."""
    window = WindowBench(dut)
    params, rng = window.params, window.rng
    window.delay = lambda: 20
    await window.start()
    group = min(params.groups)
    for rule in params.rules:
        wide = rule == "fp32-div"
        span = params.span_atoms(group, wide) * params.code_lanes
        # A few atoms of scales more than are kept, if they fit the memory.
        spans = min(params.store_atoms + 3, (params.code_lanes << params.index_bits) // span, 40)
        elements = spans * span - rng.randrange(span)
        await window.map(Window(0, elements, params.formats[0], rule, group))
        scales, codes = window.atoms_of(SCALES), window.atoms_of(CODES)
        # Scales alone, forwards and backwards, the codes of some of their groups, others.
        _run(window, SCALES, 0, min(4, scales))
        _run(window, CODES, rng.randrange(min(codes, 20)), 5)
        _run(window, SCALES, 0, min(4, scales))
        for index in (scales - 1, 0, scales - 1, min(1, scales - 1), 0):
            window.read(SCALES, index)
            window.read(CODES, min(codes - 1, index * codes // scales + rng.randrange(4)))
            window.read(SCALES, index)
        # Codes from the middle of an atom of scales to its end and on, then that atom.
        half = codes // scales // 2
        _run(window, CODES, half, min(codes - half, 2 * half + 3))
        _run(window, SCALES, 0, min(3, scales))
        await window.quiet()
        # All codes: the last atoms of scales are kept, the first are not.
        if codes <= 1600:
            _run(window, CODES)
            await window.quiet()
            before = len(window.order)
            kept = min(scales, params.store_atoms)
            _run(window, SCALES, scales - kept)
            await window.quiet()
            assert len(window.order) == before
            # Codes that are read again do not displace them.
            window.read(CODES, codes - codes * kept // scales // 2 - 1)
            await window.quiet()
            before = len(window.order)
            _run(window, SCALES, scales - kept)
            await window.quiet()
            assert len(window.order) == before
            if scales > kept:
                _run(window, SCALES, 0, scales - kept)
                await window.quiet()
                assert len(window.order) > before
                _run(window, SCALES)
                await window.quiet()
    window.end(100)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(wait=[0, 40])
async def writes_between(dut, wait):
    """What the host reads when a write is written is as if nothing had been read before."""
    window = WindowBench(dut)
    rng, lanes = window.rng, window.params.code_lanes
    window.delay = lambda: rng.randint(0, wait)
    window.write_delay = lambda: rng.randint(0, wait)
    await window.start()
    changed = 0
    for _ in range(6):
        await window.map(window.random_window(600))
        source, atoms = window.window.source, -(-window.window.elements // lanes)
        for _ in range(8):
            codes, scales = window.atoms_of(CODES), window.atoms_of(SCALES)
            last = rng.randrange(codes)
            _run(window, CODES, max(0, last - 3), min(4, last + 1))
            _run(window, SCALES)
            await window.quiet()
            # The atoms of the code atom that was read last, others, and those beside the window.
            index = rng.choice((source + min(atoms - 1, 2 * last + rng.randrange(2)),
                                source + rng.randrange(atoms), source - 1, source + atoms))
            if 0 <= index < 1 << window.params.index_bits:
                window.write(rng.choice(("host", "tile")), index)
                changed += 1
            while any(window.writing.values()):
                await window.bench.step()
            # As long as a write needs until the host knows of it.
            for _ in range(4):
                await window.bench.step()
            window.read(CODES, last)
            window.read(SCALES, rng.randrange(scales))
            await window.quiet()
    assert changed > 20
    window.end(100)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(wait=[0, 100])
async def writes_under_way(dut, wait):
    """Reads while writes are under way may see them or not; those after them do."""
    window = WindowBench(dut, 0.1, 0.1)
    rng, lanes = window.rng, window.params.code_lanes
    window.delay = lambda: rng.randint(0, 10)
    window.write_delay = lambda: rng.randint(0, wait)
    await window.start()
    for _ in range(6):
        opened = window.random_window(600)
        source, atoms = opened.source, -(-opened.elements // lanes)
        # Writes that come before the window is open.
        for _ in range(3):
            window.write(rng.choice(("host", "tile")), source + rng.randrange(atoms))
        for _ in range(rng.randrange(9)):
            await window.bench.step()
        await window.map(opened)
        for index in range(window.atoms_of(CODES)):
            window.read(CODES, index, certain=False)
        while any(window.writing.values()):
            await window.bench.step()
        for _ in range(4):
            await window.bench.step()
        _run(window, SCALES)
        _run(window, CODES)
        await window.quiet()
        for _ in range(6):
            codes, scales = window.atoms_of(CODES), window.atoms_of(SCALES)
            index = rng.randrange(codes)
            for _ in range(rng.randint(1, 5)):
                window.write(rng.choice(("host", "tile")),
                             source + rng.choice((rng.randrange(atoms),
                                                  min(atoms - 1, 2 * index))))
                for _ in range(rng.randrange(12)):
                    window.read(CODES, index, certain=False)
                    window.read(SCALES, rng.randrange(scales), certain=False)
                    await window.bench.step()
            while any(window.writing.values()):
                window.read(CODES, index, certain=False)
                for _ in range(rng.randrange(9)):
                    await window.bench.step()
            for _ in range(4):
                await window.bench.step()
            window.read(CODES, index)
            _run(window, SCALES)
            _run(window, CODES)
            await window.quiet()
    window.end(100)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def write_while_scales_are_made(dut):
    """A write in the middle of the groups that an atom of scales is made from."""
    window = WindowBench(dut)
    params, rng = window.params, window.rng
    group = min(params.groups)
    await window.start()
    span = params.span_atoms(group, params.rules[-1] == "fp32-div")
    await window.map(Window(3, 2 * span * params.code_lanes, params.formats[0], params.rules[-1],
                            group))
    for _ in range(60):
        window.read(SCALES, 0, certain=False)
        for _ in range(rng.randrange(span + 20)):
            await window.bench.step()
        window.write(rng.choice(("host", "tile")), 3 + rng.randrange(span))
        while any(window.writing.values()):
            await window.bench.step()
        for _ in range(4):
            await window.bench.step()
        window.read(SCALES, 0)
        await window.quiet()
        window.read(CODES, span)
        window.read(SCALES, 1)
        await window.quiet()
    # Writes without end do not keep the answer away.
    for cycle in range(4 * span + 200):
        window.write("tile", 3)
        if cycle == 20:
            window.read(SCALES, 0, certain=False)
        await window.bench.step()
        if cycle > 20 and not window.answers.expected:
            break
    assert not window.answers.expected, "no answer while there are writes"
    await window.quiet()
    window.end(180)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def faults(dut):
    """A fault spoils all that is made from its unit and nothing else, and only for now."""
    window = WindowBench(dut, 0.1, 0.1)
    rng, lanes = window.rng, window.params.code_lanes
    window.delay = lambda: rng.randint(0, 30)
    await window.start()
    for _ in range(8):
        await window.map(window.random_window(1500))
        source, atoms = window.window.source, -(-window.window.elements // lanes)
        window.faults = {source + rng.randrange(atoms) for _ in range(rng.randint(1, 3))}
        window.made = None
        _run(window, CODES)
        _run(window, SCALES)
        _random(window, 30)
        await window.quiet()
        # What was made is not kept.
        window.faults, window.made = set(), None
        _run(window, SCALES)
        _run(window, CODES)
        await window.quiet()
        # One in the group that is read again and again.
        last = window.atoms_of(CODES) - 1
        window.read(CODES, last)
        await window.quiet()
        window.faults, window.made = {source + atoms - 1}, None
        await window.map(window.window)
        for _ in range(3):
            window.read(CODES, last)
        window.read(SCALES, window.atoms_of(SCALES) - 1)
        await window.quiet()
        window.faults, window.made = set(), None
        window.read(CODES, last)
        window.read(SCALES, window.atoms_of(SCALES) - 1)
        await window.quiet()
    window.end(300)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def closed(dut):
    """Nothing is there before a window is open, and after it is closed."""
    window = WindowBench(dut)
    await window.start()
    for opened in (CLOSED, window.random_window(), CLOSED):
        await window.map(opened)
        for index in (0, 1, 5000 % (1 << window.params.index_bits)):
            for aperture in (CODES, SCALES, MEMORY):
                window.read(aperture, index)
        await window.quiet()
    window.end(27)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.7])
async def mapped_under_way(dut, stall):
    """A window that is opened while reads are under way holds for those that come later."""
    window = WindowBench(dut, 0.0, stall)
    rng = window.rng
    window.delay = lambda: rng.randint(0, 40)
    await window.start()
    for _ in range(40):
        await window.map(window.random_window(400))
        if rng.random() < 0.3:
            await window.map(window.random_window(400))
        _random(window, rng.randint(1, 12))
        # What stands before the unit is read in the next window, and judged by nobody.
        while len(window.reads.items) > 3:
            await window.bench.step()
        left = len(window.reads.items) + 4
        expected = window.answers.expected
        for place in range(max(0, len(expected) - left), len(expected)):
            expected[place] = (None, None)
        while window.reads.items:
            await window.bench.step()
    await window.quiet()
    window.end(40)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def stalled_host(dut):
    """A host that takes nothing for long, with a new window meanwhile, gets all in the end."""
    window = WindowBench(dut)
    window.delay = lambda: 10
    await window.start()
    for _ in range(3):
        await window.map(window.random_window())
        window.data.stall = 1.0
        _random(window, 300)
        for _ in range(1500):
            await window.bench.step()
        taken = len(window.reads.taken)
        for _ in range(100):
            await window.bench.step()
        assert len(window.reads.taken) == taken
        window.data.stall = 0.0
        await window.quiet()
    window.end(900)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(wait=[0, 128])
async def one_atom_per_cycle(dut, wait):
    """Codes in ascending order, of every kind: one source atom per cycle, whatever the memory's
    latency, the scales among them, too."""
    window = WindowBench(dut)
    params = window.params
    window.delay = lambda: wait
    await window.start()
    # Whole atoms of scales, of every kind.
    length = min(2048, 1 << params.index_bits)
    for group in params.groups:
        for rule in (params.rules[0], params.rules[-1]):
            await window.map(Window(0, length * params.code_lanes, params.formats[0], rule, group))
            first = len(window.asked.came)
            began = window.bench.cycle
            # As scales come to be made, they are read: they cost the memory nothing.
            codes, scales = window.atoms_of(CODES), window.atoms_of(SCALES)
            for index in range(codes):
                window.read(CODES, index)
                if (index + 1) * scales // codes > index * scales // codes:
                    window.read(SCALES, (index + 1) * scales // codes - 1)
            await window.quiet()
            came = window.asked.came[first:]
            assert len(came) == length
            share = length / (came[-1] - came[0] + 1)
            dut._log.info(f"group {group}, {rule}: {share:.4f} source atoms per cycle, "
                          f"{window.data.came[-1] - began} cycles in all")
            assert share >= 0.98, f"group {group}, {rule}: {share:.4f} source atoms per cycle"


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(wait=[0, 100])
async def plain_reads(dut, wait):
    """Reads of the memory pass at one per cycle."""
    window = WindowBench(dut)
    window.delay = lambda: wait
    await window.start()
    for index in range(400):
        window.read(MEMORY, index)
    await window.quiet()
    for came in (window.asked.came, window.data.came):
        assert came == list(range(came[0], came[0] + 400))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally, whatever stands on the inputs."""
    await check_registered(
        dut, ["read__payload", "read__valid", "data__ready", "memory_read__ready",
              "memory_data__payload", "memory_data__valid", "window", "mapped",
              *(f"{who}_{name}__{part}" for who in ("host", "tile")
                for name in ("write", "written") for part in ("payload", "valid"))],
        ["read__ready", "data__payload", "data__valid", "memory_read__payload",
         "memory_read__valid", "memory_data__ready"])
