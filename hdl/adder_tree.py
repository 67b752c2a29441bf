"""Adder trees: the elements of one atom, or their squares, added pairwise in FP32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32_adder import Fp32Adder
from hdl.fp32_squarer import Fp32Squarer
from hdl.positive_adder import PositiveAdder
from hdl.square_pair import SquarePair
from hdl.widened import widened
from spec.arithmetic import Fp32AdderParams
from spec.formats import E4M3, FLOAT_FORMATS, FP32
from spec.tensor_units import ReducerParams
from spec.tensors import TensorFormat

__all__ = ["AdderTree", "SquareTree"]

class _Tree(wiring.Component):
    """What both trees do: formats enter at the level that has as many nodes as their atoms have
    elements, and the levels below do nothing for them. So the latency follows from the format."""

    def __init__(self, params: ReducerParams, formats: tuple[str, ...], result: object):
        self.params = params
        self.formats = {name: FLOAT_FORMATS[name] for name in formats}
        super().__init__({
            "format": In(3),
            "data": In(params.atom_bits),
            "present": In(params.leaves),
            "o": Out(result),
        })

    def _levels(self, name: str) -> int:
        return (self.params.lanes(name) - 1).bit_length()

    def _element(self, name: str, lane: int):
        return self.data.word_select(lane, self.formats[name].bits)

    def _is(self, name: str):
        return self.format == TensorFormat[name.upper()]

    def _build(self, m: Module, nodes, formats, leaf, adder) -> None:
        """Add ``nodes``, if any, and the elements of ``formats``, where they enter.

        ``leaf(name, lane)`` is an operand, ``adder(name, a, b)`` makes a node.
        """
        top = (len(nodes) - 1).bit_length() if nodes else max(map(self._levels, formats))
        for level in range(top, -1, -1):
            entering = [name for name in formats if self._levels(name) == level]
            inputs = []
            for lane in range(1 << level):
                chosen = nodes[lane] if nodes else None
                for name in entering:
                    value = leaf(name, lane)
                    chosen = value if chosen is None else Mux(self._is(name), value, chosen)
                inputs.append(chosen)
            if level == 0:
                m.d.comb += self.o.eq(inputs[0])
                return
            nodes = [adder(f"adder_{level}_{place}", inputs[2 * place], inputs[2 * place + 1])
                     for place in range(1 << level - 1)]


class AdderTree(_Tree):
    """Sum of the elements of one atom.

    Neighbours are added by :class:`hdl.fp32_adder.Fp32Adder`, and so on until one is left. E4M3
    does not pass: :class:`hdl.fixed_sum.FixedSum` adds its codes exactly.

    :Timing: latency ``latency(format)``; one atom per cycle; never stalls.

    Members
    -------
    format : the atoms' ``TensorFormat``; holds still
    data : elements, the first lowest
    present : which of them count; those that do not are -0
    o : FP32 code of the sum
    """

    def __init__(self, params: ReducerParams):
        super().__init__(params, self.entering(params), FP32.bits)

    @staticmethod
    def entering(params: ReducerParams) -> tuple[str, ...]:
        """The formats that it adds."""
        return tuple(name for name in params.formats if name != E4M3.name)

    def latency(self, name: str) -> int:
        """Cycles from an atom of the format ``name`` to its sum."""
        return self._levels(name) * Fp32AdderParams().LATENCY

    def elaborate(self, platform):
        m = Module()

        def leaf(name, lane):
            fmt, code = self.formats[name], self._element(name, lane)
            if fmt.bits == 8:
                magnitude = widened(m, code, fmt, f"{name}_{lane}")
            else:
                magnitude = code[:-1]
            padding = Const(0, FP32.bits - 1 - len(magnitude))
            return Mux(self.present[lane], Cat(padding, magnitude, code[-1]), FP32.sign_mask)

        def adder(name, a, b):
            m.submodules[name] = made = Fp32Adder(Fp32AdderParams())
            m.d.comb += [made.i.payload.a.eq(a), made.i.payload.b.eq(b), made.i.valid.eq(1)]
            return made.o.payload

        self._build(m, [], tuple(self.formats), leaf, adder)
        return m


class SquareTree(_Tree):
    """Sum of the squares of the elements of one atom.

    Squares are rounded to FP32 (those of FP8 are exact), and then added as by
    :class:`AdderTree`. They have no sign: missing elements are +0, which changes no sum.
    Adders are :class:`hdl.positive_adder.PositiveAdder`, for pairs of FP8
    :class:`hdl.square_pair.SquarePair`.

    :Timing: latency ``latency(format)``; one atom per cycle; never stalls.

    Members
    -------
    format : the atoms' ``TensorFormat``; holds still
    data : elements, the first lowest
    present : which of them count
    o : FP32 code of the sum, without its sign
    """

    def __init__(self, params: ReducerParams):
        super().__init__(params, params.formats, FP32.bits - 1)

    def latency(self, name: str) -> int:
        """Cycles from an atom of the format ``name`` to its sum."""
        if FLOAT_FORMATS[name].bits == 8:
            return SquarePair.LATENCY + (self._levels(name) - 1) * PositiveAdder.LATENCY
        return Fp32Squarer.LATENCY + self._levels(name) * PositiveAdder.LATENCY

    def elaborate(self, platform):
        m = Module()
        small = tuple(name for name, fmt in self.formats.items() if fmt.bits == 8)
        wide = tuple(name for name in self.formats if name not in small)
        squares = self._squares(m, wide)

        def adder(name, a, b):
            m.submodules[name] = made = PositiveAdder()
            m.d.comb += [made.a.eq(a), made.b.eq(b)]
            return made.o.as_value()

        self._build(m, self._pairs(m, small), wide, lambda name, lane: squares[lane], adder)
        return m

    def _pairs(self, m: Module, small: tuple[str, ...]) -> list[Signal]:
        """The first level of FP8: it adds squares that are shorter than FP32."""
        codes = [self._element(small[0], lane)[:-1] & self.present[lane].replicate(7)
                 for lane in range(self.params.lanes(small[0]))] if small else []
        pairs = []
        for place in range(len(codes) // 2):
            m.submodules[f"pair_{place}"] = pair = SquarePair(small)
            m.d.comb += [
                pair.format.eq(self.format),
                pair.a.eq(codes[2 * place]),
                pair.b.eq(codes[2 * place + 1]),
            ]
            pairs.append(pair.o)
        return pairs

    def _squares(self, m: Module, wide: tuple[str, ...]) -> list[Signal]:
        """One squarer per element of ``wide`` formats, no wider than its widest operand."""
        squares = []
        for lane in range(max((self.params.lanes(name) for name in wide), default=0)):
            users = [name for name in wide if lane < self.params.lanes(name)]
            bits = max(self.formats[name].significand_bits for name in users)
            m.submodules[f"squarer_{lane}"] = squarer = Fp32Squarer(bits)
            for name in users:
                code = self._element(name, lane)
                padding = Const(0, bits - self.formats[name].significand_bits)
                with m.If(self.present[lane] & self._is(name)):
                    m.d.comb += squarer.i.eq(Cat(padding, code[:-1]))
            squares.append(squarer.o.as_value())
        return squares
