"""Timing constraints (SDC), rendered from ``constraints/tile.sdc.j2``."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tools.liberty import Library
from tools.rendering import render_template

__all__ = ["EXTERNAL_SHARE", "render_constraints"]

# Of the period, on either side of the design.
EXTERNAL_SHARE = Decimal("0.2")


def render_constraints(name: str, clock_mhz: float, inputs: Sequence[str], *,
                       origin: str = "clock target", digest: str = "", clock: str = "clk",
                       library: Library | None = None, as_procedure: bool = False) -> str:
    """One clock; a fifth of the period outside the design before inputs and behind outputs.

    ``inputs`` are the input ports but the clock: not every reader of SDC can tell them apart. An
    empty ``clock`` makes a clock without a port. With a ``library``, what drives and loads the
    design is in it too. ``as_procedure`` leaves the times to the Tcl variables ``period`` and
    ``external``.
    """
    period = 1000 / Decimal(repr(clock_mhz))
    values: Mapping[str, Any] = {
        "period": "$period" if as_procedure else f"{period:.4f}",
        "external": "$external" if as_procedure else f"{period * EXTERNAL_SHARE:.4f}",
        "driver": library.driver.name if library else "",
        "load": f"{4 * library.input_ff:.4f}" if library else "",
        "transition": f"{library.fo4[1] / 1000:.6f}" if library else "",
    }
    return render_template(
        "tile.sdc.j2", name=name, digest=digest, origin=origin, clock=clock, inputs=inputs,
        target_mhz=f"{clock_mhz:.10g}", **values)
