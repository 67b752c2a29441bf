"""The records of a design's timing, and how they are summed up from its longest paths."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools.constraints import EXTERNAL_SHARE
from tools.liberty import Library
from tools.timing import Stop

__all__ = ["Critical", "GroupTiming", "Segment", "TimedPath", "TimingReport", "UnitTiming",
           "summarise"]


@dataclass(frozen=True)
class TimedPath:
    """The longest path of one kind to one end: ps, setup included; no unit is the boundary.

    ``end_pin`` tells ends of one name apart.
    """

    ps: float
    start_unit: str | None
    start: str
    end_unit: str | None
    end: str
    end_pin: str

    @property
    def group(self) -> str:
        """``reg2reg``, ``in2reg``, ``reg2out`` or ``in2out``."""
        return (f"{'in' if self.start_unit is None else 'reg'}2"
                f"{'out' if self.end_unit is None else 'reg'}")

    @property
    def share(self) -> float:
        """The part of the period that the path has."""
        ports = (self.start_unit is None) + (self.end_unit is None)
        return 1.0 - ports * float(EXTERNAL_SHARE)

    @property
    def period_ps(self) -> float:
        """The shortest period in which the path fits."""
        return self.ps / self.share

    @property
    def start_name(self) -> str:
        """Unit and register, or port."""
        return self.start if self.start_unit is None else f"{self.start_unit}.{self.start}"

    @property
    def end_name(self) -> str:
        """Unit and register, or port."""
        return self.end if self.end_unit is None else f"{self.end_unit}.{self.end}"


@dataclass(frozen=True)
class GroupTiming:
    """One path group: its worst path. Times are in the report's unit, slack is None without one."""

    group: str
    endpoints: int
    failing: int
    length: float
    fo4: float
    slack: float | None
    start: str
    end: str


@dataclass(frozen=True)
class UnitTiming:
    """The worst path that ends in one unit, and how many of its ends fail."""

    unit: str
    endpoints: int
    failing: int
    group: str
    length: float
    fo4: float
    slack: float | None
    start: str
    end: str


@dataclass(frozen=True)
class Segment:
    """The part of a path inside one unit."""

    unit: str
    cells: int
    delay: float
    fo4: float


@dataclass(frozen=True)
class Critical:
    """The path of the least slack; without a technology, that of the longest period."""

    group: str
    start: str
    end: str
    length: float
    fo4: float
    slack: float | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class TimingReport:
    """Timing of a design; times in ``unit``. Without a technology there is no slack.

    ``shortest_period`` is the period that all paths fit into, found as ``period_origin`` says.
    """

    engine: str
    unit: str
    period_ps: float
    endpoints: int
    failing: int
    groups: tuple[GroupTiming, ...]
    units: tuple[UnitTiming, ...]
    critical: Critical
    shortest_period: float
    period_origin: str

    @property
    def met(self) -> bool | None:
        """Whether every path fits into the clock's period; None without a technology."""
        slack = self.critical.slack
        return None if slack is None else slack >= 0

    @property
    def highest_mhz(self) -> float | None:
        """The highest clock that all paths allow; None without a technology."""
        if self.critical.slack is None or self.shortest_period <= 0:
            return None
        return round(1e6 / self.shortest_period, 2)

    def verdict(self) -> str:
        """Whether the clock is met, by how much not, and where, in a sentence."""
        path = self.critical
        way = f"{path.start} to {path.end}, {path.fo4:.1f} FO4"
        if path.slack is None:
            return (f"the longest path, {way}, asks for a period of {self.shortest_period:.1f} "
                    "FO4; the library has no technology, so no clock is compared with it")
        clock = f"{1e6 / self.period_ps:.6g} MHz ({self.period_ps:.6g} ps)"
        highest = f"{self.highest_mhz or 0:.1f} MHz is the highest clock"
        if path.slack >= 0:
            return f"the clock of {clock} is met with {path.slack:.1f} ps to spare; {highest}"
        return (f"the clock of {clock} is missed by {-path.slack:.1f} ps at {self.failing} of "
                f"{self.endpoints} ends; worst: {way}; {highest}")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        timed = self.critical.slack is not None
        origin = "synthesised"
        highest: dict[str, Any] = {"value": self.highest_mhz}
        if highest["value"] is None:
            highest["reason"] = "the embedded library has no technology"
        return {
            "engine": self.engine, "unit": self.unit, "origin": origin,
            "external_share_of_period": float(EXTERNAL_SHARE),
            "target_period": {"value": self.period_ps, "unit": "ps"},
            "met": self.met, "verdict": self.verdict(),
            "endpoints": self.endpoints, "failing_endpoints": self.failing if timed else None,
            "shortest_period": {"value": self.shortest_period, "unit": self.unit,
                                "origin": self.period_origin},
            "highest_clock": {**highest, "unit": "MHz", "origin": self.period_origin},
            "critical_path": asdict(self.critical),
            "groups": [asdict(group) for group in self.groups],
            "units": [asdict(unit) for unit in self.units],
        }


