"""The treemap: areas in proportion, whole and inside, the same bytes every time."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest

from tests.conftest import PROJECT
from tools.pdk import embedded_library
from tools.synthesis import netlist_report
from tools.synthesis_report import UnitArea
from tools.treemap import treemap


def cells(kind, count):
    return {f"{kind}{number}": {"type": kind, "connections": {}, "port_directions": {}}
            for number in range(count)}


def design():
    """A top with 30 inverters, a unit of 100 NAND2, and two of 20 flops with 10 NOR2 inside."""
    child = {"type": "leaf", "connections": {}}
    return {"creator": "by hand", "modules": {
        "top": {"ports": {}, "netnames": {}, "cells": {
            **cells("INV_X1", 30), "big": {"type": "big", "connections": {}},
            "p": {"type": "pair", "connections": {}}, "q": {"type": "pair", "connections": {}}}},
        "big": {"ports": {}, "netnames": {}, "cells": cells("NAND2_X1", 100)},
        "pair": {"ports": {}, "netnames": {}, "cells": {**cells("DFF_X1", 20), "u": child}},
        "leaf": {"ports": {}, "netnames": {}, "cells": cells("NOR2_X1", 10)}}}


def report():
    return netlist_report(design(), "top", embedded_library(), 100.0)


def boxes(text):
    """Name to corner, width and height, in the order of drawing."""
    root = ElementTree.fromstring(text)
    space = {"svg": "http://www.w3.org/2000/svg"}
    return [(rect.findtext("svg:title", namespaces=space),
             *(float(rect.get(name)) for name in ("x", "y", "width", "height")))
            for rect in root.findall("svg:rect", space)
            if rect.find("svg:title", space) is not None]


def test_areas_are_in_proportion():
    area = {title: width * height for title, _, _, width, height in boxes(treemap(report()))}
    assert list(area)[:1] == ["p x 2: 247 GE"]
    top = {"p x 2: 247 GE": 2 * (20 * 17 / 3 + 10), "big: 100 GE": 100, "top: 20 GE": 20}
    whole = sum(area[title] for title in top)
    for title, size in top.items():
        assert area[title] / whole == pytest.approx(size / sum(top.values()), rel=0.01)


def test_boxes_lie_inside_theirs_and_beside_each_other():
    found = boxes(treemap(report()))
    outer = [box for box in found if box[0] in ("p x 2: 247 GE", "big: 100 GE", "top: 20 GE")]
    inner = [box for box in found if box[0] in ("u x 2: 20 GE", "own logic: 227 GE")]
    assert (len(outer), len(inner)) == (3, 2)
    for group in (outer, inner):
        for (_, x, y, width, height), (_, u, v, wide, high) in combinations(group, 2):
            assert (x + width <= u + 0.2 or u + wide <= x + 0.2 or y + height <= v + 0.2
                    or v + high <= y + 0.2)
    _, x, y, width, height = outer[0]
    for _, u, v, wide, high in inner:
        assert x < u and u + wide < x + width and y < v and v + high < y + height


def test_memories_are_hatched():
    found = report()
    row = UnitArea(**{**found.units[1].__dict__, "own_memory_ge": 50.0, "total_memory_ge": 50.0})
    text = treemap(type(found)(**{**found.__dict__, "units": (found.units[0], row)}))
    assert text.count('fill="url(#memory)"') == 1
    assert "memory: 50 GE" in text
    assert 'fill="url(#memory)"' not in treemap(found)


def test_the_same_report_gives_the_same_bytes_with_any_hash_seed():
    program = ("from tests.test_tools_treemap import report; from tools.treemap import treemap; "
               "from tests.test_tools_timing import timed; from dataclasses import replace; "
               "from tools.synthesis_report import text_report; "
               "one = replace(report(), timing=timed(100.0, False)); "
               "print(treemap(one), one.to_json(), text_report(one))")
    texts = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                            text=True, cwd=PROJECT,
                            env={**os.environ, "PYTHONHASHSEED": seed}).stdout
             for seed in ("1", "2")}
    assert len(texts) == 1
    assert "<svg" in texts.pop()
