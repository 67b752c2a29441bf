"""The options of the verbs that map a tile to a cell library, and the library that they choose."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tools.console import UserError
from tools.liberty import Library, read_liberty, read_macros
from tools.pdk import Pdk, load_pdk, pdk_files
from tools.recipe import Effort

__all__ = ["DontUseOption", "EffortOption", "LibertyOption", "PdkOption", "chosen_library",
           "power_files"]

PdkOption = Annotated[Pdk | None, typer.Option(
    show_default="generic", help="Library by name: embedded (generic, generic-finfet), or of a "
    "process design kit below PDK_ROOT.")]
LibertyOption = Annotated[list[Path] | None, typer.Option(
    metavar="FILE", show_default=False,
    help="Liberty file of another library, or of memory macros (may be gzipped; may be given "
         "several times).")]
DontUseOption = Annotated[list[str] | None, typer.Option(
    metavar="PATTERN", show_default=False,
    help="Cells of --liberty not to be used, such as '*xp5*' (may be given several times).")]
EffortOption = Annotated[Effort, typer.Option(
    help="What the netlist is mapped for: the smallest, a compromise, the fastest.")]


def chosen_library(pdk: Pdk | None, liberty: Sequence[Path] | None,
                   dont_use: Sequence[str] | None) -> Library:
    """Read the library that the options name; the embedded one without any.

    :Errors: ``UserError`` for options that exclude each other, and for files that cannot be read.
    """
    if dont_use and (pdk or not liberty):
        raise UserError("--dont-use is about the cells of --liberty; give its files, and no --pdk")
    if liberty and pdk is None:
        return read_liberty(liberty, dont_use or ())
    library = load_pdk(pdk or "generic")
    read_macros(liberty or (), library)
    return library


def power_files(pdk: Pdk | None, liberty: Sequence[Path] | None) -> Sequence[Path]:
    """The Liberty files of the chosen library, for their power data.

    :Errors: ``UserError`` for an embedded library, which has none.
    """
    if pdk in (None, "generic", "generic-finfet"):
        if pdk is None and liberty:
            return liberty
        raise UserError("power needs the power data of a technology, which the embedded library "
                        "has not; name a kit with --pdk, or give the files of a cell library with "
                        "--liberty")
    assert pdk is not None
    return pdk_files(pdk)
