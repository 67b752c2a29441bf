"""Drawings of docs/memory.md and docs/tensors.md: ``python -m benchmarks.figures`` writes them.

The timing diagrams are of the commands that the controller of ``hbm3_6400`` sends in a simulation
of a sequential read; the address map is the grade's. The same sources give the same bytes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.drawing import FILLS, MUTED, STROKES, Drawing
from benchmarks.waveform import Sent, Window, waveform
from spec.dram_rules import COLUMN_COMMANDS, DramCommand
from spec.grade import Grade, load_grade
from spec.memory_units import MemoryControllerParams
from tb.dram_checker import read_trace
from tb.memory_traffic import Accesses, Requester, Traffic
from tools.traffic import run_traffic

__all__ = ["ATOMS", "GRADE", "IMAGES", "address_map", "figures", "main", "memory_parts",
           "refresh_window", "row_change_window", "sequential_read", "tensor_parts"]

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
GRADE = "hbm3_6400"
# A refresh of each bank is in so many reads.
ATOMS = 4096


def sequential_read(grade: Grade, atoms: int) -> list[Sent]:
    """Commands of a simulated read of the first ``atoms`` atoms, with per-bank refresh."""
    params = MemoryControllerParams(grade=grade, refresh="per-bank")
    reads = Accesses(atoms, 0, 1 << params.index_bits)
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name) / "trace.csv"
        run_traffic(params, Traffic(tile=Requester(reads=reads)), trace=trace)
        return [Sent(ck, DramCommand(command), stack_id, bank_group, bank, row,
                     column if command in COLUMN_COMMANDS else -1)
                for ck, command, stack_id, bank_group, bank, row, column
                in read_trace(trace).tolist()]


def row_change_window(trace: list[Sent]) -> Window:
    """Around the first RDA of row 1, with the bank that is read after it."""
    last = next(one for one in trace if one.command is DramCommand.RDA and one.row == 1)
    return Window(last.ck - 36, 80, ((last.stack_id, last.bank), (last.stack_id, last.bank + 1)))


def refresh_window(trace: list[Sent]) -> Window:
    """Around the first refresh of bank 0 of stack ID 0, with the two banks that are read then."""
    first = next(one for one in trace if one.command is DramCommand.REFpb
                 and (one.stack_id, one.bank) == (0, 0))
    return Window(first.ck - 84, 500, ((0, 0), (0, 1), (0, 2)))


def address_map(grade: Grade) -> str:
    """The bits of a byte address, and how far apart its fields count."""
    byte_bits = (grade.atom_bytes - 1).bit_length()
    fields = [("byte", 0, byte_bits), *((field.name.replace("_", " "), byte_bits + field.low,
                                         field.bits) for field in grade.address_fields)]
    fields = [field for field in fields if field[2]]
    bits = sum(count for _, _, count in fields)
    colours = {"byte": "grey", "bank group": "green", "column": "blue", "bank": "violet",
               "stack id": "amber", "row": "red"}
    drawing = Drawing(
        1000, 214, f"The address map of {grade.name}",
        "Bits of a byte address, from the top: " + "; ".join(
            f"{name} {low + count - 1} to {low}" for name, low, count in reversed(fields)))
    drawing.text(20, 30, "Byte address", size=14, bold=True)
    drawing.text(980, 30, f"{grade.name}: {grade.capacity_bytes >> 20} MiB, "
                 f"atoms of {grade.atom_bytes} bytes", size=11, fill=MUTED, anchor="end")
    cell = 960 / bits
    for name, low, count in fields:
        left = 20 + (bits - low - count) * cell
        label = name.replace("stack id", "SID").replace("bank group", "group")
        drawing.rect(left, 66, count * cell, 44, fill=FILLS[colours[name]],
                     stroke=STROKES[colours[name]])
        drawing.text(left + count * cell / 2, 93, label, size=12 if count > 1 else 11,
                     anchor="middle", bold=True)
        drawing.text(left + count * cell / 2, 132, _size(1 << low), size=11, anchor="middle")
        for bit in range(count):
            x = left + bit * cell
            if bit:
                drawing.path(f"M{x:.1f},104 V110", stroke=STROKES[colours[name]], weight=1)
            drawing.text(x + cell / 2, 60, str(low + count - 1 - bit), size=9.5, fill=MUTED,
                         anchor="middle")
    drawing.text(20, 152, "Below each field: the bytes after which it counts on.", size=10.5,
                 fill=MUTED)
    turn = grade.organisation.bank_groups * grade.row_atoms
    drawing.text(20, 180, f"A stream takes its atoms from the {grade.organisation.bank_groups} "
                 f"bank groups in turn, {turn} atoms from one bank of each, "
                 "then goes on to the next bank, ", size=11.5)
    drawing.text(20, 198, "the next stack ID, and the next row: a bank rests for "
                 f"{(grade.banks * grade.row_atoms - turn):,} atoms between two of its rows.",
                 size=11.5)
    return drawing.svg()


def _size(count: int) -> str:
    return f"{count >> 10} KiB" if count >= 1024 else f"{count} B"


def memory_parts() -> str:
    """The units of the native memory side and what goes between them."""
    drawing = Drawing(
        1000, 446, "The native memory side",
        "The tile's reads come through the region reader, its writes through the region writer, "
        "the host's accesses through the host port. In the memory controller, reads take a slot "
        "in a reorder buffer, writes wait in the write buffer; both queue per bank. Column "
        "arbiter, bank state and refresh scheduler choose the commands of each cycle, which leave "
        "through the command port to the PHY and the DRAM. Atoms come back through the SECDED "
        "decoder into the reorder buffers.")
    drawing.rect(284, 20, 566, 410, fill="#fbfcfd", stroke="#9aa5b1", radius=12)
    drawing.text(300, 42, "memory controller", size=14, bold=True)
    drawing.rect(452, 56, 382, 270, stroke=STROKES["green"], radius=10, dashed=True)
    drawing.text(468, 316, "command scheduler", size=13, bold=True)
    drawing.box(14, 64, 92, 158, "tile", "sequencer,", "result", "packer", colour="grey")
    drawing.box(14, 250, 92, 62, "host", "AXI4", colour="grey")
    drawing.box(140, 64, 116, 62, "region reader", "regions to atoms", colour="violet")
    drawing.box(140, 160, 116, 62, "region writer", "regions to atoms", colour="violet")
    drawing.box(140, 250, 116, 62, "host port", "bursts to atoms", colour="violet")
    drawing.box(300, 64, 130, 62, "reorder buffer", "the tile's reads", colour="amber")
    drawing.box(300, 160, 130, 62, "write buffer", "data, strobes,", "check bits", colour="amber")
    drawing.box(300, 250, 130, 62, "reorder buffer", "the host's reads", colour="amber")
    drawing.box(466, 80, 130, 62, "read queues", "one per bank")
    drawing.box(466, 176, 130, 62, "write queues", "one per bank")
    drawing.box(640, 72, 180, 62, "column arbiter", "which bank's RD or WR", "comes now",
                colour="green")
    drawing.box(640, 160, 180, 62, "bank state", "timers of each bank;", "ACT, PRE", colour="green")
    drawing.box(640, 248, 180, 62, "refresh scheduler", "REFpb or REFab:", "owed, late, urgent",
                colour="green")
    drawing.box(450, 354, 166, 58, "SECDED decoder", "check bits beside data", colour="amber")
    drawing.box(898, 64, 90, 348, "PHY", "and DRAM", "dram_row_*", "dram_column_*", "dram_write_*",
                "dram_read_*", colour="grey")
    for way, arrows in (
            ("M106,95 H138", "start end"), ("M106,191 H138", "start end"),
            ("M106,281 H138", "start end"), ("M256,95 H298", "start end"),
            ("M256,191 H298", "start end"), ("M256,288 H298", "start end"),
            ("M256,264 H272 V208 H298", "start end"),
            ("M430,103 H464", "end"), ("M430,199 H464", "end"),
            ("M430,268 H446 V128 H464", "end"),
            ("M596,103 H638", "end"), ("M596,199 H618 V118 H638", "end"),
            ("M618,191 H638", "end"),
            ("M820,103 H898", "end"), ("M820,191 H898", "end"), ("M820,279 H898", "end"),
            ("M900,383 H618", "end"), ("M450,383 H320 V314", "end"),
            ("M320,383 H292 V113 H298", "end"),
            ("M430,214 H438 V338 H898", "end")):
        drawing.path(way, arrows=arrows)
    for x, y, text in ((874, 99, "RD, WR"), (874, 187, "ACT, PRE"), (874, 275, "REF")):
        drawing.text(x, y - 2, text, size=9, fill=MUTED, anchor="middle")
    drawing.text(730, 352, "write data, with its WR", size=10, fill=MUTED, anchor="middle")
    drawing.text(730, 399, "atoms, read_latency cycles after their RD", size=10, fill=MUTED,
                 anchor="middle")
    return drawing.svg()


def tensor_parts() -> str:
    """The units that work on whole tensors, and the ways through them."""
    drawing = Drawing(
        1000, 400, "The units of whole tensors",
        "Atoms come from memory with their number of elements and the scale of their group. They "
        "go straight to the results, or through the converter, the transposer, and quantizer and "
        "row packer, each of which may be left out, or through the reducer and the reduction "
        "packer. Results go to memory, to the host port, or to the buffers of LOAD and GEMV.")
    drawing.rect(266, 20, 610, 364, fill="#fbfcfd", stroke="#9aa5b1", radius=12)
    drawing.text(282, 42, "tensor path", size=14, bold=True)
    drawing.box(14, 118, 96, 218, "memory", "atoms in the", "order of the", "requests",
                colour="grey")
    drawing.box(142, 118, 110, 76, "tensor beats", "elements,", "scale of the group",
                colour="violet")
    drawing.box(142, 260, 110, 76, "tensor reads", "rows or blocks", "as regions", colour="violet")
    drawing.box(318, 124, 110, 64, "converter", "to BF16 or FP32", colour="amber")
    drawing.box(478, 124, 110, 64, "transposer", "rows in,", "columns out", colour="green")
    drawing.box(638, 124, 104, 64, "quantizer", "codes, scales")
    drawing.box(766, 124, 96, 64, "row packer", "whole atoms")
    drawing.box(478, 296, 110, 64, "reducer", "trees and chains", colour="amber")
    drawing.box(630, 296, 136, 64, "reduction packer", "whole atoms")
    drawing.box(896, 64, 92, 296, "results", "memory,", "host port,", "or the buffers", "of LOAD",
                "and GEMV", colour="grey")
    for way, arrows in (
            ("M110,156 H140", "end"), ("M142,298 H112", "end"), ("M197,260 V196", "end"),
            # From the atoms: straight, to the converter, past it, to the reducer.
            ("M252,156 H316", "end"), ("M290,156 V78 H894", "end"),
            ("M290,156 V328 H476", "end"), ("M290,226 H610 V168 H636", "end"),
            # From the converter, and into the transposer.
            ("M428,156 H444 V80", "end"), ("M444,156 V224", "end"), ("M460,226 V156 H476", "end"),
            ("M588,144 H636", "end"), ("M604,144 V80", "end"),
            ("M742,156 H764", "end"), ("M862,156 H894", "end"),
            ("M588,328 H628", "end"), ("M766,328 H894", "end")):
        drawing.path(way, arrows=arrows)
    for x, y, text in (
            (300, 70, "COPY in one format"), (450, 108, "COPY"), (610, 108, "TRANSPOSE, GEMV"),
            (300, 244, "BF16, FP32 or codes, as read or converted"), (300, 346, "REDUCE"),
            (690, 212, "QUANTIZE, LOAD; FP8 of COPY")):
        drawing.text(x, y, text, size=10, fill=MUTED)
    drawing.text(690, 226, "and of TRANSPOSE", size=10, fill=MUTED)
    return drawing.svg()


def figures(trace: list[Sent]) -> dict[str, str]:
    """The files and their text; ``trace`` is of a sequential read."""
    grade = load_grade(GRADE)
    return {
        "memory.svg": memory_parts(),
        "tensors.svg": tensor_parts(),
        "address_map.svg": address_map(grade),
        "row_change.svg": waveform(
            grade, trace, row_change_window(trace), "A sequential read across a row change",
            "The row commands of the next row come while the last reads of the row before are "
            "still under way: the banks of all four bank groups are open when their first read "
            "comes, and the bursts on the data pins follow each other without a gap."),
        "refresh.svg": waveform(
            grade, trace, refresh_window(trace), "Per-bank refresh behind a sequential read",
            "The four banks that the stream has just left are refreshed one after the other while "
            "the next four are read; the bursts on the data pins go on without a gap."),
    }


def main() -> int:
    """Write the drawings."""
    argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__).parse_args()
    for name, text in figures(sequential_read(load_grade(GRADE), ATOMS)).items():
        (IMAGES / name).write_text(text, encoding="utf-8")
        print(IMAGES / name, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
