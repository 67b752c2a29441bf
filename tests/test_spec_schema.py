"""The keys of a description as data, and the published JSON Schema."""

import json
import tomllib
from pathlib import Path

from spec.description import (
    Convert, Description, NativeMemory, Quantize, Reduce, Transpose,
)
from spec.schema import description_keys, description_schema


def test_keys_cover_the_model() -> None:
    expected = {"name"}
    for description in (
            Description(name="t", quantize=Quantize(), reduce=Reduce(), transpose=Transpose(),
                        convert=Convert()),
            Description(name="t", memory=NativeMemory(interface="native", grade="hbm3_6400"))):
        expected |= {f"{section}.{key}" for section, values in description.model_dump().items()
                     if isinstance(values, dict) for key in values}
    assert set(description_keys()) == expected


def test_keys_say_to_which_interface_they_belong() -> None:
    keys = description_keys()
    assert keys["memory.interface"].choices == ("axi4", "native")
    assert keys["memory.interface"].variant is None and not keys["memory.interface"].required
    assert keys["memory.atom_bytes"].variant == ("memory.interface", "axi4")
    assert keys["memory.grade"].variant == ("memory.interface", "native")
    assert keys["scaling.group"].variant is None


def test_keys_have_a_meaning_and_a_range() -> None:
    for key in description_keys().values():
        assert key.meaning.endswith(".")
        assert key.choices or key.pattern or key.examples or (
            key.low is not None and key.high is not None)


def test_schema_lists_powers_of_two() -> None:
    schema = description_schema()
    assert schema["$defs"]["Scaling"]["properties"]["group"]["enum"] == [
        8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
    assert schema["$defs"]["Axi4Memory"]["properties"]["burst_atoms"]["enum"][0] == 1


def test_schema_knows_arrays_and_sections_that_may_be_left_out() -> None:
    schema = description_schema()
    groups = schema["$defs"]["Quantize"]["properties"]["groups"]
    assert groups["items"]["enum"] == [16, 32, 64, 128, 256]
    assert (groups["type"], groups["minItems"], groups["uniqueItems"]) == ("array", 1, True)
    assert schema["properties"]["quantize"] == {"$ref": "#/$defs/Quantize"}
    assert schema["$defs"]["Transpose"]["properties"]["block"]["enum"] == [8, 16, 32, 64, 128, 256]
    assert "transpose" not in schema["required"]


def test_keys_of_arrays_have_the_choices_of_their_items() -> None:
    keys = description_keys()
    assert keys["quantize.rules"].kind == "array"
    assert keys["quantize.rules"].choices == ("e8m0-ceil", "e8m0-floor", "fp32-div")
    assert keys["quantize.window"].choices == (False, True)


def test_schema_names_every_key_and_refuses_others(description_path: Path) -> None:
    schema = json.loads(json.dumps(description_schema()))
    data = tomllib.loads(description_path.read_text())
    assert schema["additionalProperties"] is False
    for name, value in data.items():
        assert name in schema["properties"]
        if isinstance(value, dict):
            reference = schema["properties"][name]
            kinds = [schema["$defs"][kind["$ref"].rpartition("/")[2]]
                     for kind in reference.get("oneOf", [reference])]
            assert all(kind["additionalProperties"] is False for kind in kinds)
            # Of the kinds of a section exactly one takes these keys.
            assert len([kind for kind in kinds if set(value) <= set(kind["properties"])
                        and set(kind.get("required", ())) <= set(value)]) == 1
