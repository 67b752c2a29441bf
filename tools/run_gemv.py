"""``pnmtile run TILE gemv``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import UserError, say
from tools.engine import Engine, Failed, Recordings, performance, simulated
from tools.outputs import write_file
from tools.tensor_options import FLOATS
from tools.traffic_account import JobTraffic, traffic_account

if TYPE_CHECKING:
    from host.job import GemvJob
    from spec.tile import Tile

__all__ = ["operand", "run_gemv"]


def run_gemv(tile: "Tile", weights: str, activations: str, weight_scales: str | None,
             activation_scales: str | None, out: Path, transposed: bool, engine: Engine,
             recordings: Recordings) -> dict[str, Any]:
    """Multiply weights, or the weights ``transposed``, by activations, write the results to
    ``out`` and return the answer."""
    import numpy as np

    from golden.gemv import gemv
    from host.job import JobError, gemv_job
    from tools.tensors import npy_bytes

    w, sw = operand(tile, weights, weight_scales, "--weights", blocks=True)
    x, sx = operand(tile, activations, activation_scales, "--activations", blocks=False)
    length = w.shape[0 if transposed else 1]
    if length != x.shape[1]:
        raise UserError(f"--weights has {'M' if transposed else 'K'} = {length}, --activations "
                        f"K = {x.shape[1]}; they must agree")
    try:
        job = gemv_job(tile, w, sw, x, sx, transposed)
    except JobError as error:
        raise UserError(str(error)) from None
    if transposed:
        w, sw = np.ascontiguousarray(w.T), np.ascontiguousarray(sw.T)
    golden = gemv(w, sw, x, sx, tile)
    codes, equal, done = golden, None, None
    if engine is Engine.rtl:
        try:
            done = simulated(tile, job, recordings)
        except Failed as error:
            say(str(error), style="bold red")
            return {"held": False, "problems": [{"message": str(error)}]}
        codes = job.results(job.image)
        equal = bool(np.array_equal(codes, golden))
    if tile.result_format.name == "bf16":
        codes = codes.astype(np.uint32) << 16
    write_file(out, npy_bytes(codes.view(np.float32)))
    say(f"{out}: float32 {list(codes.shape)}, engine {engine}")
    if equal is False:
        say("the RTL's result differs from the golden model's", style="bold red")
    return {"held": equal is not False, "operation": "gemv", "engine": engine,
            "rows": w.shape[0], "k": w.shape[1], "columns": x.shape[0], "transposed": transposed,
            "passes": len(job.passes), "out": str(out), "equals_golden": equal,
            **performance(tile, done),
            "traffic": traffic_account(tile, _traffic(tile, job), done),
            **{name: str(path) for name, path in recordings.items() if path is not None}}


def _traffic(tile: "Tile", job: "GemvJob") -> JobTraffic:
    results = len(job.passes) * tile.result_atoms(job.rows)
    result_bytes = results * tile.atom_bytes
    return JobTraffic(atoms_read=job.atoms, atoms_written=results,
                      operand_bytes=job.image.size - result_bytes, result_bytes=result_bytes,
                      commands=len(job.commands))


def operand(tile: "Tile", place: str, scales: str | None, option: str, blocks: bool) -> Any:
    """Codes [rows, K] and scales of one operand, quantized here when it comes as float."""
    import numpy as np

    from golden.decoder import code_dtype
    from golden.quantizer import quantize, quantize_blocks
    from spec.formats import IntegerFormat
    from tools.tensors import expect, read_tensor

    fmt = tile.weight_format if blocks else tile.activation_format
    array = read_tensor(place, option, fmt.name)
    if array.dtype == np.int8 and isinstance(fmt, IntegerFormat):
        # Two's complement as numpy has it, as codes.
        array = array.view(np.uint8) & np.uint8((1 << fmt.bits) - 1)
    if not blocks and array.ndim == 1:
        array = array[None, :]
    what = "[M, K]" if blocks else "[columns, K] or [K]"
    kind = np.dtype(code_dtype(fmt)).name
    if scales is None:
        if array.dtype == np.uint8:
            raise UserError(f"{option} holds codes (uint8): name their scales with "
                            f"{option[:-1]}-scales, or give float32 values")
        array = expect(array, option, FLOATS, (None, None), what)
        return (quantize_blocks if blocks else quantize)(array, fmt, tile.description.scaling)
    codes = expect(array, option, {kind: "codes, as scales are given"}, (None, None), what)
    if int(codes.max()) >> fmt.bits:
        raise UserError(f"{option} has the code {int(codes.max())}; codes of {fmt.name} are below "
                        f"{1 << fmt.bits}")
    rows = tile.description.scaling.weight_rows if blocks else 1
    shape = (-(-codes.shape[0] // rows), tile.groups(codes.shape[1]))
    scale_type = {"uint8": "E8M0"} if tile.scale_format.name == "e8m0" else {"float32": "scales"}
    found = read_tensor(scales, f"{option[:-1]}-scales", "e8m0")
    if not blocks and found.ndim == 1:
        found = found[None, :]
    return codes, expect(found, f"{option[:-1]}-scales", scale_type, shape,
                         f"{list(shape)}, one for {rows} x {tile.group} elements")
