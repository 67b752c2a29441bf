"""Bytes over the link to the host and over the memory pins, with and without work near the memory.

``python -m benchmarks.traffic [--quick] [--json]``: activations of DeepSeek-V3, hidden sizes
7168 and 2048, 1 to 256 tokens, and one GEMV, on ``hbm3_fp8_native_full`` with every DRAM command
checked and every byte compared with the golden model's. ``--quick``: 1 and 16 tokens, fewer rows.

Activations stand in memory as BF16 and are wanted in the host as E4M3 with one E8M0 scale for each
1 x 128 of them. Three ways:

- *The host quantizes*: it reads BF16, writes codes and scales back, and reads them when they are
  multiplied: 2 + 1 + 1 bytes an element and 2/128 of scales.
- *The host casts as it reads*: BF16 crosses link and pins once, 2 bytes an element.
- *The cast window*: 2 bytes an element cross the pins, 1 and 1/128 the link.

The DeepSeek-V3 report (arXiv 2412.19437, section 3.5.2) describes the first way and says of a cast
near the HBM, "as they are read from HBM into the GPU", that it reduces "off-chip memory access by
roughly 50%". Both readings of this are measured: what crosses the pins, against the first way
(2 of 4 bytes), and what crosses the link, against the second (1 of 2). Against the first way, a
quarter is left of what crosses the link. Scales count everywhere, in whole atoms; addresses and
commands do not: a window is mapped once for a buffer that holds one tensor after the other.

What the host reads is counted at its port, and what the DRAM reads, at its pins; what the host
writes is as much as it then reads back (``analytic``).

The GEMV is one expert's 2048 x 7168 for one token: near memory, a vector goes in, and results come
out; otherwise the weights with their scales cross the link.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.operands import executed, random_gemv, random_tensor
from benchmarks.rows import Row, report, row
from golden.quantizer import quantize
from spec.commands import Command, Opcode
from spec.formats import E4M3
from spec.load import load_tile
from spec.memory_units import Aperture
from spec.tensors import ScaleRule, TensorFormat
from spec.tile import Tile
from tools.simulation import HostRead, SystemRun
from tools.traffic_account import COMMAND_BYTES

__all__ = ["main", "measure_cast", "measure_gemv", "window_reads"]

TILES = Path(__file__).parent.parent / "tiles"
HIDDEN = (7168, 2048)
TOKENS = (1, 16, 256)
GROUP = 128
# The report's "roughly 50%", with the scales and the part of an atom that a few of them leave.
HALF = 0.51
GEMV_ROWS, GEMV_K = 2048, 7168
# Of the bytes of the weights, what may cross the link when they are multiplied near the memory.
GEMV_GOAL = 0.01


def window_reads(tile: Tile, groups: int, rule: ScaleRule) -> list[HostRead]:
    """Reads of all codes and scales of a window of ``groups`` whole groups.

    Scales are read behind the codes that they belong to, half as many together as the tile keeps:
    all of a larger window at once would be made from memory again.
    """
    port, window = tile.host_port, tile.cast_window
    assert window is not None
    atom, scale_bytes = tile.atom_bytes, 4 if rule == ScaleRule.FP32_DIV else 1
    codes, scales = (port.aperture_base(aperture) for aperture in (Aperture.CODES,
                                                                   Aperture.SCALES))
    together = window.store_atoms // 2 * atom // scale_bytes
    found = []
    for first in range(0, groups, together):
        count = min(together, groups - first)
        found += [HostRead(0, codes + first * GROUP, -(-count * GROUP // atom)),
                  HostRead(0, scales + first * scale_bytes, -(-count * scale_bytes // atom))]
    return found


def _bytes(done: SystemRun, tile: Tile) -> tuple[int, int]:
    """What the host has read, and what the DRAM has."""
    assert done.dram_commands is not None
    return (sum(len(answer.data) for answer in done.answers),
            (done.dram_commands["RD"] + done.dram_commands["RDA"]) * tile.atom_bytes)


def measure_cast(tile: Tile, tokens: int, hidden: int) -> list[Row]:
    """Rows of one tensor of activations."""
    values = random_tensor(tile, TensorFormat.BF16, tokens, hidden).codes
    source = values.view(np.uint8).reshape(-1)
    codes, scales = quantize(values, E4M3, tile.description.scaling)
    quantized = np.concatenate([_atoms(codes, tile), _atoms(scales, tile)])

    # The host's way: BF16 first, and later what it has written behind it meanwhile.
    image, atom = np.concatenate([source, quantized]), tile.atom_bytes
    reads = [HostRead(0, 0, source.size // atom),
             HostRead(0, source.size, quantized.size // atom)]
    host, same = executed(tile, image, [Command(opcode=Opcode.FENCE)], reads)
    host_link, host_pins = (count + quantized.size for count in _bytes(host, tile))
    once = len(host.answers[0].data)

    rule = ScaleRule.E8M0_CEIL
    window, equal = executed(tile, source, [Command(
        opcode=Opcode.MAP, k=values.size, target_format=TensorFormat.E4M3, rule=rule,
        group=GROUP.bit_length() - 1)], window_reads(tile, values.size // GROUP, rule))
    link, pins = _bytes(window, tile)

    what = f"{tokens} x {hidden}"
    mixed = "simulated, writes analytic"
    return [
        row(f"{what}: host quantizes, host link", host_link, "bytes", mixed),
        row(f"{what}: host quantizes, memory pins", host_pins, "bytes", mixed),
        row(f"{what}: host casts as it reads, link and pins", once, "bytes", "simulated"),
        row(f"{what}: cast window, host link", link, "bytes", "simulated"),
        row(f"{what}: cast window, memory pins", pins, "bytes", "simulated"),
        row(f"{what}: memory pins, cast window over host quantizes", pins / host_pins, "ratio",
            mixed, at_most=HALF),
        row(f"{what}: host link, cast window over host casts as it reads", link / once, "ratio",
            "simulated", at_most=HALF),
        row(f"{what}: host link, cast window over host quantizes", link / host_link, "ratio",
            mixed),
        row(f"{what}: bytes that equal the golden model's", float(same and equal), "share",
            "simulated", at_least=1.0),
    ]


def _atoms(array: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """The bytes of an array, in whole atoms."""
    flat = array.reshape(-1)
    return np.pad(flat, (0, -flat.size % tile.atom_bytes))


def measure_gemv(tile: Tile, rows: int, k: int) -> list[Row]:
    """Rows of one GEMV."""
    job, _ = random_gemv(tile, rows, k, seed=7)
    last = len(job.commands) - 1
    results = HostRead(last, job.commands[last].target, tile.result_atoms(rows))
    done, equal = executed(tile, job.image, job.commands, [results])
    out, pins = _bytes(done, tile)
    pins += done.counters.atoms_written * tile.atom_bytes
    operands = (tile.k_atoms(k) + tile.activation_scale_atoms(k)) * tile.atom_bytes
    link = out + operands + (len(job.commands) + 1) * COMMAND_BYTES
    weights = tile.weight_stream_atoms(rows, k) * tile.atom_bytes
    what, mixed = f"GEMV {rows} x {k}, 1 token", "simulated, writes analytic"
    return [
        row(f"{what}: weights shipped, host link and memory pins", weights, "bytes", "analytic"),
        row(f"{what}: near memory, host link", link, "bytes", mixed),
        row(f"{what}: near memory, memory pins", pins + operands, "bytes", mixed),
        row(f"{what}: host link, near memory over weights shipped", link / weights, "ratio", mixed,
            at_most=GEMV_GOAL if rows >= GEMV_ROWS else None),
        row(f"{what}: bytes that equal the golden model's", float(equal), "share", "simulated",
            at_least=1.0),
    ]


def main() -> int:
    """Run the benchmark; 1 when a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few tokens, few rows")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    tile = load_tile(TILES / "hbm3_fp8_native_full.toml")
    tokens = TOKENS[:-1] if arguments.quick else TOKENS
    found = [line for hidden in HIDDEN for count in tokens
             for line in measure_cast(tile, count, hidden)]
    found += measure_gemv(tile, GEMV_ROWS // 8 if arguments.quick else GEMV_ROWS, GEMV_K)
    return report("Traffic with and without work near the memory", found, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
