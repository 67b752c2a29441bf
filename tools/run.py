"""``pnmtile run``: one operation on the user's arrays, on the golden model or the simulated RTL."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spec.load import load_tile
from spec.registers import COUNTERS
from tools.console import JsonOption, NotHeld, TileArgument, UserError, emit, say
from tools.outputs import write_file

if TYPE_CHECKING:
    from spec.tile import Tile
    from tools.simulation import SystemRun

__all__ = ["Engine", "Operation", "run"]


class Operation(StrEnum):
    """What ``run`` can do."""

    gemv = "gemv"
    quantize = "quantize"


class Engine(StrEnum):
    """What does it."""

    golden = "golden"
    rtl = "rtl"


class _Failed(Exception):
    """The simulated tile did not do what it was told to."""


def _tensor(help_text: str) -> Any:
    return typer.Option(metavar="FILE", show_default=False, help=help_text)


def run(
    tile: TileArgument,
    operation: Annotated[Operation, typer.Argument(help="What to do.", show_default=False)],
    weights: Annotated[str | None, _tensor("gemv: W [M, K].")] = None,
    activations: Annotated[str | None, _tensor("gemv: X [columns, K] or [K].")] = None,
    weight_scales: Annotated[str | None, _tensor("gemv: scales; W then holds codes.")] = None,
    activation_scales: Annotated[str | None, _tensor("gemv: scales; X then holds codes.")] = None,
    out: Annotated[Path | None, _tensor("gemv: Y, float32 [M, columns].")] = None,
    input: Annotated[str | None, _tensor("quantize: X [rows, K] or [K], float32 or BF16.")] = None,
    codes: Annotated[Path | None, _tensor("quantize: codes, uint8, shaped like X.")] = None,
    scales: Annotated[Path | None, _tensor("quantize: scales [rows, groups].")] = None,
    rule: Annotated[str | None, typer.Option(
        metavar="RULE", show_default=False, help="quantize: scale rule; the tile has one.")] = None,
    engine: Annotated[Engine, typer.Option(help="Golden model or simulated RTL.")] = Engine.golden,
    vcd: Annotated[Path | None, _tensor("Waveform of the RTL, for GTKWave or Surfer.")] = None,
    trace: Annotated[Path | None, _tensor(
        "gemv on a native tile's RTL: each DRAM command with its cycle, CSV.")] = None,
    accesses: Annotated[Path | None, _tensor(
        "gemv on a native tile's RTL: each access, for Ramulator 2's LoadStoreTrace.")] = None,
    json: JsonOption = False,
) -> None:
    """Run one operation on arrays in .npy files or FILE.safetensors:TENSOR.

    float32 arrays, and uint16 arrays of BF16 codes, are quantized by the tile's rules first. With
    scales, arrays hold codes: uint8; scales are uint8 (E8M0) or float32, one per group.
    """
    resolved = load_tile(tile)
    given = {"weights": weights, "activations": activations, "weight-scales": weight_scales,
             "activation-scales": activation_scales, "out": out, "input": input, "codes": codes,
             "scales": scales, "rule": rule, "vcd": vcd, "trace": trace, "accesses": accesses}
    needed = {Operation.gemv: ("weights", "activations", "out"),
              Operation.quantize: ("input", "codes", "scales")}[operation]
    optional = {Operation.gemv: ("weight-scales", "activation-scales", "vcd", "trace", "accesses"),
                Operation.quantize: ("rule",)}[operation]
    for name, value in given.items():
        if value is None and name in needed:
            raise UserError(f"run {operation} needs --{name}; it takes "
                            f"{', '.join('--' + option for option in needed + optional)}")
        if value is not None and name not in needed + optional:
            raise UserError(f"--{name} does not belong to {operation}, which takes "
                            f"{', '.join('--' + option for option in needed + optional)}")
    simulated = {"--vcd": vcd, "--trace": trace, "--accesses": accesses}
    for option, path in simulated.items():
        if path is None:
            continue
        if option != "--vcd" and not resolved.native:
            raise UserError(f"{option} needs a tile with memory.interface = \"native\": the memory "
                            f"of {resolved.name} is behind AXI4, and it sends no DRAM commands")
        if engine is Engine.golden:
            raise UserError(f"{option} needs --engine rtl: the golden model has no clock")
    _check_outputs({"--out": out, "--codes": codes, "--scales": scales}, simulated)
    if operation is Operation.quantize:
        assert input is not None and codes is not None and scales is not None
        result = _quantize(resolved, input, codes, scales, rule, engine)
    else:
        assert weights is not None and activations is not None and out is not None
        result = _gemv(resolved, weights, activations, weight_scales, activation_scales, out,
                       engine, {"vcd": vcd, "trace": trace, "accesses": accesses})
    if json:
        emit(result)
    if not result["held"]:
        raise NotHeld


FLOATS = {"float32": "values", "uint16": "BF16 codes"}


def _check_outputs(outputs: dict[str, Path | None], simulated: dict[str, Path | None]) -> None:
    """Say what cannot be written before the work, not after it.

    What is ``simulated`` is written while the work goes on, in a directory that must be there.
    """
    import os

    options: dict[Path, str] = {}
    for option, path in {**outputs, **simulated}.items():
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{option} {path} is a directory; name a file")
        place = path.resolve()
        if place in options:
            raise UserError(f"{options[place]} and {option} are both {path}; name two files")
        options[place] = option
        there = next(parent for parent in place.parents if parent.exists())
        if not there.is_dir():
            raise UserError(f"{option} {path}: {there} is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"{option} {path} cannot be written: no permission in {there}")
        if option in simulated and there != place.parent:
            raise UserError(f"{option} {path}: there is no directory {place.parent}")


def _operand(tile: "Tile", place: str, scales: str | None, option: str, blocks: bool) -> Any:
    """Codes [rows, K] and scales of one operand, quantized here when it comes as float."""
    import numpy as np

    from golden.quantizer import quantize, quantize_blocks
    from tools.tensors import expect, read_tensor

    fmt = tile.weight_format if blocks else tile.activation_format
    array = read_tensor(place, option, fmt.name)
    if not blocks and array.ndim == 1:
        array = array[None, :]
    what = "[M, K]" if blocks else "[columns, K] or [K]"
    if scales is None:
        if array.dtype == np.uint8:
            raise UserError(f"{option} holds codes (uint8): name their scales with "
                            f"{option[:-1]}-scales, or give float32 values")
        array = expect(array, option, FLOATS, (None, None), what)
        return (quantize_blocks if blocks else quantize)(array, fmt, tile.description.scaling)
    codes = expect(array, option, {"uint8": "codes, as scales are given"}, (None, None), what)
    rows = tile.description.scaling.weight_rows if blocks else 1
    shape = (-(-codes.shape[0] // rows), tile.groups(codes.shape[1]))
    kind = {"uint8": "E8M0"} if tile.scale_format.name == "e8m0" else {"float32": "scales"}
    found = read_tensor(scales, f"{option[:-1]}-scales", "e8m0")
    if not blocks and found.ndim == 1:
        found = found[None, :]
    return codes, expect(found, f"{option[:-1]}-scales", kind, shape,
                         f"{list(shape)}, one for {rows} x {tile.group} elements")


def _gemv(tile: "Tile", weights: str, activations: str, weight_scales: str | None,
          activation_scales: str | None, out: Path, engine: Engine,
          files: dict[str, Path | None]) -> dict[str, Any]:
    import numpy as np

    from golden.gemv import gemv
    from host.job import JobError, gemv_job
    from tools.tensors import npy_bytes

    w, sw = _operand(tile, weights, weight_scales, "--weights", blocks=True)
    x, sx = _operand(tile, activations, activation_scales, "--activations", blocks=False)
    if w.shape[1] != x.shape[1]:
        raise UserError(f"--weights has K = {w.shape[1]}, --activations K = {x.shape[1]}; "
                        f"they must agree")
    try:
        job = gemv_job(tile, w, sw, x, sx)
    except JobError as error:
        raise UserError(str(error)) from None
    golden = gemv(w, sw, x, sx, tile)
    codes, equal, done = golden, None, None
    if engine is Engine.rtl:
        try:
            codes, done = _simulate(tile, job, files)
        except _Failed as error:
            say(str(error), style="bold red")
            return {"held": False, "problems": [{"message": str(error)}]}
        equal = bool(np.array_equal(codes, golden))
    if tile.result_format.name == "bf16":
        codes = codes.astype(np.uint32) << 16
    write_file(out, npy_bytes(codes.view(np.float32)))
    say(f"{out}: float32 {list(codes.shape)}, engine {engine}")
    if equal is False:
        say("the RTL's result differs from the golden model's", style="bold red")
    return {"held": equal is not False, "operation": "gemv", "engine": engine,
            "rows": w.shape[0], "k": w.shape[1], "columns": x.shape[0],
            "passes": len(job.passes), "out": str(out), "equals_golden": equal,
            **_performance(tile, done),
            **{name: str(path) for name, path in files.items() if path is not None}}


def _simulate(tile: "Tile", job: Any, files: dict[str, Path | None]) -> "tuple[Any, SystemRun]":
    """Result codes of a job on the simulated RTL, and what else is known of the run."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tb.simulator import SimulationFailed, SimulatorError
    from tools.console import console
    from tools.doctor import require
    from tools.simulation import simulate

    require("verilator", "g++")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("building the simulation", total=job.atoms)

        def update(atoms: int) -> None:
            progress.update(bar, completed=atoms, description="simulating")

        try:
            done = simulate(tile, job.image, job.commands, progress=update,
                            vcd=files["vcd"], trace=files["trace"],
                            accesses=files["accesses"])
        except SimulationFailed as error:
            raise _Failed(str(error)) from None
        except SimulatorError as error:
            raise UserError(str(error)) from None
    for tag, code in done.errors:
        raise _Failed(f"command {tag} ended with {code.name} on the simulated tile")
    return job.results(job.image), done


