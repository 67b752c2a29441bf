"""Payloads of the streams between the units that work on whole tensors."""

from amaranth.lib import data

__all__ = ["block_layout", "counts", "element_layout", "scaled_layout"]


def block_layout(params) -> data.StructLayout:
    """Rows and columns of a block to transpose, and whether its elements have 16 bits."""
    return data.StructLayout({"rows": params.size_bits, "columns": params.size_bits, "wide": 1})


def element_layout(params) -> data.StructLayout:
    """An atom of a row: its lowest ``count`` elements count, ``last`` ends the row."""
    return data.StructLayout({"data": params.atom_bits, "count": params.count_bits, "last": 1})


def counts(count, lane: int):
    """Whether element ``lane`` of an atom with ``count`` elements is one of them.

    In halves, because synthesis makes a chain of carries of a comparison.
    """
    if len(count) == 1:
        return count[0] & (lane == 0)
    half = len(count) // 2
    low, high, lane_high = count[:half], count[half:], lane >> half
    return (counts(high, lane_high)
            | (high == lane_high) & counts(low, lane & (1 << half) - 1))


def scaled_layout(params) -> data.StructLayout:
    """An atom of a row with the scale of its codes: E8M0 in the low byte, or FP32."""
    return data.StructLayout({**element_layout(params).members, "scale": 32})
