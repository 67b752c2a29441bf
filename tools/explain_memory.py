"""What a pseudo-channel can give to a native tile, derived from its grade.

Cycles are tile cycles, in which one atom moves; shares are of what the data pins carry when no
cycle is lost. The sequential figures assume that rows are opened ahead and closed by the access
that needs them last; where a grade does not leave the time for that, they are unknown.
"""

from typing import Any

from spec.dram_rules import DramCommand, Scope
from spec.grade import Grade
from spec.memory_units import MemoryControllerParams
from spec.tile import Tile

__all__ = ["memory_explanation"]

ACT, PRE, RD, WR, RDA = (DramCommand.ACT, DramCommand.PRE, DramCommand.RD, DramCommand.WR,
                         DramCommand.RDA)


def memory_explanation(tile: Tile) -> dict[str, Any]:
    """Organisation, address map and rates of a native tile's memory.

    Each rate has a ``value`` with its ``unit``, or None and in ``why`` the reason.
    """
    params = tile.memory_controller
    grade, part = params.grade, params.grade.organisation
    byte_bits = (grade.atom_bytes - 1).bit_length()
    return {
        "grade": grade.name, "standard": grade.standard, "refresh": params.refresh,
        "ecc": params.ecc, "ecc_place": _ecc_place(params), "host_share": params.host_share,
        "organisation": {
            "stack_ids": part.stack_ids, "bank_groups": part.bank_groups,
            "banks_per_group": part.banks_per_group, "banks": grade.banks, "rows": part.rows,
            "row_bytes": part.row_bytes, "row_atoms": grade.row_atoms,
            "atom_bytes": grade.atom_bytes, "capacity_bytes": grade.capacity_bytes,
            "usable_bytes": params.memory_atoms * grade.atom_bytes},
        "clock": {"grade_mhz": grade.clock_mhz, "tile_mhz": grade.tile_clock_mhz,
                  "grade_cycles_per_tile_cycle": params.cycle_ck},
        "address_map": [
            {"field": "byte", "address_bit": 0, "bits": byte_bits},
            *({"field": field.name, "address_bit": byte_bits + field.low, "bits": field.bits}
              for field in grade.address_fields)],
        "rates": [*_refresh(params), *_sequential(params), *_turnaround(params),
                  *_random(params),
                  _rate("reads and writes mixed", None, "%",
                        "depends on how many writes are gathered: measured, not derived")],
    }


def _ecc_place(params: MemoryControllerParams) -> str | None:
    """Where the check bits are; None where there are none."""
    if params.ecc == "none":
        return None
    return "inline" if params.ecc_inline else "side-band"


def _rate(quantity: str, value: float | None, unit: str, why: str) -> dict[str, Any]:
    return {"quantity": quantity, "value": value, "unit": unit,
            "origin": None if value is None else "analytic", "why": why}


def _all_bank_loss(params: MemoryControllerParams) -> float:
    """Share of the time without accesses: rows closed, the refreshes gathered, a row opened."""
    if params.refresh == "per-bank":
        return 0.0
    gathered = params.refreshes_gathered
    cycles = (params.distance(RD, PRE, Scope.BANK) + params.precharge
              + gathered * params.refresh_cycles + params.distance(ACT, RD, Scope.BANK))
    return cycles * params.cycle_ck / (gathered * params.grade.timing.nREFI)


def _refresh(params: MemoryControllerParams) -> list[dict[str, Any]]:
    timing = params.grade.timing
    if params.refresh == "all-bank":
        return [_rate("refresh, all banks at once", 100 * timing.nRFC / timing.nREFI, "%",
                      "nRFC / nREFI of the time")]
    assert timing.nRFCpb is not None
    return [
        _rate("refresh, of each bank", 100 * timing.nRFCpb / timing.nREFI, "%",
              "nRFCpb / nREFI of the bank's time; the other banks go on"),
        _rate("refresh, of the row commands",
              100 * params.banks * params.cycle_ck / timing.nREFI, "%",
              "one REFpb a bank in nREFI, each the row command of one tile cycle"),
    ]


