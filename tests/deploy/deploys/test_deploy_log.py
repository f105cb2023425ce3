from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.deploy_log import DeployLog
from rainbowd.errors import DeployFailed
from rainbowd.roster import Roster
from tests.fakes import Events, FakeHost

if TYPE_CHECKING:
    from trio.testing import MockClock

    from rainbowd.deploy.generations.lifecycle import Lifecycle

pytestmark = pytest.mark.usefixtures("autojump")

RELEASE = Path("/releases/b")


class Told:
    """Verdicts, what they have told, and what the next agent will remember."""

    def __init__(self) -> None:
        self.events, self.host = Events(), FakeHost()
        self.deploy_log = DeployLog(Roster(), self.events, self.host)  # type: ignore[arg-type]

    @property
    def result(self) -> str | None:
        decision = self.host.memory.decision
        return None if decision is None else decision.result


def life() -> Lifecycle:
    plan: Any = type("Plan", (), {"release": RELEASE})
    found: Any = type("Life", (), {"id": 7, "plan": plan})
    return found  # type: ignore[no-any-return]


async def test_a_success_is_remembered_told_and_known_to_who_waits(autojump: MockClock) -> None:
    told, deploy = Told(), Deploy()
    await trio.sleep(1.5)
    told.deploy_log.record_success(deploy, "succeeded", life())
    assert told.result == "succeeded"
    (event,) = told.events
    assert (event["event"], event["generation"], event["seconds"]) == ("deploy.succeeded", 7, 1.5)
    assert deploy.finished.is_set()
    assert deploy.outcome is not None
    assert (deploy.outcome.result, deploy.outcome.release) == ("succeeded", RELEASE)


async def test_a_failure_is_told_with_its_output(autojump: MockClock) -> None:
    told, deploy = Told(), Deploy(generation=8)
    told.deploy_log.record_failure(deploy, DeployFailed("no", ["last words"]))
    assert told.result == "failed"
    (event,) = told.events
    assert (event["generation"], event["reason"], event["output"]) == (8, "no", ["last words"])


async def test_what_was_live_already_changes_no_decision_but_what_the_files_looked_like(autojump: MockClock) -> None:
    told = Told()
    told.deploy_log.record_failure(Deploy(), DeployFailed("no"))
    file_state = told.host.look()
    told.deploy_log.record_success(Deploy(file_state=file_state), "rolled_back", life(), is_news=False)
    assert told.result == "failed"
    assert told.host.memory.sight == file_state
