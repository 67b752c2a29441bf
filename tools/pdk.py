"""Cell libraries by name: the embedded ones, and those of open process design kits on disk."""

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tools.console import UserError
from tools.generic_library import Calibration, generic_liberty
from tools.liberty import Library, parse_liberty, read_liberty

__all__ = ["Pdk", "embedded_library", "load_pdk", "pdk_files"]

Pdk = Literal["generic", "generic-finfet", "nangate45", "asap7", "sky130", "ihp-sg13g2", "gf180"]

_DATA = Path(__file__).resolve().parent / "data" / "pdks.toml"
# Version managers keep kits that are not enabled below one of these.
_VERSIONS = ("ciel", "volare")


def load_pdk(name: Pdk) -> Library:
    """Read the library of a kit, or make an embedded one.

    :Errors: ``UserError`` that says how to get the kit, when its files are not found.
    """
    if name == "generic" or name == "generic-finfet":
        return embedded_library(name)
    library = read_liberty(pdk_files(name), _kits()[name]["dont_use"])
    library.name = name  # The files of one library may each have a name of their own.
    return library


def embedded_library(calibration: Calibration = "generic") -> Library:
    """The library that belongs to no process."""
    library = parse_liberty([("the embedded library", generic_liberty(calibration))])
    library.technology = False
    return library


def pdk_files(name: str) -> tuple[Path, ...]:
    """The Liberty files of a kit, as PDK_ROOT and the layouts in ``data/pdks.toml`` have them.

    Without PDK_ROOT, the default folders of ciel and volare in the home directory are searched.

    :Errors: ``UserError`` that says where was looked and how to get the kit.
    """
    kit = _kits()[name]
    roots = _roots()
    for root in roots:
        for patterns in kit["files"]:
            for versions in _VERSIONS:
                found = [_matches(root, pattern.format(versions=versions)) for pattern in patterns]
                if "{versions}" in patterns[0] and len(found[0]) > 1:
                    raise UserError(
                        f"the library {name} lies below {root} in {len(found[0])} versions, and "
                        "none is enabled; choose one with: ciel enable, or give its files with "
                        "--liberty")
                if all(found):
                    return tuple(one[-1] for one in found)
    looked = ", ".join(str(root / kit["files"][0][0]) for root in roots)
    variable = "" if os.environ.get("PDK_ROOT") else "PDK_ROOT is not set; "
    raise UserError(f"the library {name} was not found; {variable}looked for {looked}(.gz) and "
                    f"other layouts; to get it: {kit['get']}; or give its files with --liberty")


def _matches(root: Path, pattern: str) -> list[Path]:
    return sorted([*root.glob(pattern), *root.glob(pattern + ".gz")])


def _roots() -> list[Path]:
    given = os.environ.get("PDK_ROOT")
    if given:
        return [Path(given), Path(given) / "flow" / "platforms"]
    return [Path.home() / f".{name}" for name in _VERSIONS]


@cache
def _kits() -> dict[str, Any]:
    return tomllib.loads(_DATA.read_text(encoding="utf-8"))
