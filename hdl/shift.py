"""Leading zeros and sticky shifts, for the floating-point units."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal

__all__ = ["leading_zeros", "shifted_right_sticky"]


def leading_zeros(value):
    """Return the number of zeros above the leading one of ``value``, as a binary tree.

    For a value of zero the result means nothing.
    """
    width = len(value)
    levels = (width - 1).bit_length()
    # Filled up below with ones: the padding never adds a zero above the leading one.
    filled = Cat(Const(-1, (1 << levels) - width), value)

    def count(bits):
        if len(bits) == 1:
            return ~bits[0], None
        half = len(bits) // 2
        high_empty, high = count(bits[half:])
        low_empty, low = count(bits[:half])
        below = None if high is None else Mux(high_empty, low, high)
        zeros = high_empty if below is None else Cat(below, high_empty)
        return high_empty & low_empty, zeros

    zeros = count(filled)[1]
    return Const(0, 1) if zeros is None else zeros


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
