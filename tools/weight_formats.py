"""The option that names one of the formats of weights that a tile has."""

from typing import TYPE_CHECKING, Annotated

import typer

from tools.console import UserError

if TYPE_CHECKING:
    from spec.tile import Tile

__all__ = ["WeightFormatOption", "format_index"]

WeightFormatOption = Annotated[str | None, typer.Option(
    metavar="FORMAT", show_default=False,
    help="Which of the tile's formats of weights; the first if left out.")]


def format_index(tile: "Tile", weight_format: str | None) -> int:
    """The place of the pair of formats with this format of weights; of None, the first.

    :Errors: ``UserError`` when the tile does not have it.
    """
    known = [one.weight_format.name for one in tile.formats]
    if weight_format is None:
        return 0
    if weight_format not in known:
        raise UserError(f"--weight-format {weight_format} is not built into {tile.name}; allowed: "
                        f"{', '.join(known)}")
    return known.index(weight_format)
