"""The bake: a release that fails after the switch is taken back, on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import Bake, Config, Drain, Health, Liveness, ProcessSettings
from tests.fake_companions import CompanionBehaviour
from tests.fakes import Behaviour, Holding, acting, playing

if TYPE_CHECKING:
    from tests.fakes import Scene

pytestmark = pytest.mark.usefixtures("autojump")


def config(**changes: Any) -> Config:
    settings = {"bake": Bake(seconds=60), "warmup": 0.0, "drain": Drain(timeout=5), **changes}
    return Config(run="app", health=settings.pop("health", None), **settings)


def serve(scene: Scene, count: int, *, failed: int = 0, what: str = "GET /basket: 500") -> None:
    """Have the live generation answer requests, of which some fail."""
    live = scene.roster.live
    assert live is not None
    live.requests += count
    for _ in range(failed):
        live.count_error(what)


async def live_b(scene: Scene, before: int = 1000, failed_before: int = 2) -> None:
    """Deploy ``b`` after ``a`` has served some requests."""
    await trio.sleep(2)
    serve(scene, before, failed=failed_before, what="GET /: 500")
    await trio.sleep(2)
    scene.turn("b")
    await trio.sleep(2)
    assert scene.live == 2


def outcome(scene: Scene) -> dict[str, Any]:
    return scene.events.named("deploy.succeeded", "deploy.failed", "deploy.rolled_back")[-1]


async def test_a_healthy_release_is_decided_at_the_end_of_its_bake() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        assert scene.states() == {1: "standby", 2: "live"}
        assert len(scene.events.named("deploy.succeeded")) == 1, "that of the start, which has nothing to go back to"
        serve(scene, 500, failed=4)
        await trio.sleep(58)
        assert len(scene.events.named("deploy.succeeded")) == 1
        await trio.sleep(2)
        assert (outcome(scene)["event"], outcome(scene)["bake_seconds"]) == ("deploy.succeeded", 60)
        await trio.sleep(1)
        assert scene.states() == {2: "live"}


async def test_standby_applies_after_the_bake_as_before() -> None:
    async with playing(config=config(standby=100)) as scene:
        await live_b(scene)
        await trio.sleep(90)
        assert scene.states() == {1: "standby", 2: "live"}
        await trio.sleep(15)
        assert scene.states() == {2: "live"}


async def test_a_failing_release_is_rolled_back_with_its_numbers_and_without_a_launch() -> None:
    async with playing(config=config(bake=Bake(seconds=60, max_error_rate=0.21))) as scene:
        await live_b(scene)
        holding = Holding(scene)
        await trio.sleep(10)
        serve(scene, 79, failed=14)
        serve(scene, 0, failed=5, what="GET /: 502")
        await trio.sleep(0.01)
        assert scene.live == 1
        assert scene.states() == {1: "live", 2: "draining"}
        failed = outcome(scene)
        assert failed["event"] == "deploy.failed"
        assert (failed["rolled_back_to"], failed["canary_share"]) == (1, None)
        assert failed["reason"].startswith("rolled back after 11.")
        told = "17 of 80 requests failed (21 %; 0.2 % before the switch), most of them GET /basket: 500"
        assert failed["reason"].endswith(told)
        assert [event["generation"] for event in scene.events.named("generation.live")] == [1, 2, 1]
        assert [event["generation"] for event in scene.events.named("generation.launched")] == [1, 2]
        assert not holding.was_cut
        holding.end()
        await trio.sleep(1)
        assert scene.states() == {1: "live"}


async def test_the_failed_release_is_not_tried_again_and_is_no_target_of_a_rollback() -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await live_b(scene)
        serve(scene, 10, failed=10)
        await trio.sleep(300)
        assert scene.live == 1
        assert scene.supervisor.snapshot().previous_release is None
        await scene.kill()
        await scene.start(agents)
        await trio.sleep(60)
        assert scene.live == 1
        assert len(scene.events.named("generation.launched")) == 2
        scene.ask()  # a trigger tries it again
        await trio.sleep(5)
        assert scene.roster.live is not None
        assert scene.roster.live.release.name == "b"


async def test_as_many_errors_as_before_are_no_failure() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene, before=100, failed_before=20)
        serve(scene, 100, failed=30)
        await trio.sleep(61)
        assert outcome(scene)["event"] == "deploy.succeeded"


async def test_only_the_last_seconds_before_the_switch_count() -> None:
    async with playing(config=config(bake=Bake(seconds=20))) as scene:
        await trio.sleep(2)
        serve(scene, 100, failed=100, what="GET /: 500")  # an outage, long ago
        await trio.sleep(100)
        serve(scene, 100)
        scene.turn("b")
        await trio.sleep(2)
        serve(scene, 100, failed=10)
        await trio.sleep(1)
        assert outcome(scene)["event"] == "deploy.failed"


@pytest.mark.parametrize("way", ["dies", "refuses", "silent"])
async def test_a_release_that_dies_refuses_or_fails_its_health_check_is_rolled_back(way: str) -> None:
    health = Health(path="/up", liveness=Liveness(interval=2, failures=2))
    async with playing(config=config(health=health, warmup=None)) as scene:
        await live_b(scene)
        if way == "dies":
            scene.app(2).die(3)
        elif way == "refuses":
            live = scene.roster.live
            assert live is not None
            for tenth in range(12):
                live.on_connect_refused(trio.current_time() + tenth / 10)
        else:
            scene.app(2).behaviour.is_silent = True
        await trio.sleep(8)
        assert scene.live == 1
        assert outcome(scene)["rolled_back_to"] == 1
        reason = {"dies": "the app exited with status 3", "refuses": "refuses connections", "silent": "health check"}
        assert reason[way] in outcome(scene)["reason"]
        await trio.sleep(30)
        assert scene.states() == {1: "live"}
        assert [event["generation"] for event in scene.events.named("generation.launched")] == [1, 2]


async def test_a_new_request_ends_the_bake_as_a_success_and_the_next_deploy_begins() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        await trio.sleep(10)
        scene.turn("c")
        await trio.sleep(3)
        ended = outcome(scene)
        assert (ended["event"], ended["generation"]) == ("deploy.succeeded", 2)
        assert 10 < ended["bake_seconds"] < 13
        assert scene.live == 3
        await trio.sleep(61)
        assert outcome(scene)["generation"] == 3


async def test_the_same_release_requested_again_ends_the_bake_as_a_success() -> None:
    async with playing(config=config()) as scene:
        await trio.sleep(2)
        for generation in (2, 3):
            scene.ask()
            await trio.sleep(10)
            assert (scene.live, scene.states()[generation - 1]) == (generation, "standby")
        ended = outcome(scene)
        assert (ended["event"], ended["generation"], ended["release"].name) == ("deploy.succeeded", 2, "a")
        assert ended["bake_seconds"] < 11
        await trio.sleep(61)
        assert (outcome(scene)["event"], outcome(scene)["generation"]) == ("deploy.succeeded", 3)


async def test_a_link_back_to_the_previous_release_is_an_instant_rollback() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        scene.turn("a")
        await trio.sleep(0.1)
        assert scene.live == 1
        ends = scene.events.named("deploy.failed", "deploy.rolled_back")
        assert [event["event"] for event in ends] == ["deploy.failed", "deploy.rolled_back"]
        assert ends[0]["superseded_by"] is not None
        assert [event["generation"] for event in scene.events.named("generation.launched")] == [1, 2]
        await trio.sleep(120)
        assert scene.states() == {1: "live"}


async def test_now_skips_the_bake() -> None:
    async with playing(config=config()) as scene:
        await trio.sleep(2)
        scene.turn("b", is_now=True)
        await trio.sleep(2)
        assert outcome(scene)["generation"] == 2
        assert outcome(scene)["bake_seconds"] is None
        await trio.sleep(1)
        assert scene.states() == {2: "live"}


async def test_a_rollback_that_needs_a_launch_is_not_watched() -> None:
    async with playing(config=config(bake=Bake(seconds=0))) as scene:
        await live_b(scene)
        scene.host.config = config()
        scene.turn("a", is_rollback=True)
        await trio.sleep(2)
        assert (outcome(scene)["event"], outcome(scene)["generation"]) == ("deploy.succeeded", 3)


async def test_a_link_that_is_pointed_by_hand_at_an_earlier_release_is_watched() -> None:
    async with playing(config=config(bake=Bake(seconds=0))) as scene:
        await live_b(scene)
        scene.host.config = config()
        scene.turn("a")
        await trio.sleep(70)
        assert (outcome(scene)["generation"], outcome(scene)["bake_seconds"]) == (3, 60)


async def test_without_the_previous_generation_the_bake_ends_because_nothing_is_left_to_go_back_to() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        scene.app(1).die()
        await trio.sleep(5)
        assert outcome(scene)["event"] == "deploy.succeeded"
        assert scene.live == 2


@pytest.mark.parametrize("first", [1, 2])
async def test_if_both_generations_end_the_previous_release_is_launched_again(first: int) -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        scene.app(first).die(3)
        scene.app(3 - first).die(3)
        await trio.sleep(5)
        failed = outcome(scene)
        assert (failed["event"], failed["rolled_back_to"]) == ("deploy.failed", None)
        assert "exited with status 3; the previous generation has ended, too, and its release" in failed["reason"]
        assert scene.roster.live is not None
        assert (scene.live, scene.roster.live.release.name) == (3, "a")
        assert scene.supervisor.snapshot().previous_release is None, "the failed release is no target of a rollback"
        await trio.sleep(60)
        assert scene.states() == {3: "live"}


async def test_a_machine_that_stops_during_a_bake_starts_with_the_release_that_the_link_names() -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await live_b(scene)
        await scene.kill()
        for number in (1, 2):
            scene.app(number).die()
        await trio.sleep(1)
        await scene.start(agents)
        await trio.sleep(5)
        assert scene.roster.live is not None
        assert (scene.live, scene.roster.live.release.name) == (3, "b")
        previous = scene.supervisor.snapshot().previous_release
        assert previous is not None
        assert previous.name == "a", "the target of a rollback"


async def test_a_stop_interrupts_the_bake() -> None:
    async with playing(config=config()) as scene:
        await live_b(scene)
        await scene.stop()
        assert outcome(scene)["reason"].startswith("interrupted")


@pytest.mark.parametrize("way", ["upgrade", "failed upgrade", "kill"])
@pytest.mark.parametrize("fails", [False, True])
async def test_the_next_agent_continues_the_bake_with_the_time_that_is_left(way: str, fails: bool) -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await live_b(scene)
        await trio.sleep(20)
        serve(scene, 10, failed=4)
        if way == "kill":
            await scene.kill()
            await scene.start(agents)
        else:
            assert await scene.hand_over(5)
            await (scene.take_over(agents) if way == "upgrade" else scene.take_back(agents))
        await trio.sleep(10)
        assert scene.states() == {1: "standby", 2: "live"}
        assert len(scene.events.named("deploy.succeeded")) == 1
        serve(scene, 10, failed=4)
        await trio.sleep(0.1)
        assert scene.live == 2, "errors are counted from zero"
        if fails:
            serve(scene, 10, failed=4)
        await trio.sleep(15)
        assert scene.live == (1 if fails else 2)
        await trio.sleep(15)
        ends = scene.events.named("deploy.succeeded", "deploy.failed", "deploy.rolled_back")
        assert [event["event"] for event in ends[1:]] == ["deploy.failed" if fails else "deploy.succeeded"]
        assert ends[1]["trigger"] == "symlink", "the next agent counts it by its trigger"
        if not fails:
            assert 59 <= ends[1]["bake_seconds"] <= 61
        await trio.sleep(10)
        assert len(scene.states()) == 1
        assert [event["generation"] for event in scene.events.named("generation.launched")] == [1, 2]


@pytest.mark.parametrize(("dead", "live", "result"), [(2, 1, "deploy.failed"), (1, 2, "deploy.succeeded")])
async def test_a_generation_that_died_while_no_agent_ran_decides_the_bake(dead: int, live: int, result: str) -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await live_b(scene)
        await scene.kill()
        scene.app(dead).die()
        await trio.sleep(1)
        await scene.start(agents)
        await trio.sleep(5)
        assert scene.live == live
        assert outcome(scene)["event"] == result
        await trio.sleep(60)
        assert len(scene.events.named("generation.launched")) == 2


async def test_the_status_shows_the_bake_with_its_counts() -> None:
    from rainbowd.agent.status_content import build_status  # noqa: PLC0415

    async with playing(config=config()) as scene:
        await live_b(scene)
        serve(scene, 7, failed=2)
        status = build_status({}, scene.roster, scene.supervisor.snapshot())
        (baking,) = (one for one in status["generations"] if one["id"] == 2)  # type: ignore[attr-defined]
        assert {"requests": 7, "errors": 2}.items() <= baking["bake"].items()
        assert status["deploying"]["step"] == "bake"  # type: ignore[index]
        (previous,) = (one for one in status["generations"] if one["id"] == 1)  # type: ignore[attr-defined]
        assert "bake" not in previous


async def test_a_release_that_cannot_start_is_unaffected() -> None:
    async with playing(config=config(), behaviours={"b": Behaviour(exits_after=0.1)}) as scene:
        await trio.sleep(2)
        scene.turn("b")
        await trio.sleep(3)
        assert (scene.live, outcome(scene)["event"], outcome(scene)["rolled_back_to"]) == (1, "deploy.failed", None)


async def test_three_exits_of_a_companion_process_fail_the_bake() -> None:
    processes = {"worker": ProcessSettings(run="work"), "beat": ProcessSettings(run="tick")}
    async with playing(config=config(processes=processes)) as scene:
        await trio.sleep(2)
        scene.host.companions.companion_behaviours["worker"] = CompanionBehaviour(exits_after=0.2)
        scene.turn("b")
        await trio.sleep(10)
        assert scene.live == 1
        failed = outcome(scene)
        assert failed["event"] == "deploy.failed"
        assert failed["reason"].startswith("rolled back after ")
        assert failed["reason"].endswith(": its process worker.1 exited 3 times")
        assert failed["output"] == ["last words of worker.1"]
        scene.host.companions.companion_behaviours.clear()
        await trio.sleep(60)
        assert sorted(str(one.instance) for one in scene.host.companions.running()) == ["beat.1", "worker.1"]


@pytest.mark.parametrize("way", ["upgrade", "kill"])
async def test_a_link_that_a_command_restores_under_the_next_agent_requests_nothing(way: str) -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await live_b(scene)
        if way == "kill":
            await scene.kill()
            await scene.start(agents)
        else:
            assert await scene.hand_over(5)
            await scene.take_over(agents)
        await trio.sleep(2)
        serve(scene, 10, failed=10)
        await trio.sleep(0.1)
        scene.restore("a", turns=0)
        await trio.sleep(5)
        (restored,) = scene.events.named("link.restored")
        assert restored["deploy"] == outcome(scene)["deploy"]
        assert outcome(scene)["event"] == "deploy.failed"
