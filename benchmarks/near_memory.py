"""Commands on whole tensors: atoms that are read per cycle, every result compared with the golden
model's.

``python -m benchmarks.near_memory [--quick] [--json]``: 1 MiB of each (``--quick``: 128 KiB) on
``hbm3_fp8_full``, whose memory always answers, with results to memory; then on
``hbm3_fp8_native_full`` behind its DRAM controller, every DRAM command checked, with results to the
host, so that the pins only carry what is read. There the cast window is read, too: an atom of codes
is two atoms read.

Cycles are those in which the tile was busy, with the check of the command and the results behind
the last atom; of the cast window, those from the host's asking to its last answer.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.golden import quantize_rate
from benchmarks.operands import executed, random_gemv, random_tensor
from benchmarks.rows import Row, report, row
from golden.quantizer import quantize
from host.tensor_job import Tensor, TensorJob, copy_job, quantize_job, reduce_job, transpose_job
from spec.commands import Command, Opcode
from spec.description import Scaling
from spec.load import load_tile
from spec.memory_units import Aperture
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat
from spec.tile import Tile
from tb.memory_traffic import Accesses, Requester, Traffic
from tools.simulation import HostRead
from tools.traffic import run_traffic

__all__ = ["Case", "cases", "main", "measure_axi4", "measure_native"]

TILES = Path(__file__).parent.parent / "tiles"
BYTES = 1 << 20
GROUP = 128
# Least atoms read per cycle where the memory always answers, and behind the controller as a share
# of what it reads by itself.
AXI4_GOAL, NATIVE_GOAL = 0.98, 0.97
# Most cycles of GEMV by transposed weights, over those by the weights as they stand.
TRANSPOSED_GOAL = 1.02
# What the golden model quantizes, in elements per second and core.
GOLDEN_GOAL = 5e7
# Elements of a row, where it may have any number.
K = 8192


@dataclass(frozen=True)
class Case:
    """A command on a tensor of any size.

    ``sustained``: it can take an atom in every cycle; ``blocks``: it gives nothing of a block
    before it has all of it, so that the last one leaves when all has been read.
    """

    what: str
    format: TensorFormat
    k: int
    make: Callable[[Tensor], TensorJob]
    sustained: bool = True
    blocks: bool = False

    def job(self, tile: Tile, size: int) -> TensorJob:
        """The command on ``size`` bytes of elements."""
        rows = size * 8 // self.format.float_format.bits // self.k
        return self.make(random_tensor(tile, self.format, rows, self.k))


def cases(tile: Tile) -> Iterator[Case]:
    """The commands that ``tile`` has."""
    bf16, e4m3, fp32 = TensorFormat.BF16, TensorFormat.E4M3, TensorFormat.FP32
    quantize, transposer = tile.description.quantize, tile.transposer
    assert quantize is not None and transposer is not None and tile.description.reduce is not None
    smallest = min(quantize.groups)
    for name in quantize.rules:
        yield Case(f"QUANTIZE, {name}, groups of {GROUP}", bf16, K, partial(
            quantize_job, tile, target=e4m3, rule=RULE_NAMES[name], group=GROUP))
    if smallest != GROUP:
        name = quantize.rules[-1]
        yield Case(f"QUANTIZE, {name}, groups of {smallest}", bf16, K, partial(
            quantize_job, tile, target=e4m3, rule=RULE_NAMES[name], group=smallest))

    # Rows as long as a block are read without a gap.
    block = transposer.block
    for source in (bf16, e4m3):
        yield Case(f"TRANSPOSE, {source.name}", source, block, partial(transpose_job, tile),
                   blocks=True)
    requantize = partial(transpose_job, tile, target=e4m3, rule=ScaleRule.E8M0_CEIL)
    yield Case("TRANSPOSE, BF16 to E4M3 with scales", bf16, block, requantize, blocks=True)
    # An atom of scales is read for each row of a block, and serves the blocks behind it, too.
    yield Case("TRANSPOSE, E4M3 to E4M3 with new scales", e4m3, block * tile.atom_bytes,
               requantize, sustained=False, blocks=True)
    for source in (bf16, e4m3, fp32):
        for reduction in (Reduction.SUM, Reduction.MOMENTS, Reduction.AMAX):
            yield Case(f"REDUCE, {source.name}, {reduction.name.lower()} of rows", source, K,
                       partial(reduce_job, tile, reduction=reduction, whole=False))
    yield Case("COPY, BF16", bf16, K, partial(copy_job, tile, target=bf16))


def _measured(tile: Tile, case: Case, size: int, to_host: bool) -> tuple[dict[str, float], bool]:
    """Atoms read per cycle, by what of the command is meant, and whether results are right."""
    counters, equal = [], True
    for part in range(1, 3 if case.blocks else 2):
        job = case.job(tile, size * part)
        command, reads = job.command, []
        if to_host:
            command = replace(command, to_host=1, target=0, target_scales=0)
            results = tile.host_port.aperture_base(Aperture.RESULTS)
            reads = [HostRead(0, results, job.result_atoms, during=True)]
        done, same = executed(tile, job.image, [command], reads)
        equal &= same
        counters.append(done.counters)
    rates = {case.what: counters[0].atoms_read / counters[0].cycles}
    if case.blocks:
        first, both = counters
        rates[f"{case.what}, once more as much"] = (
            (both.atoms_read - first.atoms_read) / (both.cycles - first.cycles))
    return rates, equal


def measure_axi4(tile: Tile, size: int) -> list[Row]:
    """Rows of a tile behind AXI4."""
    found, equal = [], True
    for case in cases(tile):
        rates, same = _measured(tile, case, size, to_host=False)
        equal &= same
        for place, (what, rate) in enumerate(rates.items()):
            judged = size >= BYTES and case.sustained and place == len(rates) - 1
            found.append(row(f"{tile.name}: {what}", rate, "atoms/cycle", "simulated",
                             at_least=AXI4_GOAL if judged else None))
    rows, same = _products(tile, 1 << size.bit_length() // 2)
    return [*found, *rows, _results(tile, equal and same)]


def _products(tile: Tile, size: int) -> tuple[list[Row], bool]:
    """Rows of LOAD and GEMV, and whether all results were the golden model's."""
    # One vector, quantized as it is loaded, and few rows that are multiplied by it.
    vector = random_tensor(tile, TensorFormat.BF16, 1, tile.k_max).codes.view(np.uint8).reshape(-1)
    job, _ = random_gemv(tile, tile.rows_per_strip, tile.k_max, seed=7)
    image = np.concatenate([job.image, vector])
    load = Command(opcode=Opcode.LOAD, k=tile.k_max, source_format=TensorFormat.BF16,
                   source=job.image.size)
    loaded, _ = executed(tile, image, [load])
    _, equal = executed(tile, image, [load, job.commands[-1]])

    cycles = []
    for transposed in (0, 1):
        job, _ = random_gemv(tile, size, size, seed=7)
        command = job.commands[-1]
        commands = [*job.commands[:-1], replace(command, transposed=transposed)]
        done, same = executed(tile, job.image, commands)
        equal &= same
        cycles.append(done.counters.cycles)
    what = f"{tile.name}: GEMV by transposed weights, {size} x {size}, LOAD included"
    return [
        row(f"{tile.name}: LOAD, BF16, K = {tile.k_max}",
            loaded.counters.atoms_read / loaded.counters.cycles, "atoms/cycle", "simulated"),
        row(what, cycles[1], "cycles", "simulated"),
        row(f"{what}, over plain GEMV", cycles[1] / cycles[0], "ratio", "simulated",
            at_most=TRANSPOSED_GOAL if size >= 1024 else None),
    ], equal


