"""A DRAM grade: the organisation and the timings of one pseudo-channel, with their sources.

A grade is one TOML file; those in ``spec/grades`` are known by name. Timings are stored in cycles
of the grade's clock, and everything that follows from the stored values is derived here. "A
pseudo-channel" is what one controller drives: a pseudo-channel of HBM, a subchannel of DDR5, a
channel of LPDDR5 or GDDR6.
"""

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from spec.reader import Conflict, DescriptionError, Kind, Problem, read_model
from spec.section import PowerOfTwo, Section

__all__ = ["AddressField", "DramAddress", "Grade", "Organisation", "Timing", "grade_names",
           "grade_path", "load_grade"]

_GRADES = Path(__file__).parent / "grades"

Cycles = Annotated[int, Field(ge=1, le=1_000_000)]


class Organisation(Section):
    """What a pseudo-channel is made of, and how fast it runs."""

    data_rate_mtps: float = Field(gt=0.0, le=100000.0, description="Transfers per pin, 10^6/s.")
    clock_ns: float = Field(gt=0.0, le=100.0, description="Period of the clock that timings count.")
    dq_bits: PowerOfTwo = Field(ge=4, le=1024, description="Data pins.")
    burst_length: PowerOfTwo = Field(ge=1, le=64, description="Transfers per pin and access.")
    ecc_bits: int = Field(
        0, ge=0, le=512, description="Bits beside the data of an access that a controller may use.")
    stack_ids: PowerOfTwo = Field(ge=1, le=16, description="Stack IDs (1 where there are none).")
    bank_groups: PowerOfTwo = Field(ge=1, le=16, description="Bank groups per stack ID.")
    banks_per_group: PowerOfTwo = Field(ge=1, le=16, description="Banks per bank group.")
    rows: PowerOfTwo = Field(ge=2, le=1 << 24, description="Rows per bank.")
    row_bytes: PowerOfTwo = Field(ge=8, le=65536, description="Bytes that one ACT opens.")
    command_buses: Literal["separate", "shared"] = Field(
        description="Row and column commands have a bus each, or share one.")
    activate_ck: int = Field(ge=1, le=8, description="Cycles that ACT takes on its command bus.")
    column_ck: int = Field(
        ge=1, le=8, description="Cycles that RD, RDA, WR and WRA take on their command bus.")
    refresh_postponed_max: int = Field(
        ge=0, le=64, description="Refresh intervals that a bank may be behind.")


class Timing(Section):
    """Least distances in cycles; the names are those of the standards."""

    nBL: Cycles = Field(description="Burst on the data pins")
    nCL: Cycles = Field(description="RD to its data")
    nCWL: Cycles = Field(description="WR to its data")
    nRCDRD: Cycles = Field(description="ACT to RD")
    nRCDWR: Cycles = Field(description="ACT to WR")
    nRP: Cycles = Field(description="PRE to ACT")
    nRPab: Cycles | None = Field(None, description="PREA to ACT, where it differs from nRP")
    nRAS: Cycles = Field(description="ACT to PRE")
    nRC: Cycles = Field(description="ACT to ACT, same bank")
    nCCDS: Cycles = Field(description="RD to RD, other bank group")
    nCCDL: Cycles = Field(description="RD to RD, same bank group")
    nCCDR: Cycles | None = Field(None, description="RD to RD, other stack ID")
    nCCDS_WR: Cycles = Field(description="WR to WR, other bank group")
    nCCDL_WR: Cycles = Field(description="WR to WR, same bank group")
    nRRDS: Cycles = Field(description="ACT to ACT, other bank group")
    nRRDL: Cycles = Field(description="ACT to ACT, same bank group")
    nFAW: Cycles = Field(description="Window that holds four ACT at most")
    nRTP: Cycles = Field(description="RD to PRE")
    nWR: Cycles = Field(description="End of write data to PRE")
    nWTRS: Cycles = Field(description="End of write data to RD, other bank group")
    nWTRL: Cycles = Field(description="End of write data to RD, same bank group")
    nRTW: Cycles = Field(description="RD to WR")
    nPPD: Cycles | None = Field(None, description="PRE to PRE")
    nRFC: Cycles = Field(description="REFab to the next command")
    nRFCpb: Cycles | None = Field(None, description="REFpb to the next command to that bank")
    nRREFD: Cycles | None = Field(None, description="REFpb to ACT or REFpb, other bank")
    nREFI: Cycles = Field(description="Interval in which each bank is refreshed once")


@dataclass(frozen=True)
class AddressField:
    """One field of an atom's index: ``bits`` bits from bit ``low`` up."""

    name: Literal["bank_group", "column", "bank", "stack_id", "row"]
    low: int
    bits: int


@dataclass(frozen=True)
class DramAddress:
    """Where an atom is. ``bank`` counts within its bank group, ``column`` counts atoms."""

    stack_id: int
    bank_group: int
    bank: int
    row: int
    column: int


