"""Bench of :class:`hdl.tile.Tile`: commands through the registers, memory compared byte by byte."""

from itertools import product

import cocotb
import numpy as np

from spec.commands import Command, ErrorCode, Opcode
from tb.buses import BusError
from tb.tile_model import TileBench, tile_from_environment
from tb.tile_tensors import (
    bad_tensor_commands, cast_window, quantized_loads, results_as_tensors, results_for_the_host,
    tensor_commands, tensor_faults, transposed_blocks, transposed_weights,
)

__all__ = ["back_to_back", "bad_commands", "bad_tensor_commands", "bus_errors", "cast_window",
           "host_accesses", "host_ends_of_memory", "memory_faults", "quantized_loads", "queue",
           "random_operations", "register_errors", "results_as_tensors", "results_for_the_host",
           "slow_memory", "tensor_commands", "tensor_faults", "transposed_blocks",
           "transposed_weights"]


def _test_of(native):
    """As ``cocotb.test``, for tiles whose memory is native, or is not: the others have no such
    test."""
    return (cocotb.test if tile_from_environment().native == native
            else lambda **_: lambda test: test)


async def _operations(bench, count):
    for number in range(count):
        rows, k, columns = bench.sizes()
        for column in range(columns):
            assert await bench.load(column, k, nan=number == 0) == ErrorCode.NONE
            # The vector's place is used again: the tile must have read it.
            await bench.compare()
        assert await bench.gemv(rows, k, columns) == ErrorCode.NONE
        await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(pause=[0.0, 0.3])
