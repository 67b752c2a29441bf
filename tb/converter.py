"""Bench of :class:`hdl.converter.Converter`."""

import cocotb
import numpy as np

from golden.converter import converter
from golden.decoder import code_dtype
from spec.formats import FLOAT_FORMATS
from spec.tensor_units import ConverterParams
from spec.tensors import TensorFormat
from tb.bench import Bench, Scoreboard, params_from_environment, split_word, word
from tb.operands import FP32_EDGES
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["edges", "every_fp8_code", "one_atom_per_cycle", "ragged_rows",
           "registered"]

# Scales whose product with a code is just above a tie of BF16 and, rounded to FP32, is the tie.
ALMOST_TIES = np.array([0x3FEB8E39, 0x3FBDD175, 0x3F9E2763, 0x3F91999A], np.uint32)


class _Converting:
    """The unit with its channels; ``send`` gives rows to it and to the golden model."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params = params_from_environment(ConverterParams)
        self.bench = Bench(dut)
        self.numbers = np.random.default_rng(self.bench.rng.getrandbits(32))
        self.source = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall, take=self._take)
        self.pairs = [(source, target) for source in params.sources
                      for target in dict.fromkeys((*params.targets, source))]
        self.choose(*self.pairs[0])

    def choose(self, source, target):
        """Set the formats; only while nothing is inside."""
        self.dut.source.value = TensorFormat[source.upper()]
        self.dut.target.value = TensorFormat[target.upper()]
        self.formats = FLOAT_FORMATS[source], FLOAT_FORMATS[target]

    def _take(self, value):
        """Compare the elements that count."""
        params = self.params
        count = value >> params.atom_bits & ((1 << params.count_bits) - 1)
        bits = self.formats[1].bits
        self.board.check((split_word(value, bits, count), count,
                          value >> (params.atom_bits + params.count_bits)))

    def codes(self, count):
        """Random codes of the source."""
        fmt = self.formats[0]
        codes = self.numbers.integers(0, 1 << fmt.bits, count, np.uint64)
        return codes.astype(code_dtype(fmt))

    def scales(self, count):
        """Random scales, as codes: about one, edges, and any."""
        if self.params.scale_format == "e8m0":
            usual = self.numbers.integers(100, 150, count)
            return np.where(self.numbers.random(count) < 0.5, usual,
                            self.numbers.integers(0, 256, count)).astype(np.uint8)
        kinds = np.stack([self.numbers.lognormal(-4.0, 2.0, count).astype(np.float32)
                          .view(np.uint32), self.numbers.choice(FP32_EDGES, count),
                          self.numbers.integers(0, 1 << 32, count, np.uint32),
                          self.numbers.integers(0, 1 << 28, count, np.uint32),
                          self.numbers.choice(ALMOST_TIES, count)])
        return kinds[self.numbers.integers(0, len(kinds), count), np.arange(count)]

    def send(self, codes, scales=None, length=None):
        """Queue one row: ``codes`` [atoms, lanes], of which ``length`` count, one scale each."""
        params, (source, target) = self.params, self.formats
        atoms, lanes = codes.shape
        length = codes.size if length is None else length
        scales = self.scales(atoms) if scales is None else scales
        if source.bits > 8 or source == target:
            results = converter(codes, source, target)
        else:
            values = scales if scales.dtype == np.uint8 else scales.view(np.float32)
            results = converter(codes, source, target, values[:, None], group=lanes)
        # An E8M0 scale is the low byte; what stands above it means nothing.
        above = self.numbers.integers(0, 1 << 24, atoms) if scales.dtype == np.uint8 else 0
        for place, scale in enumerate((scales.astype(np.int64) | (above << 8)).tolist()):
            self.source.send(fields(
                (word(codes[place].tolist(), source.bits), params.atom_bits),
                (min(lanes, length - place * lanes), params.count_bits), (place == atoms - 1, 1),
                (scale, 32)))
        elements = results.reshape(-1)[:length].tolist()
        step = params.lanes(target.name)
        for place in range(0, length, step):
            part = elements[place:place + step]
            self.board.expect((part, len(part), place + step >= length),
                              f"{source.name} to {target.name}, row of {length}, from {place}; "
                              f"scales {[hex(scale) for scale in scales.tolist()[:8]]}")

    def send_random(self, length):
        """Queue a row of random elements."""
        lanes = self.params.lanes(self.formats[0].name)
        atoms = -(-length // lanes)
        self.send(self.codes(atoms * lanes).reshape(atoms, lanes), length=length)

    def send_all(self, codes, scale):
        """Queue a row of given codes, all with one scale."""
        lanes = self.params.lanes(self.formats[0].name)
        padded = np.resize(codes, -(-codes.size // lanes) * lanes).reshape(-1, lanes)
        self.send(padded, np.full(len(padded), scale, scale.dtype))

    async def run(self, quiet=0):
        """Go on until everything has left, and then for ``quiet`` cycles."""
        await self.bench.drain(at_least=1, quiet=quiet)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize((("idle", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.3)]))
async def ragged_rows(dut, idle, stall):
    """Rows of all small lengths and some longer ones, of all formats, one pair right after
    another."""
    converting = _Converting(dut, idle, stall)
    rng = converting.bench.rng
    await converting.bench.start()
    for source, target in converting.pairs * 2:
        converting.choose(source, target)
        lengths = [*range(1, 2 * converting.params.lanes(source) + 2),
                   *(rng.randint(1, 300) for _ in range(5))]
        rng.shuffle(lengths)
        for length in lengths:
            converting.send_random(length)
        await converting.run()
    await converting.run(quiet=40)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_fp8_code(dut):
    """All codes of FP8 with scales at the edges, and such as make subnormal results."""
    converting = _Converting(dut)
    if converting.params.scale_format == "e8m0":
        scales = np.array([*range(24), *range(96, 160, 8), *range(232, 256)], np.uint8)
    else:
        low = (np.arange(1, 26, dtype=np.uint32) << 23) | np.uint32(0x2AAAAB)
        scales = np.concatenate([FP32_EDGES, ALMOST_TIES, low])
    await converting.bench.start()
    for source, target in converting.pairs:
        if FLOAT_FORMATS[source].bits == 8:
            converting.choose(source, target)
            for scale in scales:
                converting.send_all(np.arange(256, dtype=np.uint8), scale)
            await converting.run()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def edges(dut):
    """BF16 and FP32 at ties and their neighbours, of every exponent, of both signs."""
    converting = _Converting(dut)
    kept = np.array([0, 1, 2, 0x7E, 0x7F], np.uint32) << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    upper = np.arange(512, dtype=np.uint32)[:, None] << 23 | kept
    fp32 = np.concatenate([(upper[..., None] | low).reshape(-1), FP32_EDGES])
    bf16 = (upper.reshape(-1) >> 16).astype(np.uint16)
    none = np.uint8(0) if converting.params.scale_format == "e8m0" else np.uint32(0)
    await converting.bench.start()
    for source, target in converting.pairs:
        if FLOAT_FORMATS[source].bits > 8:
            converting.choose(source, target)
            converting.send_all(fp32 if source == "fp32" else bf16, none)
            await converting.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_atom_per_cycle(dut):
    """Atoms leave one per cycle in every pair of formats; to BF16 from FP32 they enter so."""
    converting = _Converting(dut)
    await converting.bench.start()
    for source, target in converting.pairs:
        converting.choose(source, target)
        converting.source.taken.clear()
        converting.sink.came.clear()
        for _ in range(6):
            converting.send_random(16 * converting.params.lanes(source))
        await converting.run()
        cycles = (converting.source.taken if (source, target) == ("fp32", "bf16")
                  else converting.sink.came)
        assert cycles == list(range(cycles[0], cycles[0] + len(cycles))), (source, target)
        assert len(cycles) >= 96


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output of a stream follows an input of one combinationally."""
    params = params_from_environment(ConverterParams)
    dut.source.value = TensorFormat[params.sources[0].upper()]
    dut.target.value = TensorFormat[(params.targets or params.sources)[0].upper()]
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"])
