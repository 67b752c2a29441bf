"""The comparison of the embedded library with real ones: ratios, goals, and a missing kit."""

import pytest

from benchmarks.libraries import compare, measure
from tools.pdk import embedded_library
from tools.synthesis import netlist_report


def units(nands, flops):
    """The rows of a top with a unit ``big`` of NAND2 and flops, and ``small`` of ten inverters."""
    def cells(kind, count):
        return {f"{kind}{number}": {"type": kind, "connections": {}, "port_directions": {}}
                for number in range(count)}

    def module(found):
        return {"ports": {}, "netnames": {}, "cells": found}

    modules = {"top": module({"big": {"type": "big", "connections": {}},
                              "small": {"type": "small", "connections": {}}}),
               "big": module({**cells("NAND2_X1", nands), **cells("DFF_X1", flops)}),
               "small": module(cells("INV_X1", 10))}
    return netlist_report({"creator": "by hand", "modules": modules}, "top", embedded_library(),
                          100.0).units


def test_a_unit_is_compared_by_its_own_area_and_small_ones_are_left_out():
    rows = compare("t", units(90, 3), units(100, 3))
    assert [line["quantity"] for line in rows] == ["t, logic", "t, big alone"]
    assert rows[1]["value"] == pytest.approx((90 + 17) / (100 + 17))
    assert [line["goal"] for line in rows] == ["0.85 to 1.15"] * 2
    assert [line["holds"] for line in rows] == [True, True]


@pytest.mark.parametrize(("nands", "holds"), [(70, False), (86, True), (114, True), (130, False)])
def test_the_goal_is_within_fifteen_percent(nands, holds):
    assert compare("t", units(nands, 0), units(100, 0))[1]["holds"] is holds


def test_without_the_kit_there_is_no_ratio(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    (line,) = measure("planar")
    assert (line["value"], line["holds"]) == (None, None)
    assert "the library nangate45 was not found" in capsys.readouterr().err
