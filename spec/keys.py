"""The keys of a file and what each allows, read off its pydantic model."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from spec.section import PowerOfTwo

__all__ = ["Key", "model_keys", "toml_value"]

_KINDS = {"integer": "an integer", "number": "a number", "string": "text",
          "array": "an array of text", "object": "a table of text"}


def toml_value(value: object) -> str:
    """Write a value as TOML has it; tables and arrays by kind, long text shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Key:
    """One key: its dotted name, its meaning and what it may be."""

    name: str
    meaning: str
    kind: str
    choices: tuple[object, ...] = ()
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    power_of_two: bool = False
    pattern: str | None = None
    required: bool = False

    @property
    def allowed(self) -> str:
        """What the value must be, as it ends the sentence "... must be"."""
        if self.choices:
            choices = ", ".join(map(toml_value, self.choices))
            return choices if len(self.choices) == 1 else f"one of {choices}"
        text = "a power of two" if self.power_of_two else _KINDS[self.kind]
        if self.pattern is not None:
            text += f" that matches {self.pattern}"
        if self.low is not None and self.high is not None:
            low, high = (str(int(end)) if end == int(end) else f"{end:g}"
                         for end in (self.low, self.high))
            text += f" in {'(' if self.low_excluded else '['}{low}, {high}]"
        return text


def _key(name: str, schema: dict[str, Any], power_of_two: bool, required: bool) -> Key:
    if "anyOf" in schema:  # An optional value: what it may be when it is there.
        schema = {**schema["anyOf"][0], "description": schema.get("description", "")}
    excluded = "exclusiveMinimum" in schema
    return Key(
        name=name, meaning=schema.get("description", ""), kind=schema["type"],
        choices=(schema["const"],) if "const" in schema else tuple(schema.get("enum", ())),
        low=schema["exclusiveMinimum"] if excluded else schema.get("minimum"),
        high=schema.get("maximum"), low_excluded=excluded,
        power_of_two=power_of_two, pattern=schema.get("pattern"), required=required)


@cache
def model_keys(model: type[BaseModel]) -> dict[str, Key]:
    """Every key of a file by its dotted name, in the order of its model."""
    found: dict[str, Key] = {}

    def walk(part: type[BaseModel], prefix: str) -> None:
        properties = part.model_json_schema()["properties"]
        for name, field in part.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                walk(field.annotation, f"{prefix}{name}.")
            else:
                power_of_two = get_args(PowerOfTwo)[1] in field.metadata
                found[prefix + name] = _key(prefix + name, properties[name], power_of_two,
                                            field.is_required())

    walk(model, "")
    return found