class Grade(Section):
    """One speed grade of one standard."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name of the grade.")
    standard: str = Field(pattern=r"^[A-Z0-9]{3,12}$", description="Name of the standard.")
    source: str = Field(pattern=r"\S", description="Where the values come from.")
    notes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="What one should know of these values.")
    organisation: Organisation
    timing: Timing
    sources: dict[str, str] = Field(
        {}, description="Sources of single values, where they differ from the file's.")

    @property
    def atom_bytes(self) -> int:
        """Bytes of one access."""
        return self.organisation.dq_bits * self.organisation.burst_length // 8

    @property
    def row_atoms(self) -> int:
        """Atoms in one row of one bank."""
        return self.organisation.row_bytes // self.atom_bytes

    @property
    def banks(self) -> int:
        """Banks of the pseudo-channel, over all stack IDs and bank groups."""
        part = self.organisation
        return part.stack_ids * part.bank_groups * part.banks_per_group

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the pseudo-channel."""
        return self.banks * self.organisation.rows * self.organisation.row_bytes

    @property
    def peak_gb_per_s(self) -> float:
        """What the pins carry when no cycle is lost, in 10^9 bytes a second."""
        return self.atom_bytes / self.nanoseconds(self.timing.nBL)

    @property
    def clock_mhz(self) -> float:
        """The clock that timings count."""
        return 1000.0 / self.organisation.clock_ns

    @property
    def tile_clock_mhz(self) -> float:
        """The clock of a tile that takes one atom a cycle: one cycle every nCCDS."""
        return self.clock_mhz / self.timing.nCCDS

    @property
    def per_bank_refresh(self) -> bool:
        """Whether the grade has REFpb."""
        return self.timing.nRFCpb is not None

    @property
    def per_bank_interval(self) -> int:
        """Cycles from REFpb to REFpb when the banks take turns (rounded down: a maximum)."""
        return self.timing.nREFI // self.banks

    def nanoseconds(self, cycles: int) -> float:
        """A number of cycles as time."""
        return cycles * self.organisation.clock_ns

    @property
    def address_fields(self) -> tuple[AddressField, ...]:
        """The fields of an atom's index from the lowest bit up; a field may have no bits.

        The bank group is lowest: a sequential stream rotates over the groups, and nCCDS, not
        nCCDL, is between its atoms. The row is highest: the next row of each bank can be opened
        while the others are read.
        """
        part = self.organisation
        sizes: tuple[tuple[Any, int], ...] = (
            ("bank_group", part.bank_groups), ("column", self.row_atoms),
            ("bank", part.banks_per_group), ("stack_id", part.stack_ids), ("row", part.rows))
        fields, low = [], 0
        for name, size in sizes:
            bits = size.bit_length() - 1
            fields.append(AddressField(name, low, bits))
            low += bits
        return tuple(fields)

    @property
    def atom_index_bits(self) -> int:
        """Bits of an atom's index."""
        return sum(field.bits for field in self.address_fields)

    def decompose(self, atom: int) -> DramAddress:
        """Say where the atom of this index is."""
        if not 0 <= atom < 1 << self.atom_index_bits:
            raise ValueError(f"the atom's index must be an integer in [0, "
                             f"{(1 << self.atom_index_bits) - 1}], not {atom}")
        return DramAddress(**{field.name: atom >> field.low & (1 << field.bits) - 1
                              for field in self.address_fields})

    def compose(self, address: DramAddress) -> int:
        """Return the index of the atom that is there."""
        atom = 0
        for field in self.address_fields:
            value = getattr(address, field.name)
            if not 0 <= value < 1 << field.bits:
                raise ValueError(f"{field.name} must be an integer in [0, "
                                 f"{(1 << field.bits) - 1}], not {value}")
            atom |= value << field.low
        return atom


