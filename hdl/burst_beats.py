"""The beats of the bursts that an AXI4 subordinate takes."""

from collections.abc import Callable
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
    """One beat: the atom that it stands in, and what ``place`` of :func:`burst_beats` says of it.

    It stands while ``valid``, until ``take`` (to be driven, never high without ``valid``).
    """

    valid: Signal
    id: Value
    index: Value
    place: data.View
    last: Value
    take: Signal


def burst_beats(m: Module, port: Any, channel: str,
                place: Callable[[Value], dict[str, Value]]) -> Beat:
    """Take the bursts of ``channel`` (``ar`` or ``aw``) of a :class:`hdl.host_port.HostPort` and
    return their beats, one per cycle, also from burst to burst, the first three cycles after its
    burst. Nothing but ``take`` reaches the beats from within a cycle, and ``take`` only the last
    of their registers.

    ``place`` makes of an atom's number, one bit longer than any address has, what is known of its
    beat; that is registered with the beat.

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
    index = address[params.offset_bits:]
    step = register(range(params.atom_bits // 8 + 1), "step")
    wrap = register(WRAP_BITS, "wrap")
    kind, left = register(2, "kind"), register(8, "left")
    identity = register(params.ID_BITS, "id")
    valid, last = register(1, "valid"), register(1, "last")

    places = place(index)
    place_layout = data.StructLayout({name: len(value) for name, value in places.items()})
    beat_layout = data.StructLayout({
        "id": params.ID_BITS, "index": len(index), "last": 1, "place": place_layout})
    beats = SkidBuffer(SkidBufferParams(bits=beat_layout.size))
    m.submodules[f"{channel}_beats"] = beats
    m.d.comb += [
        beats.i.valid.eq(valid),
        beats.i.payload.eq(Cat(identity, index, last, *places.values())),
        skid.o.ready.eq(~valid | beats.i.ready & last),
    ]
    with m.If(skid.o.ready):
        m.d.sync += [
            valid.eq(skid.o.valid),
            identity.eq(burst.id),
            address.eq(burst.addr),
            step.eq(1 << burst.size),
            # The address bits that change in a wrapping burst.
            wrap.eq(burst.len[:4] << burst.size | (1 << burst.size) - 1),
            kind.eq(burst.burst),
            left.eq(burst.len),
            last.eq(burst.len == 0),
        ]
    with m.Elif(beats.i.ready):
        # An unaligned start stays so; the steps are of one atom or a part, so its atoms are right.
        following = register(params.address_bits + 1, "following")
        m.d.comb += following.eq(address + step)
        m.d.sync += [left.eq(left - 1), last.eq(left == 1)]
        with m.If(kind == BURST_WRAP):
            m.d.sync += address[:WRAP_BITS].eq(
                address[:WRAP_BITS] & ~wrap | following[:WRAP_BITS] & wrap)
        with m.Elif(kind != BURST_FIXED):
            m.d.sync += address.eq(following)
    beat = data.View(beat_layout, beats.o.payload)
    take = register(1, "take")
    m.d.comb += beats.o.ready.eq(take)
    return Beat(valid=beats.o.valid, id=beat.id, index=beat.index, place=beat.place,
                last=beat.last, take=take)
