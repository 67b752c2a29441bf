"""RTLIL text: modules that are the same but for their names are kept once."""

import re

__all__ = ["merge_equal_modules"]

_MODULE = re.compile(r"^module (\\\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^(\s*cell )(\\\S+)( \S+)$", re.MULTILINE)
_SOURCE = re.compile(r"^\s*attribute \\src .*\n", re.MULTILINE)


def merge_equal_modules(text: str, top: str) -> str:
    """Return the text with each set of equal modules replaced by its first one.

    Modules are equal when their text is, source positions and the names of equal submodules left
    aside: columns of one tile, and units of one kind in several places.
    """
    bodies = {match[1]: _SOURCE.sub("", match[2]) for match in _MODULE.finditer(text)}
    first: dict[str, str] = {}
    replaced: dict[str, str] = {}

    def settle(name: str) -> str:
        """The name that stands for ``name``; submodules are settled before."""
        if name not in bodies:
            return name
        if name not in replaced:
            body = _CELL.sub(lambda cell: f"{cell[1]}{settle(cell[2])}{cell[3]}", bodies[name])
            replaced[name] = name if name == f"\\{top}" else first.setdefault(body, name)
            bodies[name] = body
        return replaced[name]

    for name in list(bodies):
        settle(name)
    kept = [f"module {name}\n{body}end\n" for name, body in bodies.items()
            if replaced[name] == name]
    return "\n".join(kept)
