"""Cocotb side of a whole operation: executes a list of commands, Python asleep in between."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Edge, FallingEdge, First, RisingEdge

from host.driver import Driver
from spec.commands import ErrorCode
from spec.tile import Tile
from tb.bench import PERIOD_NS

__all__ = ["execute"]

# Cycles between two looks at the counters, for the progress bar.
WATCH_CYCLES = 20_000
# A tile that does nothing for so many cycles never will. The memory answers within a thousand, also
# while it is refreshed; what takes the tile longest without an atom, the check of a command, takes
# less than that, too.
STUCK_CYCLES = 60_000
# A read of the host that has not ended after so many cycles never will.
READ_CYCLES = 5_000_000
COUNTERS = ("atoms_read_low", "atoms_written_low", "ended")


class _Registers:
    """AXI4-Lite manager that touches the simulation only while an access is under way.

    ``idle`` counts the cycles since somebody last set it to zero; too many fail the test, wherever
    the host waits.
    """

    def __init__(self, dut, watch):
        self.dut, self.watch = dut, watch
        self.idle = 0
        dut.s_axi_wstrb.value = 0xF
        dut.s_axi_bready.value = 1
        dut.s_axi_rready.value = 1

    async def write(self, offset: int, value: int) -> None:
        dut = self.dut
        dut.s_axi_awaddr.value, dut.s_axi_wdata.value = offset, value
        waiting = {dut.s_axi_awvalid: dut.s_axi_awready, dut.s_axi_wvalid: dut.s_axi_wready}
        for valid in waiting:
            valid.value = 1
        while waiting or dut.s_axi_bvalid.value == 0:
            # Ready is read before the edge, valid falls behind it.
            taken = [valid for valid, ready in waiting.items() if ready.value == 1]
            await self._cycle()
            for valid in taken:
                valid.value = 0
                del waiting[valid]
        assert dut.s_axi_bresp.value == 0, f"write of {offset:#x} refused"
        await self._cycle()

    async def read(self, offset: int) -> int:
        dut = self.dut
        dut.s_axi_araddr.value = offset
        dut.s_axi_arvalid.value = 1
        while dut.s_axi_arready.value == 0:
            await self._cycle()
        await self._cycle()
        dut.s_axi_arvalid.value = 0
        while dut.s_axi_rvalid.value == 0:
            await self._cycle()
        assert dut.s_axi_rresp.value == 0, f"read of {offset:#x} refused"
        value = dut.s_axi_rdata.value.to_unsigned()
        await self._cycle()
        return value

    async def wait(self) -> None:
        if self.dut.interrupt.value == 0:
            await First(RisingEdge(self.dut.interrupt), ClockCycles(self.dut.clk, WATCH_CYCLES))
            self.idle += WATCH_CYCLES
        await self._cycle()
        await self.watch()

    async def _cycle(self) -> None:
        self.idle += 1
        assert self.idle < STUCK_CYCLES, (
            f"the tile hangs: no atom was read or written and no command ended for {STUCK_CYCLES} "
            "cycles")
        await FallingEdge(self.dut.clk)


@cocotb.test()
async def execute(dut):
    """Execute the commands of a job, each behind a fence, and write down what happened."""
    tile = Tile.model_validate_json(os.environ["PNMTILE_PARAMS"])
    job = json.loads(Path(os.environ["PNMTILE_JOB"]).read_text())
    atoms = Path(job["atoms"])
    last = None

    async def watch():
        nonlocal last
        now = [await driver.read(name) for name in COUNTERS]
        if now != last:
            last, registers.idle = now, 0
        atoms.write_text(str(now[0]))

    for name in ("awvalid", "wvalid", "arvalid", "awprot", "arprot"):
        getattr(dut, f"s_axi_{name}").value = 0
    dut.rst.value = 1
    registers = _Registers(dut, watch)
    driver = Driver(registers, tile)
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await driver.identify()
    await driver.open_window(0, job["bytes"])
    errors, uncorrectable = [], None
    reads = job["reads"]
    if hasattr(dut, "permitted"):
        dut.permitted.value = 0

    async def read_until(number, during):
        """Let the host read what belongs to a command; wait for what is read behind it."""
        count = sum(command < number or command == number and (early or not during)
                    for command, early in reads)
        if count:
            dut.permitted.value = count
        while not during and count and int(dut.reads_ended.value) < count:
            before = int(dut.reads_ended.value)
            await First(Edge(dut.reads_ended), ClockCycles(dut.clk, READ_CYCLES))
            await FallingEdge(dut.clk)
            assert int(dut.reads_ended.value) != before, (
                f"the host waits for the end of read {before} after {READ_CYCLES} cycles")

    for number, words in enumerate(job["commands"]):
        registers.idle = 0
        await driver.submit_words(tuple(words))
        await read_until(number, during=True)
        await driver.fence(number & 0xFFFF)
        await read_until(number, during=False)
        if uncorrectable is None:
            uncorrectable = await driver.uncorrectable()
        code, tag = await driver.take_error()
        if code != ErrorCode.NONE:
            errors.append((tag, code))
    finished = getattr(dut, "finished", None)
    while finished is not None and finished.value == 0:
        await ClockCycles(dut.clk, WATCH_CYCLES)
    await FallingEdge(dut.clk)
    counters = await driver.counters()
    Path(job["answer"]).write_text(json.dumps({
        "errors": errors, "counters": asdict(counters), "corrected": await driver.corrected(),
        "uncorrectable": uncorrectable}))