def _performance(tile: "Tile", done: "SystemRun | None") -> dict[str, Any]:
    """What the counters say, with units and origin; null on the golden model."""
    if done is None:
        reason = "the golden model has no clock; use --engine rtl"
        return {name: None for name in (*COUNTERS, "bandwidth_share")} | {"reason": reason}
    counters = done.counters
    # Atoms that the pins could carry in a cycle.
    peak = tile.grade.timing.nCCDS / tile.grade.timing.nBL if tile.grade else 1.0
    atoms = counters.atoms_read + counters.atoms_written
    share = atoms / max(counters.cycles, 1) / peak
    numbers = {name: getattr(counters, name) for name in COUNTERS}
    say(f"{counters.cycles} cycles ({counters.cycles / tile.clock_mhz:.2f} us "
        f"at {tile.clock_mhz:g} MHz), {counters.atoms_read} atoms read, "
        f"{counters.atoms_written} written, {counters.stall_memory} cycles waiting for memory, "
        f"{counters.stall_result} for room; {share:.2%} of the pins (simulated)")
    units = {"cycles": "clock cycles", "atoms": f"{tile.atom_bytes} bytes",
             "bandwidth_share": f"atoms per cycle over the pins' {peak:g}"}
    commands = {}
    if done.dram_commands is not None and tile.grade:
        sent = ", ".join(f"{number} {name}" for name, number in done.dram_commands.items()
                         if number)
        say(f"DRAM commands: {sent}; each checked against {tile.grade.name}")
        commands["dram_commands"] = done.dram_commands
        units["dram_commands"] = "commands since reset, those before and after the job included"
    return {**numbers, **commands, "bandwidth_share": round(share, 6), "origin": "simulated",
            "units": units}


