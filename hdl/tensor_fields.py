"""What the fields of a command on a whole tensor say: its kind, and whether they may stand so."""

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Mux, Signal

from hdl.command_checker import ERROR_BITS
from spec.commands import FIELDS, ErrorCode, Opcode
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat, wide_results

__all__ = ["TensorKind", "among", "any_of", "field_error", "format_codes", "is_wide", "log2"]


def any_of(flags):
    """Whether any of ``flags`` is set."""
    return reduce(or_, flags, Const(0, 1))


def among(value, choices):
    """Whether ``value`` is one of ``choices``."""
    return any_of(value == choice for choice in choices)


def is_wide(reduction):
    """Whether a result of ``reduction`` is two words."""
    return among(reduction, [kind for kind in Reduction if wide_results(kind)])


def format_codes(names):
    """The codes of the formats that ``names`` lists."""
    return [TensorFormat[name.upper()] for name in names]


def log2(value: int) -> int:
    """The logarithm of a power of two."""
    return value.bit_length() - 1


class TensorKind:
    """What follows from opcode, formats and rule alone, one cycle after the command.

    ``opcode`` has a bit for each command that was built; ``reads_scales``, ``makes_scales`` and
    ``copies_scales`` are as in :mod:`spec.tensor_checks`; ``closes`` is a MAP of no elements.
    """

    def __init__(self, m, command, params):
        opcodes = params.opcodes
        self.opcode = {op: Signal(name=f"is_{op.name.lower()}") for op in opcodes}
        self.reads_scales, self.makes_scales, self.copies_scales = Signal(), Signal(), Signal()
        self.closes, self.source_fp8 = Signal(), Signal()

        fp8 = format_codes(("e4m3", "e5m2"))
        source_fp8, target_fp8 = (among(value, fp8) for value in (
            command.source_format, command.target_format))
        same = command.source_format == command.target_format
        requantized = command.rule != ScaleRule.NONE

        def when(opcode, condition):
            return (command.opcode == opcode) & condition if opcode in opcodes else Const(0, 1)

        m.d.sync += [signal.eq(command.opcode == op) for op, signal in self.opcode.items()]
        m.d.sync += [
            self.source_fp8.eq(source_fp8),
            self.closes.eq(when(Opcode.MAP, ~command.k.any())),
            self.reads_scales.eq(source_fp8 & (
                when(Opcode.REDUCE, 1) | when(Opcode.COPY, 1)
                | when(Opcode.TRANSPOSE, requantized))),
            self.makes_scales.eq(
                when(Opcode.QUANTIZE, 1) | when(Opcode.MAP, command.k.any())
                | when(Opcode.TRANSPOSE, requantized)
                | when(Opcode.COPY, target_fp8 & ~same)),
            self.copies_scales.eq(when(Opcode.COPY, target_fp8 & same)),
        ]

    def of(self, *opcodes):
        """Whether the command is one of ``opcodes``."""
        return any_of(self.opcode[op] for op in opcodes if op in self.opcode)


def field_error(m, command, kind, params):
    """Return the code of the first check that fails of those that need no sizes, in the order of
    :class:`spec.commands.ErrorCode`; two cycles after ``kind``."""
    makes = kind.makes_scales
    used = {field.name: kind.of(*field.used_by) for field in FIELDS}
    used["source_scales"] &= kind.reads_scales
    used["group"] &= makes
    used["target_scales"] &= (makes | kind.copies_scales) & ~command.to_host
    used["target"] &= ~command.to_host
    used["to_host"] &= Const(params.host, 1)
    for name in ("source", "target_format", "rule"):
        used[name] &= ~kind.closes
    reserved = any_of(command[name].any() & ~use for name, use in used.items())

    source, target, rule = command.source_format, command.target_format, command.rule
    quantized = (among(target, format_codes(params.formats))
                 & among(rule, [RULE_NAMES[name] for name in params.rules]))
    bf16_copied = Const("bf16" in params.copy_formats, 1)
    copied = format_codes(params.copy_formats)
    fits = {
        Opcode.LOAD: ((source == TensorFormat.BF16) & Const(params.load, 1)
                      & ~command.format_index.any()),
        Opcode.QUANTIZE: (source == TensorFormat.BF16) & quantized,
        Opcode.REDUCE: (among(source, format_codes(params.reduce_formats))
                        & (command.reduction != Reduction.NONE)
                        & (command.reduction <= max(Reduction))),
        Opcode.TRANSPOSE: Mux(
            makes, among(source, format_codes(params.requantized)) & quantized,
            (source == target) & among(source, format_codes(("e4m3", "e5m2", "bf16")))),
        Opcode.COPY: among(source, copied) & among(target, copied) & Mux(
            makes, quantized & (~kind.source_fp8 | bf16_copied), rule == ScaleRule.NONE),
        Opcode.MAP: kind.closes | quantized,
    }
    built = among(command.group, [log2(length) for length in params.groups])
    other_block = kind.of(Opcode.TRANSPOSE) & (
        command.group != log2(max(1, params.transpose_block)))
    scales = kind.of(Opcode.LOAD) | kind.reads_scales | makes
    k_max = Mux(scales, params.k_max, params.ROW_MAX)
    checks = {
        ErrorCode.OPCODE: ~kind.of(*params.opcodes),
        ErrorCode.RESERVED: reserved,
        ErrorCode.FORMAT: any_of(signal & ~fits[op] for op, signal in kind.opcode.items()),
        ErrorCode.GROUP: makes & (~built | other_block),
        ErrorCode.COLUMNS: kind.of(Opcode.LOAD) & (command.columns >= params.columns),
        ErrorCode.K: (~command.k.any() | (command.k > k_max)) & ~kind.of(Opcode.MAP),
        ErrorCode.ROWS: (~command.rows.any() | (command.rows > params.rows_max))
                        & ~kind.of(Opcode.LOAD, Opcode.MAP),
    }
    error = Signal(ERROR_BITS, name="field_error")
    flags = {code: Signal(name=f"error_{code.name.lower()}") for code in checks}
    m.d.sync += [flags[code].eq(check) for code, check in checks.items()]
    first = Const(ErrorCode.NONE, ERROR_BITS)
    for code in sorted(flags, reverse=True):
        first = Mux(flags[code], Const(code, ERROR_BITS), first)
    m.d.sync += error.eq(first)
    return error
