"""``pnmtile explain``: what follows from a description."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from spec.commands import COMMAND_WORDS, ERROR_MEANINGS, FIELDS, Opcode
from spec.dot_arrays import BlockDotArrayParams
from spec.formats import FP32
from spec.load import load_tile
from spec.registers import REGISTERS
from spec.tensors import FIELD_VALUES
from spec.tile import ROWS_MAX, Tile
from tools.console import JsonOption, TileArgument, UserError, console, emit
from tools.explain_memory import memory_explanation
from tools.explain_tensor import tensor_buffers, tensor_explanation
from tools.weight_formats import WeightFormatOption, format_index

__all__ = ["Explanation", "explain", "explanation"]

# What explain knows of a tile, ready for JSON.
Explanation = dict[str, Any]


def explain(
    tile: TileArgument,
    rows: Annotated[int, typer.Option(help="Rows (M) of the worked example.")] = 4096,
    k: Annotated[int | None, typer.Option(
        "--k", help="Elements along K of the worked example; 4096 or the tile's most if left out.",
        show_default=False)] = None,
    weight_format: WeightFormatOption = None,
    registers: Annotated[bool, typer.Option(
        "--registers", help="Show the registers, the command fields and the error codes too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show derived lanes, widths, latencies, buffers, memory layouts and peak rates."""
    resolved = load_tile(tile)
    k = min(4096, resolved.k_max) if k is None else k
    if not 1 <= rows <= ROWS_MAX:
        raise UserError(f"--rows must be an integer in [1, {ROWS_MAX}], not {rows}")
    if not 1 <= k <= resolved.k_max:
        raise UserError(f"--k must be an integer in [1, {resolved.k_max}] (compute.k_max), not {k}")
    index = format_index(resolved, weight_format)
    data = explanation(resolved, rows, k, index)
    if json:
        emit(data)
    else:
        _show(resolved.formats[index], data)
        if registers:
            _show_registers()


def explanation(whole: Tile, rows: int, k: int, index: int = 0) -> Explanation:
    """What follows from the description, and the layouts of a GEMV of ``rows`` x ``k``: those of
    ``whole.formats[index]``, where formats are concerned."""
    tile = whole.formats[index]
    dot, mhz = tile.dot_array, tile.clock_mhz
    stream, loads = tile.weight_stream_atoms(rows, k), _load_atoms(tile, k) * tile.columns
    results = tile.result_atoms(rows)
    return {
        "name": tile.name,
        "digest": whole.digest,
        "format_index": index,
        "pairs": [_pair(one) for one in whole.formats],
        "formats": {"weights": tile.weight_format.name, "factors": tile.factor_format.name,
                    "activations": tile.activation_format.name,
                    "scales": tile.scale_format.name, "results": tile.result_format.name,
                    "rule": tile.description.scaling.rule},
        "geometry": {
            "atom_bytes": tile.atom_bytes, "lanes": tile.lanes, "columns": tile.columns,
            "multipliers": tile.lanes * tile.columns, "group": tile.group,
            "group_beats": tile.group_beats, "groups_per_beat": tile.groups_per_beat,
            "rows_per_strip": tile.rows_per_strip,
            "rows_per_block": tile.rows_per_block, "scale_rows": tile.scale_rows,
            "k_max": tile.k_max, "rows_max": ROWS_MAX},
        "widths": {"product_bits": dot.product_bits, "beat_bits": dot.beat_bits,
                   "sum_bits": dot.sum_bits, "lsb_exponent": dot.lsb_exponent,
                   **({"block_bits": dot.block_bits,
                       "product_lsb_exponent": dot.dot_array.lsb_exponent}
                      if isinstance(dot, BlockDotArrayParams) else {})},
        "latencies": {**{name: unit.LATENCY for name, unit in whole.units.items()
                         if hasattr(unit, "LATENCY")},
                      "pipeline": whole.pipeline_cycles},
        "buffers": _buffers(whole),
        "memory": memory_explanation(tile) if tile.native else None,
        "tensors": tensor_explanation(tile),
        "rates": [
            _rate("memory", tile.atom_bytes * mhz / 1e3, "GB/s"),
            _rate("multiply-accumulate", _gmacs(tile), "GMAC/s"),
        ],
        "example": {
            "rows": rows, "k": k,
            "activations": _activation_layout(tile, k),
            "weights": _weight_layout(tile, rows, k),
            "results": _result_layout(tile, rows),
            "atoms": {"loads": loads, "weight_stream": stream, "results": results},
            "rates": [
                _rate("weight stream", stream, "cycles"),
                _rate("weight stream", stream / mhz, "us"),
                _rate("weight codes in the stream",
                      100 * rows * k * tile.weight_format.bits / (stream * tile.atom_bits), "%"),
            ],
        },
    }


