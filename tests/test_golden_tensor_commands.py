"""Commands on whole tensors on the golden tile: where results go, what memory does to them."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.gemv import gemv
from golden.quantizer import quantize
from golden.tile import GoldenTile
from host.layout import pack_activations, pack_weights, unpack_results
from host.tensor_job import TensorJob, copy_job, quantize_job, reduce_job, transpose_job
from host.tensor_layout import pack_matrix
from spec.commands import Command, ErrorCode, Opcode
from spec.memory_units import ReadFault
from spec.tensor_checks import copies_scales
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat
from spec.tile import Tile
from tests.golden_cases import finite_codes, random_scales
from tests.tensor_cases import TENSOR_TILES, random_tensor

BF16, FP32, E4M3 = TensorFormat.BF16, TensorFormat.FP32, TensorFormat.E4M3
SMALL, FULL, NATIVE = TENSOR_TILES
EVERY_TILE = pytest.mark.parametrize("tile", TENSOR_TILES, ids=lambda tile: tile.name)


def rule_of(tile: Tile) -> ScaleRule:
    return RULE_NAMES[tile.description.scaling.rule]


def golden_of(tile: Tile, image: NDArray[np.uint8]) -> GoldenTile:
    golden = GoldenTile(tile, image)
    golden.window_limit = tile.memory_bytes
    return golden


def jobs(tile: Tile) -> list[TensorJob]:
    """One job of each command; two rows and more than one group."""
    rng = np.random.default_rng(8)
    k, rule = tile.group + 9, rule_of(tile)
    values = random_tensor(rng, tile, BF16, 3, k)
    codes = random_tensor(rng, tile, E4M3, 3, k)
    found = [quantize_job(tile, values, E4M3, rule, 128 if tile is not SMALL else 32),
             reduce_job(tile, codes, Reduction.MOMENTS, False),
             transpose_job(tile, values), transpose_job(tile, values, E4M3, rule),
             copy_job(tile, values, FP32), copy_job(tile, codes, E4M3), copy_job(tile, codes, BF16)]
    assert tile.tensor_checker is not None
    if "e4m3" in tile.tensor_checker.requantized:
        found.append(transpose_job(tile, codes, E4M3, rule))
    return found


@EVERY_TILE
def test_a_command_that_fails_a_check_touches_nothing(tile: Tile) -> None:
    for job in jobs(tile):
        image = job.image.copy()
        golden = golden_of(tile, image)
        golden.window_limit = image.size - tile.atom_bytes
        assert golden.execute(job.command.pack()) == ErrorCode.WINDOW
        overlapping = replace(job.command, target=job.command.source)
        golden.window_limit = image.size
        assert golden.execute(overlapping.pack()) == ErrorCode.OVERLAP
        assert np.array_equal(image, job.image)
        # The next one runs.
        assert golden.execute(job.command.pack()) == ErrorCode.NONE
        assert not np.array_equal(image, job.image)


@EVERY_TILE
def test_memory_that_is_not_there_answers_with_errors(tile: Tile) -> None:
    for job in jobs(tile):
        size = job.atoms * tile.atom_bytes
        for end, error in ((0, ErrorCode.READ), (size - tile.atom_bytes, ErrorCode.READ),
                           (size, ErrorCode.WRITE),
                           (job.image.size - tile.atom_bytes, ErrorCode.WRITE)):
            image = job.image[:end].copy()
            golden = golden_of(tile, image)
            assert golden.execute(job.command.pack()) == error, (job.command, end)
            assert np.array_equal(image, job.image[:end])


@EVERY_TILE
def test_the_first_fault_that_is_read_decides(tile: Tile) -> None:
    for job in jobs(tile):
        atom = tile.atom_bytes
        source = range(job.command.source // atom, job.sizes.source_atoms)
        last = source[-1]
        image = job.image.copy()
        golden = golden_of(tile, image)
        golden.faults = {last: ReadFault.UNCORRECTABLE, source[0]: ReadFault.TIMEOUT,
                         last + job.image.size: ReadFault.RESPONSE}
        assert golden.execute(job.command.pack()) == ErrorCode.TIMEOUT
        golden.faults = {last: ReadFault.UNCORRECTABLE, source[0]: ReadFault.NONE}
        assert golden.execute(job.command.pack()) == ErrorCode.ECC
        if job.sizes.source_scale_atoms:
            # The scales of rows, or of a block, are read before their codes.
            scales = job.command.source_scales // atom
            golden.faults = {source[0]: ReadFault.UNCORRECTABLE, scales: ReadFault.RESPONSE}
            assert golden.execute(job.command.pack()) == ErrorCode.READ
            golden.faults = {source[0]: ReadFault.UNCORRECTABLE,
                             scales + job.sizes.source_scale_atoms - 1: ReadFault.RESPONSE}
            # Those of few rows all come first, unless they are copied as they stand.
            assert golden.execute(job.command.pack()) == (
                ErrorCode.ECC if copies_scales(job.command) else ErrorCode.READ)
        assert np.array_equal(image, job.image)
        golden.faults = {}
        assert golden.execute(job.command.pack()) == ErrorCode.NONE


def test_scales_of_many_rows_are_read_together() -> None:
    assert SMALL.tensor_engine is not None
    rng = np.random.default_rng(8)
    # Rows of 200 elements have 7 scales, which take 4 atoms of the 32 that are held.
    job = reduce_job(SMALL, random_tensor(rng, SMALL, E4M3, 20, 200), Reduction.SUM, False)
    together = SMALL.tensor_engine.rows_together(job.sizes.source_scale_row)
    assert (job.sizes.source_scale_row, together) == (4, 8)
    golden, scales = golden_of(SMALL, job.image), job.command.source_scales // SMALL.atom_bytes
    codes = job.command.source // SMALL.atom_bytes
    for sooner, later in ((scales + 4 * 8 - 1, codes), (codes + 25 * 8 - 1, scales + 4 * 8),
                          (scales + 4 * 16 - 1, codes + 25 * 8), (codes, scales + 4 * 16)):
        golden.faults = {later: ReadFault.TIMEOUT, sooner: ReadFault.RESPONSE}
        assert golden.execute(job.command.pack()) == ErrorCode.READ


def test_blocks_are_read_along_k_first() -> None:
    job = transpose_job(SMALL, random_tensor(np.random.default_rng(9), SMALL, BF16, 33, 80))
    # Rows of twenty atoms; blocks of 32 x 32 elements, eight atoms wide.
    first_of = {"second row": 20, "second block": 8, "third block": 16, "second band": 640}
    golden = golden_of(SMALL, job.image)
    order = list(first_of)
    for sooner, later in itertools.pairwise(order):
        golden.faults = {first_of[later]: ReadFault.TIMEOUT, first_of[sooner]: ReadFault.RESPONSE}
        assert golden.execute(job.command.pack()) == ErrorCode.READ
    # Where the row's number decides, not the block's.
    golden.faults = {first_of["second row"] + 7: ReadFault.TIMEOUT, 8: ReadFault.RESPONSE}
    assert golden.execute(job.command.pack()) == ErrorCode.TIMEOUT


def test_an_atom_of_scales_is_read_with_the_first_block_that_needs_it() -> None:
    # Of each row, two scales of 32 elements in an atom: blocks 0 and 1 share one.
    job = transpose_job(SMALL, random_tensor(np.random.default_rng(9), SMALL, E4M3, 3, 130), E4M3,
                        rule_of(SMALL))
    golden = golden_of(SMALL, job.image)
    scales, second_block, third_block = job.command.source_scales // 8, 4, 8
    for sooner, later in ((scales, 0), (0, second_block), (second_block, scales + 1),
                          (scales + 1, third_block)):
        golden.faults = {later: ReadFault.TIMEOUT, sooner: ReadFault.RESPONSE}
        assert golden.execute(job.command.pack()) == ErrorCode.READ


def test_what_is_not_there_has_its_turn() -> None:
    codes = random_tensor(np.random.default_rng(9), FULL, E4M3, 3, 100)
    job = copy_job(FULL, codes, E4M3)
    # Four atoms a row, and one of scales; the scales of the second row are missing.
    golden = golden_of(FULL, job.image[:13 * 32].copy())
    golden.faults = {8: ReadFault.UNCORRECTABLE}
    assert golden.execute(job.command.pack()) == ErrorCode.READ
    golden.faults = {3: ReadFault.UNCORRECTABLE}
    assert golden.execute(job.command.pack()) == ErrorCode.ECC


# To the host


def sent(job: TensorJob) -> bytes:
    """What a job gives to the host."""
    command = replace(job.command, to_host=1, target=0, target_scales=0)
    image = job.image.copy()
    golden = golden_of(job.tile, image)
    assert golden.execute(command.pack()) == ErrorCode.NONE
    assert np.array_equal(image, job.image)
    (found,) = golden.host_results
    return found


def written(job: TensorJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The atoms of the two regions that a job writes, as rows."""
    image = job.image.copy()
    assert golden_of(job.tile, image).execute(job.command.pack()) == ErrorCode.NONE
    atom = job.tile.atom_bytes
    return tuple(
        image[address:address + atoms * atom].reshape(-1, max(row * atom, 1))
        for address, atoms, row in (
            (job.command.target, job.sizes.target_atoms, job.sizes.target_row),
            (job.command.target_scales, job.sizes.target_scale_atoms,
             job.sizes.target_scale_row)))  # type: ignore[return-value]


