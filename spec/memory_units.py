"""Records of the native memory side: the pseudo-channel controller and what stands around it.

The controller works in tile cycles; one is ``cycle_ck`` cycles of the grade's clock, the time of
one access (nCCDS). Every distance is derived from :data:`spec.dram_rules.RULES`.
"""

from enum import IntEnum
from typing import ClassVar, Literal

from pydantic import Field

from spec.dram_rules import COLUMN_COMMANDS, DramCommand, Scope, rules_of
from spec.grade import Grade
from spec.units import UnitParams

__all__ = ["Aperture", "BankQueuesParams", "Ecc", "HostPortParams", "InlineEccParams",
           "MemoryControllerParams", "FAULT_BITS", "ReadFault", "ReorderBufferParams",
           "SecdedParams", "TURN"]

# Two requesters that want the same share it in turns, so many accesses together.
TURN = 64

Ecc = Literal["none", "secded"]


class ReadFault(IntEnum):
    """What is wrong with an atom that was read; ``FAULT_BITS`` bits beside its data."""

    NONE = 0
    RESPONSE = 1
    UNCORRECTABLE = 2
    TIMEOUT = 3


FAULT_BITS = 2


class ReorderBufferParams(UnitParams):
    """A buffer of ``entries`` items of ``bits`` bits, filled in any order, read in order."""

    LATENCY: ClassVar[int] = 2
    entries: int = Field(ge=2, le=1024)
    bits: int = Field(ge=1, le=1024)

    @property
    def slot_bits(self) -> int:
        """Width of a slot's number."""
        return (self.entries - 1).bit_length()


class BankQueuesParams(UnitParams):
    """One first-in first-out queue per bank, all in one pool of ``entries`` entries."""

    banks: int = Field(ge=1, le=1024)
    entries: int = Field(ge=2, le=1024)
    row_bits: int = Field(ge=1, le=32)
    column_bits: int = Field(ge=1, le=16)

    @property
    def bank_bits(self) -> int:
        """Width of a bank's number."""
        return max(1, (self.banks - 1).bit_length())

    @property
    def entry_bits(self) -> int:
        """Width of an entry's number."""
        return (self.entries - 1).bit_length()


class SecdedParams(UnitParams):
    """The (72,64) code over ``words`` 64-bit words."""

    LATENCY: ClassVar[int] = 1
    words: int = Field(ge=1, le=8)


