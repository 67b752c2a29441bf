"""``pnmtile verify --gates``: the synthesised netlist of a tile against its RTL and its bench."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import UserError, console, say
from tools.outputs import tile_directory, write_file

if TYPE_CHECKING:
    from spec.tile import Tile
    from tools.benches import UnitRun
    from tools.equivalence import UnitProof
    from tools.liberty import Library
    from tools.recipe import Effort

__all__ = ["GateResult", "show_gates", "verify_gates"]

_STYLES = {"equal": "green", "not proved": "yellow", "different": "bold red"}


@dataclass(frozen=True)
class GateResult:
    """What was found of a netlist: the proof of every unit, and the run of the tile's bench."""

    library: str
    netlist: Path
    proofs: "tuple[UnitProof, ...]"
    run: "UnitRun"

    @property
    def held(self) -> bool:
        """Whether the bench passed and no unit differs from its RTL."""
        return self.run.passed and all(proof.result != "different" for proof in self.proofs)

    def to_dict(self) -> dict[str, Any]:
        """The units' proofs as JSON data."""
        return {"library": self.library, "netlist": str(self.netlist),
                "equivalence": [asdict(proof) for proof in self.proofs]}


def verify_gates(tile: "Tile", library: "Library", effort: "Effort", seed: int) -> GateResult:
    """Synthesise the tile, prove its netlist unit by unit, and run its bench on the netlist.

    Netlist and models of its cells stay in the tile's directory, in ``gates``.

    :Errors: ``UserError`` for a library that has cells without a model, and when yosys or the
        simulator fail.
    """
    from hdl.verilog import tile_rtlil
    from tb.simulator import SimulatorError, end_children
    from tools.cell_models import cell_groups, cell_models, cells_of
    from tools.equivalence import prove_netlist
    from tools.gate_level import check_ports, run_gates
    from tools.rtlil import merge_equal_modules
    from tools.synthesis import synthesise

    folder = tile_directory(tile) / "gates"
    design = folder / f"{tile.name}.il"
    rtl = tile_rtlil(tile)
    write_file(design, rtl)
    with console().status("synthesising") as status:
        def tell(text: str) -> None:
            status.update(text)

        synthesise(design, tile.name, library, tile.clock_mhz, folder, effort=effort,
                   progress=lambda text: tell(f"synthesising: {text}"))
        netlist = (folder / "netlist.v").read_text(encoding="utf-8")
        check_ports(rtl, netlist, tile.name)
        cells = cell_groups(library)
        write_file(folder / "cells.v", cell_models(cells, cells_of(netlist, cells)))
        proofs = prove_netlist(merge_equal_modules(rtl, tile.name), netlist, tile.name, cells,
                               folder, progress=lambda text: tell(f"proving: {text}"))
        tell("running the tile's bench on the gates")
        try:
            run = run_gates(tile, netlist, cells, seed)
        except SimulatorError as error:
            raise UserError(str(error)) from None
        except BaseException:
            end_children()
            raise
    return GateResult(library.name, folder / "netlist.v", tuple(proofs), run)


def show_gates(result: GateResult) -> None:
    """Print the proofs as a table, and what is wrong in full."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"netlist of {result.library} against RTL")
    for name in ("unit", "points", "result"):
        table.add_column(name, justify="right" if name == "points" else "left")
    for proof in result.proofs:
        table.add_row(proof.module, f"{proof.points:,}", Text(proof.result, _STYLES[proof.result]))
    console().print(table)
    for proof in result.proofs:
        if proof.detail:
            say(f"{proof.module}: {proof.result}: {proof.detail}")
