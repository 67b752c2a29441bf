"""Payloads of the streams of atoms, whatever memory is behind them.

``params`` is any record with ``index_bits`` and ``atom_bits``.
"""

from amaranth.lib import data

from spec.memory_units import FAULT_BITS, HostPortParams

__all__ = ["answer_layout", "atom_layout", "request_layout", "write_layout"]


def atom_layout(params) -> data.StructLayout:
    """An atom as read, and its :class:`spec.memory_units.ReadFault`."""
    return data.StructLayout({"data": params.atom_bits, "fault": FAULT_BITS})


def write_layout(params) -> data.StructLayout:
    """An atom to write; bytes whose ``strobe`` is 0 stay as they are."""
    return data.StructLayout({"index": params.index_bits, "data": params.atom_bits,
                              "strobe": params.atom_bits // 8})


def request_layout(params) -> data.StructLayout:
    """A beat that the host reads: the atom's number, and the :class:`spec.memory_units.Aperture` in
    which it is."""
    return data.StructLayout({"index": params.index_bits,
                              "aperture": HostPortParams.APERTURE_BITS})


def answer_layout(params) -> data.StructLayout:
    """A beat that the host has read; ``outside``: there is no such atom."""
    return data.StructLayout({"data": params.atom_bits, "fault": FAULT_BITS, "outside": 1})
