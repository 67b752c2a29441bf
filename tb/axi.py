"""AXI4 channels seen from outside, and what the models of cocotbext-axi need here.

The models drive and read at rising edges; a :class:`Watch` reads what the coming edge takes, as
all channels of :mod:`tb.bench` do, and checks the protocol on its own.
"""

import logging
from collections.abc import Callable
from typing import Any

from cocotbext.axi import AxiReadBus, AxiWriteBus

from tb.bench import Bench

__all__ = ["ADDRESS_FIELDS", "Watch", "quiet", "read_bus", "write_bus"]

ADDRESS_FIELDS = ("addr", "len", "size", "burst", "cache", "id", "lock", "prot")


def quiet(dut: Any) -> None:
    """Keep the models from printing each transfer."""
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)


def read_bus(dut: Any) -> AxiReadBus:
    """The read channels of the unit's manager."""
    return AxiReadBus.from_prefix(dut, "m_axi")


def write_bus(dut: Any) -> AxiWriteBus:
    """The write channels of the unit's manager."""
    return AxiWriteBus.from_prefix(dut, "m_axi")


class Watch:
    """One channel: keeps its transfers, and checks that a refused one stays as it was.

    Members
    -------
    offers : cycles in which a transfer was offered first
    taken : (cycle, {field: value}) of each transfer
    """

    def __init__(self, bench: Bench, prefix: str, fields: tuple[str, ...],
                 offered: Callable[[dict[str, int]], None] | None = None,
                 took: Callable[[dict[str, int]], None] | None = None):
        dut = bench.dut
        self.bench, self.prefix, self.offered, self.took = bench, prefix, offered, took
        self.valid, self.ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
        self.ports = {field: getattr(dut, f"{prefix}{field}") for field in fields}
        self.refused: dict[str, int] | None = None
        self.offers: list[int] = []
        self.taken: list[tuple[int, dict[str, int]]] = []
        bench.watchers.append(self.sample)

    def sample(self) -> None:
        """See what stands on the channel; called when all has settled."""
        if self.valid.value != 1:
            assert self.refused is None, f"{self.prefix}valid fell before {self.prefix}ready rose"
            return
        now = {field: int(port.value) for field, port in self.ports.items()}
        assert self.refused in (None, now), (
            f"{self.prefix}: a refused transfer changed from {self.refused} to {now}")
        if self.refused is None:
            self.offers.append(self.bench.cycle)
            if self.offered:
                self.offered(now)
        taken = self.ready.value == 1
        self.refused = None if taken else now
        if taken:
            self.taken.append((self.bench.cycle, now))
            if self.took:
                self.took(now)