def _gmacs(tile: Tile) -> float:
    """Products per nanosecond, at one atom of weights in each cycle."""
    return (tile.lanes * tile.columns * tile.clock_mhz / 1e3
            * tile.atom_bits / tile.weight_beat_bits)


def _pair(tile: Tile) -> dict[str, Any]:
    """What one pair of formats is, and how many products it gives."""
    return {"weights": tile.weight_format.name, "activations": tile.activation_format.name,
            "lanes": tile.lanes, "group": tile.group, "group_beats": tile.group_beats,
            "groups_per_beat": tile.groups_per_beat,
            "rates": [_rate("multiply-accumulate", _gmacs(tile), "GMAC/s")]}


def _rate(quantity: str, value: float, unit: str) -> dict[str, Any]:
    return {"quantity": quantity, "value": value, "unit": unit, "origin": "analytic"}


def _load_atoms(tile: Tile, k: int) -> int:
    return tile.activation_atoms(k) + tile.activation_scale_atoms(k)


def _buffers(tile: Tile) -> list[dict[str, Any]]:
    def buffer(name: str, count: int, depth: int, bits: int) -> dict[str, Any]:
        return {"name": name, "count": count, "words": depth, "word_bits": bits,
                "bytes": count * depth * bits // 8}

    zeros = tile.weight_zero_buffer
    if tile.native:
        slots = tile.memory_controller
        memory = [buffer("read slots of the tile", 1, slots.tile_reads, tile.atom_bits),
                  buffer("read slots of the host", 1, slots.host_reads, tile.atom_bits),
                  buffer("write slots", 1, slots.writes, tile.atom_bits)]
    else:
        memory = [buffer("write queue", 1, tile.axi4.write_queue_atoms, tile.atom_bits)]
    return [
        buffer("activation codes", tile.columns, tile.activation_buffer.depth,
               tile.activation_buffer.beat_bits),
        buffer("activation scales", tile.columns, tile.activation_scale_buffer.depth,
               tile.atom_bits),
        buffer("weight scales", 1, tile.weight_scale_buffer.depth, tile.atom_bits),
        *([buffer("weight zero points", 1, zeros.depth, tile.atom_bits)] if zeros else []),
        buffer("result rows", 1, tile.result_packer.depth, 32 * tile.columns),
        *(buffer(*memory_of) for memory_of in tensor_buffers(tile)),
        *memory,
        buffer("command queue", 1, tile.description.host.queue_depth, 32 * COMMAND_WORDS),
    ]


class _Layout:
    """Parts of a region, one behind the other, each on an atom."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.offset = 0
        self.parts: list[dict[str, Any]] = []

    def part(self, content: str, atoms: float) -> None:
        """One more part; of ``atoms`` and a half, where a beat of weights has that."""
        self.parts.append({"content": content, "offset": self.offset,
                           "atoms": int(atoms) if atoms == int(atoms) else atoms})
        self.offset += int(atoms * self.tile.atom_bytes)


def _activation_layout(tile: Tile, k: int) -> list[dict[str, Any]]:
    codes, scales = _Layout(tile), _Layout(tile)
    codes.part(f"source: X[column, 0:{k}], {tile.activation_format.name}",
               tile.activation_atoms(k))
    scales.part(f"source_scales: {_count(tile.groups(k), 'scale')}, group after group, "
                f"{tile.scale_format.name}",
                tile.activation_scale_atoms(k) - tile.tensor_scale_atoms)
    if tile.tensor_scale_atoms:
        scales.part(f"  scale of the tensor, {FP32.name}", tile.tensor_scale_atoms)
    return codes.parts + scales.parts


def _weight_layout(tile: Tile, rows: int, k: int) -> list[dict[str, Any]]:
    """The stream's beginning in full detail, then block after block; the last one by itself."""
    strip, per_block = tile.rows_per_strip, tile.rows_per_block
    strip_atoms, zero_atoms = tile.weight_atoms(strip, k), tile.weight_zero_atoms(k)
    beat_atoms = tile.weight_beat_bits / tile.atom_bits
    layout = _Layout(tile)
    layout.part(f"block 0: scales of {_count(tile.groups(k), 'group')} x "
                f"{_count(tile.scale_rows, 'scale row')}, {tile.scale_format.name}",
                tile.weight_scale_atoms(k) - tile.tensor_scale_atoms)
    if tile.tensor_scale_atoms:
        layout.part(f"  scale of the tensor, {FP32.name}", tile.tensor_scale_atoms)
    if zero_atoms:
        layout.part(f"  zero points in the order of the scales, {tile.weight_format.name}",
                    zero_atoms)
    head_atoms = layout.offset // tile.atom_bytes
    first = [(low, row) for low in range(0, k, tile.span)[:2] for row in range(strip)]
    start = layout.offset
    for low, row in first[:6]:
        high = min(k, low + tile.span)
        atoms = tile.k_atoms(high - low) * beat_atoms
        layout.part(f"  strip 0: W[{row}, {low}:{high}]" if row < rows else
                    f"  strip 0: zeros for row {row}", atoms)
    done = layout.offset - start
    if strip_atoms * tile.atom_bytes > done:
        turn = "group" if tile.span > tile.lanes else "atom" if beat_atoms == 1 else "beat"
        layout.part(f"  strip 0: and so on, {turn} after {turn}, row after row",
                    strip_atoms - done // tile.atom_bytes)
    strips_left = min(per_block, tile.padded_rows(rows)) // strip - 1
    if strips_left:
        last = "strip 1" if strips_left == 1 else f"strips 1 to {strips_left}"
        layout.part(f"  {last}, {_count(strip, 'row')} each", strips_left * strip_atoms)
    whole = rows // per_block - 1
    if whole > 0:
        each = head_atoms + per_block // strip * strip_atoms
        last = "block 1" if whole == 1 else f"blocks 1 to {whole}"
        layout.part(f"{last}, {_count(per_block, 'row')} each", whole * each)
    if rows > per_block and rows % per_block:
        rest = tile.padded_rows(rows % per_block)
        layout.part(f"block {rows // per_block}: {_count(rows % per_block, 'row')} from row "
                    f"{rows - rows % per_block} on, as {rest}",
                    head_atoms + tile.weight_atoms(rest, k))
    assert layout.offset == tile.weight_stream_atoms(rows, k) * tile.atom_bytes
    return layout.parts


def _result_layout(tile: Tile, rows: int) -> list[dict[str, Any]]:
    layout = _Layout(tile)
    packer = tile.result_packer
    layout.part(f"Y[0:{rows}, 0:{tile.columns}], {tile.result_format.name}, rows "
                f"{packer.pitch * tile.result_format.bits // 8} bytes apart, "
                f"{packer.rows_per_atom} per atom", tile.result_atoms(rows))
    return layout.parts


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _show(tile: Tile, data: Explanation) -> None:
    geometry, widths, formats = data["geometry"], data["widths"], data["formats"]
    out = console()
    out.print(f"\n[bold]{data['name']}[/]  digest {data['digest'][:12]}\n")
    _table("Shape", ("quantity", "value", "why"), [
        ("lanes", geometry["lanes"],
         f"{tile.weight_beat_bits} bits of "
         f"{'an atom' if tile.weight_beat_bits == tile.atom_bits else 'one and a half atoms'} / "
         f"{tile.weight_format.bits} bits of {formats['weights']}"),
        ("columns", geometry["columns"], "activation vectors that share one pass over the weights"),
        ("multipliers", geometry["multipliers"], "lanes x columns"),
        ("groups of a beat", geometry["groups_per_beat"], f"lanes / {geometry['group']} elements")
        if tile.groups_per_beat > 1 else
        ("beats of a group", geometry["group_beats"], f"{geometry['group']} elements / lanes"),
        ("rows of a strip", geometry["rows_per_strip"],
         "not interleaved, as each row is one sum" if tile.block_scaled else
         "interleaved, so that no sum waits for the last one's addition"),
        ("rows of a block", geometry["rows_per_block"], "their weight scales"
         + (" and zero points" if tile.zero_points else
            " and that of the tensor" if tile.block_scaled else "") + " stand in front"),
        ("largest K", geometry["k_max"], "compute.k_max"),
    ])
    if len(data["pairs"]) > 1:
        _table(f"Formats; what follows is of {formats['weights']} weights",
               ("index", "weights", "activations", "products of a beat", "elements of a group",
                "GMAC/s"),
               [(index, pair["weights"], pair["activations"], pair["lanes"] * tile.columns,
                 pair["group"],
                 f"{pair['rates'][0]['value']:,.2f}") for index, pair in enumerate(data["pairs"])])
    _table("Widths", ("quantity", "bits", "what"), _widths(tile, widths))
    _table("Latencies", ("unit", "cycles"), data["latencies"].items())
    _table("Buffers", ("buffer", "count", "words", "bits a word", "bytes"), [
        (entry["name"], entry["count"], entry["words"], entry["word_bits"], entry["bytes"])
        for entry in data["buffers"]])
    _table(f"Peak rates at {tile.clock_mhz:g} MHz", ("quantity", "value", "unit", "origin"),
           map(_rate_row, data["rates"]))
    if data["memory"]:
        _show_memory(data["memory"])

    if data["tensors"]:
        _table("Whole tensors", ("command", "of what"), data["tensors"]["commands"].items())

    example = data["example"]
    for part, note in (("activations", "one column; two regions"),
                       ("weights", "one region, as streamed"), ("results", "one region")):
        _table(f"Memory: {part} of a GEMV with M = {example['rows']}, K = {example['k']} ({note})",
               ("offset", "atoms", "bytes", "content"),
               [(f"0x{entry['offset']:x}", entry["atoms"], int(entry["atoms"] * tile.atom_bytes),
                 entry["content"]) for entry in example[part]])
    _table("That GEMV, when memory always answers", ("quantity", "value", "unit", "origin"),
           map(_rate_row, example["rates"]))


def _widths(tile: Tile, widths: dict[str, int]) -> list[tuple[str, int, str]]:
    """Rows of the table of widths."""
    pair = f"{tile.factor_format.name} x {tile.activation_format.name}"
    if tile.zero_points:
        pair += f", {tile.factor_format.name} being {tile.weight_format.name} less a zero point"
    products = f"{tile.dot_array.lanes} products"
    product, beat, total = widths["product_bits"], widths["beat_bits"], widths["sum_bits"]
    unit = f"in units of 2^{widths['lsb_exponent']}"
    if tile.block_scaled:
        return [("product", product, f"{pair}, in units of 2^{widths['product_lsb_exponent']}"),
                ("scaled sum of a block", widths["block_bits"],
                 f"{tile.group} products times both block scales, {unit}"),
                ("sum of a beat", beat, products),
                ("sum of a row", total, f"up to {tile.span} products, exact; rounded once to "
                                        "FP32")]
    if tile.description.compute.accumulation == "fp32-tree":
        why = (f"{pair}, exact in FP32", f"{products}, rounded at each addition",
               f"{tile.sum_elements} products, rounded at each addition")
    elif tile.interleaved:
        why = (f"{pair}, aligned to the largest exponent and cut",
               f"{products} and the sum before", f"significant bits, of {tile.sum_elements} "
               "products; rounded once to FP32")
    else:
        why = (f"{pair}, {unit}", products,
               f"{tile.group} products, exact; rounded once to FP32")
    names = ("product", "sum of a beat", "sum of a group")
    return list(zip(names, (product, beat, total), why, strict=True))


def _rate_row(rate: dict[str, Any]) -> tuple[str, str, str, str]:
    if rate["value"] is None:
        return rate["quantity"], "-", rate["unit"], "-"
    value = f"{rate['value']:,}" if isinstance(rate["value"], int) else f"{rate['value']:,.2f}"
    return rate["quantity"], value, rate["unit"], rate["origin"]


def _show_memory(memory: dict[str, Any]) -> None:
    part, clock = memory["organisation"], memory["clock"]
    _table(f"Memory: the grade {memory['grade']} ({memory['standard']})",
           ("quantity", "value", "why"), [
        ("bytes of an atom", part["atom_bytes"], "data pins x burst length / 8"),
        ("atoms of a row", part["row_atoms"], f"{part['row_bytes']} bytes that one ACT opens"),
        ("banks", part["banks"], f"{_count(part['stack_ids'], 'stack ID')} x "
         f"{_count(part['bank_groups'], 'bank group')} x {part['banks_per_group']}"),
        ("rows of a bank", part["rows"], ""),
        ("MiB", f"{part['capacity_bytes'] / (1 << 20):g}", "capacity"),
        ("MiB for data", f"{part['usable_bytes'] / (1 << 20):g}",
         "7/8: the rest holds check bits" if memory["ecc_place"] == "inline" else "all"),
        ("clock of the grade", f"{clock['grade_mhz']:.2f} MHz", "counts its timings"),
        ("clock of the tile", f"{clock['tile_mhz']:.2f} MHz",
         f"one atom in nCCDS = {clock['grade_cycles_per_tile_cycle']} cycles of the grade"),
        ("refresh", memory["refresh"], "memory.refresh"),
        ("share of the host", f"{memory['host_share']:g}", "memory.host_share"),
        ("ECC", memory["ecc"] + (f", {memory['ecc_place']}" if memory["ecc_place"] else ""),
         "memory.ecc; inline where the grade's ecc_bits are too few"),
    ])
    _table("Memory: address map", ("address bit", "bits", "field"), [
        (entry["address_bit"], entry["bits"], entry["field"].replace("_", " ").replace("id", "ID"))
        for entry in memory["address_map"]])
    _table("Memory: what it can give", ("quantity", "value", "unit", "origin", "why"),
           [(*_rate_row(rate), rate["why"]) for rate in memory["rates"]])


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: numbers and offsets to the right, text to the left."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    lines = [tuple(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row)
             for row in rows]
    for index, head in enumerate(heads):
        right = all(line[index][:1].isdigit() for line in lines)
        table.add_column(head, justify="right" if right else "left", no_wrap=right)
    for line in lines:
        table.add_row(*map(escape, line))
    console().print(title, style="bold", markup=False)
    console().print(table)
    console().print()


def _show_registers() -> None:
    _table("Registers", ("offset", "name", "access", "meaning"), [
        (f"0x{register.offset:02x}", register.name, register.access, register.meaning
         + "".join(f"\n{field.offset}+{field.bits} {field.name}: {field.meaning}"
                   for field in register.fields))
        for register in REGISTERS.values()])
    _table("Command fields", ("bit", "width", "field", "used by", "meaning"), [
        (str(field.offset), str(field.bits), field.name,
         ", ".join(opcode.name for opcode in field.used_by) or "-", field.meaning)
        for field in FIELDS])
    _table("Opcodes", ("value", "opcode"), [(str(op.value), op.name) for op in Opcode])
    for title, values in FIELD_VALUES.items():
        _table(f"Values of {title}", ("value", "name"),
               [(str(one.value), one.name) for one in values])
    _table("Error codes", ("value", "error", "meaning"), [
        (str(code.value), code.name, meaning) for code, meaning in ERROR_MEANINGS.items()])
