"""``pnmtile run``: one operation on the user's arrays, on the golden model or the simulated RTL."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from spec.load import load_tile
from tools.console import JsonOption, NotHeld, TileArgument, UserError, emit
from tools.engine import Engine
from tools.run_gemv import run_gemv
from tools.run_tensor import run_copy, run_quantize, run_reduce, run_transpose
from tools.tensor_options import ElementFormat, Fp8Format, ReductionKind, TensorOptions
from tools.weight_formats import WeightFormatOption

__all__ = ["Operation", "run"]


class Operation(StrEnum):
    """What ``run`` can do."""

    gemv = "gemv"
    quantize = "quantize"
    reduce = "reduce"
    transpose = "transpose"
    copy = "copy"


# What each operation needs, and what it takes besides.
_RECORDINGS = ("vcd", "trace", "accesses")
_OPTIONS = {
    Operation.gemv: (("weights", "activations", "out"),
                     ("weight-scales", "activation-scales", "transposed", "weight-format")),
    Operation.quantize: (("input", "codes", "scales"), ("format", "rule", "group")),
    Operation.reduce: (("input", "kind", "out"), ("input-scales", "input-format", "whole")),
    Operation.transpose: (("input",), ("input-scales", "input-format", "out", "codes", "scales",
                                       "format", "rule")),
    Operation.copy: (("input", "to"), ("input-scales", "input-format", "out", "codes", "scales",
                                       "rule", "group")),
}
_TENSOR_RUNS = {Operation.quantize: run_quantize, Operation.reduce: run_reduce,
                Operation.transpose: run_transpose, Operation.copy: run_copy}


def _tensor(help_text: str) -> Any:
    return typer.Option(metavar="FILE", show_default=False, help=help_text)


def _choice(help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(metavar=metavar, show_default=False, help=help_text)


def run(
    tile: TileArgument,
    operation: Annotated[Operation, typer.Argument(help="What to do.", show_default=False)],
    weights: Annotated[str | None, _tensor("gemv: W [M, K].")] = None,
    activations: Annotated[str | None, _tensor("gemv: X [columns, K] or [K].")] = None,
    weight_scales: Annotated[str | None, _tensor("gemv: scales; W then holds codes.")] = None,
    activation_scales: Annotated[str | None, _tensor("gemv: scales; X then holds codes.")] = None,
    transposed: Annotated[bool, typer.Option(
        "--transposed", help="gemv: Y = W^T X; X is [columns, M], Y [K, columns].")] = False,
    weight_format: WeightFormatOption = None,
    input: Annotated[str | None, _tensor(
        "X [rows, K] or [K]: float32, BF16 (uint16) or FP8 codes (uint8; not quantize).")] = None,
    input_scales: Annotated[str | None, _tensor(
        "Scales of X where it holds FP8 codes, [rows, groups]; of the tile's kind.")] = None,
    input_format: Annotated[Fp8Format | None, _choice(
        "What codes X holds; the tile's activations if left out.")] = None,
    out: Annotated[Path | None, _tensor(
        "Results without scales. gemv: Y, float32 [M, columns]; reduce: float32 [rows] or two "
        "fields; transpose, copy: X as it is, BF16 as uint16.")] = None,
    codes: Annotated[Path | None, _tensor(
        "FP8 results: codes, uint8; transpose: [K, rows].")] = None,
    scales: Annotated[Path | None, _tensor(
        "FP8 results: their scales [rows, groups]; transpose: [groups, K].")] = None,
    format: Annotated[Fp8Format | None, _choice(
        "quantize, transpose: what codes to make; the tile's activations if left out.")] = None,
    rule: Annotated[str | None, _choice(
        "Rule of scales that are made; the tile's if left out.", "RULE")] = None,
    group: Annotated[int | None, _choice(
        "quantize, copy: elements that share a scale; the tile's if left out.")] = None,
    kind: Annotated[ReductionKind | None, _choice("reduce: what to make of a row.")] = None,
    whole: Annotated[bool, typer.Option(
        "--whole", help="reduce: one result for all rows.")] = False,
    to: Annotated[ElementFormat | None, _choice("copy: the format to convert to.")] = None,
    engine: Annotated[Engine, typer.Option(help="Golden model or simulated RTL.")] = Engine.golden,
    vcd: Annotated[Path | None, _tensor("Waveform of the RTL, for GTKWave or Surfer.")] = None,
    trace: Annotated[Path | None, _tensor(
        "A native tile's RTL: each DRAM command with its cycle, CSV.")] = None,
    accesses: Annotated[Path | None, _tensor(
        "A native tile's RTL: each access, for Ramulator 2's LoadStoreTrace.")] = None,
    json: JsonOption = False,
) -> None:
    """Run one operation on arrays in .npy files or FILE.safetensors:TENSOR.

    gemv: Y = W X^T, or with --transposed W^T X^T without another copy of W. float32 arrays, and
    uint16 arrays of BF16 codes, are quantized by the tile's rules first. With scales, arrays hold
    codes: uint8; scales are uint8 (E8M0) or float32, one per group. Those of NVFP4 are .npy files
    of two fields, block (uint8) and tensor (float32); those of weights with zero points have the
    fields scale and zero (uint8).

    quantize: X to --codes and --scales. reduce: each row of X, or with --whole all of it, to --out.
    transpose: X as it is to --out, or with new scales to --codes and --scales. copy: X converted to
    --out (bf16, fp32) or to --codes and --scales (e4m3, e5m2).

    The answer has the traffic: bytes over the memory pins and over the link to the host.
    """
    resolved = load_tile(tile)
    given = {"weights": weights, "activations": activations, "weight-scales": weight_scales,
             "activation-scales": activation_scales, "input": input, "input-scales": input_scales,
             "input-format": input_format, "out": out, "codes": codes, "scales": scales,
             "format": format, "rule": rule, "group": group, "kind": kind, "whole": whole or None,
             "to": to, "transposed": transposed or None, "weight-format": weight_format}
    recordings = {"vcd": vcd, "trace": trace, "accesses": accesses}
    _check_options(operation, given)
    for name, path in recordings.items():
        if path is None:
            continue
        if name != "vcd" and not resolved.native:
            raise UserError(f"--{name} needs a tile with memory.interface = \"native\": the memory "
                            f"of {resolved.name} is behind AXI4, and it sends no DRAM commands")
        if engine is Engine.golden:
            raise UserError(f"--{name} needs --engine rtl: the golden model has no clock")
    _check_outputs({"--out": out, "--codes": codes, "--scales": scales},
                   {f"--{name}": path for name, path in recordings.items()})
    if operation is Operation.gemv:
        assert weights is not None and activations is not None and out is not None
        result = run_gemv(resolved, weights, activations, weight_scales, activation_scales, out,
                          transposed, weight_format, engine, recordings)
    else:
        assert input is not None
        result = _TENSOR_RUNS[operation](resolved, TensorOptions(
            operation=operation, engine=engine, recordings=recordings, input=input,
            input_scales=input_scales, input_format=input_format, out=out, codes=codes,
            scales=scales, format=format, rule=rule, group=group, kind=kind, whole=whole, to=to))
    if json:
        emit(result)
    if not result["held"]:
        raise NotHeld


def _check_options(operation: Operation, given: dict[str, Any]) -> None:
    """Say what is missing, and what does not belong to the operation."""
    needed, optional = _OPTIONS[operation]
    taken = ", ".join(f"--{name}" for name in (*needed, *optional, *_RECORDINGS))
    for name, value in given.items():
        if value is None and name in needed:
            raise UserError(f"run {operation} needs --{name}; it takes {taken}")
        if value is not None and name not in needed + optional:
            raise UserError(f"--{name} does not belong to {operation}, which takes {taken}")


def _check_outputs(outputs: dict[str, Path | None], simulated: dict[str, Path | None]) -> None:
    """Say what cannot be written before the work, not after it.

    What is ``simulated`` is written while the work goes on, in a directory that must be there.
    """
    import os

    options: dict[Path, str] = {}
    for option, path in {**outputs, **simulated}.items():
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{option} {path} is a directory; name a file")
        place = path.resolve()
        if place in options:
            raise UserError(f"{options[place]} and {option} are both {path}; name two files")
        options[place] = option
        there = next(parent for parent in place.parents if parent.exists())
        if not there.is_dir():
            raise UserError(f"{option} {path}: {there} is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"{option} {path} cannot be written: no permission in {there}")
        if option in simulated and there != place.parent:
            raise UserError(f"{option} {path}: there is no directory {place.parent}")
