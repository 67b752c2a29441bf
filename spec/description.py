"""The description of a tile as the user writes it: one TOML file, one pydantic model.

Every key has its unit in the name or is a count; every default is the ``hbm3_fp8`` tile's.
What follows from several keys at once is checked in :mod:`spec.conflicts`; what a description may
leave out because it follows from others is filled in by :func:`resolved`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from spec.grade import Grade, grade_names
from spec.memory_units import Ecc
from spec.section import IsPowerOfTwo, PowerOfTwo, Section

__all__ = ["Axi4Memory", "Clock", "Compute", "Convert", "Description", "FormatName", "Host",
           "NativeMemory", "Pipeline", "Quantize", "Reduce", "Scaling", "Transpose", "resolved",
           "single_formats"]

# The clock of a tile whose memory does not say another.
_AXI4_MHZ = 800.0

# What [pipeline] is for clock targets up to some MHz: enough for ASAP7 (7 nm, typical) by the
# recipe for speed, before layout. See docs/timing.md.
_PIPELINES = (
    (850.0, {"multiply": 1, "shift": 0, "adder_tree": 1, "fp32": 4, "quantizer": 0}),
    (float("inf"), {"multiply": 1, "shift": 0, "adder_tree": 2, "fp32": 5, "quantizer": 1}),
)


class Axi4Memory(Section):
    """The tile reaches its memory through an AXI4 manager."""

    interface: Literal["axi4"] = Field(
        "axi4", description="AXI4 manager, or control of one DRAM pseudo-channel.")
    atom_bytes: Literal[8, 16, 32, 64] = Field(
        32, description="Bytes of one access, moved in one clock cycle. HBM: 32.")
    address_bits: int = Field(34, ge=16, le=63, description="Width of a byte address.")
    burst_atoms: PowerOfTwo = Field(
        16, ge=1, le=256, description="Longest burst; bursts are aligned to it.")
    outstanding_bursts: int = Field(
        16, ge=1, le=64, description="Read bursts, and write bursts, that may be under way.")


class NativeMemory(Section):
    """The tile controls a pseudo-channel; its atom, addresses and clock follow from the grade."""

    interface: Literal["native"] = Field(
        description="AXI4 manager, or control of one DRAM pseudo-channel.")
    grade: str = Field(
        examples=[*grade_names(), "my_grade.toml"],
        description="Speed grade: a name, or the path of a file, from the description's folder.")
    refresh: Literal["per-bank", "all-bank"] | None = Field(
        None, description="How banks are refreshed; per-bank where the grade has it.")
    host_share: float = Field(
        0.25, ge=0.01, le=0.99,
        description="The host's share of the accesses while the tile wants them too.")
    ecc: Ecc = Field("none", description="Protection of each 64-bit word.")
    phy_cycles: int = Field(
        0, ge=0, le=64, description="Tile cycles that the PHY adds to the DRAM's read latency.")


def _interface(memory: Any) -> Any:
    """The value that says which of the two models a [memory] is."""
    if isinstance(memory, dict):
        return memory.get("interface", "axi4")
    return getattr(memory, "interface", None)


FormatName = Literal[
    "e4m3", "e5m2", "int8", "mxint8", "e2m3", "e3m2", "e2m1", "int4", "bf16", "fp16"]
_WeightName = Literal[FormatName, "uint4", "uint8"]
# TOML has arrays, a frozen record has tuples.
_OfSeveral = Field(strict=False)


class Compute(Section):
    """What the tile multiplies and how it adds."""

    weights: _WeightName | Annotated[tuple[_WeightName, _WeightName], _OfSeveral] = Field(
        "e4m3", description="Format of the weights, or two of which each GEMV names one; uint4 and "
                            "uint8 have zero points.")
    activations: FormatName | Annotated[tuple[FormatName, FormatName], _OfSeveral] = Field(
        "e4m3", description="Format of the activations, no narrower than the weights'; of two "
                            "formats of weights, one for each.")
    result: Literal["fp32", "bf16"] = Field("fp32", description="Format of the results in memory.")
    columns: int = Field(
        1, ge=1, le=8, description="Activation vectors that share one pass over the weights.")
    accumulation: Literal["exact", "aligned", "fp32-tree"] = Field(
        "exact", description="How the products of a group are added: exact, rounded once to FP32; "
                             "aligned to the largest and cut to accumulation_bits each beat; or by "
                             "a tree of FP32 additions each beat.")
    accumulation_bits: int | None = Field(
        None, ge=8, le=40, description="Bits that an aligned sum keeps.")
    promotion_interval: Annotated[int, Field(ge=8, le=4096), IsPowerOfTwo] | None = Field(
        None, description="Elements after which a sum that is not exact is scaled and added to the "
                          "row; a scale group if left out.")
    k_max: int = Field(
        16384, ge=1, le=65536, description="Longest activation vector, in elements.")

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Formats of weights and activations that are multiplied, one pair or two."""
        weights, activations = self.weights, self.activations
        if isinstance(weights, str) and isinstance(activations, str):
            return ((weights, activations),)
        first, second = ((side, side) if isinstance(side, str) else side
                         for side in (weights, activations))
        return ((first[0], second[0]), (first[1], second[1]))


