from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.deploy.deploys.deploy_log import DeployLog
from rainbowd.deploy.deploys.deploy_queue import DeployQueue
from rainbowd.deploy.generations.deploy_memory import MemoryFile
from rainbowd.deploy.watch.watcher import Trigger
from tests.fakes import Events, FakeHost, deploy_context

if TYPE_CHECKING:
    from trio.testing import MockClock

    from rainbowd.deploy.deploys.deploy import Deploy

pytestmark = pytest.mark.usefixtures("autojump")

A, B = Path("/releases/a"), Path("/releases/b")


class Queued:
    """A queue on a fake host, with what it has reported."""

    def __init__(self) -> None:
        self.host, self.events = FakeHost(), Events()
        self.link_changes: list[Path | None] = []
        memory = MemoryFile(self.host)
        deploy_log = DeployLog(deploy_context(self.host, self.events), memory)
        self.queue = DeployQueue(self.host, memory, deploy_log, on_link_change=self.link_changes.append)

    def request(self, trigger: Trigger, *, is_deploying: bool = False) -> Deploy | None:
        return self.queue.request(trigger, A, is_deploying=is_deploying)


async def test_requests_are_merged_until_the_deploy_is_taken(autojump: MockClock) -> None:
    queued = Queued()
    first = queued.request(Trigger(kind="file", note="why"), is_deploying=True)
    assert queued.request(Trigger(kind="signal"), is_deploying=True) is first
    assert await queued.queue.next() is first
    assert first is not None
    assert (first.trigger, first.note) == ("signal", "why")
    assert queued.request(Trigger(kind="file"), is_deploying=True) is not first
    assert len(queued.events.named("deploy.requested")) == 3


async def test_a_deploy_that_was_taken_does_not_come_again(autojump: MockClock) -> None:
    queued = Queued()
    queued.request(Trigger(kind="file"))
    assert queued.queue.take() is not None
    assert queued.queue.take() is None
    with trio.move_on_after(1) as scope:
        await queued.queue.next()
    assert scope.cancelled_caught


async def test_only_a_link_that_names_another_release_is_a_link_change(autojump: MockClock) -> None:
    queued = Queued()
    queued.request(Trigger(kind="symlink"))
    queued.host.link = B
    deploy = queued.request(Trigger(kind="symlink"))
    assert queued.link_changes == [B]
    assert queued.queue.named_release == B
    assert deploy is not None
    assert not deploy.is_link_change_only, "it was requested by a link that names the same release, too"