def _conflicts(grade: Grade) -> list[Conflict]:
    """List every conflict between values; an empty list when there is none."""
    found = []
    timing, part = grade.timing, grade.organisation
    value = {name: getattr(timing, name) for name in Timing.model_fields}

    def check(held: bool, keys: tuple[str, ...], message: str) -> None:
        if not held:
            found.append(Conflict(keys=keys, message=message))

    def at_least(name: str, *terms: str, why: str) -> None:
        if value[name] is None or any(value[term] is None for term in terms):
            return
        least = sum(value[term] for term in terms)
        check(value[name] >= least, tuple(f"timing.{key}" for key in (name, *terms)),
              f"timing.{name} = {value[name]} is less than {' + '.join(terms)} = {least}: {why}; "
              f"allowed: {least} or more")

    at_least("nRC", "nRAS", "nRP", why="a bank is opened again after it was open and precharged")
    at_least("nRAS", "nRCDRD", "nRTP", why="a row is read before it is closed")
    at_least("nRPab", "nRP", why="PREA takes no less than PRE")
    at_least("nCCDS", "nBL", why="bursts would overlap on the data pins")
    at_least("nCCDS_WR", "nBL", why="bursts would overlap on the data pins")
    at_least("nCCDL", "nCCDS", why="the same bank group is not faster than another")
    at_least("nCCDL_WR", "nCCDS_WR", why="the same bank group is not faster than another")
    at_least("nCCDR", "nCCDS", why="another stack ID is not faster than the same")
    at_least("nRRDL", "nRRDS", why="the same bank group is not faster than another")
    at_least("nWTRL", "nWTRS", why="the same bank group is not faster than another")
    at_least("nFAW", "nRRDS", why="the window of four ACT is not shorter than from one to the next")
    at_least("nRFC", "nRFCpb", why="refreshing all banks takes no less than refreshing one")
    check(timing.nRTW + timing.nCWL >= timing.nCL + timing.nBL,
          ("timing.nRTW", "timing.nCL", "timing.nBL", "timing.nCWL"),
          f"timing.nRTW = {timing.nRTW} lets write data meet read data on the pins; allowed: "
          f"nCL + nBL - nCWL = {timing.nCL + timing.nBL - timing.nCWL} or more")
    check(timing.nRFC < timing.nREFI, ("timing.nRFC", "timing.nREFI"),
          f"timing.nRFC = {timing.nRFC}: the refresh is longer than its interval; allowed: less "
          f"than nREFI = {timing.nREFI}")
    check((timing.nRFCpb is None) == (timing.nRREFD is None), ("timing.nRFCpb", "timing.nRREFD"),
          "timing.nRFCpb and timing.nRREFD describe refresh per bank: give both, or neither where "
          "the standard has none")
    check(timing.nRREFD is None or timing.nRREFD <= grade.per_bank_interval,
          ("timing.nRREFD", "timing.nREFI", "organisation.stack_ids", "organisation.bank_groups",
           "organisation.banks_per_group"),
          f"timing.nRREFD = {timing.nRREFD} does not let each of {grade.banks} banks be refreshed "
          f"in nREFI = {timing.nREFI}; allowed: at most {grade.per_bank_interval}")
    check((part.stack_ids > 1) == (timing.nCCDR is not None),
          ("timing.nCCDR", "organisation.stack_ids"),
          f"timing.nCCDR is {'missing' if timing.nCCDR is None else timing.nCCDR} with "
          f"organisation.stack_ids = {part.stack_ids}; it must be there with two or more, and only "
          "then")
    transfers = timing.nBL * part.clock_ns * part.data_rate_mtps / 1000
    check(abs(transfers / part.burst_length - 1) < 0.01,
          ("organisation.burst_length", "organisation.data_rate_mtps", "organisation.clock_ns",
           "timing.nBL"),
          f"organisation.burst_length = {part.burst_length}, but in nBL = {timing.nBL} cycles of "
          f"{part.clock_ns:g} ns a pin carries {transfers:.3g} transfers at "
          f"{part.data_rate_mtps:g} MT/s; allowed: equal within 1 %")
    check(8 <= grade.atom_bytes <= 64, ("organisation.dq_bits", "organisation.burst_length"),
          f"organisation.dq_bits = {part.dq_bits} x organisation.burst_length = "
          f"{part.burst_length} make an atom of {part.dq_bits * part.burst_length / 8:g} bytes; "
          "allowed: 8, 16, 32, 64")
    check(part.row_bytes >= grade.atom_bytes,
          ("organisation.row_bytes", "organisation.dq_bits", "organisation.burst_length"),
          f"organisation.row_bytes = {part.row_bytes} is less than one atom of "
          f"{grade.atom_bytes} bytes; allowed: {grade.atom_bytes} or more")
    for name in grade.sources:
        if name not in value and name not in Organisation.model_fields:
            near = difflib.get_close_matches(name, [*value, *Organisation.model_fields], n=1)
            check(False, (f"sources.{name}",), f"sources.{name} is the source of no value"
                  + (f"; did you mean {near[0]}?" if near else
                     "; it must be named as in [timing] or [organisation]"))
    return found


@cache
def _stand_in() -> dict[str, Any]:
    return load_grade("hbm3_6400").model_dump(exclude_none=True)


_GRADE = Kind(name="DRAM grade", model=Grade, conflicts=_conflicts, stand_in=_stand_in)


def grade_names() -> tuple[str, ...]:
    """The grades that are there by name."""
    return tuple(sorted(path.stem for path in _GRADES.glob("*.toml")))


def grade_path(grade: str | Path) -> Path:
    """The file of a grade: a name without a suffix is one of :func:`grade_names`."""
    path = Path(grade)
    if path.suffix or len(path.parts) != 1:
        return path
    names = grade_names()
    if path.name not in names:
        near = difflib.get_close_matches(path.name, names, n=1)
        raise DescriptionError(path, [Problem(
            "there is no such grade; " + (f"did you mean {near[0]}? " if near else "")
            + f"There are {', '.join(names)}; a file of your own is named with its .toml",
            value=path.name, nearest=near[0] if near else None)])
    return _GRADES / f"{path.name}.toml"


def load_grade(grade: str | Path) -> Grade:
    """Read a grade by its name, or a user's own by the path of its file.

    :Errors: :class:`spec.reader.DescriptionError` lists all that is wrong with it.
    """
    return read_model(grade_path(grade), _GRADE)