def _sequential(params: MemoryControllerParams) -> list[dict[str, Any]]:
    """Peak, achievable rate of a sequential read, and where the rest goes: together 100 %."""
    grade, timing = params.grade, params.grade.timing
    peak = _rate("peak of the data pins", grade.peak_gb_per_s, "GB/s", "one atom in nBL")
    reason = _not_hidden(params)
    if reason:
        return [peak, _rate("sequential read", None, "GB/s", reason)]
    part = grade.organisation
    # One turn: a row of every bank.
    atoms = params.banks * grade.row_atoms
    rotation = max(part.bank_groups, params.distance(RD, RD, Scope.GROUP))
    groups = atoms // part.bank_groups * (rotation - part.bank_groups)
    changes = part.stack_ids if part.stack_ids > 1 else 0
    stacks = changes * (params.distance(RD, RD, Scope.OTHER_STACK) - 1)
    rows = params.banks * params.exclusive(ACT)
    turn = atoms + groups + stacks + rows
    refresh = _all_bank_loss(params)
    if params.refresh == "per-bank" and params.exclusive(DramCommand.REFpb):
        refresh = params.banks * params.cycle_ck / timing.nREFI
    burst = timing.nBL / timing.nCCDS
    checks = atoms / 9 if params.ecc_inline else 0
    share = burst * (1 - refresh) * (atoms - checks) / turn

    def lost(to: str, cycles: float, why: str) -> dict[str, Any]:
        return _rate(f"lost to {to}", 100 * burst * (1 - refresh) * cycles / turn, "%", why)

    return [
        peak,
        _rate("sequential read", share * grade.peak_gb_per_s, "GB/s", "below, as a share"),
        _rate("sequential read", 100 * share, "%",
              "of the peak" + (", at most" if params.ecc_inline else "")),
        _rate("lost to refresh", 100 * burst * refresh, "%",
              f"rows closed, {params.refreshes_gathered} nRFC, first row opened, each "
              f"{params.refreshes_gathered} nREFI"
              if params.refresh == "all-bank" else
              "hidden behind other banks, but for REFpb on a shared bus"),
        lost("changes of the stack ID", stacks, "nCCDR instead of nCCDS, in whole tile cycles"),
        lost("the same bank group", groups, "nCCDL where there are too few groups to rotate over"),
        lost("ACT on the command bus", rows, "where it leaves no room for a RD in a tile cycle"),
        lost("inline check bits", checks,
             "one atom of check bits read for eight; what their rows cost is not derived"
             if params.ecc_inline else "none in the memory"),
        _rate("lost between bursts", 100 * (1 - burst), "%", "nCCDS longer than nBL"),
    ]


def _not_hidden(params: MemoryControllerParams) -> str | None:
    """Why opening rows cannot be hidden behind the accesses of other banks; None where it can."""
    grade = params.grade
    away = (grade.banks - grade.organisation.bank_groups) * grade.row_atoms
    need = params.recovery(RDA) + params.distance(ACT, RD, Scope.BANK)
    if params.refresh == "per-bank":
        need += params.refresh_cycles
    if away < need:
        return (f"not derived: a bank is left for {away} cycles and takes {need} to its next row, "
                "so accesses wait for rows")
    if _activate_cycles(params, grade) > grade.row_atoms:
        return "not derived: rows cannot be opened as fast as they are read"
    return None


def _activate_cycles(params: MemoryControllerParams, grade: Grade) -> float:
    """Least tile cycles from one ACT to the next, on average: nRRDS, nFAW, nRC over all banks."""
    return max(1.0, params.distance(ACT, ACT, Scope.OTHER_GROUP),
               params.distance(ACT, ACT, Scope.ALL, window=4) / 4,
               params.recovery(ACT) / grade.banks)


def _turnaround(params: MemoryControllerParams) -> list[dict[str, Any]]:
    to_write = params.distance(RD, WR, Scope.OTHER_GROUP) - 1
    to_read = params.distance(WR, RD, Scope.OTHER_GROUP) - 1
    return [
        _rate("turnaround, reads to writes", to_write, "cycles", "nRTW; per batch of writes"),
        _rate("turnaround, writes to reads", to_read, "cycles",
              "nCWL + nBL + nWTRS, other bank group; per batch of writes"),
    ]


def _random(params: MemoryControllerParams) -> list[dict[str, Any]]:
    grade = params.grade
    accesses = 2 if params.ecc_inline else 1
    cycles = accesses * (_activate_cycles(params, grade) + params.exclusive(ACT))
    share = grade.timing.nBL / grade.timing.nCCDS / cycles * (1 - _all_bank_loss(params))
    why = ("at most: an ACT for each" + (" and one for its check bits" if accesses == 2 else "")
           + ", limited by nRRDS, nFAW and nRC"
           + ("; refresh not counted" if params.refresh == "per-bank" else ", and refresh"))
    return [_rate("random atoms", 100 * share, "%", why),
            _rate("random atoms", share * grade.peak_gb_per_s, "GB/s", "the same as a rate")]
