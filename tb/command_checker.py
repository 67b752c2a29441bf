"""Bench of :class:`hdl.command_checker.CommandChecker`: commands at, and just past, each limit."""

from collections import Counter

import cocotb

from golden.command_checker import command_checker, command_sizes
from spec.commands import FIELDS, Command, ErrorCode, Opcode
from spec.units import CommandCheckerParams
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.packing import fields

__all__ = ["Checked", "checked_fields", "hold", "latency", "random_commands"]

WORD = (1 << 32) - 1


def checked_fields(params: CommandCheckerParams) -> list[tuple[str, int]]:
    """Names and widths of a checked command, the lowest first."""
    memory = params.memory
    return [("opcode", 8), ("tag", 16), ("error", 8), ("columns", params.column_bits),
            ("k", params.k_bits), ("k_atoms", params.k_atoms_bits), ("rows", params.rows_bits),
            ("scale_atoms", params.scale_atoms_bits), ("zero_atoms", params.zero_atoms_bits),
            ("transposed", 1), ("narrow", params.narrow_bits),
            ("source", memory.index_bits), ("source_atoms", memory.count_bits),
            ("other", memory.index_bits), ("other_atoms", memory.count_bits)]


def other_field(opcode: int) -> str:
    """Where a command has the address of its second region."""
    return "source_scales" if opcode == Opcode.LOAD else "target"


class Checked:
    """What the checker makes of a command: all values that mean something, by name."""

    def __init__(self, command: Command, error: ErrorCode, params: CommandCheckerParams):
        atom_bytes = params.memory.atom_bits // 8
        self.values = {"opcode": command.opcode, "tag": command.tag, "error": int(error)}
        if error == ErrorCode.NONE and command.opcode != Opcode.FENCE:
            sizes = command_sizes(command, params)
            self.values |= {
                "columns": command.columns, "k": command.k, "k_atoms": sizes.k_atoms,
                "scale_atoms": sizes.scale_atoms,
                "source": command.source // atom_bytes, "source_atoms": sizes.source_atoms,
                "other": getattr(command, other_field(command.opcode)) // atom_bytes,
                "other_atoms": sizes.other_atoms, "transposed": command.transposed,
                "narrow": command.format_index}
            if command.opcode == Opcode.GEMV:
                self.values |= {"rows": command.rows, "zero_atoms": sizes.zero_atoms}

    def pack(self, params: CommandCheckerParams) -> int:
        """The payload; values that mean nothing are zero."""
        return fields(*((self.values.get(name, 0), bits)
                        for name, bits in checked_fields(params)))

    def among(self, payload: int, params: CommandCheckerParams) -> dict[str, int]:
        """The values of a payload that this command gives a meaning."""
        found, place = {}, 0
        for name, bits in checked_fields(params):
            if name in self.values:
                found[name] = payload >> place & ((1 << bits) - 1)
            place += bits
        return found


