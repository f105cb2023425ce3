from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.agent.status_content import build_status
from rainbowd.config import Config, HookSettings
from tests.fakes import Behaviour, Holding, Scene, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")


def deploying(scene: Scene) -> Any:
    return build_status({}, scene.roster, scene.supervisor.snapshot())["deploying"]


async def started(scene: Scene) -> None:
    await trio.sleep(10)
    assert scene.live == 1
    assert deploying(scene) is None


async def test_a_hook_that_runs_is_the_step_of_its_deploy_with_what_it_has_written(autojump: MockClock) -> None:
    config = Config(run="app", warmup=0, hooks=HookSettings(before_launch="build"))
    async with playing(config=config, hook_seconds=5) as scene:
        await started(scene)
        scene.ask(note="faster", by="ann")
        await trio.sleep(3)
        found = deploying(scene)
        assert (found["step"], found["output"], found["output_lines"]) == (
            "before_launch",
            ["before_launch begins"],
            1,
        )
        assert (found["release"], found["generation"], found["note"], found["by"]) == (
            "/releases/a",
            2,
            "faster",
            "ann",
        )
        await trio.sleep(2.5)
        found = deploying(scene)
        assert (found["step"], found["output"], found["output_lines"]) == ("health", [], 0)


async def test_a_candidate_boots_until_its_first_check_has_come_back(autojump: MockClock) -> None:
    slow = Behaviour(boots_after=9, first_check_after=3)
    async with playing(behaviours={"b": slow}) as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(2)
        found = deploying(scene)
        assert (found["step"], found["last_check"], found["step_at"]) == ("boot", None, found["at"])
        await trio.sleep(2)
        found = deploying(scene)
        assert (found["step"], found["last_check"]) == ("health", "answered 503")
        await trio.sleep(6)
        assert deploying(scene) is None


async def test_a_deploy_that_waits_for_a_slot_is_at_that_step(autojump: MockClock) -> None:
    async with playing(config=Config(run="app", warmup=0, max_generations=2)) as scene:
        await started(scene)
        Holding(scene)
        scene.ask()
        await trio.sleep(5)
        scene.ask()
        await trio.sleep(5)
        assert deploying(scene)["step"] == "slot"


async def test_a_deploy_is_shown_while_it_is_under_way_and_not_the_failure_before_it(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(unhealthy_after=3, boots_after=math.inf)}) as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(2)
        first = deploying(scene)["deploy"]
        await trio.sleep(2)
        scene.ask()
        await trio.sleep(1)
        assert deploying(scene)["deploy"] != first
        found: Any = build_status({}, scene.roster, scene.supervisor.snapshot())["last_deploy"]
        assert (found["deploy"], found["result"]) == (first, "failed")


async def test_every_step_is_published(autojump: MockClock) -> None:
    config = Config(run="app", warmup=0, hooks=HookSettings(before_launch="build"))
    async with playing(config=config, hook_seconds=5) as scene:
        await started(scene)
        steps: list[str] = []

        def look() -> None:
            found = deploying(scene)
            if found is not None and found["step"] not in steps[-1:]:
                steps.append(found["step"])

        scene.events.on_status_change.append(look)
        scene.ask()
        await trio.sleep(10)
        assert steps == ["plan", "before_launch", "boot", "health"]
