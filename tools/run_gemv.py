"""``pnmtile run TILE gemv``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import UserError, say
from tools.engine import Engine, Failed, Recordings, performance, simulated
from tools.outputs import write_file
from tools.tensor_options import FLOATS
from tools.traffic_account import JobTraffic, traffic_account
from tools.weight_formats import format_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from host.job import GemvJob
    from spec.tile import Tile

__all__ = ["operand", "run_gemv"]

# Types of scales, for messages.
_SCALES = {"uint8": "E8M0", "float32": "scales"}


def run_gemv(tile: "Tile", weights: str, activations: str, weight_scales: str | None,
             activation_scales: str | None, out: Path, transposed: bool,
             weight_format: str | None, engine: Engine,
             recordings: Recordings) -> dict[str, Any]:
    """Multiply weights, or the weights ``transposed``, by activations, write the results to
    ``out`` and return the answer. Of several formats, ``weight_format`` names one."""
    import numpy as np

    from golden.gemv import gemv
    from host.job import JobError, gemv_job
    from tools.tensors import npy_bytes

    index = format_index(tile, weight_format)
    named = tile.formats[index]
    w, sw = operand(named, weights, weight_scales, "--weights", blocks=True)
    x, sx = operand(named, activations, activation_scales, "--activations", blocks=False)
    length = w.shape[0 if transposed else 1]
    if length != x.shape[1]:
        raise UserError(f"--weights has {'M' if transposed else 'K'} = {length}, --activations "
                        f"K = {x.shape[1]}; they must agree")
    try:
        job = gemv_job(tile, w, sw, x, sx, transposed, index)
    except JobError as error:
        raise UserError(str(error)) from None
    if transposed:
        w, sw = np.ascontiguousarray(w.T), np.ascontiguousarray(sw.T)
    golden = gemv(w, sw, x, sx, named)
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
            "weight_format": named.weight_format.name,
            "activation_format": named.activation_format.name,
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
    from golden.scales import scale_dtype
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
    scaling = tile.description.scaling
    if scales is None:
        if array.dtype == np.uint8:
            raise UserError(f"{option} holds codes (uint8): name their scales with "
                            f"{option[:-1]}-scales, or give float32 values")
        array = expect(array, option, FLOATS, (None, None), what)
        if blocks:
            return quantize_blocks(array, tile.weight_format, scaling)
        return quantize(array, tile.activation_format, scaling)
    codes = expect(array, option, {kind: "codes, as scales are given"}, (None, None), what)
    if int(codes.max()) >> fmt.bits:
        raise UserError(f"{option} has the code {int(codes.max())}; codes of {fmt.name} are below "
                        f"{1 << fmt.bits}")
    rows = scaling.weight_rows if blocks else 1
    shape = (-(-codes.shape[0] // rows), tile.groups(codes.shape[1]))
    option = f"{option[:-1]}-scales"
    found = read_tensor(scales, option, tile.scale_format.name)
    if not blocks and found.ndim == 1:
        found = found[None, :]
    described = f"{list(shape)}, one for {rows} x {tile.group} elements"
    if tile.block_scaled:
        return codes, _block_scales(found, option, shape, described)
    if blocks and tile.zero_points:
        return codes, _zero_point_scales(found, option, shape, described, tile)
    kind = scale_dtype(tile.scale_format).name
    return codes, expect(found, option, {kind: _SCALES[kind]}, shape, described)


def _fields(found: "NDArray[Any]", option: str, dtype: "np.dtype[Any]", needed: str) -> None:
    """Raise ``UserError``, which says what is ``needed``, unless an array has the fields of
    ``dtype``, in whatever order and byte order."""
    types = {name: found.dtype[name].newbyteorder("=") for name in found.dtype.names or ()}
    if types != {name: dtype[name] for name in dtype.names or ()}:
        came = " and ".join(f"{name} {kind}" for name, kind in types.items()) or found.dtype.name
        raise UserError(f"{option} has elements of type {came}; {needed}")


def _block_scales(found: "NDArray[Any]", option: str, shape: tuple[int, ...],
                  described: str) -> "NDArray[Any]":
    """The user's scales of NVFP4, where a row has one of its tensor, as golden models take them."""
    from golden.scales import BLOCK_SCALE, block_scales, tensor_scales
    from tools.tensors import expect

    _fields(found, option, BLOCK_SCALE,
            "NVFP4 has two scales in each: needed is a .npy file of the fields block, uint8 (E4M3 "
            "of the block), and tensor, float32 (of the whole tensor); "
            "golden.scales.block_scales(block, tensor) makes such an array")
    block = expect(found["block"], option, {"uint8": "E4M3"}, shape, described)
    try:
        return block_scales(block, tensor_scales(found))
    except ValueError:
        raise UserError(f"{option} has different values of the field tensor in one row; each row "
                        "must have one, that of its tensor") from None


def _zero_point_scales(found: "NDArray[Any]", option: str, shape: tuple[int, ...], described: str,
                       tile: "Tile") -> "NDArray[Any]":
    """The user's scales and zero points of weights, as golden models take them."""
    import numpy as np

    from golden.scales import weight_scale_dtype
    from tools.tensors import expect

    fmt, dtype = tile.weight_format, weight_scale_dtype(tile)
    kind = dtype["scale"].name
    _fields(found, option, dtype,
            f"{fmt.name} has a scale and a zero point for each group: needed is a .npy file of the "
            f"fields scale, {kind} ({_SCALES[kind]}), and zero, uint8 (below {1 << fmt.bits})")
    both = np.empty(shape, dtype)
    both["scale"] = expect(found["scale"], option, {kind: _SCALES[kind]}, shape, described)
    both["zero"] = found["zero"]
    if int(both["zero"].max()) >> fmt.bits:
        raise UserError(f"{option} has the zero point {int(both['zero'].max())}; those of "
                        f"{fmt.name} are below {1 << fmt.bits}")
    return both
