"""Fixtures that several files share."""

import os
import signal
from pathlib import Path

import pytest

from spec.load import load_tile
from spec.tile import Tile
from tests.run_verb import Runner

__all__ = ["DESCRIPTIONS", "PROJECT"]

PROJECT = Path(__file__).resolve().parent.parent

# Whoever starts the tests in the background may have switched SIGINT off, for all children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The default tile, four columns with FP32 scales, the smallest legal one and an odd one; then those
# that control their pseudo-channel: of HBM3, of DDR5, and of a small grade of their own; then those
# with units for whole tensors; then those of other formats and other sums.
DESCRIPTIONS = (
    PROJECT / "tiles" / "hbm3_fp8.toml",
    PROJECT / "tiles" / "hbm3_fp8_x4.toml",
    PROJECT / "tests" / "descriptions" / "smallest.toml",
    PROJECT / "tests" / "descriptions" / "odd.toml",
    PROJECT / "tiles" / "hbm3_fp8_native.toml",
    PROJECT / "tests" / "descriptions" / "native_ddr5.toml",
    PROJECT / "tests" / "descriptions" / "native_small.toml",
    PROJECT / "tests" / "descriptions" / "tensors.toml",
    PROJECT / "tests" / "descriptions" / "native_tensors.toml",
    PROJECT / "tests" / "descriptions" / "int8.toml",
    PROJECT / "tests" / "descriptions" / "mxfp4.toml",
    PROJECT / "tests" / "descriptions" / "nvfp4.toml",
    PROJECT / "tests" / "descriptions" / "int4_fp8.toml",
    PROJECT / "tests" / "descriptions" / "uint4.toml",
    PROJECT / "tests" / "descriptions" / "mxfp6.toml",
    PROJECT / "tests" / "descriptions" / "aligned.toml",
    PROJECT / "tests" / "descriptions" / "fp32_tree.toml",
    PROJECT / "tests" / "descriptions" / "bf16.toml",
    PROJECT / "tests" / "descriptions" / "several.toml",
)


@pytest.fixture(params=DESCRIPTIONS, ids=lambda path: path.stem)
def description_path(request: pytest.FixtureRequest) -> Path:
    """The file of each description that the suite runs on."""
    path: Path = request.param
    return path


@pytest.fixture
def tile(description_path: Path) -> Tile:
    """Each of those descriptions, resolved."""
    return load_tile(description_path)


@pytest.fixture
def default_tile() -> Tile:
    """The default tile alone, for tests that need no other."""
    return load_tile(DESCRIPTIONS[0])


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names lie in a folder of the test; simulations are built where they always are."""
    monkeypatch.setenv("PNMTILE_BUILD", os.environ.get("PNMTILE_BUILD", str(PROJECT / "build")))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    """The verb ``run``."""
    return Runner(capsys)
