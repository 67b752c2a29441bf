"""The high halves of the counters, which no simulation of the unit as it is could reach."""

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
