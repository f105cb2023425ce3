"""The README's tables of the config against the models, both ways."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rainbowd.config import interpret
from rainbowd.config.loading import RESTART_KEYS
from rainbowd.config.schema import schema

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
IN_WORDS = {"required", "one is required", "below"}
"""What stands in the place of a default."""


def tables() -> dict[str, str]:
    """Each key that a table has, by its path, with the default that is told, as JSON or in words."""
    found: dict[str, str] = {}
    section = README.partition("\n## Config\n")[2].partition("\n## ")[0]
    for table in re.findall(r"^\|.*?\n(?!\|)", section, re.MULTILINE | re.DOTALL):
        head, _, *rows = table.splitlines()
        owner = re.match(r"\| `(\w+)`", head)
        for row in rows:
            names, default = (cell.strip() for cell in row.strip("|").split("|")[:2])
            keys = [f"{owner[1]}.{key}" if owner else key for key in re.findall(r"`(\w+)`", names)]
            defaults = re.findall(r"`(.+?)`", default) or [default]
            found |= dict(zip(keys, defaults * (len(keys) if len(defaults) == 1 else 1), strict=True))
    return found


def models() -> dict[str, Any]:
    """Each key of the models, by its path, with its default; those with none are not told one."""
    found: dict[str, Any] = {}

    def look(properties: dict[str, Any], place: str) -> None:
        for name, one in properties.items():
            found[f"{place}{name}"] = one.get("default", "required")
            for shape in (one, *one.get("anyOf", [])):
                look(shape.get("properties", {}), f"{place}{name}.")

    look(schema()["properties"], "")
    return found


TABLES, MODELS = tables(), models()


def test_every_key_has_its_row_or_stands_in_the_default_of_the_one_above() -> None:
    told = set(TABLES)
    for key, default in TABLES.items():
        if default.startswith("{"):
            told |= {f"{key}.{name}" for name in json.loads(default)}
    within_words = {"health.liveness.interval", "health.liveness.failures"}
    assert told == MODELS.keys() - {"$schema"} - within_words


@pytest.mark.parametrize("key", sorted(TABLES))
def test_the_default_is_that_of_the_models(key: str) -> None:
    told, found = TABLES[key], MODELS[key]
    if told in IN_WORDS:
        assert told != "required" or found == "required"
    else:
        assert json.loads(told) == found


def test_the_example_of_liveness_shows_its_defaults() -> None:
    shown = re.search(r"`(\{\"interval\".*?\})` goes on asking", README)
    assert shown
    assert json.loads(shown[1]) == {name: MODELS[f"health.liveness.{name}"] for name in ("interval", "failures")}


def test_what_needs_a_restart_is_told() -> None:
    told = re.search(r"A deploy runs by the file as it then is;\s(.*?)a restart\.", README, re.DOTALL)
    assert told
    assert set(re.findall(r"`(\w+)`", told[1])) == set(RESTART_KEYS)


def examples() -> list[dict[str, object]]:
    """Every whole config of the documentation."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    blocks = [block for text in texts for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return [json.loads(block) for block in blocks if block.startswith(('{\n  "run"', '{"run"'))]


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example["run"])[:40])
def test_an_example_is_taken_without_a_warning(example: dict[str, object], tmp_path: Path) -> None:
    assert interpret(example, tmp_path / "rainbowd.json").warnings == ()
