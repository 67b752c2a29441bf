"""Bench of :class:`hdl.secded_encoder.SecdedEncoder`."""

import cocotb
import numpy as np

from golden.secded import encode
from spec.memory_units import SecdedParams
from spec.secded import DATA_BITS
from tb.bench import bench_seed, params_from_environment, run_flow, word
from tb.packing import fields

__all__ = ["latency", "random_atoms", "single_bits"]


def _items(atoms):
    """Payloads and results of atoms, a row of words each."""
    words = atoms.shape[1]
    for atom, ecc in zip(atoms, encode(atoms), strict=True):
        data = word(atom, DATA_BITS)
        yield data, fields((data, words * DATA_BITS), (word(ecc, 8), words * 8)), hex(data)


def _random(count):
    params = params_from_environment(SecdedParams)
    rng = np.random.default_rng(bench_seed())
    return rng.integers(0, 1 << 64, (count, params.words), dtype=np.uint64, endpoint=False)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_atoms(dut):
    """Random atoms, with idle cycles."""
    await run_flow(dut, _items(_random(1000)), idle=0.4)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def single_bits(dut):
    """Atoms of zeros but for one bit: the columns of the code, in every word; and no bit at all."""
    words = params_from_environment(SecdedParams).words
    atoms = np.zeros((words * DATA_BITS + 1, words), np.uint64)
    for place in range(words * DATA_BITS):
        atoms[place, place // DATA_BITS] = 1 << place % DATA_BITS
    await run_flow(dut, _items(atoms))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """An atom per cycle, latency as promised."""
    await run_flow(dut, _items(_random(200)), latency=SecdedParams.LATENCY)
