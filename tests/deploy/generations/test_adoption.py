from __future__ import annotations

import math
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import Config, Drain
from rainbowd.deploy.generations.adoption import assign_roles, should_deploy
from rainbowd.deploy.interfaces import RecordedGeneration
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.records import DeployMemory, LastOutcome
from rainbowd.deploy.watch.file_state import FileState, Stamp
from rainbowd.roster import State
from tests.fakes import Behaviour, Scene, acting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")


def config(**changes: object) -> Config:
    return Config(run="app", warmup=0, **changes)  # type: ignore[arg-type]


async def killed_and_started(scene: Scene, agents: trio.Nursery, after_seconds: float = 0.0) -> None:
    await scene.kill()
    await trio.sleep(after_seconds)
    await scene.start(agents)


async def live(scene: Scene, agents: trio.Nursery) -> None:
    await scene.start(agents)
    await trio.sleep(1.5)
    assert scene.live == 1


@asynccontextmanager
async def failed_deploy() -> AsyncIterator[tuple[Scene, trio.Nursery]]:
    """An agent with a live generation of release ``a``, after the deploy of ``bad`` has failed."""
    async with acting(behaviours={"bad": Behaviour(exits_after=0)}) as (scene, agents):
        await live(scene, agents)
        scene.turn("bad")
        await trio.sleep(1)
        yield scene, agents


async def test_an_adopted_live_generation_takes_traffic_at_once_and_is_not_launched_again(autojump: MockClock) -> None:
    async with acting() as (scene, agents):
        await live(scene, agents)
        live_at = scene.roster.live and scene.roster.live.live_at
        await killed_and_started(scene, agents, 100)
        assert scene.roster.is_launch_due  # requests wait until it is known
        await trio.sleep(0.1)
        assert scene.live == 1
        assert not scene.roster.is_launch_due
        assert scene.roster.live is not None
        assert scene.roster.live.live_at == live_at
        assert scene.story()[-1] == "generation.adopted 1"
        assert len(scene.host.apps) == 1


async def test_the_last_decision_is_still_known(autojump: MockClock) -> None:
    async with failed_deploy() as (scene, agents):
        await killed_and_started(scene, agents)
        await trio.sleep(50)
        assert scene.live == 1
        assert len(scene.host.apps) == 2  # what failed is not tried again
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "failed"
        scene.ask()
        await trio.sleep(1)
        assert len(scene.host.apps) == 3


async def test_a_link_turned_back_while_no_agent_ran_launches_nothing(autojump: MockClock) -> None:
    async with failed_deploy() as (scene, agents):
        await scene.kill()
        scene.turn("a")
        await scene.start(agents)
        await trio.sleep(5)
        assert scene.live == 1
        assert scene.story()[-1] == "deploy.rolled_back 1"


async def test_a_crash_of_what_was_adopted_is_of_unknown_status(autojump: MockClock) -> None:
    async with acting() as (scene, agents):
        await live(scene, agents)
        await killed_and_started(scene, agents)
        await trio.sleep(1)
        scene.app(1).die()
        await trio.sleep(2)
        assert scene.live == 2
        assert scene.events.named("generation.crashed")[0]["exit_status"] is None
        assert scene.events.named("generation.retired")[0]["exit_status"] is None


async def test_a_deploy_cut_off_is_recorded_as_failed_and_repeated(autojump: MockClock) -> None:
    async with acting(behaviours={"b": Behaviour(boots_after=5)}) as (scene, agents):
        await live(scene, agents)
        scene.turn("b")
        await trio.sleep(2)
        await killed_and_started(scene, agents)
        await trio.sleep(10)
        assert scene.reasons() == ["interrupted: the agent was killed"]
        assert scene.live == 3


@pytest.mark.parametrize(
    ("state", "settings"), [("draining", {"drain": Drain(timeout=60)}), ("standby", {"standby": 60})]
)
async def test_an_adopted_generation_has_the_rest_of_its_time_though_nobody_holds_it(
    autojump: MockClock, state: str, settings: dict[str, Any]
) -> None:
    async with acting(config=config(**settings)) as (scene, agents):
        await live(scene, agents)
        if state == "draining":
            scene.roster.lease(scene)  # type: ignore[arg-type]
        scene.turn("b")
        await trio.sleep(11)
        await killed_and_started(scene, agents)
        await trio.sleep(48)
        assert scene.states() == {1: state, 2: "live"}
        await trio.sleep(5)
        assert scene.states() == {2: "live"}


async def test_the_standby_is_live_if_the_live_one_died_with_the_agent(autojump: MockClock) -> None:
    async with acting(config=config(standby=60)) as (scene, agents):
        await live(scene, agents)
        scene.turn("b")
        await trio.sleep(2)
        await scene.kill()
        scene.app(2).die()
        await scene.start(agents)
        await trio.sleep(0.1)
        assert scene.live == 1
        await trio.sleep(2)
        assert scene.live == 3
        assert scene.app(3).plan.release.name == "b"


