"""``pnmtile run TILE quantize|reduce|transpose|copy``."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tools.console import UserError, say
from tools.engine import Engine, Failed, performance, simulated
from tools.outputs import write_file
from tools.tensor_options import (
    FLOATS, Goal, TensorOptions, check_results, goal_of, input_tensor,
)
from tools.traffic_account import JobTraffic, traffic_account

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host.tensor_job import TensorJob
    from spec.tile import Tile

__all__ = ["run_copy", "run_quantize", "run_reduce", "run_transpose"]


def run_quantize(tile: "Tile", options: TensorOptions) -> dict[str, Any]:
    """Quantize values to codes and scales, write them and return the answer.

    The golden model does it on every tile, of float32 too; what a tile has no unit for has no
    traffic.
    """
    import numpy as np

    from host.tensor_job import Tensor, quantize_job
    from spec.tensors import TensorFormat
    from tools.tensors import expect, read_tensor

    array = read_tensor(options.input, "--input")
    shape = array.shape
    array = expect(np.atleast_2d(array), "--input", FLOATS, (None, None), "[rows, K] or [K]")
    if tile.quantizer is None and options.engine is Engine.rtl:
        raise UserError("this tile has no quantizer unit; use --engine golden, or add the section "
                        "[quantize] to the description")
    goal = goal_of(tile, options)
    answer = {**goal.facts, "shape": list(shape)}
    if tile.quantizer is None or options.engine is Engine.golden and array.dtype == np.float32:
        return _quantize_by_host(tile, options, answer, array, goal, shape)
    name = TensorFormat.BF16 if array.dtype == np.uint16 else TensorFormat.FP32
    return _run(tile, options, answer, shape, lambda: quantize_job(
        tile, Tensor(name, array), goal.format, goal.rule, goal.group))


def run_reduce(tile: "Tile", options: TensorOptions) -> dict[str, Any]:
    """Reduce each row, or the whole tensor, write the results and return the answer."""
    from host.tensor_job import reduce_job
    from spec.tensors import Reduction

    assert options.kind is not None
    reduction = Reduction[options.kind.upper().replace("-", "_")]
    tensor, shape = input_tensor(tile, options, scaled=True)
    answer = {"kind": options.kind, "whole": options.whole, "shape": shape}
    return _run(tile, options, answer, None,
                lambda: reduce_job(tile, tensor, reduction, options.whole))


def run_transpose(tile: "Tile", options: TensorOptions) -> dict[str, Any]:
    """Transpose a tensor, write the result and return the answer."""
    from host.tensor_job import transpose_job

    fresh = options.codes is not None or options.scales is not None
    check_results(options, fresh)
    if not fresh and (options.format or options.rule):
        raise UserError("--format and --rule say how --codes and --scales are made; --out is "
                        "transposed as it is")
    tensor, shape = input_tensor(tile, options, scaled=fresh)
    if not fresh:
        return _run(tile, options, {"shape": shape}, None, lambda: transpose_job(tile, tensor))
    block = tile.transposer.block if tile.transposer else tile.group
    goal = goal_of(tile, replace(options, group=block))
    return _run(tile, options, {**goal.facts, "shape": shape}, None,
                lambda: transpose_job(tile, tensor, goal.format, goal.rule))


def run_copy(tile: "Tile", options: TensorOptions) -> dict[str, Any]:
    """Convert a tensor, write the result and return the answer."""
    from host.tensor_job import copy_job
    from spec.tensor_checks import FP8
    from spec.tensors import TensorFormat

    assert options.to is not None
    target = TensorFormat[options.to.upper()]
    check_results(options, target in FP8)
    tensor, shape = input_tensor(tile, options, scaled=True)
    answer = {"to": options.to, "shape": shape}
    if target in FP8 and tensor.format != target:
        goal = goal_of(tile, replace(options, format=options.to))
        return _run(tile, options, answer | goal.facts, tuple(shape), lambda: copy_job(
            tile, tensor, target, goal.rule, goal.group))
    if options.rule is not None or options.group is not None:
        raise UserError("--rule and --group say how FP8 is made of another format; here nothing is "
                        "quantized")
    return _run(tile, options, answer, tuple(shape), lambda: copy_job(tile, tensor, target))


def _quantize_by_host(tile: "Tile", options: TensorOptions, answer: dict[str, Any],
                      array: "NDArray[Any]", goal: Goal,
                      shape: tuple[int, ...]) -> dict[str, Any]:
    """Quantize without a command, as the host does where the tile cannot."""
    from golden.quantizer import quantize
    from host.job import JobError
    from host.tensor_job import check_quantizer
    from spec.description import Scaling

    described = tile.description.scaling
    if tile.quantizer is None:
        reason = "this tile has no quantizer ([quantize]): the host does it"
        for option, given, own, key in (
                ("--format", goal.format.name.lower(), tile.activation_format.name,
                 "compute.activations"),
                ("--rule", goal.rule_name, described.rule, "scaling.rule"),
                ("--group", goal.group, described.group, "scaling.group")):
            if given != own:
                raise UserError(f"{option} {given} is not the tile's; allowed: {own} ({key} in the "
                                f"description), or add the section [quantize]")
    else:
        reason = "QUANTIZE reads BF16, not float32: the host does it"
        try:
            check_quantizer(tile, goal.format, goal.rule, goal.group)
        except JobError as error:
            raise UserError(str(error)) from None
    scaling = Scaling.model_validate({
        "format": goal.rule_name.partition("-")[0], "rule": goal.rule_name, "group": goal.group,
        "amax_floor": described.amax_floor})
    codes, scales = quantize(array, goal.format.float_format, scaling)
    _write(options, codes.reshape(shape), scales)
    return {"held": True, **_facts(options), **answer, "equals_golden": None,
            **performance(tile, None), "traffic": None, "traffic_reason": reason}


def _run(tile: "Tile", options: TensorOptions, answer: dict[str, Any],
         shape: tuple[int, ...] | None, make: Callable[[], "TensorJob"]) -> dict[str, Any]:
    """Execute the job that ``make`` gives, write what comes of it, and return the answer.

    Values, or codes, are written in ``shape`` where it is given.
    """
    from host.job import JobError

    try:
        job = make()
    except JobError as error:
        raise UserError(str(error)) from None
    results = golden = _golden(tile, job)
    equal, done = None, None
    if options.engine is Engine.rtl:
        try:
            done = simulated(tile, job, options.recordings)
        except Failed as error:
            say(str(error), style="bold red")
            return {"held": False, "problems": [{"message": str(error)}]}
        results = job.results(job.image)
        equal = all(a is b is None or a is not None and b is not None
                    and a.tobytes() == b.tobytes()
                    for a, b in zip(results, golden, strict=True))
    values, scales = results
    _write(options, values if shape is None else values.reshape(shape), scales)
    if equal is False:
        say("the RTL's result differs from the golden model's", style="bold red")
    atom = tile.atom_bytes
    traffic = JobTraffic(
        atoms_read=job.atoms, atoms_written=job.result_atoms,
        operand_bytes=job.atoms * atom, result_bytes=job.result_atoms * atom, commands=1)
    return {"held": equal is not False, **_facts(options), **answer, "equals_golden": equal,
            **performance(tile, done), "traffic": traffic_account(tile, traffic, done),
            **{name: str(path) for name, path in options.recordings.items() if path is not None}}


def _golden(tile: "Tile", job: "TensorJob") -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """What the golden model makes of a job, whose image stays as it is."""
    from golden.tile import GoldenTile

    image = job.image.copy()
    golden = GoldenTile(tile, image)
    golden.window_limit = image.size
    for command in job.commands:
        error = golden.execute(command.pack())
        assert not error, error.name
    return job.results(image)


def _facts(options: TensorOptions) -> dict[str, Any]:
    """The operation, the engine and the files of the answer."""
    paths = {"out": options.out, "codes": options.codes, "scales": options.scales}
    return {"operation": options.operation, "engine": options.engine,
            **{name: str(path) for name, path in paths.items() if path is not None}}


def _write(options: TensorOptions, values: "NDArray[Any]", scales: "NDArray[Any] | None") -> None:
    """Write results where the user wants them."""
    from tools.tensors import npy_bytes

    to = options.out or options.codes
    assert to is not None
    written = [(to, values)]
    if scales is not None:
        assert options.scales is not None
        written.append((options.scales, scales))
    for path, array in written:
        write_file(path, npy_bytes(array))
    said = "; ".join(f"{path}: {_kind(array)} {list(array.shape)}" for path, array in written)
    say(f"{said}, engine {options.engine}")


def _kind(array: "NDArray[Any]") -> str:
    """An array's elements: their type, or the types of their fields."""
    if array.dtype.names is None:
        return array.dtype.name
    return " and ".join(f"{name} {array.dtype[name].name}" for name in array.dtype.names)
