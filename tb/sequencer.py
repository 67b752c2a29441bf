"""Bench of :class:`hdl.sequencer.Sequencer`: plays the checker, the reader, the packer and the
writer, and compares all uses of the atoms with the layout in memory."""

from collections import deque

import cocotb

from golden.command_checker import command_sizes
from spec.commands import Command, ErrorCode, Opcode
from spec.memory_units import ReadFault
from spec.units import SequencerParams
from tb.bench import Bench, Scoreboard, params_from_environment, word
from tb.burst_splitter import pack_region, pack_write_region
from tb.command_checker import checked_fields
from tb.packing import fields

__all__ = ["errors", "full_rate", "late_padding", "longest", "random_commands", "room",
           "transposed_weights"]


FAULTS = tuple(fault for fault in ReadFault if fault != ReadFault.NONE)
READ_CODES = {ReadFault.NONE: ErrorCode.NONE, ReadFault.RESPONSE: ErrorCode.READ,
              ReadFault.UNCORRECTABLE: ErrorCode.ECC, ReadFault.TIMEOUT: ErrorCode.TIMEOUT}
WRITE_CODES = {**READ_CODES, ReadFault.RESPONSE: ErrorCode.WRITE}


class _Releases:
    """A channel of the bench: lets rows leave the result queue, ``delay`` cycles after their last
    beat at the earliest, and ends a command's writing when all its rows have left."""

    def __init__(self, sequencing, delay, stall):
        self.sequencing, self.delay, self.stall = sequencing, delay, stall
        self.ready = None
        self.due = deque()
        self.writing = deque()
        self.in_flight = self.most = self.left = 0

    def row(self):
        """A row's last beat went to the columns."""
        self.due.append(self.sequencing.bench.cycle + self.delay)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        assert self.in_flight <= self.sequencing.params.result_rows, "no room for a row's result"

    def drive(self):
        """Choose whether a row leaves in the coming cycle, and whether all is written."""
        owner = self.sequencing
        rng, cycle = owner.bench.rng, owner.bench.cycle
        leaves = (bool(self.due) and self.due[0] <= cycle and owner.packs > 0
                  and rng.random() >= self.stall)
        owner.dut.released.value = int(leaves)
        if leaves:
            self.due.popleft()
            self.in_flight -= 1
            self.left += 1
        if (self.writing and self.left == self.writing[0][0] and owner.writes > 0
                and rng.random() >= self.stall):
            self.left = 0
            owner.packs -= 1
            owner.writes -= 1
            owner.written.send(self.writing.popleft()[1])

    def sample(self, cycle):
        """Nothing to see."""


class _Given:
    """A channel of the bench: says of the command that is offered whether its atoms are given."""

    def __init__(self, sequencing):
        self.sequencing = sequencing
        self.ready = None

    def drive(self):
        """Choose for the coming cycle."""
        owner = self.sequencing
        number = len(owner.commands.taken)
        owner.dut.given.value = (owner.given[number][0] if number < len(owner.given)
                                 else owner.bench.rng.getrandbits(1))

    def sample(self, cycle):
        """Nothing to see."""


