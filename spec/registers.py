"""The AXI4-Lite register map as data: 32-bit registers, byte offsets."""

from dataclasses import dataclass

from spec.commands import COMMAND_WORDS

__all__ = ["COUNTERS", "REGISTERS", "REGISTER_ADDRESS_BITS", "BitField", "Register"]

REGISTER_ADDRESS_BITS = 8


@dataclass(frozen=True)
class BitField:
    """Bits within a register."""

    name: str
    offset: int
    bits: int
    meaning: str


@dataclass(frozen=True)
class Register:
    """One register. Access: ``ro`` read, ``rw`` read and write, ``wo`` write,
    ``w1c`` read, writing a one clears the bit."""

    name: str
    offset: int
    access: str
    meaning: str
    fields: tuple[BitField, ...] = ()

    def field(self, name: str) -> BitField:
        """The field called ``name``; ``KeyError`` when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"register {self.name} has no field {name}")


_EVENTS = (
    BitField("fence", 0, 1, "a FENCE ended"),
    BitField("error", 1, 1, "a command ended with an error"),
)


_COUNTER_MEANINGS = {
    "cycles": "clock cycles in which a command was under way",
    "atoms_read": "atoms read from memory",
    "atoms_written": "atoms written to memory",
    "stall_memory": "cycles that waited for an atom from memory",
    "stall_result": "cycles in which an atom waited for room for results",
}
# In the order of their registers; each is two, `NAME_low` and `NAME_high`.
COUNTERS = tuple(_COUNTER_MEANINGS)


def _counter(name: str, offset: int, meaning: str) -> tuple[Register, Register]:
    return (
        Register(f"{name}_low", offset, "ro",
                 f"{meaning}, low half; reading it holds the high half for the next read"),
        Register(f"{name}_high", offset + 4, "ro", f"{meaning}, high half as held"),
    )


def _address(name: str, offset: int, meaning: str,
             access: str = "rw") -> tuple[Register, Register]:
    return (Register(f"{name}_low", offset, access, f"{meaning}, low half"),
            Register(f"{name}_high", offset + 4, access, f"{meaning}, high half"))


_REGISTERS = (
    Register("identity", 0x00, "ro", "first 32 bits of the description's SHA-256"),
    Register("status", 0x04, "ro", "what the tile is doing", (
        BitField("busy", 0, 1, "a command is queued or under way"),
        BitField("full", 1, 1, "the command queue takes no more"),
        BitField("refused", 2, 1, "a doorbell was rung while full, since the last clear"),
        BitField("uncorrectable", 3, 1, "ecc_address is valid"),
    )),
    Register("interrupt", 0x08, "w1c", "events since cleared", _EVENTS),
    Register("interrupt_enable", 0x0C, "rw", "events that raise the interrupt", _EVENTS),
    Register("error", 0x10, "ro", "the first command that failed since the last clear", (
        BitField("code", 0, 8, "its error code, 0 when none failed"),
        BitField("tag", 16, 16, "its tag"),
    )),
    Register("fence_tag", 0x14, "ro", "tag of the last FENCE that ended"),
    Register("ended", 0x18, "ro", "commands that ended, with or without error, modulo 2^32"),
    Register("clear", 0x1C, "wo", "what to clear", (
        BitField("error", 0, 1, "the error register, status.refused, status.uncorrectable"),
        BitField("counters", 1, 1, "the five counters and ecc_corrected"),
    )),
    *(register for index, (name, meaning) in enumerate(_COUNTER_MEANINGS.items())
      for register in _counter(name, 0x20 + 8 * index, meaning)),
    *_address("window_base", 0x48, "first byte address that commands may touch"),
    *_address("window_limit", 0x50, "byte address behind the last that commands may touch"),
    Register("doorbell", 0x58, "wo", "any write queues the command words; SLVERR when full"),
    *(Register(f"command_{word}", 0x60 + 4 * word, "rw", f"word {word} of the next command")
      for word in range(COMMAND_WORDS)),
    *_address("ecc_address", 0x90, "byte address of the first atom with an uncorrectable word "
              "since the last clear, 0 when none was read", "ro"),
    Register("ecc_corrected", 0x98, "ro", "64-bit words read with one wrong bit, which was "
             "corrected; stays at 2^32 - 1"),
)

REGISTERS = {register.name: register for register in _REGISTERS}