async def test_the_standby_that_bridged_when_the_agent_was_killed_continues_to(autojump: MockClock) -> None:
    async with acting(config=config(standby=60)) as (scene, agents):
        await live(scene, agents)
        scene.turn("b")
        await trio.sleep(2)
        scene.app(2).die()
        await trio.sleep(0.5)
        await killed_and_started(scene, agents)
        await trio.sleep(0.1)
        assert scene.live == 1
        await trio.sleep(2)
        assert scene.roster.live is not None
        assert scene.roster.live.release.name == "b"


async def test_after_a_failed_deploy_and_a_reboot_the_release_that_was_live_comes_up(autojump: MockClock) -> None:
    async with failed_deploy() as (scene, agents):
        await scene.stop()
        await scene.start(agents)
        await trio.sleep(3)
        assert scene.roster.live is not None
        assert scene.roster.live.release.name == "a"
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "failed"
        launched = len(scene.host.apps)
        await trio.sleep(300)
        assert len(scene.host.apps) == launched


@pytest.mark.parametrize("is_gone", [False, True])
async def test_if_neither_starts_both_are_tried_again(autojump: MockClock, is_gone: bool) -> None:
    async with failed_deploy() as (scene, agents):
        await scene.stop()
        scene.host.behaviours["a"] = Behaviour(exits_after=0)
        scene.host.gone = {"a"} if is_gone else set()
        await scene.start(agents)
        await trio.sleep(20)
        assert scene.live is None
        scene.host.gone = set()
        scene.host.behaviours["a"] = Behaviour()
        await trio.sleep(40)
        assert scene.roster.live is not None
        assert scene.roster.live.release.name == "a"


async def test_a_stop_right_at_the_start_ends_what_was_left(autojump: MockClock) -> None:
    async with acting(behaviours={"b": Behaviour(boots_after=math.inf)}) as (scene, agents):
        await live(scene, agents)
        scene.turn("b")
        await trio.sleep(2)
        await killed_and_started(scene, agents)
        await scene.stop()
        assert [app.ended_times for app in scene.host.apps] == [1, 1]
        assert scene.reasons() == ["interrupted: the agent was killed"]


# --- deciding -------------------------------------------------------------------------------------------------


def left(
    number: int, state: State, for_seconds: float, *, standby: float = 0, live_at: float = 0.0
) -> RecordedGeneration:
    return RecordedGeneration(
        number, LaunchPlan(Path("/r"), config(standby=standby), {}), state, for_seconds, 0.0, live_at
    )


@pytest.mark.parametrize("live_at", [9.0, 1.0], ids=["clock", "clock set back"])
def test_of_two_generations_recorded_as_live_the_one_that_went_live_last_is_live(live_at: float) -> None:
    older = left(2, State.LIVE, 50.0, live_at=5.0)
    newer = left(1, State.LIVE, 9.0, standby=7, live_at=live_at)
    found = assign_roles([left(3, State.STARTING, 0.0), older, newer])
    states = {one.id: (one.state, one.for_seconds) for one in found}
    assert states == {1: (State.LIVE, 9.0), 2: (State.DRAINING, 9.0), 3: (State.STOPPING, 0.0)}


def test_there_is_one_standby_and_the_live_ones_config_keeps_it() -> None:
    found = assign_roles(
        [left(1, State.STANDBY, 6.0), left(2, State.STANDBY, 5.0), left(3, State.LIVE, 9.0, standby=7)]
    )
    states = {one.id: (one.state, one.warm_seconds) for one in found}
    assert states == {3: (State.LIVE, 7), 2: (State.STANDBY, 7), 1: (State.DRAINING, 0)}


A, B = Path("/a"), Path("/b")
SIGHT = FileState(B, None, Stamp(1, 1, 1), 0, (), None)
TOUCHED_SINCE = FileState(B, None, Stamp(2, 2, 2), 0, (), None)
FAILED, DONE = LastOutcome("d", "failed", "x", 0.0), LastOutcome("d", "succeeded", None, 0.0)


@pytest.mark.parametrize(
    ("memory", "now", "named", "due"),
    [
        (DeployMemory(DONE, SIGHT), SIGHT, A, False),
        (DeployMemory(FAILED, SIGHT), SIGHT, B, False),
        (DeployMemory(DONE, SIGHT), SIGHT, B, True),
        (DeployMemory(None, SIGHT), SIGHT, B, True),
        (DeployMemory(DONE, SIGHT), TOUCHED_SINCE, B, False),  # the watcher reports it
        (DeployMemory(), SIGHT, B, True),
        (DeployMemory(), SIGHT, A, False),
    ],
)
def test_what_the_files_name_is_due_unless_it_is_live_or_failed(
    memory: DeployMemory, now: FileState, named: Path, due: bool
) -> None:
    assert should_deploy(memory, now, named, A) is due
