"""What the documentation says is so: links, command lines, tables, examples, results."""

import ast
import contextlib
import importlib.util
import io
import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmarks.figures import (
    ATOMS, GRADE, IMAGES, address_map, figures, memory_parts, refresh_window, row_change_window,
    sequential_read, tensor_parts,
)
from benchmarks.readme import BENCHMARKS, RESULTS, render, updated
from golden.quantizer import quantize
from hdl import command_scheduler
from hdl.dram_port import command_members, data_members
from spec.commands import FIELDS, ErrorCode, Opcode
from spec.description import Convert, Quantize, Reduce, Scaling, Transpose
from spec.dot_arrays import BlockDotArrayParams, DotArrayParams, SubwordDotArrayParams
from spec.dram_rules import DramCommand
from spec.formats import E4M3, FORMATS, lanes_of
from spec.grade import grade_names, load_grade
from spec.keys import toml_value
from spec.load import load_tile
from spec.memory_units import Aperture, Ecc, HostPortParams, MemoryControllerParams
from spec.schema import description_keys
from spec.tensors import FIELD_VALUES
from spec.tile import Tile
from tests.conftest import PROJECT
from tools.cli import VERBS
from tools.explain_memory import memory_explanation

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCED.findall(text_of(page)) if kind == language]


def command_lines(page: Path) -> list[str]:
    """Every line of a code block, and every code span."""
    bodies = [body for _, body in _FENCED.findall(text_of(page))]
    prose = _FENCED.sub("", text_of(page))
    bodies += _INDENTED.findall(prose)
    return [line.strip() for body in bodies for line in body.splitlines()] + _INLINE.findall(prose)


def table(page: str, first_head: str) -> list[list[str]]:
    """The rows of the table whose first column has this head, without code marks."""
    rows: list[list[str]] = []
    inside = False
    for line in text_of(PROJECT / "docs" / page).splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if inside and not line.startswith("|"):
            break
        if inside and not set(cells[0]) <= set("-:"):
            rows.append(cells)
        inside = inside or line.startswith("|") and cells[0] == first_head
    assert rows, f"{page} has no table that begins with {first_head}"
    return rows


def test_there_are_pages() -> None:
    assert {"README.md", "CHANGELOG.md", "architecture.md", "numerics.md", "commands.md",
            "verification.md", "area.md", "dram.md", "memory.md", "tensors.md"} <= {
                page.name for page in PAGES}


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", _FENCED.sub("", text_of(page))):
        if not re.match(r"https?://", target):
            place, _, anchor = target.partition("#")
            assert (page.parent / place).exists(), f"{page.name}: {target}"
            assert not anchor or not place.endswith(".md"), f"{page.name}: {target}"


@EVERY_PAGE
def test_files_that_are_named_exist(page: Path) -> None:
    folders = ("benchmarks", "constraints", "docs", "examples", "golden", "hdl", "host", "spec",
               "tb", "tests", "tiles", "tools")
    named = [name for name in _INLINE.findall(_FENCED.sub("", text_of(page)))
             if re.fullmatch(rf"(?:{'|'.join(folders)})/[\w./-]*", name)]
    assert not [name for name in named if not (PROJECT / name).exists()]


def parse(line: str) -> None:
    """Parse a command line without running it; raises click's or typer's error."""
    arguments = shlex.split(line, comments=True)[1:]
    assert arguments[0] in VERBS, f"{line}: no such verb"
    app = typer.Typer()
    app.command(arguments[0])(getattr(import_module(f"tools.{arguments[0]}"), arguments[0]))
    verb = typer.main.get_command(app)
    if len(arguments) > 1:
        verb.make_context(arguments[0], arguments[1:])


