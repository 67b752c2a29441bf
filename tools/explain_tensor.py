"""What a tile can do with whole tensors, and what it keeps for that."""

from typing import Any

from spec.commands import Opcode
from spec.tensors import Reduction
from spec.tile import Tile

__all__ = ["tensor_buffers", "tensor_explanation"]


def tensor_explanation(tile: Tile) -> dict[str, Any] | None:
    """The commands on whole tensors that were built, each with what it takes and makes.

    None for a tile that has no unit for them.
    """
    params = tile.tensor_checker
    if params is None:
        return None
    formats, groups = ", ".join(params.formats), ", ".join(map(str, params.groups))
    made = f"to {formats}; rules {', '.join(params.rules)}; groups of {groups}"
    block = params.transpose_block
    turned = f"bf16 and 8-bit codes, in blocks of {block} x {block}"
    if params.requantized:
        turned += (f"; {', '.join(params.requantized)} to {formats} with new scales of "
                   f"{block} x 1")
    copied = ", ".join(name for name in params.copy_formats if name not in ("e4m3", "e5m2"))
    quantized = ", ".join(name for name in params.copy_formats if name in params.formats)
    copy = f"{', '.join(params.copy_formats)} as they are"
    if copied:
        copy += f", and to {copied}"
    if quantized:
        copy += f"; to {quantized} with rules and groups as QUANTIZE"
    what = {
        Opcode.QUANTIZE: f"bf16 {made}",
        Opcode.REDUCE: f"{', '.join(params.reduce_formats)}: "
                       + ", ".join(one.name.lower() for one in Reduction if one),
        Opcode.TRANSPOSE: turned,
        Opcode.COPY: copy,
        Opcode.MAP: f"cast window: bf16 in memory read {made}",
    }
    commands = {opcode.name: text for opcode, text in what.items() if opcode in params.opcodes}
    if params.load:
        commands["LOAD"] = (f"bf16 as {params.load_format}, {params.load_rule}, groups of "
                            f"{params.group}")
    if tile.transposed_gemv:
        commands["GEMV"] = "by transposed weights"
    return {"commands": commands, "k_max_with_scales": params.k_max, "k_max": params.ROW_MAX,
            "results_to_host": params.host}


def tensor_buffers(tile: Tile) -> list[tuple[str, int, int, int]]:
    """Memories of those units: name, how many, words, bits of a word."""
    found = []
    if tile.transposer is not None:
        found.append(("transposed blocks", tile.transposer.atom_bytes, tile.transposer.depth, 8))
    if tile.row_packer is not None:
        found.append(("scales that are made", 1, tile.row_packer.scale_atoms, tile.atom_bits))
    if tile.tensor_engine is not None and tile.tensor_engine.reads_scales:
        found.append(("scales that are read", 1, tile.tensor_engine.scale_buffer_atoms,
                      tile.atom_bits))
    if tile.cast_window is not None:
        window = tile.cast_window
        found += [("codes of the cast window", 1, window.SLOTS * window.unit_codes, tile.atom_bits),
                  ("scales of the cast window", 1, window.store_atoms, tile.atom_bits)]
    return found
