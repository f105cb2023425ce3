from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import Config
from rainbowd.deploy.generations.deploy_memory import MemoryFile
from rainbowd.deploy.generations.lifecycle import EndReason
from rainbowd.deploy.generations.recovery import Recovery
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.errors import DeployFailed
from rainbowd.roster import Roster
from tests.fakes import Events, FakeHost, deploy_context

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")

PLAN = LaunchPlan(Path("/releases/a"), Config(run="app", health=None, warmup=0), {})


class Dead:
    """What died, and what becomes of the next."""

    plan = PLAN

    def __init__(self, lived_seconds: float = 0.0) -> None:
        self.live_seconds = lived_seconds
        self.stopped: EndReason | None = None

    def stop(self, reason: EndReason) -> None:
        self.stopped = reason


class Launches:
    """Fails so often, and notes when it was asked and what was switched to."""

    def __init__(self, nursery: trio.Nursery, failures: int = 0) -> None:
        self.failures = failures
        self.asked_at: list[float] = []
        self.switched: list[Any] = []
        self.due: list[bool] = []
        self.launched = Dead()
        self.host = FakeHost()
        roster = Roster()
        context = deploy_context(self.host, Events(), nursery, roster)
        self.recovery = Recovery(context, MemoryFile(self.host), launch=self.launch, switch=self.switch)
        roster.observe(lambda: self.due.append(self.recovery.is_launch_expected))

    async def launch(self, _plan: object) -> Any:
        self.due.append(self.recovery.is_launch_expected)
        self.asked_at.append(trio.current_time())
        await trio.sleep(1)
        if len(self.asked_at) <= self.failures:
            raise DeployFailed("no")
        return self.launched

    def switch(self, life: Any) -> None:
        self.switched.append(life)
        self.recovery.stop()

    def recover(self, lived_seconds: float = 0.0) -> None:
        dead: Any = Dead(lived_seconds)
        self.recovery.start(lambda: self.recovery.relaunch_crashed(dead))


async def test_it_launches_with_back_off_until_one_is_live_and_holds_requests_only_meanwhile(
    autojump: MockClock,
) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        launches = Launches(nursery, failures=3)
        launches.recover()
        assert launches.recovery.is_running
    assert [at - began for at in launches.asked_at] == [0, 1.5, 3.5, 6.5]
    assert launches.switched == [launches.launched]
    assert not launches.recovery.is_running
    assert [due for due, _ in groupby(launches.due)] == [True, False] * 4


async def test_whatever_goes_live_meanwhile_ends_it(autojump: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        launches = Launches(nursery, failures=99)
        launches.recover()
        await trio.sleep(10)
        launches.recovery.stop()
    assert not launches.recovery.is_launch_expected
    assert launches.switched == []


async def test_one_that_is_healthy_in_the_instant_that_another_went_live_is_dropped(autojump: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        launches = Launches(nursery)
        launches.recovery.start(trio.sleep_forever)
        nursery.start_soon(launches.recovery.relaunch, PLAN)
        await trio.sleep(0.5)
        launches.recovery.stop()
    assert launches.switched == []
    assert launches.launched.stopped is EndReason.DROPPED
