"""Large counts, which no simulation of the unit as it is could reach."""

from pathlib import Path

import pytest

from hdl.register_file import RegisterFile
from hdl.verilog import unit_verilog
from spec.registers import COUNTERS
from spec.tile import Tile
from tb.simulator import build_simulation, run_simulation

# A little before the low half carries into the high one.
START = 0x1_FFFF_FFE0


@pytest.mark.cosim
def test_counters_carry_into_their_high_half(default_tile: Tile, tmp_path: Path) -> None:
    params = default_tile.register_file
    verilog = unit_verilog(RegisterFile(params), "register_file")
    # Each counter's first value, its value after reset and its value after a clear.
    zero = f"64'h{0:016x}"
    assert verilog.count(zero) == 3 * len(COUNTERS)
    executable = build_simulation(verilog.replace(zero, f"64'h{START:016x}"), "register_file")
    result = run_simulation(
        executable, "tb.register_file", seed=1, folder=tmp_path,
        environment={"PNMTILE_PARAMS": params.model_dump_json(),
                     "PNMTILE_COUNTER_START": str(START)})
    assert result.passed, result.tests


@pytest.mark.cosim
def test_corrected_words_stay_at_the_largest_count(default_tile: Tile, tmp_path: Path) -> None:
    params = default_tile.register_file
    verilog = unit_verilog(RegisterFile(params), "register_file")
    # What the count becomes when cleared, in both of its uses: the sum and its carry.
    cleared = "32'd0 : ecc_corrected;"
    assert verilog.count(cleared) == 2
    start = (1 << 32) - 40
    executable = build_simulation(verilog.replace(cleared, f"32'd{start} : ecc_corrected;"),
                                  "register_file")
    result = run_simulation(
        executable, "tb.register_file", seed=1, folder=tmp_path,
        environment={"PNMTILE_PARAMS": params.model_dump_json(),
                     "PNMTILE_CORRECTED_START": str(start)})
    assert result.passed, result.tests
