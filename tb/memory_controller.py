"""Bench of :class:`hdl.memory_controller.MemoryController`."""

import itertools

import cocotb

from spec.dram_rules import DramCommand
from spec.memory_units import TURN
from tb.memory_controller_model import REQUESTERS, MemoryBench

__all__ = ["flipped_bits", "host_share", "lone_accesses", "lost_atoms", "random_accesses",
           "reads_under_writes", "refresh_of_a_busy_row", "refresh_without_work",
           "rows_one_after_the_other", "writes_under_reads"]

# Within so many cycles a request is done, whatever else is wanted.
PATIENCE = 4000


def _row(memory):
    """Atoms that follow each other in one row of one bank of each group: one access per cycle."""
    grade = memory.params.grade
    return grade.row_atoms * grade.organisation.bank_groups


def _place(memory, where):
    """Return a function that chooses atoms: ``hot`` ones, in few ``rows``, or ``everywhere``."""
    rng, bits, row = memory.rng, memory.params.index_bits, _row(memory)
    hot = [rng.getrandbits(bits) for _ in range(6)]
    rows = [rng.getrandbits(bits) // row * row for _ in range(4)]
    return {"hot": lambda: rng.choice(hot),
            "rows": lambda: rng.choice(rows) + rng.randrange(row),
            "everywhere": lambda: rng.getrandbits(bits)}[where]


def _strobe(memory):
    """Any bytes; with check bits only whole atoms can be written."""
    count = memory.params.atom_bits // 8
    if memory.params.ecc_bits or memory.rng.random() < 0.5:
        return None
    return memory.rng.getrandbits(count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.8], stall=[0.0, 0.5], where=["hot", "rows", "everywhere"])
