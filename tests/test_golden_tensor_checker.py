"""Checks and sizes of commands on whole tensors, against cases written down and real layouts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from golden.tensor_checker import tensor_checker
from spec.commands import Command, ErrorCode, Opcode
from spec.load import load_tile
from spec.tensor_checks import TensorCheckerParams, tensor_sizes
from spec.tensors import Reduction, ScaleRule, TensorFormat
from tb.tensor_cases import bad_cases, good_commands
from tests.conftest import PROJECT

PATHS = ("tests/descriptions/tensors.toml", "tiles/hbm3_fp8_full.toml",
         "tiles/hbm3_fp8_native_full.toml")
BYTES = {TensorFormat.E4M3: 1, TensorFormat.E5M2: 1, TensorFormat.BF16: 2, TensorFormat.FP32: 4}


def checker(path: str = PATHS[0]) -> TensorCheckerParams:
    params = load_tile(PROJECT / path).tensor_checker
    assert params is not None
    return params


@pytest.mark.parametrize("path", PATHS)
def test_every_case_ends_as_written_down(path: str) -> None:
    params = checker(path)
    codes = Counter()
    for command, window, code, about in bad_cases(params):
        assert tensor_checker(command, window, params) == code, about
        assert Command.unpack(command.pack()) == command
        codes[code] += 1
    # No vector is looked at.
    assert {*codes} == {code for code in ErrorCode if code <= ErrorCode.OVERLAP
                        } - {ErrorCode.NOT_LOADED}


def stored(rows: int, elements: int, element_bytes: int, atom_bytes: int) -> tuple[int, int]:
    """Atoms of a row and of a whole region, by filling up a row with zeros until it fits."""
    row = np.zeros(elements * element_bytes, np.uint8).tobytes()
    while len(row) % atom_bytes:
        row += b"\0"
    return len(row) // atom_bytes, len(row * rows) // atom_bytes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 129])
def test_sizes_are_those_of_the_layout(path: str, rows: int) -> None:
    params = checker(path)
    old_bytes = 4 if params.scale_format == "fp32" else 1
    for name, command in good_commands(params).items():
        for k in (1, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200):
            command = replace(command, k=k, rows=rows)
            if command.opcode == Opcode.REDUCE and k % 2:
                command = replace(command, reduction=Reduction.MOMENTS)
            alone = command.opcode in (Opcode.LOAD, Opcode.MAP)
            command = replace(command, rows=0) if alone else command
            count = 1 if alone else rows
            source = TensorFormat(command.source_format or TensorFormat.BF16)
            target = TensorFormat(command.target_format)
            new_bytes = 4 if command.rule == ScaleRule.FP32_DIV else 1
            old_groups, new_groups = -(-k // params.group), -(-k // (1 << command.group))
            shapes = [(count, k, BYTES[source]), (0, 0, 1), (0, 0, 1), (0, 0, 1)]
            if command.source_scales:
                shapes[1] = count, old_groups, old_bytes
            if command.opcode == Opcode.LOAD:
                shapes[2:] = (1, k, 1), (1, old_groups, old_bytes)
            elif command.opcode == Opcode.REDUCE:
                words = 2 if command.reduction in (Reduction.ARGMAX, Reduction.MOMENTS) else 1
                shapes[2] = 1, 1 if command.whole else rows, 4 * words
            elif command.opcode == Opcode.TRANSPOSE:
                shapes[2] = k, rows, BYTES[target]
                if command.rule:
                    shapes[3] = -(-rows // params.transpose_block), k, new_bytes
            else:
                shapes[2] = count, k, BYTES[target]
                if command.rule:
                    shapes[3] = count, new_groups, new_bytes
                elif command.target_scales:
                    shapes[3] = shapes[1]
            sizes = tensor_sizes(command, params)
            expected = [stored(*shape, params.atom_bytes) for shape in shapes]
            assert [(sizes.source_row, sizes.source_atoms),
                    (sizes.source_scale_row, sizes.source_scale_atoms),
                    (sizes.target_row, sizes.target_atoms),
                    (sizes.target_scale_row, sizes.target_scale_atoms)] == expected, name


def test_only_what_was_built_is_done() -> None:
    params = checker()
    nothing = params.model_copy(update=dict(
        formats=(), rules=(), groups=(), reduce_formats=(), transpose_block=0, requantized=(),
        copy_formats=()))
    everything = (0, params.memory_atoms * params.atom_bytes)
    for name, command in good_commands(params).items():
        code = ErrorCode.FORMAT if command.opcode == Opcode.LOAD else ErrorCode.OPCODE
        assert tensor_checker(command, everything, nothing) == code, name
    # Without a quantizer, the others make no FP8 from anything else.
    plain = params.model_copy(update=dict(formats=(), rules=(), groups=(), requantized=()))
    for name, command in good_commands(params).items():
        built = command.opcode not in (Opcode.LOAD, Opcode.QUANTIZE)
        error = tensor_checker(command, everything, plain)
        assert error == (ErrorCode.NONE if built and not command.rule else
                         ErrorCode.FORMAT if command.opcode != Opcode.QUANTIZE else
                         ErrorCode.OPCODE), name


def test_codes_go_to_other_codes_by_way_of_bf16_alone() -> None:
    params = checker()
    command = good_commands(params)["copy E4M3 to E5M2"]
    everything = (0, params.memory_atoms * params.atom_bytes)
    assert tensor_checker(command, everything, params) == ErrorCode.NONE
    without = params.model_copy(update=dict(copy_formats=("fp32", "e4m3", "e5m2")))
    assert tensor_checker(command, everything, without) == ErrorCode.FORMAT


def test_a_tile_without_tensor_units_has_no_checker() -> None:
    assert load_tile(PROJECT / "tests" / "descriptions" / "smallest.toml").tensor_checker is None
