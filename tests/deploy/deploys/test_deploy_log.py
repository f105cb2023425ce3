from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.deploy_log import DeployLog
from rainbowd.deploy.generations.deploy_memory import MemoryFile
from rainbowd.errors import DeployFailed
from tests.fakes import Events, FakeHost, deploy_context

if TYPE_CHECKING:
    from trio.testing import MockClock

    from rainbowd.deploy.generations.lifecycle import Lifecycle

pytestmark = pytest.mark.usefixtures("autojump")

RELEASE = Path("/releases/b")


class Recorded:
    """A deploy log with its journal, and the memory that the next agent will read."""

    def __init__(self) -> None:
        self.events, self.host = Events(), FakeHost()
        self.deploy_log = DeployLog(deploy_context(self.host, self.events), MemoryFile(self.host))

    @property
    def result(self) -> str | None:
        last = self.host.memory.last_outcome
        return None if last is None else last.result


def lifecycle() -> Lifecycle:
    plan: Any = type("Plan", (), {"release": RELEASE})
    found: Any = type("Lifecycle", (), {"id": 7, "plan": plan})
    return found  # type: ignore[no-any-return]


async def test_a_success_is_remembered_recorded_and_known_to_those_who_wait(autojump: MockClock) -> None:
    recorded, deploy = Recorded(), Deploy()
    await trio.sleep(1.5)
    recorded.deploy_log.record_success(deploy, "succeeded", lifecycle())
    assert recorded.result == "succeeded"
    (event,) = recorded.events
    assert (event["event"], event["generation"], event["seconds"]) == ("deploy.succeeded", 7, 1.5)
    assert deploy.finished.is_set()
    assert deploy.outcome is not None
    assert (deploy.outcome.result, deploy.outcome.release) == ("succeeded", RELEASE)


async def test_a_failure_is_recorded_with_its_output(autojump: MockClock) -> None:
    recorded, deploy = Recorded(), Deploy(generation=8)
    recorded.deploy_log.record_failure(deploy, DeployFailed("no", ["last words"]))
    assert recorded.result == "failed"
    (event,) = recorded.events
    assert (event["generation"], event["reason"], event["output"]) == (8, "no", ["last words"])


async def test_a_release_that_is_live_already_changes_the_state_of_the_files_and_not_the_last_deploy(
    autojump: MockClock,
) -> None:
    recorded = Recorded()
    recorded.deploy_log.record_failure(Deploy(), DeployFailed("no"))
    file_state = recorded.host.file_state()
    recorded.deploy_log.record_success(Deploy(file_state=file_state), "rolled_back", lifecycle(), is_news=False)
    assert recorded.result == "failed"
    assert recorded.host.memory.sight == file_state
