"""Bench of :class:`hdl.reducer.Reducer`."""

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from golden.reducer import reducer
from spec.formats import FLOAT_FORMATS, FloatFormat
from spec.tensor_units import ReducerParams
from spec.tensors import Reduction, TensorFormat
from tb.bench import Bench, Scoreboard, bench_seed, params_from_environment, word
from tb.operands import FP32_EDGES
from tb.reduction_oracle import reduced
from tb.structure import check_registered

__all__ = ["back_pressure", "killer_reductions", "one_atom_per_cycle", "random_reductions",
           "registered"]

_REDUCTIONS = [reduction for reduction in Reduction if reduction]


@dataclass(frozen=True)
class _Case:
    """One reduction: ``codes`` [rows, k], whose rows end in ragged atoms, and their scales."""

    codes: np.ndarray
    scales: np.ndarray | None


class _Reductions:
    """Reductions of one unit: how they are made, sent and expected."""

    def __init__(self, dut: Any, idle: float = 0.0, stall: float = 0.0):
        self.params = params_from_environment(ReducerParams)
        self.bench = Bench(dut)
        self.source = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall)
        self.rng = np.random.default_rng(bench_seed())
        self.fmt = FLOAT_FORMATS[self.params.formats[0]]
        self.reduction = Reduction.SUM
        dut.format.value = dut.reduction.value = 0

    @property
    def lanes(self) -> int:
        return self.params.lanes(self.fmt.name)

    async def configure(self, fmt: FloatFormat, reduction: Reduction) -> None:
        """Wait until nothing is inside, then choose."""
        while self.source.items or self.board.expected:
            await self.bench.step()
        self.fmt, self.reduction = fmt, reduction
        self.bench.dut.format.value = TensorFormat[fmt.name.upper()]
        self.bench.dut.reduction.value = reduction

    def scales(self, shape: tuple[int, ...], wild: float) -> np.ndarray | None:
        """Codes of scales for FP8, a share ``wild`` of them any code at all."""
        if self.fmt.bits > 8:
            return None
        special = self.rng.random(shape) < wild
        if self.params.scale_format == "e8m0":
            usual, edges = self.rng.integers(110, 140, shape), np.array([0, 1, 96, 224, 254, 255])
            return np.where(special, self.rng.choice(edges, shape), usual).astype(np.uint8)
        usual = self.rng.lognormal(-4.0, 2.0, shape).astype(np.float32).view(np.uint32)
        usual |= self.rng.integers(0, 2, shape, dtype=np.uint32) << np.uint32(31)
        edges = np.concatenate([FP32_EDGES, np.arange(14, dtype=np.uint32) << 20])
        return np.where(special, self.rng.choice(edges, shape), usual).view(np.float32)

    def case(self, rows: int, k: int, wild: float = 0.2) -> _Case:
        """Random codes of one of several kinds."""
        fmt, shape = self.fmt, (rows, k)
        codes = self.rng.integers(0, 1 << fmt.bits, shape)
        kind = self.rng.integers(0, 6)
        if kind < 3:
            # Numbers only, of close exponents: sums that round and cancel.
            codes &= fmt.sign_mask | fmt.mantissa_mask | 3 << fmt.mantissa_bits
            codes |= int(self.rng.integers(0, (1 << fmt.exponent_bits) - 1)) << fmt.mantissa_bits
            codes -= np.where((codes & (fmt.sign_mask - 1)) > fmt.largest_code, 1 <<
                              (fmt.mantissa_bits + fmt.exponent_bits - 1), 0)
        elif kind == 3:
            # Few different codes: equal extremes, zeros of both signs, subnormals.
            codes = self.rng.choice([0, fmt.sign_mask, 1, 2, fmt.largest_code], shape)
        elif kind == 4:
            codes = np.where(self.rng.random(shape) < 0.05, codes, self.rng.integers(
                0, fmt.largest_code + 1, shape))
        return self.made(codes, wild)

    def made(self, codes: np.ndarray, wild: float = 0.0) -> _Case:
        """``codes`` with random scales."""
        dtype = {8: np.uint8, 16: np.uint16, 32: np.uint32}[self.fmt.bits]
        atoms = -(-codes.shape[1] // self.lanes)
        return _Case(codes.astype(dtype), self.scales((codes.shape[0], atoms), wild))

    def send(self, case: _Case) -> None:
        """Queue the atoms, and the result on which golden and oracle agree."""
        params, fmt, lanes = self.params, self.fmt, self.lanes
        found = reducer(case.codes, fmt, self.reduction, params, case.scales,
                        None if case.scales is None else lanes, whole=True)
        expected = int(found.value[0]), int(found.second[0])
        beats = []
        for row, line in enumerate(case.codes.tolist()):
            for atom, start in enumerate(range(0, len(line), lanes)):
                scale = 0
                if case.scales is not None:
                    scale = int(case.scales[row, atom:atom + 1].view(
                        np.uint8 if params.scale_format == "e8m0" else np.uint32)[0])
                beats.append((line[start:start + lanes], scale))
        exact = reduced(beats, self.reduction, fmt, params.scale_format, lanes)
        about = (f"{fmt.name} {self.reduction.name} of "
                 + "; ".join(f"{[hex(code) for code in codes]} scale {scale:#x}"
                             for codes, scale in beats))
        assert exact == expected, f"golden gives {expected}, the oracle {exact}: {about}"
        rng = self.bench.rng
        for place, (codes, scale) in enumerate(beats):
            # Missing elements, and the unused bits of a scale, are anything.
            filled = codes + [rng.getrandbits(fmt.bits) for _ in range(lanes - len(codes))]
            if params.scale_format == "e8m0" or fmt.bits > 8:
                scale |= rng.getrandbits(24) << 8
            item = word(filled, fmt.bits)
            item |= len(codes) << params.atom_bits
            item |= scale << params.atom_bits + params.count_bits
            item |= (place == len(beats) - 1) << params.atom_bits + params.count_bits + 32
            self.source.send(item)
        self.board.expect(expected[0] | expected[1] << 32, about)

    def every(self) -> list[tuple[FloatFormat, Reduction]]:
        """All formats that were built, with all reductions."""
        return [(FLOAT_FORMATS[name], reduction) for name in self.params.formats
                for reduction in _REDUCTIONS]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def random_reductions(dut, idle, stall):
    """Every format and reduction: lengths around the chains, ragged rows, any scale."""
    unit = _Reductions(dut, idle, stall)
    await unit.bench.start()
    sent = 0
    for fmt, reduction in unit.every():
        await unit.configure(fmt, reduction)
        for _ in range(16):
            rows = int(unit.rng.choice([1, 1, 1, 2, 3]))
            unit.send(unit.case(rows, int(unit.rng.integers(1, 5 * unit.lanes // rows + 2))))
            sent += 1
    await unit.bench.drain(at_least=sent)


def _killers(unit: _Reductions) -> list[np.ndarray]:
    """Rows of codes that break a careless unit, each a reduction."""
    fmt, lanes = unit.fmt, unit.lanes
    negative, largest = fmt.sign_mask, fmt.largest_code
    one = fmt.bias << fmt.mantissa_bits
    infinity = fmt.infinity_code or largest
    rows = [[0], [negative], [one], [fmt.nan_code], [infinity]]
    for length in (lanes, lanes + 1, 4 * lanes + 1):
        rows += [[0] * length, [negative] * length, [negative] * (length - 1) + [0],
                 [0] * (length - 1) + [negative], [1] * length, [1, negative | 1] * length,
                 [largest] * length, [negative | largest] * length,
                 [one] * (length - 1) + [fmt.nan_code], [one] * (length - 1) + [infinity],
                 [infinity] + [negative | infinity] * (length - 1),
                 [negative | fmt.nan_code] + [infinity] * length,
                 # Equal largest at several places, in one atom and in several.
                 [one, one + 1] * length, [negative | one, one, one] * length,
                 # The largest cancel and leave the smallest, at either end.
                 [largest, negative | largest] * (length // 2) + [1],
                 [1] + [largest, negative | largest] * (length // 2),
                 # Large first, then terms that are lost one by one but not together.
                 [largest] + [one] * (4 * length)]
    return [np.array([row]) for row in rows]


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def killer_reductions(dut):
    """Zeros of both signs, NaN and infinities in the last lane, subnormals, overflow, ties,
    cancellation, single elements; with scales that make codes equal."""
    unit = _Reductions(dut)
    await unit.bench.start()
    sent = 0
    for fmt, reduction in unit.every():
        await unit.configure(fmt, reduction)
        for codes in _killers(unit):
            unit.send(unit.made(codes, wild=0.0 if sent % 2 else 0.5))
            sent += 1
    await unit.bench.drain(at_least=sent)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """Atoms enter in each cycle, reductions of one atom as well; results keep up."""
    unit = _Reductions(dut)
    await unit.bench.start()
    sent = 0
    for fmt, reduction in unit.every():
        await unit.configure(fmt, reduction)
        start = len(unit.source.taken)
        for atoms in [1] * 80 + [3, 1, 4, 2, 5, 9]:
            unit.send(unit.case(1, atoms * unit.lanes, wild=0.0))
            sent += 1
        while unit.source.items:
            await unit.bench.step()
        taken = unit.source.taken[start:]
        assert taken == list(range(taken[0], taken[0] + 104)), (
            f"{fmt.name} {reduction.name}: 104 atoms in {taken[-1] - taken[0] + 1} cycles")
    await unit.bench.drain(at_least=sent)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def back_pressure(dut):
    """Against a closed consumer the unit takes what it has room for, and loses nothing."""
    unit = _Reductions(dut)
    await unit.bench.start()
    sent = 0
    for fmt, reduction in unit.every():
        await unit.configure(fmt, reduction)
        start = len(unit.source.taken)
        unit.sink.stall = 1.0
        for _ in range(100):
            unit.send(unit.case(1, unit.lanes, wild=0.0))
            sent += 1
        for _ in range(120):
            await unit.bench.step()
        assert 20 <= len(unit.source.taken) - start < 100
        unit.sink.stall = 0.0
    await unit.bench.drain(at_least=sent)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    params = params_from_environment(ReducerParams)
    small = [name for name in params.formats if FLOAT_FORMATS[name].bits == 8]
    name = (small or params.formats)[0]
    dut.format.value = TensorFormat[name.upper()]
    dut.reduction.value = Reduction.ARGMAX
    # Atoms that leave in parts make ready fall often; without them only full queues do.
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"],
                           seldom=() if small else ("i__ready",))
