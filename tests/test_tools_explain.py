"""What ``pnmtile explain`` says of scales, zero points and widths."""

from typing import Any

import pytest

from spec.load import load_tile
from tests.conftest import PROJECT
from tools.cli import HELD, run_command
from tools.explain import explanation


def explained(name: str, rows: int, k: int) -> dict[str, Any]:
    return explanation(load_tile(PROJECT / f"{name}.toml"), rows, k)


def parts(layout: list[dict[str, Any]]) -> list[tuple[int, float, str]]:
    return [(part["offset"], part["atoms"], part["content"]) for part in layout]


def test_the_scale_of_a_tensor_is_an_atom_behind_those_of_its_blocks() -> None:
    example = explained("tiles/hbm3_nvfp4", 4096, 4096)["example"]
    assert parts(example["activations"]) == [
        (0, 64, "source: X[column, 0:4096], e2m1"),
        (0, 8, "source_scales: 256 scales, group after group, e4m3"),
        (0x100, 1, "  scale of the tensor, fp32")]
    # 73 atoms a row, of which 64 hold codes.
    assert parts(example["weights"]) == [
        (0, 8, "block 0: scales of 256 groups x 1 scale row, e4m3"),
        (0x100, 1, "  scale of the tensor, fp32"),
        (0x120, 64, "  strip 0: W[0, 0:4096]"),
        (0x920, 4095 * 73, "blocks 1 to 4095, 1 row each")]
    assert example["rates"][-1]["value"] == pytest.approx(100 * 64 / 73)


def test_blocks_of_several_rows_share_the_scale_of_the_tensor() -> None:
    assert parts(explained("tests/descriptions/nvfp4", 5, 600)["example"]["weights"]) == [
        (0, 3, "block 0: scales of 38 groups x 1 scale row, e4m3"),
        (0x30, 1, "  scale of the tensor, fp32"),
        (0x40, 19, "  strip 0: W[0, 0:600]"),
        (0x170, 19, "  strip 1, 1 row each"),
        (0x2a0, 42, "block 1, 2 rows each"),
        (0x540, 23, "block 2: 1 row from row 4 on, as 1")]


def test_zero_points_stand_behind_the_scales_of_a_block() -> None:
    data = explained("tiles/hbm3_uint4_fp8", 4096, 4096)
    assert parts(data["example"]["weights"])[:3] == [
        (0, 16, "block 0: scales of 32 groups x 4 scale rows, fp32"),
        (0x200, 2, "  zero points in the order of the scales, uint4"),
        (0x240, 2, "  strip 0: W[0, 0:128]")]
    assert parts(data["example"]["weights"])[-1][1:] == (
        1023 * (16 + 2 + 4 * 64), "blocks 1 to 1023, 4 rows each")
    assert [buffer for buffer in data["buffers"] if "weight" in buffer["name"]] == [
        {"name": "weight scales", "count": 1, "words": 64, "word_bits": 256, "bytes": 2048},
        {"name": "weight zero points", "count": 1, "words": 8, "word_bits": 256, "bytes": 256}]
    assert (data["formats"]["weights"], data["formats"]["factors"]) == ("uint4", "int5")


def test_beats_of_six_bits_are_one_and_a_half_atoms() -> None:
    data = explained("tiles/hbm3_mxfp6", 4096, 4096)
    assert parts(data["example"]["activations"]) == [
        (0, 96, "source: X[column, 0:4096], e2m3"),
        (0, 4, "source_scales: 128 scales, group after group, e8m0")]
    beats = [(0x200 + 48 * place, 1.5, f"  strip 0: W[{place % 4}, {low}:{low + 64}]")
             for place, low in enumerate((0, 0, 0, 0, 64, 64))]
    # Four rows of 64 beats, six of which are shown.
    assert parts(data["example"]["weights"]) == [
        (0, 16, "block 0: scales of 128 groups x 4 scale rows, e8m0"), *beats,
        (0x320, 375, "  strip 0: and so on, beat after beat, row after row"),
        (0x3200, 1023 * 400, "blocks 1 to 1023, 4 rows each")]
    assert [rate["value"] for rate in data["rates"]] == [
        pytest.approx(25.6), pytest.approx(64 * 0.8 * 2 / 3)]
    assert data["example"]["rates"][-1]["value"] == pytest.approx(96)


def test_tiles_without_zero_points_have_no_buffer_of_them() -> None:
    data = explained("tiles/hbm3_int4_fp8", 1, 1)
    assert "weight zero points" not in [buffer["name"] for buffer in data["buffers"]]
    assert data["formats"]["factors"] == data["formats"]["weights"] == "int4"


@pytest.mark.parametrize(("name", "lines"), [
    ("tiles/hbm3_nvfp4", [
        "product 9 e2m1 x e2m1, in units of 2^-2",
        "scaled sum of a block 48 16 products times both block scales, in units of 2^-20",
        "sum of a beat 50 64 products",
        "sum of a row 58 up to 16384 products, exact; rounded once to FP32",
        "rows of a strip 1 not interleaved, as each row is one sum",
        "rows of a block 1 their weight scales and that of the tensor stand in front"]),
    ("tiles/hbm3_uint4_fp8", [
        "product 23 int5 x e4m3, int5 being uint4 less a zero point, in units of 2^-9",
        "sum of a beat 29 64 products",
        "sum of a group 30 128 products, exact; rounded once to FP32",
        "rows of a strip 4 interleaved, so that no sum waits for the last one's addition",
        "rows of a block 4 their weight scales and zero points stand in front"]),
    ("tiles/hbm3_mxfp6", [
        "lanes 64 384 bits of one and a half atoms / 6 bits of e2m3",
        "product 13 e2m3 x e2m3, in units of 2^-6",
        "sum of a group 18 32 products, exact; rounded once to FP32"]),
    ("tiles/hbm3_mxfp8", [
        "product 37 e4m3 x e4m3, in units of 2^-18",
        "sum of a group 42 32 products, exact; rounded once to FP32",
        "rows of a block 4 their weight scales stand in front"]),
])
def test_the_tables_say_what_is_added(name: str, lines: list[str],
                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", str(PROJECT / f"{name}.toml")]) == HELD
    shown = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert not [line for line in lines if line not in shown]