def test_the_host_gets_row_after_row() -> None:
    for job in jobs(NATIVE):
        codes, scales = written(job)
        found = sent(job)
        if job.command.opcode == Opcode.TRANSPOSE:
            continue
        if not scales.size:
            assert found == codes.tobytes()
            continue
        parts = [codes, scales]
        if job.command.opcode == Opcode.COPY:  # As they stand: scales first.
            parts = [scales, codes]
        assert found == b"".join(part[row].tobytes() for row in range(3) for part in parts)


@pytest.mark.parametrize("target", [None, E4M3])
def test_the_host_gets_block_after_block(target: TensorFormat | None) -> None:
    tensor = random_tensor(np.random.default_rng(10), NATIVE, BF16, 140, 300)
    job = transpose_job(NATIVE, tensor, target, rule_of(NATIVE) if target else ScaleRule.NONE)
    codes, scales = written(job)
    size = 1 if target else 2
    expected = b""
    # Whole atoms: 32 codes, or 16 elements of BF16.
    for rows in (slice(0, 128), slice(128, 160 if target else 144)):
        for columns in (slice(0, 128), slice(128, 256), slice(256, 300)):
            expected += codes[columns, rows.start * size:rows.stop * size].tobytes()
            if target:
                end = -(-columns.stop // 32) * 32
                expected += scales[rows.start // 128, columns.start:end].tobytes()
    assert sent(job) == expected


def test_only_a_native_tile_has_a_host_to_send_to() -> None:
    for job in jobs(FULL):
        golden = golden_of(FULL, job.image)
        command = replace(job.command, to_host=1, target=0, target_scales=0)
        assert golden.execute(command.pack()) == ErrorCode.RESERVED
        assert not golden.host_results


# The cast window


def test_the_window_shows_what_memory_holds_now() -> None:
    rng = np.random.default_rng(11)
    tensor = random_tensor(rng, NATIVE, BF16, 1, 300)
    image = np.frombuffer(bytes(32) + pack_matrix(tensor.codes, 32), np.uint8).copy()
    golden = golden_of(NATIVE, image)
    with pytest.raises(ValueError, match="^the cast window is closed; open it with MAP$"):
        golden.window_codes()
    command = Command(opcode=Opcode.MAP, k=300, source=32, target_format=E4M3, group=7,
                      rule=ScaleRule.E8M0_CEIL)
    assert golden.execute(command.pack()) == ErrorCode.NONE
    scaling = NATIVE.description.scaling
    for _ in range(2):
        codes, scales = quantize(tensor.codes, E4M3.float_format, scaling)
        assert np.array_equal(golden.window_codes(), codes[0])
        assert np.array_equal(golden.window_scales(), scales[0])
        tensor = random_tensor(rng, NATIVE, BF16, 1, 300)
        image[32:] = np.frombuffer(pack_matrix(tensor.codes, 32), np.uint8)
    assert golden.execute(Command(opcode=Opcode.MAP, source=32).pack()) == ErrorCode.RESERVED
    assert golden.window_codes().size == 300
    assert golden.execute(Command(opcode=Opcode.MAP).pack()) == ErrorCode.NONE
    with pytest.raises(ValueError, match="closed"):
        golden.window_scales()
    # More than the image holds.
    assert golden.execute(replace(command, k=1000).pack()) == ErrorCode.NONE
    with pytest.raises(ValueError, match="^the cast window shows memory up to 0x800, but the image "
                                         "has 0x280 bytes$"):
        golden.window_codes()


# LOAD of BF16, and GEMV


@EVERY_TILE
@pytest.mark.parametrize("k", [1, 40, 150, 200])
def test_load_quantizes_what_gemv_then_uses(tile: Tile, k: int) -> None:
    rng = np.random.default_rng(12)
    rows = 9
    tensor = random_tensor(rng, tile, BF16, 1, k)
    weights = finite_codes(rng, tile.weight_format, rows, k)
    scales = random_scales(rng, tile, -(-rows // tile.description.scaling.weight_rows),
                           tile.groups(k))
    parts = [pack_weights(weights, scales, tile), pack_matrix(tensor.codes, tile.atom_bytes),
             bytes(tile.result_atoms(rows) * tile.atom_bytes)]
    image = np.frombuffer(b"".join(parts), np.uint8).copy()
    source, results = len(parts[0]), len(parts[0]) + len(parts[1])
    golden = golden_of(tile, image)
    load = Command(opcode=Opcode.LOAD, k=k, source=source, source_format=BF16)
    run = Command(opcode=Opcode.GEMV, columns=1, k=k, rows=rows, target=results)
    assert golden.execute(load.pack()) == ErrorCode.NONE
    assert golden.execute(run.pack()) == ErrorCode.NONE
    found = unpack_results(image[results:].tobytes(), rows, 1, tile)
    x = quantize(tensor.codes, tile.activation_format, tile.description.scaling)
    assert np.array_equal(found, gemv(weights, scales, *x, tile))
    # A LOAD that failed leaves no vector.
    golden.faults = {(source + len(parts[1])) // tile.atom_bytes - 1: ReadFault.UNCORRECTABLE}
    assert golden.execute(load.pack()) == ErrorCode.ECC
    assert golden.execute(run.pack()) == ErrorCode.NOT_LOADED


def test_load_of_bf16_needs_the_quantizer_that_the_tile_loads_by() -> None:
    assert FULL.description.quantize is not None
    for update in ({"rules": ("e8m0-floor",)}, {"groups": (64,)}, {"formats": ("e5m2",)}):
        described = FULL.description.model_copy(update={
            "quantize": FULL.description.quantize.model_copy(update=update)})
        golden = golden_of(FULL.model_copy(update={"description": described}),
                           np.zeros(64, np.uint8))
        load = Command(opcode=Opcode.LOAD, k=8, source_format=BF16)
        assert golden.execute(load.pack()) == ErrorCode.FORMAT


@pytest.mark.parametrize("tile", [FULL, NATIVE], ids=lambda tile: tile.name)
@pytest.mark.parametrize(("rows", "k"), [(1, 1), (128, 256), (130, 40), (300, 200)])
def test_gemv_multiplies_by_transposed_weights(tile: Tile, rows: int, k: int) -> None:
    rng = np.random.default_rng(13)
    weights = finite_codes(rng, tile.weight_format, rows, k)
    scales = random_scales(rng, tile, -(-rows // 128), tile.groups(k))
    x: Any = random_tensor(rng, tile, E4M3, 1, rows)
    parts = [pack_weights(weights, scales, tile), *pack_activations(x.codes[0], x.scales[0], tile),
             bytes(tile.result_atoms(k) * tile.atom_bytes)]
    image = np.frombuffer(b"".join(parts), np.uint8).copy()
    places = np.cumsum([0, *map(len, parts)]).tolist()
    golden = golden_of(tile, image)
    assert golden.execute(Command(opcode=Opcode.LOAD, k=rows, source=places[1],
                                  source_scales=places[2]).pack()) == ErrorCode.NONE
    assert golden.execute(Command(opcode=Opcode.GEMV, columns=1, k=k, rows=rows, transposed=1,
                                  target=places[3]).pack()) == ErrorCode.NONE
    found = unpack_results(image[places[3]:].tobytes(), k, 1, tile)
    expected = gemv(np.ascontiguousarray(weights.T), np.ascontiguousarray(scales.T),
                    x.codes, x.scales, tile)
    assert np.array_equal(found, expected)
