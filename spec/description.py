"""The description of a tile as the user writes it: one TOML file, one pydantic model.

Every key has its unit in the name or is a count; every default is the ``hbm3_fp8`` tile's.
What follows from several keys at once is checked in :func:`conflicts`; what a description may leave
out because it follows from others is filled in by :func:`resolved`.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag

from spec.formats import (
    FLOAT_FORMATS, FORMATS, WEIGHT_FORMATS, WIDER_FORMATS, FloatFormat, lanes_of,
    next_power_of_two,
)
from spec.grade import Grade, grade_names
from spec.memory_units import Ecc
from spec.reader import Conflict
from spec.section import IsPowerOfTwo, PowerOfTwo, Section

__all__ = ["Axi4Memory", "Clock", "Compute", "Convert", "Description", "Host", "NativeMemory",
           "Pipeline", "Quantize", "Reduce", "Scaling", "Transpose", "conflicts", "resolved",
           "single_formats"]

# The clock of a tile whose memory does not say another.
_AXI4_MHZ = 800.0

# What [pipeline] is for clock targets up to some MHz: enough for ASAP7 (7 nm, typical) by the
# recipe for speed, before layout. See docs/timing.md.
_PIPELINES = (
    (850.0, {"multiply": 1, "shift": 0, "adder_tree": 1, "fp32": 4, "quantizer": 0}),
    (float("inf"), {"multiply": 1, "shift": 0, "adder_tree": 2, "fp32": 5, "quantizer": 1}),
)

# Elements of a block of NVFP4.
_NVFP4_GROUP = 16

# A native memory's limits: what addresses hold, and how many banks one controller keeps.
_ADDRESS_BITS = (16, 63)
_BANKS_MAX = 1024


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


_Format = Literal["e4m3", "e5m2", "int8", "mxint8", "e2m3", "e3m2", "e2m1", "int4", "bf16", "fp16"]


_WeightFormat = Literal[_Format, "uint4", "uint8"]
# TOML has arrays, a frozen record has tuples.
_OfSeveral = Field(strict=False)


class Compute(Section):
    """What the tile multiplies and how it adds."""

    weights: _WeightFormat | Annotated[tuple[_WeightFormat, _WeightFormat], _OfSeveral] = Field(
        "e4m3", description="Format of the weights, or two of which each GEMV names one; uint4 and "
                            "uint8 have zero points.")
    activations: _Format | Annotated[tuple[_Format, _Format], _OfSeveral] = Field(
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
    """Fill in what was left out because it follows from the rest; ``grade`` as in ``conflicts``."""
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


def conflicts(description: Description, grade: Grade | None) -> list[Conflict]:
    """List every conflict between keys; an empty list when there is none.

    ``grade`` is a native memory's, or None where that is not known: what depends on it then goes
    unchecked.
    """
    if len(description.compute.pairs) > 1:
        found = _several_conflicts(description, grade)
        for single in single_formats(description):
            found += [conflict for conflict in conflicts(single, grade) if conflict not in found]
        return found
    memory, compute, scaling = description.memory, description.compute, description.scaling
    found = []

    def check(held: bool, keys: tuple[str, ...], message: str) -> None:
        if not held:
            found.append(Conflict(keys=keys, message=message))

    atom_bytes: int | None = None
    atom_key = "memory.grade"
    if isinstance(memory, Axi4Memory):
        atom_bytes, atom_key = memory.atom_bytes, "memory.atom_bytes"
        check(memory.burst_atoms * memory.atom_bytes <= 4096,
              ("memory.burst_atoms", "memory.atom_bytes"),
              f"memory.burst_atoms = {memory.burst_atoms} x {memory.atom_bytes} bytes crosses the "
              f"4096-byte boundary of AXI4; allowed: at most {4096 // memory.atom_bytes}")
    elif grade is not None:
        atom_bytes = grade.atom_bytes
        found += _grade_conflicts(memory, description.clock.target_mhz, grade)
    if atom_bytes is not None:
        result_bits = FLOAT_FORMATS[compute.result].bits
        row_bytes = next_power_of_two(compute.columns) * result_bits // 8
        check(row_bytes <= atom_bytes, ("compute.columns", "compute.result", atom_key),
              f"compute.columns = {compute.columns} {compute.result} results of one row take "
              f"{row_bytes} bytes and must fit an atom of {atom_bytes}; allowed: at most "
              f"{atom_bytes * 8 // result_bits} columns")
        found += _tensor_conflicts(description, atom_bytes, atom_key)
        found += _beat_conflicts(description, atom_bytes, atom_key)
    for key in ("narrow_group", "narrow_weight_rows"):
        check(getattr(scaling, key) is None, (f"scaling.{key}", "compute.weights"),
              f"scaling.{key} is of the second of two formats, but compute.weights = "
              f"{compute.weights!r} is one; leave it out")
    found += _format_conflicts(description)
    rule_format = scaling.rule.split("-")[0]
    check(rule_format == scaling.format, ("scaling.rule", "scaling.format"),
          f"scaling.rule = {scaling.rule!r} makes {rule_format} scales, but scaling.format = "
          f"{scaling.format!r}; allowed with {scaling.format}: "
          + ", ".join(rule for rule in get_args(Scaling.model_fields["rule"].annotation)
                      if rule.startswith(scaling.format)))
    return found


def _several_conflicts(description: Description, grade: Grade | None) -> list[Conflict]:
    """List why two pairs of formats cannot share one dot array."""
    memory, compute, scaling = description.memory, description.compute, description.scaling
    found = []

    def check(held: bool, keys: tuple[str, ...], message: str) -> None:
        if not held:
            found.append(Conflict(keys=keys, message=message))

    keys = ("compute.weights", "compute.activations")
    (weights, activations), narrow = compute.pairs
    wide = WIDER_FORMATS.get(narrow[0], ())
    check(weights in wide and activations in wide and narrow[0] == narrow[1], keys,
          "compute.weights and compute.activations have the pairs "
          f"{weights} x {activations} and {narrow[0]} x {narrow[1]}, which do not share one dot "
          "array; allowed: two of 8 bits, and two of 4 bits whose values they have: "
          + ", or ".join(f"{' or '.join(names)} with {name}"
                         for name, names in WIDER_FORMATS.items())
          + ', for example weights = ["e4m3", "e2m1"] and activations = ["e4m3", "e2m1"]')
    check(compute.accumulation == "exact", ("compute.accumulation", *keys),
          f"compute.accumulation = {compute.accumulation!r} is of one pair of formats, but "
          "compute.weights lists two; allowed: exact")
    atom_bytes, atom_key = grade.atom_bytes if grade is not None else 0, "memory.grade"
    if isinstance(memory, Axi4Memory):
        atom_bytes, atom_key = memory.atom_bytes, "memory.atom_bytes"
    for key, group in (("scaling.group", scaling.group),
                       ("scaling.narrow_group", scaling.narrow_group or atom_bytes)):
        check(group >= atom_bytes, (key, "compute.weights", atom_key),
              f"{key} = {group} is shorter than one atom of {atom_bytes} bytes, which two formats "
              f"of weights need; allowed: {atom_bytes} or more")
    return found


def _format_conflicts(description: Description) -> list[Conflict]:
    """List every pair of formats that cannot be multiplied, and what their scales must be."""
    compute, scaling = description.compute, description.scaling
    found = []
    (names,) = compute.pairs
    weights, activations = WEIGHT_FORMATS[names[0]], FORMATS[names[1]]
    if activations.bits < weights.bits:
        able = ", ".join(
            name for name in get_args(_Format) if weights.bits <= FORMATS[name].bits
            and (FORMATS[name].bits <= 8 or compute.accumulation != "exact"))
        found.append(Conflict(
            keys=("compute.activations", "compute.weights"),
            message=f"compute.activations = {activations.name!r} has {activations.bits} bits, "
                    f"fewer than compute.weights = {weights.name!r} with {weights.bits}: an atom "
                    f"of weights is multiplied by whole atoms of activations; allowed: {able}"))
    found += _accumulation_conflicts(compute)
    if scaling.format == "e4m3":
        found += _nvfp4_conflicts(compute, scaling)
    wide = [fmt.name for fmt in (weights, activations) if fmt.bits > 8]
    if wide and compute.accumulation == "exact":
        found.append(Conflict(
            keys=("compute.accumulation", "compute.weights", "compute.activations"),
            message=f'compute.accumulation = "exact" of {wide[0]} needs hundreds of bits a sum '
                    "(BF16: 530 for 128 products); allowed: aligned, for example with "
                    "accumulation_bits = 28, or fp32-tree"))
    for key, name in (("weights", weights.name), ("activations", activations.name)):
        if name == "bf16" and scaling.format != "fp32":
            found.append(Conflict(
                keys=(f"compute.{key}", "scaling.format"),
                message=f"compute.{key} = 'bf16' makes sums in the whole range of FP32, which "
                        f"scaling.format = {scaling.format!r} does not cover; allowed: fp32"))
        if name == "mxint8" and scaling.format != "e8m0":
            found.append(Conflict(
                keys=(f"compute.{key}", "scaling.format"),
                message=f"compute.{key} = 'mxint8' has E8M0 scales by its standard (OCP MX), but "
                        f"scaling.format = {scaling.format!r}; allowed: e8m0, or "
                        f"compute.{key} = 'int8'"))
    return found


def _nvfp4_conflicts(compute: Compute, scaling: Scaling) -> list[Conflict]:
    """List what E4M3 scales, which only NVFP4 has, do not go with."""
    found = []

    def check(held: bool, key: str, message: str) -> None:
        if not held:
            found.append(Conflict(keys=(key, "scaling.format"), message=message))

    for name in ("weights", "activations"):
        fmt = getattr(compute, name)
        check(fmt == "e2m1", f"compute.{name}",
              f"scaling.format = 'e4m3' is NVFP4's, but compute.{name} = {fmt!r}; allowed: e2m1, "
              "or scales in e8m0 or fp32")
    check(compute.accumulation == "exact", "compute.accumulation",
          f"compute.accumulation = {compute.accumulation!r} knows no scales within a sum, which "
          "scaling.format = 'e4m3' has; allowed: exact")
    check(scaling.group == _NVFP4_GROUP, "scaling.group",
          f"scaling.group = {scaling.group}, but NVFP4 (scaling.format = 'e4m3') has blocks of "
          f"{_NVFP4_GROUP}; allowed: {_NVFP4_GROUP}")
    return found


def _beat_conflicts(description: Description, atom_bytes: int, atom_key: str) -> list[Conflict]:
    """List every conflict between a sum that is not exact and the beats that it adds."""
    compute, scaling = description.compute, description.scaling
    if compute.accumulation == "exact":
        return []
    lanes = lanes_of(atom_bytes * 8, WEIGHT_FORMATS[compute.pairs[0][0]])
    found = []
    if scaling.group < lanes:
        found.append(Conflict(
            keys=("scaling.group", "compute.accumulation", atom_key),
            message=f"scaling.group = {scaling.group} is shorter than one beat of {lanes} weights, "
                    f"which accumulation = {compute.accumulation!r} adds at once; allowed: "
                    f"{lanes} or more, or accumulation = 'exact'"))
    elif compute.promotion_interval is not None and not (
            lanes <= compute.promotion_interval <= scaling.group):
        found.append(Conflict(
            keys=("compute.promotion_interval", "scaling.group", atom_key),
            message=f"compute.promotion_interval = {compute.promotion_interval} must be whole "
                    f"beats of {lanes} weights within a group of {scaling.group}; allowed: {lanes} "
                    f"to {scaling.group}"))
    return found


def _accumulation_conflicts(compute: Compute) -> list[Conflict]:
    """List what the kind of accumulation lacks or does not know."""
    kinds = {"accumulation_bits": ("aligned",), "promotion_interval": ("aligned", "fp32-tree")}
    found = [Conflict(
        keys=(f"compute.{key}", "compute.accumulation"),
        message=f"compute.{key} belongs to accumulation = {' or '.join(map(repr, known))}, but "
                f"compute.accumulation = {compute.accumulation!r}; leave it out")
        for key, known in kinds.items()
        if getattr(compute, key) is not None and compute.accumulation not in known]
    if compute.accumulation != "aligned":
        return found
    if compute.accumulation_bits is None:
        found.append(Conflict(
            keys=("compute.accumulation_bits", "compute.accumulation"),
            message='compute.accumulation = "aligned" needs compute.accumulation_bits; allowed: 8 '
                    "to 40, for example 14, as the tensor cores of Hopper have it"))
    for key in ("weights", "activations"):
        fmt = WEIGHT_FORMATS[getattr(compute, key)]
        if not isinstance(fmt, FloatFormat):
            found.append(Conflict(
                keys=(f"compute.{key}", "compute.accumulation"),
                message=f"compute.{key} = {fmt.name!r} has no exponent to align by; allowed with "
                        'accumulation = "aligned": '
                        + ", ".join(name for name in get_args(_Format)
                                    if isinstance(FORMATS[name], FloatFormat))))
    return found


def _tensor_conflicts(description: Description, atom_bytes: int, atom_key: str) -> list[Conflict]:
    """List every conflict of the units that work on whole tensors."""
    found = []
    quantize, transpose = description.quantize, description.transpose
    compute = description.compute
    for section in ("quantize", "reduce", "transpose", "convert"):
        for key in ("weights", "activations"):
            name = getattr(compute, key)
            if getattr(description, section) is not None and name not in ("e4m3", "e5m2"):
                found.append(Conflict(
                    keys=(f"compute.{key}", section),
                    message=f"[{section}] works on tensors of E4M3 or E5M2, but compute.{key} = "
                            f"{name!r}; leave it out, or use e4m3 or e5m2"))
        # A byte is a code here.
        if getattr(description, section) is not None and description.scaling.group < atom_bytes:
            found.append(Conflict(
                keys=("scaling.group", section, atom_key),
                message=f"scaling.group = {description.scaling.group} is shorter than one atom of "
                        f"{atom_bytes} codes, which [{section}] cannot work on; allowed: "
                        f"{atom_bytes} or more"))
    if quantize is not None:
        lanes = atom_bytes * 8 // FLOAT_FORMATS["bf16"].bits
        if min(quantize.groups) < lanes:
            found.append(Conflict(
                keys=("quantize.groups", atom_key),
                message=f"quantize.groups has {min(quantize.groups)}, shorter than one atom of "
                        f"{lanes} BF16 elements; allowed: {lanes} or more"))
        if quantize.window and isinstance(description.memory, Axi4Memory):
            found.append(Conflict(
                keys=("quantize.window", "memory.interface"),
                message="quantize.window = true needs the host port of memory.interface = "
                        '"native"; leave it out'))
    if transpose is not None and transpose.block < atom_bytes:
        found.append(Conflict(
            keys=("transpose.block", atom_key),
            message=f"transpose.block = {transpose.block} is shorter than one atom of "
                    f"{atom_bytes} codes; allowed: {atom_bytes} or more"))
    return found


def _grade_conflicts(memory: NativeMemory, mhz: float | None, grade: Grade) -> list[Conflict]:
    """List every conflict between a native memory, the clock and the grade."""
    found = []
    if memory.refresh == "per-bank" and not grade.per_bank_refresh:
        found.append(Conflict(
            keys=("memory.refresh", "memory.grade"),
            message=f'memory.refresh = "per-bank", but the grade {grade.name} has no per-bank '
                    'refresh (no timing.nRFCpb); allowed: "all-bank"'))
    if grade.organisation.refresh_postponed_max < 1:
        found.append(Conflict(
            keys=("memory.grade",),
            message=f"memory.grade = {grade.name} has organisation.refresh_postponed_max = 0, but "
                    "the controller refreshes when a refresh is owed, not before; allowed: a grade "
                    "that lets 1 or more be postponed"))
    need = grade.tile_clock_mhz
    if mhz is not None and abs(mhz / need - 1) > 1e-3:
        why = "the data pins would idle" if mhz < need else "the data pins are not faster"
        found.append(Conflict(
            keys=("clock.target_mhz", "memory.grade"),
            message=f"clock.target_mhz = {mhz:g}, but the grade {grade.name} needs {need:g}, one "
                    f"cycle for each atom ({why}); leave it out"))
    bits = (grade.capacity_bytes - 1).bit_length()
    if not _ADDRESS_BITS[0] <= bits <= _ADDRESS_BITS[1]:
        found.append(Conflict(
            keys=("memory.grade",),
            message=f"memory.grade: the grade {grade.name} holds 2^{bits} bytes; allowed: 2^"
                    f"{_ADDRESS_BITS[0]} to 2^{_ADDRESS_BITS[1]}"))
    if grade.banks > _BANKS_MAX:
        found.append(Conflict(
            keys=("memory.grade",),
            message=f"memory.grade: the grade {grade.name} has {grade.banks} banks; allowed: at "
                    f"most {_BANKS_MAX}"))
    return found
