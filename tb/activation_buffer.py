"""Bench of :class:`hdl.activation_buffer.ActivationBuffer`."""

import cocotb

from spec.units import ActivationBufferParams
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.packing import fields

__all__ = ["latency", "random_traffic"]


class _Traffic:
    """Writes, reads, and what the buffer holds."""

    def __init__(self, dut):
        self.params = params_from_environment(ActivationBufferParams)
        self.bench = Bench(dut)
        self.writes, self.reads = self.bench.source("write"), self.bench.source()
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board)
        self.held = {}
        self.written = None

    def write(self, column, address, part=0):
        """Write a random atom of a beat in the coming cycle."""
        params = self.params
        atom = self.bench.rng.getrandbits(params.atom_bits)
        self.writes.send(fields((atom, params.atom_bits), (part, params.part_bits),
                                (address, params.address_bits),
                                (column, max(1, (params.columns - 1).bit_length()))))
        self.written = (address, column, part, atom)

    def read(self, address):
        """Read in the coming cycle; every column must have been written before."""
        self.reads.send(address)
        self.board.expect(word((self.held[address, column, part]
                                for column in range(self.params.columns)
                                for part in range(self.params.atoms_per_beat)),
                               self.params.atom_bits),
                          f"address {address}")

    async def step(self):
        """Go through the cycle."""
        await self.bench.step()
        if self.written:
            address, column, part, atom = self.written
            self.held[address, column, part] = atom
            self.written = None

    async def fill(self, addresses):
        """Write the addresses, in all columns."""
        for address in addresses:
            for column in range(self.params.columns):
                for part in range(self.params.atoms_per_beat):
                    self.write(column, address, part)
                    await self.step()

    async def end(self):
        """Check that everything came, and when."""
        await self.bench.drain(at_least=len(self.reads.taken))
        measured = {came - took for took, came in zip(self.reads.taken, self.sink.came,
                                                      strict=True)}
        assert measured == {self.params.LATENCY}, measured


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """The whole buffer is written and then read, an address per cycle, while it is written anew;
    every place keeps its own atom."""
    traffic = _Traffic(dut)
    depth, columns = traffic.params.depth, traffic.params.columns
    await traffic.bench.start()
    await traffic.fill(range(depth))
    for address in range(depth):
        traffic.read(address)
        if address:
            traffic.write(traffic.bench.rng.randrange(columns), address - 1,
                          traffic.bench.rng.randrange(traffic.params.atoms_per_beat))
        await traffic.step()
    for address in reversed(range(depth)):
        traffic.read(address)
        await traffic.step()
    taken = traffic.reads.taken
    assert taken == list(range(taken[0], taken[0] + 2 * depth))
    await traffic.end()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_traffic(dut):
    """Random writes and reads, close to each other and with gaps."""
    traffic = _Traffic(dut)
    params, rng = traffic.params, traffic.bench.rng
    await traffic.bench.start()
    addresses = sorted({0, params.depth - 1, *(rng.randrange(params.depth) for _ in range(6))})
    await traffic.fill(addresses)
    for _ in range(1500):
        busy = rng.choice(addresses)
        if rng.random() < 0.6:
            traffic.write(rng.randrange(params.columns), busy,
                          rng.randrange(params.atoms_per_beat))
        # A read in the cycle of a write to its address is not specified.
        free = [address for address in addresses if address != busy]
        if free and rng.random() < 0.6:
            traffic.read(rng.choice(free))
        await traffic.step()
    assert len(traffic.reads.taken) > 500
    await traffic.end()
