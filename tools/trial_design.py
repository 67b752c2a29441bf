"""The trial design of a tile on a board, or why there can be none."""

from typing import TYPE_CHECKING

from spec.trial import BAUD
from tools.console import UserError

if TYPE_CHECKING:
    from spec.tile import Tile
    from spec.trial import Trial

__all__ = ["trial_design"]


def trial_design(tile: "Tile", clock_hz: int | None = None, baud: int = BAUD) -> "Trial":
    """The trial design of ``tile``; at its clock target, where no clock is given.

    :Errors: ``UserError`` when there can be none.
    """
    from pydantic import ValidationError

    from spec.trial import Trial

    try:
        return Trial(tile=tile, clock_hz=clock_hz or round(tile.clock_mhz * 1e6), baud=baud)
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"no trial design of {tile.name}: {words}") from None