class Scaling(Section):
    """Group scaling, and the rule by which float data is quantized."""

    format: Literal["e8m0", "fp32", "e4m3"] = Field(
        "e8m0", description="Format of the scales; e4m3 is NVFP4's, with an FP32 scale of the "
                            "tensor beside.")
    rule: Literal["e8m0-ceil", "e8m0-floor", "fp32-div", "e4m3-nvfp4"] = Field(
        "e8m0-ceil", description="How a group's scale follows from its largest magnitude.")
    group: PowerOfTwo = Field(
        128, ge=8, le=4096, description="Elements along K that share a scale.")
    weight_rows: PowerOfTwo = Field(
        128, ge=1, le=1024, description="Rows of weights that share a scale.")
    narrow_group: Annotated[int, Field(ge=8, le=4096), IsPowerOfTwo] | None = Field(
        None, description="scaling.group of the second of two formats, if it is another.")
    narrow_weight_rows: Annotated[int, Field(ge=1, le=1024), IsPowerOfTwo] | None = Field(
        None, description="scaling.weight_rows of the second of two formats, if it is another.")
    amax_floor: float = Field(
        1e-4, ge=0.0, le=1.0, description="Least amax that a scale is made from; 0 for no floor.")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values or len(set(values)) != len(values):
        raise ValueError("must list one or more, each once")
    return values


# What a list of choices needs: TOML has arrays, a frozen record has tuples.
_Choices = (Field(strict=False), AfterValidator(_distinct))


class Quantize(Section):
    """The quantizer: QUANTIZE, LOAD of BF16, FP8 results of COPY and TRANSPOSE, the cast window."""

    formats: Annotated[tuple[Literal["e4m3", "e5m2"], ...], *_Choices] = Field(
        ("e4m3",), description="Formats of the codes that it makes.")
    rules: Annotated[tuple[Literal["e8m0-ceil", "e8m0-floor", "fp32-div"], ...], *_Choices] = Field(
        ("e8m0-ceil",), description="Rules of the scales that it makes.")
    groups: Annotated[tuple[Literal[16, 32, 64, 128, 256], ...], *_Choices] = Field(
        (128,), description="Elements that share a scale.")
    window: bool = Field(
        False, description="Whether the host port has a cast window, which reads BF16 as FP8.")
    window_groups: PowerOfTwo = Field(
        1024, ge=32, le=65536,
        description="Groups whose scales the window keeps from when their codes were read.")


class Reduce(Section):
    """The reducer: REDUCE."""

    formats: Annotated[tuple[Literal["bf16", "e4m3", "e5m2", "fp32"], ...], *_Choices] = Field(
        ("bf16", "e4m3", "fp32"), description="Formats of the tensors that it reads.")


