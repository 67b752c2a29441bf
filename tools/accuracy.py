"""``pnmtile accuracy``: error of descriptions' arithmetic against float64."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spec.load import load_tile
from tools.console import JsonOption, UserError, console, emit, say, to_json
from tools.outputs import write_files

if TYPE_CHECKING:
    from rich.table import Table

    from tools.accuracy_study import Study

__all__ = ["accuracy"]

# The most products of one study: some minutes with exact sums, an hour with aligned ones.
_PRODUCTS_MAX = 1 << 38
_TABLE_WIDTH = 130


def accuracy(
    tiles: Annotated[list[str], typer.Argument(
        metavar="TILE.toml...", show_default=False, help="Descriptions to compare.")],
    inputs: Annotated[list[str] | None, typer.Option(
        metavar="INPUTS", show_default="all",
        help="normal, heavy-tailed, outlier-channel or uniform; may be given several times.",
    )] = None,
    k: Annotated[int, typer.Option("--k", help="Elements of each dot product.")] = 4096,
    rows: Annotated[int, typer.Option(help="Rows of weights.")] = 1024,
    columns: Annotated[int, typer.Option(help="Activation vectors.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    weights: Annotated[str | None, typer.Option(
        metavar="W", help="Your own weights, M x K, float32 or BF16: .npy or "
                          "FILE.safetensors:TENSOR.")] = None,
    activations: Annotated[str | None, typer.Option(
        metavar="X", help="Your own activations, columns x K or K, likewise.")] = None,
    out: Annotated[Path, typer.Option(help="Directory of the report and the plot.")] = Path(
        "build/accuracy"),
    json: JsonOption = False,
) -> None:
    """Compare what tiles compute with float64: the error of their arithmetic, and with that of
    quantization, over several kinds of inputs or your own tensors."""
    resolved = [load_tile(tile) for tile in tiles]
    from rich.console import Console

    from tools.accuracy_plot import accuracy_plot
    from tools.accuracy_study import BUCKETS, INPUTS, drawn, study

    names = [tile.name for tile in resolved]
    if len(set(names)) < len(names):
        raise UserError(f"two of the descriptions have the same name ({', '.join(names)}); "
                        "compare tiles of different names")
    for name in inputs or ():
        if name not in INPUTS:
            raise UserError(f"--inputs {name} is unknown; allowed: {', '.join(INPUTS)}")
    for option, value, most in (("--k", k, 65536), ("--rows", rows, 1 << 24),
                                ("--columns", columns, 1 << 16)):
        if not 1 <= value <= most:
            raise UserError(f"{option} must be in [1, {most}], not {value}")
    if seed < 0:
        raise UserError(f"--seed must be 0 or more, not {seed}")
    if k * rows * columns > _PRODUCTS_MAX:
        raise UserError(f"--k {k} x --rows {rows} x --columns {columns} are "
                        f"{k * rows * columns:.3g} products; allowed: at most "
                        f"{_PRODUCTS_MAX:.3g}")
    write_files(out, {})  # A directory that cannot be written is better known at once.
    own = _own(weights, activations)
    if own is not None and inputs:
        raise UserError("--inputs and your own tensors (--weights, --activations) exclude each "
                        "other")
    if own is not None and own[0].size * own[1].shape[0] > _PRODUCTS_MAX:
        raise UserError(f"--weights {list(own[0].shape)} by --activations {list(own[1].shape)} are "
                        f"more than {_PRODUCTS_MAX:.3g} products; take part of them")
    labelled = [(tile.name if len(tile.formats) == 1 else
                 f"{tile.name} {one.weight_format.name}", one)
                for tile in resolved for one in tile.formats]
    studies: list[Study] = []
    with console().status("multiplying") as status:
        for name in ("own",) if own is not None else tuple(dict.fromkeys(inputs or INPUTS)):
            operands = own or drawn(name, rows, columns, k, seed)
            for label, tile in labelled:
                status.update(f"multiplying: {label}, {name} inputs")
                studies.append(replace(study(tile, name, *operands), tile=label))
    result: dict[str, Any] = {
        "held": True, "seed": None if own else seed,
        "tiles": {tile.name: tile.digest for tile in resolved},
        "buckets": list(BUCKETS), "studies": [asdict(one) for one in studies],
        "origin": "golden model against float64",
    }
    write_files(out, {"accuracy.json": to_json(result), "accuracy.svg": accuracy_plot(studies)})
    # A narrow terminal wraps the lines.
    Console(file=console().file, width=max(console().width, _TABLE_WIDTH)).print(_table(studies))
    say(f"report: {out / 'accuracy.json'}, plot: {out / 'accuracy.svg'}")
    if json:
        emit(result)


def _own(weights: str | None, activations: str | None) -> tuple[Any, Any] | None:
    """The user's tensors, or None."""
    if weights is None and activations is None:
        return None
    if weights is None or activations is None:
        raise UserError("your own tensors are two: give both --weights and --activations")
    from tools.tensor_options import FLOATS
    from tools.tensors import expect, read_tensor

    w = expect(read_tensor(weights, "--weights"), "--weights", FLOATS, (None, None), "[M, K]")
    x = read_tensor(activations, "--activations")
    x = expect(x[None, :] if x.ndim == 1 else x, "--activations", FLOATS, (None, w.shape[1]),
               f"[columns, {w.shape[1]}] or [{w.shape[1]}], with the weights' K")
    return w, x


def _table(studies: "list[Study]") -> "Table":
    from rich.table import Table

    first = studies[0]
    table = Table(title=f"error over the rms of {first.rows} x {first.columns} results, "
                        f"K = {first.k}")
    for heading in ("inputs", "tile", "max", "rms", "SNR, dB", "quantized: max", "rms",
                    "SNR, dB", "not finite"):
        table.add_column(heading, justify="left" if heading in ("inputs", "tile") else "right")
    last = None
    for one in studies:
        cells = []
        for errors in (one.arithmetic, one.with_quantization):
            noise = errors.signal_to_noise_db
            cells += [f"{errors.maximum:.2e}", f"{errors.rms:.2e}",
                      "-" if errors.not_finite == errors.results else
                      "no error" if noise is None else f"{noise:.1f}"]
        if last not in (None, one.inputs):
            table.add_section()
        table.add_row(one.inputs if one.inputs != last else "", one.tile, *cells,
                      str(one.arithmetic.not_finite))
        last = one.inputs
    return table