async def random_operations(dut, pause):
    """LOAD and GEMV of random sizes and codes, every channel pausing at random."""
    bench = TileBench(dut, pause)
    await bench.start()
    await _operations(bench, 6)
    # The shortest, and one with only full groups; of each format.
    sizes = (1, 1), (bench.tile.rows_per_strip + 1,
                     min(bench.tile.k_max, 2 * bench.tile.group))
    for index, (rows, k) in product(range(len(bench.tile.formats)), sizes):
        bench.format_index = index
        for column in range(bench.tile.columns):
            await bench.load(column, k)
            await bench.compare()
        await bench.gemv(rows, k, bench.tile.columns)
        await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def bad_commands(dut):
    """Bad commands end with the golden's code, touch nothing, and the next one runs."""
    bench = TileBench(dut, 0.1)
    await bench.start()
    tile, limit = bench.tile, bench.size
    codes, scales, weights, results = bench.codes, bench.scales, bench.weights, bench.results
    k, atom = min(tile.k_max, tile.group + 1), tile.atom_bytes
    load = dict(opcode=Opcode.LOAD, columns=0, k=k, source=codes, source_scales=scales)
    gemv = dict(opcode=Opcode.GEMV, columns=1, k=k, rows=5, source=weights, target=results)
    bad = [
        dict(opcode=0), dict(opcode=255), dict(opcode=Opcode.FENCE, k=1),
        dict(opcode=Opcode.FENCE, source=atom), load | dict(rows=1), load | dict(reserved=1),
        gemv | dict(reserved=1 << 4), load | dict(source_format=1, source_scales=0),
        load | dict(format_index=len(tile.formats)), gemv | dict(format_index=15),
        load | dict(columns=tile.columns),
        gemv | dict(columns=0), gemv | dict(columns=tile.columns + 1), gemv | dict(columns=255),
        load | dict(k=0), load | dict(k=tile.k_max + 1), gemv | dict(k=1 << 31),
        gemv | dict(rows=0), gemv | dict(rows=1 << 24), load | dict(source=codes + 1),
        gemv | dict(target=results + atom // 2), load | dict(source=limit),
        load | dict(source_scales=limit - atom * (tile.activation_scale_atoms(k) - 1)),
        gemv | dict(source=1 << 63), gemv | dict(source=limit - atom),
        gemv | dict(target=limit), gemv | dict(rows=(1 << 24) - 1),
        *([gemv | dict(format_index=1)] if tile.narrow else []),
        gemv | dict(k=k - 1), gemv | dict(columns=tile.columns, k=max(1, k - 2)),
        gemv | dict(target=weights), gemv | dict(target=weights - atom, rows=300),
        gemv | dict(target=weights + atom * (tile.weight_stream_atoms(5, k) - 1)),
    ]
    await bench.load(0, k)
    errors = set()
    for fields in bad:
        errors.add(await bench.command(**fields))
        assert ErrorCode.NONE not in errors, f"{fields} is not bad"
        await bench.compare()
    # No command on vectors names a group.
    assert errors == {code for code in ErrorCode
                      if ErrorCode.NONE < code <= ErrorCode.OVERLAP} - {ErrorCode.GROUP}
    # The buffers are as they were: the vector is still there.
    assert await bench.gemv(5, k, 1) == ErrorCode.NONE
    await bench.compare()
    # A window that begins and ends within the memory.
    await bench.open_window(scales, weights)
    assert await bench.command(**load) == ErrorCode.WINDOW
    assert await bench.command(**load | dict(source=weights - atom * tile.activation_atoms(k))) == (
        ErrorCode.NONE)
    await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def queue(dut):
    """More commands than the queue holds, without waiting in between; the first error stays."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    k = min(bench.tile.k_max, bench.tile.group)
    await bench.load(0, k)
    for index in range(3 * bench.tile.description.host.queue_depth):
        if index % 3 == 2:
            await bench.command(opcode=Opcode.LOAD, columns=0, k=0)
        else:
            await bench.command(opcode=Opcode.GEMV, columns=1, k=k, rows=2 + index,
                                source=bench.weights, target=bench.results + index * 0x400)
    await bench.compare()


@_test_of(native=False)(timeout_time=4, timeout_unit="ms")
async def bus_errors(dut):
    """An error of the memory is reported, and the tile goes on."""
    bench = TileBench(dut, 0.2)
    await bench.start()
    tile = bench.tile
    k = min(tile.k_max, tile.group)
    place = dict(source=bench.weights, target=bench.results)
    await bench.load(0, k)
    await bench.compare()
    for part, opcode, code in (
            (bench.weights, Opcode.GEMV, ErrorCode.READ),
            (bench.results, Opcode.GEMV, ErrorCode.WRITE),
            (bench.scales, Opcode.LOAD, ErrorCode.READ)):
        bench.memory.broken = {range(part, part + tile.atom_bytes)}
        fields = (dict(columns=1, rows=9, k=k, **place) if opcode == Opcode.GEMV
                  else dict(columns=0, k=k, source=bench.codes, source_scales=bench.scales))
        await bench.driver.submit(Command(opcode=opcode, tag=77, **fields))
        await bench.fence(78)
        assert await bench.driver.take_error() == (code, 77)
    # The vector whose load failed is gone; then everything works again.
    bench.memory.broken = set()
    await bench.driver.submit(Command(opcode=Opcode.GEMV, tag=79, columns=1, rows=1, k=k, **place))
    await bench.fence(80)
    assert await bench.driver.take_error() == (ErrorCode.NOT_LOADED, 79)
    bench.commands = await bench.driver.read("ended")
    bench.memory.place(0, bench.image.tobytes())
    await bench.load(0, k)
    await bench.gemv(9, k, 1)
    await bench.compare()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def register_errors(dut):
    """Accesses that no register allows are answered with an error."""
    bench = TileBench(dut, 0.2)
    await bench.start()
    for access in (bench.bus.read(0xFC), bench.bus.write(0xFC, 1), bench.driver.write("ended", 1),
                   bench.driver.read("doorbell")):
        try:
            await access
        except BusError:
            continue
        raise AssertionError("an illegal access was answered with OKAY")
    await bench.load(0, 1)
    await bench.compare()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def back_to_back(dut):
    """A GEMV stands in the queue behind the LOAD of its vector, which is still under way."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    for k in (1, bench.tile.k_max):
        for column in range(bench.tile.columns):
            assert await bench.load(column, k) == ErrorCode.NONE
            if column < bench.tile.columns - 1:
                await bench.compare()
        assert await bench.gemv(5, k, bench.tile.columns) == ErrorCode.NONE
        await bench.compare()


@_test_of(native=False)(timeout_time=4, timeout_unit="ms")
async def slow_memory(dut):
    """The memory is so slow that a strip's results are written before its padding has come."""
    bench = TileBench(dut, 0.0)
    await bench.start()
    k = min(bench.tile.k_max, bench.tile.group)
    await bench.load(0, k)
    await bench.compare()
    bench.memory.pause_reads(bench.random, 0.97)
    for rows in (1, 2):
        assert await bench.gemv(rows, k, 1) == ErrorCode.NONE
        await bench.compare()


@_test_of(native=True)(timeout_time=4, timeout_unit="ms")
async def memory_faults(dut):
    """Lost atoms and words with two wrong bits are reported, and the tile goes on; single wrong
    bits are corrected and counted, and stay out of the results."""
    bench = TileBench(dut, 0.2)
    await bench.start()
    tile, driver, memory = bench.tile, bench.driver, bench.memory
    dram, ecc = memory.dram, tile.memory_controller.ecc == "secded"
    inline = tile.memory_controller.ecc_inline
    k = min(tile.k_max, tile.group)
    place = dict(source=bench.weights, target=bench.results)
    await bench.load(0, k)
    await bench.compare()
    for part, opcode in ((bench.weights, Opcode.GEMV), (bench.codes, Opcode.LOAD),
                         (bench.scales, Opcode.LOAD)):
        index = memory.index(part)
        # Two bits of the same word.
        bits = bench.random.sample(range(64), 2)
        pair = sum(1 << bit for bit in bits) << 64 * bench.random.randrange(tile.atom_bits // 64)
        faults = [({index}, {}, ErrorCode.TIMEOUT)]
        if inline:
            faults.append(({memory.check_index(part)}, {}, ErrorCode.TIMEOUT))
        if ecc:
            faults.append((set(), {index: pair}, ErrorCode.ECC))
        fields = (dict(columns=1, rows=9, k=k, **place) if opcode == Opcode.GEMV
                  else dict(columns=0, k=k, source=bench.codes, source_scales=bench.scales))
        for dram.lost, dram.flipped, code in faults:
            await driver.submit(Command(opcode=opcode, tag=77, **fields))
            await bench.fence(78)
            assert await driver.uncorrectable() == (part if code == ErrorCode.ECC else None)
            assert await driver.take_error() == (code, 77)
    # The vector whose load failed is gone; then everything works again.
    dram.lost, dram.flipped = set(), {}
    await driver.submit(Command(opcode=Opcode.GEMV, tag=79, columns=1, rows=1, k=k, **place))
    await bench.fence(80)
    assert await driver.take_error() == (ErrorCode.NOT_LOADED, 79)
    bench.commands = await driver.read("ended")
    memory.place(0, bench.image.tobytes())
    await driver.clear_counters()
    if ecc:
        # One bit of the data, and one of the check bits.
        dram.flipped = {memory.index(bench.codes): 1 << bench.random.randrange(tile.atom_bits)}
        check = bench.random.randrange(tile.atom_bits // 8)
        if inline:
            dram.flipped[memory.check_index(bench.scales)] = (
                1 << check + memory.index(bench.scales) % 8 * (tile.atom_bits // 8))
        else:
            dram.flipped[memory.index(bench.scales)] = 1 << check + tile.atom_bits
    await bench.load(0, k)
    await bench.gemv(9, k, 1)
    await bench.compare()
    assert await driver.corrected() == len(dram.flipped)
    assert await driver.uncorrectable() is None


@_test_of(native=True)(timeout_time=4, timeout_unit="ms")
async def host_accesses(dut):
    """The host places operands through its port, the next command uses them, and after a fence it
    reads what the tile wrote; meanwhile it reads and writes elsewhere."""
    bench = TileBench(dut, 0.0, host=True)
    await bench.start()
    tile, host, rng = bench.tile, bench.host, bench.random
    low, ended = bench.size - bench.size // 8, False

    async def elsewhere():
        """Write bytes at any address and read them at once, until the tile has ended."""
        accesses = 0
        while not ended:
            start, length = rng.randrange(low, bench.size - 1000), rng.randint(1, 1000)
            await bench.place(start, rng.randbytes(length))
            end = start + length
            # The bytes that were written last.
            length = rng.randint(1, min(100, length))
            held = await bench.within(host.read(end - length, length))
            assert held == bench.image[end - length:end].tobytes(), f"differs before {end:#x}"
            accesses += 1
        return accesses

    for rows, k in ((1, 1), (tile.rows_per_strip + 3, min(tile.k_max, 2 * tile.group))):
        for column in range(tile.columns):
            assert await bench.load(column, k) == ErrorCode.NONE
            await bench.compare()
        before, ended = bench.image[:low].copy(), False
        assert await bench.gemv(rows, k, tile.columns) == ErrorCode.NONE
        beside = cocotb.start_soon(elsewhere())
        await bench.fence(0)
        bench.commands += 1
        changed = np.flatnonzero(bench.image[:low] != before)
        first, length = int(changed[0]), int(changed[-1] - changed[0]) + 1
        got = await bench.within(host.read(first, length))
        assert got == bench.image[first:first + length].tobytes(), "the host reads other results"
        ended = True
        assert await beside
        await bench.compare()


@_test_of(native=True)(timeout_time=1, timeout_unit="ms")
async def host_ends_of_memory(dut):
    """The host uses the last atom of the memory; any access behind it is answered with DECERR."""
    bench = TileBench(dut, 0.0, host=True)
    await bench.start()
    host, end, atom = bench.host, bench.tile.memory_bytes, bench.tile.atom_bytes
    # Atoms that share their check bits' atom.
    bench.memory.place(end - 8 * atom, bench.random.randbytes(8 * atom))
    data = bench.random.randbytes(atom)
    await bench.within(host.write(end - atom, data))
    assert await bench.within(host.read(end - atom, atom)) == data
    for access in (host.read(end, 1), host.write(end, bytes(1)), host.read(end - atom, 2 * atom),
                   host.write(1 << 39, bytes(atom))):
        try:
            await bench.within(access)
        except BusError as error:
            assert "DECERR" in str(error), str(error)
            continue
        raise AssertionError("an access outside the memory was answered with OKAY")
    assert await bench.within(host.read(end - atom, atom)) == data
