"""The description of a tile as the user writes it: one TOML file, one pydantic model.

Every key has its unit in the name or is a count; every default is the ``hbm3_fp8`` tile's.
What follows from several keys at once is checked in :func:`conflicts`.
"""

from typing import Literal

from pydantic import Field

from spec.formats import FLOAT_FORMATS, next_power_of_two
from spec.reader import Conflict
from spec.section import PowerOfTwo, Section

__all__ = ["Description", "conflicts"]


class Memory(Section):
    """How the tile reaches its pseudo-channel."""

    interface: Literal["axi4"] = Field(
        "axi4", description="AXI4 manager, for FPGA HBM ports and any SoC interconnect.")
    atom_bytes: Literal[8, 16, 32, 64] = Field(
        32, description="Bytes of one access, moved in one clock cycle. HBM: 32.")
    address_bits: int = Field(34, ge=16, le=63, description="Width of a byte address.")
    burst_atoms: PowerOfTwo = Field(
        16, ge=1, le=256, description="Longest burst; bursts are aligned to it.")
    outstanding_bursts: int = Field(
        16, ge=1, le=64, description="Read bursts, and write bursts, that may be under way.")


class Compute(Section):
    """What the tile multiplies and how it adds."""

    weights: Literal["e4m3", "e5m2"] = Field("e4m3", description="Format of the weights.")
    activations: Literal["e4m3", "e5m2"] = Field("e4m3", description="Format of the activations.")
    result: Literal["fp32", "bf16"] = Field("fp32", description="Format of the results in memory.")
    columns: int = Field(
        1, ge=1, le=8, description="Activation vectors that share one pass over the weights.")
    accumulation: Literal["exact"] = Field(
        "exact", description="Exact fixed point within a group, rounded once to FP32.")
    k_max: int = Field(
        16384, ge=1, le=65536, description="Longest activation vector, in elements.")


class Scaling(Section):
    """Group scaling, and the rule by which float data is quantized."""

    format: Literal["e8m0", "fp32"] = Field("e8m0", description="Format of the scales.")
    rule: Literal["e8m0-ceil", "e8m0-floor", "fp32-div"] = Field(
        "e8m0-ceil", description="How a group's scale follows from its largest magnitude.")
    group: PowerOfTwo = Field(
        128, ge=8, le=4096, description="Elements along K that share a scale.")
    weight_rows: PowerOfTwo = Field(
        128, ge=1, le=1024, description="Rows of weights that share a scale.")
    amax_floor: float = Field(
        1e-4, ge=0.0, le=1.0, description="Least amax that a scale is made from; 0 for no floor.")


class Host(Section):
    """The host's side."""

    queue_depth: int = Field(8, ge=2, le=64, description="Commands that the queue holds.")


class Clock(Section):
    """The clock that constraints and peak rates are made from."""

    target_mhz: float = Field(800.0, gt=0.0, le=5000.0, description="Clock target in MHz.")


class Description(Section):
    """One tile."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$",
                      description="Name of the tile and of its Verilog files.")
    memory: Memory = Memory()
    compute: Compute = Compute()
    scaling: Scaling = Scaling()
    host: Host = Host()
    clock: Clock = Clock()


def conflicts(description: Description) -> list[Conflict]:
    """List every conflict between keys; an empty list when there is none."""
    memory, compute, scaling = description.memory, description.compute, description.scaling
    found = []

    def check(held: bool, keys: tuple[str, ...], message: str) -> None:
        if not held:
            found.append(Conflict(keys=keys, message=message))

    lanes = memory.atom_bytes * 8 // FLOAT_FORMATS[compute.weights].bits
    check(scaling.group >= lanes, ("scaling.group", "memory.atom_bytes"),
          f"scaling.group = {scaling.group} is shorter than one atom of {lanes} weights; "
          f"allowed: {lanes} or more")
    check(memory.burst_atoms * memory.atom_bytes <= 4096,
          ("memory.burst_atoms", "memory.atom_bytes"),
          f"memory.burst_atoms = {memory.burst_atoms} x {memory.atom_bytes} bytes crosses the "
          f"4096-byte boundary of AXI4; allowed: at most {4096 // memory.atom_bytes}")
    row_bytes = next_power_of_two(compute.columns) * FLOAT_FORMATS[compute.result].bits // 8
    check(row_bytes <= memory.atom_bytes,
          ("compute.columns", "compute.result", "memory.atom_bytes"),
          f"compute.columns = {compute.columns} {compute.result} results of one row take "
          f"{row_bytes} bytes and must fit an atom of {memory.atom_bytes}; allowed: at most "
          f"{memory.atom_bytes * 8 // FLOAT_FORMATS[compute.result].bits} columns")
    rule_format = scaling.rule.split("-")[0]
    check(rule_format == scaling.format, ("scaling.rule", "scaling.format"),
          f"scaling.rule = {scaling.rule!r} makes {rule_format} scales, but scaling.format = "
          f"{scaling.format!r}; allowed with {scaling.format}: "
          + ", ".join(rule for rule in ("e8m0-ceil", "e8m0-floor", "fp32-div")
                      if rule.startswith(scaling.format)))
    return found
