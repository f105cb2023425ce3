from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import Config, Drain, Health, Liveness
from tests.fakes import Behaviour, Holding, Scene, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")


def config(**changes: object) -> Config:
    return Config(run="app", warmup=0, **changes)  # type: ignore[arg-type]


async def switched(scene: Scene, release: str = "b") -> Scene:
    """Generation 1 of release a was live, 2 of ``release`` is."""
    await trio.sleep(1.5)
    scene.turn(release)
    await trio.sleep(1.5)
    assert scene.live == 2
    return scene


async def test_the_one_before_stays_warm_for_its_time_and_is_then_drained(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        assert scene.states() == {1: "standby", 2: "live"}
        await trio.sleep(58)
        assert scene.states() == {1: "standby", 2: "live"}
        await trio.sleep(3)
        assert scene.states() == {2: "live"}
        told = [event["event"] for event in scene.events if event.get("generation") == 1]
        assert told[-3:] == ["generation.standby", "generation.draining", "generation.retired"]


async def test_a_link_turned_back_to_the_standby_is_live_at_once_and_launches_nothing(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.turn("a")
        await trio.sleep(0.001)
        assert scene.states() == {1: "live", 2: "standby"}
        assert [app.id for app in scene.host.apps] == [1, 2]
        assert scene.story()[-3:] == ["generation.live 1", "generation.standby 2", "deploy.rolled_back 1"]
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "rolled_back"


async def test_turning_back_and_forth_never_launches(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        for turn in range(10):
            scene.turn("ab"[turn % 2])
            await trio.sleep(50)
        assert len(scene.host.apps) == 2
        assert scene.states() == {1: "standby", 2: "live"}


async def test_requests_in_flight_on_a_standby_finish(autojump: MockClock) -> None:
    async with playing(config=config(standby=5, drain=Drain(timeout=30))) as scene:
        await trio.sleep(1.5)
        holding = Holding(scene)
        scene.turn("b")
        await trio.sleep(20)
        assert scene.states() == {1: "draining", 2: "live"}
        holding.end()
        await trio.sleep(1)
        assert scene.states() == {2: "live"}
        assert not holding.was_cut


async def test_a_third_generation_makes_the_second_the_standby_and_drains_the_first(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.turn("c")
        await trio.sleep(1.5)
        assert scene.states() == {2: "standby", 3: "live"}


async def test_a_touch_with_the_link_turned_back_is_a_deploy(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.turn("a")
        scene.ask("file")
        await trio.sleep(1.5)
        assert scene.live == 3


async def test_the_standby_bridges_until_what_died_is_live_again(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.app(2).die()
        await trio.sleep(0.001)
        assert scene.live == 1
        assert None not in scene.live_seen[1:]
        await trio.sleep(1.5)
        assert scene.states() == {1: "standby", 3: "live"}
        await trio.sleep(58)
        assert scene.states() == {1: "standby", 3: "live"}
        assert scene.events.named("generation.launched")[-1]["relaunch"] is True


async def test_the_standby_bridges_as_long_as_relaunches_fail(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.host.behaviours["b"] = Behaviour(exits_after=0)
        scene.app(2).die()
        await trio.sleep(300)
        assert scene.live == 1
        scene.host.behaviours["b"] = Behaviour()
        await trio.sleep(40)
        live = scene.roster.live
        assert live is not None
        assert live.release.name == "b"


async def test_if_the_bridging_standby_dies_too_requests_are_held_for_the_relaunch(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.app(2).die()
        await trio.sleep(0.5)
        scene.app(1).die()
        await trio.sleep(0.001)
        assert scene.live is None
        assert scene.roster.is_launch_due
        await trio.sleep(1)
        assert scene.states() == {3: "live"}
        assert scene.app(3).plan.release.name == "b"


async def test_the_link_turned_to_what_bridges_ends_the_relaunching(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.host.behaviours["b"] = Behaviour(boots_after=math.inf)
        scene.app(2).die()
        await trio.sleep(1)
        scene.turn("a")
        await trio.sleep(20)
        assert scene.states() == {1: "live"}
        assert scene.story().count("deploy.rolled_back 1") == 1


async def test_a_standby_that_dies_is_retired_and_nothing_else(autojump: MockClock) -> None:
    async with playing(config=config(standby=60)) as scene:
        await switched(scene)
        scene.app(1).die()
        await trio.sleep(1)
        assert scene.states() == {2: "live"}
        assert scene.story()[-1] == "generation.retired 1"
        assert not scene.events.named("generation.crashed")
        scene.turn("a")
        await trio.sleep(1.5)
        assert scene.live == 3


async def test_a_standby_makes_room_at_max_generations(autojump: MockClock) -> None:
    async with playing(config=config(standby=60, max_generations=2)) as scene:
        await switched(scene)
        scene.turn("c")
        await trio.sleep(2)
        assert scene.states() == {2: "standby", 3: "live"}
        assert not scene.events.named("deploy.waiting")


async def test_a_crash_is_answered_at_max_generations_too(autojump: MockClock) -> None:
    async with playing(config=config(max_generations=2, drain=Drain(timeout=500))) as scene:
        await trio.sleep(1.5)
        Holding(scene)
        scene.ask()
        await trio.sleep(5)
        scene.ask()
        await trio.sleep(5)
        assert scene.story()[-1] == "deploy.waiting"
        scene.app(2).die()
        await trio.sleep(3)
        assert scene.live == 3
        assert scene.roster.generations.keys() == {1, 3}


# --- liveness -------------------------------------------------------------------------------------------------

LIVELY = Health(path="/up", liveness=Liveness(interval=10, failures=3))


async def test_an_unresponsive_generation_is_replaced_by_the_same_release(autojump: MockClock) -> None:
    async with playing(config=Config(run="app", health=LIVELY, standby=60)) as scene:
        await trio.sleep(100)
        assert scene.live == 1
        scene.app(1).behaviour.is_silent = True
        before = scene.app(1).plan
        scene.host.config_error = "broken since"
        scene.host.behaviours["a"] = Behaviour()
        await trio.sleep(18)
        assert scene.live == 1
        await trio.sleep(14)
        assert scene.states() == {2: "live"}
        assert scene.app(2).plan is before
        asked = scene.events.named("deploy.requested")[-1]
        assert asked["trigger"] == "liveness"
        assert scene.events[-1]["event"] == "generation.retired"


async def test_a_failure_now_and_then_replaces_nothing(autojump: MockClock) -> None:
    async with playing(config=Config(run="app", health=LIVELY)) as scene:
        await trio.sleep(1.5)
        for _ in range(20):
            scene.app(1).behaviour.is_silent = True
            await trio.sleep(20)
            scene.app(1).behaviour.is_silent = False
            await trio.sleep(20)
        assert scene.live == 1
        assert len(scene.host.apps) == 1


async def test_a_release_that_is_unresponsive_again_is_replaced_less_often(autojump: MockClock) -> None:
    quick = Health(path="/up", liveness=Liveness(interval=0.5, failures=1))
    behaviours = {"a": Behaviour(boots_after=0.1, is_silent=True)}
    async with playing(config=Config(run="app", health=quick), behaviours=behaviours) as scene:
        await trio.sleep(300)
        launched = len(scene.host.apps)
        assert 5 < launched < 20


async def test_a_release_that_is_silent_and_cannot_be_launched_again_stays_live(autojump: MockClock) -> None:
    async with playing(config=Config(run="app", health=LIVELY)) as scene:
        await trio.sleep(1.5)
        scene.app(1).behaviour.is_silent = True
        scene.host.behaviours["a"] = Behaviour(boots_after=99, unhealthy_after=5)
        await trio.sleep(200)
        assert scene.live == 1
        assert 2 < len(scene.reasons()) < 12


# --- nothing live -----------------------------------------------------------------------------------------------


async def test_a_relaunch_that_is_healthy_as_a_deploy_switches_is_dropped(autojump: MockClock) -> None:
    async with playing() as scene:
        await trio.sleep(1.5)
        scene.app(1).die()
        scene.turn("b")
        await trio.sleep(10)
        live = scene.roster.live
        assert live is not None
        assert live.release.name == "b"
        assert len(scene.states()) == 1
