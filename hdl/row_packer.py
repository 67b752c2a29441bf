"""Row packer: the codes and scales of quantized rows to atoms for memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.fifo import Fifo
from hdl.pipeline import registered
from spec.tensor_units import RowPackerParams
from spec.units import FifoParams

__all__ = ["RowPacker"]

_SCALE_BITS = 32


def _queue(words, width):
    """A queue of at least so many words; memories of 10 to 31 words cost more than of 32."""
    # One word stands in a register.
    depth = words if words <= 10 else max(words, 33)
    return Fifo(FifoParams(bits=width, depth=depth))


class RowPacker(wiring.Component):
    """Atoms of codes, and behind those of a run of rows the atoms of their scales.

    The golden model is :func:`golden.row_packer.row_packer`, one call per run.

    :Shapes: every row of codes begins an atom and is filled up with zeros, as are the scales of a
        run, which stand one behind the other. The codes behind the last of a row must be zero.
    :Formats: a scale is 32 bits, or with ``wide`` off the low byte of what comes. Little-endian.
    :Timing: one beat and one atom per cycle. The scales leave while the codes of the next run
        enter: a beat waits only when runs are so short that their atoms outnumber their beats, or
        when the consumer stalls. No output follows an input combinationally.
    :Errors: more scales in a run than ``scales_max``: the unit stops for ever; not detected.

    Members
    -------
    wide : scales are FP32; still from a cycle before data enters until it has left
    narrow : beats have half as many codes, the low ones; still as long
    i : stream of ``codes``, the ``scale`` of their group, taken with ``group_last``; ``last`` ends
        a row and its group, with ``run_last`` also a run
    o : stream of atoms, ``scales`` where they are of scales; ``last`` ends a run
    """

    def __init__(self, params: RowPackerParams):
        if not isinstance(params, RowPackerParams):
            raise TypeError(f"RowPacker needs RowPackerParams, not {params!r}")
        self.params = params
        super().__init__({
            "wide": In(1),
            "narrow": In(1),
            "i": In(stream.Signature(data.StructLayout({
                "codes": 8 * params.code_lanes, "scale": _SCALE_BITS,
                "group_last": 1, "last": 1, "run_last": 1}))),
            "o": Out(stream.Signature(data.StructLayout({
                "data": params.atom_bits, "scales": 1, "last": 1}))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        # While the most scales leave, half as many atoms of codes come.
        entry = data.StructLayout({"data": params.atom_bits, "last": 1})
        m.submodules.code_atoms = code_atoms = _queue(params.scale_atoms // 2 + 4, entry.size)
        m.submodules.scale_atoms = scale_atoms = _queue(params.scale_atoms + 2, entry.size)

        item = self.i.payload
        # They choose among all bits of an atom, and so come from flops.
        wide, narrow = registered(m, self.wide, "is_wide"), registered(m, self.narrow, "is_narrow")
        take = Signal()
        run_last = item.last & item.run_last
        m.d.comb += [
            self.i.ready.eq(code_atoms.i.ready & scale_atoms.i.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        codes, complete = self._codes(m, item, take, narrow)
        m.d.comb += [
            code_atoms.i.payload.eq(Cat(codes, run_last)),
            code_atoms.i.valid.eq(take & complete),
        ]
        scales, complete = self._scales(m, item, take, run_last, wide)
        m.d.comb += [
            scale_atoms.i.payload.eq(Cat(scales, run_last)),
            scale_atoms.i.valid.eq(take & complete),
        ]

        # The codes of a run, then its scales.
        turn = Signal()
        code = data.View(entry, code_atoms.o.payload)
        scale = data.View(entry, scale_atoms.o.payload)
        m.d.comb += [
            self.o.valid.eq(Mux(turn, scale_atoms.o.valid, code_atoms.o.valid)),
            self.o.payload.data.eq(Mux(turn, scale.data, code.data)),
            self.o.payload.scales.eq(turn),
            self.o.payload.last.eq(turn & scale.last),
            code_atoms.o.ready.eq(self.o.ready & ~turn),
            scale_atoms.o.ready.eq(self.o.ready & turn),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += turn.eq(Mux(turn, ~scale.last, code.last))
        return m

    def _codes(self, m, item, take, narrow):
        """The atom of codes with the coming beat, and whether that completes it."""
        params = self.params
        half = 4 * params.code_lanes
        # Two beats make an atom, or four that are half as wide.
        quarter = Signal(2)
        # What comes last is not held.
        held = Signal(3 * half)
        places = []
        for place in range(4):
            chosen = Mux(narrow | (place % 2 == 0), item.codes[:half], item.codes[half:])
            own = Mux(narrow, quarter == place, quarter[1] == place // 2)
            places.append(held[place * half:(place + 1) * half] | Mux(own, chosen, 0)[:half])
        atom = Cat(*places)
        complete = item.last | (quarter == Mux(narrow, 3, 2))
        with m.If(take):
            m.d.sync += [
                held.eq(Mux(complete, 0, atom)),
                quarter.eq(Mux(complete, 0, quarter + Mux(narrow, 1, 2))),
            ]
        return atom, complete

    def _scales(self, m, item, take, run_last, wide):
        """The atom of scales with the scale of the coming beat, and whether it is complete."""
        params = self.params
        # The byte at which the next scale stands.
        place = Signal(range(params.atom_bytes))
        held = Signal(params.atom_bits)
        bytes_ = []
        for byte in range(params.atom_bytes):
            own = place == byte
            value = item.scale[:8]
            if params.scale_bits_max == _SCALE_BITS:
                own = Mux(wide, place[2:] == byte // 4, own)
                value = Mux(wide, item.scale.word_select(byte % 4, 8), value)
            bytes_.append(held.word_select(byte, 8) | Mux(own, value, 0)[:8])
        atom = Cat(*bytes_)
        step = Mux(wide, 4, 1) if params.scale_bits_max == _SCALE_BITS else 1
        following = place + step
        complete = item.group_last & (run_last | (following == params.atom_bytes))
        with m.If(take & item.group_last):
            m.d.sync += [
                held.eq(Mux(complete, 0, atom)),
                place.eq(Mux(complete, 0, following)),
            ]
        return atom, complete
