"""The keys of a file and what each allows, read off its pydantic model."""

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from spec.section import IsPowerOfTwo

__all__ = ["Key", "model_keys", "toml_value"]

_KINDS = {"integer": "an integer", "number": "a number", "string": "text",
          "array": "an array of text", "object": "a table of text"}


def toml_value(value: object) -> str:
    """Write a value as TOML has it; tables, and arrays of them, by kind, what is long shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        if any(isinstance(item, dict | list) for item in value):
            return "an array"
        text = f"[{', '.join(map(toml_value, value))}]"
    else:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Key:
    """One key: its dotted name, its meaning and what it may be.

    ``choices`` are its values or, of an array, its items, which are one or more, each once; with
    ``or_two``, an array of two of them may take the place of one.
    ``variant`` is there where the key belongs to one kind of its section: the dotted key that
    tells the kinds apart, and its value.
    """

    name: str
    meaning: str
    kind: str
    choices: tuple[object, ...] = ()
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    power_of_two: bool = False
    pattern: str | None = None
    examples: tuple[str, ...] = ()
    or_two: bool = False
    variant: tuple[str, str] | None = None
    required: bool = False

    @property
    def allowed(self) -> str:
        """What the value must be, as it ends the sentence "... must be"."""
        if self.choices:
            choices = ", ".join(map(toml_value, self.choices))
            if self.kind == "array":
                return f"an array of one or more of {choices}, each once"
            one = choices if len(self.choices) == 1 else f"one of {choices}"
            return f"{one}, or an array of two of these" if self.or_two else one
        text = "a power of two" if self.power_of_two else _KINDS[self.kind]
        if self.pattern is not None:
            text += f" that matches {self.pattern}"
        if self.examples:
            text += f" such as {', '.join(map(toml_value, self.examples))}"
        if self.low is not None and self.high is not None:
            low, high = (str(int(end)) if end == int(end) else f"{end:g}"
                         for end in (self.low, self.high))
            text += f" in {'(' if self.low_excluded else '['}{low}, {high}]"
        return text


def _key(name: str, schema: dict[str, Any], power_of_two: bool, required: bool) -> Key:
    or_two = any(option.get("type") == "array" for option in schema.get("anyOf", ())[1:])
    if "anyOf" in schema:  # An optional value, or one of two: what it may be when it is there.
        schema = {**schema["anyOf"][0], "description": schema.get("description", "")}
    if schema["type"] == "boolean":
        schema = {**schema, "enum": [False, True]}
    excluded = "exclusiveMinimum" in schema
    items = schema.get("items", schema)
    return Key(
        name=name, meaning=schema.get("description", ""), kind=schema["type"],
        choices=(schema["const"],) if "const" in schema else tuple(items.get("enum", ())),
        low=schema["exclusiveMinimum"] if excluded else schema.get("minimum"),
        high=schema.get("maximum"), low_excluded=excluded,
        power_of_two=power_of_two, pattern=schema.get("pattern"),
        examples=tuple(schema.get("examples", ())), or_two=or_two, required=required)


def _section_models(field: FieldInfo) -> list[type[BaseModel]]:
    """The model of a section, or of each of its kinds; empty for a plain key."""
    parts = [field.annotation, *map(_plain, get_args(field.annotation))]
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _metadata(field: FieldInfo) -> list[Any]:
    """What is asked of a value, or of an optional one where it is there."""
    return [*field.metadata, *(one for part in get_args(field.annotation)
                               for one in getattr(part, "__metadata__", ()))]


def _plain(annotation: Any) -> Any:
    """The type within ``Annotated[type, ...]``."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


@cache
def model_keys(model: type[BaseModel]) -> dict[str, Key]:
    """Every key of a file by its dotted name, in the order of its model.

    A section may be of several kinds. The first key of each, a constant, says which it is; the
    first kind is the one that a file has when it does not say.
    """
    found: dict[str, Key] = {}

    def walk(part: type[BaseModel], prefix: str, several: bool = False) -> None:
        properties = part.model_json_schema()["properties"]
        variant: tuple[str, str] | None = None
        for name, field in part.model_fields.items():
            models = _section_models(field)
            for section in models:
                walk(section, f"{prefix}{name}.", several=len(models) > 1)
            if models:
                continue
            full = prefix + name
            key = _key(full, properties[name], IsPowerOfTwo in _metadata(field),
                       field.is_required())
            if several and variant is None:
                variant = (full, str(key.choices[0]))
                first = found.get(full)
                found[full] = key if first is None else replace(
                    first, choices=first.choices + key.choices)
            else:
                found[full] = replace(key, variant=variant)

    walk(model, "")
    return found
