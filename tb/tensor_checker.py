"""Bench of :class:`hdl.tensor_checker.TensorChecker`: commands at, and just past, each limit."""

from collections import Counter
from dataclasses import replace

import cocotb

from golden.tensor_checker import tensor_checker
from spec.commands import FIELDS, Command, ErrorCode, Opcode
from spec.tensor_checks import TensorCheckerParams, tensor_sizes
from spec.tensors import RULE_NAMES, Reduction, TensorFormat
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.tensor_cases import FP8_CODES, REGIONS, bad_cases, format_codes, region_atoms

__all__ = ["every_limit", "hold", "latency", "random_commands", "tensor_command_fields",
           "tensor_command_values"]

# Codes that a tile without some command cannot give.
_RARE = {ErrorCode.COLUMNS, ErrorCode.NOT_LOADED}


def tensor_command_fields(params: TensorCheckerParams) -> list[tuple[str, int]]:
    """Names and widths of a checked command, the lowest first."""
    memory = params.memory
    return [
        ("opcode", 8), ("tag", 16), ("error", 8), ("columns", params.column_bits),
        ("k", params.k_bits), ("rows", params.rows_bits), ("source_format", 3),
        ("target_format", 3), ("rule", 2), ("group", 4), ("reduction", 3), ("whole", 1),
        ("to_host", 1), *((name, memory.index_bits) for name in REGIONS),
        ("source_row", params.row_bits), ("source_scale_row", params.row_bits),
        ("target_row", params.row_bits), ("target_scale_row", params.row_bits),
        ("source_atoms", memory.count_bits), ("target_atoms", memory.count_bits)]


def tensor_command_values(command: Command, error: ErrorCode,
                          params: TensorCheckerParams) -> dict[str, int]:
    """What the checker makes of a command: all values that mean something, by name."""
    values = {"opcode": int(command.opcode), "tag": command.tag, "error": int(error)}
    if error != ErrorCode.NONE:
        return values
    sizes = tensor_sizes(command, params)
    for field in FIELDS:
        if command.opcode in field.used_by and field.name in dict(tensor_command_fields(params)):
            values[field.name] = int(getattr(command, field.name))
    for name in REGIONS:
        values[name] = getattr(command, name) // params.atom_bytes
    if command.opcode == Opcode.LOAD:
        values |= {"target_format": int(TensorFormat[params.load_format.upper()]),
                   "rule": int(RULE_NAMES[params.load_rule]),
                   "group": params.group.bit_length() - 1}
    values |= {name: getattr(sizes, name) for name in (
        "source_row", "source_scale_row", "target_row", "target_scale_row", "source_atoms")}
    if "target" in region_atoms(command, sizes):
        values["target_atoms"] = sizes.target_atoms
    return values


