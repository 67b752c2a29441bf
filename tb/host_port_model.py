"""What stands on both sides of the host port: AXI4 bursts, byte by byte, and a memory.

A *place* is an atom of the port's address space: its byte address over the atom's bytes. Within the
memory it is the atom's number.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from spec.memory_units import Aperture, HostPortParams
from tb.bench import Bench, Scoreboard, params_from_environment
from tb.packing import fields

__all__ = ["CHANNELS", "FIXED", "INCR", "OKAY", "WRAP", "Burst", "Host", "Memory"]

FIXED, INCR, WRAP = range(3)
OKAY, SLVERR, DECERR = 0, 2, 3
CHANNELS = {
    "ar": ("id", "addr", "len", "size", "burst", "lock", "cache", "prot"),
    "aw": ("id", "addr", "len", "size", "burst", "lock", "cache", "prot"),
    "w": ("data", "strb", "last"),
    "b": ("id", "resp"),
    "r": ("id", "resp", "last", "data"),
}


class _Fields:
    """The ports of one AXI channel as the payload of one stream, the first lowest."""

    def __init__(self, ports: list[Any]):
        self.ports = [(port, len(port)) for port in ports]

    def __len__(self) -> int:
        return sum(bits for _, bits in self.ports)

    @property
    def value(self) -> int:
        """All ports, packed."""
        return fields(*((int(port.value), bits) for port, bits in self.ports))

    @value.setter
    def value(self, packed: int) -> None:
        for port, bits in self.ports:
            port.value = packed & (1 << bits) - 1
            packed >>= bits


class _Ports(SimpleNamespace):
    """The unit's ports, each AXI channel as a stream ``ar``, ``aw``, ``w``, ``b`` or ``r``."""

    def __init__(self, dut: Any):
        super().__init__(clk=dut.clk, rst=dut.rst)
        if hasattr(dut, "producing"):
            self.producing = dut.producing
        for stream in ("read", "data", "write", "written", "results"):
            for part in ("payload", "valid", "ready"):
                if hasattr(dut, f"{stream}__{part}"):
                    setattr(self, f"{stream}__{part}", getattr(dut, f"{stream}__{part}"))
        for channel, names in CHANNELS.items():
            prefix = f"s_mem_axi_{channel}"
            setattr(self, f"{channel}__payload",
                    _Fields([getattr(dut, f"{prefix}{name}") for name in names]))
            setattr(self, f"{channel}__valid", getattr(dut, f"{prefix}valid"))
            setattr(self, f"{channel}__ready", getattr(dut, f"{prefix}ready"))


def _byte_mask(strobe: int, size: int) -> int:
    """All bits of the bytes whose strobe is one."""
    return int.from_bytes(bytes(255 * (strobe >> byte & 1) for byte in range(size)), "little")


@dataclass(frozen=True)
class Burst:
    """One burst: ``length`` beats of ``1 << size`` bytes from ``address``."""

    id: int
    address: int
    length: int
    size: int
    kind: int

    def request(self, params: HostPortParams, rest: int) -> int:
        """The payload of its address channel; ``rest`` are lock, cache and prot."""
        return fields((self.id, 4), (self.address, params.address_bits), (self.length - 1, 8),
                      (self.size, 3), (self.kind, 2), (rest, 8))

    def beats(self, atom_bytes: int) -> Iterator[tuple[int, int]]:
        """The atom and the byte lanes (one bit each) of every beat, as section A3.4.1 of ARM
        IHI 0022 computes them."""
        number, total = 1 << self.size, self.length << self.size
        aligned = self.address // number * number
        boundary = self.address // total * total
        for beat in range(self.length):
            address = self.address
            if beat and self.kind != FIXED:
                address = aligned + beat * number
                if self.kind == WRAP and address >= boundary + total:
                    address -= total
            bus = address // atom_bytes * atom_bytes
            lower, upper = address - bus, address // number * number + number - 1 - bus
            yield address // atom_bytes, (1 << upper + 1) - (1 << lower)


