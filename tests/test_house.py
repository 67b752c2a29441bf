"""The house: who imports whom, what modules list, and that every unit has its twins."""

import ast
from functools import cache
from pathlib import Path

import pytest

from spec.load import load_tile
from spec.trial import BAUD, Trial
from tests.conftest import DESCRIPTIONS, PROJECT

# Which folders a folder may import.
ARROWS = {
    "spec": set(),
    "golden": {"spec"},
    "hdl": {"spec"},
    "host": {"spec", "golden"},
    "tb": {"spec", "golden", "host"},
    "tools": {"spec", "golden", "hdl", "host", "tb"},
    "benchmarks": {"spec", "golden", "hdl", "host", "tb", "tools", "examples"},
    "examples": {"spec", "golden", "hdl", "host", "tb", "tools"},
}

# Units that compute numbers: each has a golden model of its own name.
ARITHMETIC = ("decoder", "subword_decoder", "zero_subtractor", "dot_array", "subword_dot_array",
              "block_dot_array", "aligned_dot_array", "fp32_dot_array", "fp32_rounder",
              "fp32_multiplier", "fp32_adder", "scale_combiner", "group_scaler", "row_accumulator",
              "column", "result_packer")

# Components that mean little without the others of their unit: each is a part of that unit, whose
# bench proves all of them.
PARTS = {
    "adder_tree": "reducer",
    "bank_state": "memory_controller",
    "chain_sum": "reducer",
    "code_caster": "quantizer",
    "column_arbiter": "memory_controller",
    "command_scheduler": "memory_controller",
    "fixed_sum": "reducer",
    "fp32_squarer": "reducer",
    "maximum_tree": "reducer",
    "positive_adder": "reducer",
    "reduction_packer": "tile",
    "refresh_scheduler": "memory_controller",
    "region_joiner": "tile",
    "running_maximum": "reducer",
    "scale_maker": "quantizer",
    "square_pair": "reducer",
    "tensor_beats": "tile",
    "tensor_engine": "tile",
    "tensor_path": "tile",
    "tensor_reads": "tile",
    "tensor_unit": "tile",
    "tensor_writes": "tile",
    "window_config": "cast_window",
    "window_filler": "cast_window",
    "window_planner": "cast_window",
    "window_store": "cast_window",
    "write_buffer": "memory_controller",
    "write_watch": "cast_window",
}

MODULES = sorted(path for folder in ARROWS for path in (PROJECT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@cache
def _units() -> set[str]:
    """The units of all tiles of the suite, and those of trial designs."""
    tiles = [load_tile(path) for path in DESCRIPTIONS]
    return {"tile", *(unit for tile in tiles for unit in tile.units),
            *Trial(tile=tiles[2], clock_hz=25_000_000, baud=BAUD).units}


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imported(path: Path) -> set[str]:
    """Folders of ours that a module imports, at its top or later."""
    found = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno}: imports are absolute"
            assert all(alias.name != "*" for alias in node.names), f"{_name(path)}: import *"
            found.add((node.module or "").partition(".")[0])
    return found & (set(ARROWS) | {"tests"})


def _listed(path: Path) -> list[str] | None:
    """The names in a module's ``__all__``; None when it has none."""
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__"
                for target in node.targets):
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return None


def test_the_house_is_furnished() -> None:
    assert {path.relative_to(PROJECT).parts[0] for path in MODULES} == set(ARROWS)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    folder = path.relative_to(PROJECT).parts[0]
    assert _imported(path) - {folder} <= ARROWS[folder]


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py"],
                         ids=_name)
def test_modules_list_their_names(path: Path) -> None:
    listed = _listed(path)
    assert listed is not None, f"{_name(path)} has no __all__"
    defined = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            defined |= {alias.asname or alias.name for alias in node.names}
    assert set(listed) <= defined


@pytest.mark.parametrize("folder", ARROWS)
def test_folders_are_regular_packages(folder: str) -> None:
    assert (PROJECT / folder / "__init__.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(_parsed(path))


def test_every_unit_has_its_rtl_and_its_bench() -> None:
    missing = [f"{folder}/{unit}.py" for unit in _units() for folder in ("hdl", "tb")
               if not (PROJECT / folder / f"{unit}.py").is_file()]
    assert not missing


def test_every_component_is_a_unit_or_a_part_of_one() -> None:
    components = {path.stem for path in (PROJECT / "hdl").glob("*.py")
                  for node in _parsed(path).body if isinstance(node, ast.ClassDef)
                  and any(ast.unparse(base) == "wiring.Component" for base in node.bases)}
    assert not _units() & set(PARTS)
    assert components == _units() | set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_in_its_unit_alone(part: str) -> None:
    """The unit makes its parts, itself or through other parts of it; nothing else does."""
    unit = PARTS[part]
    name = "".join(word.capitalize() for word in part.split("_"))
    users = {path.stem for path in (PROJECT / "hdl").glob("*.py")
             for node in _parsed(path).body if isinstance(node, ast.ImportFrom)
             and node.module == f"hdl.{part}" and name in {alias.name for alias in node.names}}
    assert users and users <= {unit, *(other for other, of in PARTS.items() if of == unit)}


def test_every_arithmetic_unit_has_a_golden_model() -> None:
    assert set(ARITHMETIC) <= _units()
    missing = [unit for unit in ARITHMETIC if not (PROJECT / "golden" / f"{unit}.py").is_file()]
    assert not missing


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-real.lock"])
def test_locks_name_no_place(lock: str) -> None:
    text = (PROJECT / lock).read_text(encoding="utf-8")
    assert "--hash=sha256:" in text
    assert not [line for line in text.splitlines() if "://" in line or "file:" in line
                or line.startswith(("-i", "--index", "--extra-index", "--find-links", "/"))]
