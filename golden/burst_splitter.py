"""Burst splitter: one region of atoms to bursts."""

from spec.units import Axi4Params

__all__ = ["burst_splitter"]


def burst_splitter(index: int, atoms: int, params: Axi4Params) -> list[tuple[int, int]]:
    """Cut the region of ``atoms`` atoms from atom ``index`` at the multiples of ``burst_atoms``.

    Returns the bursts in order, each as the number of its first atom and its beats.
    """
    size = 1 << params.index_bits
    if not 0 <= index < size:
        raise ValueError(f"burst_splitter: index must be in [0, {size - 1}], not {index}")
    if not 1 <= atoms <= size - index:
        raise ValueError(f"burst_splitter: atoms must be in [1, {size - index}] from atom {index} "
                         f"on, not {atoms}")
    bursts = []
    end = index + atoms
    while index < end:
        border = (index // params.burst_atoms + 1) * params.burst_atoms
        bursts.append((index, min(border, end) - index))
        index = min(border, end)
    return bursts
