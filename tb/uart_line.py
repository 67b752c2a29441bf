"""A serial line in a bench: bytes to bits and back, one look per clock cycle."""

__all__ = ["LineReader", "line_bits"]


def line_bits(byte: int, stop: int = 1) -> list[int]:
    """Levels of a byte on the line, bit after bit: start, eight data bits, stop."""
    return [0, *(byte >> place & 1 for place in range(8)), stop]


class LineReader:
    """Reads bytes of a line that is sampled once per cycle.

    Every level must last a whole number of bits of ``divider`` cycles, within a byte; ``starts``
    are the cycles in which start bits began.
    """

    def __init__(self, divider: int):
        self.divider = divider
        self.levels: list[int] = []
        self.bytes: list[int] = []
        self.starts: list[int] = []
        self.cycle = 0

    def sample(self, level: int) -> None:
        """See the level of one cycle."""
        if self.levels or level == 0:
            if not self.levels:
                self.starts.append(self.cycle)
            self.levels.append(level)
            if len(self.levels) == 10 * self.divider:
                self._byte()
        self.cycle += 1

    def _byte(self) -> None:
        bits = [self.levels[place * self.divider:][:self.divider] for place in range(10)]
        assert all(len(set(levels)) == 1 for levels in bits), f"a bit of another length: {bits}"
        assert bits[0][0] == 0 and bits[9][0] == 1, f"no start or stop bit: {bits}"
        self.bytes.append(sum(levels[0] << place for place, levels in enumerate(bits[1:9])))
        self.levels = []
