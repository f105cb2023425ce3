"""``docs/configuration.md`` against the models, both ways, and every config of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rainbowd.config import validate
from rainbowd.config.loader import RESTART_KEYS
from rainbowd.config.schema import schema
from rainbowd.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
SECTIONS = re.findall(r"^### (`[^\n]+`)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
"""The headings with the keys that they are about, and the text of each."""


def keys(heading: str) -> list[str]:
    return re.findall(r"`(\w+)`", heading)


def documented_keys() -> set[str]:
    """Return every key that has a section or a row, by its path."""
    found: set[str] = set()
    for heading, text in SECTIONS:
        found |= {*keys(heading)}
        found |= {f"{keys(heading)[0]}.{row}" for row in re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)}
    return found


def documented_defaults() -> dict[str, Any]:
    """Return the default of each key, by its path, as far as the page states one."""
    found: dict[str, Any] = {}
    for heading, text in SECTIONS:
        stated = re.search(r"Defaults?: ((?:`[^`]+`(?: and )?)+)", text)
        values = [json.loads(value) for value in re.findall(r"`([^`]+)`", stated[1])] if stated else []
        found |= dict(zip(keys(heading), values * len(keys(heading)), strict=False))
        for key, value in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE):
            found[f"{keys(heading)[0]}.{key}"] = json.loads(value)
    return found


def models() -> dict[str, Any]:
    """Each key of the models, by its path, with its default; those with none are not told one."""
    found: dict[str, Any] = {}

    def look(properties: dict[str, Any], place: str) -> None:
        for name, one in properties.items():
            found[f"{place}{name}"] = one.get("default", "required")
            for shape in (one, *one.get("anyOf", [])):
                look(shape.get("properties", {}), f"{place}{name}.")
            named = one.get("additionalProperties")
            look(named.get("properties", {}) if isinstance(named, dict) else {}, f"{place}{name}.")

    look(schema()["properties"], "")
    return found


MODELS, DEFAULTS = models(), documented_defaults()


def test_every_key_has_a_section_or_a_row_and_no_other_has() -> None:
    within_words = {
        "health.liveness.interval",
        "health.liveness.failures",
        "processes.stop.signal",
        "processes.stop.kill_after",
    }
    assert documented_keys() == MODELS.keys() - {"$schema"} - within_words


@pytest.mark.parametrize("key", sorted(documented_keys()))
def test_the_default_is_that_of_the_models(key: str) -> None:
    is_object = any(other.startswith(f"{key}.") for other in MODELS)
    if MODELS[key] == "required" or (is_object and key not in DEFAULTS):
        assert key not in DEFAULTS
    else:
        assert DEFAULTS.get(key) == MODELS[key]


def test_the_example_of_liveness_shows_its_defaults() -> None:
    shown = re.search(r"`(\{\"interval\".*?\})` keeps checking", PAGE)
    assert shown
    assert json.loads(shown[1]) == {name: MODELS[f"health.liveness.{name}"] for name in ("interval", "failures")}


def test_the_keys_that_need_more_than_a_deploy_are_listed() -> None:
    stated = re.search(r"Some keys need (.*?) needs a\s+restart\.", PAGE, re.DOTALL)
    assert stated
    assert set(re.findall(r"`(\w+)`", stated[1])) == set(RESTART_KEYS)


@pytest.mark.parametrize(("heading", "text"), SECTIONS, ids=[heading for heading, _ in SECTIONS])
def test_every_example_of_a_key_is_accepted(heading: str, text: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    examples = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert examples
    for example in examples:
        assert example.keys() & {*keys(heading)}
        (tmp_path / "secrets.env").touch()
        validate(complete(example), tmp_path / "rainbowd.json")


MESSAGE = re.compile(r"^`(([\w.]+): found (.+?); expected .+)`$", re.MULTILINE)


@pytest.mark.parametrize(("message", "key", "found"), MESSAGE.findall(PAGE))
def test_a_bad_value_gets_the_message_of_the_page(message: str, key: str, found: str, tmp_path: Path) -> None:
    *path, last = key.split(".")
    config: dict[str, Any] = {}
    inner = config
    for name in path:
        inner = inner.setdefault(name, {"path": "/up"} if name == "health" else {})
    inner[last] = 5 if found == "a number" else json.loads(found)
    with pytest.raises(ConfigError) as caught:
        validate(complete(config), tmp_path / "rainbowd.json")
    assert message in str(caught.value)


def test_every_section_has_a_message() -> None:
    assert [heading for heading, text in SECTIONS if not MESSAGE.search(text)] == []


def complete(part: dict[str, Any]) -> dict[str, Any]:
    """Return a config of which only ``part`` matters."""
    base = {"run": ["true"]} | ({} if "warmup" in part else {"health": "/up"})
    user = {"user": "root"} if "user" in part and part["user"] == "shop" else {}
    return base | part | user


IS_WHOLE = re.compile(r'\{\n  "run"|\{"run".*\n\Z')
"""A whole config, on several lines or on one."""


def examples() -> list[dict[str, object]]:
    """Every whole config of the documentation."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    blocks = [block for text in texts for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return [json.loads(block) for block in blocks if IS_WHOLE.match(block)]


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example["run"])[:40])
def test_an_example_is_taken_without_a_warning(example: dict[str, object], tmp_path: Path) -> None:
    here = {key: value for key, value in example.items() if key != "user"}  # who may not be a user of this machine
    assert validate(here, tmp_path / "rainbowd.json").warnings == ()
