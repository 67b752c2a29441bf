"""Bench of :class:`hdl.scale_buffer.ScaleBuffer`."""

import cocotb

from spec.units import ScaleBufferParams
from tb.bench import Bench, Scoreboard, params_from_environment, split_word
from tb.packing import fields

__all__ = ["latency", "random_traffic"]


class _Traffic:
    """Writes, reads, and the scales that the buffer holds, by the number of their read."""

    def __init__(self, dut):
        self.params = params_from_environment(ScaleBufferParams)
        self.bench = Bench(dut)
        self.writes, self.reads = self.bench.source("write"), self.bench.source()
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board)
        self.held = {}
        self.coming = {}

    def write(self, address):
        """Write a random atom in the coming cycle."""
        params = self.params
        atom = self.bench.rng.getrandbits(params.atom_bits)
        self.writes.send(fields((atom, params.atom_bits), (address, params.address_bits)))
        first = address * params.reads_per_atom
        reads = split_word(atom, params.read_bits, params.reads_per_atom)
        self.coming = {first + place: scales for place, scales in enumerate(reads)}

    def read(self, index):
        """Read in the coming cycle."""
        self.reads.send(index)
        self.board.expect(self.held[index], f"read {index}")

    async def step(self):
        """Go through the cycle."""
        await self.bench.step()
        self.held |= self.coming
        self.coming = {}

    async def end(self):
        """Check that everything came, and when."""
        await self.bench.drain(at_least=len(self.reads.taken))
        measured = {came - took for took, came in zip(self.reads.taken, self.sink.came,
                                                      strict=True)}
        assert measured == {self.params.LATENCY}, measured


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def latency(dut):
    """The whole buffer is written and read back, once per cycle, latency as promised."""
    traffic = _Traffic(dut)
    params = traffic.params
    await traffic.bench.start()
    for address in range(params.depth):
        traffic.write(address)
        await traffic.step()
    reads = params.depth * params.reads_per_atom
    assert len(traffic.held) == reads >= params.scales // params.scales_per_read
    for index in range(reads):
        traffic.read(index)
        await traffic.step()
    taken = traffic.reads.taken
    assert taken == list(range(taken[0], taken[0] + reads))
    await traffic.end()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_traffic(dut):
    """Random writes and reads; a scale read in the cycle before its atom changes is the old one,
    in the cycle after it the new one."""
    traffic = _Traffic(dut)
    params, rng = traffic.params, traffic.bench.rng
    await traffic.bench.start()
    for address in range(params.depth):
        traffic.write(address)
        await traffic.step()
    for _ in range(2000):
        busy = rng.randrange(params.depth)
        if rng.random() < 0.5:
            traffic.write(busy)
        # A read in the cycle of a write to its atom is not specified.
        index = rng.choice(sorted(traffic.held))
        if index // params.reads_per_atom != busy and rng.random() < 0.7:
            traffic.read(index)
        await traffic.step()
    assert len(traffic.reads.taken) > 300
    await traffic.end()
