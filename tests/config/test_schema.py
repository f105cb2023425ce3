from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.config import validate
from rainbowd.config.schema import DIALECT, MEANINGS, schema, text

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FILE = ROOT / "rainbowd.json"
LEAST: dict[str, object] = {"run": ["app"], "health": {"path": "/up"}}


def properties(part: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key below a part of the schema, with its path."""
    for name, found in part.get("properties", {}).items():
        yield f"{place}{name}", found
        for choice in (found, *found.get("anyOf", [])):
            yield from properties(choice, f"{place}{name}.")
        named = found.get("additionalProperties")
        yield from properties(named if isinstance(named, dict) else {}, f"{place}{name}.*.")


KEYS = {key: found for key, found in properties(schema()) if key != "$schema"}


def test_the_file_is_the_schema_of_the_models() -> None:
    expected = "python -m rainbowd.config.schema >rainbowd/rainbowd.schema.json"
    assert (ROOT / "rainbowd" / "rainbowd.schema.json").read_text() == text(), f"out of date: {expected}"


def test_the_config_at_the_top_refers_to_it() -> None:
    config = json.loads(FILE.read_text())
    assert (FILE.parent / config["$schema"]).samefile(ROOT / "rainbowd" / "rainbowd.schema.json")
    assert schema()["$schema"] == DIALECT


def test_every_key_has_a_description_and_no_other_key_has() -> None:
    assert KEYS.keys() == MEANINGS.keys()
    assert all("Expected: None" not in found["description"] for found in KEYS.values())


def test_every_key_but_those_that_are_required_has_its_default() -> None:
    assert {key for key, found in KEYS.items() if "default" not in found} == {
        "run",
        "health.path",
        "fleet.name",
        "fleet.endpoints",
        "processes.*.run",
    }


def test_the_defaults_are_those_of_the_models() -> None:
    said = {key: found["default"] for key, found in KEYS.items() if "." not in key and "default" in found}
    health = {
        key.partition(".")[2]: found["default"]
        for key, found in KEYS.items()
        if key.count(".") == 1 and key.startswith("health.") and "default" in found
    }
    whole = {**said, "run": ["app"], "health": {**health, "path": "/up"}}
    assert validate(whole, FILE).config == validate(LEAST, FILE).config


@pytest.mark.parametrize("key", ["listen", "run", "health", "hooks.before_launch", "user", "log.app"])
def test_a_value_with_several_forms_has_a_type_for_each(key: str) -> None:
    assert len(KEYS[key]["anyOf"]) > 1


def test_bounds_are_those_of_the_models() -> None:
    assert (KEYS["max_generations"]["minimum"], KEYS["hold.limit"]["minimum"]) == (2, 0)
    assert KEYS["health.interval"]["exclusiveMinimum"] == 0
    assert KEYS["limits.head_timeout"]["anyOf"] == [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]
