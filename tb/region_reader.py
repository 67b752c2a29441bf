"""Bench of :class:`hdl.region_reader.RegionReader`."""

import cocotb

from spec.units import Axi4Params
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.burst_splitter import pack_region, random_region
from tb.structure import check_registered

__all__ = ["latency", "random_regions", "registered", "single_atoms", "whole_memory"]

LATENCY = 2


def _setup(dut, idle=0.0, stall=0.0):
    params = params_from_environment(Axi4Params)
    bench = Bench(dut)
    source = bench.source(idle=idle)
    board = Scoreboard("request")
    sink = bench.sink(board, "request", stall=stall)

    def send(index, atoms):
        source.send(pack_region(index, atoms, params))
        for atom in range(index, index + atoms):
            board.expect(atom, f"{atoms} atoms from {index}")
        return atoms

    return params, bench, source, sink, send


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.6], stall=[0.0, 0.5])
async def random_regions(dut, idle, stall):
    """Random regions, up to both ends of the memory."""
    params, bench, _, _, send = _setup(dut, idle, stall)
    count = sum(send(*random_region(bench.rng, params, 60)) for _ in range(60))
    await bench.start()
    await bench.drain(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """The first request comes as promised, then one per cycle over all regions."""
    params, bench, source, sink, send = _setup(dut)
    count = sum(send(*random_region(bench.rng, params, 30)) for _ in range(30))
    await bench.start()
    await bench.drain(at_least=count)
    first = source.taken[0] + LATENCY
    assert sink.came == list(range(first, first + count))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def single_atoms(dut):
    """Regions of one atom: one per cycle."""
    _, bench, _, sink, send = _setup(dut)
    for index in range(100):
        send(index, 1)
    await bench.start()
    await bench.drain(at_least=100)
    assert sink.came == list(range(sink.came[0], sink.came[0] + 100))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def whole_memory(dut):
    """The longest region does not end early, in a small memory not before its last atom."""
    params = params_from_environment(Axi4Params)
    bench = Bench(dut)
    source = bench.source()
    board = Scoreboard("request")
    bench.sink(board, "request", take=lambda item: board.check(item) if board.expected else None)
    count = min(600, 1 << params.index_bits)
    for index in range(count):
        board.expect(index)
    source.send(pack_region(0, 1 << params.index_bits, params))
    await bench.start()
    await bench.drain(at_least=count)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    await check_registered(dut, ["i__payload", "i__valid", "request__ready"],
                           ["i__ready", "request__payload", "request__valid"],
                           seldom=("i__ready", "request__valid"))
