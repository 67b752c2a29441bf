"""Leading zeros and sticky shifts, for the floating-point units."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal

__all__ = ["NEAR_BITS", "leading_zeros", "shifted_far_sticky", "shifted_near_sticky",
           "shifted_right_sticky"]

# A shift in two parts, with registers between: the far one by multiples of 2**NEAR_BITS, the near
# one by the rest.
NEAR_BITS = 3


def leading_zeros(m: Module, value, name: str):
    """Return the number of zeros above the leading one of ``value``, as a binary tree.

    For a value of zero the result means nothing.
    """
    width = len(value)
    levels = (width - 1).bit_length()
    # Filled up below with ones: the padding never adds a zero above the leading one.
    padding = (1 << levels) - width
    filled = Cat(Const((1 << padding) - 1, padding), value)
    empty = Signal(len(filled), name=f"{name}_empty_0")
    m.d.comb += empty.eq(~filled)
    zeros = Const(0, 1)
    for level in range(1, levels + 1):
        # Pairs of the nodes below: whether both are empty, and their zeros in ``level`` bits each.
        pairs = range(len(empty) // 2)
        counts = []
        for pair in pairs:
            high_empty = empty[2 * pair + 1]
            if level > 1:
                low, high = (zeros.word_select(2 * pair + side, level - 1) for side in range(2))
                counts.append(Mux(high_empty, low, high))
            counts.append(high_empty)
        zeros = Signal(level * len(pairs), name=f"{name}_{level}")
        m.d.comb += zeros.eq(Cat(*counts))
        if level < levels:
            both = Signal(len(pairs), name=f"{name}_empty_{level}")
            m.d.comb += both.eq(empty[::2] & empty[1::2])
            empty = both
    return zeros


def shifted_right_sticky(m: Module, value, count, name: str):
    """Shift ``value`` right by ``count``; return it with the OR of all lost bits appended below.

    The result is one bit wider than ``value``. Counts beyond the width lose every bit.
    """
    width = len(value)
    stages = min(width.bit_length(), len(count))
    sticky = Const(0, 1)
    for stage in range(stages):
        step = 1 << stage
        moved = Signal(width, name=f"{name}_right_{step}")
        lost = Signal(name=f"{name}_lost_{step}")
        m.d.comb += [
            moved.eq(Mux(count[stage], value >> step, value)),
            lost.eq(sticky | count[stage] & value[:step].any()),
        ]
        value, sticky = moved, lost
    gone = count[stages:].any()
    result = Signal(width + 1, name=f"{name}_right")
    m.d.comb += result.eq(Mux(gone, sticky | value.any(), Cat(sticky, value)))
    return result


def shifted_far_sticky(m: Module, value, count, name: str):
    """The far part of :func:`shifted_right_sticky`, with the OR of its lost bits below."""
    return shifted_right_sticky(m, value, Cat(Const(0, NEAR_BITS), count[NEAR_BITS:]), name)


def shifted_near_sticky(m: Module, value, count, name: str):
    """Shift what :func:`shifted_far_sticky` gives by the ``NEAR_BITS`` bits of ``count`` left."""
    shifted = shifted_right_sticky(m, value, count, name)
    return Cat(shifted[:2].any(), shifted[2:])
