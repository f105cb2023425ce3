from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import Config, HookSettings
from rainbowd.deploy.deploys.link_intent import is_rollback
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.report.history import deploys
from tests.fakes import Behaviour, Scene, acting, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

    from rainbowd.deploy.records import DeployMemory
    from rainbowd.report.history import DeployEntry

pytestmark = pytest.mark.usefixtures("autojump")

A, B = Path("/releases/a"), Path("/releases/b")
BAD = {"b": Behaviour(unhealthy_after=1, boots_after=math.inf)}
BUILD = HookSettings(before_launch="build")


def config(hooks: HookSettings = BUILD, **changes: object) -> Config:
    return Config(run="app", warmup=0, hooks=hooks, **changes)  # type: ignore[arg-type]


def entries(scene: Scene) -> list[DeployEntry]:
    told = [{"at": "2026-11-23T10:00:00.000Z", **event} for event in scene.events]
    for event in told:
        event["release"] = str(event["release"]) if event.get("release") else None
    return deploys(told)


def built(scene: Scene) -> list[tuple[str, bool]]:
    """The releases for which the hook ran, and whether that was for a rollback."""
    return [(call.plan.release.name, call.is_rollback) for call in scene.host.hooks]


async def live_of(scene: Scene, *releases: str) -> None:
    """Deploy them one after the other, as a tool does that points the link."""
    await trio.sleep(5)
    for release in releases:
        scene.turn(release)
        await trio.sleep(5)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_rollback_does_not_run_the_hook_again_that_has_succeeded(autojump: MockClock, by_hand: bool) -> None:
    async with playing(config=config()) as scene:
        await live_of(scene, "b")
        scene.turn("a", **({} if by_hand else {"request": "x", "is_rollback": True}))
        await trio.sleep(5)
        assert scene.live == 3
        assert built(scene) == [("a", False), ("b", False)]
        assert [(one["release"], one["rollback"], one["result"]) for one in entries(scene)[:2]] == [
            ("/releases/a", True, "succeeded"),
            ("/releases/b", False, "succeeded"),
        ]