def measure_native(tile: Tile, size: int) -> list[Row]:
    """Rows of a tile with a controller of its own and a cast window."""
    params, port = tile.memory_controller, tile.host_port
    atoms = size // tile.atom_bytes
    alone = run_traffic(params, Traffic(tile=Requester(reads=Accesses(
        atoms, 0, params.memory_atoms))))
    plain, equal = alone.reads / alone.cycles, not alone.wrong
    found = [row(f"{tile.name}: sequential read, the controller alone", plain, "atoms/cycle",
                 "simulated")]

    def add(what: str, rate: float, over: str, reference: float, judged: bool) -> None:
        found.append(row(f"{tile.name}: {what}", rate, "atoms/cycle", "simulated"))
        found.append(row(f"{tile.name}: {what}, over {over}", rate / reference, "ratio",
                         "simulated",
                         at_least=NATIVE_GOAL if judged and size >= BYTES else None))

    for case in cases(tile):
        rates, same = _measured(tile, case, size, to_host=True)
        equal &= same
        for place, (what, rate) in enumerate(rates.items()):
            add(f"{what}, to the host", rate, "the controller alone", plain,
                case.sustained and place == len(rates) - 1)

    # The window: a whole tensor as one row of groups.
    values = random_tensor(tile, TensorFormat.BF16, 1, size // 2).codes
    window = Command(opcode=Opcode.MAP, k=values.size, target_format=TensorFormat.E4M3,
                     rule=ScaleRule.E8M0_CEIL, group=GROUP.bit_length() - 1)
    done, same = executed(tile, values.view(np.uint8).reshape(-1), [window], [
        HostRead(0, 0, atoms), HostRead(0, port.aperture_base(Aperture.CODES), atoms // 2)])
    equal &= same
    by_host, by_window = (atoms / answer.cycles for answer in done.answers)
    add("memory, read by the host", by_host, "the controller alone", plain, False)
    add("cast window, codes read in order", by_window, "memory read by the host", by_host, True)
    return [*found, _results(tile, equal)]


def _results(tile: Tile, equal: bool) -> Row:
    return row(f"{tile.name}: results that equal the golden model's", float(equal), "share",
               "simulated", at_least=1.0)


def main() -> int:
    """Run the benchmark; 1 when a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="128 KiB each, no goals of speed")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    size = BYTES // 8 if arguments.quick else BYTES
    found = measure_axi4(load_tile(TILES / "hbm3_fp8_full.toml"), size)
    found += measure_native(load_tile(TILES / "hbm3_fp8_native_full.toml"), size)
    rate = quantize_rate(quantize, Scaling(), np.uint16, 2048 if arguments.quick else 4096)
    found.append(row("golden model: quantize BF16 to e4m3, 1 x 128, e8m0-ceil, one core", rate,
                     "elements/s", at_least=GOLDEN_GOAL))
    return report("Commands on whole tensors", found, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