class InlineEccParams(UnitParams):
    """Check bits in the highest eighth of the memory's atoms.

    ``bank_bits`` bits of an atom's index from bit ``bank_low`` up are its bank. A check atom is
    never in the bank of its data: reads in order would open the rows of both in turns.
    ``tile_reads`` and ``host_reads`` are the most reads of a requester that are not answered,
    ``writes`` the most writes of a requester that are not written. Reads under way are told apart
    by the check atom's number modulo ``buckets``.
    """

    index_bits: int = Field(ge=6, le=60)
    atom_bits: int = Field(ge=64, le=512)
    bank_low: int = Field(ge=0, le=60)
    bank_bits: int = Field(ge=0, le=16)
    tile_reads: int = Field(ge=2, le=256)
    host_reads: int = Field(ge=2, le=256)
    writes: Literal[2, 4, 8, 16] = 8
    buckets: Literal[2, 4, 8, 16, 32] = 32

    @property
    def ecc_bits(self) -> int:
        """Check bits of one atom."""
        return self.atom_bits // 8

    @property
    def check_order(self) -> tuple[int, ...]:
        """For each bit of a check atom's number in its region, the bit of the data's index.

        The bank's bits keep their place, the others fill up.
        """
        banks = self._bank_places
        others = (bit for bit in range(3, self.index_bits) if bit not in banks)
        return tuple(place if place in banks else next(others)
                     for place in range(self.index_bits - 3))

    @property
    def inverted_place(self) -> int | None:
        """The bit of a check atom's number that is inverted: the bank's highest."""
        return self._bank_places[-1] if self._bank_places else None

    @property
    def _bank_places(self) -> range:
        end = self.bank_low + self.bank_bits
        possible = 3 <= self.bank_low and end <= self.index_bits - 3
        return range(self.bank_low, end) if possible else range(0)

    def check_atom(self, index: int) -> int:
        """Return the atom that holds the check bits of the data atom ``index``."""
        number = sum((index >> bit & 1) << place for place, bit in enumerate(self.check_order))
        if self.inverted_place is not None:
            number ^= 1 << self.inverted_place
        return 7 << self.index_bits - 3 | number

    @property
    def bucket_bits(self) -> int:
        """Width of a bucket's number, within that of a check atom."""
        return min(self.buckets.bit_length() - 1, self.index_bits - 3)

    @property
    def secded(self) -> SecdedParams:
        """Decoder of an atom."""
        return SecdedParams(words=self.atom_bits // 64)


class Aperture(IntEnum):
    """What a part of the host port's addresses shows; its number is their highest bits."""

    MEMORY = 0
    RESULTS = 1
    CODES = 2
    SCALES = 3


class HostPortParams(UnitParams):
    """The AXI4 subordinate through which the host reads and writes the memory.

    ``read_beats`` are the most read beats asked for and not answered, ``write_bursts`` the most
    write bursts whose data have come and that are not answered. With ``results`` the port has the
    aperture of the results that commands send to the host, with ``window`` those of the cast
    window; with neither of them, all addresses are the memory's.
    """

    ID_BITS: ClassVar[int] = 4
    APERTURE_BITS: ClassVar[int] = 2
    # Atoms of results that wait for the host.
    RESULT_ATOMS: ClassVar[int] = 16
    address_bits: int = Field(ge=12, le=63)
    atom_bits: int = Field(ge=64, le=512)
    memory_atoms: int = Field(ge=1)
    ecc: Ecc = "none"
    window: bool = False
    results: bool = False
    read_beats: int = Field(64, ge=4, le=1024)
    write_bursts: int = Field(32, ge=4, le=256)

    @property
    def apertures(self) -> tuple[Aperture, ...]:
        """The apertures that the port has."""
        return (Aperture.MEMORY, *((Aperture.RESULTS,) if self.results else ()),
                *((Aperture.CODES, Aperture.SCALES) if self.window else ()))

    @property
    def space_bits(self) -> int:
        """Width of a byte address within an aperture."""
        alone = self.apertures == (Aperture.MEMORY,)
        return self.address_bits - (0 if alone else self.APERTURE_BITS)

    def aperture_base(self, aperture: Aperture) -> int:
        """Return the byte address at which an aperture begins; ``ValueError`` if it is not there.
        """
        if aperture not in self.apertures:
            raise ValueError(f"the host port has no aperture {aperture.name.lower()}; it has "
                             + ", ".join(one.name.lower() for one in self.apertures))
        return aperture << self.space_bits

    @property
    def offset_bits(self) -> int:
        """Address bits within one atom."""
        return (self.atom_bits // 8 - 1).bit_length()

    @property
    def index_bits(self) -> int:
        """Width of an atom's number within the memory."""
        return max(1, (self.memory_atoms - 1).bit_length())


class MemoryControllerParams(UnitParams):
    """The controller of one pseudo-channel.

    ``tile_reads`` and ``host_reads`` are the read slots of the two requesters, ``writes`` the write
    slots that they share; ``host_share`` is the host's share of the accesses while both want them;
    ``phy_cycles`` are the tile cycles that the PHY adds to the DRAM's own read latency.
    """

    grade: Grade
    refresh: Literal["all-bank", "per-bank"]
    tile_reads: int = Field(128, ge=8, le=256)
    host_reads: int = Field(32, ge=2, le=256)
    writes: int = Field(64, ge=8, le=256)
    host_share: float = Field(0.25, ge=0.01, le=0.99)
    ecc: Ecc = "none"
    phy_cycles: int = Field(0, ge=0, le=64)

    # Sizes

    @property
    def atom_bits(self) -> int:
        """Bits of one access."""
        return self.grade.atom_bytes * 8

    @property
    def ecc_inline(self) -> bool:
        """Whether check bits are in a region of the memory: the grade has no room beside an atom.

        :class:`hdl.inline_ecc.InlineEcc` makes and checks them then, not the controller.
        """
        return (self.ecc == "secded"
                and self.grade.organisation.ecc_bits < self.grade.atom_bytes)

    @property
    def ecc_bits(self) -> int:
        """Check bits beside one atom on the data port."""
        return self.grade.atom_bytes if self.ecc == "secded" and not self.ecc_inline else 0

    @property
    def memory_atoms(self) -> int:
        """Atoms that hold data; with inline check bits, the lowest seven eighths of all."""
        atoms = 1 << self.index_bits
        return atoms - atoms // 8 if self.ecc_inline else atoms

    @property
    def inline_ecc(self) -> InlineEccParams:
        """Inline check bits, as many reads under way as the controller has."""
        bank = next(field for field in self.grade.address_fields if field.name == "bank")
        return InlineEccParams(index_bits=self.index_bits, atom_bits=self.atom_bits,
                               bank_low=bank.low, bank_bits=bank.bits,
                               tile_reads=self.tile_reads, host_reads=self.host_reads)

    @property
    def index_bits(self) -> int:
        """Width of an atom's number."""
        return self.grade.atom_index_bits

    @property
    def banks(self) -> int:
        """Banks; the bank group is the lowest part of a bank's number, the stack ID the highest."""
        return self.grade.banks

    @property
    def bank_sets(self) -> int:
        """Sets of banks that a sequential stream goes through at a time: one bank of each group."""
        return self.banks // self.grade.organisation.bank_groups

    @property
    def read_slot_bits(self) -> int:
        """Width of a read slot's number within its requester's."""
        return (max(self.tile_reads, self.host_reads) - 1).bit_length()

    @property
    def read_queues(self) -> BankQueuesParams:
        """Queues of the reads; an entry's number is the slot's, the host's above the tile's."""
        return self._queues((1 << self.read_slot_bits) + self.host_reads)

    @property
    def write_queues(self) -> BankQueuesParams:
        """Queues of the writes; an entry's number is the slot's."""
        return self._queues(self.writes)

    def _queues(self, entries: int) -> BankQueuesParams:
        bits = {field.name: max(1, field.bits) for field in self.grade.address_fields}
        return BankQueuesParams(banks=self.banks, entries=entries, row_bits=bits["row"],
                                column_bits=bits["column"])

    @property
    def read_item_bits(self) -> int:
        """Bits of an answer: the atom, and its :class:`ReadFault`."""
        return self.atom_bits + FAULT_BITS

    def reorder_buffer(self, reads: int) -> ReorderBufferParams:
        """Buffer of the answers of a requester with ``reads`` slots."""
        return ReorderBufferParams(entries=reads, bits=self.read_item_bits)

    @property
    def secded(self) -> SecdedParams:
        """Encoder and decoder of an atom."""
        return SecdedParams(words=self.atom_bits // 64)

    @property
    def host_turn(self) -> int:
        """The host's part of ``TURN`` accesses, while both requesters want them."""
        return min(max(round(self.host_share * TURN), 1), TURN - 1)

    # The command port

    @property
    def cycle_ck(self) -> int:
        """Cycles of the grade's clock in one tile cycle."""
        return self.grade.timing.nCCDS

    def phase(self, command: DramCommand) -> int:
        """The cycle of the grade's clock, within a tile cycle, in which ``command`` is sent.

        Column commands come first. On a shared bus a row command follows the column command, or,
        where it does not fit behind it, has the tile cycle to itself.
        """
        part = self.grade.organisation
        if command in COLUMN_COMMANDS or part.command_buses == "separate":
            return 0
        return part.column_ck if part.column_ck + self._length(command) <= self.cycle_ck else 0

    def exclusive(self, command: DramCommand) -> bool:
        """Whether a row command leaves no room for a column command in its tile cycle."""
        part = self.grade.organisation
        return (part.command_buses == "shared" and command not in COLUMN_COMMANDS
                and self.phase(command) < part.column_ck)

    def _length(self, command: DramCommand) -> int:
        return self.grade.organisation.activate_ck if command is DramCommand.ACT else 1

    def distance(self, earlier: DramCommand, later: DramCommand, scope: Scope,
                 window: int = 1) -> int:
        """Least tile cycles from ``earlier`` to ``later``; 0 where no rule asks for any."""
        also = {Scope.BANK: {Scope.GROUP}, Scope.GROUP: {Scope.OTHER_BANK},
                Scope.OTHER_GROUP: {Scope.OTHER_BANK}, Scope.OTHER_STACK: {Scope.OTHER_BANK}}
        scopes = {scope, Scope.ALL} | also.get(scope, set())
        least = max((cycles for rule, cycles in rules_of(self.grade)
                     if rule.window == window and earlier in rule.earlier and later in rule.later
                     and scopes & set(rule.scopes)), default=0)
        gap = least + self.phase(earlier) - self.phase(later)
        return max(0, -(-gap // self.cycle_ck))

    # Distances, in tile cycles

    @property
    def read_latency(self) -> int:
        """From a RD on the command port to its atom on the read port: whole bursts."""
        timing = self.grade.timing
        ck = self.phase(DramCommand.RD) + timing.nCL + timing.nBL
        return -(-ck // self.cycle_ck) + self.phy_cycles

    @property
    def precharge(self) -> int:
        """From PRE to the next ACT or refresh of the bank."""
        return self._recovery(DramCommand.PRE)

    def recovery(self, command: DramCommand) -> int:
        """From ``command`` to the next ACT or refresh of its bank, precharge included."""
        before = {DramCommand.ACT: DramCommand.ACT, DramCommand.RDA: DramCommand.RD,
                  DramCommand.WRA: DramCommand.WR}[command]
        return max(self._recovery(command),
                   self.distance(before, DramCommand.PRE, Scope.BANK) + self.precharge)

    def _recovery(self, command: DramCommand) -> int:
        later = [DramCommand.ACT, DramCommand.REFab]
        if self.grade.per_bank_refresh:
            later.append(DramCommand.REFpb)
        return max(self.distance(command, one, Scope.BANK) for one in later)

    @property
    def refreshes_gathered(self) -> int:
        """Refreshes owed at which one must come: one interval before the grade's limit.

        All-bank refreshes of a busy memory come so many together.
        """
        return max(1, self.grade.organisation.refresh_postponed_max - 1)

    @property
    def refresh_cycles(self) -> int:
        """From a refresh to the next ACT or refresh of the bank."""
        command = DramCommand.REFpb if self.refresh == "per-bank" else DramCommand.REFab
        return self._recovery(command)
