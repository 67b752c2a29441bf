"""Jobs on whole tensors: one memory image and the command that works on it.

Each function checks that the tile can do what is asked and says, if not, what it can do and which
key of the description to change.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.tensor_checker import tensor_checker
from host.job import JobError, check_memory
from host.tensor_layout import ELEMENT_TYPES, pack_matrix, unpack_matrix, unpack_reductions
from spec.commands import ERROR_MEANINGS, Command, ErrorCode, Opcode
from spec.tensor_checks import (
    FP8, TensorCheckerParams, TensorSizes, copies_scales, makes_scales, reads_scales, tensor_sizes,
)
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat, scale_bits
from spec.tile import Tile

__all__ = ["Tensor", "TensorJob", "check_quantizer", "copy_job", "quantize_job", "reduce_job",
           "transpose_job"]


@dataclass(frozen=True)
class Tensor:
    """A matrix: ``codes`` [rows, k] of ``format`` (uint8, uint16 or float32) and, of FP8 that has
    them, ``scales`` [rows, ceil(k / group)] (uint8 for E8M0, or float32)."""

    format: TensorFormat
    codes: NDArray[Any]
    scales: NDArray[Any] | None = None


@dataclass(frozen=True)
class TensorJob:
    """One command on a tensor.

    ``image`` is the memory before the command; executing it on a tile, golden or simulated, leaves
    the results that :meth:`results` reads.
    """

    tile: Tile
    image: NDArray[np.uint8]
    command: Command

    @property
    def commands(self) -> list[Command]:
        """The one command."""
        return [self.command]

    @property
    def sizes(self) -> TensorSizes:
        """Sizes of the regions."""
        return tensor_sizes(self.command, _params(self.tile))

    @property
    def atoms(self) -> int:
        """Atoms that the command reads."""
        return self.sizes.source_atoms + self.sizes.source_scale_atoms

    @property
    def result_atoms(self) -> int:
        """Atoms that it writes."""
        return self.sizes.target_atoms + self.sizes.target_scale_atoms

    def results(self, image: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Read the results out of the memory after the command.

        Codes or values and, where there are any, their scales; of REDUCE what
        :func:`host.tensor_layout.unpack_reductions` gives. A transposed tensor is [k, rows], with
        scales [ceil(rows / group), k].
        """
        command, tile = self.command, self.tile

        def region(address: int, atoms: int) -> bytes:
            return image[address:address + atoms * tile.atom_bytes].tobytes()

        target = region(command.target, self.sizes.target_atoms)
        if command.opcode == Opcode.REDUCE:
            return unpack_reductions(target, 1 if command.whole else command.rows,
                                     Reduction(command.reduction)), None
        rows, k, group = command.rows, command.k, 1 << command.group
        groups = (rows, -(-k // group))
        if command.opcode == Opcode.TRANSPOSE:
            groups = (-(-rows // group), k)
            rows, k = k, rows
        codes = unpack_matrix(target, rows, k, ELEMENT_TYPES[TensorFormat(command.target_format)],
                              tile.atom_bytes)
        bits = scale_bits(ScaleRule(command.rule))
        if copies_scales(command):
            groups, bits = (rows, tile.groups(k)), tile.scale_format.bits
        elif not makes_scales(command):
            return codes, None
        return codes, unpack_matrix(
            region(command.target_scales, self.sizes.target_scale_atoms), *groups,
            np.uint8 if bits == 8 else np.float32, tile.atom_bytes)


def quantize_job(tile: Tile, tensor: Tensor, target: TensorFormat, rule: ScaleRule,
                 group: int) -> TensorJob:
    """QUANTIZE a BF16 tensor to FP8 codes and scales.

    :Errors: :class:`host.job.JobError` when the tile cannot do it.
    """
    if tensor.format != TensorFormat.BF16:
        raise JobError(f"QUANTIZE reads BF16, not {_name(tensor.format)}; convert it to BF16, or "
                       "use COPY, which makes FP8 of every format in convert.formats")
    check_quantizer(tile, target, rule, group)
    return _job(tile, tensor, Opcode.QUANTIZE, target, rule, group)


def reduce_job(tile: Tile, tensor: Tensor, reduction: Reduction, whole: bool) -> TensorJob:
    """REDUCE each row of a tensor, or with ``whole`` all of it.

    :Errors: :class:`host.job.JobError` when the tile cannot do it.
    """
    described = tile.description.reduce
    if described is None:
        raise JobError(_missing(tile, "reducer", "reduce"))
    _check_choice("REDUCE of", tensor.format, described.formats, "reduce.formats")
    return _job(tile, tensor, Opcode.REDUCE, reduction=reduction, whole=int(whole))


def transpose_job(tile: Tile, tensor: Tensor, target: TensorFormat | None = None,
                  rule: ScaleRule = ScaleRule.NONE) -> TensorJob:
    """TRANSPOSE a tensor as it is, or with a ``target`` to FP8 that has new scales.

    New scales are those of ``transpose.block`` elements along the rows of the result. As it is,
    a tensor is transposed without scales.

    :Errors: :class:`host.job.JobError` when the tile cannot do it.
    """
    params, transposer = tile.tensor_checker, tile.transposer
    if params is None or transposer is None:
        raise JobError(_missing(tile, "transposer", "transpose"))
    if target is None:
        if tensor.format == TensorFormat.FP32:
            raise JobError("TRANSPOSE moves elements of 8 or 16 bits, not fp32; convert it to BF16")
        return _job(tile, Tensor(tensor.format, tensor.codes), Opcode.TRANSPOSE, tensor.format)
    check_quantizer(tile, target, rule, transposer.block, "transpose.block")
    if tensor.format in FP8 and tile.group != transposer.block:
        raise JobError(f"TRANSPOSE with new scales reads codes whose scales are those of "
                       f"transpose.block = {transposer.block} elements, not of scaling.group = "
                       f"{tile.group}; make both equal in the description, or convert to BF16")
    if _name(tensor.format) not in params.requantized:
        raise JobError(f"TRANSPOSE with new scales reads {', '.join(params.requantized)}, not "
                       f"{_name(tensor.format)}; convert it to BF16")
    return _job(tile, tensor, Opcode.TRANSPOSE, target, rule, transposer.block)


def copy_job(tile: Tile, tensor: Tensor, target: TensorFormat, rule: ScaleRule = ScaleRule.NONE,
             group: int = 1) -> TensorJob:
    """COPY a tensor to ``target``; ``rule`` and ``group`` are for FP8 made of another format.

    :Errors: :class:`host.job.JobError` when the tile cannot do it.
    """
    described = tile.description.convert
    if described is None:
        raise JobError(_missing(tile, "converter", "convert"))
    _check_choice("COPY from", tensor.format, described.formats, "convert.formats")
    _check_choice("COPY to", target, described.formats, "convert.formats")
    if target not in FP8 or tensor.format == target:
        return _job(tile, tensor, Opcode.COPY, target)
    check_quantizer(tile, target, rule, group)
    if tensor.format in FP8:
        _check_choice("COPY from one FP8 format to the other goes by way of BF16;",
                      TensorFormat.BF16, described.formats, "convert.formats")
    return _job(tile, tensor, Opcode.COPY, target, rule, group)


# What the tile can do


def _name(name: TensorFormat) -> str:
    """A format as descriptions write it."""
    return name.name.lower()


def _missing(tile: Tile, unit: str, section: str) -> str:
    return (f"the tile {tile.name} has no {unit}; add the section [{section}] to its description, "
            f"or use a tile that has it")


def _check_choice(what: str, name: TensorFormat, formats: tuple[str, ...], key: str) -> None:
    if _name(name) not in formats:
        raise JobError(f"{what} {_name(name)} was not built; allowed: {', '.join(formats)} "
                       f'({key}); add "{_name(name)}" there')


def check_quantizer(tile: Tile, target: TensorFormat, rule: ScaleRule, group: int,
                    because: str = "") -> None:
    """Raise :class:`host.job.JobError` unless the tile's quantizer makes this.

    ``because`` names the key that the group comes from, if not from the user.
    """
    described = tile.description.quantize
    if described is None:
        raise JobError(_missing(tile, "quantizer", "quantize"))
    if target not in FP8:
        raise JobError(f"{_name(target)} is no format that the quantizer makes; allowed: "
                       f"{', '.join(described.formats)} (quantize.formats)")
    _check_choice("quantizing to", target, described.formats, "quantize.formats")
    names = {value: name for name, value in RULE_NAMES.items()}
    if names.get(rule) not in described.rules:
        raise JobError(f"the rule {names.get(rule, 'none')} was not built; allowed: "
                       f"{', '.join(described.rules)} (quantize.rules)")
    if group not in described.groups:
        why = f" (the tile's {because})" if because else ""
        raise JobError(f"groups of {group}{why} were not built; allowed: "
                       f"{', '.join(map(str, described.groups))} (quantize.groups)")


def _params(tile: Tile) -> TensorCheckerParams:
    params = tile.tensor_checker
    assert params is not None
    return params


# The image and the command


def _job(tile: Tile, tensor: Tensor, opcode: Opcode, target: TensorFormat = TensorFormat.NONE,
         rule: ScaleRule = ScaleRule.NONE, group: int = 1, **fields: int) -> TensorJob:
    params = _params(tile)
    rows, k = tensor.codes.shape
    command = Command(opcode=opcode, k=k, rows=rows, source_format=tensor.format,
                      target_format=target, rule=rule, group=group.bit_length() - 1, **fields)
    scaled = reads_scales(command) or makes_scales(command)
    most = params.k_max if scaled else params.ROW_MAX
    if k > most:
        raise JobError(f"k = {k} is more than {most}, which this tile can have"
                       + (" with scales; split the tensor along k, or raise compute.k_max in the "
                          "description" if scaled else "; split the tensor along k"))
    if rows > params.rows_max:
        raise JobError(f"{rows} rows are more than {params.rows_max}; split the tensor")
    sizes = tensor_sizes(command, params)
    places, end = [], 0
    for atoms in (sizes.source_atoms, sizes.source_scale_atoms, sizes.target_atoms,
                  sizes.target_scale_atoms):
        places.append(end if atoms else 0)
        end += atoms * tile.atom_bytes
    check_memory(tile, end)
    command = replace(command, **dict(zip(
        ("source", "source_scales", "target", "target_scales"), places, strict=True)))
    error = tensor_checker(command, (0, end), params)
    if error != ErrorCode.NONE:
        raise JobError(f"the tile refuses {opcode.name}: {ERROR_MEANINGS[error]}")
    operands = _packed(tile, tensor, reads_scales(command))
    image = np.zeros(end, np.uint8)
    image[:len(operands)] = np.frombuffer(operands, np.uint8)
    return TensorJob(tile=tile, image=image, command=command)


def _packed(tile: Tile, tensor: Tensor, scaled: bool) -> bytes:
    dtype = ELEMENT_TYPES[tensor.format]
    if tensor.codes.dtype != dtype:
        raise TypeError(f"{_name(tensor.format)} elements must be {np.dtype(dtype).name}, "
                        f"not {tensor.codes.dtype}")
    packed = pack_matrix(tensor.codes, tile.atom_bytes)
    if not scaled:
        return packed
    rows, k = tensor.codes.shape
    if tensor.scales is None:
        raise JobError(f"a tensor of {_name(tensor.format)} needs its scales, one for "
                       f"{tile.group} elements of a row ({tile.scale_format.name})")
    if tensor.scales.shape != (rows, tile.groups(k)):
        raise JobError(f"the scales of a tensor {[rows, k]} must have the shape "
                       f"{[rows, tile.groups(k)]}, one for {tile.group} elements of a row, not "
                       f"{list(tensor.scales.shape)}")
    kind = np.uint8 if tile.scale_format.name == "e8m0" else np.float32
    if tensor.scales.dtype != kind:
        raise JobError(f"the scales of this tile are {tile.scale_format.name} "
                       f"({np.dtype(kind).name}), not {tensor.scales.dtype}")
    return packed + pack_matrix(tensor.scales, tile.atom_bytes)
