"""The keys of a description, and its JSON Schema."""

from typing import Any

from spec.description import Description
from spec.keys import Key, model_keys

__all__ = ["description_keys", "description_schema"]


def description_keys() -> dict[str, Key]:
    """Every key of a description by its dotted name, in the order of the model."""
    return model_keys(Description)


def description_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a description, for editors that complete TOML files.

    Conflicts between keys are beyond it; :func:`spec.load.load_description` reports them.
    """
    schema = Description.model_json_schema()
    for name, part in schema["properties"].items():
        if "anyOf" in part:  # A section that may be left out: TOML has no null to say so.
            schema["properties"][name] = part["anyOf"][0]
    for key in description_keys().values():
        section, _, field = key.name.rpartition(".")
        found: dict[str, Any] = {}
        if key.power_of_two and key.low is not None and key.high is not None:
            found["enum"] = [1 << bit for bit in range(int(key.high).bit_length())
                             if key.low <= 1 << bit <= key.high]
        elif key.kind == "array":
            found.update(minItems=1, uniqueItems=True)
        if not found:
            continue
        reference = schema["properties"][section]
        for kind in reference.get("oneOf", [reference]):
            properties = schema["$defs"][kind["$ref"].rsplit("/", 1)[1]]["properties"]
            if field in properties:
                properties[field].update(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema,
            "title": "pnmtile description"}
