"""The bench of the inline check bits with parameters that no description has, and its mutations."""

from pathlib import Path

import pytest

from hdl.inline_ecc import InlineEcc
from hdl.verilog import unit_verilog
from spec.memory_units import InlineEccParams
from tb.simulator import build_simulation, run_simulation

pytestmark = pytest.mark.cosim

SMALLEST = InlineEccParams(index_bits=7, atom_bits=64, bank_low=3, bank_bits=0, tile_reads=3,
                           host_reads=2, writes=2, buckets=2)
ODD = InlineEccParams(index_bits=11, atom_bits=256, bank_low=5, bank_bits=2, tile_reads=21,
                      host_reads=16, writes=16, buckets=8)


def _run(params: InlineEccParams, folder: Path, *changes: tuple[str, str]) -> dict[str, str | None]:
    verilog = unit_verilog(InlineEcc(params), "inline_ecc")
    for before, after in changes:
        assert before in verilog, f"no such line: {before}"
        verilog = verilog.replace(before, after)
    return run_simulation(build_simulation(verilog, "inline_ecc"), "tb.inline_ecc", seed=1,
                          folder=folder,
                          environment={"PNMTILE_PARAMS": params.model_dump_json()}).tests


@pytest.mark.parametrize("params", [SMALLEST, ODD], ids=["smallest", "odd"])
def test_bench_passes(params: InlineEccParams, tmp_path: Path) -> None:
    found = _run(params, tmp_path)
    assert len(found) > 10 and not any(found.values()), found
