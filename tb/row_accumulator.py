"""Bench of :class:`hdl.row_accumulator.RowAccumulator`."""

import cocotb
import numpy as np

from golden.row_accumulator import row_accumulator
from spec.arithmetic import RowAccumulatorParams
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment
from tb.operands import FP32_EDGES
from tb.packing import fields

__all__ = ["latency", "rows"]


def _terms(rng, shape):
    usual = rng.normal(0, 100, shape).astype(np.float32).view(np.uint32)
    wild = np.where(rng.random(shape) < 0.5, rng.choice(FP32_EDGES, shape),
                    rng.integers(0, 1 << 32, shape, dtype=np.uint32))
    return np.where(rng.random((1, shape[1])) < 0.3, wild, usual)


async def _run(dut, gaps):
    """Strips of interleaved rows; one term every ``distance`` cycles, or later with ``gaps``."""
    params = params_from_environment(RowAccumulatorParams)
    rng = np.random.default_rng(bench_seed())
    bench = Bench(dut)
    source = bench.source()
    board = Scoreboard("o")
    sink = bench.sink(board)
    # The least distance that the strips of the memory layout keep between groups of one row.
    distance = -(-params.adder.LATENCY // params.rows)
    ends = []
    for _ in range(60):
        groups = int(rng.integers(1, 12))
        terms = _terms(rng, (groups, params.rows))
        real = int(rng.integers(1, params.rows + 1))
        for row, total in enumerate(row_accumulator(terms).tolist()[:real]):
            board.expect(total, f"terms {[hex(term) for term in terms[:, row].tolist()]}")
        for group in range(groups):
            for row in range(params.rows):
                last = group == groups - 1 and row < real
                source.send(fields((terms[group, row], 32), (row, params.slot_bits),
                                   (group == 0, 1), (last, 1)))
                ends.append(last)
    source.pause = (lambda: distance - 1 + (bench.rng.randrange(6) if gaps else 0))
    await bench.start()
    await bench.drain(at_least=60)
    taken = [cycle for cycle, last in zip(source.taken, ends, strict=True) if last]
    assert {came - took for took, came in zip(taken, sink.came, strict=True)} == {params.LATENCY}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rows(dut):
    """Rows of every length, with gaps between the terms."""
    await _run(dut, gaps=True)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """Terms at the least distance; the sum of the last is there in time for the next."""
    await _run(dut, gaps=False)
