from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.fakes import Behaviour, acting, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.fakes import Scene

pytestmark = pytest.mark.usefixtures("autojump")

SLOW_TO_FAIL = Behaviour(unhealthy_after=60, boots_after=math.inf)


async def with_a_failed_deploy(scene: Scene, agents: trio.Nursery) -> None:
    """``a`` is live, ``b`` has failed, and the agent has stopped."""
    await scene.start(agents)
    await trio.sleep(5)
    scene.turn("b")
    await trio.sleep(70)
    assert scene.reasons() == ["not healthy in time"]
    await scene.stop()


async def test_what_was_live_before_a_failed_deploy_is_launched_first(autojump: MockClock) -> None:
    async with acting(behaviours={"b": SLOW_TO_FAIL}) as (scene, agents):
        await with_a_failed_deploy(scene, agents)
        await scene.start(agents)
        await trio.sleep(2)
        assert scene.roster.live is not None
        assert scene.roster.live.release == Path("/releases/a")
        await trio.sleep(600)
        assert len(scene.reasons()) == 1, "what failed is not tried again by itself"
        scene.ask()
        await trio.sleep(70)
        assert len(scene.reasons()) == 2


async def test_what_failed_is_tried_after_that_if_what_was_live_cannot_be_launched(autojump: MockClock) -> None:
    async with acting(behaviours={"b": SLOW_TO_FAIL}) as (scene, agents):
        await with_a_failed_deploy(scene, agents)
        scene.host.behaviours = {"a": Behaviour(boots_after=math.inf, unhealthy_after=1)}
        await scene.start(agents)
        await trio.sleep(20)
        assert scene.roster.live is not None
        assert scene.roster.live.release == Path("/releases/b")


async def test_a_link_that_has_changed_meanwhile_is_deployed_first(autojump: MockClock) -> None:
    async with acting(behaviours={"b": SLOW_TO_FAIL}) as (scene, agents):
        await with_a_failed_deploy(scene, agents)
        scene.turn("c")
        await scene.start(agents)
        await trio.sleep(2)
        assert scene.roster.live is not None
        assert scene.roster.live.release == Path("/releases/c")


async def test_a_deploy_that_the_stop_has_interrupted_is_not_a_failed_one(autojump: MockClock) -> None:
    async with acting(behaviours={"b": Behaviour(boots_after=9)}) as (scene, agents):
        await scene.start(agents)
        await trio.sleep(5)
        scene.turn("b")
        await trio.sleep(2)
        await scene.stop()
        await scene.start(agents)
        await trio.sleep(10)
        assert scene.roster.live is not None
        assert scene.roster.live.release == Path("/releases/b")


async def test_what_was_live_before_is_launched_if_the_live_ones_directory_is_gone(autojump: MockClock) -> None:
    async with playing() as scene:
        await trio.sleep(5)
        scene.turn("b")
        await trio.sleep(5)
        scene.host.gone.add("b")
        scene.app(2).die()
        await trio.sleep(5)
        assert scene.roster.live is not None
        assert scene.roster.live.release == Path("/releases/a")


async def test_a_release_that_is_gone_is_waited_for_if_there_is_no_other(autojump: MockClock) -> None:
    async with playing() as scene:
        await trio.sleep(5)
        scene.host.gone.add("a")
        scene.app(1).die()
        await trio.sleep(100)
        assert scene.live is None
        scene.host.gone.clear()
        await trio.sleep(40)
        assert scene.live is not None
