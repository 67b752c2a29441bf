"""Checks of a unit's structure that need no protocol."""

import random
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from tb.bench import PERIOD_NS, bench_seed

__all__ = ["check_registered"]


async def check_registered(dut: Any, inputs: list[str], outputs: list[str],
                           seldom: tuple[str, ...] = (), cycles: int = 400) -> None:
    """Fail when an output follows an input within one clock cycle.

    Random values stand on all inputs, no matter what a protocol says; in each cycle they change
    once more between two edges, and every output must stay. Single bits are often high or often
    low for a while, so that queues fill and run empty. Every output, but those that change
    ``seldom``, must also have changed from one cycle to another: otherwise nothing was seen.
    """
    rng = random.Random(bench_seed())
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    high = dict.fromkeys(inputs, 0.5)

    def disturb() -> None:
        for name in inputs:
            port = getattr(dut, name)
            bit = rng.random() < high[name]
            port.value = rng.getrandbits(len(port)) if len(port) > 1 else int(bit)

    async def settled() -> dict[str, int]:
        await ReadOnly()
        return {name: int(getattr(dut, name).value) for name in outputs}

    dut.rst.value = 1
    disturb()
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    seen: dict[str, set[int]] = {name: set() for name in outputs}
    for cycle in range(cycles):
        if cycle % 50 == 0:
            high = {name: rng.choice((0.1, 0.5, 0.9)) for name in inputs}
        disturb()
        before = await settled()
        await Timer(PERIOD_NS / 8, unit="ns")
        disturb()
        after = await settled()
        following = [name for name in outputs if before[name] != after[name]]
        assert not following, f"{', '.join(following)}: follows an input combinationally"
        for name, value in after.items():
            seen[name].add(value)
        await FallingEdge(dut.clk)
    still = [name for name in outputs if name not in seldom and len(seen[name]) == 1]
    assert not still, f"{', '.join(still)}: never changed"
