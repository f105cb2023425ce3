"""What keeps real apps from being healthy, and whether what is said of it leads to the right line of the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from rainbowd.address import parse_address
from rainbowd.config import Health
from rainbowd.deploy.host.health import Prober
from tests.live.agent import Agent
from tests.servers.conftest import do_without
from tests.servers.environments import Missing, prepare
from tests.servers.rows import ROWS
from tests.servers.site import write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rainbowd.address import Address

pytestmark = pytest.mark.live
SHOP: dict[str, object] = {"host": "shop.example"}
HTTPS: dict[str, object] = {"headers": {"X-Forwarded-Proto": "https"}}


@dataclass(frozen=True)
class Framework:
    """An app that refuses whom it does not expect.

    Attributes:
        row: whose app and server it is.
        env: what makes it so strict.
        right: the keys of ``health`` that it needs, in addition to the path.
        wrong: other keys, and the line that the failure has to name.
    """

    row: str
    env: dict[str, str]
    right: dict[str, object]
    wrong: list[tuple[dict[str, object], str]] = field(default_factory=list)


FRAMEWORKS = [
    Framework(
        "django-runserver",
        {"SHOP_REDIRECTS": "yes"},
        {**SHOP, **HTTPS},
        [
            (HTTPS, "set health.host"),
            (SHOP, 'set health.headers to {"X-Forwarded-Proto": "https"}'),
            ({**SHOP, **HTTPS, "path": "/closed"}, 'health.status to "200-299,401"'),
            ({**SHOP, **HTTPS, "path": "/account"}, 'health.status to "200-299,302"'),
            ({**SHOP, **HTTPS, "path": "/about"}, 'set health.path to "/about/"'),
            ({**SHOP, **HTTPS, "path": "/nowhere"}, "set health.path"),
        ],
    ),
    Framework(
        "flask",
        {"SHOP_CLOSED": "yes"},
        {"status": "200-299,401"},
        [({}, 'health.status to "200-299,401"')],
    ),
    Framework(
        "rails",
        {"SHOP_HOSTS": "shop.example", "SHOP_REDIRECTS": "yes"},
        {**SHOP, **HTTPS},
        [
            (HTTPS, "set health.host"),
            (SHOP, 'set health.headers to {"X-Forwarded-Proto": "https"}'),
            ({**SHOP, **HTTPS, "path": "/closed"}, 'health.status to "200-299,401"'),
            ({**SHOP, **HTTPS, "path": "/nowhere"}, "set health.path"),
        ],
    ),
]


@pytest.fixture(scope="module", params=FRAMEWORKS, ids=lambda framework: framework.row)
def strict(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environments: Path
) -> Iterator[tuple[Framework, Address]]:
    """An app that is deployed with the lines that it wants, and where it listens."""
    framework: Framework = request.param
    row = next(row for row in ROWS if row.name == framework.row)
    directory = tmp_path_factory.mktemp("strict")
    try:
        environment = prepare(row, environments)
    except Missing as problem:
        do_without(problem)
    config = write_config(row, directory)
    agent = Agent(
        directory, run=config["run"], env={**framework.env, **environment}, health={"path": "/up", **framework.right}
    )
    agent.start()
    try:
        decided = agent.decision(0, trigger="start")
        assert decided["event"] == "deploy.succeeded", decided
        yield framework, parse_address(agent.status()["generations"][0]["address"])
        agent.stop()
    finally:
        agent.destroy()


@pytest.mark.long
async def test_what_is_said_of_a_check_that_fails_names_the_line_to_write(strict: tuple[Framework, Address]) -> None:
    framework, address = strict
    for wrong, line in framework.wrong:
        told = (await Prober().probe(address, Health.model_validate({"path": "/up", **wrong}))).problem
        assert line in str(told), wrong
