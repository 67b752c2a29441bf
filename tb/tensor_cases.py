"""Commands on whole tensors: good ones of every kind that a tile has, and bad ones.

The codes with which they end are written down here case by case, from what the fields mean.
"""

from collections.abc import Iterator
from dataclasses import replace

from spec.commands import Command, ErrorCode, Opcode
from spec.tensor_checks import TensorCheckerParams, TensorSizes, tensor_sizes
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat

__all__ = ["FP8_CODES", "REGIONS", "Case", "bad_cases", "format_codes", "good_commands",
           "region_atoms"]

# A command, its window in bytes, how it must end, and what the case is about.
Case = tuple[Command, tuple[int, int], ErrorCode, str]

FP8_CODES = (TensorFormat.E4M3, TensorFormat.E5M2)
REGIONS = ("source", "source_scales", "target", "target_scales")

# Fields that a command of these opcodes never uses.
_UNUSED = {
    Opcode.LOAD: ("rows", "target_format", "rule", "group", "reduction", "whole", "to_host",
                  "transposed", "reserved", "source_scales", "target", "target_scales"),
    Opcode.QUANTIZE: ("columns", "reduction", "whole", "transposed", "reserved", "source_scales"),
    Opcode.REDUCE: ("columns", "target_format", "rule", "group", "transposed", "reserved",
                    "target_scales"),
    Opcode.TRANSPOSE: ("columns", "reduction", "whole", "transposed", "reserved"),
    Opcode.COPY: ("columns", "reduction", "whole", "transposed", "reserved"),
    Opcode.MAP: ("columns", "rows", "source_format", "reduction", "whole", "to_host",
                 "transposed", "reserved", "source_scales", "target", "target_scales"),
}


def format_codes(names: tuple[str, ...]) -> list[TensorFormat]:
    """The formats that a record names."""
    return [TensorFormat[name.upper()] for name in names]


def region_atoms(command: Command, sizes: TensorSizes) -> dict[str, int]:
    """The regions that a command has in memory: their atoms, by the field of their address."""
    atoms = dict(zip(REGIONS, (sizes.source_atoms, sizes.source_scale_atoms, sizes.target_atoms,
                               sizes.target_scale_atoms), strict=True))
    if command.opcode in (Opcode.LOAD, Opcode.MAP) or command.to_host:
        atoms |= {"target": 0, "target_scales": 0}
    return {name: count for name, count in atoms.items() if count}


