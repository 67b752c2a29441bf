"""Bench of :class:`hdl.secded_decoder.SecdedDecoder`."""

import itertools

import cocotb
import numpy as np

from golden.secded import CORRECTED, UNCORRECTABLE, decode, encode
from spec.memory_units import SecdedParams
from spec.secded import CHECK_BITS, DATA_BITS
from tb.bench import bench_seed, params_from_environment, run_flow, word
from tb.packing import fields

__all__ = ["double_flips", "latency", "random_check_bits", "single_flips"]

CODE_BITS = DATA_BITS + CHECK_BITS


def _items(atoms, check):
    """Payloads and results of atoms and check bits, a row of words each."""
    words = atoms.shape[1]
    corrected, status = decode(atoms, check)
    for read, ecc, data, kinds in zip(atoms, check, corrected, status, strict=True):
        yield (fields((word(read, DATA_BITS), words * DATA_BITS),
                      (word(ecc, CHECK_BITS), words * CHECK_BITS)),
               fields((word(data, DATA_BITS), words * DATA_BITS),
                      (word(kinds == CORRECTED, 1), words),
                      (int((kinds == UNCORRECTABLE).any()), 1)),
               f"status {kinds}")


def _random(count):
    """Good atoms and their check bits."""
    words = params_from_environment(SecdedParams).words
    rng = np.random.default_rng(bench_seed())
    atoms = rng.integers(0, 1 << 64, (count, words), dtype=np.uint64, endpoint=False)
    return rng, atoms, encode(atoms)


def _flip(atoms, check, row, column, place):
    """Turn one of the 72 bits of a word over."""
    if place < DATA_BITS:
        atoms[row, column] ^= np.uint64(1 << place)
    else:
        check[row, column] ^= np.uint8(1 << place - DATA_BITS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def single_flips(dut):
    """Every single wrong bit of every word; between them, one in each word, and good atoms."""
    words = params_from_environment(SecdedParams).words
    rng, atoms, check = _random(2 * CODE_BITS * words)
    good = atoms.copy()
    for row in range(0, len(atoms), 2):
        column, place = divmod(row // 2, CODE_BITS)
        _flip(atoms, check, row, column, place)
        if row % 4:
            for other in range(words):
                _flip(atoms, check, row + 1, other, int(rng.integers(CODE_BITS)))
    assert (decode(atoms, check)[0] == good).all()
    await run_flow(dut, _items(atoms, check), idle=0.1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def double_flips(dut):
    """Every pair of wrong bits, in the words in turn."""
    pairs = list(itertools.combinations(range(CODE_BITS), 2))
    _, atoms, check = _random(len(pairs))
    for row, pair in enumerate(pairs):
        for place in pair:
            _flip(atoms, check, row, row % atoms.shape[1], place)
    assert (decode(atoms, check)[1].max(axis=1) == UNCORRECTABLE).all()
    await run_flow(dut, _items(atoms, check))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_check_bits(dut):
    """Any check bits at all: each syndrome, also of more wrong bits, as the golden model has it."""
    rng, atoms, _ = _random(1000)
    check = rng.integers(0, 256, atoms.shape, dtype=np.uint8)
    await run_flow(dut, _items(atoms, check), idle=0.3)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """An atom per cycle, latency as promised."""
    _, atoms, check = _random(200)
    await run_flow(dut, _items(atoms, check), latency=SecdedParams.LATENCY)
