"""The text of Liberty files: groups and attributes, and a copy without what is not needed.

Power tables, operating conditions, wire loads and cells marked ``dont_use`` are left out, also of
the copy: a library's default wire load would otherwise count silently in abc.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NoReturn

from tools.console import UserError

__all__ = ["Group", "UNUSED_CELL", "parse_groups"]

UNUSED_CELL = "unused cell"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\\\r?\n", re.DOTALL)
_STATEMENT = re.compile(r"""
    [\s;]*(?:
      (?P<close>\})
    | (?P<group>\w+)\s*\((?P<arguments>[^(){};]*)\)\s*\{
    | (?P<simple>\w+)\s*:\s*(?P<value>"[^"]*"|[^;\n{}]*)
    | (?P<complex>\w+)\s*\((?P<values>(?:"[^"]*"|[^"(){};]+)*+)\)
    )""", re.VERBOSE)
_BRACE = re.compile(r'"[^"]*"|[{}]')
_NEVER = (r"leakage_current|wire_load|wire_load_selection|wire_load_table|operating_conditions"
          r"|output_current_\w+|receiver_capacitance\w*|ccs\w*|ecsm\w*"
          r"|dynamic_current|intrinsic_parasitic|normalized_driver_waveform")
_DROPPED = re.compile(_NEVER + r"|internal_power|leakage_power|power_lut_template|pg_pin")
_DROPPED_WITH_POWER = re.compile(_NEVER)


@dataclass
class Group:
    """A Liberty group, ``kind (name) { ... }``: its attributes as text, and the groups inside."""

    kind: str
    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def get(self, name: str, default: str = "") -> str:
        """The last value of an attribute, without quotes around it."""
        return self.values[name][-1].strip().strip('"').strip() if name in self.values else default

    def of(self, *kinds: str) -> Iterator["Group"]:
        """The groups inside, of some kinds."""
        return (group for group in self.groups if group.kind in kinds)

    def numbers(self, name: str) -> tuple[float, ...]:
        """All numbers of an attribute that is a list."""
        return tuple(float(word) for word in re.split(r'[\s,"\\]+', self.get(name)) if word)


def parse_groups(file: str, text: str, dont_use: Sequence[str] = (),
                 power: Collection[str] | None = None) -> tuple[Group, str]:
    """Read one text; return its library group, and the text without what is left out.

    Cells whose names match a pattern of ``dont_use``, but none of those that begin with "!", become
    groups of the kind ``unused cell``. With ``power`` the group has the cells of these names only,
    and their power tables, too.

    :Errors: ``UserError`` with file and line where the text is no Liberty.
    """
    text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)
    if not re.match(r"\s*library\s*\(", text):
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        raise UserError(f"{file} is no Liberty file: it must begin with 'library (', "
                        f"not with {first[:40]!r}")
    dropped = _DROPPED if power is None else _DROPPED_WITH_POWER
    stack = [Group("file", file)]
    kept: list[str] = []  # The copy: pieces of the text up to ``copied``.
    cell_begins = copied = place = 0
    while match := _STATEMENT.match(text, place):
        place = match.end()
        if match["close"]:
            group = stack.pop()
            if not stack:
                _fail(file, text, place)
            if group.kind == "cell" and group.get("dont_use").lower() == "true":
                stack[-1].groups.pop()
                del kept[cell_begins:]
                copied = place
            elif group.kind == "cell" and _unused(group.name, dont_use):
                group.kind = UNUSED_CELL
                del kept[cell_begins:]
                copied = place
        elif match["group"]:
            name = match["arguments"].strip().strip('"')
            if match["group"] == "cell" or dropped.fullmatch(match["group"]):
                kept.append(text[copied:match.start()])
                copied = match.start()
            if dropped.fullmatch(match["group"]) or (
                    power is not None and match["group"] == "cell" and name not in power):
                copied = place = _skip(file, text, place)
                continue
            if match["group"] == "cell":
                cell_begins = len(kept)
            group = Group(match["group"], name)
            stack[-1].groups.append(group)
            stack.append(group)
        else:
            name = match["simple"] or match["complex"]
            value = match["value"] if match["simple"] else match["values"]
            stack[-1].values.setdefault(name, []).append(value)
            if name.startswith("default_wire_load"):
                kept.append(text[copied:match.start()] + ";")
                copied = place
    if text[place:].strip(" \t\r\n;"):
        _fail(file, text, place)
    if len(stack) != 1:
        raise UserError(f"{file} ends inside {stack[-1].kind} ({stack[-1].name}): "
                        "the file is cut short")
    return stack[0].groups[0], "".join([*kept, text[copied:]])


def _unused(name: str, dont_use: Sequence[str]) -> bool:
    return (any(fnmatchcase(name, one) for one in dont_use)
            and not any(fnmatchcase(name, one[1:]) for one in dont_use if one.startswith("!")))


def _skip(file: str, text: str, place: int) -> int:
    """The place behind the group that was opened before ``place``."""
    depth = 1
    for brace in _BRACE.finditer(text, place):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.end()
    raise UserError(f"{file} ends inside a group: the file is cut short")


def _fail(file: str, text: str, place: int) -> NoReturn:
    while place < len(text) and text[place] in " \t\r\n;":
        place += 1
    line = text.count("\n", 0, place) + 1
    found = text[place:place + 40].splitlines()[0]
    raise UserError(f"{file}:{line}: no Liberty: {found!r}; an attribute, a group or a closing "
                    "brace is needed")
