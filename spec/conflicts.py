"""Conflicts between keys of a description, each with what is allowed instead."""

from typing import get_args

from spec.description import (
    Axi4Memory, Compute, Description, FormatName, NativeMemory, Scaling, single_formats,
)
from spec.formats import (
    FLOAT_FORMATS, FORMATS, WEIGHT_FORMATS, WIDER_FORMATS, FloatFormat, lanes_of,
    next_power_of_two,
)
from spec.grade import Grade
from spec.reader import Conflict

__all__ = ["conflicts"]

# Elements of a block of NVFP4.
_NVFP4_GROUP = 16

# A native memory's limits: what addresses hold, and how many banks one controller keeps.
_ADDRESS_BITS = (16, 63)
_BANKS_MAX = 1024


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
            name for name in get_args(FormatName) if weights.bits <= FORMATS[name].bits
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
                        + ", ".join(name for name in get_args(FormatName)
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
