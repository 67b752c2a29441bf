"""``pnmtile trial``: a tile on a board, or its simulation, against the golden model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spec.load import load_tile
from spec.trial import BAUD
from tools.console import JsonOption, NotHeld, TileArgument, UserError, console, emit, say

if TYPE_CHECKING:
    from host.job import GemvJob
    from host.serial_link import SerialLink
    from host.tensor_job import TensorJob
    from spec.tile import Tile

__all__ = ["trial"]

# Rows, and most elements of a row, of the tensors that are made from a seed: few enough for every
# tile's memory and for a simulation.
_ROWS, _K = 16, 512
# Answers of a board come within milliseconds; a simulation may have to share its processor.
_BOARD_S, _SIMULATION_S = 1.0, 20.0


class _Failed(Exception):
    """The design is there, but did not do what it was told to."""


def _tensor(help_text: str) -> Any:
    return typer.Option(metavar="FILE", show_default=False, help=help_text)


def trial(
    tile: TileArgument,
    port: Annotated[str | None, typer.Option(
        metavar="PORT", show_default=False, help="Serial port of the board, e.g. /dev/ttyUSB0.",
    )] = None,
    simulate: Annotated[bool, typer.Option(
        "--simulate", help="Simulate the trial design instead, at a pseudo-terminal.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tensors that no file gives.")] = 0,
    weights: Annotated[str | None, _tensor("gemv: W [M, K].")] = None,
    activations: Annotated[str | None, _tensor("gemv: X [columns, K] or [K].")] = None,
    weight_scales: Annotated[str | None, _tensor("gemv: scales; W then holds codes.")] = None,
    activation_scales: Annotated[str | None, _tensor("gemv: scales; X then holds codes.")] = None,
    input: Annotated[str | None, _tensor("quantize: X [rows, K], BF16 (uint16).")] = None,
    json: JsonOption = False,
) -> None:
    """Run GEMV and QUANTIZE on a board's tile and compare every bit with the golden model.

    Tensors are random, from the seed, or come in .npy files or FILE.safetensors:TENSOR as `run`
    takes them. The whole memory that a job uses is read back and compared. QUANTIZE needs the
    section [quantize] in the description.
    """
    resolved = load_tile(tile)
    if simulate == (port is not None):
        raise UserError("name the board's port with --port, e.g. --port /dev/ttyUSB0, or give "
                        "--simulate" + (", not both" if simulate else ""))
    _check_pairs({"--weights": weights, "--activations": activations},
                 {"--weight-scales": weight_scales, "--activation-scales": activation_scales})
    _check_tile(resolved)
    gemv = _gemv_job(resolved, seed, weights, activations, weight_scales, activation_scales)
    quantize = _quantize_job(resolved, seed, input)
    origin = "simulated" if simulate else "measured"
    result: dict[str, Any] = {"held": True, "tile": resolved.name, "digest": resolved.digest,
                              "seed": seed, "port": port, "origin": origin}
    operations: list[dict[str, Any]] = []
    try:
        with _line(resolved, port) as link:
            _greet(link, resolved)
            operations += [_run(link, resolved, "gemv", gemv),
                           _run(link, resolved, "quantize", quantize) if quantize else
                           {"operation": "quantize", "held": None,
                            "reason": "the tile has no quantizer ([quantize])"}]
            result["requests_repeated"] = link.repeated
    except _Failed as error:
        say(str(error), style="bold red")
        result |= {"held": False, "problems": [{"message": str(error)}]}
    result["operations"] = operations
    result["held"] &= all(operation["held"] is not False for operation in operations)
    _show(resolved, operations, origin)
    if json:
        emit(result)
    if not result["held"]:
        raise NotHeld


def _check_pairs(needed: dict[str, str | None], scales: dict[str, str | None]) -> None:
    """Both operands of GEMV, or neither; scales only with them."""
    given = [option for option, file in needed.items() if file is not None]
    if len(given) == 1:
        raise UserError(f"{' and '.join(needed)} go together; only {given[0]} was given")
    loose = [option for option, file in scales.items() if file is not None]
    if loose and not given:
        raise UserError(f"{' and '.join(loose)} without {' and '.join(needed)}: scales belong to "
                        "codes")


def _check_tile(tile: "Tile") -> None:
    from tools.trial_design import trial_design

    trial_design(tile)


def _gemv_job(tile: "Tile", seed: int, weights: str | None, activations: str | None,
              weight_scales: str | None, activation_scales: str | None) -> "GemvJob":
    import numpy as np

    from golden.quantizer import quantize, quantize_blocks
    from host.job import JobError, gemv_job
    from tools.run_gemv import operand

    if weights is not None and activations is not None:
        w, sw = operand(tile, weights, weight_scales, "--weights", blocks=True)
        x, sx = operand(tile, activations, activation_scales, "--activations", blocks=False)
        if w.shape[1] != x.shape[1]:
            raise UserError(f"--weights has K = {w.shape[1]}, --activations K = {x.shape[1]}; they "
                            "must agree")
    else:
        rng = np.random.default_rng(seed)
        k = min(tile.k_max, _K)
        scaling = tile.description.scaling
        w, sw = quantize_blocks(rng.standard_normal((_ROWS, k), np.float32), tile.weight_format,
                                scaling)
        x, sx = quantize(rng.standard_normal((tile.columns, k), np.float32),
                         tile.activation_format, scaling)
    try:
        return gemv_job(tile, w, sw, x, sx)
    except JobError as error:
        raise UserError(str(error)) from None


def _quantize_job(tile: "Tile", seed: int, input: str | None) -> "TensorJob | None":
    import numpy as np

    from host.job import JobError
    from host.tensor_job import Tensor, quantize_job
    from spec.tensors import RULE_NAMES, TensorFormat
    from tools.tensors import expect, read_tensor

    described = tile.description.quantize
    if described is None:
        if input is not None:
            raise UserError("--input is for QUANTIZE, and this tile has no quantizer; add the "
                            "section [quantize] to the description")
        return None
    if input is None:
        values = np.random.default_rng(seed + 1).standard_normal(
            (_ROWS, min(tile.k_max, _K)), np.float32)
        array = (values.view(np.uint32) >> 16).astype(np.uint16)
    else:
        array = expect(np.atleast_2d(read_tensor(input, "--input")), "--input",
                       {"uint16": "BF16 codes"}, (None, None), "[rows, K] or [K]")
    try:
        return quantize_job(tile, Tensor(TensorFormat.BF16, array),
                            TensorFormat[described.formats[0].upper()],
                            RULE_NAMES[described.rules[0]], described.groups[0])
    except JobError as error:
        raise UserError(str(error)) from None


@contextmanager
def _line(tile: "Tile", port: str | None) -> "Iterator[SerialLink]":
    """The line to the board, or to a simulation of it."""
    from host.serial_link import SerialLink

    if port is not None:
        with _opened(port) as line:
            yield SerialLink(line, tile, _BOARD_S)
        return
    from tb.simulator import SimulationFailed, SimulatorError
    from tools.doctor import require
    from tools.trial_simulation import simulated_port

    require("verilator", "g++")
    try:
        with ExitStack() as stack:
            with console().status("building the simulation (a minute, the first time)"):
                name = stack.enter_context(simulated_port(tile))
            yield SerialLink(stack.enter_context(_opened(name)), tile, _SIMULATION_S)
    except SimulationFailed as error:
        raise _Failed(str(error)) from None
    except SimulatorError as error:
        raise UserError(str(error)) from None


@contextmanager
def _opened(port: str) -> Iterator[Any]:
    """A serial port, for this process alone."""
    import serial

    try:
        line = serial.Serial(port, BAUD, timeout=_BOARD_S, write_timeout=_SIMULATION_S,
                             exclusive=True)
    except serial.SerialException as error:
        raise UserError(f"--port {port} cannot be opened: {_reason(port, error)}") from None
    try:
        with line:
            line.reset_input_buffer()
            yield line
    except serial.SerialException as error:
        raise _Failed(f"{port} failed: {error}; was the board unplugged?") from None


def _reason(port: str, error: Exception) -> str:
    """Why a port cannot be opened, and what to do."""
    import errno

    from serial.tools import list_ports

    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        return "no permission; be a member of the group that owns it (often dialout)"
    if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY) or "lock" in str(error):
        return "another program uses it"
    if number == errno.ENOENT:
        there = ", ".join(sorted(found.device for found in list_ports.comports()))
        return f"there is no such port; ports of this machine: {there or 'none'}"
    return f"{error}; is it a serial port?"


def _greet(link: "SerialLink", tile: "Tile") -> None:
    """Make sure that the design is there, and this tile in it."""
    import asyncio

    from host.driver import Driver, WrongTile
    from host.serial_link import LinkError

    try:
        link.hello()
        asyncio.run(Driver(link, tile).identify())
    except LinkError as error:
        raise _Failed(f"{error}; is it the board's port, and was the bitstream of `pnmtile fpga` "
                      "loaded?") from None
    except WrongTile as error:
        raise _Failed(f"{error}; load the bitstream that `pnmtile fpga` makes of this description"
                      ) from None


def _run(link: "SerialLink", tile: "Tile", name: str, job: "GemvJob | TensorJob") -> dict[str, Any]:
    """Run a job and compare the results, and all else in its memory, with the golden model's."""
    import asyncio

    import numpy as np

    from host.driver import CommandFailed
    from host.serial_link import LinkError
    from host.trial import expected_memory, run_on_trial

    golden = expected_memory(tile, job.image, job.commands)
    try:
        with console().status(f"{name}: {job.image.size} bytes"):
            done = asyncio.run(run_on_trial(link, tile, job.image, job.commands))
    except (LinkError, CommandFailed) as error:
        raise _Failed(f"{name}: {error}") from None
    compared = different = 0
    for came, expected in zip(_results(job, done.memory), _results(job, golden), strict=True):
        compared += expected.size
        different += int(np.count_nonzero(came != expected))
    wrong_bytes = int(np.count_nonzero(done.memory != golden))
    last = job.commands[-1]
    return {"operation": name, "held": not wrong_bytes, "rows": last.rows, "k": last.k,
            "cycles": done.counters.cycles, "atoms_read": done.counters.atoms_read,
            "atoms_written": done.counters.atoms_written, "results": compared,
            "results_different": different, "bytes": golden.size,
            "bytes_different": wrong_bytes, "units": {
                "cycles": "clock cycles", "atoms": f"{tile.atom_bytes} bytes"}}


def _results(job: "GemvJob | TensorJob", memory: Any) -> list[Any]:
    """Codes, and their scales where there are any, as bits: NaN equals itself."""
    import numpy as np

    results = job.results(memory)
    parts = results if isinstance(results, tuple) else (results,)
    return [part.view(np.uint32) if part.dtype == np.float32 else part
            for part in parts if part is not None]


def _show(tile: "Tile", operations: list[dict[str, Any]], origin: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"trial of {tile.name} ({origin})")
    table.add_column("operation")
    table.add_column("shape")
    for head in ("cycles", "results compared", "different", "bytes different"):
        table.add_column(head, justify="right")
    table.add_column("result")
    for one in operations:
        if one["held"] is None:
            table.add_row(one["operation"], "", "", "", "", "", Text(one["reason"]))
            continue
        table.add_row(one["operation"], f"[{one['rows']}, {one['k']}]", f"{one['cycles']}",
                      f"{one['results']}", f"{one['results_different']}",
                      f"{one['bytes_different']} of {one['bytes']}",
                      Text("passed", "green") if one["held"] else Text("FAILED", "bold red"))
    console().print(table)
