"""Records of the arithmetic: latencies follow from where registers stand; so does the layout."""

import re

import pytest

from spec.arithmetic import (
    Fp32AdderParams, Fp32MultiplierParams, Fp32RounderParams, GroupScalerParams,
    RowAccumulatorParams,
)
from spec.description import Axi4Memory, Clock, Compute, Description, Pipeline
from spec.dot_arrays import BlockDotArrayParams, DotArrayParams
from spec.tile import Tile
from tests.conftest import PROJECT

PAGE = (PROJECT / "docs" / "pipeline.md").read_text(encoding="utf-8")
UNITS = {
    "addition": lambda fp32: Fp32AdderParams(fp32=fp32),
    "rounding of a group's sum": lambda fp32: Fp32RounderParams(fp32=fp32, sum_bits=44,
                                                                lsb_exponent=-18),
    "multiplication": lambda fp32: Fp32MultiplierParams(fp32=fp32),
    "E8M0 scaling": lambda fp32: GroupScalerParams(fp32=fp32, scale_format="e8m0"),
}


def described(mhz: float = 800.0, **pipeline: int) -> Tile:
    return Tile(description=Description(name="t", memory=Axi4Memory(), clock=Clock(target_mhz=mhz),
                                        pipeline=Pipeline(**pipeline)))


def table(first: str) -> list[list[str]]:
    """The rows of a table of the page, the heading first, without back quotes."""
    (text,) = re.findall(rf"^\| {re.escape(first)}.*?(?=\n\n)", PAGE, re.DOTALL | re.MULTILINE)
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
            for line in text.splitlines()]
    return [rows[0], *rows[2:]]


def test_the_page_has_the_cuts_of_the_records() -> None:
    heading, *rows = table("`fp32` | addition")
    assert [row[0] for row in rows] == [str(fp32) for fp32 in range(1, 9)]
    for row in rows:
        for name, cell in zip(heading[1:], row[1:], strict=True):
            unit = UNITS[name](int(row[0]))
            assert cell == ", ".join(unit.cuts), (name, row[0])
            assert unit.LATENCY == len(unit.cuts) + 1


def test_the_page_has_what_follows_from_the_clock() -> None:
    heading, low, high = table("clock target")
    for row, targets in ((low, (1.0, 850.0)), (high, (850.1, 1000.0, 5000.0))):
        for mhz in targets:
            found = described(mhz).pipeline.model_dump()
            assert found == dict(zip(heading[1:], map(int, row[1:]), strict=True)), mhz


def test_the_page_has_the_ranges() -> None:
    fields = Pipeline.model_json_schema()["properties"]
    for key, allowed, _ in table("key")[1:]:
        (limits,) = (one for one in fields[key]["anyOf"] if one["type"] == "integer")
        assert [int(number) for number in re.findall(r"\d+", allowed)] == [
            limits["minimum"], limits["maximum"]], key


def test_a_key_that_is_given_stays() -> None:
    tile = described(1000.0, adder_tree=0, fp32=2)
    assert tile.pipeline.model_dump() == {
        "multiply": 1, "shift": 0, "adder_tree": 0, "fp32": 2, "quantizer": 1}


@pytest.mark.parametrize("ranks", range(9))
@pytest.mark.parametrize("lanes", [1, 2, 3, 8, 32, 256])
def test_every_rank_of_the_adder_tree_has_its_place(lanes: int, ranks: int) -> None:
    params = DotArrayParams(weights="e4m3", activations="e4m3", lanes=lanes, group_beats=1,
                            adder_tree=ranks)
    levels = (lanes - 1).bit_length()
    places = params.tree_registers
    assert len(places) == ranks
    assert list(places) == sorted(places)
    assert not ranks or places[-1] == levels
    assert params.LATENCY == 2 + ranks
    if ranks <= levels:
        # Evenly: no two parts differ by more than one level.
        parts = [b - a for a, b in zip((0, *places), places, strict=False)]
        assert not parts or max(parts) - min(parts) <= 1


