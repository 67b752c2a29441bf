"""Boards that trial designs are built for, as data.

Sources: Lattice FPGA-DS-02012, ECP5 and ECP5-5G family data sheet (resources, limits of the PLL);
schematics of the Radiona ULX3S, version 3 (pins).
"""

from dataclasses import dataclass

__all__ = ["BLOCK_RAM_BITS", "BOARDS", "PLL_OUTPUT_HZ", "Board", "Device", "Pin", "PllDividers",
           "pll_dividers"]

# Bits of a block RAM that bytes can use: the ninth of each byte is not.
BLOCK_RAM_BITS = 16384


@dataclass(frozen=True)
class Device:
    """An FPGA: its name, nextpnr's option for it, and what it has, in nextpnr's names."""

    name: str
    option: str
    resources: dict[str, int]

    @property
    def block_ram_bytes(self) -> int:
        """Bytes of all block RAMs."""
        return self.resources["DP16KD"] * BLOCK_RAM_BITS // 8


@dataclass(frozen=True)
class Pin:
    """A port of the design, the site of the package that it is at, and its attributes."""

    port: str
    site: str
    attributes: str = "IO_TYPE=LVCMOS33"


@dataclass(frozen=True)
class Board:
    """A board: its FPGA, its oscillator and the pins of a trial design."""

    name: str
    device: Device
    package: str
    speed: str
    oscillator_hz: int
    pins: tuple[Pin, ...]


@dataclass(frozen=True)
class PllDividers:
    """Dividers of an EHXPLLL whose feedback is its output, and the frequency that they make."""

    reference: int
    feedback: int
    output: int
    hz: int


def _device(name: str, option: str, luts: int, block_rams: int, multipliers: int) -> Device:
    return Device(name, option, {
        "TRELLIS_COMB": luts, "TRELLIS_FF": luts, "TRELLIS_RAMW": luts // 8, "DP16KD": block_rams,
        "MULT18X18D": multipliers})


_ULX3S_PINS = (
    Pin("clk_25mhz", "G2"),
    # Named by the USB adapter's side: it sends on TXD.
    Pin("ftdi_txd", "M1"),
    Pin("ftdi_rxd", "L4"),
    *(Pin(f"led[{place}]", site, "IO_TYPE=LVCMOS33 DRIVE=4")
      for place, site in enumerate(("B2", "C2", "C1", "D2", "D1", "E2", "E1", "H3"))),
    # Low for long, it would let the ESP32 take the board's configuration over.
    Pin("wifi_gpio0", "L2", "IO_TYPE=LVCMOS33 PULLMODE=UP DRIVE=4"),
)

# The 12F is a 25F with another identity.
_DEVICES = {
    "12f": _device("LFE5U-12F", "--12k", 24288, 56, 28),
    "25f": _device("LFE5U-25F", "--25k", 24288, 56, 28),
    "45f": _device("LFE5U-45F", "--45k", 43848, 108, 72),
    "85f": _device("LFE5U-85F", "--85k", 83640, 208, 156),
}

BOARDS = {board.name: board for board in (
    Board(f"ulx3s-{size}", device, "CABGA381", "6", 25_000_000, _ULX3S_PINS)
    for size, device in _DEVICES.items())}

# The EHXPLLL: its phase detector, its oscillator and its output, in Hz.
_DETECTOR_HZ = (3_125_000, 400_000_000)
_VCO_HZ = (400_000_000, 800_000_000)
PLL_OUTPUT_HZ = (3_125_000, 400_000_000)
_DIVIDER_MAX = 128


def pll_dividers(board: Board, target_hz: float) -> PllDividers:
    """The dividers for the frequency nearest to ``target_hz``, but not above it.

    :Errors: ``ValueError`` for a frequency below what the PLL makes.
    """
    best: PllDividers | None = None
    for reference in range(1, _DIVIDER_MAX + 1):
        detector = board.oscillator_hz / reference
        if not _DETECTOR_HZ[0] <= detector <= _DETECTOR_HZ[1]:
            continue
        limit = min(target_hz, PLL_OUTPUT_HZ[1])
        feedback = min(int(limit / detector + 1e-9), _DIVIDER_MAX)
        hz = detector * feedback
        if feedback < 1 or hz < PLL_OUTPUT_HZ[0]:
            continue
        # The oscillator runs in the middle of its range, as far as that can be.
        output = max(1, min(round(sum(_VCO_HZ) / 2 / hz), _DIVIDER_MAX))
        if not _VCO_HZ[0] <= hz * output <= _VCO_HZ[1]:
            continue
        if best is None or round(hz) > best.hz:
            best = PllDividers(reference, feedback, output, round(hz))
    if best is None:
        raise ValueError(f"the PLL of {board.name} makes {PLL_OUTPUT_HZ[0] / 1e6:g} to "
                         f"{PLL_OUTPUT_HZ[1] / 1e6:g} MHz, not {target_hz / 1e6:g} MHz")
    return best