class _Checking:
    """Commands one at a time, each with its own window and loaded vectors."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params_from_environment(CommandCheckerParams)
        self.bench = Bench(dut)
        self.rng = self.bench.rng
        self.source = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall, take=self._take)
        self.bench.watchers.append(self._busy)
        self.expected = None
        self.atom_bytes = self.params.memory.atom_bits // 8
        self.space = 1 << self.params.memory.address_bits
        self.errors = Counter()
        dut.hold.value = 0

    def _take(self, payload):
        self.board.check(self.expected.among(payload, self.params))

    def _busy(self):
        under_way = (len(self.source.taken) - len(self.sink.came)
                     - (self.source.taken[-1:] == [self.bench.cycle])
                     + (self.sink.came[-1:] == [self.bench.cycle]))
        assert self.dut.busy.value == under_way

    def offer(self, command, window, loaded):
        """Put a command and what it is checked against on the inputs."""
        params = self.params
        base, limit = window
        mask = 2 * self.space - 1
        self.dut.window_base.value, self.dut.window_limit.value = base & mask, limit & mask
        self.dut.loaded.value = word(loaded, params.loaded_bits)
        error = command_checker(command, window, loaded, params)
        self.errors[error] += 1
        self.expected = Checked(command, error, params)
        self.board.expect(self.expected.values, f"{command}, window {window}, loaded {loaded}")
        self.source.send(word(command.pack(), 32))

    async def result(self):
        """Wait for the result."""
        while self.board.expected:
            await self.bench.step()

    # Good commands, and what makes them bad.

    def good(self):
        """A command that may start, its window and its vectors."""
        params, rng = self.params, self.rng
        opcode = rng.choice((Opcode.LOAD, Opcode.GEMV, Opcode.GEMV, Opcode.GEMV))
        tag = rng.getrandbits(16)
        if rng.random() < 0.05:
            return Command(Opcode.FENCE, tag=tag), (0, 0), [0] * params.columns
        load = opcode == Opcode.LOAD
        index = rng.randrange(1 + params.narrow_bits)
        one = params.formats[index]
        k = self._near(1, params.k_max, one.lanes, one.group)
        transposed = params.transposed and not load and rng.random() < 0.4
        rows = 0 if load else self._near(1, params.k_max if transposed else params.rows_max,
                                         one.rows_per_strip, one.rows_per_block)
        columns = rng.randrange(params.columns) + (not load)
        command = Command(opcode, columns=columns, tag=tag, k=k, rows=rows, transposed=transposed,
                          format_index=index)
        sizes = command_sizes(command, params)
        atoms = params.memory_atoms
        total = sizes.source_atoms + sizes.other_atoms
        if total > atoms:
            return self.good()
        # Both regions, in either order, close or apart, then the window around them.
        gap = rng.choice((0, 0, 1, rng.randrange(atoms - total + 1)))
        gap = min(gap, atoms - total)
        first = rng.choice((0, atoms - total - gap, rng.randrange(atoms - total - gap + 1)))
        source, other = first, first + sizes.source_atoms + gap
        if rng.random() < 0.5:
            source, other = first + sizes.other_atoms + gap, first
        window = (rng.choice((0, first)), rng.choice((atoms, first + total + gap)))
        length = rows if transposed else k
        length |= index << params.k_bits
        loaded = [length if column < columns else rng.choice((0, k, 1))
                  for column in range(params.columns)]
        return (self._with(command, source=source * self.atom_bytes,
                           **{other_field(opcode): other * self.atom_bytes}),
                tuple(address * self.atom_bytes + rng.randrange(self.atom_bytes)
                      for address in window), loaded)

    def _near(self, least, most, *steps):
        """A value at a limit, or next to a multiple of a step, or of any size."""
        rng = self.rng
        step = rng.choice(steps)
        value = rng.choice((least, most, step * rng.randint(1, 4) + rng.choice((-1, 0, 1)),
                            rng.randint(least, most), rng.randrange(1 << rng.randint(1, 12))))
        return min(max(value, least), most)

    @staticmethod
    def _with(command, **changes):
        return Command(**{**command.__dict__, **changes})

    def spoil(self, command, window, loaded):
        """Change one thing that may, or may just not, break a limit."""
        params, rng, atom = self.params, self.rng, self.atom_bytes
        change = rng.choice(("opcode", "unused", "format", "columns", "k", "rows", "align",
                             "high", "window", "window", "window", "end", "loaded", "overlap",
                             "overlap", "overlap"))
        side = rng.choice(("source", other_field(command.opcode)))
        address = getattr(command, side)
        if change == "opcode":
            command = self._with(command, opcode=rng.choice((*Opcode, 0, 255, rng.getrandbits(8))))
        elif change == "unused":
            field = rng.choice([field for field in FIELDS if command.opcode not in field.used_by])
            command = self._with(command, **{field.name: 1 << rng.randrange(field.bits)})
        elif change == "format":
            if rng.random() < 0.5:
                # Of two formats, the other one may be right, but is not that of the vectors.
                command = self._with(command, format_index=rng.choice((0, 1, 2, 8, 15)))
            elif command.opcode == Opcode.LOAD:
                command = self._with(command, source_format=rng.randrange(1, 16))
            elif command.opcode == Opcode.GEMV:
                command = self._with(command, transposed=1 - command.transposed)
        elif change == "columns":
            command = self._with(command, columns=rng.choice(
                (0, params.columns, params.columns + 1, 1 << params.column_bits, 255)))
        elif change == "k":
            command = self._with(command, k=rng.choice(
                (0, params.k_max, params.k_max + 1, WORD,
                 command.k + (1 << rng.randint(params.k_bits, 31)) & WORD)))
        elif change == "rows":
            command = self._with(command, rows=rng.choice(
                (0, params.rows_max, params.rows_max + 1, WORD,
                 command.rows + (1 << rng.randint(params.rows_bits, 31)) & WORD)))
        elif change == "align":
            command = self._with(command, **{side: address + (1 << rng.randrange(
                atom.bit_length() - 1))})
        elif change == "high":
            bit = rng.randrange(params.memory.address_bits, 64)
            command = self._with(command, **{side: address | 1 << bit})
        elif change == "window":
            window = self._window(command, window)
        elif change == "end":
            # The window is open beyond the memory; a region ends with it, or one atom behind.
            window = (0, 2 * self.space - 1)
            if self._measurable(command):
                sizes = command_sizes(command, params)
                atoms = sizes.source_atoms if side == "source" else sizes.other_atoms
                start = (params.memory_atoms - atoms + rng.choice((0, 1))) * atom
                command = self._with(command, **{side: max(0, start)})
        elif change == "loaded":
            column = rng.randrange(params.columns)
            loaded = [*loaded]
            loaded[column] = rng.choice((0, command.k & ((1 << params.k_bits) - 1),
                                         rng.randrange(1 << params.loaded_bits)))
        elif change == "overlap":
            command = self._overlapping(command)
            if rng.random() < 0.9:
                window = (0, self.space)
        return command, window, loaded

    def _measurable(self, command):
        """Whether the sizes of a command are defined."""
        params = self.params
        return (command.k <= params.k_max and command.rows <= params.rows_max
                and command.format_index <= params.narrow_bits)

    def _window(self, command, window):
        """A border at the first or last atom of a region, or one atom inside it or outside."""
        rng, atom = self.rng, self.atom_bytes
        if rng.random() < 0.1:
            return rng.choice(((0, 0), (window[1], window[0]), (self.space, self.space)))
        if not self._measurable(command):
            return window
        sizes = command_sizes(command, self.params)
        start, size = rng.choice(((command.source, sizes.source_atoms),
                                  (getattr(command, other_field(command.opcode)),
                                   sizes.other_atoms)))
        place = rng.choice((-1, 0, 1)) * atom + rng.choice((0, 0, rng.randrange(atom)))
        if rng.random() < 0.5:
            return max(0, start + place), window[1]
        return window[0], max(0, start + size * atom + place)

    def _overlapping(self, command):
        """Move the results to an end of the weights: touching, or one atom over it."""
        rng, atom = self.rng, self.atom_bytes
        if not self._measurable(command):
            return command
        sizes = command_sizes(command, self.params)
        place = rng.choice((-sizes.other_atoms, 1 - sizes.other_atoms, 0, sizes.source_atoms - 1,
                            sizes.source_atoms, rng.randrange(sizes.source_atoms + 1)))
        other = command.source + place * atom
        if not 0 <= other < 1 << 64:
            return command
        return self._with(command, **{other_field(command.opcode): other})


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def random_commands(dut, idle, stall):
    """Good commands, and such with one, two or three faults: the lowest code and all sizes."""
    checking = _Checking(dut, idle, stall)
    await checking.bench.start()
    for _ in range(1000):
        case = checking.good()
        for _ in range(checking.rng.choice((0, 1, 1, 1, 2, 3))):
            case = checking.spoil(*case)
        checking.offer(*case)
        await checking.result()
    checking.board.close(at_least=1000)
    few = {code.name: checking.errors[code] for code in ErrorCode
           if code <= ErrorCode.OVERLAP and code != ErrorCode.GROUP
           and checking.errors[code] < 5}
    assert not few, f"hardly tested: {few}"
    assert checking.errors[ErrorCode.NONE] > 200


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """No command takes longer than promised, and the longest product takes just that."""
    checking = _Checking(dut)
    params = checking.params
    await checking.bench.start()
    for place in range(100):
        command, window, loaded = checking.good()
        if not place:
            command = Command(Opcode.GEMV, columns=1, k=params.k_max, rows=1)
        checking.offer(command, window, loaded)
        await checking.result()
    checking.board.close(at_least=100)
    measured = [came - took for took, came in zip(checking.source.taken, checking.sink.came,
                                                  strict=True)]
    assert max(measured) == measured[0] == 4 + params.size_cycles, measured


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def hold(dut):
    """While a command is under way there is no result; what it loads counts for the next."""
    checking = _Checking(dut)
    params, rng = checking.params, checking.rng
    await checking.bench.start()
    for _ in range(100):
        command, window, loaded = checking.good()
        dut.hold.value = 1
        checking.offer(command, window, loaded)
        before = [rng.randrange(1 << params.loaded_bits) for _ in loaded]
        dut.loaded.value = word(before, params.loaded_bits)
        for _ in range(rng.randint(1, 2 * params.size_cycles + 10)):
            await checking.bench.step()
            assert checking.board.expected, "a result came while a command was under way"
        dut.loaded.value = word(loaded, params.loaded_bits)
        dut.hold.value = 0
        ended = checking.bench.cycle
        await checking.result()
        late = checking.sink.came[-1] - max(ended + 2, checking.source.taken[-1] + 4
                                            + params.size_cycles)
        assert late <= 0, f"{late} cycles too late"
    checking.board.close(at_least=100)