class Memory:
    """The memory behind the streams, at its slowest: a read sees what was written when it was
    accepted, and a write is written when ``written`` says so, both ``delay()`` cycles later.

    It must never be asked for an atom outside, nor to write nothing, nor, with ``secded``, a part
    of an atom. ``faults`` are the atoms whose reads fail, each with its kind. In each aperture of
    the cast window it has the lowest ``WINDOW_ATOMS`` places, all others are outside.
    """

    WINDOW_ATOMS = 50

    def __init__(self, bench: Bench, params: HostPortParams, stall: float = 0.0):
        self.bench, self.params = bench, params
        self.delay: Callable[[], int] = lambda: 0
        self.open = True
        self.faults: dict[int, int] = {}
        self.atoms: dict[int, int] = defaultdict(lambda: bench.rng.getrandbits(params.atom_bits))
        never = Scoreboard("memory")
        # Reads are sampled before writes take effect: `written` comes last.
        self.read = bench.sink(never, "read", stall, take=self._read)
        self.write = bench.sink(never, "write", stall, take=self._write)
        self.data, self.written = bench.source("data"), bench.source("written")
        bench.scoreboards.remove(never)
        self.reading: list[tuple[int, int]] = []
        self.writing: list[tuple[int, int, int, int]] = []
        self.applied = 0
        bench.watchers.append(self._step)

    def _due(self, queue: list[Any]) -> int:
        return max(queue[-1][0] if queue else 0, self.bench.cycle + self.delay())

    def _read(self, item: int) -> None:
        params = self.params
        index, aperture = item & (1 << params.index_bits) - 1, item >> params.index_bits
        assert index < params.memory_atoms, f"read of atom {index}, outside"
        place = aperture << params.space_bits - params.offset_bits | index
        fault, outside = self.faults.get(place, 0), aperture and index >= self.WINDOW_ATOMS
        atom = (self.bench.rng.getrandbits(params.atom_bits) if fault or outside
                else self.atoms[place])
        self.reading.append((self._due(self.reading), fields(
            (atom, params.atom_bits), (fault, 2), (outside, 1 if params.window else 0))))

    def _write(self, item: int) -> None:
        params, size = self.params, self.params.atom_bits // 8
        index = item & (1 << params.index_bits) - 1
        data = item >> params.index_bits & (1 << params.atom_bits) - 1
        strobe = item >> params.index_bits + params.atom_bits
        assert index < params.memory_atoms, f"write of atom {index}, outside"
        assert strobe, f"write of no byte of atom {index}"
        assert params.ecc == "none" or strobe == (1 << size) - 1, f"part of atom {index} written"
        self.writing.append((self._due(self.writing), index, data, _byte_mask(strobe, size)))

    def _step(self) -> None:
        """Say which writes are written, and answer what is due."""
        while self.applied < len(self.written.taken):
            _, index, data, mask = self.writing.pop(0)
            self.atoms[index] = self.atoms[index] & ~mask | data & mask
            self.applied += 1
        said = len(self.written.items)
        while self.open and said < len(self.writing) and (
                self.writing[said][0] <= self.bench.cycle):
            self.written.send(self.bench.rng.getrandbits(1))
            said += 1
        while self.open and self.reading and self.reading[0][0] <= self.bench.cycle:
            self.data.send(self.reading.pop(0)[1])