@EVERY_PAGE
def test_command_lines_are_understood(page: Path) -> None:
    lines = [line for line in command_lines(page) if line.startswith("pnmtile ")]
    assert lines or page.name not in ("README.md", "verification.md", "commands.md")
    for line in lines:
        # `pnmtile run --engine rtl` in a sentence names options, not a whole command.
        whole = ".toml" in line or "TILE" in line or " --" not in line
        parse(line if whole else line.replace(" --", " tiles/t.toml gemv --", 1)
              if " run " in line else f"{line} tiles/t.toml")


@pytest.mark.parametrize("line", [
    "pnmtile chek", "pnmtile run t.toml gemm", "pnmtile verify t.toml --sed 1",
    "pnmtile generate t.toml"])
def test_wrong_command_lines_are_noticed(line: str) -> None:
    # By name: typer may carry a click of its own.
    with pytest.raises(Exception) as caught:
        parse(line)
    assert {"AssertionError", "ClickException"} & {
        kind.__name__ for kind in type(caught.value).__mro__}


@EVERY_PAGE
def test_targets_and_modules_that_are_named_exist(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for line in command_lines(page):
        if made := re.match(r"make (?:\w+=\S+ )*([a-z]+)", line):
            assert re.search(rf"^{made[1]}:", makefile, re.MULTILINE), line
        if module := re.match(r"python -m ([\w.]+)", line):
            assert importlib.util.find_spec(module[1]), line


def test_readme_shows_the_results_as_they_are_checked_in() -> None:
    readme = text_of(PROJECT / "README.md")
    assert updated(readme, render(RESULTS)) == readme
    assert "(missed)" not in readme
    assert {path.stem for path in RESULTS.glob("*.json")} == {*BENCHMARKS, "machine"}


def test_readme_names_every_verb() -> None:
    assert {f"pnmtile {verb}" for verb in VERBS} <= set(
        _INLINE.findall(text_of(PROJECT / "README.md")))


def test_the_example_description_holds(tmp_path: Path) -> None:
    (example,) = blocks(PROJECT / "README.md", "toml")
    path = tmp_path / "my_tile.toml"
    path.write_text(example, encoding="utf-8")
    tile = load_tile(path)
    assert (tile.name, tile.columns, tile.result_format.name) == ("my_tile", 2, "bf16")


def test_what_an_example_leaves_out_is_the_default_tile(tmp_path: Path, default_tile: Tile) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "hbm3_fp8"\n', encoding="utf-8")
    assert load_tile(path) == default_tile


def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch, default_tile: Tile) -> None:
    monkeypatch.chdir(PROJECT)
    golden, driver = blocks(PROJECT / "docs" / "commands.md", "python")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(golden, "commands.md", "exec"), {})
    load, gemv, *_ = output.getvalue().splitlines()
    columns = list(zip(*table("commands.md", "word"), strict=True))
    for line, column in ((load, columns[1]), (gemv, columns[2])):
        state, _, words = line.partition(" ")
        assert state == "NONE"
        assert [int(word, 0) for word in ast.literal_eval(words)] == [
            int(word, 0) for word in column]
    compile(driver, "commands.md", "exec")


def test_the_example_regions_follow_each_other(default_tile: Tile) -> None:
    place = 0
    for address, atoms, _ in table("commands.md", "address"):
        assert int(address, 0) == place
        place += default_tile.atom_bytes * sum(int(part) for part in atoms.split("+"))
    assert place == 0x600


def test_the_widths_are_the_tiles() -> None:
    for operands, unit, *widths in table("numerics.md", "operands"):
        weights, activations = operands.split(" x ")
        params = DotArrayParams(weights=weights, activations=activations, lanes=32, group_beats=4)
        assert unit == f"2^{params.lsb_exponent}"
        assert [int(width) for width in widths] == [
            params.product_bits, params.beat_bits, params.sum_bits]


def test_the_widths_of_long_sums_are_the_dot_arrays() -> None:
    for operands, *widths in table("numerics.md", "exact sum of"):
        weights, activations = operands.split(" x ")
        assert [int(width) for width in widths] == [
            DotArrayParams(weights=weights, activations=activations, lanes=lanes,
                           group_beats=beats).sum_bits
            for lanes, beats in ((1, 1), (32, 1), (32, 4), (64, 64), (64, 256))]


