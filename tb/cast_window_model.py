"""What stands around a cast window in its bench: a host that judges, a memory, and writers."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golden.quantizer import quantize
from spec.description import Scaling
from spec.formats import FLOAT_FORMATS
from spec.memory_units import Aperture, ReadFault
from spec.tensor_units import CastWindowParams
from spec.tensors import RULE_NAMES, ScaleRule, TensorFormat
from tb.bench import Bench, Scoreboard, params_from_environment, split_word, word
from tb.packing import fields

__all__ = ["CLOSED", "Window", "WindowBench"]


@dataclass(frozen=True)
class Window:
    """A window as MAP names it; ``group`` in elements."""

    source: int
    elements: int
    target: str
    rule: str
    group: int

    @property
    def scale_bytes(self) -> int:
        """Bytes of one scale."""
        return 4 if RULE_NAMES[self.rule] == ScaleRule.FP32_DIV else 1


CLOSED = Window(0, 0, "e4m3", "e8m0-ceil", 128)


class WindowBench:
    """Sends reads and writes and expects every answer, as the golden quantizer makes it."""

    def __init__(self, dut, idle=0.0, stall=0.0, memory_stall=0.0):
        self.params = params_from_environment(CastWindowParams)
        self.bench, self.dut = Bench(dut), dut
        self.rng = self.bench.rng
        self.atoms: dict[int, int] = defaultdict(self._atom)
        self.faults: set[int] = set()
        self.delay: Callable[[], int] = lambda: 0
        self.write_delay: Callable[[], int] = lambda: 0
        self.window = CLOSED
        self.made: dict[Aperture, list[tuple[int, int]]] | None = None

        self.answers, never = Scoreboard("data"), Scoreboard("memory_read")
        self.reads = self.bench.source("read", idle)
        self.data = self.bench.sink(self.answers, "data", stall, take=self._answer)
        self.asked = self.bench.sink(never, "memory_read", memory_stall, take=self._asked)
        self.memory_data = self.bench.source("memory_data", idle)
        self.bench.scoreboards.remove(never)
        self.reading: list[tuple[int, int]] = []
        self.order: list[int] = []
        self.writes = {who: self.bench.source(f"{who}_write") for who in ("host", "tile")}
        self.written = {who: self.bench.source(f"{who}_written") for who in ("host", "tile")}
        self.writing: dict[str, list[tuple[int, int]]] = {"host": [], "tile": []}
        self.applied = {"host": 0, "tile": 0}
        self.due: dict[str, list[int]] = {"host": [], "tile": []}
        self.bench.watchers.append(self._step)

    # Memory

    def _atom(self) -> int:
        """Elements of all magnitudes that a group may have; NaN and infinity are rare."""
        rng, middle = self.rng, self.rng.choice((20, 110, 127, 140, 240))
        return word((rng.choice((0x7F80, 0xFFC1, 0x8000, 0)) if rng.random() < 0.02
                     else rng.getrandbits(1) << 15 | rng.randint(middle - 10, middle + 10) << 7
                     | rng.getrandbits(7) for _ in range(self.params.code_lanes)), 16)

    def _asked(self, index: int) -> None:
        fault = index in self.faults and self.rng.randint(1, 3)
        atom = self.rng.getrandbits(self.params.atom_bits) if fault else self.atoms[index]
        self.order.append(index)
        due = max(self.reading[-1][0] if self.reading else 0, self.bench.cycle + self.delay())
        self.reading.append((due, fields((atom, self.params.atom_bits), (fault, 2))))

    def write(self, who: str, index: int) -> None:
        """Write a new atom; it takes effect when it is written."""
        self.writes[who].send(index)
        self.writing[who].append((index, self._atom()))

    def _step(self) -> None:
        cycle = self.bench.cycle
        while self.reading and self.reading[0][0] <= cycle:
            self.memory_data.send(self.reading.pop(0)[1])
        for who, due in self.due.items():
            while self.applied[who] < len(self.written[who].taken):
                index, atom = self.writing[who].pop(0)
                self.atoms[index] = atom
                self.applied[who] += 1
                self.made = None
            accepted, said = len(self.writes[who].taken), len(self.written[who].taken)
            said += len(self.written[who].items)
            while len(due) < accepted:
                due.append(max(due[-1] if due else 0, cycle + self.write_delay()))
            while said < accepted and due[said] <= cycle:
                self.written[who].send(0)
                said += 1

    # The window

    def random_window(self, longest: int = 3000) -> Window:
        """A window of any kind that is built."""
        params, rng = self.params, self.rng
        elements = rng.choice((rng.randint(1, 40), rng.randint(1, longest)))
        atoms = -(-elements // params.code_lanes)
        return Window(rng.randrange((1 << params.index_bits) - atoms), elements,
                      rng.choice(params.formats), rng.choice(params.rules),
                      rng.choice(params.groups))

    async def map(self, window: Window) -> None:
        """Open a window."""
        params = self.params
        self.window, self.made = window, None
        self.dut.window.value = fields(
            (window.source, params.index_bits), (window.elements, params.ELEMENT_BITS),
            (TensorFormat[window.target.upper()], 3), (RULE_NAMES[window.rule], 2),
            (window.group.bit_length() - 1, 4))
        self.dut.mapped.value = 1
        await self.bench.step()
        self.dut.mapped.value = 0

    def _make(self) -> dict[Aperture, list[tuple[int, int]]]:
        """Every atom of both apertures, each with whether its source has a fault."""
        window, params = self.window, self.params
        result: dict[Aperture, list[tuple[int, int]]] = {Aperture.CODES: [], Aperture.SCALES: []}
        if not window.elements:
            return result
        lanes, size = params.code_lanes, params.atom_bits // 8
        count = -(-window.elements // lanes)
        values = np.array([value for place in range(count) for value in
                           split_word(self.atoms[window.source + place], 16, lanes)], np.uint16)
        codes, scales = quantize(values[:window.elements], FLOAT_FORMATS[window.target],
                                 Scaling(format="fp32" if window.scale_bytes == 4 else "e8m0",
                                         rule=window.rule, group=window.group,
                                         amax_floor=params.amax_floor))
        unit = max(window.group, size)
        bad = {(index - window.source) * lanes // unit for index in self.faults
               if 0 <= index - window.source < count}
        for aperture, values_, each in ((Aperture.CODES, codes, 1),
                                        (Aperture.SCALES, scales, window.group)):
            data = values_.tobytes()
            elements = size // values_.dtype.itemsize * each    # Of an atom.
            for place in range(-(-len(data) // size)):
                part = data[place * size:(place + 1) * size]
                first, end = place * elements, min((place + 1) * elements, window.elements)
                units = range(first // unit, (end - 1) // unit + 1)
                result[aperture].append((int.from_bytes(part, "little"),
                                         int(any(one in bad for one in units))))
        return result

    def atoms_of(self, aperture: Aperture) -> int:
        """Atoms of the window in an aperture."""
        if self.made is None:
            self.made = self._make()
        return len(self.made[aperture])

    # The host

    def read(self, aperture: Aperture, index: int, certain: bool = True) -> None:
        """Read an atom; where it is not ``certain``, any answer will do."""
        params = self.params
        self.reads.send(fields((index, params.index_bits), (aperture, 2)))
        data, fault, outside = 0, 0, 0
        if not certain:
            self.answers.expect(None)
            return
        if aperture == Aperture.MEMORY:
            fault = index in self.faults
            data = self.atoms[index]
        elif index < self.atoms_of(aperture):
            assert self.made is not None
            data, fault = self.made[aperture][index]
        else:
            outside = 1
        self.answers.expect((data if not fault else None, fault, outside),
                            (aperture, index, self.window))

    def _answer(self, item: int) -> None:
        bits = self.params.atom_bits
        data, fault, outside = item & (1 << bits) - 1, item >> bits & 3, item >> bits + 2
        if self.answers.expected and self.answers.expected[0][0] is None:
            self.answers.expected.popleft()
            return
        expected = self.answers.expected[0][0] if self.answers.expected else None
        if outside:
            data = 0
        if expected is not None and expected[0] is None:
            data = None
            fault = bool(fault)
        if fault and self.answers.expected[0][1][0] != Aperture.MEMORY:
            assert fault == ReadFault.RESPONSE
        self.answers.check((data, fault, outside))

    async def start(self) -> None:
        """Reset, with the window closed."""
        self.dut.mapped.value = 0
        self.dut.window.value = 0
        await self.bench.start()

    async def quiet(self) -> None:
        """Wait for all answers, and until all writes are written."""
        await self.bench.drain(0)
        while any(self.writing.values()):
            await self.bench.step()

    def end(self, at_least: int) -> None:
        """Fail when fewer answers were compared."""
        self.answers.close(at_least)
