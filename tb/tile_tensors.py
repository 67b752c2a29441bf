"""Tests of commands on whole tensors, part of the bench of :class:`hdl.tile.Tile`."""

import cocotb
import numpy as np

from spec.commands import Command, ErrorCode, Opcode
from spec.tensor_checks import copies_scales, makes_scales, reads_scales, tensor_sizes
from spec.tensors import RULE_NAMES, Reduction, TensorFormat
from spec.memory_units import Aperture
from tb.buses import BusError
from tb.operands import scale_codes
from tb.tile_model import TileBench, tile_from_environment

__all__ = ["cast_window", "bad_tensor_commands", "quantized_loads", "results_as_tensors",
           "results_for_the_host", "tensor_commands", "tensor_faults", "transposed_blocks",
           "transposed_weights"]

# Largest random tensors, in atoms of the source.
ATOMS = 600


def _test_where(built):
    """As ``cocotb.test`` for tiles that have what the test needs; the others have no such test."""
    return cocotb.test if built else lambda **_: lambda test: None


TILE = tile_from_environment()
CHECKER = TILE.tensor_checker
QUANTIZE = TILE.description.quantize


class _Tensors:
    """Random commands on random tensors."""

    def __init__(self, bench):
        self.bench, self.rng = bench, bench.rng
        self.end = bench.size

    def choice(self, names):
        """One of ``names``."""
        return names[int(self.rng.integers(len(names)))]

    def values(self, fmt, count):
        """Elements as tensors have them, with a few extremes and some of any code at all."""
        bits = fmt.float_format.bits
        usual = (self.rng.normal(0, 1, count) * self.rng.lognormal(0, 3)).astype(np.float32)
        codes = usual.view(np.uint32) >> 32 - bits
        if bits == 8:
            codes = self.rng.integers(0, 1 << 8, count)
        wild = self.rng.random(count) < (0.02 if self.rng.random() < 0.3 else 0.0)
        codes = np.where(wild, self.rng.integers(0, 1 << bits, count), codes)
        return codes.astype(f"<u{bits // 8}").view(np.uint8)

    def size(self, fmt, k_max):
        """Rows and K."""
        lanes = TILE.atom_bits // fmt.float_format.bits
        k = int(self.rng.integers(1, min(k_max, self.choice((lanes, 4 * lanes, 10 * lanes))) + 1))
        return int(self.rng.integers(1, max(2, min(70, ATOMS * lanes // k // 4)))), k

    def fields(self, opcode=None):
        """A random good command, without addresses; of ``opcode`` where it is given."""
        opcode = opcode or self.choice([opcode for opcode in CHECKER.opcodes
                                        if opcode not in (Opcode.LOAD, Opcode.MAP)])
        new_scales = {}
        if QUANTIZE:
            new_scales = dict(rule=RULE_NAMES[self.choice(QUANTIZE.rules)],
                              group=int(self.choice(QUANTIZE.groups)).bit_length() - 1)

        def named(names):
            return TensorFormat[self.choice(names).upper()]

        fields = dict(opcode=opcode)
        if opcode == Opcode.QUANTIZE:
            fields |= dict(source_format=TensorFormat.BF16,
                           target_format=named(QUANTIZE.formats), **new_scales)
        elif opcode == Opcode.REDUCE:
            fields |= dict(source_format=named(CHECKER.reduce_formats),
                           reduction=self.choice(list(Reduction)[1:]),
                           whole=int(self.rng.random() < 0.4))
        elif opcode == Opcode.COPY:
            target = named(CHECKER.copy_formats)
            fields |= dict(source_format=named(CHECKER.copy_formats), target_format=target)
            if makes_scales(Command(**fields)):
                if QUANTIZE is None or target.name.lower() not in QUANTIZE.formats:
                    return self.fields()
                fields |= new_scales
        else:
            source = named(("bf16", "e4m3", "e5m2"))
            fields |= dict(source_format=source, target_format=source)
            if source.name.lower() in CHECKER.requantized and self.rng.random() < 0.6:
                fields |= dict(target_format=named(QUANTIZE.formats), **new_scales)
                fields["group"] = CHECKER.transpose_block.bit_length() - 1
        source = TensorFormat(fields["source_format"])
        short = (opcode == Opcode.QUANTIZE or makes_scales(Command(**fields))
                 or reads_scales(Command(**fields)) or copies_scales(Command(**fields)))
        rows, k = self.size(source, CHECKER.k_max if short else 1 << 20)
        return fields | dict(rows=rows, k=k)

    async def place(self, fields):
        """Put operands into memory; return the command with its addresses, not yet checked."""
        bench, atom = self.bench, TILE.atom_bytes
        sizes = tensor_sizes(Command(**fields), CHECKER)
        address = atom * int(self.rng.integers(0, 9))
        regions = (("source", sizes.source_atoms), ("source_scales", sizes.source_scale_atoms),
                   ("target", sizes.target_atoms), ("target_scales", sizes.target_scale_atoms))
        for name, atoms in regions:
            if not atoms:
                continue
            fields[name] = address
            if name == "source":
                fmt = TensorFormat(fields["source_format"])
                await bench.place(address, self.values(
                    fmt, atoms * TILE.atom_bits // fmt.float_format.bits).tobytes())
            elif name == "source_scales":
                scales = scale_codes(self.rng, TILE.scale_format.name,
                                     (atoms * TILE.atom_bits // TILE.scale_format.bits,), 0.02)
                await bench.place(address, scales.tobytes())
            address += atom * (atoms + int(self.rng.integers(0, 5)))
        assert address <= self.end, "the operands do not fit the simulated memory"
        return fields


@_test_where(CHECKER)(timeout_time=40, timeout_unit="ms")
@cocotb.parametrize(pause=[0.0, 0.3])
async def tensor_commands(dut, pause):
    """Random commands on random tensors; every byte of memory is compared."""
    bench = TileBench(dut, pause)
    await bench.start()
    tensors = _Tensors(bench)
    for _ in range(60 if pause == 0 else 30):
        fields = await tensors.place(tensors.fields())
        assert await bench.command(**fields) == ErrorCode.NONE, fields
        try:
            await bench.compare()
        except AssertionError as error:
            raise AssertionError(f"{Command(**fields)}: {error}") from None


@_test_where(TILE.transposer)(timeout_time=10, timeout_unit="ms")
async def transposed_blocks(dut):
    """Tensors of one block and of several, along the rows, along the columns, and both."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    tensors = _Tensors(bench)
    block = TILE.transposer.block
    more = block * 3 // 2
    for rows, k in 2 * [(block, block), (more, more), (block + 1, block + 1), (1, more), (more, 1)]:
        fields = tensors.fields(Opcode.TRANSPOSE) | dict(rows=rows, k=min(k, CHECKER.k_max))
        assert await bench.command(**await tensors.place(fields)) == ErrorCode.NONE, fields
        try:
            await bench.compare()
        except AssertionError as error:
            raise AssertionError(f"{Command(**fields)}: {error}") from None


@_test_where(CHECKER and CHECKER.load)(timeout_time=10, timeout_unit="ms")
async def quantized_loads(dut):
    """GEMV with vectors that were quantized as they were loaded, at once behind each other."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    tensors = _Tensors(bench)
    for _ in range(4):
        rows, k, columns = bench.sizes()
        for column in range(columns):
            # What stands behind the vector in its last atom means nothing.
            lanes = TILE.atom_bytes // 2
            values = tensors.values(TensorFormat.BF16, -(-k // lanes) * lanes)
            await bench.place(bench.codes, values.tobytes())
            assert await bench.command(
                opcode=Opcode.LOAD, columns=column, k=k, source_format=TensorFormat.BF16,
                source=bench.codes) == ErrorCode.NONE
            await bench.compare()
        assert await bench.gemv(rows, k, columns) == ErrorCode.NONE
        await bench.compare()


@_test_where(CHECKER)(timeout_time=10, timeout_unit="ms")
async def results_as_tensors(dut):
    """A command on a tensor that a GEMV in the queue before it writes, long enough to be checked
    meanwhile; between them sometimes one that is bad."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    tensors = _Tensors(bench)
    for number in range(8):
        _, k, columns = bench.sizes()
        rows = 500 // TILE.k_atoms(k) + 1
        for column in range(columns):
            await bench.load(column, k)
            await bench.compare()
        fields = await tensors.place(tensors.fields())
        await bench.gemv(rows, k, columns, target=fields["source"])
        if number % 2:
            await bench.command(opcode=Opcode.LOAD, k=0)
        await bench.command(**fields)
        await bench.compare()


@_test_where(TILE.transposed_gemv)(timeout_time=10, timeout_unit="ms")
async def transposed_weights(dut):
    """GEMV by transposed weights, between others by the weights as they stand."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    block = TILE.transposer.block
    sizes = [(block, block), (1, 1), (block + 3, 2 * block + 5), (3, block + 1), (block + 1, 2),
             (2 * block, 3 * block)]
    for rows, k in sizes:
        rows, k = min(rows, TILE.k_max), min(k, TILE.k_max)
        for column in range(TILE.columns):
            assert await bench.load(column, rows) == ErrorCode.NONE
            await bench.compare()
        assert await bench.gemv(rows, k, TILE.columns, transposed=1) == ErrorCode.NONE
        try:
            await bench.compare()
        except AssertionError as error:
            raise AssertionError(f"{rows} x {k}: {error}") from None
        await bench.load(0, k)
        await bench.gemv(min(rows, 20), k, 1)
        await bench.compare()


@_test_where(CHECKER)(timeout_time=20, timeout_unit="ms")
async def bad_tensor_commands(dut):
    """Bad commands end with the golden's code and touch nothing, and the next one runs."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    tensors = _Tensors(bench)
    codes = set()
    for _ in range(6):
        good = await tensors.place(tensors.fields())
        for name, value in (
                ("reserved", 1), ("columns", 1), ("source_format", 15), ("target_format", 9),
                ("rule", 15), ("group", 15), ("reduction", 15), ("rows", 0), ("rows", 1 << 24),
                ("k", 0), ("k", 1 << 31), ("source", good["source"] + 1),
                ("target", bench.size), ("target", good["source"]),
                ("source", 1 << 62), ("target", good["target"] + TILE.atom_bytes // 2)):
            error = await bench.command(**good | {name: value})
            assert error != ErrorCode.NONE, f"{good} with {name} = {value} is not bad"
            codes.add(error)
        await bench.compare()
        assert await bench.command(**good) == ErrorCode.NONE
        await bench.compare()
    assert {ErrorCode.RESERVED, ErrorCode.FORMAT, ErrorCode.K, ErrorCode.ROWS,
            ErrorCode.ALIGNMENT, ErrorCode.WINDOW, ErrorCode.OVERLAP} <= codes, codes


@_test_where(CHECKER and not TILE.native)(timeout_time=20, timeout_unit="ms")
async def tensor_faults(dut):
    """An error of the memory is reported with its command, and the tile goes on."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    tensors = _Tensors(bench)
    for _ in range(8):
        good = await tensors.place(tensors.fields())
        for region, code in (("source", ErrorCode.READ), ("source_scales", ErrorCode.READ),
                             ("target", ErrorCode.WRITE), ("target_scales", ErrorCode.WRITE)):
            if region not in good:
                continue
            bench.memory.broken = {range(good[region], good[region] + TILE.atom_bytes)}
            await bench.driver.submit(Command(tag=77, **good))
            await bench.fence(78)
            assert await bench.driver.take_error() == (code, 77), region
            bench.memory.broken = set()
        bench.commands = await bench.driver.read("ended")
        bench.memory.place(0, bench.image.tobytes())
        assert await bench.command(**good) == ErrorCode.NONE
        await bench.compare()


@_test_where(TILE.native and CHECKER)(timeout_time=40, timeout_unit="ms")
async def results_for_the_host(dut):
    """Results that go to the host come through its port, in order, and nothing else does."""
    bench = TileBench(dut, 0.0, host=True)
    await bench.start()
    tensors = _Tensors(bench)
    base = TILE.host_port.aperture_base(Aperture.RESULTS)
    for _ in range(12):
        fields = await tensors.place(tensors.fields())
        fields |= dict(to_host=1, target=0, target_scales=0)
        assert await bench.command(**fields) == ErrorCode.NONE, fields
        expected = bench.golden.host_results[-1]
        got = await bench.within(bench.host.read(base, len(expected)))
        assert got == expected, f"{Command(**fields)}: the host reads other results"
        await bench.compare()
    try:
        await bench.within(bench.host.read(base, TILE.atom_bytes))
    except BusError as error:
        assert "SLVERR" in str(error), str(error)
    else:
        raise AssertionError("a result that is not there was answered with OKAY")


@_test_where(TILE.native and CHECKER and CHECKER.window)(timeout_time=40, timeout_unit="ms")
async def cast_window(dut):
    """The host reads codes and scales of BF16 in memory, in any order, also when that changes."""
    bench = TileBench(dut, 0.0, host=True)
    await bench.start()
    tensors, rng = _Tensors(bench), bench.random
    port, atom = TILE.host_port, TILE.atom_bytes
    codes_at, scales_at = (port.aperture_base(name) for name in (Aperture.CODES, Aperture.SCALES))
    for _ in range(5):
        elements = rng.randint(1, 3000)
        source = atom * rng.randrange(64)
        await bench.place(source, tensors.values(
            TensorFormat.BF16, -(-elements * 2 // atom) * atom // 2).tobytes())
        fields = dict(
            opcode=Opcode.MAP, k=elements, source=source,
            target_format=TensorFormat[tensors.choice(QUANTIZE.formats).upper()],
            rule=RULE_NAMES[tensors.choice(QUANTIZE.rules)],
            group=int(tensors.choice(QUANTIZE.groups)).bit_length() - 1)
        assert await bench.command(**fields) == ErrorCode.NONE
        await bench.compare()
        for _ in range(6):
            codes = bench.golden.window_codes().tobytes()
            scales = bench.golden.window_scales().tobytes()
            for base, shown in ((codes_at, codes), (scales_at, scales)):
                start = rng.randrange(len(shown))
                length = rng.randint(1, len(shown) - start)
                got = await bench.within(bench.host.read(base + start, length))
                assert got == shown[start:start + length], f"{fields}: {base:#x} + {start}"
            # The source changes under the open window.
            start = source + 2 * rng.randrange(elements)
            await bench.place(start, tensors.values(TensorFormat.BF16, 1).tobytes())
    assert await bench.command(opcode=Opcode.MAP) == ErrorCode.NONE
    await bench.compare()
    try:
        await bench.within(bench.host.read(codes_at, atom))
    except BusError as error:
        assert "DECERR" in str(error), str(error)
    else:
        raise AssertionError("a closed window was answered with OKAY")
