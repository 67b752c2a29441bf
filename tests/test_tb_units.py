"""Every unit's bench on its RTL, with the parameters of every description of the suite."""

from pathlib import Path

import pytest

from spec.load import load_tile
from spec.tile import Tile
from tests.conftest import DESCRIPTIONS, PROJECT
from tools.benches import UNITS, UnitRun, run_unit, units_of

pytestmark = pytest.mark.cosim

SEED = 1


def _cases() -> dict[tuple[str, str], Tile]:
    """One tile for each unit with each of its different sets of parameters, longest first."""
    cases: dict[tuple[str, str], Tile] = {}
    tiles = [(tile, tile.units | {"tile": tile}) for tile in map(load_tile, DESCRIPTIONS)]
    for unit in reversed(UNITS):
        for tile, records in tiles:
            if unit in records:
                cases.setdefault((unit, records[unit].model_dump_json()), tile)
    # Packed weights by activations that are whole atoms; integers of less than 8 bits, and of two
    # formats.
    more = {"mxfp6_fp8": ("tile",), "int4": ("dot_array",), "uint4_int8": ("dot_array", "tile"),
            "int8_int4": ("subword_decoder", "subword_dot_array", "column", "command_checker",
                          "sequencer", "tile")}
    for name, units in more.items():
        tile = load_tile(PROJECT / "tests" / "descriptions" / f"{name}.toml")
        records = tile.units | {"tile": tile}
        cases |= {(unit, records[unit].model_dump_json()): tile for unit in units}
    return cases


CASES = _cases()


def _failures(run: UnitRun) -> str:
    """What to read when a bench fails."""
    failed = [f"{name}: {text.strip()}" for name, text in run.tests.items() if text is not None]
    return "\n".join([f"tb.{run.unit} with seed {run.seed}; log: {run.log}",
                      *(failed or ["no test ran"])])


@pytest.mark.parametrize(("unit", "tile"),
                         [(unit, tile) for (unit, _), tile in CASES.items()],
                         ids=[f"{unit}-{tile.name}" for (unit, _), tile in CASES.items()])
def test_bench_passes(unit: str, tile: Tile) -> None:
    run = run_unit(tile, unit, SEED)
    assert run.passed, _failures(run)


def test_every_unit_has_a_case() -> None:
    assert {unit for unit, _ in CASES} == set(UNITS)
    for unit in UNITS:
        sets = len([name for name, _ in CASES if name == unit])
        # Units without parameters have one set; those with a format alone, one per format; those of
        # ECC, one per tile that has it.
        few = {"fp32_adder": 1, "fp32_multiplier": 1, "row_accumulator": 1, "scale_combiner": 2,
               "group_scaler": 2, "secded_encoder": 1, "secded_decoder": 2, "inline_ecc": 1,
               "quantizer": 2, "row_packer": 2, "converter": 2, "reducer": 2, "transposer": 2,
               "tensor_checker": 2, "cast_window": 1, "aligned_dot_array": 1, "fp32_dot_array": 1,
               "block_dot_array": 1, "zero_subtractor": 1, "gearbox": 1,
               "subword_decoder": 2, "subword_dot_array": 2}
        assert sets >= few.get(unit, 3), unit


def test_units_are_those_of_the_tile(tile: Tile) -> None:
    assert set(units_of(tile)) == {*tile.units, "tile"}


def test_a_unit_that_the_tile_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^smallest has no unit bank_queues; its units are "
                                         r"decoder, .*, tile$"):
        run_unit(load_tile(DESCRIPTIONS[2]), "bank_queues", SEED)


def test_benches_draw_from_the_printed_seed_alone() -> None:
    generators = [(path.name, line.strip()) for path in sorted((PROJECT / "tb").glob("*.py"))
                  for line in path.read_text(encoding="utf-8").splitlines()
                  if "Random(" in line or "default_rng(" in line]
    assert len(generators) > 10
    wrong = [f"{file}: {line}" for file, line in generators
             if "bench_seed()" not in line and "bench.rng." not in line]
    assert not wrong


def test_failures_name_the_test_and_the_log() -> None:
    run = UnitRun("decoder", {"a": None, "b": "it broke"}, 7, 0.1, Path("/x/simulation.log"))
    assert not run.passed
    assert _failures(run) == ("tb.decoder with seed 7; log: /x/simulation.log\nb: it broke")
    assert not UnitRun("decoder", {}, 7, 0.1, Path("/x")).passed


def test_a_seed_repeats_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = load_tile(DESCRIPTIONS[2])

    def times(seed: int, hash_seed: str) -> list[str]:
        """The simulated times at which the tests ended: gaps and stalls are random."""
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        log = run_unit(tile, "skid_buffer", seed).log.read_text(encoding="utf-8")
        return [line.split(" INFO ")[0] for line in log.splitlines() if " passed" in line]

    first = times(11, "1")
    assert len(first) > 10
    assert times(11, "2") == first
    assert times(12, "1") != first
