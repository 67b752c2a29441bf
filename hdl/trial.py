"""Trial design: a tile, its memory in block RAM, and a serial line to both."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.block_ram import BlockRam
from hdl.host_port import HostPort
from hdl.serial_bridge import SerialBridge
from hdl.tile import Tile
from hdl.uart_receiver import UartReceiver
from hdl.uart_transmitter import UartTransmitter
from spec.trial import Trial as TrialRecord

__all__ = ["Trial"]


class Trial(wiring.Component):
    """Everything of a trial but clock, reset and pins, which are the board's.

    The host speaks the frames of :class:`hdl.serial_bridge.SerialBridge`. Addresses of the memory
    are the tile's.

    Members
    -------
    rx, tx : serial line, 8 data bits, no parity, one stop bit, ``Trial.baud``
    interrupt : the tile's
    """

    def __init__(self, params: TrialRecord):
        if not isinstance(params, TrialRecord):
            raise TypeError(f"Trial needs a spec.trial.Trial, not {params!r}")
        self.params = params
        super().__init__({"rx": In(1), "tx": Out(1), "interrupt": Out(1)})

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.uart_receiver = receiver = UartReceiver(params.uart)
        m.submodules.uart_transmitter = transmitter = UartTransmitter(params.uart)
        m.submodules.serial_bridge = bridge = SerialBridge(params.serial_bridge)
        m.submodules.tile = tile = Tile(params.tile)
        m.submodules.memory_port = port = HostPort(params.memory_port)
        m.submodules.block_ram = memory = BlockRam(params.block_ram)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.interrupt.eq(tile.interrupt),
        ]
        for first, second in (
                (receiver.o, bridge.i), (bridge.o, transmitter.i),
                (port.read, memory.tile_read), (memory.tile_data, port.data),
                (port.write, memory.tile_write), (memory.tile_written, port.written),
                (bridge.read, memory.host_read), (memory.host_data, bridge.data),
                (bridge.write, memory.host_write), (memory.host_written, bridge.written)):
            wiring.connect(m, first, second)
        _join(m, bridge, "m_axi_", tile, "s_axi_")
        _join(m, tile, "m_axi_", port, "s_mem_axi_")
        return m


def _join(m, manager, outer, subordinate, inner):
    """Join the bus ``outer*`` of a manager to ``inner*`` of a subordinate."""
    for name, member in manager.signature.members.items():
        if name.startswith(outer):
            there = getattr(subordinate, inner + name.removeprefix(outer))
            here = getattr(manager, name)
            m.d.comb += there.eq(here) if member.flow is Out else here.eq(there)
