"""Activity of a simulation: how often every net of a waveform rises and falls."""

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb.simulator import build_library

__all__ = ["Waveform"]

_SOURCE = Path(__file__).parent.parent / "tb" / "toggles.cpp"
_VARIABLE = re.compile(r"\$var \w+ (\d+) (\S+) (.+?)(?: \[\d+:\d+\])? \$end")


@dataclass(frozen=True)
class _Variable:
    code: int
    width: int


class Waveform:
    """A VCD file as Verilator writes it; variables are named by their scopes and name, with dots.

    :Errors: ``ValueError`` for a name that the file has not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._variables: dict[str, _Variable] = {}
        self._library = ctypes.CDLL(str(build_library(_SOURCE)))
        self._library.toggles_transfers.restype = ctypes.c_int64
        scopes: list[str] = []
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if words[:1] == ["$scope"]:
                    scopes.append(words[2])
                elif words[:1] == ["$upscope"]:
                    scopes.pop()
                elif words[:1] == ["$enddefinitions"]:
                    break
                elif match := _VARIABLE.search(line):
                    self._variables[".".join([*scopes, match[3]])] = _Variable(
                        _number(match[2]), int(match[1]))

    def has(self, name: str) -> bool:
        """Whether there is such a variable."""
        return name in self._variables

    def transfers(self, clock: str, valid: str, ready: str) -> list[int]:
        """The times of the clock's rising edges at which ``valid`` and ``ready`` were 1."""
        codes = [ctypes.c_uint64(self._find(name).code) for name in (clock, valid, ready)]
        times = np.zeros(1 << 22, np.uint64)
        found = self._library.toggles_transfers(
            str(self.path).encode(), *codes, ctypes.c_uint64(times.size), _pointer(times))
        assert found >= 0, f"{self.path} vanished"
        return [int(time) for time in times[:found]]

    def toggles(self, begin: int, end: int) -> Mapping[str, list[tuple[int, int]]]:
        """Rises and falls of every variable's bits, bit 0 first, from ``begin`` to before ``end``.
        """
        codes = max(variable.code for variable in self._variables.values()) + 1
        first = np.full(codes, -1, np.int64)
        bits = 0
        for variable in self._variables.values():
            if first[variable.code] < 0:
                first[variable.code] = bits
                bits += variable.width
        rises, falls = np.zeros(bits, np.uint64), np.zeros(bits, np.uint64)
        failed = self._library.toggles_count(
            str(self.path).encode(), ctypes.c_uint64(begin), ctypes.c_uint64(end),
            ctypes.c_uint64(codes), _pointer(first), ctypes.c_uint64(bits), _pointer(rises),
            _pointer(falls))
        assert not failed, f"{self.path} vanished"
        counts = list(zip(rises.tolist(), falls.tolist(), strict=True))
        return {name: counts[start:start + variable.width]
                for name, variable in self._variables.items()
                for start in (int(first[variable.code]),)}

    def _find(self, name: str) -> _Variable:
        if name not in self._variables:
            raise ValueError(f"{self.path} has no variable {name}")
        return self._variables[name]


def _number(code: str) -> int:
    return sum((ord(letter) - 32) * 94**place for place, letter in enumerate(code))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
