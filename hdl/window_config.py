"""Configuration of the cast window: what MAP says, and all numbers that follow from it."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spec.tensor_units import CastWindowParams
from spec.tensors import RULE_NAMES, ScaleRule

__all__ = ["CONFIG_CYCLES", "WindowConfig", "config_layout", "scale_place", "span_place",
           "window_layout"]

# Cycles from ``load`` until all numbers follow.
CONFIG_CYCLES = 4


def window_layout(params: CastWindowParams) -> data.StructLayout:
    """A window as MAP names it: BF16 ``elements`` from the atom ``source`` on; none closes it."""
    return data.StructLayout({"source": params.index_bits, "elements": params.ELEMENT_BITS,
                              "target": 3, "rule": 2, "group": 4})


def config_layout(params: CastWindowParams) -> data.StructLayout:
    """A window and what follows from it.

    Places in the window are numbers of source atoms from its beginning. A *span* are the source
    atoms whose scales fill an atom. Of the last unit there is the place, ``last_unit``, and the
    number of its last atom, ``last_atom``, which holds ``last_count`` elements.
    """
    bits = params.index_bits
    return data.StructLayout({
        "closed": 1, "source": bits, "atoms": bits + 1, "target": 3, "rule": 2, "group": 4,
        "wide": 1,                              # Scales are FP32.
        "pair": 1,                              # A unit has two groups.
        "unit_mask": bits, "span_mask": bits,   # Atoms of a unit and of a span, less one.
        "store_span": bits + 1,                 # Atoms whose scales fill the store.
        "last_code": bits, "last_scale": bits,  # Numbers of the last code and scale atoms.
        "last_unit": bits, "last_atom": bits, "last_count": params.count_bits,
        "last_bytes": params.atom_bytes,        # Bytes of the last scale atom that are scales.
    })


def _choice(params: CastWindowParams, group, wide, value: Callable):
    """``value(group, wide)``, called with constants for all that is built, and chosen from."""
    kinds = sorted({RULE_NAMES[rule] == ScaleRule.FP32_DIV for rule in params.rules})
    built = [(one, kind) for one in params.groups for kind in kinds]
    result = value(*built[0])
    for one, kind in built[1:]:
        result = Mux((group == one.bit_length() - 1) & (wide == kind), value(one, kind), result)
    return result


def scale_place(params: CastWindowParams, config, place):
    """Return the byte of the store at which the scale of the group at ``place`` begins.

    ``place`` is that of a group's first atom; of another atom of it, the low two bits may differ
    where scales are FP32.
    """
    def of(group, wide):
        atoms = group // params.code_lanes
        shift = atoms.bit_length() - 1 + (0 if wide else 2)
        return (Cat(Const(0, 2), place) >> shift)[:params.scale_place_bits]

    return _choice(params, config.group, config.wide, of)


def span_place(params: CastWindowParams, config, number):
    """Return the place of the first atom of the span ``number``."""
    return _choice(params, config.group, config.wide, lambda group, wide:
                   number << params.span_atoms(group, wide).bit_length() - 1)


class WindowConfig(wiring.Component):
    """Takes over ``window`` at ``load``.

    :Timing: all of ``o`` follows ``CONFIG_CYCLES`` cycles later, some of it before.

    Members
    -------
    window : what MAP says
    load : take it
    o : it, and what follows from it
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"WindowConfig needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({"window": In(window_layout(params)), "load": In(1),
                          "o": Out(config_layout(params))})

    def elaborate(self, platform):
        m = Module()
        params, o = self.params, self.o
        # Stage 1: take it.
        held = Signal(window_layout(params))
        with m.If(self.load):
            m.d.sync += held.eq(self.window)

        # Stage 2: the last element, and what has constants to choose from.
        lanes = params.code_lanes
        last = Signal(params.ELEMENT_BITS)
        wide = Const(0)
        if "fp32-div" in params.rules:
            wide = (held.rule == ScaleRule.FP32_DIV if len(params.rules) > 1 else Const(1))

        def choice(value):
            return _choice(params, held.group, wide, value)

        m.d.sync += [
            o.closed.eq(held.elements == 0),
            o.source.eq(held.source),
            o.target.eq(held.target),
            o.rule.eq(held.rule),
            o.group.eq(held.group),
            o.wide.eq(wide),
            o.pair.eq(choice(lambda group, wide: Const(int(group == lanes), 1))),
            o.unit_mask.eq(choice(lambda group, wide: params.unit_atoms(group) - 1)),
            o.span_mask.eq(choice(lambda group, wide: params.span_atoms(group, wide) - 1)),
            # No more than the memory has.
            o.store_span.eq(choice(lambda group, wide: min(
                params.span_atoms(group, wide) * params.store_atoms, 1 << params.index_bits))),
            last.eq(held.elements - 1),
        ]

        # Stage 3: the last of everything.
        atom = (last >> lanes.bit_length() - 1)[:params.index_bits]
        last_byte = Signal(range(params.atom_bytes))
        m.d.sync += [
            o.atoms.eq(atom + 1),
            o.last_code.eq(last >> params.atom_bytes.bit_length() - 1),
            o.last_scale.eq(_choice(
                params, o.group, o.wide, lambda group, wide:
                atom >> params.span_atoms(group, wide).bit_length() - 1)),
            o.last_unit.eq(atom & ~o.unit_mask),
            o.last_atom.eq(atom & o.unit_mask),
            o.last_count.eq((last & lanes - 1) + 1),
            last_byte.eq(scale_place(params, o, atom) | Mux(o.wide, 3, 0)),
        ]

        # Stage 4: the last bytes of scales.
        m.d.sync += o.last_bytes.eq(Cat(Const(1, 1), *(
            last_byte >= byte for byte in range(1, params.atom_bytes))))
        return m
