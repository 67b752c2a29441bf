"""The registers as a model that goes on cycle by cycle, for the bench of the register file."""

import os
from collections import deque

from spec.commands import COMMAND_WORDS
from spec.registers import COUNTERS, REGISTERS
from tb.bench import word

__all__ = ["BY_OFFSET", "OKAY", "SLVERR", "RegisterModel"]

OKAY, SLVERR = 0, 2
BY_OFFSET = {register.offset: register for register in REGISTERS.values()}
# Where the counters begin, and go when cleared; not 0 only in a unit built so for this purpose.
COUNTER_START = int(os.environ.get("PNMTILE_COUNTER_START", "0"))
# What the count of corrected words becomes when cleared, likewise.
CORRECTED_START = int(os.environ.get("PNMTILE_CORRECTED_START", "0"))


class RegisterModel:
    """The registers, one cycle after the other."""

    def __init__(self, params):
        self.params = params
        self.stored = {name: 0 for name, register in REGISTERS.items()
                       if register.access in ("rw", "w1c")}
        self.counters = dict.fromkeys(COUNTERS, COUNTER_START)
        self.high = self.refused = self.error = self.fence_tag = self.ended = 0
        self.uncorrectable, self.corrected = None, 0
        # Commands in the queue at the last few edges, and whether one came or went: a queue may
        # show a change a cycle later.
        self.levels = deque([0] * 4, maxlen=4)
        self.changes = deque([False] * 3, maxlen=3)

    def full(self):
        """Whether the queue is full: True, False, or None while that changes."""
        if any(self.changes):
            return False if max(self.levels) < self.params.queue_depth - 1 else None
        return self.levels[-1] == self.params.queue_depth

    def read(self, offset, busy):
        """Response, value, and the bits of the value that are sure."""
        register = BY_OFFSET.get(offset)
        if register is None or register.access == "wo":
            return SLVERR, 0, -1
        name, sure = register.name, -1
        if name in self.stored:
            value = self.stored[name]
        elif name == "status":
            queued = {level > 0 for level in self.levels}
            value = (int(busy or queued == {True}) | (self.full() is True) << 1 | self.refused << 2
                     | (self.uncorrectable is not None) << 3)
            sure ^= (not busy and len(queued) == 2) | (self.full() is None) << 1
        elif name.removesuffix("_low") in COUNTERS:
            value = self.counters[name.removesuffix("_low")] & 0xFFFFFFFF
        elif name.removesuffix("_high") in COUNTERS:
            value = self.high
        else:
            value = {"identity": self.params.identity, "error": self.error,
                     "fence_tag": self.fence_tag, "ended": self.ended,
                     "ecc_address_low": (self.uncorrectable or 0) & 0xFFFFFFFF,
                     "ecc_address_high": (self.uncorrectable or 0) >> 32,
                     "ecc_corrected": self.corrected}[name]
        return OKAY, value, sure

    def hold(self, offset):
        """A counter's low half is read."""
        name = BY_OFFSET[offset].name if offset in BY_OFFSET else ""
        if name.removesuffix("_low") in COUNTERS:
            self.high = self.counters[name.removesuffix("_low")] >> 32

    def step(self, write, inputs):
        """Go on by a cycle with a write (offset, data, strobe, accepted) or None; returns the
        command that was queued, if one was."""
        register, data, mask, command, accepted = None, 0, 0, None, False
        if write:
            offset, data, strobe, accepted = write
            register = BY_OFFSET.get(offset)
            mask = word((0xFF * (strobe >> byte & 1) for byte in range(4)), 8)
        name = register.name if register else None
        if register and register.access == "rw":
            self.stored[name] = self.stored[name] & ~mask | data & mask
        elif register and register.access == "w1c":
            self.stored[name] &= ~(data & mask)
        clear = data & mask if name == "clear" else 0
        if clear & 1:
            self.refused = self.error = 0
            self.uncorrectable = None
        if clear & 2:
            self.corrected = CORRECTED_START
        self.corrected = min(self.corrected + inputs["corrected"], 0xFFFFFFFF)
        if inputs["uncorrectable"] is not None and self.uncorrectable is None:
            self.uncorrectable = inputs["uncorrectable"]
        if name == "doorbell":
            if accepted:
                command = word((self.stored[f"command_{index}"]
                                for index in range(COMMAND_WORDS)), 32)
            else:
                self.refused = 1
        for place, counter in enumerate(COUNTERS):
            if clear & 2:
                self.counters[counter] = COUNTER_START
            elif inputs["events"] >> place & 1:
                self.counters[counter] = (self.counters[counter] + 1) % (1 << 64)
        if inputs["ended"] is not None:
            tag, error, fence = inputs["ended"]
            self.ended = (self.ended + 1) & 0xFFFFFFFF
            if fence:
                self.fence_tag = tag
                self.stored["interrupt"] |= 1
            if error:
                self.stored["interrupt"] |= 2
                self.error = self.error or error | tag << 16
        self.levels.append(self.levels[-1] + (command is not None) - inputs["popped"])
        self.changes.append(command is not None or bool(inputs["popped"]))
        return command
