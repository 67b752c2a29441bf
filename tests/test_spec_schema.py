"""The keys of a description as data, and the published JSON Schema."""

import json
import tomllib
from pathlib import Path

from spec.description import Description
from spec.schema import description_keys, description_schema


def test_keys_cover_the_model() -> None:
    described = Description(name="t").model_dump()
    expected = {"name"} | {f"{section}.{key}" for section, values in described.items()
                           if isinstance(values, dict) for key in values}
    assert set(description_keys()) == expected


def test_keys_have_a_meaning_and_a_range() -> None:
    for key in description_keys().values():
        assert key.meaning.endswith(".")
        assert key.choices or key.pattern or (key.low is not None and key.high is not None)


def test_schema_lists_powers_of_two() -> None:
    schema = description_schema()
    assert schema["$defs"]["Scaling"]["properties"]["group"]["enum"] == [
        8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
    assert schema["$defs"]["Memory"]["properties"]["burst_atoms"]["enum"][0] == 1


def test_schema_names_every_key_and_refuses_others(description_path: Path) -> None:
    schema = json.loads(json.dumps(description_schema()))
    data = tomllib.loads(description_path.read_text())
    assert schema["additionalProperties"] is False
    for name, value in data.items():
        assert name in schema["properties"]
        if isinstance(value, dict):
            section = schema["$defs"][name.capitalize()]
            assert section["additionalProperties"] is False
            assert set(value) <= set(section["properties"])
