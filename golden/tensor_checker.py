"""Tensor checker: whether a command on a whole tensor may start."""

from spec.commands import FIELDS, Command, ErrorCode, Opcode
from spec.tensor_checks import (
    FP8, TensorCheckerParams, copies_scales, makes_scales, reads_scales, tensor_sizes,
)
from spec.tensors import RULE_NAMES, Reduction, TensorFormat

__all__ = ["tensor_checker"]

# Places that a result of ARGMAX can name.
_PLACES = 1 << 32


def tensor_checker(command: Command, window: tuple[int, int],
                   params: TensorCheckerParams) -> ErrorCode:
    """Return the first check that fails, in the order of :class:`spec.commands.ErrorCode`.

    ``window`` is ``[base, limit)`` in bytes; bits below an atom and above bit ``address_bits`` are
    ignored. Every region in memory must lie within the window and within ``memory_atoms``; one
    that is written must not overlap another.
    """
    if command.opcode not in params.opcodes:
        return ErrorCode.OPCODE
    if _reserved(command, params):
        return ErrorCode.RESERVED
    if not _formats_fit(command, params):
        return ErrorCode.FORMAT
    if makes_scales(command) and not (
            1 << command.group in params.groups
            and (command.opcode != Opcode.TRANSPOSE
                 or 1 << command.group == params.transpose_block)):
        return ErrorCode.GROUP
    if command.opcode == Opcode.LOAD and command.columns >= params.columns:
        return ErrorCode.COLUMNS
    least, most = _k_range(command, params)
    if not least <= command.k <= most:
        return ErrorCode.K
    if command.opcode not in (Opcode.LOAD, Opcode.MAP):
        if not 1 <= command.rows <= params.rows_max or _places(command, params) > _PLACES:
            return ErrorCode.ROWS
    return _regions_fit(command, window, params)


def _reserved(command: Command, params: TensorCheckerParams) -> bool:
    """Whether a field is not zero that this command, with these formats, does not use."""
    unused = {field.name for field in FIELDS if command.opcode not in field.used_by}
    if not reads_scales(command):
        unused.add("source_scales")
    if not (makes_scales(command) or copies_scales(command)):
        unused.add("target_scales")
    if not makes_scales(command):
        unused.add("group")
    if command.opcode == Opcode.MAP and command.k == 0:
        unused |= {"source", "target_format", "rule"}
    if command.to_host:
        unused |= {"target", "target_scales"}
    if not params.host:
        unused.add("to_host")
    return any(getattr(command, name) for name in unused)


def _format(value: int) -> str:
    """The name of a format as descriptions write it; no name for an unknown one."""
    known = value in tuple(TensorFormat) and value != TensorFormat.NONE
    return TensorFormat(value).name.lower() if known else ""


def _formats_fit(command: Command, params: TensorCheckerParams) -> bool:
    """Whether formats, rule and reduction were built and go together."""
    opcode = command.opcode
    source, target = _format(command.source_format), _format(command.target_format)
    rules = [RULE_NAMES[name] for name in params.rules]
    quantized = target in params.formats and command.rule in rules
    if opcode == Opcode.LOAD:
        return source == "bf16" and params.load and not command.format_index
    if opcode == Opcode.MAP:
        return command.k == 0 or quantized
    if opcode == Opcode.QUANTIZE:
        return source == "bf16" and quantized
    if opcode == Opcode.REDUCE:
        return (source in params.reduce_formats
                and Reduction.NONE < command.reduction <= max(Reduction))
    if opcode == Opcode.TRANSPOSE:
        if makes_scales(command):
            return source in params.requantized and quantized
        return source == target and source in ("e4m3", "e5m2", "bf16")
    if source not in params.copy_formats or target not in params.copy_formats:
        return False
    if makes_scales(command):
        # From one FP8 format to the other by way of BF16.
        by_way = command.source_format not in FP8 or "bf16" in params.copy_formats
        return quantized and by_way
    return command.rule == 0


def _k_range(command: Command, params: TensorCheckerParams) -> tuple[int, int]:
    if command.opcode == Opcode.MAP:
        return 0, params.WINDOW_MAX
    scales = (command.opcode == Opcode.LOAD or reads_scales(command) or makes_scales(command))
    return 1, params.k_max if scales else params.ROW_MAX


def _places(command: Command, params: TensorCheckerParams) -> int:
    """Elements, those that fill up rows included, among which one ARGMAX looks; or 0."""
    if command.reduction != Reduction.ARGMAX or not command.whole:
        return 0
    lanes = params.memory.atom_bits // TensorFormat(command.source_format).float_format.bits
    return tensor_sizes(command, params).source_atoms * lanes


def _regions_fit(command: Command, window: tuple[int, int],
                 params: TensorCheckerParams) -> ErrorCode:
    """Check alignment, window and overlap of the regions that are in memory."""
    sizes = tensor_sizes(command, params)
    atom_bytes = params.atom_bytes
    regions = [(command.source, sizes.source_atoms, False)]
    if command.opcode == Opcode.MAP and command.k == 0:
        regions = []
    if reads_scales(command):
        regions.append((command.source_scales, sizes.source_scale_atoms, False))
    if command.opcode not in (Opcode.LOAD, Opcode.MAP) and not command.to_host:
        regions.append((command.target, sizes.target_atoms, True))
        if sizes.target_scale_atoms:
            regions.append((command.target_scales, sizes.target_scale_atoms, True))
    if any(address % atom_bytes for address, _, _ in regions):
        return ErrorCode.ALIGNMENT
    mask = 2 * (1 << params.memory.address_bits) - 1
    base, limit = (address & mask & -atom_bytes for address in window)
    limit = min(limit, params.memory_atoms * atom_bytes)
    if any(address < base or address + atoms * atom_bytes > limit
           for address, atoms, _ in regions):
        return ErrorCode.WINDOW
    for place, (address, atoms, written) in enumerate(regions):
        for other, other_atoms, other_written in regions[:place]:
            if ((written or other_written) and address < other + other_atoms * atom_bytes
                    and other < address + atoms * atom_bytes):
                return ErrorCode.OVERLAP
    return ErrorCode.NONE
