from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import (
    Config,
    load,
)
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rainbowd.json"


@pytest.fixture
def loaded(file: Path) -> Load:
    """Loads the smallest config with the given keys beside."""

    def load_with(**keys: object) -> Config:
        file.write_text(json.dumps({"run": "app $PORT", "health": "/up", **keys}))
        return load(file).config

    return load_with


@pytest.fixture
def problems(file: Path) -> Problems:
    """What is said of a config with the given keys, without the file's name."""

    def problems_of(**keys: object) -> list[str]:
        file.write_text(json.dumps({"run": "app $PORT", "health": "/up", **keys}))
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert all(line.startswith(f"{file}: ") for line in caught.value.problems)
        return [line.removeprefix(f"{file}: ") for line in caught.value.problems]

    return problems_of
