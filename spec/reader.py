"""Read one TOML file into one pydantic model, and report everything that is wrong with it at once.

Descriptions and grades are both read here; what they have of their own stands in a :class:`Kind`.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from spec.keys import Key, model_keys, toml_value

__all__ = ["Conflict", "DescriptionError", "Kind", "Problem", "read_model"]

# The longest file has some hundred lines; this refuses a weight file given by mistake.
_BYTES_MAX = 1 << 20

Model = TypeVar("Model", bound=BaseModel)


class Conflict(BaseModel):
    """Values that are legal each for itself, but not together."""

    keys: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Kind(Generic[Model]):
    """What is read: its model, its name, and what must hold between its values.

    ``stand_in`` gives every required key a value. Where a file has a problem, it stands in for the
    doubtful value, so that conflicts of the others still show. ``elsewhere`` says of keys of one
    kind of a section why the other kinds do not have them.
    """

    name: str
    model: type[Model]
    conflicts: Callable[[Model], list[Conflict]]
    stand_in: Callable[[], Mapping[str, Any]]
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``message`` says what, what is allowed and what to do.

    ``keys`` are the dotted keys it is about (none for the file as a whole), ``value`` what the
    file has there, ``allowed`` what it may have, ``nearest`` the known key meant, ``line`` where.
    """

    message: str
    keys: tuple[str, ...] = ()
    value: str | None = None
    allowed: str | None = None
    nearest: str | None = None
    line: int | None = None