async def test_a_deploy_of_an_old_release_by_name_is_a_deploy(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await live_of(scene, "b")
        scene.turn("a", request="x")
        await trio.sleep(5)
        assert built(scene) == [("a", False), ("b", False), ("a", False)]
        assert entries(scene)[0]["rollback"] is False


async def test_the_config_may_ask_for_the_hook_at_a_rollback(autojump: MockClock) -> None:
    async with playing(config=config(HookSettings(before_launch="build", on_rollback=True))) as scene:
        await live_of(scene, "b", "a")
        assert built(scene) == [("a", False), ("b", False), ("a", True)]


async def test_the_hook_runs_at_a_rollback_if_the_directory_was_made_again(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await live_of(scene, "b")
        scene.host.made["a"] = 1
        await live_of(scene, "a")
        assert built(scene) == [("a", False), ("b", False), ("a", True)]


async def test_the_hook_runs_at_a_rollback_if_the_config_has_another_one(autojump: MockClock) -> None:
    async with playing(config=config()) as scene:
        await live_of(scene, "b")
        scene.host.config = config(HookSettings(before_launch=("build", "more")))
        await live_of(scene, "a")
        assert built(scene)[-1] == ("a", True)


async def test_the_next_agent_knows_for_which_releases_the_hook_has_succeeded(autojump: MockClock) -> None:
    async with acting(config=config(HookSettings(before_launch=("build", "all")))) as (scene, agents):
        await scene.start(agents)
        await live_of(scene, "b")
        await scene.kill()
        await scene.start(agents)
        await live_of(scene, "a")
        assert built(scene) == [("a", False), ("b", False)]


async def test_a_link_that_a_command_restores_is_the_end_of_its_failed_deploy(autojump: MockClock) -> None:
    async with playing(behaviours=BAD) as scene:
        await live_of(scene)
        scene.turn("b", request="x")
        await trio.sleep(3)
        scene.restore("a", turns=0)
        await trio.sleep(3)
        (failed, start) = entries(scene)
        assert (failed["result"], failed["output"], start["result"]) == ("failed", ["last words of 2"], "succeeded")
        (restored,) = scene.events.named("link.restored")
        assert (restored["deploy"], restored["release"]) == (failed["deploy"], A)
        assert scene.supervisor.named_release == A
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "failed"
        scene.turn("a")  # the same release again, and somebody means it
        await trio.sleep(3)
        assert scene.live == 3


async def test_a_link_that_is_restored_while_something_is_asked_for_is_seen_as_any_other(autojump: MockClock) -> None:
    async with playing(behaviours=BAD) as scene:
        await live_of(scene)
        scene.turn("b", request="x")
        await trio.sleep(3)
        scene.ask()  # tries b again
        await trio.sleep(0.5)
        scene.restore("a", turns=0)
        await trio.sleep(5)
        assert [entry["result"] for entry in entries(scene)] == ["rolled_back", "failed", "failed", "succeeded"]
        assert scene.live == 1


async def test_a_link_pointed_by_hand_to_the_live_release_leaves_the_last_deploy_as_it_was(autojump: MockClock) -> None:
    async with playing(behaviours=BAD) as scene:
        await live_of(scene, "b", "a")
        assert entries(scene)[0]["result"] == "rolled_back"
        assert entries(scene)[0]["rollback"]
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "failed"


async def test_a_rollback_by_a_command_to_what_is_live_is_the_last_deploy(autojump: MockClock) -> None:
    async with playing(behaviours=BAD) as scene:
        await live_of(scene, "b")
        scene.turn("a", request="x", is_rollback=True)
        await trio.sleep(3)
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "rolled_back"
        assert scene.live == 1


async def test_a_rollback_that_needs_a_launch_is_remembered_as_one(autojump: MockClock) -> None:
    async with playing() as scene:
        await live_of(scene, "b")
        scene.turn("a", request="x", is_rollback=True)
        await trio.sleep(5)
        decision = scene.supervisor.last_outcome
        assert decision is not None
        assert (decision.result, decision.is_rollback) == ("succeeded", True)


async def test_a_superseded_deploy_keeps_its_own_release(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(boots_after=9)}) as scene:
        await live_of(scene)
        scene.turn("b")
        await trio.sleep(3)
        scene.turn("c")
        await trio.sleep(5)
        last, superseded, _ = entries(scene)
        assert (last["release"], last["result"]) == ("/releases/c", "succeeded")
        assert (superseded["release"], superseded["result"]) == ("/releases/b", "failed")
        assert str(superseded["superseded_by"]) == "/releases/c"
        assert superseded["reason"] == "superseded by /releases/c"


@pytest.mark.parametrize(
    ("trigger", "named", "is_link_changed", "expected"),
    [
        (Trigger("symlink"), A, True, True),
        (Trigger("symlink"), A, False, False),
        (Trigger("symlink"), B, True, False),
        (Trigger("symlink"), None, True, False),
        (Trigger("file", request="x"), A, True, False),
        (Trigger("file", request="x", is_rollback=True), A, True, True),
        (Trigger("api", is_rollback=True), B, True, True),
        (Trigger("signal"), A, False, False),
    ],
)
def test_what_is_a_rollback(trigger: Trigger, named: Path | None, is_link_changed: bool, expected: bool) -> None:
    assert is_rollback(trigger, named, is_link_changed=is_link_changed, past=(A,)) is expected


async def test_nothing_that_was_not_live_is_the_release_before(autojump: MockClock) -> None:
    async with playing(behaviours=BAD) as scene:
        await live_of(scene, "b", "c")
        memory: DeployMemory = scene.host.memory
        assert (memory.live_release, memory.previous_release) == (Path("/releases/c"), A)
