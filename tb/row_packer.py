"""Bench of :class:`hdl.row_packer.RowPacker`."""

import cocotb
import numpy as np

from golden.row_packer import row_packer
from spec.tensor_units import RowPackerParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields
from tb.structure import check_registered

__all__ = ["keeps_up", "most_scales", "random_runs", "registered"]


class _Packing:
    """Runs of rows in, and the atoms that must come."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params_from_environment(RowPackerParams)
        self.bench = Bench(dut)
        self.rng = np.random.default_rng(self.bench.rng.getrandbits(32))
        self.beats = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall)
        self.sent = 0

    def configurations(self):
        """Pairs of ``wide`` and ``narrow``."""
        wides = (0, 1) if self.params.scale_bits_max == 32 else (0,)
        return [(wide, narrow) for wide in wides for narrow in (0, 1)]

    async def configure(self, wide, narrow):
        """Let everything leave, then change the configuration, a cycle before what follows."""
        while self.beats.items or self.board.expected:
            await self.bench.step()
        self.wide = wide
        self.lanes = self.params.code_lanes >> narrow
        self.dut.wide.value, self.dut.narrow.value = wide, narrow
        await self.bench.step()

    def send(self, rows, k, group):
        """Send a run of ``rows`` x ``k`` random codes in groups of ``group`` elements."""
        params, lanes, rng = self.params, self.lanes, self.rng
        codes = rng.integers(0, 256, (rows, k), dtype=np.uint8)
        words = rng.integers(0, 1 << 32, (rows, -(-k // group)), dtype=np.uint32)
        scales = words.view(np.float32) if self.wide else words.astype(np.uint8)
        code_atoms, scale_atoms = row_packer(codes, scales, params)
        atoms = [(atom, 0) for atom in code_atoms] + [(atom, 1) for atom in scale_atoms]
        for number, (atom, of_scales) in enumerate(atoms):
            self.board.expect(
                fields((int.from_bytes(atom.tobytes(), "little"), params.atom_bits),
                       (of_scales, 1), (number == len(atoms) - 1, 1)),
                f"{rows} rows of {k} in groups of {group}, wide {self.wide}, {lanes} lanes, "
                f"atom {number}")
        self.sent += len(atoms)
        for row in range(rows):
            for start in range(0, k, lanes):
                part = codes[row, start:start + lanes].tobytes()
                last = start + lanes >= k
                # A scale before its time means nothing.
                filling = bytes(params.code_lanes - len(part))
                group_last = last or (start + lanes) % group == 0
                scale = (int(words[row, start // group]) if group_last
                         else self.bench.rng.getrandbits(32))
                run_last = (row == rows - 1 if last else self.bench.rng.getrandbits(1))
                self.beats.send(fields(
                    (int.from_bytes(part + filling, "little"), 8 * params.code_lanes),
                    (scale, 32), (group_last, 1), (last, 1),
                    (run_last, 1)))

    async def run(self):
        """Go on until all is out."""
        await self.bench.drain(at_least=self.sent)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.6])
async def random_runs(dut, idle, stall):
    """Runs of rows of all lengths, scales that fill atoms and that do not."""
    packing = _Packing(dut, idle, stall)
    params, rng = packing.params, packing.rng
    await packing.bench.start()
    for configuration in packing.configurations():
        await packing.configure(*configuration)
        for _ in range(40):
            group = params.code_lanes * int(rng.integers(1, 5))
            k = int(rng.integers(1, min(6, params.scales_max) * group + 1))
            rows = int(rng.integers(1, 1 + min(10, params.scales_max // -(-k // group))))
            packing.send(rows, k, group)
    await packing.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.6])
async def most_scales(dut, stall):
    """As many scales as stand together, in one row and in many, and one run behind the other."""
    packing = _Packing(dut, stall=stall)
    params = packing.params
    await packing.bench.start()
    for configuration in packing.configurations():
        await packing.configure(*configuration)
        for _ in range(2):
            packing.send(1, params.scales_max * packing.lanes, packing.lanes)
            packing.send(params.scales_max, 1, packing.lanes)
    await packing.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def keeps_up(dut):
    """A beat enters in each cycle: runs of one group of four atoms of codes, and the longest rows
    with a scale for each of their atoms of codes."""
    packing = _Packing(dut)
    params = packing.params
    await packing.bench.start()
    for configuration in packing.configurations():
        await packing.configure(*configuration)
        first = len(packing.beats.taken)
        group = 4 * params.atom_bytes
        for _ in range(40):
            packing.send(1, group, group)
        for _ in range(3):
            packing.send(1, params.scales_max * params.code_lanes, params.code_lanes)
        sent = len(packing.beats.items)
        while packing.beats.items:
            await packing.bench.step()
        taken = packing.beats.taken[first:]
        assert taken == list(range(taken[0], taken[0] + sent)), configuration
    await packing.run()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registered(dut):
    """No output follows an input combinationally."""
    dut.wide.value, dut.narrow.value = 0, 0
    await check_registered(dut, ["i__payload", "i__valid", "o__ready"],
                           ["i__ready", "o__payload", "o__valid"], cycles=2000)
