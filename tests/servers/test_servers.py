"""As much of the matrix as CI has time for; ``python -m tests.servers`` is all of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli.recipes import RECIPES
from tests.live.agent import ROOT
from tests.live.client import BadAnswer, CutOff
from tests.servers import table
from tests.servers.conftest import do_without
from tests.servers.environments import Missing, is_ready
from tests.servers.others import WAYS, how
from tests.servers.rows import APPS, ROWS, Row
from tests.servers.site import run

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "http.server", "gunicorn-gthread", "uvicorn", "puma"
"""Of each kind one: a program, threads, WebSockets, Ruby. They are always run."""
THEN = "gunicorn-daemon", "puma-cluster", "node", "gunicorn-socket", "uvicorn-workers", "php"
"""While there is time, these before all others, where nothing has to be installed for them."""
BUDGET_SECONDS = 60.0
DEPLOYS = 2
BY_NAME = {row.name: row for row in ROWS}


@dataclass
class Budget:
    """Of time, for all rows."""

    left_out: list[str] = field(default_factory=list)
    ends_at: float = field(default_factory=lambda: time.monotonic() + BUDGET_SECONDS)

    @property
    def is_spent(self) -> bool:
        return time.monotonic() > self.ends_at


@pytest.fixture(scope="module", autouse=True)
def budget() -> Budget:
    return Budget()


@pytest.mark.live
@pytest.mark.long
@pytest.mark.parametrize("name", FIRST)
def test_a_server_is_deployed_under_load_and_loses_nothing(name: str, tmp_path: Path, environments: Path) -> None:
    deploy(BY_NAME[name], tmp_path, environments)


@pytest.mark.live
@pytest.mark.long
def test_so_are_the_others_while_there_is_time(
    budget: Budget, tmp_path_factory: pytest.TempPathFactory, environments: Path
) -> None:
    for row in sorted(ROWS, key=lambda row: row.name not in THEN):
        if row.name in FIRST:
            continue
        if budget.is_spent or not is_ready(row, environments):
            budget.left_out.append(row.name)
            continue
        deploy(row, tmp_path_factory.mktemp("row"), environments)  # a short path: a socket's may have 107 bytes


@pytest.mark.live
@pytest.mark.long
def test_what_was_left_out_is_told(budget: Budget) -> None:
    pytest.skip(f"left out for time, and run by python -m tests.servers: {', '.join(budget.left_out)}")


def deploy(row: Row, directory: Path, environments: Path) -> None:
    try:
        seen = run(row, DEPLOYS, directory, environments)
    except Missing as problem:
        do_without(problem)
    print(seen)
    assert seen.failures == []
    assert seen.deploys == DEPLOYS
    assert seen.left == 0
    asked = {"keep-alive", "fresh", "post", "chunked", "slow", "stream"} - row.without.keys()
    assert seen.kinds.keys() >= (asked | {"websocket"} if row.websocket else asked)


def test_every_recipe_has_a_row_and_every_row_an_app() -> None:
    assert {row.recipe for row in ROWS} == RECIPES.keys()
    assert all((APPS / row.app).is_dir() for row in ROWS)


def test_the_page_has_the_recipes_that_init_writes() -> None:
    page = (ROOT / "docs" / "servers.md").read_text()
    assert table.of_recipes() == page.partition(f"{table.RECIPES_BEGIN}\n")[2].partition(table.END)[0]


def test_every_other_way_is_that_of_a_row() -> None:
    assert {server for server, _, _ in WAYS} <= BY_NAME.keys()


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [
        ("fresh", ConnectionRefusedError(), "refused"),
        ("keep-alive", EOFError(), "closed on a GET"),
        ("chunked", ConnectionResetError(), "closed on a POST"),
        ("slow", BadAnswer("502 b'Bad Gateway'"), "answered 502"),
        ("stream", CutOff("a stream"), "cut off"),
        ("slow", TimeoutError(), "not answered"),
    ],
)
def test_how_a_request_was_lost_is_told_by_its_client_s_error(kind: str, error: Exception, told: str) -> None:
    assert how(kind, error) == told
