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
    for key in description_keys().values():
        if key.power_of_two and key.low is not None and key.high is not None:
            section, _, field = key.name.rpartition(".")
            values = [1 << bit for bit in range(int(key.high).bit_length())
                      if key.low <= 1 << bit <= key.high]
            reference = schema["properties"][section]
            for kind in reference.get("oneOf", [reference]):
                properties = schema["$defs"][kind["$ref"].rsplit("/", 1)[1]]["properties"]
                if field in properties:
                    properties[field]["enum"] = values
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema,
            "title": "pnmtile description"}
