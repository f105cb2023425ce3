"""What keeps a real Django from being healthy, and whether the failure's message alone leads to the right line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import Agent
from tests.servers.environments import Missing, prepare
from tests.servers.rows import ROWS
from tests.servers.site import write_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live
ROW = next(row for row in ROWS if row.name == "django-runserver")
RIGHT = {"path": "/up", "host": "shop.example", "headers": {"X-Forwarded-Proto": "https"}}


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    try:
        return prepare(ROW, tmp_path_factory.mktemp("environments"))
    except Missing as problem:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(problem))


def first_deploy(directory: Path, environment: dict[str, str], health: dict[str, Any]) -> dict[str, Any]:
    config = write_config(ROW, directory)
    env = {"SHOP_REDIRECTS": "yes", **environment}
    agent = Agent(directory, run=config["run"], env=env, health={**health, "deadline": 3})
    agent.flip("a")
    agent.start()
    try:
        return agent.decision(0, trigger="start")
    finally:
        agent.stop()
        agent.destroy()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"host": "localhost"}, "set health.host"),
        ({"headers": {}}, 'set health.headers to {"X-Forwarded-Proto": "https"}'),
        ({"path": "/closed"}, 'health.status to "200-299,401"'),
        ({"path": "/nowhere"}, "set health.path"),
    ],
)
def test_the_reason_of_the_failure_names_the_line_to_write(
    wrong: dict[str, Any], line: str, tmp_path: Path, django: dict[str, str]
) -> None:
    decided = first_deploy(tmp_path, django, {**RIGHT, **wrong})
    assert decided["event"] == "deploy.failed"
    assert line in decided["reason"]


def test_with_these_lines_it_is_deployed(tmp_path: Path, django: dict[str, str]) -> None:
    assert first_deploy(tmp_path, django, RIGHT)["event"] == "deploy.succeeded"
