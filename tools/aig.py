"""And-inverter graphs: Boolean functions that share structure, simulated or written for abc."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

__all__ = ["Aig", "Function", "read_constants"]


class Aig:
    """A graph of two-input ANDs; equal ones are one.

    A literal is twice its node's number, plus one where it is negated; literal 0 is false and 1 is
    true. A node's number is larger than those of its inputs.
    """

    def __init__(self) -> None:
        # A node is a variable (None) or an AND of two literals; node 0 is the constant.
        self.nodes: list[tuple[int, int] | None] = [None]
        self.variables: list[int] = []
        self._ands: dict[tuple[int, int], int] = {}

    def variable(self) -> int:
        """A new variable's literal."""
        self.nodes.append(None)
        self.variables.append(len(self.nodes) - 1)
        return 2 * self.variables[-1]

    def both(self, first: int, second: int) -> int:
        """The literal of an AND."""
        if first > second:
            first, second = second, first
        if first == 0 or first == second ^ 1:
            return 0
        if first == 1 or first == second:
            return second
        found = self._ands.get((first, second))
        if found is None:
            found = 2 * len(self.nodes)
            self._ands[first, second] = found
            self.nodes.append((first, second))
        return found

    def differ(self, first: int, second: int) -> int:
        """The literal of an exclusive or."""
        return self.both(self.both(first, second ^ 1) ^ 1, self.both(first ^ 1, second) ^ 1) ^ 1

    def simulate(self, patterns: int, random: Random) -> list[int]:
        """Every node's value for so many random values of the variables: bit i for the i-th."""
        return self.evaluate({node: random.getrandbits(patterns) for node in self.variables},
                             patterns)

    def evaluate(self, variables: Mapping[int, int], patterns: int = 1) -> list[int]:
        """Every node's value for values of the variables (nodes); those not given are 0."""
        ones = (1 << patterns) - 1
        values: list[int] = []
        for number, node in enumerate(self.nodes):
            if node is None:
                values.append(variables.get(number, 0))
                continue
            first, second = (values[literal >> 1] ^ (ones if literal & 1 else 0)
                             for literal in node)
            values.append(first & second)
        return values

    def support(self, literals: Iterable[int]) -> set[int]:
        """The variables (nodes) that some literals depend on."""
        return {node for node in self._cone(literals) if node and self.nodes[node] is None}

    def _cone(self, literals: Iterable[int]) -> list[int]:
        found, waiting = set(), [literal >> 1 for literal in literals]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += [literal >> 1 for literal in self.nodes[node] or ()]
        return sorted(found)

    def write(self, path: Path, outputs: Sequence[int]) -> list[int]:
        """Write the cones of some literals as a binary AIGER file; return its variables, in order.

        :Source: A. Biere, "The AIGER And-Inverter Graph Format", 2007.
        """
        cone = [node for node in self._cone(outputs) if node]
        variables = [node for node in cone if self.nodes[node] is None]
        ands = [node for node in cone if self.nodes[node] is not None]
        number = {0: 0} | {node: place for place, node in enumerate(variables + ands, 1)}
        sizes = len(cone), len(variables), 0, len(outputs), len(ands)
        text = bytearray(b"aig %d %d %d %d %d\n" % sizes)
        for literal in outputs:
            text += b"%d\n" % (2 * number[literal >> 1] + (literal & 1))
        for node in ands:
            inputs = sorted(2 * number[literal >> 1] + (literal & 1)
                            for literal in self.nodes[node] or ())
            text += _delta(2 * number[node] - inputs[1]) + _delta(inputs[1] - inputs[0])
        path.write_bytes(text)
        return variables


def _delta(value: int) -> bytes:
    found = bytearray()
    while value & ~0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def read_constants(path: Path) -> list[bool | None]:
    """Which outputs of a binary AIGER file are constant: False, True, or None for no constant."""
    lines = path.read_bytes().split(b"\n")
    _, _, inputs, latches, outputs, *_ = lines[0].split()
    assert lines[0].startswith(b"aig ") and int(latches) == 0 and int(inputs) >= 0
    return [{b"0": False, b"1": True}.get(line) for line in lines[1:1 + int(outputs)]]


class Function:
    """A literal of a graph with Python's operators, as :func:`tools.boolean.evaluate` uses them."""

    def __init__(self, graph: Aig, literal: int) -> None:
        self.graph, self.literal = graph, literal

    def __and__(self, other: "Function") -> "Function":
        return Function(self.graph, self.graph.both(self.literal, other.literal))

    def __or__(self, other: "Function") -> "Function":
        return Function(self.graph, self.graph.both(self.literal ^ 1, other.literal ^ 1) ^ 1)

    def __xor__(self, other: "Function") -> "Function":
        return Function(self.graph, self.graph.differ(self.literal, other.literal))