class DescriptionError(ValueError):
    """A description or a grade that cannot be used; its text lists every problem."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = list(problems)
        super().__init__(path, self.problems)

    def __str__(self) -> str:
        return "\n".join(
            f"{self.path}{f':{problem.line}' if problem.line else ''}: {problem.message}"
            for problem in self.problems)


def read_model(path: Path, kind: Kind[Model]) -> Model:
    """Read a file; ``DescriptionError`` lists all that is wrong with it."""
    text = _read(path, kind.name)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "arrays or tables are nested too deeply" if isinstance(
            error, RecursionError) else str(error)
        line = re.search(r"at line (\d+)", reason)
        raise DescriptionError(path, [Problem(
            f"this is not TOML: {reason}", line=int(line[1]) if line else None)]) from None
    return _Check(path, text, data, kind).result()


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        raise DescriptionError(path, [Problem(
            "there is no such file" + _files(path.parent, path.name))]) from None
    except IsADirectoryError:
        raise DescriptionError(path, [Problem(
            "this is a directory; name one TOML file in it" + _files(path))]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DescriptionError(path, [Problem(f"cannot be read: {reason}")]) from None
    if len(content) > _BYTES_MAX:
        raise DescriptionError(path, [Problem(
            f"is larger than {_BYTES_MAX} bytes: this is no {name}")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[:error.start].count(b"\n") + 1
        raise DescriptionError(path, [Problem(
            f"is not UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}",
            line=line)]) from None


def _files(directory: Path, name: str | None = None) -> str:
    """Say which file was meant: the nearest name, or those in the directory."""
    try:
        names = sorted(file.name for file in directory.glob("*.toml"))
    except OSError:
        names = []
    near = difflib.get_close_matches(name, names, n=1) if name else []
    if near:
        return f"; did you mean {directory / near[0]}?"
    return f"; {directory} has {', '.join(names[:8])}" if names else ""


class _Check(Generic[Model]):
    """One pass over the parsed file. Keys are dotted; ``known`` gathers what the model has."""

    def __init__(self, path: Path, text: str, data: dict[str, Any], kind: Kind[Model]) -> None:
        self.path = path
        self.kind = kind
        self.keys: dict[str, Key] = model_keys(kind.model)
        self.sections = list(dict.fromkeys(
            name.split(".")[0] for name in self.keys if "." in name))
        self.lines = _key_lines(text)
        self.problems: list[Problem] = []
        self.doubtful: set[str] = set()
        self.written: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.known = self._keep_known(data)
        for name in dict.fromkeys(key.variant[0] for key in self.keys.values() if key.variant):
            self._keep_one_kind(name)

    def result(self) -> Model:
        result = self._validate()
        if self.problems:
            # With stand-ins for the doubtful values, conflicts of the others still show.
            result = self.kind.model.model_validate(self._without_doubtful())
        assert result is not None
        for conflict in self.kind.conflicts(result):
            sections = {key.partition(".")[0] for key in conflict.keys}
            if not self.doubtful.intersection({*conflict.keys, *sections}):
                self._report(conflict.keys, conflict.message)
        if self.problems:
            self.problems.sort(key=lambda problem: problem.line or 0)
            raise DescriptionError(self.path, self.problems)
        return result

    def _without_doubtful(self) -> dict[str, Any]:
        for name in self.doubtful:
            section, _, field = name.rpartition(".")
            (self.known.get(section, {}) if section else self.known).pop(field, None)
        filled = dict(self.known)
        for name, value in self.kind.stand_in().items():
            if isinstance(value, Mapping):
                needed = {key: item for key, item in value.items()
                          if self._needed(f"{name}.{key}")}
                filled[name] = {**needed, **filled.get(name, {})}
            elif self._needed(name):
                filled.setdefault(name, value)
        return filled

    def _needed(self, name: str) -> bool:
        return name in self.keys and self.keys[name].required and self._fits(name)

    def _fits(self, name: str) -> bool:
        """Whether a known key belongs to the kind that its section is of."""
        variant = self.keys[name].variant
        return variant is None or self.kinds[variant[0]] == variant[1]

    def _keep_one_kind(self, name: str) -> None:
        """Decide by the key ``name`` of which kind its section is; report the others' keys."""
        section, _, tell = name.rpartition(".")
        choices = [str(choice) for choice in self.keys[name].choices]
        self.kinds[name] = choices[0]
        values = self.known.get(section)
        if not isinstance(values, dict):
            return
        if values.get(tell, choices[0]) in choices:
            self.kinds[name] = values.get(tell, choices[0])
        else:
            # The kind that most of the keys belong to is meant.
            variants = [self.keys[f"{section}.{key}"].variant for key in values]
            self.kinds[name] = max(choices, key=lambda kind: variants.count((name, kind)))
            shown, allowed = toml_value(values[tell]), self.keys[name].allowed
            self._report((name,), f"{self.written[name]} must be {allowed}, not {shown}",
                         value=shown, allowed=allowed)
            values[tell] = self.kinds[name]
        for key in [key for key in values if not self._fits(f"{section}.{key}")]:
            self._of_another_kind(name, f"{section}.{key}", values.pop(key))

    def _of_another_kind(self, tell: str, name: str, value: object) -> None:
        shown = f"{self.written[name]} = {toml_value(value)}"
        here = f"{tell} = {toml_value(self.kinds[tell])}"
        if name in self.kind.elsewhere:
            message = f"{shown} {self.kind.elsewhere[name]} with {here}; leave it out"
        else:
            variant = self.keys[name].variant
            assert variant is not None
            message = (f"{shown} has no meaning with {here}; leave it out, or set {tell} = "
                       f"{toml_value(variant[1])}")
        self.doubtful.add(name)
        self._report((name,), message, value=toml_value(value))

    def _report(self, keys: tuple[str, ...], message: str, **facts: str | None) -> None:
        names = [self.written.get(key, key) for key in keys]
        line = next((self.lines[name] for name in names if name in self.lines), None)
        self.problems.append(Problem(message, keys=tuple(names), line=line, **facts))

    def _keep_known(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Report unknown keys; return the others, a misspelt table under its right name."""
        known: dict[str, Any] = {}
        for name, value in data.items():
            section = name
            if name not in self.keys and name not in self.sections:
                near = difflib.get_close_matches(name.lower(), self.sections, n=1)
                near = [table for table in near if table not in data]
                if not (near and isinstance(value, dict)):
                    self._unknown(name, value)
                    continue
                section = near[0]
                self._report((name,), f"[{name}] is unknown; did you mean [{section}]?",
                             value="a table", nearest=section)
            if not (section in self.sections and isinstance(value, dict)):
                known[section] = value
                continue
            known[section] = {}
            for key, item in value.items():
                self.written[f"{section}.{key}"] = f"{name}.{key}"
                if f"{section}.{key}" in self.keys:
                    known[section][key] = item
                else:
                    self._unknown(f"{section}.{key}", item)
        return known

    def _unknown(self, name: str, value: object) -> None:
        written = self.written.get(name, name)
        section, _, field = name.rpartition(".")
        siblings = [key for key in self.keys if key.rpartition(".")[0] == section]
        own = [key.rpartition(".")[2] for key in siblings]
        fields = {key.rpartition(".")[2].lower(): key for key in [*self.keys, *siblings]}
        near = (difflib.get_close_matches(field.lower(), [key.lower() for key in own], n=1)
                or difflib.get_close_matches(field.lower(), fields, n=1))
        nearest = fields[near[0]] if near else None
        if nearest:
            self.doubtful.add(nearest)
            hint = f"did you mean {nearest}, {self.keys[nearest].allowed}?"
        elif section:
            hint = f"[{section}] has {', '.join(own)}"
        else:
            hint = f"{self._article} has {', '.join([*own, *(f'[{s}]' for s in self.sections)])}"
        self._report((name,), f"{written} = {toml_value(value)} is unknown; {hint}",
                     value=toml_value(value), nearest=nearest)

    @property
    def _article(self) -> str:
        return f"a {self.kind.name.split()[-1]}"

    def _validate(self) -> Model | None:
        try:
            return self.kind.model.model_validate(self.known)
        except ValidationError as error:
            missing: dict[str, bool] = {}
            for found in error.errors():
                place = [str(part) for part in found["loc"]]
                if any(name.startswith(f"{place[0]}.") for name in self.kinds):
                    del place[1:2]  # The kind of the section, which is no key.
                name = ".".join(place[:2])
                if name.partition(".")[0] in self.keys:
                    name = name.partition(".")[0]
                # Of an array, several items may be wrong: one problem.
                missing[name] = found["type"] == "missing" and len(place) <= 2
            for name, absent in missing.items():
                self._wrong(name, missing=absent)
            return None

    def _value(self, name: str) -> object:
        """What the file has under a known key, or as a section."""
        section, _, field = name.rpartition(".")
        return (self.known[section] if section else self.known)[field]

    def _wrong(self, name: str, *, missing: bool) -> None:
        if name in self.doubtful and missing:
            return
        self.doubtful.add(name)
        allowed = self.keys[name].allowed if name in self.keys else "a table"
        written = self.written.get(name, name)
        if missing:
            self._report((name,), f"{written} is missing; it must be {allowed}", allowed=allowed)
        else:
            shown = toml_value(self._value(name))
            self._report((name,), f"{written} must be {allowed}, not {shown}", value=shown,
                         allowed=allowed)


def _key_lines(text: str) -> dict[str, int]:
    """Where each plain key stands, for messages; keys in inline tables have no line."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([\w.-]+)\s*\]", line):
            table = header[1] + "."
            lines.setdefault(header[1], number)
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            lines.setdefault(table + key[1], number)
    return lines