class _Sequencing:
    """Commands, and everything that must come of them, in order."""

    def __init__(self, dut, idle=0.0, stall=0.0, delay=1, release_stall=None):
        self.dut = dut
        self.params = params = params_from_environment(SequencerParams)
        self.checker = params.checker
        self.bench = bench = Bench(dut)
        self.rng = bench.rng
        self.releases = _Releases(self, delay, stall if release_stall is None else release_stall)
        bench.channels += [self.releases, _Given(self)]
        self.commands = bench.source("command", idle)
        self.atoms = bench.source("atoms", idle)
        self.written = bench.source("written")
        self.boards = {name: Scoreboard(name)
                       for name in ("read", "write", "pack", "uses", "ended")}
        self.read_sink = bench.sink(self.boards["read"], "read", stall, self._asked)
        bench.sink(self.boards["write"], "write", stall, self._write)
        bench.sink(self.boards["pack"], "pack", stall, self._pack)
        self.uses = [bench.sink(self.boards["uses"], name, take=self._used(name))
                     for name in ("beats", "activations", "activation_scales", "weight_scales",
                                  *(["weight_zeros"] if self.params.weight_zero_buffer else []))]
        self.ended = bench.sink(self.boards["ended"], "ended", take=self._end)
        bench.watchers.append(self._watch)
        self.regions = deque()
        self.atoms_left = deque()
        self.loads = deque()
        # By command: what is taken for it, whether its atoms are given, and these.
        self.counts = []
        self.given = []
        # The cycle of each slot's last sum.
        self.summed = {}
        self.loaded = [0] * self.checker.columns
        self.now_loaded = list(self.loaded)
        self.packs = self.writes = self.tag = 0
        self.under_way = self.remaining = 0

    # What the sequencer gives.

    def _asked(self, region):
        self.boards["read"].check(region)
        for atom in self.regions.popleft():
            self.atoms.send(atom)

    def _write(self, region):
        self.boards["write"].check(region)
        self.writes += 1

    def _pack(self, rows):
        self.boards["pack"].check(rows)
        self.packs += 1

    def _used(self, name):
        packed = {"beats": self.checker.weights_packed,
                  "activations": self.checker.activations_packed}.get(name, False)

        def take(item):
            self.boards["uses"].check((name, item))
            if self.checker.packed:
                assert self.dut.packed.value == packed, f"packed is wrong for {name}"
            if name == "beats":
                self._sum(item)
        return take

    def _sum(self, beat):
        """The last beat of a group: its sum needs the one before of its row, from the adder."""
        slot_bits = self.params.slot_bits
        ends = beat >> self._beat_bits() - slot_bits - 3
        last, slot, first, row_last = (
            ends & 1, ends >> 1 & (1 << slot_bits) - 1, ends >> slot_bits + 1 & 1,
            ends >> slot_bits + 2)
        if last:
            assert first or (self.bench.cycle - self.summed[slot] >= self.params.row_distance), (
                f"slot {slot} is added to before its last sum is there")
            self.summed[slot] = self.bench.cycle
        if row_last:
            self.releases.row()

    def _end(self, item):
        self.boards["ended"].check(item)
        column, k = self.loads.popleft()
        if column is not None:
            self.loaded[column] = k

    def _watch(self):
        """Signals of state, cycle by cycle."""
        dut, cycle = self.dut, self.bench.cycle
        taken = self.atoms.taken[-1:] == [cycle]
        offered = dut.atoms__valid.value == 1
        assert dut.busy.value == self.under_way, "busy is wrong"
        assert dut.atom_read.value == taken
        assert dut.stall_memory.value == (self.remaining > 0 and not offered)
        assert dut.stall_result.value == (offered and not taken)
        assert int(dut.loaded.value) == word(self.now_loaded, self.checker.loaded_bits), "loaded"
        if taken:
            self.remaining -= 1
        if self.ended.came[-1:] == [cycle]:
            self.under_way = 0
            self.now_loaded = list(self.loaded)
        if self.commands.taken[-1:] == [cycle]:
            self.under_way = 1
            self.remaining = self.atoms_left.popleft()
            for atom in self.given[len(self.commands.taken) - 1][1]:
                self.atoms.send(atom)

    # Commands.

    def _beat_bits(self):
        params = self.params
        return (self.checker.weight_bits + params.activation_buffer.address_bits
                + params.weight_scale_buffer.index_bits
                + params.activation_scale_buffer.index_bits + params.slot_bits + 4
                + self.checker.narrow_bits + 2 * params.scale_part_bits)

    def _use(self, name, *parts):
        """Make an atom, or a beat of packed codes, and expect its use; returns it."""
        bits = {"beats": self.checker.weight_bits,
                "activations": self.params.activation_buffer.atom_bits}.get(
                    name, self.checker.memory.atom_bits)
        atom = self.rng.getrandbits(self.checker.beat_bits)
        self.boards["uses"].expect((name, fields((atom, bits), *parts)), f"{name} {parts}")
        return atom

    def _send(self, values, ended, loads=(None, 0), atoms=0, given=()):
        values["tag"] = self.tag = (self.tag + 40503) & 0xFFFF
        self.counts.append(atoms)
        self.given.append((bool(given) or not atoms and self.rng.getrandbits(1), given))
        self.commands.send(fields(*((values.get(name, self.rng.getrandbits(bits)), bits)
                                    for name, bits in checked_fields(self.checker))))
        error, fence = ended
        self.boards["ended"].expect(fields((self.tag, 16), (error, 8), (fence, 1)), f"{values}")
        self.loads.append(loads)
        self.atoms_left.append(atoms)

    def _answers(self, atoms, fault):
        """Atoms as they come; the first of them with a fault has this one."""
        bits = self.checker.beat_bits
        faults = [ReadFault.NONE] * len(atoms)
        if fault != ReadFault.NONE:
            first = self.rng.randrange(len(atoms))
            faults[first:] = self.rng.choices(tuple(ReadFault), k=len(atoms) - first)
            faults[first] = fault
        return [fields((atom, bits), (kind, 2)) for atom, kind in zip(atoms, faults, strict=True)]

    def _region(self, index, atoms, fault, count):
        """Expect a request for ``count`` atoms, which come as ``atoms``."""
        self.regions.append(self._answers(atoms, fault))
        self.boards["read"].expect(pack_region(index, count, self.checker.memory))

    def _format(self):
        """Any of the formats that a command may name."""
        return self.rng.randrange(1 + self.checker.narrow_bits)

    def _values(self, command):
        sizes = command_sizes(command, self.checker)
        limit = 1 << self.checker.memory.index_bits
        source, other = (self.rng.randrange(limit - atoms + 1)
                         for atoms in (sizes.source_atoms, sizes.other_atoms))
        return sizes, {
            "opcode": command.opcode, "error": 0, "columns": command.columns, "transposed": 0,
            "narrow": command.format_index,
            "k": command.k,
            "k_atoms": sizes.k_atoms, "rows": command.rows, "scale_atoms": sizes.scale_atoms,
            "zero_atoms": sizes.zero_atoms, "source": source, "source_atoms": sizes.source_atoms,
            "other": other, "other_atoms": sizes.other_atoms}

    def load(self, column, k, fault=ReadFault.NONE, given=False):
        """A LOAD; the first of its atoms with a fault has this one. They may be given to it."""
        params, index = self.params, self._format()
        sizes, values = self._values(Command(Opcode.LOAD, columns=column, k=k, format_index=index))
        column_bits = max(1, (self.checker.columns - 1).bit_length())
        parts = []
        for name, count, bits in (
                ("activations", sizes.k_atoms,
                 params.activation_buffer.address_bits + params.activation_buffer.part_bits),
                ("activation_scales", sizes.other_atoms,
                 params.activation_scale_buffer.address_bits)):
            parts.append([self._use(name, (address, bits), (column, column_bits))
                          for address in range(count)])
        faults = self.rng.choice(((fault, self.rng.choice(FAULTS)), (ReadFault.NONE, fault)))
        answers = []
        for name, atoms, kind in zip(("source", "other"), parts,
                                     faults if fault else (fault, fault), strict=True):
            if given:
                answers += self._answers(atoms, kind)
            else:
                self._region(values[name], atoms, kind, values[f"{name}_atoms"])
        self._send(values, (READ_CODES[fault], 0),
                   (column, 0 if fault else k | index << self.checker.k_bits),
                   len(parts[0]) + len(parts[1]), answers)

    def gemv(self, columns, k, rows, read_fault=ReadFault.NONE, write_fault=ReadFault.NONE):
        """A GEMV; with faults of the memory."""
        params, narrow = self.params, self._format()
        checker = self.checker.formats[narrow]
        sizes, values = self._values(Command(Opcode.GEMV, columns=columns, k=k, rows=rows,
                                             format_index=narrow))
        scale_bits = params.weight_scale_buffer
        weight_rows = checker.rows_per_block // checker.scale_rows
        span, group_beats = params.turn_beats[narrow], params.group_beats[narrow]
        parts = params.scale_part_bits
        spans, tail = -(-sizes.k_atoms // span), sizes.k_atoms % span
        of_sum = 1 if narrow else params.sum_beats // span
        atoms = []
        for block in range(0, rows, checker.rows_per_block):
            atoms += [self._use("weight_scales", (address, scale_bits.address_bits))
                      for address in range(sizes.scale_atoms)]
            atoms += [self._use("weight_zeros", (address, params.weight_zero_buffer.address_bits))
                      for address in range(sizes.zero_atoms)]
            end = min(rows, block + checker.rows_per_block)
            for strip in range(block, end, checker.rows_per_strip):
                for place in range(spans):
                    end_of_row = place == spans - 1
                    beats = tail if tail and end_of_row else span
                    for slot in range(checker.rows_per_strip):
                        for beat in range(beats):
                            group = (place * span + beat) // group_beats
                            scale = group * checker.scale_rows
                            if checker.scale_rows > 1:
                                scale += slot // weight_rows
                            if narrow:
                                # Numbered as scales of wide groups.
                                scale, group = scale << parts, group << parts
                            last = beat == beats - 1
                            atoms.append(self._use(
                                "beats",
                                (narrow, self.checker.narrow_bits),
                                (place * span + beat,
                                 params.activation_buffer.address_bits),
                                (scale, scale_bits.index_bits + parts),
                                (group, params.activation_scale_buffer.index_bits + parts),
                                (beat == 0 and place % of_sum == 0, 1),
                                (last and (end_of_row or place % of_sum == of_sum - 1), 1),
                                (slot, params.slot_bits), (place < of_sum, 1),
                                (last and end_of_row and strip + slot < rows, 1)))
        heads = -(-rows // checker.rows_per_block) * (sizes.scale_atoms + sizes.zero_atoms)
        beats = len(atoms) - heads
        assert sizes.source_atoms == heads + (beats * 3 // 2 if checker.weights_packed else beats)
        self._region(values["source"], atoms, read_fault, sizes.source_atoms)
        self._results(values, write_fault)
        error = READ_CODES[read_fault] or WRITE_CODES[write_fault]
        self._send(values, (error, 0), atoms=len(atoms))

    def _results(self, values, write_fault):
        """Expect that the results of a GEMV are packed and written."""
        checker = self.checker
        self.boards["write"].expect(pack_write_region(values["other"], values["other_atoms"],
                                                      checker.memory))
        self.boards["pack"].expect(fields((values["rows"], checker.rows_bits),
                                          (values["columns"], checker.columns.bit_length())))
        self.releases.writing.append((values["rows"], int(write_fault)))

    def transposed(self, columns, k, rows, read_fault=ReadFault.NONE, write_fault=ReadFault.NONE):
        """A GEMV by transposed weights: of each block, group by group, a scale and its rows."""
        params, checker = self.params, self.checker
        _, values = self._values(Command(Opcode.GEMV, columns=columns, k=rows, rows=k,
                                         transposed=1))
        k_atoms = -(-k // checker.lanes)
        values |= {"transposed": 1, "k": k, "k_atoms": k_atoms, "rows": rows}
        scale_bits = params.weight_scale_buffer
        atoms = []
        for block in range(0, rows, checker.rows_per_block):
            scale = block // checker.rows_per_block % checker.scales_per_atom
            beats = params.group_beats[0]
            for start in range(0, k_atoms, beats):
                group, end = start // beats, min(start + beats, k_atoms)
                atoms.append(self._use("weight_scales", (0, scale_bits.address_bits)))
                for slot in range(min(checker.rows_per_block, rows - block)):
                    for address in range(start, end):
                        last = address == end - 1
                        atoms.append(self._use(
                            "beats", (address, params.activation_buffer.address_bits),
                            (scale, scale_bits.index_bits),
                            (group, params.activation_scale_buffer.index_bits),
                            (address == start, 1), (last, 1), (slot, params.slot_bits),
                            (group == 0, 1), (last and end == k_atoms, 1)))
        self._results(values, write_fault)
        error = READ_CODES[read_fault] or WRITE_CODES[write_fault]
        self._send(values, (error, 0), atoms=len(atoms), given=self._answers(atoms, read_fault))

    def fence(self):
        """A FENCE."""
        self._send({"opcode": int(Opcode.FENCE), "error": 0}, (ErrorCode.NONE, 1))

    def refused(self):
        """A command that the checker refused; nothing but its end must come of it."""
        error = self.rng.choice([code for code in ErrorCode
                                 if ErrorCode.NONE < code <= ErrorCode.OVERLAP])
        opcode = self.rng.choice((*Opcode, self.rng.getrandbits(8)))
        self._send({"opcode": int(opcode), "error": error}, (error, 0))

    def _fault(self, share):
        """A fault, in a share of the calls."""
        return self.rng.choice(FAULTS) if self.rng.random() < share else ReadFault.NONE

    def random(self, errors=0.0):
        """Any command, short enough for a simulation."""
        rng, checker = self.rng, self.checker
        kind = rng.random()
        if kind < 0.1:
            return self.fence()
        if kind < 0.2:
            return self.refused()
        group = checker.group
        k = min(checker.k_max, rng.choice((
            1, rng.randint(1, checker.lanes), group, group + 1, 2 * group, 3 * group - 1,
            rng.randint(1, 4 * group))))
        if kind < 0.45:
            return self.load(rng.randrange(checker.columns), k, self._fault(errors),
                             given=rng.random() < 0.3)
        longest = max(checker.rows_per_strip, 400 // -(-k // checker.lanes))
        rows = min(longest, rng.choice((
            1, rng.randint(1, checker.rows_per_strip), checker.rows_per_strip,
            checker.rows_per_block, checker.rows_per_block + 1,
            rng.randint(1, 2 * checker.rows_per_block + 5))))
        multiply = self.transposed if checker.transposed and rng.random() < 0.5 else self.gemv
        return multiply(rng.randint(1, checker.columns), k, rows,
                        self._fault(errors), self._fault(errors))

    async def end(self, at_least):
        """Wait for the ends of all commands; every atom was used in the cycle that took it."""
        await self.bench.drain(at_least=0, limit=40_000)
        self.boards["ended"].close(at_least)
        used = sorted(cycle for sink in self.uses for cycle in sink.came)
        assert used == self.atoms.taken
        assert not self.releases.in_flight


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.7])
async def random_commands(dut, idle, stall):
    """Commands of all kinds and sizes; atoms, results and requests wait at random."""
    sequencing = _Sequencing(dut, idle, stall)
    for _ in range(30):
        sequencing.random()
    await sequencing.bench.start()
    await sequencing.end(at_least=30)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def errors(dut):
    """Faults of reads and writes end their own command with the right code, that of the first; a
    vector whose LOAD failed counts as not loaded."""
    sequencing = _Sequencing(dut, 0.1, 0.3)
    checker = sequencing.checker
    for column in range(checker.columns):
        sequencing.load(column, checker.k_max)
        for fault in FAULTS:
            sequencing.load(column, 1, fault)
    for read_fault in ReadFault:
        for write_fault in ReadFault:
            sequencing.gemv(checker.columns, 1, 3, read_fault, write_fault)
    for _ in range(30):
        sequencing.random(errors=0.5)
    await sequencing.bench.start()
    await sequencing.end(at_least=4 * checker.columns + 46)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate(dut):
    """When atoms always come and a row leaves in each cycle, as late as the queue's depth allows,
    an atom is taken in each cycle of a command: over groups, rows, strips and blocks."""
    params = params_from_environment(SequencerParams)
    sequencing = _Sequencing(dut, delay=params.result_rows - 1)
    checker = params.checker
    cases = [(1, 2 * checker.rows_per_block + 3), (min(checker.k_max, checker.group + 1), 21),
             (min(checker.k_max, 3 * checker.group), 9)]
    for k, rows in cases:
        sequencing.gemv(1, k, rows)
        sequencing.load(0, k)
    await sequencing.bench.start()
    await sequencing.end(at_least=2 * len(cases))
    taken, counts = iter(sequencing.atoms.taken), iter(sequencing.counts)
    for k, rows in cases:
        cycles = [next(taken) for _ in range(next(counts))]
        assert cycles == list(range(cycles[0], cycles[0] + len(cycles))), f"k {k}, rows {rows}"
        for _ in range(next(counts)):
            next(taken)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def transposed_weights(dut):
    """Blocks of few rows wait for their sums, all others take an atom in each cycle; the scales of
    more blocks than an atom has."""
    params = params_from_environment(SequencerParams)
    checker = params.checker
    sequencing = _Sequencing(dut, delay=params.result_rows - 1)
    cases = []
    if checker.transposed:
        block, k = checker.rows_per_block, min(checker.k_max, checker.group + 1)
        cases = [(k, rows) for rows in (1, 2, 3, block + 1, 2 * block + 4)]
        cases.append((1, (checker.scales_per_atom + 1) * block))
    for k, rows in cases:
        sequencing.transposed(1, k, rows)
        sequencing.gemv(1, k, 1)
    sequencing.fence()
    await sequencing.bench.start()
    await sequencing.end(at_least=2 * len(cases) + 1)
    taken = iter(sequencing.atoms.taken)
    for k, rows in cases:
        k_atoms = -(-k // checker.lanes)
        scales = -(-rows // checker.rows_per_block) * -(-k // checker.group)
        cycles = [next(taken) for _ in range(scales + rows * k_atoms)]
        if rows % checker.rows_per_block in (0, 4):
            assert cycles == list(range(cycles[0], cycles[0] + len(cycles))), f"k {k}, rows {rows}"
        for _ in range(command_sizes(Command(Opcode.GEMV, k=k, rows=1), checker).source_atoms):
            next(taken)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def room(dut):
    """While no row leaves, exactly ``result_rows`` rows go to the columns; then atoms wait."""
    sequencing = _Sequencing(dut, release_stall=1.0)
    limit = sequencing.params.result_rows
    sequencing.gemv(1, 1, 2 * limit)
    await sequencing.bench.start()
    for _ in range(4 * limit + 50):
        await sequencing.bench.step()
    assert sequencing.releases.in_flight == limit
    assert dut.stall_result.value == 1
    sequencing.releases.stall = 0.8
    await sequencing.end(at_least=1)
    assert sequencing.releases.most == limit


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def late_padding(dut):
    """The results of a strip's real rows are written before the atoms of its padding rows come."""
    sequencing = _Sequencing(dut, idle=0.95, stall=0.0)
    group = sequencing.checker.group
    for rows in range(1, sequencing.checker.rows_per_strip + 2):
        sequencing.gemv(1, min(group, sequencing.checker.k_max), rows,
                        write_fault=ReadFault.RESPONSE if rows == 2 else ReadFault.NONE)
    await sequencing.bench.start()
    await sequencing.end(at_least=1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def longest(dut):
    """The longest vectors and rows, in every column."""
    sequencing = _Sequencing(dut)
    checker = sequencing.checker
    for column in range(checker.columns):
        sequencing.load(column, checker.k_max)
    sequencing.gemv(checker.columns, checker.k_max, 2)
    await sequencing.bench.start()
    await sequencing.end(at_least=checker.columns + 1)
