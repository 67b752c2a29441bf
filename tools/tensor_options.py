"""What the user of ``pnmtile run`` asked for, of the operations on whole tensors."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import UserError
from tools.engine import Engine, Recordings

if TYPE_CHECKING:
    from host.tensor_job import Tensor
    from spec.tensors import ScaleRule, TensorFormat
    from spec.tile import Tile

__all__ = ["FLOATS", "ElementFormat", "Fp8Format", "Goal", "ReductionKind", "TensorOptions",
           "check_results", "goal_of", "input_tensor"]

# Elements that are no codes of FP8, for messages.
FLOATS = {"float32": "values", "uint16": "BF16 codes"}


class Fp8Format(StrEnum):
    """Formats of codes that have scales."""

    e4m3 = "e4m3"
    e5m2 = "e5m2"


class ElementFormat(StrEnum):
    """Formats that copy makes."""

    bf16 = "bf16"
    fp32 = "fp32"
    e4m3 = "e4m3"
    e5m2 = "e5m2"


class ReductionKind(StrEnum):
    """What reduce makes of a row."""

    sum = "sum"
    sum_squares = "sum-squares"
    max = "max"
    min = "min"
    amax = "amax"
    argmax = "argmax"
    moments = "moments"


@dataclass(frozen=True)
class TensorOptions:
    """What the user asked for; None where nothing was said."""

    operation: str
    engine: Engine
    recordings: Recordings
    input: str
    input_scales: str | None = None
    input_format: str | None = None
    out: Path | None = None
    codes: Path | None = None
    scales: Path | None = None
    format: str | None = None
    rule: str | None = None
    group: int | None = None
    kind: str | None = None
    whole: bool = False
    to: str | None = None


@dataclass(frozen=True)
class Goal:
    """Codes and scales that are to be made."""

    format: "TensorFormat"
    rule: "ScaleRule"
    group: int

    @property
    def rule_name(self) -> str:
        """The rule as descriptions write it."""
        from spec.tensors import RULE_NAMES

        return {value: name for name, value in RULE_NAMES.items()}[self.rule]

    @property
    def facts(self) -> dict[str, Any]:
        """For the answer."""
        return {"format": self.format.name.lower(), "rule": self.rule_name, "group": self.group}


def goal_of(tile: "Tile", options: TensorOptions) -> Goal:
    """What the user asked for, and for the rest what the tile has."""
    from spec.tensors import RULE_NAMES, TensorFormat

    scaling = tile.description.scaling
    if options.rule is not None and options.rule not in RULE_NAMES:
        raise UserError(f"--rule {options.rule} is unknown; allowed: {', '.join(RULE_NAMES)}")
    rule, name = options.rule or scaling.rule, options.format or tile.activation_format.name
    unknown = [f"{key} = {value!r}" for key, value, known in (
        ("compute.activations", tile.activation_format.name, tuple(Fp8Format)),
        ("scaling.rule", rule, tuple(RULE_NAMES))) if value not in known]
    if unknown:
        raise UserError(
            f"{options.operation} makes codes of {' or '.join(Fp8Format)} by the rules "
            f"{', '.join(RULE_NAMES)}, but {tile.name} has {' and '.join(unknown)}; name another "
            "tile, or give gemv the values, which it quantizes by this tile's rules "
            "(golden.quantizer.quantize does, too)")
    return Goal(TensorFormat[name.upper()], RULE_NAMES[rule],
                 scaling.group if options.group is None else options.group)


def check_results(options: TensorOptions, quantized: bool) -> None:
    """Ask for --codes and --scales where FP8 with scales is made, and otherwise for --out."""
    needed, others = {"--codes": options.codes, "--scales": options.scales}, {"--out": options.out}
    if not quantized:
        needed, others = others, needed
    missing = [option for option, path in needed.items() if path is None]
    extra = [option for option, path in others.items() if path is not None]
    if missing or extra:
        why = "makes codes with scales" if quantized else "makes one tensor"
        raise UserError(f"this {why}: name {' and '.join(needed)}"
                        + (f", and leave out {' and '.join(extra)}" if extra else ""))


def input_tensor(tile: "Tile", options: TensorOptions,
                 scaled: bool) -> "tuple[Tensor, list[int]]":
    """The input as a matrix, and its own shape; codes have scales if ``scaled``."""
    import numpy as np

    from host.tensor_job import Tensor
    from spec.tensors import TensorFormat
    from tools.tensors import expect, read_tensor

    codes = options.input_format or tile.activation_format.name
    array = read_tensor(options.input, "--input", codes)
    shape = list(array.shape)
    array = expect(np.atleast_2d(array), "--input", {**FLOATS, "uint8": f"{codes} codes"},
                   (None, None), "[rows, K] or [K]")
    if array.dtype == np.uint8 and codes not in tuple(Fp8Format):
        raise UserError(f"--input holds codes (uint8); {options.operation} takes those of "
                        f"{' or '.join(Fp8Format)}, but {tile.name} has compute.activations = "
                        f"{codes!r}; name another tile")
    names = {"float32": "fp32", "uint16": "bf16", "uint8": codes}
    name = TensorFormat[names[array.dtype.name].upper()]
    if array.dtype != np.uint8:
        for option, given in (("--input-scales", options.input_scales),
                              ("--input-format", options.input_format)):
            if given is not None:
                raise UserError(f"{option} belongs to FP8 codes (uint8), but --input holds "
                                f"{array.dtype.name}")
    if options.input_scales is None:
        if scaled and array.dtype == np.uint8:
            raise UserError("--input holds codes (uint8): name their scales with --input-scales")
        return Tensor(name, array), shape
    if not scaled:
        raise UserError("--input-scales does not belong to --out: codes are transposed as they "
                        "are; new scales come with --codes and --scales")
    groups = (array.shape[0], tile.groups(array.shape[1]))
    kind = {"uint8": "E8M0"} if tile.scale_format.name == "e8m0" else {"float32": "scales"}
    scales = expect(np.atleast_2d(read_tensor(options.input_scales, "--input-scales", "e8m0")),
                    "--input-scales", kind, groups,
                    f"{list(groups)}, one for 1 x {tile.group} elements")
    return Tensor(name, array, scales), shape
