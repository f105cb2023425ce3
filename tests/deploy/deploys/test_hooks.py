from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import Config, HookSettings
from tests.fakes import Behaviour, Scene, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")

ALL = HookSettings(before_launch="before", after_live="live", after_failure="failure")


def config(hooks: HookSettings = ALL, **changes: object) -> Config:
    return Config(run="app", warmup=0, hooks=hooks, **changes)  # type: ignore[arg-type]


def ran(scene: Scene) -> list[tuple[str, int | None]]:
    return [(call.hook, call.generation) for call in scene.host.hooks]


async def started(scene: Scene) -> Scene:
    await trio.sleep(1.5)
    assert scene.live is not None
    return scene


async def test_a_deploy_runs_one_hook_before_its_launch_and_one_after_its_switch(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        await trio.sleep(1)
        assert scene.story() == [
            "deploy.requested",
            "hook.ended 1",
            "generation.launched 1",
            "generation.healthy 1",
            "generation.live 1",
            "deploy.succeeded 1",
            "hook.ended 1",
        ]
        assert ran(scene) == [("before_launch", 1), ("after_live", 1)]


async def test_the_end_of_a_hook_is_recorded_with_its_output(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        (requested,) = scene.events.named("deploy.requested")
        ended = scene.events.named("hook.ended")[0]
        assert (ended["hook"], ended["exit_status"], ended["output"]) == ("before_launch", 0, ["before_launch says"])
        assert (ended["deploy"], ended["release"]) == (requested["deploy"], Path("/releases/a"))


async def test_hooks_that_are_not_given_are_not_run(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings())) as scene:
        await started(scene)
        assert scene.host.hooks == []


async def test_hooks_get_the_deploy_in_their_environment(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        assert (scene.host.hooks[0].previous_release, scene.host.hooks[0].trigger) == (None, "start")
        scene.ask("file", note="urgent")
        scene.host.link = Path("/releases/b")
        scene.ask("symlink")
        await trio.sleep(2)
        before, after = scene.host.hooks[2:]
        assert (before.hook, after.hook) == ("before_launch", "after_live")
        for call in before, after:
            assert (call.generation, call.release) == (2, Path("/releases/b"))
            assert (call.previous_release, call.trigger, call.note) == (Path("/releases/a"), "symlink", "urgent")
            assert call.reason is None
        assert (before.address, after.address) == (None, scene.app(2).address)


async def test_a_hook_that_fails_before_the_launch_fails_the_deploy_with_its_output(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        scene.host.hook_failure = "the hook before_launch exited with status 1"
        scene.ask()
        await trio.sleep(1)
        (failed,) = scene.events.named("deploy.failed")
        assert failed["reason"] == "the hook before_launch exited with status 1"
        assert failed["output"] == ["before_launch says"]
        assert (scene.live, len(scene.host.apps)) == (1, 1)
        failure = scene.host.hooks[-1]
        assert (failure.hook, failure.reason) == ("after_failure", failed["reason"])


async def test_a_hook_that_fails_after_the_switch_changes_nothing(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(after_live="x")), hook_failure="bad") as scene:
        await started(scene)
        await trio.sleep(1)
        assert scene.events.named("deploy.failed") == []
        assert scene.events.named("hook.ended")[0]["reason"] == "bad"
        assert scene.live == 1


async def test_a_hook_that_cannot_be_run_is_reported_like_one_that_fails(
    autojump: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with playing(config=config(HookSettings(before_launch="x"))) as scene:
        monkeypatch.setattr(scene.host, "run_hook", broken)
        scene.ask()
        await trio.sleep(0.1)
        assert scene.reasons()[0] == "internal error: ZeroDivisionError()"


async def test_the_failure_hook_gets_the_reason(autojump: MockClock) -> None:
    async with playing(config=config(), behaviours={"bad": Behaviour(exits_after=0.5, status=3)}) as scene:
        await started(scene)
        scene.turn("bad")
        await trio.sleep(2)
        call = scene.host.hooks[-1]
        assert (call.hook, call.generation, call.release) == ("after_failure", 2, Path("/releases/bad"))
        assert call.plan.release == Path("/releases/bad")
        assert call.reason == "the app exited with status 3 before it was ready"


async def test_the_failure_hook_of_a_deploy_without_a_plan_runs_in_the_live_release(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        scene.host.config_error = "rainbowd.json: broken"
        scene.turn("b")
        await trio.sleep(1)
        call = scene.host.hooks[-1]
        assert (call.hook, call.generation, call.reason) == ("after_failure", None, "rainbowd.json: broken")
        assert (call.plan.release, call.release) == (Path("/releases/a"), Path("/releases/b"))


async def test_without_any_release_there_is_nothing_to_run_a_hook_in(autojump: MockClock) -> None:
    async with playing(config=config(), link=None) as scene:
        scene.ask()
        await trio.sleep(5)
        assert scene.host.hooks == []


async def test_a_relaunch_after_a_crash_runs_no_hook(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await started(scene)
        scene.app(1).die()
        await trio.sleep(5)
        assert scene.live == 2
        assert ran(scene) == [("before_launch", 1), ("after_live", 1)]


async def test_another_try_on_another_port_runs_no_hook_again(autojump: MockClock) -> None:
    async with playing(config=config(), behaviours={"a": Behaviour(port_taken=2)}) as scene:
        scene.ask()
        await trio.sleep(5)
        assert scene.live == 3
        assert ran(scene) == [("before_launch", 1), ("after_live", 3)]


async def test_a_deploy_that_is_tried_again_by_itself_runs_no_hook_twice(autojump: MockClock) -> None:
    async with playing(config=config(), behaviours={"a": Behaviour(exits_after=0.1)}) as scene:
        await trio.sleep(10)
        assert ran(scene) == [("before_launch", 1), ("after_failure", 1)]
        first, *retries = scene.events.named("deploy.requested")
        assert len(retries) > 3
        assert first["retry_of"] is None
        assert {retry["retry_of"] for retry in retries} == {first["deploy"]}
        scene.host.behaviours["a"] = Behaviour()
        await trio.sleep(20)
        assert [hook for hook, _ in ran(scene)][2:] == ["after_live"]


async def test_a_hook_that_failed_is_what_is_tried_again(autojump: MockClock) -> None:
    async with playing(config=config(), hook_failure="no database") as scene:
        await trio.sleep(3)
        scene.host.hook_failure = None
        scene.host.behaviours["a"] = Behaviour(exits_after=0.1)
        failed = len(scene.reasons())
        await trio.sleep(60)
        assert [hook for hook, _ in ran(scene)] == ["before_launch", "after_failure", *["before_launch"] * failed]
        scene.ask()
        await trio.sleep(1)
        assert [hook for hook, _ in ran(scene)][-2:] == ["before_launch", "after_failure"]


async def test_the_hook_before_the_launch_waits_for_a_slot(autojump: MockClock) -> None:
    slow = Behaviour(stops_after=20)
    async with playing(config=config(max_generations=2), behaviours={"a": slow}) as scene:
        await started(scene)
        scene.ask()
        await trio.sleep(2)
        scene.ask()
        await trio.sleep(5)
        assert ran(scene)[-1] == ("after_live", 2)
        await trio.sleep(20)
        assert ran(scene)[-2:] == [("before_launch", 3), ("after_live", 3)]


async def test_a_link_turned_elsewhere_ends_the_hook_before_the_next_one_begins(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(before_launch="x")), hook_seconds=60) as scene:
        scene.turn("b")
        await trio.sleep(10)
        scene.turn("c")
        await trio.sleep(0.4)
        assert ran(scene) == [("before_launch", 1)]
        await trio.sleep(0.2)
        assert ran(scene) == [("before_launch", 1), ("before_launch", 2)]
        assert scene.host.hooks_at_once == 1
        assert scene.reasons() == ["superseded by /releases/c"]
        assert scene.events.named("hook.ended")[0]["exit_status"] == -15


async def test_a_stop_ends_the_hook_and_the_deploy_is_interrupted(autojump: MockClock) -> None:
    async with playing(config=config(), hook_seconds=math.inf) as scene:
        scene.ask()
        await trio.sleep(10)
        scene.supervisor.stop()
        await trio.sleep(1)
        assert scene.host.hooks_at_once == 0
        assert scene.reasons() == ["interrupted: the agent stops"]
        assert ran(scene) == [("before_launch", 1)]


async def test_deploys_do_not_wait_for_a_hook_that_runs_after_a_switch(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(after_live="x")), hook_seconds=100) as scene:
        await started(scene)
        for _ in range(2):
            scene.ask()
            await trio.sleep(2)
        assert scene.live == 3
        assert ran(scene) == [("after_live", 1)]
        await trio.sleep(300)
        assert ran(scene) == [("after_live", number) for number in (1, 2, 3)]


async def test_a_stop_ends_what_runs_behind_a_switch_and_begins_nothing_more(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(after_live="x")), hook_seconds=math.inf) as scene:
        await started(scene)
        scene.ask()
        await trio.sleep(2)
        scene.supervisor.stop()
        await trio.sleep(1)
        assert scene.host.hooks_at_once == 0
        assert ran(scene) == [("after_live", 1)]


async def test_a_deploy_that_is_cancelled_with_all_else_is_told_as_interrupted(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(before_launch="x")), hook_seconds=math.inf) as scene:
        scene.ask()
        await trio.sleep(1)
        scene.nursery.cancel_scope.cancel()
    assert scene.host.hooks_at_once == 0
    assert scene.reasons() == ["interrupted: the agent stops"]
    assert scene.story()[-2:] == ["hook.ended 1", "deploy.failed 1"]