class Host:
    """Sends bursts, keeps what the memory must hold, and expects every answer."""

    def __init__(self, dut, idle=0.0, stall=0.0):
        self.params = params = params_from_environment(HostPortParams)
        self.bench = Bench(_Ports(dut))
        self.rng, self.size = self.bench.rng, params.atom_bits // 8
        self.memory = Memory(self.bench, params, stall)
        self.ar, self.aw, self.w = (self.bench.source(name, idle) for name in ("ar", "aw", "w"))
        self.answers, self.ends = Scoreboard("b"), Scoreboard("r")
        self.b = self.bench.sink(self.answers, "b", stall, take=self._b)
        self.r = self.bench.sink(self.ends, "r", stall, take=self._r)
        self.memory.atoms.default_factory = None
        self.expected = {}
        self.due, self.lanes, self.due_reads, self.writes = [], [], 0, 0
        self.results, self.produced = None, []
        if params.results:
            # Results that come while the port has room for none are sent when a beat wants them.
            self.results = self.bench.source("results", idle)
            self.bench.dut.producing.value = 0

    def place(self, aperture, index=0):
        """The place of an atom of an aperture, whether the port has that or not."""
        return aperture << self.params.address_bits - 2 - self.params.offset_bits | index

    def where(self, place):
        """The aperture of a place, or None outside, and whether the port asks for its atom."""
        params = self.params
        aperture, index = divmod(place, 1 << params.space_bits - params.offset_bits)
        if aperture not in params.apertures:
            return None, False
        if aperture == Aperture.RESULTS:
            return Aperture.RESULTS, False
        asks = index < params.memory_atoms
        inside = asks and (aperture == Aperture.MEMORY or index < self.memory.WINDOW_ATOMS)
        return Aperture(aperture) if inside else None, asks

    def produce(self, count):
        """Results that reads from now on take."""
        for _ in range(count):
            self.produced.append(self.rng.getrandbits(self.params.atom_bits))
            self.results.send(self.produced[-1])

    def hold(self, index):
        """What the memory must hold in atom ``index``; random bytes at first."""
        if index not in self.expected:
            self.expected[index] = self.rng.getrandbits(self.params.atom_bits)
            self.memory.atoms[index] = self.expected[index]
        return self.expected[index]

    def _b(self, item):
        self.answers.check(item)
        due = self.due.pop(0)
        assert self.memory.applied >= due, "B came before all writes of its burst were written"

    def _r(self, item):
        mask = self.lanes.pop(0)
        self.ends.check(item & (mask << 7 | 0x7F))

    def write(self, burst, strobes=None):
        """Write random data; ``strobes(lanes)`` chooses a beat's strobes, all lanes by default."""
        params, rng, whole = self.params, self.rng, (1 << self.size) - 1
        self.aw.send(burst.request(params, rng.getrandbits(8)))
        response = OKAY
        for place, (index, lanes) in enumerate(burst.beats(self.size)):
            data = rng.getrandbits(params.atom_bits)
            strobe = strobes(lanes) if strobes else lanes
            self.w.send(fields((data, params.atom_bits), (strobe, self.size),
                               (place == burst.length - 1, 1)))
            if self.where(index)[0] is not Aperture.MEMORY:
                response = DECERR
            elif strobe:
                held, mask = self.hold(index), _byte_mask(strobe, self.size)
                merged = params.ecc == "secded" and strobe != whole
                self.due_reads += merged
                if merged and index in self.memory.faults:
                    response = max(response, SLVERR)
                else:
                    self.expected[index] = held & ~mask | data & mask
                    self.writes += 1
        self.due.append(self.writes)
        self.answers.expect(fields((burst.id, 4), (response, 2)), burst)

    def read(self, burst):
        """Read; what comes in the byte lanes of each beat must be what the memory holds now."""
        params = self.params
        self.ar.send(burst.request(params, self.rng.getrandbits(8)))
        for place, (index, lanes) in enumerate(burst.beats(self.size)):
            mask, held, response = _byte_mask(lanes, self.size), 0, OKAY
            whole = (1 << params.atom_bits) - 1
            aperture, asks = self.where(index)
            self.due_reads += asks
            if aperture is None:
                response, mask = DECERR, whole
            elif aperture is Aperture.RESULTS:
                if self.produced:
                    held = self.produced.pop(0)
                else:
                    response, mask = SLVERR, whole
            else:
                held = self.hold(index)
                if index in self.memory.faults:
                    response, mask = SLVERR, 0
            self.lanes.append(mask)
            self.ends.expect(fields((burst.id, 4), (response, 2), (place == burst.length - 1, 1),
                                    (held & mask, params.atom_bits)), (burst, place))

    def burst(self, low, high, longest=40):
        """A random burst from an address between atoms ``low`` and ``high``, all of whose beats
        are there."""
        rng, size_bits = self.rng, (self.size - 1).bit_length()
        while True:
            kind = rng.choice((INCR, INCR, INCR, WRAP, FIXED))
            size = rng.choice((size_bits, size_bits, rng.randint(0, size_bits)))
            length = (rng.choice((2, 4, 8, 16)) if kind == WRAP
                      else rng.randint(1, rng.choice((1, 4, 16, longest))))
            address = rng.choice((rng.randrange(low * self.size, high * self.size),
                                  max(low, high - rng.randint(1, 20)) * self.size))
            if kind == WRAP or rng.random() < 0.5:
                address &= -1 << size
            made = Burst(rng.getrandbits(4), address, length, size, kind)
            if all(low <= index < high for index, _ in made.beats(self.size)):
                return made

    def strobes(self, lanes):
        """All lanes, some, or none."""
        return lanes & self.rng.choice((-1, -1, 0, self.rng.getrandbits(self.size)))

    async def quiet(self, at_least=0):
        """Wait for all answers; memory must hold what it should, and was asked no more."""
        await self.bench.drain(at_least)
        assert self.memory.applied == len(self.memory.write.came) == self.writes
        assert len(self.memory.read.came) == self.due_reads
        different = [index for index, held in self.expected.items()
                     if self.memory.atoms[index] != held]
        assert not different, f"atoms {different[:8]} differ"
