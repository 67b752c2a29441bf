"""``pnmtile trial`` against the simulated design, through a pseudo-terminal."""

import json
import os
import pty
import random
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial

from host.serial_link import SerialLink, pack_frame
from spec.load import load_tile
from spec.trial_units import Operation
from tests.conftest import PROJECT
from tests.run_verb import save
from tools.cli import HELD, NOT_HELD, WRONG_INPUT, run_command
from tools.trial_simulation import simulated_port

SMALL = PROJECT / "tests" / "descriptions" / "trial.toml"
SMALLEST = PROJECT / "tests" / "descriptions" / "smallest.toml"
TILE = load_tile(SMALL)

cosim = pytest.mark.cosim


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One simulation for all tests here that can share it."""
    with simulated_port(TILE) as name:
        yield name


class _Trial:
    """Runs the verb in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self.capsys, self.err = capsys, ""

    def __call__(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        code = run_command(["trial", *map(str, arguments), "--json"])
        said = self.capsys.readouterr()
        self.err = said.err
        return code, json.loads(said.out) if said.out else {}


@pytest.fixture
def trial(capsys: pytest.CaptureFixture[str]) -> _Trial:
    """The verb."""
    return _Trial(capsys)


def _operations(answer: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Results compared and different of each operation."""
    return {one["operation"]: (one["results"], one["results_different"])
            for one in answer["operations"]}


@cosim
def test_every_bit_is_the_golden_models(trial: _Trial) -> None:
    code, answer = trial(SMALL, "--simulate", "--seed", "3")
    assert code == HELD and answer["held"]
    assert answer["origin"] == "simulated" and answer["seed"] == 3
    # 16 rows of 2 vectors; codes and scales of 16 rows.
    assert _operations(answer) == {"gemv": (32, 0), "quantize": (16 * 64 + 16 * 4, 0)}
    gemv, quantize = answer["operations"]
    assert gemv["cycles"] > gemv["atoms_read"] > 0 and quantize["atoms_written"] > 0
    assert "trial of trial_small (simulated)" in trial.err and "passed" in trial.err


@cosim
def test_a_tile_without_quantizer_runs_gemv(trial: _Trial) -> None:
    code, answer = trial(SMALLEST, "--simulate")
    assert code == HELD
    gemv, quantize = answer["operations"]
    assert gemv["held"] and gemv["results"] == 16
    assert quantize == {"operation": "quantize", "held": None,
                        "reason": "the tile has no quantizer ([quantize])"}


@cosim
def test_files_are_taken_as_run_takes_them(trial: _Trial, port: str, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    save(W=rng.standard_normal((5, 40), np.float32), X=rng.standard_normal((3, 40), np.float32),
         B=rng.integers(0, 1 << 16, (2, 33), np.uint16))
    code, answer = trial(SMALL, "--port", port, "--weights", "W.npy", "--activations", "X.npy",
                         "--input", "B.npy")
    assert code == HELD, trial.err
    # Three vectors take two passes.
    assert _operations(answer) == {"gemv": (15, 0), "quantize": (2 * 33 + 2 * 3, 0)}
    assert answer["origin"] == "measured" and answer["port"] == port


@cosim
def test_garbage_and_broken_frames_before_a_request_do_no_harm(port: str) -> None:
    rng = random.Random(7)
    with serial.Serial(port, 1_000_000) as line:
        link = SerialLink(line, TILE, timeout_s=10.0)
        link.hello()
        link.write_memory(0, bytes(range(64)))
        write = pack_frame(bytes([200, Operation.WRITE_MEMORY]) + bytes(4) + bytes(16))
        for garbage in (rng.randbytes(500), write[:-2], write[:9], write[:1], write[1:-3],
                        b"\xc0\xdb", rng.randbytes(40) + b"\xc0\xc0"):
            line.write(garbage)
            assert link.read_memory(0, 64) == bytes(range(64))
        assert link.repeated <= 7


@cosim
def test_a_wrong_bit_is_noticed(trial: _Trial, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = SerialLink.read_memory

    def flipped(link: SerialLink, address: int, size: int) -> bytes:
        data = bytearray(read(link, address, size))
        # The last row's last result, or scale.
        used = max(place for place, byte in enumerate(data) if byte)
        data[used] ^= 0x10
        return bytes(data)

    monkeypatch.setattr(SerialLink, "read_memory", flipped)
    code, answer = trial(SMALL, "--port", port)
    assert code == NOT_HELD and answer["held"] is False
    assert _operations(answer) == {"gemv": (32, 1), "quantize": (1088, 1)}
    assert all(one["bytes_different"] == 1 for one in answer["operations"])
    assert "FAILED" in trial.err


@cosim
def test_a_wrong_byte_outside_the_results_is_noticed(
        trial: _Trial, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = SerialLink.read_memory
    monkeypatch.setattr(SerialLink, "read_memory", lambda link, address, size: bytes(
        [read(link, address, size)[0] ^ 1]) + read(link, address, size)[1:])
    code, answer = trial(SMALL, "--port", port)
    assert code == NOT_HELD
    assert _operations(answer) == {"gemv": (32, 0), "quantize": (1088, 0)}
    assert all(not one["held"] for one in answer["operations"])


@cosim
def test_another_tile_is_refused(trial: _Trial, port: str, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(SMALL.read_text().replace("48.0", "24.0"))
    code, answer = trial(other, "--port", port)
    assert code == NOT_HELD and not answer["operations"]
    assert "but trial_small has" in trial.err and "another description" in trial.err
    assert "load the bitstream that `pnmtile fpga` makes of this description" in trial.err
    code, answer = trial(SMALLEST, "--port", port)
    assert code == NOT_HELD
    assert "the design has atoms of 16 bytes, smallest of 8" in trial.err


def test_a_silent_port_is_told(trial: _Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.trial._BOARD_S", 0.05)
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    try:
        code, answer = trial(SMALL, "--port", os.ttyname(theirs))
    finally:
        os.close(ours)
        os.close(theirs)
    assert code == NOT_HELD and answer["held"] is False and answer["operations"] == []
    message = answer["problems"][0]["message"]
    assert message.startswith("no answer to HELLO within 0.05 s, sent 3 times; is it the board's "
                              "port, and was the bitstream of `pnmtile fpga` loaded?")


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "name the board's port with --port, e.g. --port /dev/ttyUSB0, or give --simulate"),
    (("--port", "x", "--simulate"), "or give --simulate, not both"),
    (("--port", "/dev/no_such_port"), "--port /dev/no_such_port cannot be opened: there is no such "
                                      "port; ports of this machine: "),
    (("--port", "/dev/null"), "--port /dev/null cannot be opened: "),
    (("--simulate", "--weights", "W.npy"), "--weights and --activations go together; only "
                                           "--weights was given"),
    (("--simulate", "--weight-scales", "S.npy"), "--weight-scales without --weights and "
                                                 "--activations: scales belong to codes"),
    (("--simulate", "--input", "no.npy"), "--input no.npy cannot be read"),
])
def test_wrong_options_are_told(trial: _Trial, arguments: tuple[str, ...], words: str) -> None:
    code, answer = trial(SMALL, *arguments)
    assert code == WRONG_INPUT
    assert words in answer["problems"][0]["message"]


def test_tensors_that_do_not_fit_are_told(trial: _Trial, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(W=np.ones((4, 32), np.float32), X=np.ones((1, 40), np.float32),
         B=np.zeros((3000, 16), np.uint16))
    for arguments, words in (
            (("--weights", "W.npy", "--activations", "X.npy"), "--weights has K = 32, "
             "--activations K = 40; they must agree"),
            (("--input", "B.npy"), "more than the 65536 that memory.address_bits = 16 can address"),
            (("--input", "W.npy"), "--input")):
        code, answer = trial(SMALL, "--simulate", *arguments)
        assert code == WRONG_INPUT
        assert words in answer["problems"][0]["message"]
    code, answer = trial(SMALLEST, "--simulate", "--input", "B.npy")
    assert code == WRONG_INPUT and "this tile has no quantizer" in trial.err


def test_a_native_tile_is_refused(trial: _Trial) -> None:
    code, answer = trial(PROJECT / "tiles" / "hbm3_fp8_native.toml", "--simulate")
    assert code == WRONG_INPUT
    assert answer["problems"][0]["message"] == (
        "no trial design of hbm3_fp8_native: hbm3_fp8_native controls its DRAM itself; a trial "
        'design needs memory.interface = "axi4"')
