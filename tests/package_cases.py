"""IP packages that several tests look at, made once per process."""

import re
from functools import cache

import pytest

from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import PROJECT
from tools.fpga_package import package_files

__all__ = ["HBM2", "PACKAGED", "WIDE", "packaged", "ports"]

# A tile with the addresses of a pseudo-channel alone, and one with those of the whole HBM.
HBM2 = PROJECT / "tiles" / "hbm2_fp8.toml"
WIDE = PROJECT / "tests" / "descriptions" / "wide_hbm.toml"

PACKAGED = pytest.mark.parametrize("board", ["u55c", "u280"])


@cache
def packaged(board: str) -> tuple[Tile, dict[str, str]]:
    """The tile that the tests have for a board, and its package."""
    tile = load_tile(HBM2 if board == "u55c" else WIDE)
    return tile, package_files(tile, board)


_PORT = re.compile(r'^ *\(\* X_INTERFACE_INFO = "([^"]+)" \*\)\n(?:^ *\(\* .*\n)?'
                   r'^ *(input|output) wire (?:\[(\d+):0\] )?(\w+),?$', re.MULTILINE)


def ports(wrapper: str) -> dict[str, tuple[str, str, int]]:
    """What each port of the IP is said to be, its direction and its width."""
    found = {name: (info, way, int(high or 0) + 1)
             for info, way, high, name in _PORT.findall(wrapper)}
    assert len(found) == len(re.findall(r"^ *(?:input|output) ", wrapper, re.MULTILINE))
    return found
