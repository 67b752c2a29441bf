"""Bench of :class:`hdl.zero_subtractor.ZeroSubtractor`: every code less every zero point."""

import cocotb
import numpy as np

from golden.decoder import decoder
from golden.zero_subtractor import zero_subtractor
from spec.arithmetic import DecoderParams, ZeroSubtractorParams
from tb.bench import params_from_environment, run_flow, word
from tb.packing import decoded_words, fields

__all__ = ["every_pair", "latency"]


def _items(params):
    # Lane l of group g meets code b + 37 l and zero point b // codes + 3 g.
    count = 1 << params.bits
    beat = np.arange(count * count if params.bits == 4 else 16 * count)[:, None]
    codes = ((beat + 37 * np.arange(params.lanes)) % count).astype(np.uint8)
    zeros = ((beat // count * (1 if params.bits == 4 else 17) + 3 * np.arange(params.groups))
             % count).astype(np.uint8)
    spread = np.repeat(zeros, params.lanes // params.groups, axis=1)
    found = zero_subtractor(codes, spread, params)
    # Two's complement of the difference, as Python has it.
    wanted = (codes.astype(int) - spread.astype(int)) % (2 * count)
    assert np.array_equal(found, wanted)
    decoded = decoder(found, DecoderParams(format=params.difference.name, lanes=params.lanes))
    expected = decoded_words(decoded, params.difference)
    return [(fields((word(row, params.bits), params.lanes * params.bits),
                    (word(zero, params.bits), params.groups * params.bits)), value,
             f"codes {row.tolist()} zeros {zero.tolist()}")
            for row, zero, value in zip(codes, zeros, expected, strict=True)]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def every_pair(dut):
    """Every code less every zero point (of 8 bits, every 17th), with gaps."""
    await run_flow(dut, _items(params_from_environment(ZeroSubtractorParams)), idle=0.3)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised."""
    params = params_from_environment(ZeroSubtractorParams)
    await run_flow(dut, _items(params)[:500], latency=params.LATENCY)
