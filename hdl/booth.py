"""Products of integers as rows of Booth's recoding, for adder trees that add them all at once.

Source: O. L. MacSorley, "High-Speed Arithmetic in Binary Computers", Proceedings of the IRE 49
(1961): digits of -2 to 2, of two bits each.
"""

from amaranth.hdl import Cat, Const, Module

from hdl.pipeline import cut

__all__ = ["Digit", "booth_digits", "booth_product", "booth_surplus"]

# Of a digit: its upper and lower bit, and the one below.
Digit = tuple


def booth_digits(code) -> list[Digit]:
    """The digits of a two's complement code, the lowest first."""
    bits = [Const(0, 1), *code, *([code[-1]] if len(code) % 2 else [])]
    return [(bits[place + 2], bits[place + 1], bits[place]) for place in range(0, len(bits) - 1, 2)]


def booth_surplus(digits: int, value_bits: int) -> int:
    """What :func:`booth_product` is larger by than the product: the weights of the rows' signs."""
    return sum(1 << value_bits + 2 * place for place in range(digits))


def booth_product(m: Module, digits: list[Digit], values: list, multiply: int, name: str):
    """The sum of ``digits[n] * values[n] * 4**n``, signed values of the same width, and its
    surplus, which leaves it never negative; behind ``multiply`` ranks of registers.

    Without registers in between, yosys merges its additions into the tree that adds the products.
    """
    rows = cut(m, multiply > 1, **{
        f"{name}_row_{place}": _row(digits, place, value) for place, value in enumerate(values)})
    # Of the last digit, the 1 that negates it has no row above to stand in.
    last = digits[-1][0]
    (negative,) = cut(m, multiply > 1, **{f"{name}_negative": last})
    product = sum(rows[1:], rows[0]) + (negative << 2 * len(digits) - 2)
    # The largest product is that of the lowest values.
    largest = booth_surplus(len(digits), len(values[0])) + (
        1 << 2 * len(digits) - 1 + len(values[0]) - 1)
    (product,) = cut(m, multiply > 0, **{name: product[:largest.bit_length()]})
    return product


def _row(digits: list[Digit], place: int, value):
    """A digit times ``value`` in its place, its sign bit inverted. A negative one lacks 1, which
    stands in the row above, below that one's bits."""
    upper, middle, lower = digits[place]
    once = middle ^ lower
    twice = (upper & ~middle & ~lower) | (~upper & middle & lower)
    width = len(value) + 1
    chosen = (Cat(value, value[-1]) & once.replicate(width)
              | Cat(Const(0, 1), value) & twice.replicate(width)) ^ upper.replicate(width)
    signed = Cat(chosen[:-1], ~chosen[-1])
    if not place:
        return signed
    return Cat(Const(0, 2 * place - 2), digits[place - 1][0], Const(0, 1), signed)