class _Checking:
    """Commands one at a time, each with its own window."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.dut = dut
        self.params = params_from_environment(TensorCheckerParams)
        self.bench = Bench(dut)
        self.rng = self.bench.rng
        self.source = self.bench.source(idle=idle)
        self.board = Scoreboard("o")
        self.sink = self.bench.sink(self.board, stall=stall, take=self._take)
        self.bench.watchers.append(self._busy)
        self.expected = {}
        self.errors = Counter()
        dut.hold.value = 0

    def _take(self, payload):
        found, place = {}, 0
        for name, bits in tensor_command_fields(self.params):
            if name in self.expected:
                found[name] = payload >> place & ((1 << bits) - 1)
            place += bits
        self.board.check({name: found[name] for name in self.expected})

    def _busy(self):
        under_way = (len(self.source.taken) - len(self.sink.came)
                     - (self.source.taken[-1:] == [self.bench.cycle])
                     + (self.sink.came[-1:] == [self.bench.cycle]))
        assert self.dut.busy.value == under_way

    def window(self, window):
        """Open a window."""
        mask = (2 << self.params.memory.address_bits) - 1
        self.dut.window_base.value = window[0] & mask
        self.dut.window_limit.value = window[1] & mask

    def offer(self, command, window, error):
        """Put a command, and the window that it is checked against, on the inputs."""
        self.window(window)
        self.errors[error] += 1
        self.expected = tensor_command_values(command, error, self.params)
        self.board.expect(self.expected, f"{command}, window {window}")
        self.source.send(word(command.pack(), 32))

    async def result(self):
        """Wait for the result."""
        while self.board.expected:
            await self.bench.step()

    # Good commands, and what makes them bad.

    def good(self):
        """A command that may start, and its window."""
        rng, params = self.rng, self.params
        while True:
            command = self._fields()
            sizes = region_atoms(command, tensor_sizes(command, params))
            free = params.memory_atoms - sum(sizes.values())
            if free < 0:
                continue
            # The regions in any order, close or apart; then the window around them.
            place, starts = 0, []
            for name in rng.sample(sorted(sizes), len(sizes)):
                gap = min(free, rng.choice((0, 0, 1, rng.randrange(free + 1))))
                free -= gap
                starts.append(place + gap)
                command = replace(command, **{name: starts[-1] * params.atom_bytes})
                place = starts[-1] + sizes[name]
            window = (rng.choice((0, starts[0])) * params.atom_bytes,
                      rng.choice((params.memory_atoms, place)) * params.atom_bytes)
            if tensor_checker(command, window, params) == ErrorCode.NONE:
                return command, window

    def _fields(self):
        """All that is no address."""
        rng, params = self.rng, self.params
        opcode = rng.choice([opcode for opcode in params.opcodes
                             if opcode != Opcode.LOAD or params.load])
        fields = dict(tag=rng.getrandbits(16), k=self._near(params.k_max, params.group),
                      rows=self._near(params.rows_max, params.atom_bytes))
        bf16 = TensorFormat.BF16
        makes = {}
        if params.formats:
            makes = dict(target_format=rng.choice(format_codes(params.formats)),
                         rule=RULE_NAMES[rng.choice(params.rules)],
                         group=rng.choice(params.groups).bit_length() - 1)
        if opcode in (Opcode.LOAD, Opcode.MAP):
            fields["rows"] = 0
        if opcode == Opcode.LOAD:
            fields |= dict(columns=rng.randrange(params.columns), source_format=bf16)
        elif opcode == Opcode.MAP:
            fields |= makes | dict(k=rng.choice((fields["k"], rng.getrandbits(22))))
        elif opcode == Opcode.QUANTIZE:
            fields |= makes | dict(source_format=bf16)
        elif opcode == Opcode.REDUCE:
            fields |= dict(source_format=rng.choice(format_codes(params.reduce_formats)),
                           reduction=rng.choice([*Reduction][1:]), whole=rng.getrandbits(1))
        elif opcode == Opcode.TRANSPOSE and makes and rng.random() < 0.7:
            fields |= makes | dict(source_format=rng.choice(format_codes(params.requantized)),
                                   group=params.transpose_block.bit_length() - 1)
        elif opcode == Opcode.TRANSPOSE:
            source = rng.choice((bf16, *FP8_CODES))
            fields |= dict(source_format=source, target_format=source)
        else:
            source, target = (rng.choice(format_codes(params.copy_formats)) for _ in range(2))
            if target in FP8_CODES and target != source:
                fields |= makes
            fields |= dict(source_format=source, target_format=target)
        if params.host and rng.random() < 0.3 and opcode not in (Opcode.LOAD, Opcode.MAP):
            fields["to_host"] = 1
        # Long rows where there are no scales, and many rows.
        if not makes.keys() & fields.keys() and rng.random() < 0.3:
            fields["k"] = self._near((1 << 24) - 1, params.group)
        return Command(opcode, **fields)

    def _near(self, most, step):
        """A value at a limit, or next to a multiple of a step, or of any size."""
        rng = self.rng
        value = rng.choice((1, most, step * rng.randint(1, 4) + rng.choice((-1, 0, 1)),
                            rng.randint(1, most), rng.randrange(1 << rng.randint(1, 12))))
        return min(max(value, 1), most)

    def spoil(self, command, window):
        """Change one thing that may, or may just not, break a limit."""
        rng, params, atom = self.rng, self.params, self.params.atom_bytes
        change = rng.choice(("field", "format", "format", "group", "shape", "shape", "place",
                             "place", "place", "window", "window", "overlap", "overlap"))
        if change == "field":
            field = rng.choice([field for field in FIELDS if field.name != "tag"])
            return replace(command, **{field.name: rng.choice((
                1, 1 << rng.randrange(field.bits), rng.getrandbits(field.bits)))}), window
        if change == "format":
            name = rng.choice(("source_format", "target_format", "rule", "reduction"))
            return replace(command, **{name: rng.randrange(6)}), window
        if change == "group":
            return replace(command, group=rng.randrange(16)), window
        if change == "shape":
            name = rng.choice(("k", "rows", "columns"))
            most = {"k": rng.choice((params.k_max, params.ROW_MAX)), "rows": params.rows_max,
                    "columns": params.columns - 1}[name]
            return replace(command, **{name: rng.choice((0, most, most + 1))}), window
        # The sizes mean something only where formats and shape are legal.
        everything = (0, (2 << params.memory.address_bits) - 1)
        error = tensor_checker(command, everything, params)
        if ErrorCode.NONE < error < ErrorCode.ALIGNMENT:
            return command, window
        regions = region_atoms(command, tensor_sizes(command, params))
        if not regions:
            return command, window
        name, atoms = rng.choice(sorted(regions.items()))
        address = getattr(command, name)
        near = rng.choice((-1, 0, 1))
        if change == "place":
            address = rng.choice((address + (1 << rng.randrange(params.memory.address_bits)),
                                  address | 1 << rng.randrange(64),
                                  (params.memory_atoms - atoms + near) * atom))
            return replace(command, **{name: min(max(0, address), (1 << 64) - 1)}), everything
        if change == "window":
            if rng.random() < 0.5:
                return command, (max(0, address + near * atom), window[1])
            return command, (window[0], max(0, address + (atoms + near) * atom - (near > 0)))
        other, other_atoms = rng.choice(sorted(regions.items()))
        place = getattr(command, other) + atom * rng.choice((
            -atoms, 1 - atoms, 0, other_atoms - 1, other_atoms))
        return replace(command, **{name: min(max(0, place), (1 << 64) - 1)}), everything


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(waits=[0.0, 0.5])
async def random_commands(dut, waits):
    """Good commands, and such with one, two or three faults: the lowest code and all sizes."""
    checking = _Checking(dut, waits, waits)
    await checking.bench.start()
    for _ in range(500):
        command, window = checking.good()
        for _ in range(checking.rng.choice((0, 1, 1, 2, 3))):
            command, window = checking.spoil(command, window)
        checking.offer(command, window, tensor_checker(command, window, checking.params))
        await checking.result()
    checking.board.close(at_least=500)
    assert checking.errors[ErrorCode.NONE] > 100, checking.errors


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def every_limit(dut):
    """One thing wrong at a time, and limits that just hold, with codes that are written down."""
    checking = _Checking(dut)
    await checking.bench.start()
    cases = [*bad_cases(checking.params)]
    for command, window, error, about in cases:
        assert tensor_checker(command, window, checking.params) == error, about
        checking.offer(command, window, error)
        await checking.result()
    checking.board.close(at_least=len(cases))
    missing = [code.name for code in ErrorCode
               if code <= ErrorCode.OVERLAP and code not in _RARE and not checking.errors[code]]
    assert not missing, f"not tested: {missing}"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def latency(dut):
    """Every command takes as long as promised."""
    checking = _Checking(dut)
    await checking.bench.start()
    for _ in range(30):
        command, window = checking.good()
        checking.offer(command, window, ErrorCode.NONE)
        await checking.result()
    measured = {came - took for took, came in zip(checking.source.taken, checking.sink.came,
                                                  strict=True)}
    assert measured == {checking.params.cycles}, measured
    checking.board.close(at_least=30)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def hold(dut):
    """While a command is under way there is no result; the window that counts is the one after."""
    checking = _Checking(dut)
    params, rng = checking.params, checking.rng
    await checking.bench.start()
    for _ in range(60):
        command, window = checking.good()
        dut.hold.value = 1
        checking.offer(command, window, ErrorCode.NONE)
        checking.window((0, 0))
        for _ in range(rng.randint(1, 2 * params.cycles)):
            await checking.bench.step()
            assert checking.board.expected, "a result came while a command was under way"
        checking.window(window)
        dut.hold.value = 0
        ended = checking.bench.cycle
        await checking.result()
        late = checking.sink.came[-1] - max(ended + 1, checking.source.taken[-1] + params.cycles)
        assert late == 0, f"{late} cycles too late"
    checking.board.close(at_least=60)
