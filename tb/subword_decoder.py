"""Bench of :class:`hdl.subword_decoder.SubwordDecoder`: all codes of both formats in all lanes."""

import cocotb
import numpy as np

from golden.subword_decoder import subword_decoder
from spec.arithmetic import SubwordDecoderParams
from spec.formats import FORMATS
from tb.bench import bench_seed, params_from_environment, run_flow, word
from tb.packing import decoded_bits, decoded_words, fields

__all__ = ["every_code", "latency"]


def _items(params):
    wide, narrow = FORMATS[params.wide], FORMATS[params.narrow]
    widths = [params.lanes * decoded_bits(fmt) for fmt in (wide, narrow)]
    items = []
    for fmt, lanes, is_narrow in ((wide, params.lanes, False), (narrow, 2 * params.lanes, True)):
        # Lane l of beat b holds code b + 37 l, and of narrow codes all pairs of neighbours.
        count = 1 << fmt.bits
        beats = np.arange(256)[:, None]
        lane = np.arange(lanes)[None, :]
        codes = beats + 37 * lane
        if is_narrow:
            codes = np.where(lane % 2, (beats + 37 * lane) // count, codes)
        codes = (codes % count).astype(np.uint8)
        found = [decoded_words(part, one) for part, one in zip(
            subword_decoder(codes, is_narrow, params), (wide, narrow), strict=True)]
        for row, factors, odd in zip(codes, *found, strict=True):
            bits = params.lanes * wide.bits
            items.append((fields((word(row, fmt.bits), bits), (is_narrow, 1)),
                          fields((factors, widths[0]), (odd, widths[1])),
                          f"narrow {is_narrow} codes {row.tolist()}"))
    return items


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_code(dut):
    """Every code in every lane, both formats in turn, with gaps."""
    items = _items(params_from_environment(SubwordDecoderParams))
    order = np.random.default_rng(bench_seed()).permutation(len(items))
    await run_flow(dut, [items[place] for place in order], idle=0.5)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """One beat per cycle, latency as promised."""
    params = params_from_environment(SubwordDecoderParams)
    await run_flow(dut, _items(params), latency=params.LATENCY)