def summarise(engine: str, paths: Sequence[TimedPath],
              stops: Callable[[TimedPath], Sequence[Stop]], library: Library, clock_mhz: float,
              bisected: tuple[float, str] | None, critical_end: str | None = None) -> TimingReport:
    """Sum up the longest paths to all ends; ``stops`` gives those of the critical one.

    That is the one to ``critical_end`` where this is given, otherwise the worst: of the least
    slack, and without a technology of the longest period.
    """
    period, fo4, technology = 1e6 / clock_mhz, library.fo4[0], library.technology

    def shown(ps: float) -> float:
        return round(ps if technology else ps / fo4, 2)

    def slack(path: TimedPath) -> float | None:
        return round(path.share * period - path.ps, 2) if technology else None

    def fails(path: TimedPath) -> bool:
        return technology and path.share * period < path.ps

    def worst(some: Iterable[TimedPath]) -> TimedPath:
        return max(some, key=lambda path: (
            path.ps - path.share * period if technology else path.period_ps,
            path.end_name, path.start_name))

    def ends(some: Iterable[TimedPath]) -> int:
        return len({path.end_pin for path in some})

    groups: defaultdict[str, list[TimedPath]] = defaultdict(list)
    units: defaultdict[str, list[TimedPath]] = defaultdict(list)
    for path in paths:
        groups[path.group].append(path)
        if path.end_unit is not None:
            units[path.end_unit].append(path)
    path = worst(path for path in paths if critical_end in (None, path.end_pin))
    found, origin = bisected or (max(path.period_ps for path in paths),
                                 "the longest path over its share of the period")
    return TimingReport(
        engine=engine, unit="ps" if technology else "FO4", period_ps=round(period, 4),
        endpoints=ends(paths), failing=ends(filter(fails, paths)),
        groups=tuple(GroupTiming(name, ends(some), ends(filter(fails, some)), shown(one.ps),
                                 round(one.ps / fo4, 2), slack(one), one.start_name, one.end_name)
                     for name, some in sorted(groups.items()) for one in (worst(some),)),
        units=tuple(UnitTiming(unit, ends(some), ends(filter(fails, some)), one.group,
                               shown(one.ps), round(one.ps / fo4, 2), slack(one),
                               one.start_name, one.end_name)
                    for unit, some in sorted(units.items()) for one in (worst(some),)),
        critical=Critical(path.group, path.start_name, path.end_name, shown(path.ps),
                          round(path.ps / fo4, 2), slack(path),
                          _segments(stops(path), shown, fo4)),
        shortest_period=shown(found), period_origin=origin)


def _segments(stops: Sequence[Stop], shown: Callable[[float], float], fo4: float
              ) -> tuple[Segment, ...]:
    """The units that a path passes, in order."""
    found: list[Segment] = []
    begun = before = 0.0
    cells = 0
    for place, stop in enumerate(stops):
        cells += 1
        before = stop.ps
        if place + 1 == len(stops) or stops[place + 1].unit != stop.unit:
            found.append(Segment(stop.unit, cells, shown(before - begun),
                                 round((before - begun) / fo4, 2)))
            begun, cells = before, 0
    return tuple(found)
