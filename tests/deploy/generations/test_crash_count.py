from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.agent.status_content import build_status
from tests.fakes import Behaviour, Scene, acting, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")


def status(scene: Scene) -> Any:
    return build_status({}, scene.roster, scene.supervisor.snapshot())


def kinds(scene: Scene) -> list[str]:
    return [warning["kind"] for warning in status(scene)["warnings"]]


async def test_a_crash_loop_is_in_the_status_with_its_count_and_the_way_back(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(exits_after=3, status=1)}) as scene:
        await trio.sleep(5)
        scene.turn("b")
        await trio.sleep(120)
        crashes = len(scene.events.named("generation.crashed"))
        assert crashes > 4
        found = status(scene)
        assert (found["crashes"]["count"], found["crashes"]["release"]) == (crashes, "/releases/b")
        assert found["crashes"]["reason"] == "exited with status 1"
        (text,) = [warning["text"] for warning in found["warnings"] if warning["kind"] == "crashed"]
        assert text.startswith(f"b crashed {crashes} times since it went live, last: exited with status 1; ")
        assert text.endswith("; `rainbowd rollback` goes back to a")
        scene.turn("a", request="x", is_rollback=True)
        await trio.sleep(5)
        assert (status(scene)["crashes"], kinds(scene)) == (None, [])


async def test_a_crash_is_a_warning_for_an_hour(autojump: MockClock) -> None:
    async with playing() as scene:
        await trio.sleep(5)
        scene.app(1).die(1)
        await trio.sleep(5)
        (warning,) = status(scene)["warnings"]
        assert warning["text"] == "a crashed once since it went live, last: exited with status 1"
        await trio.sleep(3600)
        assert (kinds(scene), status(scene)["crashes"]["count"]) == ([], 1)


async def test_the_next_agent_continues_the_count(autojump: MockClock) -> None:
    async with acting() as (scene, agents):
        await scene.start(agents)
        await trio.sleep(5)
        scene.app(1).die(1)
        await trio.sleep(5)
        await scene.kill()
        await scene.start(agents)
        await trio.sleep(5)
        assert status(scene)["crashes"]["count"] == 1


async def test_a_difference_is_no_warning_while_a_deploy_is_about_to_end_it(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(boots_after=9, unhealthy_after=5)}) as scene:
        await trio.sleep(5)
        scene.turn("b")
        await trio.sleep(2)
        assert kinds(scene) == []
        await trio.sleep(9)
        assert kinds(scene) == ["other"]


async def test_the_first_release_is_waited_for_and_that_is_no_failure(autojump: MockClock) -> None:
    async with playing(link=None) as scene:
        await trio.sleep(5)
        assert (kinds(scene), status(scene)["last_deploy"]) == (["waiting"], None)
