"""Maximum tree: the largest element of one atom, and its place."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.widened import widened
from spec.formats import FLOAT_FORMATS, FP32, FloatFormat
from spec.tensor_units import ReducerParams
from spec.tensors import TensorFormat

__all__ = ["MaximumTree", "code_of", "order_key"]


def order_key(code, nan, zeros_equal):
    """An unsigned integer in the order of the numbers; also the sign that it does not show.

    NaN is the largest. -0 is less than +0; with ``zeros_equal`` it is the same, and its sign is
    returned apart.
    """
    magnitude = code[:-1]
    negative_zero = code[-1] & ~magnitude.any() & zeros_equal & ~nan
    positive = nan | negative_zero | ~code[-1]
    return Cat(Mux(positive, magnitude | nan.replicate(len(magnitude)), ~magnitude),
               positive), negative_zero


def code_of(key, negative_zero):
    """What :func:`order_key` was made of; a NaN as magnitude of ones."""
    return Cat(Mux(key[-1], key[:-1], ~key[:-1]), ~key[-1] | negative_zero)


class MaximumTree(wiring.Component):
    """The largest of the elements of one atom, and the place of the first that is as large.

    Elements become integers of the same order, which comparators pass on in pairs. As in
    :class:`hdl.adder_tree.AdderTree`, formats enter where there are as many nodes as elements.

    :Formats: NaN is larger than all numbers. FP32 code of the largest; NaN as any NaN.
    :Timing: latency ``latency(format)``; one atom per cycle; never stalls.

    Members
    -------
    format : the atoms' ``TensorFormat``; holds still
    data : elements, the first lowest
    present : which of them count; the lowest does
    negate, absolute : what becomes of the elements first
    zeros_equal : -0 is as large as +0, not less
    value, lane : the largest element, and its place
    """

    def __init__(self, params: ReducerParams):
        self.params = params
        self.formats = {name: FLOAT_FORMATS[name] for name in params.formats}
        super().__init__({
            "format": In(3),
            "data": In(params.atom_bits),
            "present": In(params.leaves),
            "negate": In(1),
            "absolute": In(1),
            "zeros_equal": In(1),
            "value": Out(FP32.bits),
            "lane": Out((params.leaves - 1).bit_length()),
        })

    def _levels(self, name: str) -> int:
        return (self.params.lanes(name) - 1).bit_length()

    def latency(self, name: str) -> int:
        """Cycles from an atom of the format ``name`` to its largest element."""
        return self._levels(name)

    def _is(self, name: str):
        return self.format == TensorFormat[name.upper()]

    def _leaf(self, m: Module, name: str, lane: int, bits: int):
        """Key in ``bits`` bits, and the sign of a zero."""
        fmt = self.formats[name]
        code = self.data.word_select(lane, fmt.bits)
        changed = Signal(fmt.bits, name=f"changed_{name}_{lane}")
        nan = Signal(name=f"nan_{name}_{lane}")
        m.d.comb += [
            changed.eq(Cat(code[:-1], (code[-1] ^ self.negate) & ~self.absolute)),
            nan.eq(_is_nan(code, fmt)),
        ]
        key, negative_zero = order_key(changed, nan, self.zeros_equal)
        # Missing elements are less than anything.
        key = Mux(self.present[lane], key, 0)
        return Cat(Const(0, bits - fmt.bits), key, negative_zero)

    def elaborate(self, platform):
        m = Module()
        deepest = max(self._levels(name) for name in self.formats)
        nodes, places, bits = [], [], 0
        for level in range(deepest, -1, -1):
            entering = [name for name in self.formats if self._levels(name) == level]
            wider = max([bits, *(self.formats[name].bits for name in entering)])
            inputs = []
            for lane in range(1 << level):
                chosen = Cat(Const(0, wider - bits), nodes[lane]) if nodes else None
                for name in entering:
                    leaf = self._leaf(m, name, lane, wider)
                    chosen = leaf if chosen is None else Mux(self._is(name), leaf, chosen)
                node = Signal(wider + 1, name=f"node_{level}_{lane}")
                m.d.comb += node.eq(chosen)
                inputs.append(node)
            bits = wider
            if level == 0:
                break
            nodes, below = [], places
            places = []
            for pair in range(1 << level - 1):
                first, second = inputs[2 * pair], inputs[2 * pair + 1]
                later = Signal(name=f"later_{level}_{pair}")
                node = Signal(bits + 1, name=f"largest_{level}_{pair}")
                place = Signal(deepest - level + 1, name=f"place_{level}_{pair}")
                m.d.comb += later.eq(second[:bits] > first[:bits])
                m.d.sync += [
                    node.eq(Mux(later, second, first)),
                    place.eq(Cat(Mux(later, below[2 * pair + 1], below[2 * pair])
                                 if below else [], later)),
                ]
                nodes.append(node)
                places.append(place)

        key, negative_zero = inputs[0][:bits], inputs[0][bits]
        for name, fmt in self.formats.items():
            code = code_of(key[bits - fmt.bits:], negative_zero)
            magnitude = widened(m, code, fmt, name) if fmt.bits == 8 else code[:-1]
            with m.If(self._is(name)):
                m.d.comb += [
                    self.value.eq(Cat(Const(0, FP32.bits - 1 - len(magnitude)), magnitude,
                                      code[-1])),
                    # Levels above the format's own say nothing.
                    self.lane.eq(places[0][deepest - self._levels(name):]),
                ]
        return m


def _is_nan(code, fmt: FloatFormat):
    mantissa = code[:fmt.mantissa_bits]
    exponent = code[fmt.mantissa_bits:-1]
    return exponent.all() & (mantissa.any() if fmt.has_infinity else mantissa.all())
