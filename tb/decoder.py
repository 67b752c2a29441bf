"""Bench of :class:`hdl.decoder.Decoder`: every code in every lane."""

import cocotb
import numpy as np

from golden.decoder import decoder
from spec.arithmetic import DecoderParams
from tb.bench import params_from_environment, run_flow, word
from tb.packing import decoded_words

__all__ = ["every_code", "latency"]


def _items(params):
    # Lane l of beat b holds code (b + 37 l) mod 256.
    codes = (np.arange(256)[:, None] + 37 * np.arange(params.lanes)[None, :]).astype(np.uint8)
    expected = decoded_words(decoder(codes, params), params.float_format)
    return [(word(row, 8), value, f"codes {row.tolist()}")
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
