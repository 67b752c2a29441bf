"""Bench of :class:`hdl.quantizer.Quantizer`."""

from itertools import product

import cocotb
import numpy as np

from golden.quantizer import quantize
from spec.description import Scaling
from spec.formats import FLOAT_FORMATS
from spec.tensor_units import QuantizerParams
from spec.tensors import RULE_NAMES, TensorFormat
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.operands import FP32_EDGES
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["every_exponent", "killer_groups", "one_atom_per_cycle", "random_rows",
           "registered", "rounding_boundaries"]

_SIGN = np.uint32(0x80000000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


class _Quantizing:
    """Rows in, and the beats of codes that must come; one configuration at a time."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params_from_environment(QuantizerParams)
        self.bench = Bench(dut)
        self.rng = np.random.default_rng(self.bench.rng.getrandbits(32))
        self.rows = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall)
        self.sent = 0

    def configurations(self):
        """All that were built: source, target, rule, group."""
        params = self.params
        return list(product(params.sources, params.formats, params.rules, params.groups))

    async def configure(self, source, target, rule, group):
        """Let everything leave, then change the configuration."""
        while self.rows.items or self.board.expected:
            await self.bench.step()
        self.source, self.target = source, FLOAT_FORMATS[target]
        self.scaling = Scaling(format=rule.split("-")[0], rule=rule, group=group,
                               weight_rows=group, amax_floor=self.params.amax_floor)
        self.lanes = self.params.lanes(source)
        for name, value in (("source", TensorFormat[source.upper()]),
                            ("target", TensorFormat[target.upper()]),
                            ("rule", RULE_NAMES[rule]), ("group", group.bit_length() - 1)):
            getattr(self.dut, name).value = int(value)

    def send(self, bits):
        """Send a row of FP32 codes; with the source BF16 their upper halves."""
        params, lanes = self.params, self.lanes
        bits = np.asarray(bits, np.uint32)
        element_bits = 16 if self.source == "bf16" else 32
        values = ((bits >> 16).astype(np.uint16) if self.source == "bf16"
                  else bits.view(np.float32))
        codes, scales = quantize(values, self.target, self.scaling)
        if scales.dtype == np.float32:
            scales = scales.view(np.uint32)
        elements = values if self.source == "bf16" else bits
        for start in range(0, bits.size, lanes):
            part = elements[start:start + lanes].tolist()
            count, last = len(part), start + lanes >= bits.size
            # What stands past the count means nothing: most often the largest there is.
            filling = [self.bench.rng.choice((0, -1, 0x7F7F7F7F))] * (lanes - count)
            self.rows.send(fields((word(part + filling, element_bits), params.atom_bits),
                                  (count, params.count_bits), (last, 1)))
            group = start // self.scaling.group
            group_last = last or (start + lanes) % self.scaling.group == 0
            self.board.expect(
                fields((word(codes[start:start + count].tolist(), 8), 8 * params.code_lanes),
                       (count, params.count_bits), (int(scales[group]), 32), (group_last, 1),
                       (last, 1)),
                lambda start=start: f"{self.source} {self.target.name} {self.scaling.rule} group "
                f"{self.scaling.group}, row {[hex(code) for code in bits.tolist()]} from {start}")
            self.sent += 1

    async def run(self):
        """Go on until all is out."""
        await self.bench.drain(at_least=self.sent)

    def random_bits(self, length):
        """A row of one of several kinds."""
        rng = self.rng
        kind = rng.integers(0, 6)
        if kind == 0:
            return rng.integers(0, 1 << 32, length, dtype=np.uint32)
        if kind == 1:
            return rng.choice(FP32_EDGES, length)
        if kind == 2:
            # All finite, any exponent, few bits of mantissa: ties.
            bits = rng.integers(0, 0x7F80, length).astype(np.uint32) << 16
            return bits & np.uint32(0x7FF00000) | _SIGN * rng.integers(0, 2, length).astype(
                np.uint32)
        scale = 10.0 ** rng.integers(-44 if kind == 3 else -8, 37 if kind == 3 else 5)
        with np.errstate(over="ignore"):
            return (rng.normal(size=length) * scale).astype(np.float32).view(np.uint32)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.6])
async def random_rows(dut, idle, stall):
    """Rows of all lengths and kinds, in every configuration."""
    bench = _Quantizing(dut, idle, stall)
    await bench.bench.start()
    for configuration in bench.configurations():
        await bench.configure(*configuration)
        group = configuration[3]
        for length in [1, bench.lanes, group - 1, group, group + 1, 2 * group,
                       *bench.rng.integers(1, 3 * group, 4)]:
            bench.send(bench.random_bits(max(1, length)))
    await bench.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def killer_groups(dut):
    """What breaks naive quantizers, at the first and at the last place of groups and of tails."""
    bench = _Quantizing(dut)
    await bench.bench.start()
    floor = int(np.float32(bench.params.amax_floor).view(np.uint32))
    ones = [0, 1, 0x00010000, 0x007F0000, 0x00800000, 0x7F7F0000, 0x7F7FFFFF, 0x7F800000,
            0x7F810000, 0x7FC00000, 0x7FFF0000, 0x43E00000, 0x43E10000, 0x47600000, 0x47610000,
            0x43E80000, 0x47700000, floor, floor + 1, max(floor, 1) - 1, floor & ~0xFFFF,
            (floor & ~0xFFFF) + 0x10000, 0x3F800000, 0x3FE00000, 0x3FE10000]
    for configuration in bench.configurations():
        await bench.configure(*configuration)
        group = configuration[3]
        # One alone among zeros, among -0 and among values that it makes small, or they it; a clean
        # group next to it must not see it.
        for number, one in enumerate(ones):
            for rest in ((0, int(_SIGN), 0x00010000)[number % 3], 0x38D10000):
                row = np.full(2 * group + 1 + number % bench.lanes, rest, np.uint32)
                place = (0, group - 1, row.size - 1)[number // 3 % 3]
                row[place] = one | (number & 1) << 31
                bench.send(row)
        for bits in (0, int(_SIGN), 0x00010000, 0x007F0000, 0x7F7F0000):
            bench.send(np.full(group, bits, np.uint32))
        # Largest of all next to subnormals; NaN in the last element of a tail of one.
        for one in (0x7F7F0000, 0xFFC00000):
            bench.send(np.array([*[0x00010000] * group, one], np.uint32))
    await bench.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_exponent(dut):
    """Groups with a largest magnitude of every exponent, and elements of all lesser ones."""
    bench = _Quantizing(dut)
    await bench.bench.start()
    rng = bench.rng
    for configuration in bench.configurations():
        if configuration[3] != min(bench.params.groups):
            continue
        await bench.configure(*configuration)
        group = configuration[3]
        for exponent in range(255):
            for mantissa in (0, 0x5FFFFF, 0x600000, 0x600001, int(rng.integers(0, 1 << 23))):
                amax = exponent << 23 | mantissa
                below = np.maximum(exponent - rng.integers(0, 24, group), 0).astype(np.uint32)
                row = below << np.uint32(23) | rng.integers(0, 8, group).astype(
                    np.uint32) << np.uint32(20)
                row = np.minimum(row, np.uint32(amax))
                row[rng.integers(group)] = amax
                bench.send(row | _SIGN * rng.integers(0, 2, group).astype(np.uint32))
    await bench.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rounding_boundaries(dut):
    """Elements at the middle of two codes times the scale, and a few steps beside it."""
    bench = _Quantizing(dut)
    await bench.bench.start()
    rng = bench.rng
    for configuration in bench.configurations():
        source, _, rule, group = configuration
        if group != min(bench.params.groups) or (rule != "fp32-div" and source == "bf16"):
            continue
        await bench.configure(*configuration)
        for _ in range(1500):
            amax = np.uint32(rng.integers(0x00800000, 0x7F800000))
            if rng.random() < 0.5:
                amax &= np.uint32(0xFFFF0000)
            # The row's other magnitudes are no larger, so that this is its scale.
            _, scale = quantize(amax[None].view(np.float32), bench.target, bench.scaling)
            scale = (scale.astype(np.float64) if scale.dtype == np.float32
                     else np.ldexp(1.0, scale.astype(np.int64) - 127))
            middle = rng.integers(16, 33, group) / 16.0 * np.ldexp(
                1.0, rng.integers(-18, 15, group))
            with np.errstate(all="ignore"):
                row = (middle * scale).astype(np.float32).view(np.uint32)
            if source == "bf16":
                row = (row & np.uint32(0xFFFF0000)) + (
                    rng.integers(0, 2, group).astype(np.uint32) << 16)
            else:
                row = (row.astype(np.int64) + rng.integers(-2, 3, group)).clip(0).astype(
                    np.uint32)
            row = np.minimum(row, amax)
            row[0] = amax
            bench.send(row)
    await bench.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """Atoms enter and codes leave in each cycle: large and small groups, rows of one atom, and
    tails; also the next row while a group is cast."""
    bench = _Quantizing(dut)
    await bench.bench.start()
    for configuration in bench.configurations():
        await bench.configure(*configuration)
        group, lanes = configuration[3], bench.lanes
        first_in, first_out = len(bench.rows.taken), len(bench.sink.came)
        for length in [4 * group, *[lanes] * 60, 3 * group + 1, *[1] * 20, 5 * group - 1,
                       *[group] * 8, *[group + 1] * 8, 2 * group]:
            bench.send(bench.random_bits(length))
        sent = len(bench.rows.items)
        while bench.board.expected:
            await bench.bench.step()
        taken, came = bench.rows.taken[first_in:], bench.sink.came[first_out:]
        assert taken == list(range(taken[0], taken[0] + sent)), configuration
        # Nothing piles up: at the end no more than a group waits longer than the first atom did
        # after its group was in.
        atoms = group // lanes
        assert came[-1] - taken[-1] <= came[0] - taken[atoms - 1] + atoms, configuration
    await bench.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    dut.source.value, dut.target.value = 0, 0
    dut.rule.value, dut.group.value = 0, 0
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"], cycles=2000)
