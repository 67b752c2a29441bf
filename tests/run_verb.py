"""What tests of ``pnmtile run`` share: the verb in this process, and arrays in files."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.cli import run_command

__all__ = ["Runner", "save"]


def save(**arrays: NDArray[Any]) -> None:
    """Write each array to the file of its name in the working folder."""
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)


class Runner:
    """Runs the verb in this process and reads what it said: ``err``, and ``words`` without the
    lines and frames that it was printed in."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self.capsys = capsys
        self.err = ""

    def __call__(self, tile: str | Path, *arguments: str) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        code = run_command(["run", str(tile), *arguments, "--json"])
        captured = self.capsys.readouterr()
        self.err = captured.err
        return code, json.loads(captured.out) if captured.out else {}

    @property
    def words(self) -> str:
        """What it said, in one line."""
        return re.sub(r"[\s│]+", " ", self.err)
