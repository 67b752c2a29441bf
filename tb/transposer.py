"""Bench of :class:`hdl.transposer.Transposer`."""

import cocotb
import numpy as np

from golden.transposer import transposer
from spec.tensor_units import TransposerParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["closed_consumer", "identity", "places", "ragged_blocks", "registered", "sustained"]

# Blocks of up to so many rows and columns come in all sizes, larger ones at the edges.
ALL_SIZES = 16


def _atoms(rows):
    """One integer for each atom of ``rows`` [rows, atoms, bytes]."""
    return [int.from_bytes(atom.tobytes(), "little") for row in rows for atom in row]


class _Turning:
    """The unit with its channels; ``send`` gives a block to it and to the golden model."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.params = params_from_environment(TransposerParams)
        self.bench = Bench(dut)
        self.numbers = np.random.default_rng(self.bench.rng.getrandbits(32))
        self.blocks = self.bench.source("block", idle)
        self.atoms = self.bench.source("i", idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall)

    def random(self, rows, columns, wide):
        """Random elements."""
        dtype = np.uint16 if wide else np.uint8
        return self.numbers.integers(0, 1 << (16 if wide else 8), (rows, columns), dtype)

    def send(self, codes):
        """Queue a block, with random elements past its columns, and what must leave."""
        params = self.params
        rows, columns = codes.shape
        self.blocks.send(fields((rows, params.size_bits), (columns, params.size_bits),
                                (codes.itemsize == 2, 1)))
        lanes = params.atom_bytes // codes.itemsize
        padded = self.random(rows, -(-columns // lanes) * lanes, codes.itemsize == 2)
        padded[:, :columns] = codes
        for atom in _atoms(padded.view(np.uint8).reshape(rows, -1, params.atom_bytes)):
            self.atoms.send(atom)
        atoms = transposer(codes, params).reshape(columns, -1, params.atom_bytes)
        last = atoms.shape[1] - 1
        for place, atom in enumerate(_atoms(atoms)):
            column, piece = divmod(place, last + 1)
            self.board.expect(
                fields((atom, params.atom_bits),
                       (min(lanes, rows - piece * lanes), params.count_bits), (piece == last, 1),
                       (piece == last and column == columns - 1, 1)),
                f"{rows} x {columns} of {codes.dtype}, column {column}, atom {piece}")

    def full(self, wide):
        """Send one full block of random elements; return its number of atoms."""
        block = self.params.block
        self.send(self.random(block, block, wide))
        return block * block * (2 if wide else 1) // self.params.atom_bytes

    async def run(self):
        """Go on until everything has left."""
        await self.bench.drain(at_least=1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize((("idle", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.3)]))
async def ragged_blocks(dut, idle, stall):
    """Blocks of all small sizes, or of all that are edges, and of both element sizes, mixed."""
    turning = _Turning(dut, idle, stall)
    block, lanes = turning.params.block, turning.params.atom_bytes
    edges = {1, lanes // 2, lanes // 2 + 1, lanes - 1, lanes, lanes + 1, block - 1, block}
    sizes = range(1, block + 1) if block <= ALL_SIZES else sorted(edges)
    if block > ALL_SIZES and (idle or stall):
        sizes = [1, lanes - 1, lanes // 2 + 1, turning.bench.rng.randint(lanes + 1, block)]
    shapes = [(rows, columns, wide) for rows in sizes for columns in sizes
              for wide in (False, True)]
    turning.bench.rng.shuffle(shapes)
    for shape in shapes:
        turning.send(turning.random(*shape))
    await turning.bench.start()
    await turning.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def places(dut):
    """Full blocks whose elements say where they stood: codes of 8 bits in two blocks, of 16 bits
    in one."""
    turning = _Turning(dut)
    rows, columns = np.indices((turning.params.block, turning.params.block))
    turning.send(rows.astype(np.uint8))
    turning.send(columns.astype(np.uint8))
    turning.send((rows << 8 | columns).astype(np.uint16))
    await turning.bench.start()
    await turning.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def identity(dut):
    """A ragged block that goes through twice comes back as it was."""
    turning = _Turning(dut)
    params = turning.params
    came = []

    def take(value):
        turning.board.check(value)
        came.append(value & ((1 << params.atom_bits) - 1))

    turning.sink.take = take
    await turning.bench.start()
    for wide in (False, True):
        original = turning.random(params.block - 1, params.block // 2 + 1, wide)
        codes = original
        for _ in range(2):
            came.clear()
            turning.send(codes)
            await turning.run()
            data = b"".join(atom.to_bytes(params.atom_bytes, "little") for atom in came)
            turned = np.frombuffer(data, codes.dtype).reshape(codes.shape[1], -1)
            codes = np.ascontiguousarray(turned[:, :codes.shape[0]])
        assert np.array_equal(codes, original)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(wide=[False, True])
async def sustained(dut, wide):
    """Full blocks enter and leave without a gap."""
    turning = _Turning(dut)
    atoms = sum(turning.full(wide) for _ in range(4))
    await turning.bench.start()
    await turning.run()
    taken, came = turning.atoms.taken, turning.sink.came
    assert taken == list(range(taken[0], taken[0] + atoms))
    assert came == list(range(came[0], came[0] + atoms))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def closed_consumer(dut):
    """Against a closed consumer two blocks enter, and one atom that waits for its place."""
    turning = _Turning(dut, stall=1.0)
    atoms = [turning.full(False) for _ in range(3)][0]
    await turning.bench.start()
    for _ in range(2 * atoms + 40):
        await turning.bench.step()
    assert len(turning.atoms.taken) == 2 * atoms + 1
    turning.sink.stall = 0.2
    await turning.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    params = params_from_environment(TransposerParams)
    await check_registered(
        dut, ["block__payload", "block__valid", "i__payload", "i__valid", "o__ready"],
        ["block__ready", "i__ready", "o__payload", "o__valid"],
        cycles=8 * params.block * params.row_atoms)
