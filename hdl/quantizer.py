"""Quantizer: rows of BF16 or FP32 to codes and group scales."""

from amaranth.hdl import Cat, Const, EnableInserter, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.code_caster import CodeCaster, code_layout, is_wide
from hdl.fifo import Fifo
from hdl.pipeline import registered
from hdl.scale_maker import MAGNITUDE_BITS, ScaleMaker, record_layout
from hdl.skid_buffer import SkidBuffer
from hdl.tensor_streams import counts
from spec.tensor_units import QuantizerParams
from spec.units import FifoParams, SkidBufferParams

__all__ = ["Quantizer"]

# Cycles from an atom to the largest magnitude up to it, beside the levels of the comparison, and
# through the queue of records.
_OTHER_CYCLES = 4


class Quantizer(wiring.Component):
    """Groups of elements along a row to codes, each with the scale of its group.

    The golden model is :func:`golden.quantizer.quantize`, one call per row. The atoms of a group
    wait in a queue until its last one has come and its scale is made; those of the next group
    follow them into the queue meanwhile.

    :Shapes: a group is ``2**group`` elements, whole atoms, or what is left of the row. One beat of
        codes per atom of elements.
    :Formats: ``source`` BF16 or FP32, ``target`` E4M3 or E5M2. Elements past ``count`` are not
        looked at, and codes past it are zero; with FP32 elements that is the upper half.
        ``scale`` is FP32, or E8M0 in its low byte, and stands beside every beat of its group.
    :Timing: one atom per cycle, for all groups. No output follows an input combinationally.
    :Errors: a configuration that was not built gives undefined codes; it, and ``count`` outside
        of 1 to the atom's elements, is not detected.

    Members
    -------
    source, target : :class:`spec.tensors.TensorFormat`; still while data is inside, as all below
    rule : :class:`spec.tensors.ScaleRule`
    group : log2 of the elements of a group
    i : stream of atoms of elements; ``last`` ends a row
    o : stream of codes; ``group_last`` ends a group, ``last`` a row
    """

    def __init__(self, params: QuantizerParams):
        if not isinstance(params, QuantizerParams):
            raise TypeError(f"Quantizer needs QuantizerParams, not {params!r}")
        self.params = params
        super().__init__({
            "source": In(3),
            "target": In(3),
            "rule": In(2),
            "group": In(4),
            "i": In(stream.Signature(data.StructLayout({
                "data": params.atom_bits, "count": params.count_bits, "last": 1}))),
            "o": Out(stream.Signature(code_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.maker = maker = ScaleMaker(params)
        m.submodules.skid = skid = SkidBuffer(
            SkidBufferParams(bits=code_layout(params).size))
        caster = CodeCaster(params)
        m.submodules.caster = EnableInserter(skid.i.ready)(caster)
        # Room for the largest group, and for what comes until its scale is made.
        levels = (params.code_lanes - 1).bit_length()
        depth = params.buffer_atoms + levels + maker.latency + _OTHER_CYCLES
        # A memory of fewer than 32 words costs more; one word more stands in a register.
        depth = max(depth, 33)
        atom = data.StructLayout({"data": params.atom_bits, "count": params.count_bits,
                                  "group_last": 1, "last": 1})
        m.submodules.atoms = atoms = Fifo(FifoParams(bits=atom.size, depth=depth))
        record = record_layout(params)
        m.submodules.records = records = Fifo(FifoParams(bits=record.size, depth=depth))

        wide = is_wide(params, self.source)
        # Of elements past the count nothing is kept.
        coming, entry = Signal(atom), Signal(atom)
        keep, kept = Signal(params.code_lanes), Signal(params.code_lanes)
        come, take = Signal(), Signal()
        m.d.comb += [
            come.eq(self.i.valid & self.i.ready),
            coming.eq(Cat(self.i.payload.data, self.i.payload.count,
                          self._group_last(m, wide, come), self.i.payload.last)),
            keep.eq(self._within(wide)),
        ]
        if params.ranks:
            # One atom stands in front of queue and comparison.
            waits = Signal()
            m.d.comb += [self.i.ready.eq(~waits | atoms.i.ready), take.eq(waits & atoms.i.ready)]
            with m.If(self.i.ready):
                m.d.sync += [waits.eq(self.i.valid), entry.eq(coming), kept.eq(keep)]
        else:
            m.d.comb += [self.i.ready.eq(atoms.i.ready), take.eq(come), entry.eq(coming),
                         kept.eq(keep)]
        masked = Cat(*(Mux(kept[half], entry.data.word_select(half, 16), Const(0, 16))
                       for half in range(params.code_lanes)))
        m.d.comb += [
            atoms.i.payload.eq(Cat(masked, entry.as_value()[params.atom_bits:])),
            atoms.i.valid.eq(take),
        ]
        self._amax(m, wide, masked, take, entry.group_last, maker)
        m.d.comb += [
            maker.rule.eq(self.rule),
            maker.target.eq(self.target),
            # A group has an atom in the other queue, so that there is room.
            records.i.payload.eq(maker.o.payload),
            records.i.valid.eq(maker.o.valid),
        ]

        head = data.View(atom, atoms.o.payload)
        both = atoms.o.valid & records.o.valid
        m.d.comb += [
            caster.source.eq(self.source),
            caster.target.eq(self.target),
            caster.rule.eq(self.rule),
            caster.i.valid.eq(both),
            # The layout of an atom, then its record, as in cast_layout.
            caster.i.payload.eq(Cat(atoms.o.payload, records.o.payload)),
            atoms.o.ready.eq(both & skid.i.ready),
            records.o.ready.eq(both & skid.i.ready & head.group_last),
            skid.i.valid.eq(caster.o.valid),
            skid.i.payload.eq(caster.o.payload),
            self.o.valid.eq(skid.o.valid),
            self.o.payload.eq(skid.o.payload),
            skid.o.ready.eq(self.o.ready),
        ]
        return m

    def _group_last(self, m, wide, take):
        """Whether the coming atom ends a group."""
        params = self.params
        position = Signal(range(params.buffer_atoms))
        final = Signal(position.shape())
        with m.Switch(self.group):
            for group in params.groups:
                with m.Case(group.bit_length() - 1):
                    atoms = {name: group // params.lanes(name) for name in params.sources}
                    m.d.comb += final.eq(Mux(wide, atoms.get("fp32", 1) - 1,
                                             atoms.get("bf16", 1) - 1))
        last = self.i.payload.last | (position == final)
        with m.If(take):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
        return last

    def _within(self, wide):
        """Which 16-bit words of the coming atom are of elements within its count."""
        count = self.i.payload.count
        halves = Mux(wide, count << 1, count)
        return Cat(*(counts(halves, half) for half in range(self.params.code_lanes)))

    def _amax(self, m, wide, masked, take, group_last, maker):
        """Give the maker the largest magnitude of each group."""
        params = self.params
        narrow = [masked.word_select(lane, 16)[:15] for lane in range(params.code_lanes)]
        if "fp32" not in params.sources:
            largest = Cat(Const(0, 16), self._largest(m, narrow, "amax"))
        else:
            # The upper half of an atom has no lanes of its own with FP32.
            lanes = params.lanes("fp32")
            lower = [Mux(wide, masked.word_select(lane, 32)[:31],
                         Cat(Const(0, 16), narrow[lane])) for lane in range(lanes)]
            upper = [Mux(wide, 0, value) for value in narrow[lanes:]]
            lower = self._largest(m, lower, "amax_lower")
            upper = Cat(Const(0, 16), self._largest(m, upper, "amax_upper"))
            largest = registered(m, Mux(lower > upper, lower, upper), "amax")
        levels = (params.code_lanes - 1).bit_length()
        for level in range(levels):
            take = registered(m, take, f"take_{level}")
            group_last = registered(m, group_last, f"group_last_{level}")
        before = Signal(MAGNITUDE_BITS)
        total = Mux(largest > before, largest, before)
        with m.If(take):
            m.d.sync += before.eq(Mux(group_last, 0, total))
        m.d.sync += [
            maker.i.valid.eq(take & group_last),
            maker.i.payload.eq(total),
        ]

    @staticmethod
    def _largest(m, values, name):
        """The largest of ``values``, a power of two of them: a tree, registered at each level."""
        level = 0
        while len(values) > 1:
            values = [registered(m, Mux(a > b, a, b), f"{name}_{level}_{place}")
                      for place, (a, b) in enumerate(zip(values[::2], values[1::2],
                                                         strict=True))]
            level += 1
        return values[0]