# Widths of a product and of sums of 32, 128, 4096 and 16384.
@pytest.mark.parametrize("weights, activations, unit, largest, widths", [
    ("e2m3", "e2m3", -6, 7.5 * 7.5, (13, 18, 20, 25, 27)),
    ("e2m3", "e3m2", -7, 7.5 * 28, (16, 21, 23, 28, 30)),
    ("e3m2", "e2m3", -7, 28 * 7.5, (16, 21, 23, 28, 30)),
    ("e3m2", "e3m2", -8, 28 * 28, (19, 24, 26, 31, 33)),
    ("e2m3", "e4m3", -12, 7.5 * 448, (25, 30, 32, 37, 39)),
    ("e3m2", "e5m2", -20, 28 * 57344, (42, 47, 49, 54, 56)),
    ("e3m2", "int8", -4, 28 * 128, (17, 22, 24, 29, 31)),
    ("e2m3", "mxint8", -9, 7.5 * 2, (14, 19, 21, 26, 28)),
    ("e2m1", "e3m2", -5, 6 * 28, (14, 19, 21, 26, 28)),
    ("int5", "e2m3", -3, 16 * 7.5, (11, 16, 18, 23, 25)),
])
def test_sums_of_fp6_have_their_widths(weights: str, activations: str, unit: int, largest: float,
                                       widths: tuple[int, ...]) -> None:
    found = []
    for lanes, beats in ((1, 1), (32, 1), (32, 4), (64, 64), (64, 256)):
        params = DotArrayParams(weights=weights, activations=activations, lanes=lanes,
                                group_beats=beats)
        assert params.lsb_exponent == unit
        assert params.largest_product == largest * 2 ** -unit
        assert params.sum_bits == int(lanes * beats * largest * 2 ** -unit).bit_length() + 1
        found.append(params.sum_bits)
    assert tuple(found) == widths
    assert params.product_bits == widths[0]


@pytest.mark.parametrize("k, bits", [(128, 51), (4096, 56), (16384, 58)])
def test_the_sum_of_a_row_of_nvfp4_has_its_width(k: int, bits: int) -> None:
    params = BlockDotArrayParams(weights="e2m1", activations="e2m1", lanes=64, group_beats=k // 64,
                                 block=16)
    # 6 * 6 * 448 * 448 for each of k products, of which 2**-20 is the smallest, and a sign.
    assert params.sum_bits == bits == (k * (6 * 448) ** 2 << 20).bit_length() + 1
    assert params.lsb_exponent == -20


@pytest.mark.parametrize("fp32", range(1, 9))
def test_rows_are_as_far_apart_as_the_addition_takes(fp32: int) -> None:
    tile = described(fp32=fp32)
    assert tile.rows_per_strip == {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8}[fp32]
    assert tile.sequencer.row_distance == tile.fp32_adder.LATENCY == fp32
    assert tile.column.row_accumulator.LATENCY == fp32
    assert RowAccumulatorParams(rows=32, fp32=fp32).LATENCY == fp32 + 1


@pytest.mark.parametrize("fp32, rows", [(1, 2), (2, 2), (3, 4)])
def test_strips_of_codes_of_six_bits_are_whole_atoms(fp32: int, rows: int) -> None:
    tile = Tile(description=Description(
        name="t", memory=Axi4Memory(), compute=Compute(weights="e2m3", activations="e2m3"),
        pipeline=Pipeline(fp32=fp32)))
    assert tile.rows_per_strip == rows
    # An odd number of beats of one and a half atoms in each row.
    assert (tile.k_atoms(129), tile.weight_beat_bits) == (3, 384)
    assert tile.weight_atoms(1, 129) * 256 == rows * 3 * 384


@pytest.mark.parametrize("fp32", range(1, 9))
def test_no_sum_is_there_before_its_combined_scale(fp32: int) -> None:
    column = described(multiply=0, adder_tree=0, fp32=fp32).column.model_copy(
        update={"scale_format": "fp32"})
    assert column.sum_cycles >= column.scale_combiner.LATENCY == column.group_scaler.LATENCY
