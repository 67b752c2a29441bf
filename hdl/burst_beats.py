"""The beats of the bursts that an AXI4 subordinate takes."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data

from hdl.axi4 import BURST_FIXED, BURST_WRAP
from hdl.skid_buffer import SkidBuffer
from spec.units import SkidBufferParams

__all__ = ["Beat", "burst_beats"]

# Bytes of the longest wrapping burst: 16 beats of an atom of 64 bytes.
WRAP_BITS = 10


@dataclass(frozen=True)
class Beat:
    """One beat: the atom that it stands in, and whether that is ``outside`` the memory.

    It stands while ``valid``, until ``take`` (to be driven, never high without ``valid``).
    """

    valid: Signal
    id: Signal
    index: Value
    outside: Value
    last: Value
    take: Signal


def burst_beats(m: Module, port: Any, channel: str) -> Beat:
    """Take the bursts of ``channel`` (``ar`` or ``aw``) of a :class:`hdl.host_port.HostPort` and
    return their beats, one per cycle, also from burst to burst, the first two cycles after its
    burst. Nothing but ``take`` reaches the beats from within a cycle.

    :Source: ARM IHI 0022, AMBA AXI and ACE protocol specification, section A3.4.1.
    """
    params = port.params

    def signal(name):
        return getattr(port, f"s_mem_axi_{channel}{name}")

    def register(shape, name):
        return Signal(shape, name=f"{channel}_{name}")

    layout = data.StructLayout({
        "id": params.ID_BITS, "addr": params.address_bits, "len": 8, "size": 3, "burst": 2})
    skid = SkidBuffer(SkidBufferParams(bits=layout.size))
    m.submodules[channel] = skid
    m.d.comb += [
        skid.i.payload.eq(Cat(signal(name) for name in layout.members)),
        skid.i.valid.eq(signal("valid")),
        signal("ready").eq(skid.i.ready),
    ]
    burst = data.View(layout, skid.o.payload)

    # One bit more than an address, so that a burst that passes the last one stays outside.
    address = register(params.address_bits + 1, "address")
    step = register(range(params.atom_bits // 8 + 1), "step")
    wrap = register(WRAP_BITS, "wrap")
    kind, left = register(2, "kind"), register(8, "left")
    beat = Beat(valid=register(1, "valid"), id=register(params.ID_BITS, "id"),
                index=address[params.offset_bits:],
                outside=address[params.offset_bits:] >= params.memory_atoms,
                last=left == 0, take=register(1, "take"))
    m.d.comb += skid.o.ready.eq(~beat.valid | beat.take & beat.last)
    with m.If(skid.o.ready):
        m.d.sync += [
            beat.valid.eq(skid.o.valid),
            beat.id.eq(burst.id),
            address.eq(burst.addr),
            step.eq(1 << burst.size),
            # The address bits that change in a wrapping burst.
            wrap.eq(((burst.len[:4] + 1) << burst.size) - 1),
            kind.eq(burst.burst),
            left.eq(burst.len),
        ]
    with m.Elif(beat.take):
        # An unaligned start stays so; the steps are of one atom or a part, so its atoms are right.
        following = register(params.address_bits + 1, "following")
        m.d.comb += following.eq(address + step)
        m.d.sync += left.eq(left - 1)
        with m.If(kind == BURST_WRAP):
            m.d.sync += address[:WRAP_BITS].eq(
                address[:WRAP_BITS] & ~wrap | following[:WRAP_BITS] & wrap)
        with m.Elif(kind != BURST_FIXED):
            m.d.sync += address.eq(following)
    return beat