def test_the_widths_of_nvfp4_are_its_units() -> None:
    params = load_tile(PROJECT / "tiles" / "hbm3_nvfp4.toml").dot_array
    assert isinstance(params, BlockDotArrayParams)
    largest, widths = zip(*(row[1:] for row in table("numerics.md", "of NVFP4")), strict=True)
    assert [int(width) for width in widths] == [
        params.product_bits, params.block_bits, params.beat_bits, params.sum_bits]
    units = [params.dot_array.lsb_exponent, *[params.lsb_exponent] * 3]
    for text, width, exponent in zip(largest, widths, units, strict=True):
        magnitude = math.prod(int(base) ** int(power or 1) for base, power in re.findall(
            r"(\d+)(?:\^(\d+))?", text))
        assert (magnitude << -exponent).bit_length() + 1 == int(width)


def test_the_places_of_two_products_are_the_dot_arrays() -> None:
    for operands, narrow_operands, unit, *widths in table("numerics.md", "8-bit operands"):
        (weights, activations), (narrow, _) = (
            names.split(" x ") for names in (operands, narrow_operands))
        assert narrow_operands == f"{narrow} x {narrow}"
        params = [SubwordDotArrayParams(
            weights=weights, activations=activations, lanes=32, group_beats=4,
            narrow=DotArrayParams(weights=narrow, activations=narrow, lanes=lanes, group_beats=1))
            for lanes in (32, 64)]
        assert unit == f"2^{params[0].narrow_shift}"
        assert widths == [str(one.odd_bits or "added in the lane") for one in params]


def test_the_scales_are_the_quantizers() -> None:
    rules = ("e8m0-ceil", "e8m0-floor", "fp32-div")
    for amax, *scales in table("numerics.md", "amax"):
        for rule, shown in zip(rules, scales, strict=True):
            scaling = Scaling.model_validate({"format": rule.partition("-")[0], "rule": rule})
            _, found = quantize(np.array([[float(amax)]], np.float32), E4M3, scaling)
            assert found.item() == np.asarray(shown, np.float64).astype(found.dtype).item()


def test_the_latencies_are_the_units(default_tile: Tile) -> None:
    shown = {unit: latency for unit, _, latency in table("architecture.md", "unit")}
    assert set(shown) == {*default_tile.units, "tile"}
    for name, params in default_tile.units.items():
        assert shown[name] == str(getattr(params, "LATENCY", "")), name


def test_the_latencies_of_other_formats_and_sums_are_the_units(default_tile: Tile) -> None:
    compute = default_tile.description.compute
    sums = [default_tile.description.model_copy(update={"compute": compute.model_copy(
        update=values)}) for values in ({"accumulation": "aligned", "accumulation_bits": 14},
                                        {"accumulation": "fp32-tree"})]
    tiles = [*(load_tile(PROJECT / "tiles" / f"{name}.toml")
               for name in ("hbm3_mxfp6", "hbm3_uint4_fp8", "hbm3_nvfp4", "hbm3_mxfp8_mxfp4")),
             *(Tile(description=description) for description in sums)]
    units = {name: params for tile in tiles for name, params in tile.units.items()
             if name not in default_tile.units}
    shown = {name: latency for name, _, latency in table(
        "architecture.md", "unit of other formats and sums")}
    assert shown == {name: str(getattr(params, "LATENCY", "")) for name, params in units.items()}


