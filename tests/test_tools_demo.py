"""The demo's own part: what it does with what the verbs answer. `make demo` runs the verbs."""

import json
import sys

import pytest

from tools import demo
from tools.cli import HELD, INTERRUPTED, NOT_HELD, WRONG_INPUT


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.signal, "signal", lambda *arguments: None)


def verbs(monkeypatch, **codes):
    """Stand-ins of the verbs: they answer as if all went well, or end with the given code."""
    called = []

    def run_command(arguments):
        verb = arguments[0]
        called.append(verb)
        assert arguments[-1] == "--json"
        if verb == "run":
            engine = arguments[arguments.index("--engine") + 1]
            place = arguments[arguments.index("--out") + 1]
            with open(place, "wb") as file:
                file.write(b"same" if engine not in codes else b"different")
        json.dump({
            "needs": [{"found": "1.0"}, {"found": None}], "files": ["a.v"],
            "units": [{"tests": [1, 2]}], "cycles": 70000, "bandwidth_share": 0.5,
            "area": {"logic": {"value": 1.0, "unit": "GE"}, "memory_bits": {"value": 8}},
            "delay": {"value": 2.0, "unit": "FO4", "slowest_unit": "top.column_0.dot_array"},
        }, sys.stdout)
        return codes.get(verb, HELD)

    monkeypatch.setattr(demo, "run_command", run_command)
    return called


def test_all_steps_run_and_are_shown(monkeypatch, capsys):
    called = verbs(monkeypatch)
    assert demo.main() == HELD
    assert called == ["doctor", "generate", "verify", "run", "run", "synth"]
    captured = capsys.readouterr()
    assert captured.out == ""
    for fact in ("1 of 2 packages", "1 units, 2 tests", "70,000 cycles", "50.00% of the pins",
                 "1 GE of logic", "2.0 FO4 in", "every step held"):
        assert fact in captured.err


@pytest.mark.parametrize("verb", ["doctor", "generate", "verify", "run", "synth"])
@pytest.mark.parametrize("code", [NOT_HELD, WRONG_INPUT])
def test_a_step_that_does_not_hold_ends_the_demo(verb, code, monkeypatch, capsys):
    called = verbs(monkeypatch, **{verb: code})
    assert demo.main() == NOT_HELD
    assert called[-1] == verb
    assert (f"demo: step {verb} did not hold: pnmtile {verb} ended with exit code {code}"
            in capsys.readouterr().err)


def test_results_that_differ_end_the_demo(monkeypatch, capsys):
    verbs(monkeypatch, rtl=None)
    assert demo.main() == NOT_HELD
    assert "results_rtl.npy differs from" in capsys.readouterr().err.replace("\n", " ")


def test_an_interruption_ends_with_130(monkeypatch):
    called = verbs(monkeypatch, verify=INTERRUPTED)
    assert demo.main() == INTERRUPTED
    assert called[-1] == "verify"
