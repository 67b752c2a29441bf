"""Bench of :class:`hdl.inline_ecc.InlineEcc`."""

import cocotb
import numpy as np

from golden.secded import CORRECTED, UNCORRECTABLE, decode
from spec.memory_units import ReadFault
from tb.inline_ecc_model import WHO, InlineEccBench, word_array

__all__ = ["bandwidth", "both_write_one_atom", "faults_of_the_memory", "flipped_bits",
           "nobody_starves", "random_traffic", "refused_answers"]


def _atoms(bench, groups=4):
    """A few groups of atoms: the first, the last, two that share a bucket, others."""
    last = bench.atoms // 8 - 1
    chosen = [0, last, last - bench.params.buckets, *(bench.bench.rng.randint(0, last)
                                                      for _ in range(groups))]
    return [8 * max(0, group) + atom for group in chosen for atom in range(8)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.4], stall=[0.0, 0.5])
async def random_traffic(dut, idle, stall):
    """Reads and writes of both in a few groups: each read gives the last write or one under way,
    never a fault; at the end all check bits fit."""
    bench = InlineEccBench(dut, idle, stall)
    rng = bench.bench.rng
    atoms = _atoms(bench)
    for _ in range(30):
        for who in WHO:
            first = rng.choice(atoms)
            step = rng.choice((0, 1, 1, 1, 5))
            for place in range(rng.randint(1, 20)):
                bench.read(who, (first + step * place) % bench.atoms)
            for _ in range(rng.randint(0, 6)):
                bench.write(who, rng.choice(atoms))
    await bench.bench.start()
    await bench.drain()
    bench.check_memory()
    for who in WHO:
        for index in dict.fromkeys(atoms):
            bench.read(who, index)
    await bench.drain()
    assert bench.compared > 500
    assert not bench.corrected and not bench.uncorrectable


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def both_write_one_atom(dut):
    """Data and check bits that stay are of the same write, whoever's."""
    bench = InlineEccBench(dut, stall=0.5)
    await bench.bench.start()
    for _ in range(60):
        for _ in range(2):
            for who in WHO:
                bench.write(who, 5)
        await bench.drain(quiet=0)
        bench.check_memory()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def flipped_bits(dut, stall):
    """One and two flipped bits in words and in check bits: as the golden decoder says."""
    bench = InlineEccBench(dut, stall=stall, judged=False)
    params, rng = bench.params, bench.bench.rng
    expected, corrected, wrong = {who: [] for who in WHO}, 0, []
    atoms = _atoms(bench)
    for index in dict.fromkeys(atoms):
        bench.place(index, rng.getrandbits(params.atom_bits))
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
            bit = rng.randrange(params.atom_bits * 9 // 8)
            if rng.random() < 0.5:  # Near the last, often in the same word.
                bit = params.atom_bits + rng.randrange(8) if rng.random() < 0.5 else bit % 64
            if bit < params.atom_bits:
                bench.memory[index] ^= 1 << bit
            else:
                bench.memory[bench.check_index(index)] ^= (
                    1 << index % 8 * params.ecc_bits + bit - params.atom_bits)
    await bench.bench.start()
    for place in range(400):
        who, index = rng.choice(WHO), atoms[place % len(atoms)]
        bench.read(who, index)
        check = bench.memory[bench.check_index(index)] >> index % 8 * params.ecc_bits
        words, status = decode(word_array(bench.memory[index], params),
                               np.frombuffer((check & (1 << params.ecc_bits) - 1).to_bytes(
                                   params.ecc_bits // 8, "little"), np.uint8).copy())
        bad = bool((status == UNCORRECTABLE).any())
        corrected += int((status == CORRECTED).sum())
        if bad:
            wrong.append(index)
        expected[who].append((int.from_bytes(words.tobytes(), "little"),
                              ReadFault.UNCORRECTABLE if bad else ReadFault.NONE))
    await bench.drain()
    assert bench.came == expected
    assert bench.corrected == corrected > 20
    assert sorted(bench.uncorrectable) == sorted(wrong) and len(wrong) > 20


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def faults_of_the_memory(dut):
    """An atom without an answer is reported alone; a check atom without one with all its atoms,
    and it is read again afterwards. Neither counts as a wrong bit."""
    bench = InlineEccBench(dut, judged=False)
    group = range(8, 16)
    order = [*range(8), *range(16, 24), *group]
    for index in range(24):
        bench.place(index, bench.bench.rng.getrandbits(bench.params.atom_bits))
    bench.bad = {3: ReadFault.TIMEOUT, bench.check_index(8): ReadFault.RESPONSE}
    await bench.bench.start()
    for healed in (False, True):
        for who in WHO:
            bench.came[who].clear()
            for index in order:
                bench.read(who, index)
        await bench.drain()
        faults = {3: ReadFault.TIMEOUT}
        if not healed:
            faults |= dict.fromkeys(group, ReadFault.RESPONSE)
        for who in WHO:
            assert [fault for _, fault in bench.came[who]] == [
                faults.get(index, ReadFault.NONE) for index in order]
            assert all(data == bench.memory[index] for index, (data, fault) in
                       zip(order, bench.came[who], strict=True) if fault == ReadFault.NONE)
        bench.bad.pop(bench.check_index(8), None)
        for who in WHO:  # The kept check atom is the one that had the fault.
            bench.read(who, 15)
        await bench.drain()
        assert all(bench.came[who][-1] == (bench.memory[15], ReadFault.NONE) for who in WHO)
    assert not bench.corrected and not bench.uncorrectable


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(who=list(WHO))
async def refused_answers(dut, who):
    """A requester that takes no answers stops no write and not the other's reads, even of the same
    atoms; later it gets all."""
    bench = InlineEccBench(dut)
    other = WHO[1 - WHO.index(who)]
    bench.data[who].stall = 2.0
    await bench.bench.start()
    for index in range(300):
        bench.read(who, index % 64)
    for _ in range(300):
        await bench.bench.step()
    for index in range(64):
        bench.write(who, index)
        bench.write(other, (index + 5) % 64)
        bench.read(other, index)

    def ended():
        return (not bench.unwritten and not bench.waiting[who] and not bench.waiting[other]
                and len(bench.came[other]) == 64)

    while not ended():
        await bench.bench.step()
    assert not bench.came[who]
    bench.data[who].stall = 0.0
    await bench.drain()
    assert len(bench.came[who]) == 300


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(case=["write among reads", "read among writes", "write among writes"])
async def nobody_starves(dut, case):
    """One request among a flood of others to its check atom comes through soon."""
    bench = InlineEccBench(dut, delay=lambda: 5)
    await bench.bench.start()
    for place in range(600):
        if case == "write among reads":
            bench.read(WHO[place % 2], place % 8)
        else:
            bench.write("host", place % 8)
    for _ in range(60):
        await bench.bench.step()
    if case == "read among writes":
        bench.read("tile", 3)
    else:
        bench.write("tile", 3)
    for _ in range(100):
        await bench.bench.step()
    assert (bench.came["tile"] if case == "read among writes" else
            any(write.who == "tile" and write.written for write in bench.history[3]))
    await bench.drain()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(who=list(WHO))
async def bandwidth(dut, who):
    """Atoms in order cost nine accesses for eight, each in one cycle where the room for answers
    covers the memory's time; a write costs two."""
    bench = InlineEccBench(dut, delay=lambda: 1)
    params = bench.params
    await bench.bench.start()
    count = 16 * params.tile_reads if params.tile_reads < 64 else 512
    for index in range(count):
        bench.read(who, index % bench.atoms)
    await bench.drain()
    assert bench.accesses == count * 9 // 8
    came = bench.data[who].came
    room = params.tile_reads if who == "tile" else params.host_reads
    if room >= 16:
        assert came[-1] - came[0] < count * 9 // 8 + 8
    bench.accesses = 0
    for index in range(64):
        bench.write(who, index)
    await bench.drain()
    assert bench.accesses == 128
    taken = bench.writes[who].taken
    if params.writes >= 8:
        assert taken[-1] - taken[0] < 2 * 64 + 8
