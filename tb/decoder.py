"""Bench of :class:`hdl.decoder.Decoder`: every code in every lane."""

import cocotb
import numpy as np

from golden.decoder import code_dtype, decoder
from spec.arithmetic import DecoderParams
from tb.bench import params_from_environment, run_flow, word
from tb.packing import decoded_words

__all__ = ["every_code", "latency"]


def _items(params):
    # Lane l of beat b holds code b + 37 l, modulo their number.
    fmt = params.number_format
    count = 1 << fmt.bits
    codes = np.arange(count)[:, None] + 37 * np.arange(params.lanes)[None, :]
    codes = (codes % count).astype(code_dtype(fmt))
    expected = decoded_words(decoder(codes, params), fmt)
    return [(word(row, fmt.bits), value, f"codes {row.tolist()}")
            for row, value in zip(codes, expected, strict=True)]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_code(dut):
    """Every code in every lane, with gaps."""
    await run_flow(dut, _items(params_from_environment(DecoderParams)), idle=0.5)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised."""
    params = params_from_environment(DecoderParams)
    await run_flow(dut, _items(params), latency=params.LATENCY)
