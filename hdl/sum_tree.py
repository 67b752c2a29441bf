"""Sums of many values, as trees with registers."""

from amaranth.hdl import Module

from hdl.pipeline import registered

__all__ = ["summed"]


def summed(m: Module, values, tree_registers: tuple[int, ...]):
    """Return the sum of ``values``, added pairwise, with registers behind the levels
    ``tree_registers``, the last of them behind the sum.

    Between two ranks of registers, yosys merges the adders into one carry-save tree.
    """
    level, ranks = 0, list(tree_registers)
    while len(values) > 1 or ranks:
        if len(values) > 1:
            paired = [a + b for a, b in zip(values[::2], values[1::2], strict=False)]
            values = paired + values[len(paired) * 2:]
        level += 1
        while ranks and (ranks[0] <= level or len(values) == 1):
            rank = len(tree_registers) - len(ranks)
            # The last rank waits for the sum.
            if len(ranks) == 1 and len(values) > 1:
                break
            values = [registered(m, value, f"sum_{rank}_{place}")
                      for place, value in enumerate(values)]
            ranks.pop(0)
    return values[0]
