"""Bench of :class:`hdl.scale_buffer.ScaleBuffer`."""

import cocotb

from spec.units import ScaleBufferParams
from tb.bench import Bench, Scoreboard, params_from_environment, split_word
from tb.packing import fields

__all__ = ["latency", "random_traffic"]


class _Traffic:
    """Writes, reads, and the scales that the buffer holds, by number."""

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
        first = address * params.scales_per_atom
        scales = split_word(atom, params.format.bits, params.scales_per_atom)
        self.coming = {first + place: scale for place, scale in enumerate(scales)}

    def read(self, index):
        """Read a scale in the coming cycle."""
        self.reads.send(index)
        self.board.expect(self.held[index], f"scale {index}")

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
    """The whole buffer is written and read back, a scale per cycle, latency as promised."""
    traffic = _Traffic(dut)
    params = traffic.params
    await traffic.bench.start()
    for address in range(params.depth):
        traffic.write(address)
        await traffic.step()
    scales = params.depth * params.scales_per_atom
    assert len(traffic.held) == scales >= params.scales
    for index in range(scales):
        traffic.read(index)
        await traffic.step()
    taken = traffic.reads.taken
    assert taken == list(range(taken[0], taken[0] + scales))
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
        if index // params.scales_per_atom != busy and rng.random() < 0.7:
            traffic.read(index)
        await traffic.step()
    assert len(traffic.reads.taken) > 300
    await traffic.end()
