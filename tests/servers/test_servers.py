"""Some of the matrix, as much as CI has time for; ``python -m tests.servers`` is all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli.recipes import RECIPES
from tests.servers.environments import Missing
from tests.servers.rows import APPS, ROWS
from tests.servers.site import run

if TYPE_CHECKING:
    from pathlib import Path

HERE = "http.server", "gunicorn-gthread", "uvicorn", "puma"
"""Cheap to install, and of each kind one: a program, threads, WebSockets, Ruby."""
DEPLOYS = 2
BY_NAME = {row.name: row for row in ROWS}


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.mark.live
@pytest.mark.parametrize("name", HERE)
def test_a_server_is_deployed_under_load_and_loses_nothing(name: str, tmp_path: Path, environments: Path) -> None:
    row = BY_NAME[name]
    try:
        seen = run(row, DEPLOYS, tmp_path, environments)
    except Missing as problem:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(problem))
    print(seen)
    assert seen.failures == []
    assert seen.deploys == DEPLOYS
    assert seen.left == 0
    asked = {"keep-alive", "fresh", "post", "chunked", "slow", "stream"} - row.without.keys()
    assert seen.kinds.keys() >= (asked | {"websocket"} if row.websocket else asked)


@pytest.mark.live
def test_the_other_servers_are_left_out_here() -> None:
    others = [row.name for row in ROWS if row.name not in HERE]
    pytest.skip(f"left out for time, and run by python -m tests.servers: {', '.join(others)}")


def test_every_recipe_has_a_row_and_every_row_an_app() -> None:
    assert {row.recipe for row in ROWS} == RECIPES.keys()
    assert all((APPS / row.app).is_dir() for row in ROWS)
