"""The tile's AXI buses in simulation: registers, AXI4 memory, the host's port to a native one."""

import logging
import warnings
from collections.abc import Iterator
from random import Random

from cocotb.triggers import ClockCycles, First, RisingEdge, SimTimeoutError, with_timeout

with warnings.catch_warnings():
    # cocotbext-axi is written for cocotb 1.x and says so at import.
    warnings.simplefilter("ignore")
    from cocotbext.axi import (
        AxiBus, AxiLiteBus, AxiLiteMaster, AxiMaster, AxiResp, AxiSlave, MemoryRegion,
    )

__all__ = ["BusError", "HostBus", "RegisterBus", "axi4_memory", "idle_host_bus", "pauses"]

# No register access takes longer.
ANSWER_NS = 10_000


class BusError(RuntimeError):
    """A register access was answered with an error."""


def pauses(rng: Random, share: float) -> Iterator[bool]:
    """For ever: pause in ``share`` of the cycles, in runs of random length."""
    while True:
        pause = rng.random() < share
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            yield pause


class RegisterBus:
    """AXI4-Lite manager as :class:`host.driver.Bus`; pauses every channel at random."""

    def __init__(self, dut, rng: Random, share: float):
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
        self.dut = dut
        self.manager = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        if share:
            for channel in (self.manager.write_if.aw_channel, self.manager.write_if.w_channel,
                            self.manager.write_if.b_channel, self.manager.read_if.ar_channel,
                            self.manager.read_if.r_channel):
                channel.set_pause_generator(pauses(rng, share))

    async def read(self, offset: int) -> int:
        """Read a register; ``BusError`` when the tile answers with an error."""
        answer = await _answered(self.manager.read(offset, 4), offset)
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"read of {offset:#x} answered {answer.resp!r}")
        return int.from_bytes(answer.data, "little")

    async def write(self, offset: int, value: int) -> None:
        """Write a register; ``BusError`` when the tile answers with an error."""
        answer = await _answered(self.manager.write(offset, value.to_bytes(4, "little")), offset)
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"write of {offset:#x} answered {answer.resp!r}")

    async def wait(self) -> None:
        """Wait for the interrupt, or for some cycles if it is high already."""
        if self.dut.interrupt.value == 1:
            await ClockCycles(self.dut.clk, 4)
        else:
            await First(RisingEdge(self.dut.interrupt), ClockCycles(self.dut.clk, 100_000))


async def _answered(access, offset: int):
    """The answer to an access; fails when none comes."""
    try:
        return await with_timeout(access, ANSWER_NS, "ns")
    except SimTimeoutError:
        raise AssertionError(f"the access to {offset:#x} was not answered within {ANSWER_NS} ns"
                             ) from None


class HostBus:
    """AXI4 manager at the host's port to a native memory; bytes of any length, from any address."""

    def __init__(self, dut):
        self.manager = AxiMaster(AxiBus.from_prefix(dut, "s_mem_axi"), dut.clk, dut.rst)
        for side in (self.manager.write_if, self.manager.read_if):
            side.log.setLevel(logging.ERROR)

    async def read(self, address: int, length: int) -> bytes:
        """Read bytes; ``BusError`` when the tile answers with an error."""
        answer = await self.manager.read(address, length)
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"read of {address:#x} answered {answer.resp.name}")
        return bytes(answer.data)

    async def write(self, address: int, data: bytes) -> None:
        """Write bytes; ``BusError`` when the tile answers with an error."""
        answer = await self.manager.write(address, data)
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"write of {address:#x} answered {answer.resp.name}")


def idle_host_bus(dut) -> None:
    """Let the host ask for nothing at its port to a native memory."""
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
        getattr(dut, f"s_mem_axi_{name}").value = 0


class _FaultyMemory(MemoryRegion):
    """A memory some of whose atoms answer with an error."""

    def __init__(self, size: int):
        super().__init__(size)
        self.broken: set[range] = set()
        self.peer: AxiSlave | None = None

    def place(self, address: int, data: bytes) -> None:
        """Write bytes past the tile."""
        self.mem[address:address + len(data)] = data

    def contents(self) -> bytes:
        """All bytes."""
        return bytes(self.mem)

    def pause_reads(self, rng: Random, share: float) -> None:
        """From now on, pause the read data in ``share`` of the cycles."""
        assert self.peer is not None
        self.peer.read_if.r_channel.set_pause_generator(pauses(rng, share))

    def _test(self, address: int) -> None:
        if any(address in part for part in self.broken):
            raise ValueError(f"{address:#x} is broken")

    async def _read(self, address, length, **kwargs):
        self._test(address)
        return await super()._read(address, length, **kwargs)

    async def _write(self, address, data, **kwargs):
        self._test(address)
        await super()._write(address, data, **kwargs)


def axi4_memory(dut, size: int, rng: Random, share: float) -> _FaultyMemory:
    """Put a memory of ``size`` bytes behind ``m_axi``; pauses every channel at random."""
    memory = _FaultyMemory(size)
    peer = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=memory)
    memory.peer = peer
    for channel in (peer.write_if.aw_channel, peer.write_if.w_channel, peer.write_if.b_channel,
                    peer.read_if.ar_channel, peer.read_if.r_channel):
        channel.log.setLevel(logging.WARNING)
        if share:
            channel.set_pause_generator(pauses(rng, share))
    for side in (peer.write_if, peer.read_if):
        side.log.setLevel(logging.ERROR)
    return memory
