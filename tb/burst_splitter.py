"""Bench of :class:`hdl.burst_splitter.BurstSplitter`."""

import cocotb

from golden.burst_splitter import burst_splitter
from spec.units import Axi4Params
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields

__all__ = ["every_alignment", "latency", "pack_region", "pack_write_region", "random_region",
           "random_regions", "whole_memory"]


def pack_region(index: int, atoms: int, params: Axi4Params) -> int:
    """The payload of a region."""
    return fields((index, params.index_bits), (atoms, params.count_bits))


def pack_write_region(index: int, atoms: int, params: Axi4Params, last: bool = True) -> int:
    """The payload of a region to write."""
    return fields((index, params.index_bits), (atoms, params.count_bits), (last, 1))


def random_region(rng, params: Axi4Params, longest: int) -> tuple[int, int]:
    """A region of 1 to ``longest`` atoms, often short, sometimes at an end of the memory."""
    size = 1 << params.index_bits
    atoms = rng.randint(1, min(size, rng.choice((1, params.burst_atoms, longest))))
    index = rng.choice((0, size - atoms, rng.randrange(size - atoms + 1)))
    if rng.random() < 0.3:
        index -= index % params.burst_atoms
    return index, atoms


def _setup(dut, idle=0.0, stall=0.0):
    params = params_from_environment(Axi4Params)
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("o")
    sink = bench.sink(board, stall=stall)
    beats_bits = params.burst_atoms.bit_length()

    def send(index, atoms):
        source.send(pack_region(index, atoms, params))
        bursts = burst_splitter(index, atoms, params)
        for place, (first, beats) in enumerate(bursts):
            board.expect(fields((first, params.index_bits), (beats, beats_bits),
                                (place == len(bursts) - 1, 1)),
                         f"burst {place} of {atoms} atoms from {index}")
        return len(bursts)

    return params, bench, source, sink, send


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def random_regions(dut, idle, stall):
    """Random regions, up to both ends of the memory."""
    params, bench, _, _, send = _setup(dut, idle, stall)
    count = sum(send(*random_region(bench.rng, params, 20 * params.burst_atoms))
                for _ in range(60))
    await bench.start()
    await bench.drain(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_alignment(dut):
    """First and last atoms one before, on and behind a border."""
    params, bench, _, _, send = _setup(dut)
    burst, count = params.burst_atoms, 0
    for index in {0, 1, burst - 1, burst, burst + 1}:
        for atoms in {1, 2, burst - 1, burst, burst + 1, 2 * burst - 1, 2 * burst, 2 * burst + 1}:
            count += send(index, atoms) if atoms else 0
    await bench.start()
    await bench.drain(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """The first burst comes one cycle after its region, then one burst per cycle."""
    params, bench, source, sink, send = _setup(dut)
    counts = [send(*random_region(bench.rng, params, 8 * params.burst_atoms)) for _ in range(50)]
    await bench.start()
    await bench.drain(at_least=sum(counts))
    expected = [took + 1 + place for took, count in zip(source.taken, counts, strict=True)
                for place in range(count)]
    assert sink.came == expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def whole_memory(dut):
    """The longest region: the first of its bursts are right, and the count does not wrap."""
    params = params_from_environment(Axi4Params)
    bench = Bench(dut)
    source = bench.source()
    board = Scoreboard("o")
    bench.sink(board, take=lambda item: board.check(item) if board.expected else None)
    for place in range(50):
        board.expect(fields((place * params.burst_atoms, params.index_bits),
                            (params.burst_atoms, params.burst_atoms.bit_length()), (0, 1)))
    source.send(pack_region(0, 1 << params.index_bits, params))
    await bench.start()
    await bench.drain(at_least=50)