def _quantize(tile: "Tile", place: str, codes_to: Path, scales_to: Path, rule: str | None,
              engine: Engine) -> dict[str, Any]:
    import numpy as np

    from golden.quantizer import quantize
    from tools.tensors import expect, npy_bytes, read_tensor

    if engine is Engine.rtl:
        raise UserError("this tile has no quantizer unit; use --engine golden")
    scaling = tile.description.scaling
    if rule not in (None, scaling.rule):
        raise UserError(f"--rule {rule} is not the tile's; allowed: {scaling.rule} "
                        f"(scaling.rule in the description)")
    array = read_tensor(place, "--input")
    shape = array.shape
    array = expect(np.atleast_2d(array), "--input", FLOATS, (None, None), "[rows, K] or [K]")
    codes, scales = quantize(array, tile.activation_format, scaling)
    write_file(codes_to, npy_bytes(codes.reshape(shape)))
    write_file(scales_to, npy_bytes(scales))
    say(f"{codes_to}: uint8 {list(shape)}; {scales_to}: {scales.dtype.name} "
        f"{list(scales.shape)}, rule {scaling.rule}")
    return {"held": True, "operation": "quantize", "engine": engine, "rule": scaling.rule,
            "codes": str(codes_to), "scales": str(scales_to), "shape": list(shape)}
