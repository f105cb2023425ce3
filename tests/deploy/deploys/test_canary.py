"""The canary: a candidate that gets a share of the clients before it goes live, on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import Bake, Canary, Config, Drain, Health, Liveness
from tests.fakes import acting, playing

if TYPE_CHECKING:
    from rainbowd.roster import Generation
    from tests.fakes import Scene

pytestmark = pytest.mark.usefixtures("autojump")


def config(**changes: Any) -> Config:
    canary = Canary(steps=(5, 25), seconds=30)
    return Config(**{"run": "app", "warmup": 0.0, "drain": Drain(timeout=5), "canary": canary, **changes})


def serve(generation: Generation | None, count: int, *, failed: int = 0) -> None:
    assert generation is not None
    generation.requests += count
    for _ in range(failed):
        generation.count_error("GET /: 500")


async def begin(scene: Scene) -> None:
    await trio.sleep(2)
    scene.turn("b")
    await trio.sleep(2)
    assert scene.states() == {1: "live", 2: "canary"}


def outcome(scene: Scene) -> dict[str, Any]:
    return scene.events.named("deploy.succeeded", "deploy.failed", "deploy.rolled_back")[-1]


async def test_a_healthy_canary_gets_its_shares_and_then_goes_live() -> None:
    async with playing(config=config()) as scene:
        await begin(scene)
        assert (scene.live, scene.roster.share_percent) == (1, 5)
        await trio.sleep(30)
        assert scene.roster.share_percent == 25
        await trio.sleep(30)
        assert scene.live == 2
        assert scene.roster.canary is None
        shares = [(event["generation"], event["share"]) for event in scene.events.named("generation.canary")]
        assert shares == [(2, 5), (2, 25)]
        assert outcome(scene)["event"] == "deploy.succeeded"
        await trio.sleep(1)
        assert scene.states() == {2: "live"}


async def test_the_bake_follows_the_canary() -> None:
    async with playing(config=config(bake=Bake(seconds=40))) as scene:
        await begin(scene)
        await trio.sleep(60)
        assert scene.states() == {1: "standby", 2: "live"}
        await trio.sleep(40)
        assert outcome(scene)["bake_seconds"] == 40


async def test_a_failing_canary_gets_no_further_request_and_nothing_else_changes() -> None:
    async with playing(config=config()) as scene:
        await begin(scene)
        serve(scene.roster.live, 1000, failed=1)
        serve(scene.roster.canary, 50, failed=10)
        await trio.sleep(0.01)
        assert scene.roster.canary is None
        failed = outcome(scene)
        assert (failed["event"], failed["rolled_back_to"], failed["canary_share"]) == ("deploy.failed", None, 5)
        assert "5 of 50 requests failed (10 %; 0.1 % without it), most of them GET /: 500" in failed["reason"]
        assert [event["generation"] for event in scene.events.named("generation.live")] == [1]
        await trio.sleep(10)
        assert scene.states() == {1: "live"}
        assert scene.events.named("generation.draining")[0]["generation"] == 2


async def test_a_canary_is_compared_with_the_live_generation_in_the_same_time() -> None:
    async with playing(config=config()) as scene:
        await trio.sleep(2)
        serve(scene.roster.live, 1000)
        scene.turn("b")
        await trio.sleep(2)
        serve(scene.roster.live, 100, failed=20)  # the database is down for both
        serve(scene.roster.canary, 50, failed=10)
        await trio.sleep(61)
        assert scene.live == 2


async def test_a_canary_that_dies_fails_the_deploy() -> None:
    async with playing(config=config()) as scene:
        await begin(scene)
        scene.app(2).die(3)
        await trio.sleep(1)
        assert scene.live == 1
        assert "the app exited with status 3" in outcome(scene)["reason"]
        assert outcome(scene)["canary_share"] == 5
        assert outcome(scene)["output"] == ["last words of 2"]
        await trio.sleep(30)
        assert len(scene.events.named("generation.launched")) == 2


@pytest.mark.parametrize("way", ["refuses", "silent"])
async def test_a_canary_that_refuses_or_fails_its_health_check_fails_the_deploy(way: str) -> None:
    health = Health(path="/up", liveness=Liveness(interval=2, failures=2))
    async with playing(config=config(health=health, warmup=None)) as scene:
        await begin(scene)
        canary = scene.roster.canary
        assert canary is not None
        if way == "refuses":
            for tenth in range(12):
                canary.on_connect_refused(trio.current_time() + tenth / 10)
        else:
            scene.app(2).behaviour.is_silent = True
        await trio.sleep(8)
        assert outcome(scene)["canary_share"] == 5
        assert {"refuses": "refuses connections", "silent": "the health check fails"}[way] in outcome(scene)["reason"]
        await trio.sleep(60)
        assert scene.states() == {1: "live"}
        assert len(scene.events.named("generation.launched")) == 2


async def test_a_canary_is_judged_again_when_the_live_generation_has_recovered() -> None:
    async with playing(config=config()) as scene:
        await begin(scene)
        serve(scene.roster.live, 100, failed=20)  # the database is down for both
        serve(scene.roster.canary, 50, failed=10)
        await trio.sleep(5)
        assert scene.states() == {1: "live", 2: "canary"}
        serve(scene.roster.live, 1000)
        await trio.sleep(2)
        assert "10 of 50 requests failed (20 %; 1.8 % without it)" in outcome(scene)["reason"]


@pytest.mark.parametrize("way", ["link", "stop", "kill"])
async def test_a_canary_that_is_cut_short_is_dropped(way: str) -> None:
    async with acting(config=config()) as (scene, agents):
        await scene.start(agents)
        await begin(scene)
        if way == "link":
            scene.turn("a")
        elif way == "stop":
            await scene.stop()
            return
        else:
            await scene.kill()
            await scene.start(agents)
        await trio.sleep(20)
        assert scene.roster.generations[1].state.value == "live"
        assert 2 not in scene.states()
        assert scene.events.named("deploy.failed")[0]["generation"] in {2, None}


async def test_an_upgrade_waits_for_the_end_of_the_canary() -> None:
    async with playing(config=config(bake=Bake(seconds=100))) as scene:
        await begin(scene)
        assert not await scene.hand_over(20)
        await trio.sleep(41)
        assert scene.supervisor.is_idle


async def test_the_live_generation_that_dies_during_a_canary_is_relaunched() -> None:
    async with playing(config=config()) as scene:
        await begin(scene)
        scene.app(1).die()
        await trio.sleep(3)
        assert scene.live == 3
        assert scene.states()[2] == "canary"
        await trio.sleep(60)
        assert scene.live == 2


async def test_now_and_a_first_deploy_have_no_canary() -> None:
    async with playing(config=config()) as scene:
        await trio.sleep(2)
        assert scene.live == 1
        scene.turn("b", is_now=True)
        await trio.sleep(2)
        assert scene.live == 2
        assert scene.events.named("generation.canary") == []


async def test_the_status_shows_the_share_and_the_counts() -> None:
    from rainbowd.agent.status_content import build_status  # noqa: PLC0415

    async with playing(config=config()) as scene:
        await begin(scene)
        serve(scene.roster.canary, 4, failed=1)
        status = build_status({}, scene.roster, scene.supervisor.snapshot())
        (canary,) = (one for one in status["generations"] if one["id"] == 2)  # type: ignore[attr-defined]
        assert (canary["state"], canary["share"]) == ("canary", 5)
        assert {"requests": 4, "errors": 1}.items() <= canary["canary"].items()