def good_commands(params: TensorCheckerParams) -> dict[str, Command]:
    """A small command of every kind that the tile has, its regions far apart, by name."""
    found = {}
    k, rows = min(params.k_max, params.group + 3), 5

    def add(name: str, opcode: Opcode, **fields: int) -> None:
        command = Command(opcode, tag=7, k=k, **{"rows": rows, **fields})
        for place, region in enumerate(region_atoms(command, tensor_sizes(command, params))):
            address = (place + 1) * (params.memory_atoms // 8) * params.atom_bytes
            command = replace(command, **{region: address})
        found[name] = command

    rule = RULE_NAMES[params.rules[0]] if params.rules else ScaleRule.NONE
    makes = {"rule": int(rule), "group": params.groups[0].bit_length() - 1} if rule else {}
    if params.load:
        add("load", Opcode.LOAD, rows=0, source_format=TensorFormat.BF16)
    for target in format_codes(params.formats):
        add(f"quantize to {target.name}", Opcode.QUANTIZE, source_format=TensorFormat.BF16,
            target_format=target, **makes)
        if params.window:
            add(f"map as {target.name}", Opcode.MAP, rows=0, target_format=target, **makes)
    for source in format_codes(params.reduce_formats):
        for reduction, whole in ((Reduction.SUM, 0), (Reduction.ARGMAX, 1)):
            add(f"{reduction.name} of {source.name}", Opcode.REDUCE, source_format=source,
                reduction=reduction, whole=whole)
    if params.transpose_block:
        for source in (TensorFormat.BF16, *FP8_CODES):
            add(f"transpose {source.name}", Opcode.TRANSPOSE, source_format=source,
                target_format=source)
    if params.transpose_block in params.groups:
        group = params.transpose_block.bit_length() - 1
        for source in format_codes(params.requantized):
            for target in format_codes(params.formats):
                add(f"transpose {source.name} to {target.name}", Opcode.TRANSPOSE,
                    source_format=source, target_format=target, rule=rule, group=group)
    for source in format_codes(params.copy_formats):
        for target in format_codes(params.copy_formats):
            if target == source or target not in FP8_CODES:
                add(f"copy {source.name} to {target.name}", Opcode.COPY, source_format=source,
                    target_format=target)
            elif target.name.lower() in params.formats:
                add(f"copy {source.name} to {target.name}", Opcode.COPY, source_format=source,
                    target_format=target, **makes)
    return found


def bad_cases(params: TensorCheckerParams) -> Iterator[Case]:
    """Every good command, and each with one thing made wrong."""
    everything = (0, params.memory_atoms * params.atom_bytes)
    for name, command in good_commands(params).items():
        yield command, everything, ErrorCode.NONE, name
        for changes, code in _wrong_fields(command, params):
            yield replace(command, **changes), everything, code, f"{name}, {changes}"
        for changes, window, code in _wrong_places(command, params, everything):
            yield replace(command, **changes), window, code, f"{name}, {changes}, {window}"
    for opcode in (0, Opcode.GEMV, Opcode.FENCE, 9, 255, *Opcode):
        if opcode not in (Opcode.LOAD, *params.opcodes):
            yield (Command(opcode, reserved=1, source_format=3), everything, ErrorCode.OPCODE,
                   f"opcode {int(opcode)}")
    yield Command(Opcode.LOAD), everything, ErrorCode.FORMAT, "LOAD of codes"
    if not params.load:
        yield (Command(Opcode.LOAD, k=1, source_format=3), everything, ErrorCode.FORMAT,
               "LOAD that the quantizer cannot do")
    if params.window:
        close = Command(Opcode.MAP)
        yield close, (0, 0), ErrorCode.NONE, "closing the window"
        for field in ("source", "target_format", "rule", "group", "rows"):
            yield (replace(close, **{field: 1}), everything, ErrorCode.RESERVED,
                   f"closing the window with {field}")


def _wrong_fields(command: Command,
                  params: TensorCheckerParams) -> Iterator[tuple[dict[str, int], ErrorCode]]:
    """Changes of one command that no longer is legal, whatever memory has."""
    opcode = Opcode(command.opcode)
    for field in _UNUSED[opcode]:
        yield {field: 1}, ErrorCode.RESERVED
    if not command.group and "group" not in _UNUSED[opcode]:
        yield {"group": 1}, ErrorCode.RESERVED
        yield {"rule": 8}, ErrorCode.FORMAT
        if opcode == Opcode.COPY:
            yield {"rule": ScaleRule.E8M0_CEIL}, ErrorCode.FORMAT
    if not command.source_scales and opcode in (Opcode.REDUCE, Opcode.COPY, Opcode.TRANSPOSE):
        yield {"source_scales": params.atom_bytes}, ErrorCode.RESERVED
    if not command.target_scales and opcode in (Opcode.COPY, Opcode.TRANSPOSE):
        yield {"target_scales": params.atom_bytes}, ErrorCode.RESERVED
    if command.target:
        to_host = {"to_host": 1, "target": 0, "target_scales": 0}
        yield to_host, ErrorCode.NONE if params.host else ErrorCode.RESERVED
        yield {"to_host": 1, "target_scales": 0}, ErrorCode.RESERVED
        if command.target_scales:
            yield {"to_host": 1, "target": 0}, ErrorCode.RESERVED
    if "source_format" not in _UNUSED[opcode]:
        for source in (0, 5, 15):
            yield {"source_format": source, "source_scales": 0}, ErrorCode.FORMAT
    if opcode in (Opcode.LOAD, Opcode.QUANTIZE):
        for source in (TensorFormat.E4M3, TensorFormat.E5M2, TensorFormat.FP32):
            yield {"source_format": source}, ErrorCode.FORMAT
    if command.group:
        for target in (TensorFormat.E4M3, TensorFormat.E5M2, TensorFormat.NONE, 8):
            if target not in (*format_codes(params.formats), command.source_format):
                plain = opcode == Opcode.COPY and target not in FP8_CODES
                no_scales = {"group": 0, "target_scales": 0} if plain else {}
                yield {"target_format": target, **no_scales}, ErrorCode.FORMAT
        for rule in (*ScaleRule, 4, 15):
            if rule not in [RULE_NAMES[name] for name in params.rules] and (
                    rule or opcode != Opcode.TRANSPOSE):
                yield {"rule": rule}, ErrorCode.FORMAT
        for group in range(16):
            if 1 << group not in params.groups or (
                    opcode == Opcode.TRANSPOSE and 1 << group != params.transpose_block):
                yield {"group": group, "columns": 0}, ErrorCode.GROUP
    if opcode == Opcode.REDUCE:
        for reduction in (0, 8, 15):
            yield {"reduction": reduction, "k": 0}, ErrorCode.FORMAT
    if opcode == Opcode.LOAD:
        yield {"columns": params.columns, "k": 0}, ErrorCode.COLUMNS
        yield {"columns": 255}, ErrorCode.COLUMNS
    if opcode != Opcode.MAP:
        scales = command.group or command.source_scales or opcode == Opcode.LOAD
        most = params.k_max if scales else (1 << 24) - 1
        for k in (0, most + 1, (1 << 32) - 1):
            yield {"k": k, "source": 1}, ErrorCode.K
        if opcode != Opcode.LOAD:
            for rows in (0, params.rows_max + 1, (1 << 32) - 1):
                yield {"rows": rows, "source": 1}, ErrorCode.ROWS
        # One row as long as can be, which may be too long for this memory.
        yield {"k": most, "source": command.source + 1}, ErrorCode.ALIGNMENT
    if command.reduction == Reduction.ARGMAX and command.whole:
        lanes = params.memory.atom_bits // TensorFormat(command.source_format).float_format.bits
        # 2^32 elements to the last, where so many rows can be.
        k = 1 << (params.k_max.bit_length() - 1 if command.source_scales else 23)
        rows = min(params.rows_max, (1 << 32) // max(k, lanes))
        yield {"k": k, "rows": rows, "source": 1}, ErrorCode.ALIGNMENT
        yield {"k": k, "rows": rows + 1, "source": 1}, ErrorCode.ROWS


def _wrong_places(command: Command, params: TensorCheckerParams, everything: tuple[int, int],
                  ) -> Iterator[tuple[dict[str, int], tuple[int, int], ErrorCode]]:
    """Changes of addresses and window."""
    atom = params.atom_bytes
    regions = region_atoms(command, tensor_sizes(command, params))
    first = min(getattr(command, name) for name in regions)
    end = max(getattr(command, name) + count * atom for name, count in regions.items())
    yield {}, (first, end), ErrorCode.NONE
    yield {}, (first + atom, end), ErrorCode.WINDOW
    yield {}, (first, end - 1), ErrorCode.WINDOW
    yield {}, (first + atom - 1, end + atom - 1), ErrorCode.NONE
    yield {}, (0, 0), ErrorCode.WINDOW
    wide = (0, (2 << params.memory.address_bits) - 1)
    for name, count in regions.items():
        address = getattr(command, name)
        yield {name: address + 1}, everything, ErrorCode.ALIGNMENT
        yield {name: address + atom // 2}, (0, 0), ErrorCode.ALIGNMENT
        yield {name: address | 1 << params.memory.address_bits}, everything, ErrorCode.WINDOW
        yield {name: address | 1 << 63}, everything, ErrorCode.WINDOW
        last = (params.memory_atoms - count) * atom
        yield {name: last}, wide, ErrorCode.NONE
        yield {name: last + atom}, wide, ErrorCode.WINDOW
        yield {name: address}, (0, address + (count - 1) * atom), ErrorCode.WINDOW
        for other, other_count in regions.items():
            if other == name or not {name, other} & {"target", "target_scales"}:
                continue
            place = getattr(command, other)
            for distance, code in ((-count, ErrorCode.NONE), (1 - count, ErrorCode.OVERLAP),
                                   (0, ErrorCode.OVERLAP),
                                   (other_count - 1, ErrorCode.OVERLAP),
                                   (other_count, ErrorCode.NONE)):
                yield {name: place + distance * atom}, everything, code
    if {"source", "source_scales"} <= regions.keys():
        # What is only read may overlap.
        yield {"source_scales": command.source}, everything, ErrorCode.NONE
