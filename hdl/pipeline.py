"""Streams of the free-running pipelines.

The arithmetic never stalls: every unit takes an input and may give a result each cycle, and room
for the results is reserved before their operands start (see :mod:`hdl.sequencer`). So the streams
between these units are ``always_ready``, and no flop of the data path needs an enable.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream

__all__ = ["cut", "delayed", "flow", "registered"]


def flow(shape):
    """Return the signature of a stream whose consumer is always ready."""
    return stream.Signature(shape, always_ready=True)


def delayed(m: Module, value, cycles: int, name: str):
    """Return ``value``, delayed by ``cycles`` clock cycles."""
    for cycle in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{cycle + 1}")
        m.d.sync += register.eq(value)
        value = register
    return value


def registered(m: Module, value, name: str):
    """Return ``value``, registered once; ``value`` may be any expression."""
    register = Signal(value.shape(), name=name)
    m.d.sync += register.eq(value)
    return register


def cut(m: Module, here: bool, **values):
    """Return ``values`` in order, each registered once where ``here``, otherwise as they are.

    A place where a description may put registers; everything that crosses it is named.
    """
    return tuple(registered(m, value, name) if here else value for name, value in values.items())