def test_beats_hold_what_the_table_says() -> None:
    formats = {16: "fp16", 8: "e4m3", 6: "e2m3", 4: "e2m1"}
    rows = dict((name, cells) for name, *cells in table("architecture.md",
                                                        "of a beat, with atoms of 32 bytes"))
    for place, weights in enumerate(formats):
        lanes = lanes_of(256, FORMATS[formats[weights]])
        assert rows["lanes"][place] == str(lanes)
        assert rows["atoms of weights"][place] == f"{lanes * weights / 256:g}"
        for bits in formats:
            assert rows[f"atoms of activations of {bits} bits"][place] == (
                f"{lanes * bits / 256:g}" if bits >= weights else "not allowed")
        for group in (16, 32):
            assert rows[f"groups of {group}"][place] == str(max(1, lanes // group))


def test_the_share_of_scales_is_that_of_the_streams() -> None:
    rows = table("architecture.md", "description")
    names = {row[0] for row in rows}
    assert {"hbm3_mxfp6", "hbm3_nvfp4", "hbm3_uint4_fp8", "hbm3_mxfp8_mxfp4"} <= names
    # Of two pairs of formats, each has a row, in their order.
    tiles = {name: list(load_tile(PROJECT / "tiles" / f"{name}.toml").formats) for name in names}
    for name, formats, scales, group, weight_rows, share in rows:
        tile = tiles[name].pop(0)
        fmt, scaling = tile.weight_format, tile.description.scaling
        assert formats == f"{fmt.name.upper()} by {tile.activation_format.name.upper()}"
        assert scales.partition(",")[0] == tile.scale_format.name.upper()
        assert [int(group), int(weight_rows)] == [scaling.group, scaling.weight_rows]
        block = tile.rows_per_block
        stream = tile.weight_stream_atoms(block, 4096)
        assert share == f"{100 * (1 - tile.weight_atoms(block, 4096) / stream):.2f} %"
    assert not any(tiles.values())


def test_the_keys_of_the_tensor_units_are_the_descriptions() -> None:
    sections = {"quantize": Quantize(), "reduce": Reduce(), "transpose": Transpose(),
                "convert": Convert()}
    keys = [key for key in description_keys().values() if key.name.partition(".")[0] in sections]
    rows = {name: (default, allowed) for name, default, allowed, _ in table("architecture.md",
                                                                            "key")}
    assert list(rows) == [key.name for key in keys]
    for key in keys:
        section, _, field = key.name.partition(".")
        value = getattr(sections[section], field)
        default, allowed = rows[key.name]
        assert default == toml_value(list(value) if isinstance(value, tuple) else value)
        assert allowed.replace("`", "") == (
            ", ".join(map(toml_value, key.choices)) if key.choices else key.allowed)


def test_the_units_of_tensors_are_listed(default_tile: Tile) -> None:
    tiles = [load_tile(PROJECT / "tiles" / f"{name}.toml")
             for name in ("hbm3_fp8_full", "hbm3_fp8_native_full")]
    others = {*default_tile.units, *NATIVE[0].units}
    assert [unit for unit, _ in table("architecture.md", "unit of tensors")] == list(
        dict.fromkeys(unit for tile in tiles for unit in tile.units if unit not in others))


def test_the_fields_of_commands_on_tensors_are_the_descriptors() -> None:
    opcodes = (Opcode.LOAD, Opcode.QUANTIZE, Opcode.REDUCE, Opcode.TRANSPOSE, Opcode.COPY,
               Opcode.MAP)
    assert table("tensors.md", "field") == [
        [field.name, *("yes" if opcode in field.used_by else "" for opcode in opcodes)]
        for field in FIELDS
        if field.name not in ("opcode", "tag") and {*opcodes} & {*field.used_by}]


def test_the_values_of_fields_are_the_commands() -> None:
    values = [list(kind) for kind in FIELD_VALUES.values()]
    assert table("tensors.md", "value") == [
        [str(number), *(kind[number].name if number < len(kind) else "" for kind in values)]
        for number in range(max(map(len, values)))]


def test_the_checks_are_listed_in_their_order() -> None:
    assert [row[0] for row in table("tensors.md", "error")] == [
        code.name for code in ErrorCode if ErrorCode.NONE < code <= ErrorCode.OVERLAP]


def test_the_apertures_are_the_host_ports() -> None:
    port: HostPortParams = load_tile(PROJECT / "tiles" / "hbm3_fp8_native_full.toml").host_port
    shown = {name: int(base.replace("_", ""), 0) for name, base, _ in table("memory.md",
                                                                           "aperture")}
    assert shown == {one.name.lower(): port.aperture_base(one) for one in Aperture}


@pytest.mark.parametrize("image", sorted((PROJECT / "docs" / "images").glob("*.svg")),
                         ids=lambda path: path.name)
def test_images_are_whole_and_say_what_they_show(image: Path) -> None:
    root = ElementTree.parse(image).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    assert root.findtext(f"{name}title") and root.findtext(f"{name}desc")
    # Links lead to nothing but other elements of the same image.
    assert not re.search('href="(?!#)', image.read_text(encoding="utf-8"))


NATIVE = [load_tile(PROJECT / "tiles" / f"{name}.toml")
          for name in ("hbm3_fp8_native", "hbm4_fp8_native")]


def controller_of(grade: str, ecc: Ecc = "none") -> MemoryControllerParams:
    found = load_grade(grade)
    return MemoryControllerParams(
        grade=found, refresh="per-bank" if found.per_bank_refresh else "all-bank", ecc=ecc)


def test_the_native_example_is_the_native_tile(tmp_path: Path) -> None:
    (example,) = blocks(PROJECT / "docs" / "memory.md", "toml")
    path = tmp_path / "my_tile.toml"
    path.write_text(example, encoding="utf-8")
    found, expected = load_tile(path), NATIVE[0]
    assert found.memory_controller == expected.memory_controller
    assert found.host_port == expected.host_port


def test_the_native_units_are_listed(default_tile: Tile, tmp_path: Path) -> None:
    beside = tmp_path / "t.toml"
    beside.write_text('name = "t"\n[memory]\ninterface = "native"\ngrade = "hbm2_2000"\n'
                      'ecc = "secded"\n', encoding="utf-8")
    shown = {unit: latency for unit, _, latency in table("memory.md", "unit")}
    units = {name: params for tile in (*NATIVE, load_tile(beside))
             for name, params in tile.units.items() if name not in default_tile.units}
    assert shown == {name: str(getattr(params, "LATENCY", "")) for name, params in units.items()}


def test_the_command_port_is_the_controllers() -> None:
    def members(params: MemoryControllerParams) -> list[tuple[str, str, str]]:
        found = {**command_members(params), **data_members(params)}
        return [(name, member.flow.name.lower(), str(member.shape))
                for name, member in found.items()]

    plain, protected = (members(controller_of("hbm3_6400")),
                        members(controller_of("hbm2_2000", "secded")))
    assert plain == [tuple(row[:3]) for row in table("memory.md", "signal")]
    assert [member for member in protected if member[0] not in dict(
        (name, way) for name, way, _ in plain)] == [
            tuple(row[:3]) for row in table("memory.md", "check bits")]


def test_the_command_codes_are_the_ports() -> None:
    (names,) = table("memory.md", "code")
    assert names[1:] == [command.name for command in DramCommand]
    assert [command.value for command in DramCommand] == list(range(len(DramCommand)))


def test_the_phases_are_the_controllers() -> None:
    def shown(params: MemoryControllerParams, command: DramCommand) -> str:
        return f"{params.phase(command)}{', alone' if params.exclusive(command) else ''}"

    rows = table("memory.md", "clock of")
    assert [row[0] for row in rows] == list(grade_names())
    for name, *row in rows:
        params = controller_of(name)
        assert row == [params.grade.organisation.command_buses, str(params.cycle_ck),
                       shown(params, DramCommand.RD), shown(params, DramCommand.ACT),
                       shown(params, DramCommand.PRE), str(params.read_latency)]
        assert shown(params, DramCommand.REFab) == shown(params, DramCommand.PRE)
        assert shown(params, DramCommand.WR) == shown(params, DramCommand.RD)


def test_what_a_pseudo_channel_can_give_is_what_explain_says(tmp_path: Path) -> None:
    def rates(grade: str, refresh: str) -> dict[tuple[str, str], str]:
        path = tmp_path / "t.toml"
        path.write_text(f'name = "t"\n[memory]\ninterface = "native"\ngrade = "{grade}"\n'
                        f'refresh = "{refresh}"\n', encoding="utf-8")
        return {(rate["quantity"], rate["unit"]): f"{rate['value']:.1f}"
                for rate in memory_explanation(load_tile(path))["rates"]
                if rate["value"] is not None}

    rows = table("memory.md", "grade")
    assert [row[0] for row in rows] == list(grade_names())
    for grade, *row in rows:
        all_bank = rates(grade, "all-bank")
        per_bank = rates(grade, "per-bank") if load_grade(grade).per_bank_refresh else {}
        assert row == [
            all_bank["peak of the data pins", "GB/s"], per_bank.get(("sequential read", "%"), ""),
            all_bank["sequential read", "%"], all_bank["random atoms", "%"]]


def test_the_numbers_of_the_scheduler_are_its_own() -> None:
    params = NATIVE[0].memory_controller
    own = {name: value for name, value in vars(command_scheduler).items()
           if name.isupper() and isinstance(value, int | float)}
    own["WRITES_TOGETHER"] = int(params.writes * own["WRITES_TOGETHER"])
    assert [int(value) for _, value, _ in table("memory.md", "what")] == [
        params.tile_reads, params.host_reads, params.writes, *own.values()]


@pytest.mark.parametrize("page", ["README.md", "docs/memory.md", "docs/commands.md"])
def test_the_timeout_is_the_tiles(page: str, default_tile: Tile) -> None:
    found = re.findall(r"(\d+) clock cycles", text_of(PROJECT / page))
    assert found == [str(default_tile.axi4.timeout_cycles)]


def test_the_address_map_is_drawn_from_the_grade() -> None:
    for name, text in (("address_map", address_map(load_grade(GRADE))),
                       ("memory", memory_parts()), ("tensors", tensor_parts())):
        assert (IMAGES / f"{name}.svg").read_text(encoding="utf-8") == text, (
            "python -m benchmarks.figures")


@pytest.mark.cosim
def test_the_timing_diagrams_are_what_the_controller_does() -> None:
    trace = sequential_read(load_grade(GRADE), ATOMS)
    for name, text in figures(trace).items():
        assert (IMAGES / name).read_text(encoding="utf-8") == text, "python -m benchmarks.figures"

    # What the diagrams show, and the text says of them.
    timing = load_grade(GRADE).timing
    change, refresh = row_change_window(trace), refresh_window(trace)
    for window in (change, refresh):
        reads = [one.ck for one in trace if one.command in (DramCommand.RD, DramCommand.RDA)
                 and window.shows(one.ck, one.ck + 1)]
        assert set(np.diff(reads)) == {timing.nBL}
    last = max(one.ck for one in trace if one.command is DramCommand.RDA
               and (one.stack_id, one.bank) == change.sets[0] and change.shows(one.ck, one.ck + 1))
    opened = [one.ck for one in trace if one.command is DramCommand.ACT
              and (one.stack_id, one.bank) == change.sets[1] and change.shows(one.ck, one.ck + 1)]
    assert len(opened) == 4 and max(opened) < last
    refreshed = [one.ck for one in trace if one.command is DramCommand.REFpb
                 and (one.stack_id, one.bank) == refresh.sets[0]][:4]
    assert set(np.diff(refreshed)) == {timing.nRREFD}

    lines = re.findall(r"^ {4}(\d+,[A-Z].*)$", text_of(PROJECT / "docs" / "memory.md"),
                       re.MULTILINE)
    assert lines and set(lines) <= {one.line() for one in trace}
