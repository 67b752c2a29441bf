"""Round-robin choice and turns, as functions of expressions."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal

__all__ = ["in_turn", "next_after", "one_hot"]


def next_after(m: Module, wanted, last, name: str):
    """Return the number of the first bit of ``wanted`` behind number ``last``, around the end.

    ``wanted`` must have a bit set, or the number means nothing.
    """
    count = len(wanted)
    number = Signal(range(max(2, count)), name=name)
    behind = Signal(count, name=f"{name}_behind")
    m.d.comb += behind.eq(wanted & Cat(Const(0, 1), *(last < place for place in range(1, count))))
    first = Signal(count, name=f"{name}_from")
    m.d.comb += first.eq(Mux(behind.any(), behind, wanted))
    for place in reversed(range(count)):
        with m.If(first[place]):
            m.d.comb += number.eq(place)
    return number


def one_hot(number, count: int):
    """Return ``count`` bits with bit ``number`` set."""
    return (Const(1, count) << number)[:count]


def in_turn(m: Module, part: int, turns: int, taken):
    """Return whether a turn is one of the ``part`` of ``turns`` that are spread evenly.

    Each ``taken`` is a turn; ``turns`` is a power of two.
    """
    # Its turns are those in which the sum of its parts carries over.
    total = Signal(range(turns), name="turn")
    with m.If(taken):
        m.d.sync += total.eq(total + part)
    return total >= turns - part