class Transpose(Section):
    """The transposer: TRANSPOSE, and GEMV by transposed weights."""

    block: PowerOfTwo = Field(
        128, ge=8, le=256, description="Rows and columns of the largest block that it turns.")


class Convert(Section):
    """The converter: COPY."""

    formats: Annotated[tuple[Literal["bf16", "fp32", "e4m3", "e5m2"], ...], *_Choices] = Field(
        ("bf16", "fp32", "e4m3"),
        description="Formats that it converts between; FP8 results need [quantize].")


class Host(Section):
    """The host's side."""

    queue_depth: int = Field(8, ge=2, le=64, description="Commands that the queue holds.")


class Clock(Section):
    """The clock that constraints and peak rates are made from."""

    target_mhz: float | None = Field(
        None, gt=0.0, le=5000.0,
        description="Clock target in MHz; a native memory's grade decides it.")


class Pipeline(Section):
    """Ranks of registers in the arithmetic; what is left out follows from the clock target.

    Results do not depend on it, latencies and the interleaving of rows in memory do.
    """

    multiply: int | None = Field(
        None, ge=0, le=2,
        description="Ranks behind the products of the significands; two stand around their signs.")
    shift: int | None = Field(
        None, ge=0, le=1, description="Ranks behind the shift of the products to fixed point.")
    adder_tree: int | None = Field(
        None, ge=0, le=8, description="Ranks in the tree that adds the products of a beat.")
    fp32: int | None = Field(
        None, ge=1, le=8, description="Cycles of an FP32 addition; the units around are cut alike.")
    quantizer: int | None = Field(
        None, ge=0, le=1,
        description="Ranks more in the casts of the quantizer, and a register in front of it.")


class Description(Section):
    """One tile."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$",
                      description="Name of the tile and of its Verilog files.")
    memory: Annotated[
        Annotated[Axi4Memory, Tag("axi4")] | Annotated[NativeMemory, Tag("native")],
        Discriminator(_interface)] = Axi4Memory()
    compute: Compute = Compute()
    scaling: Scaling = Scaling()
    quantize: Quantize | None = None
    reduce: Reduce | None = None
    transpose: Transpose | None = None
    convert: Convert | None = None
    host: Host = Host()
    clock: Clock = Clock()
    pipeline: Pipeline = Pipeline()


def resolved(description: Description, grade: Grade | None) -> Description:
    """Fill in what was left out because it follows from the rest; ``grade`` is a native
    memory's, or None where that is not known."""
    memory, mhz = description.memory, description.clock.target_mhz
    if isinstance(memory, NativeMemory) and grade is not None:
        mhz = grade.tile_clock_mhz
        if memory.refresh is None:
            memory = memory.model_copy(
                update={"refresh": "per-bank" if grade.per_bank_refresh else "all-bank"})
    mhz = _AXI4_MHZ if mhz is None else mhz
    ranks = next(ranks for limit, ranks in _PIPELINES if mhz <= limit)
    pipeline = Pipeline(**(ranks | description.pipeline.model_dump(exclude_none=True)))
    return description.model_copy(update={"memory": memory, "clock": Clock(target_mhz=mhz),
                                          "pipeline": pipeline})


def single_formats(description: Description) -> tuple[Description, ...]:
    """The description with each of its pairs of formats alone, in their order."""
    compute, scaling = description.compute, description.scaling
    if len(compute.pairs) == 1:
        return (description,)
    none = {"narrow_group": None, "narrow_weight_rows": None}
    second = {"group": scaling.narrow_group or scaling.group,
              "weight_rows": scaling.narrow_weight_rows or scaling.weight_rows}
    return tuple(
        description.model_copy(update={
            "compute": compute.model_copy(update={"weights": weights, "activations": activations}),
            "scaling": scaling.model_copy(update=none | own)})
        for (weights, activations), own in zip(compute.pairs, ({}, second), strict=True))
