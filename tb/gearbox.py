"""Bench of :class:`hdl.gearbox.Gearbox`: packed codes and atoms as they are, in turn."""

import cocotb

from spec.memory_units import FAULT_BITS, ReadFault
from spec.units import GearboxParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields

__all__ = ["full_rate", "random_beats"]


class _Mode:
    """A channel of the bench: says of the beat that comes next whether it is packed."""

    def __init__(self, dut, kinds, sink):
        self.dut, self.kinds, self.sink = dut, kinds, sink
        self.ready = None

    def drive(self):
        """Choose for the coming cycle."""
        number = len(self.sink.came)
        self.dut.packed.value = int(number < len(self.kinds) and self.kinds[number])

    def sample(self, cycle):
        """Nothing to see."""


async def _run(dut, idle, stall, faults):
    """Stretches of packed beats, odd numbers too, and of atoms; the beats, taken by the bits."""
    params = params_from_environment(GearboxParams)
    bits, beat_bits = params.atom_bits, params.beat_bits
    bench = Bench(dut)
    rng, source, board = bench.rng, bench.source(idle=idle), Scoreboard("o")
    sink = bench.sink(board, stall=stall)
    kinds, atoms = [], 0
    for stretch in range(60):
        # What is left of an atom is dropped between two stretches of packed codes.
        packed, beats = stretch % 2 == 1, rng.randint(1, 9)
        kinds += [packed] * beats
        count = -(-3 * beats // 2) if packed else beats
        data = [rng.getrandbits(bits) for _ in range(count)]
        fault = [rng.choice(tuple(ReadFault)) if rng.random() < faults else ReadFault.NONE
                 for _ in range(count)]
        for atom, kind in zip(data, fault, strict=True):
            source.send(fields((atom, bits), (kind, FAULT_BITS)))
        whole = sum(atom << place * bits for place, atom in enumerate(data))
        for beat in range(beats):
            # Bits of a beat, and the atoms that they are in.
            width = beat_bits if packed else bits
            first, last = beat * width // bits, ((beat + 1) * width - 1) // bits
            kind = next((fault[place] for place in range(first, last + 1)
                         if fault[place] != ReadFault.NONE), ReadFault.NONE)
            value = whole >> beat * width & ((1 << width) - 1)
            board.expect(fields((value, beat_bits), (kind, FAULT_BITS)),
                         f"beat {beat} of {beats}, packed {packed}")
        atoms += count
    bench.channels.append(_Mode(dut, kinds, sink))
    await bench.start()
    await bench.drain(at_least=len(kinds))
    assert len(source.taken) == atoms
    return source


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def random_beats(dut, idle, stall):
    """Stretches of both kinds, with faults; whoever waits for whom."""
    await _run(dut, idle, stall, 0.2)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate(dut):
    """One atom per cycle."""
    source = await _run(dut, 0.0, 0.0, 0.0)
    assert source.taken == list(range(source.taken[0], source.taken[0] + len(source.taken)))