async def random_accesses(dut, idle, stall, where):
    """Reads and writes of both requesters: each answer is the atom as it then was."""
    memory = MemoryBench(dut, idle, stall)
    place = _place(memory, where)
    memory.dram.stray = 0.5
    await memory.start()
    for _ in range(300):
        for who in REQUESTERS:
            memory.read(who, place())
            if memory.rng.random() < 0.7:
                memory.write(who, place(), _strobe(memory))
    await memory.drain()
    assert where != "hot" or idle == 0 or memory.after_writes > 20


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rows_one_after_the_other(dut):
    """Each access needs another row of one bank, and each is of the other kind than the last."""
    memory = MemoryBench(dut)
    rng, grade = memory.rng, memory.params.grade
    rows = 1 << memory.params.index_bits - grade.organisation.rows.bit_length() + 1
    await memory.start()
    for number in range(100):
        index = rng.randrange(grade.organisation.rows) * rows
        if number % 2:
            memory.write("host", index)
        else:
            memory.read("tile", index)
        if number % 10 == 0:
            await memory.drain(quiet=0)
    await memory.drain()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def lone_accesses(dut):
    """One access at a time: each is done before the next one comes, and a read sees the write."""
    memory = MemoryBench(dut)
    place = _place(memory, "everywhere")
    await memory.start()
    for number in range(24):
        index = place()
        memory.write(REQUESTERS[number % 2], index)
        await memory.drain(limit=PATIENCE, quiet=number % 5)
        memory.read(REQUESTERS[number // 2 % 2], index)
        await memory.drain(limit=PATIENCE, quiet=number % 7)
    assert memory.after_writes == 24


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def writes_under_reads(dut):
    """A lone write is done although the other requester never stops reading."""
    memory = MemoryBench(dut)
    place = _place(memory, "rows")
    await memory.start()
    for who, other in (REQUESTERS, REQUESTERS[::-1]):
        memory.write(who, place())
        start = memory.bench.cycle
        while memory.asked["write", who] or memory.accepted["write", who]:
            if len(memory.asked["read", other]) < 2:
                memory.read(other, place())
            await memory.step()
            assert memory.bench.cycle < start + PATIENCE
        await memory.drain()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reads_under_writes(dut):
    """A lone read is done although the other requester never stops writing, one atom per cycle."""
    memory = MemoryBench(dut)
    atoms = itertools.cycle(range(_row(memory)))
    await memory.start()
    for who, other in (REQUESTERS, REQUESTERS[::-1]):
        start = memory.bench.cycle
        while memory.bench.cycle < start + 300 or memory.accepted["read", who]:
            if len(memory.asked["write", other]) < 2:
                memory.write(other, next(atoms))
            if memory.bench.cycle == start + 299:
                memory.read(who, next(atoms))
            await memory.step()
            assert memory.bench.cycle < start + PATIENCE, "the read was not answered"
        await memory.drain()


def _intervals(params, count):
    """Tile cycles of ``count`` refresh intervals."""
    return -(-count * params.grade.timing.nREFI // params.cycle_ck)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def refresh_without_work(dut):
    """Without any request each bank is refreshed once per interval, or some intervals later;
    nothing else is sent."""
    memory = MemoryBench(dut)
    dram, params = memory.dram, memory.params
    late = params.grade.organisation.refresh_postponed_max
    intervals = late + 3
    await memory.start()
    for _ in range(_intervals(params, intervals)):
        memory.bench.moved = -1     # Nothing need move.
        await memory.step()
    await memory.drain()
    per_interval = params.banks if params.refresh == "per-bank" else 1
    refreshes = dram.commands[dram.refresh]
    assert (intervals - late) * per_interval <= refreshes <= intervals * per_interval
    assert sum(dram.commands.values()) == refreshes


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def refresh_of_a_busy_row(dut):
    """The tile reads one row without end: its banks are refreshed in time all the same."""
    memory = MemoryBench(dut)
    params, grade = memory.params, memory.params.grade
    row = _row(memory)
    last = _intervals(params, grade.organisation.refresh_postponed_max + 2)
    number = 0
    await memory.start()
    while memory.bench.cycle < last:
        if len(memory.asked["read", "tile"]) < 2:
            memory.read("tile", number % row)
            number += 1
        if memory.rng.random() < 0.002:
            memory.write("host", memory.rng.randrange(row))
        await memory.step()
    await memory.drain()
    # What refresh costs: all banks of the row wait for one, in each interval.
    assert number > last / 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def host_share(dut):
    """Both requesters read open rows of their own without end: the host has its share, and no cycle
    is lost but to refresh."""
    memory = MemoryBench(dut)
    params, row = memory.params, _row(memory)
    first = {"tile": 0, "host": row}
    number = dict.fromkeys(REQUESTERS, 0)
    await memory.start()

    async def run(cycles):
        for _ in range(cycles):
            for who in REQUESTERS:
                if len(memory.asked["read", who]) < 2:
                    memory.read(who, first[who] + number[who] % row)
                    number[who] += 1
            await memory.step()
        return [len(memory.answers[who].came) for who in REQUESTERS]

    before = await run(200)
    after = await run(TURN * 40)
    tile, host = (late - early for early, late in zip(before, after, strict=True))
    share = host / (tile + host)
    assert abs(share - params.host_turn / TURN) < 0.03, f"the host's share is {share:.3f}"
    assert tile + host > 0.7 * TURN * 40, f"{tile + host} reads in {TURN * 40} cycles"
    await memory.drain()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def lost_atoms(dut, stall):
    """Atoms that never come are answered with TIMEOUT, each alone; all others are right."""
    memory = MemoryBench(dut, stall=stall)
    indices = memory.rng.sample(range(1 << memory.params.index_bits), 600)
    memory.dram.stray = 0.5
    # Single ones, and many one after the other.
    memory.dram.lost = set(indices[:100]) | set(memory.rng.sample(indices, 60))
    await memory.start()
    for number, index in enumerate(indices):
        memory.read(REQUESTERS[number % 3 == 0], index)
    await memory.drain()
    assert len(memory.answers["tile"].came) == 400


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def flipped_bits(dut):
    """Single wrong bits of words are corrected and counted, two of a word are reported with the
    atom's index; a lost atom is neither. Without check bits nothing is counted."""
    memory = MemoryBench(dut)
    params, rng = memory.params, memory.rng
    indices = rng.sample(range(1 << params.index_bits), 500)
    words = params.secded.words

    def bits_of(word):
        """The bits of a word in its atom, check bits included."""
        check = params.atom_bits + word * 8
        return (*range(word * 64, word * 64 + 64), *range(check, check + 8))

    for number, index in enumerate(indices if params.ecc_bits else []):
        wrong = rng.sample(range(words), rng.randint(1, words))
        bits = [rng.choice(bits_of(word)) for word in wrong]
        if number % 4 == 1:
            bits = rng.sample(bits_of(wrong[0]), 2) + bits[1:]
        if number % 4 != 3:
            memory.flip(index, bits)
        if number % 10 == 0:
            memory.dram.lost.add(index)
    await memory.start()
    for number, index in enumerate(indices):
        memory.read(REQUESTERS[number % 2], index)
    await memory.drain()
    assert (memory.corrected > 200) == bool(params.ecc_bits)
    assert memory.dram.commands[DramCommand.RDA] > 0
