from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.generations.readiness import sharing_hint, until_ready
from tests.fakes import Behaviour, FakeApp, FakeHost

if TYPE_CHECKING:
    from trio.testing import MockClock

    from rainbowd.errors import DeployFailed

pytestmark = pytest.mark.usefixtures("autojump")


async def proved(
    behaviour: Behaviour, *, is_adopted: bool = False, dropped_after: float = math.inf
) -> DeployFailed | None:
    plan: Any = None
    app = FakeApp(FakeHost(), 7, plan, behaviour)
    app.open_gate()
    candidacy = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def drop() -> None:
            await trio.sleep(dropped_after)
            candidacy.cancel()

        nursery.start_soon(drop)
        failure = await until_ready(app, candidacy, is_adopted=is_adopted)
        nursery.cancel_scope.cancel()
    return failure


async def test_what_is_healthy_has_no_failure(autojump: MockClock) -> None:
    assert await proved(Behaviour()) is None


async def test_its_own_end_comes_before_any_deadline(autojump: MockClock) -> None:
    failure = await proved(Behaviour(exits_after=0.5, status=3, unhealthy_after=60, boots_after=99))
    assert failure is not None
    assert failure.reason == "the app exited with status 3 before it was ready"
    assert failure.output == ["last words of 7"]


@pytest.mark.parametrize(
    "line",
    [
        "A server is already running (pid: 71, file: /srv/shop/tmp/pids/server.pid).",
        "OSError: [Errno 98] Address already in use",
        "sqlite3.OperationalError: database is locked",
        "flock: Resource temporarily unavailable",
    ],
)
def test_what_two_generations_cannot_share_has_a_hint(line: str) -> None:
    assert "two generations run side by side" in sharing_hint(["booting", line])


def test_another_last_line_has_no_hint() -> None:
    assert sharing_hint(["booting", "FATAL: cannot reach the database"]) == ""


async def test_the_checks_own_words_are_the_reason(autojump: MockClock) -> None:
    failure = await proved(Behaviour(boots_after=99, unhealthy_after=1))
    assert failure is not None
    assert failure.reason == "not healthy in time"


async def test_one_that_is_dropped_waits_no_more(autojump: MockClock) -> None:
    failure = await proved(Behaviour(boots_after=math.inf), dropped_after=1)
    assert failure is not None
    assert failure.reason == "dropped before it was ready"


async def test_another_program_on_its_port_is_distinguished(
    autojump: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeApp, "port_is_taken", lambda _: True)
    assert isinstance(await proved(Behaviour(exits_after=0.1)), PortTaken)


async def test_of_what_an_earlier_agent_launched_nobody_knows_how_it_ended(autojump: MockClock) -> None:
    failure = await proved(Behaviour(exits_after=0.0, boots_after=9), is_adopted=True)
    assert failure is not None
    assert failure.reason == "the app exited while no agent was running"
