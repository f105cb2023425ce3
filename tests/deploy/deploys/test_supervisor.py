from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import Config, Drain, ProcessSettings
from tests.fakes import Behaviour, Holding, Scene, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")

NEVER = Behaviour(boots_after=math.inf)


def config(**changes: object) -> Config:
    return Config(run="app", warmup=0, **changes)  # type: ignore[arg-type]


async def started(scene: Scene) -> Scene:
    await trio.sleep(1.5)
    assert scene.live == 1
    return scene


async def test_a_life_is_recorded_in_order(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(5)
        assert scene.live == 2
    assert scene.story() == [
        "deploy.requested",
        "generation.launched 1",
        "generation.healthy 1",
        "generation.live 1",
        "deploy.succeeded 1",
        "deploy.requested",
        "generation.launched 2",
        "generation.healthy 2",
        "generation.live 2",
        "deploy.succeeded 2",
        "generation.draining 1",
        "generation.retired 1",
        "generation.retired 2",
    ]


async def test_a_turn_between_the_start_and_the_first_look_of_the_watching_is_not_lost(autojump: MockClock) -> None:
    scene = Scene()
    async with trio.open_nursery() as agents:
        await scene.start(agents)
        await scene.supervisor.started.wait()
        scene.turn("b")  # the start has read the files, and the watching has not looked
        assert scene.supervisor.seen is not None
        assert scene.supervisor.seen != scene.host.file_state()
        agents.cancel_scope.cancel()


async def test_the_old_one_serves_until_the_new_one_is_healthy(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(boots_after=20)}) as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(19)
        assert scene.live == 1
        await trio.sleep(2)
        assert scene.live == 2
        assert scene.live_seen == [None, 1, 2]


async def test_a_lease_keeps_its_generation_until_it_ends(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        holding = Holding(scene)
        scene.ask()
        await trio.sleep(30)
        assert scene.live == 2
        assert scene.app(1).ended_times == 0
        holding.end()
        await trio.sleep(1)
        assert scene.app(1).ended_times == 1
        assert not holding.was_cut


async def test_at_the_limit_of_draining_what_still_runs_is_cut(autojump: MockClock) -> None:
    async with playing(config=config(drain=Drain(timeout=60))) as scene:
        await started(scene)
        holding = Holding(scene)
        scene.ask()
        await trio.sleep(60)
        assert not holding.was_cut
        await trio.sleep(3)
        assert holding.was_cut
        assert scene.app(1).ended_times == 1


async def test_tunnels_live_on_and_are_then_closed_a_few_at_a_time(autojump: MockClock) -> None:
    async with playing(config=config(drain=Drain(tunnels=30))) as scene:
        await started(scene)
        tunnels = [Holding(scene) for _ in range(100)]
        for tunnel in tunnels:
            tunnel.generation.become_tunnel(tunnel)
        scene.ask()
        await trio.sleep(30)
        assert not any(tunnel.was_cut for tunnel in tunnels)
        await trio.sleep(3.5)
        assert 20 < sum(tunnel.was_cut for tunnel in tunnels) < 80
        await trio.sleep(4)
        assert all(tunnel.was_cut for tunnel in tunnels)
        assert scene.app(1).ended_times == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(exits_after=0.5, status=3), "the app exited with status 3 before it was ready"),
        (Behaviour(exits_after=0.5, status=-11), "the app was ended by SIGSEGV before it was ready"),
        (Behaviour(exits_after=0.5, status=127), "exited with status 127 (a command was not found) before"),
        (Behaviour(boots_after=99, unhealthy_after=60), "not healthy in time"),
        (Behaviour(launch_error="run: command not found: x"), "run: command not found: x"),
        (Behaviour(check_error=ZeroDivisionError("oh")), "internal error: "),
    ],
)
async def test_a_bad_release_fails_and_changes_nothing(autojump: MockClock, behaviour: Behaviour, reason: str) -> None:
    async with playing(behaviours={"bad": behaviour}) as scene:
        await started(scene)
        scene.turn("bad")
        await trio.sleep(70)
        assert scene.live == 1
        assert reason in scene.reasons()[0]
        assert len(scene.roster.generations) == 1
        scene.turn("b")
        await trio.sleep(5)
        assert scene.live == 3


async def test_the_report_of_a_failure_has_the_app_s_last_lines(autojump: MockClock) -> None:
    async with playing(behaviours={"bad": Behaviour(exits_after=0.5)}) as scene:
        await started(scene)
        scene.turn("bad")
        await trio.sleep(2)
        failed = scene.events.named("deploy.failed")[0]
        assert (failed["output"], failed["generation"]) == (["last words of 2"], 2)


async def test_a_failure_is_decided_before_the_candidate_has_ended(autojump: MockClock) -> None:
    async with playing(behaviours={"bad": Behaviour(exits_after=0.5, stops_after=50)}) as scene:
        await started(scene)
        scene.turn("bad")
        await trio.sleep(1)
        assert len(scene.reasons()) == 1
        scene.turn("b")
        await trio.sleep(2)
        assert scene.live == 3


async def test_a_broken_config_fails_the_deploy(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.host.config_error = "rainbowd.json: broken"
        scene.ask()
        await trio.sleep(1)
        assert scene.reasons() == ["rainbowd.json: broken"]
        assert scene.live == 1


async def test_requests_during_a_deploy_become_one_further_deploy(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.ask()
        await trio.sleep(0.5)
        for _ in range(100):
            scene.ask()
        await trio.sleep(20)
        assert scene.live == 3
        asked = scene.events.named("deploy.requested")
        assert len({event["deploy"] for event in asked}) == 3
        assert len(scene.events.named("deploy.succeeded")) == 3


async def test_a_link_turned_elsewhere_drops_the_candidate(autojump: MockClock) -> None:
    async with playing(behaviours={"slow": NEVER}) as scene:
        await started(scene)
        scene.turn("slow")
        await trio.sleep(5)
        scene.turn("b")
        await trio.sleep(5)
        assert scene.reasons() == ["superseded by /releases/b"]
        assert scene.live == 3


async def test_a_link_turned_back_to_the_live_release_launches_nothing(autojump: MockClock) -> None:
    async with playing(behaviours={"slow": NEVER}) as scene:
        await started(scene)
        scene.turn("slow")
        await trio.sleep(5)
        scene.turn("a")
        await trio.sleep(5)
        assert scene.live == 1
        assert [app.id for app in scene.host.apps] == [1, 2]
        assert "deploy.rolled_back 1" in scene.story()
        assert scene.supervisor.last_outcome is not None
        assert scene.supervisor.last_outcome.result == "failed"


async def test_the_same_release_linked_again_is_deployed_again(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.turn("a")
        await trio.sleep(5)
        assert scene.live == 2


async def test_a_touch_together_with_a_restored_link_is_a_deploy(autojump: MockClock) -> None:
    async with playing(behaviours={"bad": Behaviour(exits_after=0)}) as scene:
        await started(scene)
        scene.turn("bad")
        await trio.sleep(1)
        scene.turn("a")
        scene.ask("file")
        await trio.sleep(5)
        assert scene.live == 3


async def test_a_dead_live_one_is_launched_again_from_what_it_was_launched_from(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        await trio.sleep(100)
        scene.turn("never")
        scene.host.behaviours["never"] = NEVER
        before = scene.app(1).plan
        scene.app(1).die()
        await trio.sleep(0.5)
        assert scene.live is None
        assert scene.roster.is_launch_due
        await trio.sleep(5)
        relaunched = next(app for app in scene.host.apps if app.plan is before and app.id != 1)
        assert scene.live == relaunched.id
        crashed = scene.events.named("generation.crashed")[0]
        assert (crashed["exit_status"], crashed["output"]) == (-9, ["last words of 1"])


async def test_relaunches_that_fail_back_off_and_hold_no_requests_meanwhile(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.host.behaviours["a"] = Behaviour(exits_after=0.0)
        scene.app(1).die()
        due = []
        for _ in range(200):
            await trio.sleep(0.1)
            due.append(scene.roster.is_launch_due)
        times = [app.opened_at or 0.0 for app in scene.host.apps[1:]]
        gaps = [round(later - sooner, 3) for sooner, later in pairwise(times)]
        assert gaps[:4] == [0.5, 1.0, 2.0, 4.0]
        assert not any(due)
        scene.host.behaviours["a"] = Behaviour()
        await trio.sleep(30)
        assert scene.live is not None


async def test_a_crash_after_a_deploy_is_relaunched_at_once_however_often_others_crashed_before(
    autojump: MockClock,
) -> None:
    async with playing(behaviours={"a": Behaviour(boots_after=0.1, exits_after=0.2)}) as scene:
        await trio.sleep(200)
        scene.turn("b")
        await trio.sleep(2)
        live = scene.live
        assert live is not None
        scene.app(live).die()
        await trio.sleep(1.1)
        assert scene.live == live + 1


async def test_a_deploy_that_succeeds_ends_the_relaunching(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.host.behaviours["a"] = Behaviour(exits_after=0.0)
        scene.app(1).die()
        await trio.sleep(3)
        scene.turn("b")
        await trio.sleep(3)
        live, launched = scene.live, len(scene.host.apps)
        assert live is not None
        await trio.sleep(300)
        assert (scene.live, len(scene.host.apps)) == (live, launched)


async def test_refusing_connections_for_a_second_counts_as_death(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        assert scene.roster.live is not None
        generation = scene.roster.live
        for tenth in range(11):
            generation.on_connect_refused(50 + tenth / 10)
        await trio.sleep(3)
        assert scene.live == 2
        assert scene.events.named("generation.crashed")[0]["reason"] == "refuses connections"


async def test_another_port_is_tried_five_times(autojump: MockClock) -> None:
    async with playing(behaviours={"b": Behaviour(port_taken=4), "c": Behaviour(port_taken=5)}) as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(10)
        assert scene.live == 6
        scene.turn("c")
        await trio.sleep(10)
        assert scene.live == 6
        assert scene.reasons() == ["a stranger answers"]


async def test_no_third_port_is_tried_when_the_same_stranger_answers_on_two(autojump: MockClock) -> None:
    docker = Behaviour(port_taken=5, stranger="docker-proxy -host-port #")
    async with playing(behaviours={"b": docker}) as scene:
        await started(scene)
        scene.turn("b")
        await trio.sleep(10)
        assert (scene.live, docker.port_taken) == (1, 3)
        assert scene.reasons() == ["a stranger answers"]


async def test_at_max_generations_a_deploy_waits_for_a_slot_and_logs_it(autojump: MockClock) -> None:
    async with playing(config=config(max_generations=2, drain=Drain(timeout=500))) as scene:
        await started(scene)
        holding = Holding(scene)
        scene.ask()
        await trio.sleep(5)
        scene.ask()
        await trio.sleep(100)
        assert scene.live == 2
        assert scene.story()[-1] == "deploy.waiting"
        holding.end()
        await trio.sleep(5)
        assert scene.live == 3


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.2, 40.0])
async def test_a_stop_at_any_moment_leaves_nothing(autojump: MockClock, seconds: float) -> None:
    async with playing(behaviours={"b": Behaviour(stops_after=5)}) as scene:
        await started(scene)
        holding = Holding(scene)
        scene.turn("b")
        await trio.sleep(seconds)
        scene.supervisor.stop()
        holding.end()
    undecided = {event["deploy"] for event in scene.events.named("deploy.requested")} - {
        event["deploy"] for event in scene.events.named("deploy.succeeded", "deploy.failed")
    }
    assert undecided == set()


async def test_nothing_live_and_a_bad_release_is_tried_again_until_it_is_good(autojump: MockClock) -> None:
    async with playing(behaviours={"a": Behaviour(exits_after=0.0)}) as scene:
        await trio.sleep(20)
        assert len(scene.reasons()) == 7  # again at once, and after 0.5, 1, 2, 4 and 8 seconds more
        scene.host.behaviours["a"] = Behaviour()
        await trio.sleep(20)
        assert scene.live is not None


async def test_a_missing_release_is_waited_for(autojump: MockClock) -> None:
    async with playing(link=None) as scene:
        await trio.sleep(600)
        assert scene.story() == []
        assert scene.supervisor.snapshot().is_waiting
        scene.host.link = Path("/releases/a")
        await trio.sleep(5)
        assert scene.live == 1
        assert not scene.supervisor.snapshot().is_waiting


async def test_a_missing_release_that_is_requested_as_it_appears_is_launched_once(autojump: MockClock) -> None:
    async with playing(link=None) as scene:
        await trio.sleep(600)
        scene.host.link = Path("/releases/a")
        await trio.sleep(1.5)
        scene.ask()
        await trio.sleep(10)
        assert scene.live == 1
        assert len(scene.events.named("deploy.requested")) == 1


async def test_the_proxy_gets_the_config_of_the_release_that_goes_live(autojump: MockClock) -> None:
    async with playing() as scene:
        await started(scene)
        scene.host.config = config(max_generations=3)
        scene.ask()
        await trio.sleep(0.5)
        assert len(scene.configs) == 1
        await trio.sleep(5)
        assert scene.configs[-1].max_generations == 3


async def test_hurry_ends_an_app_that_takes_its_time(autojump: MockClock) -> None:
    async with playing(behaviours={"a": Behaviour(stops_after=1000)}) as scene:
        await started(scene)
        scene.supervisor.stop_now()
        began = trio.current_time()
    assert trio.current_time() - began < 1
    assert scene.events.named("generation.retired")[0]["killed"]


@pytest.mark.parametrize("during_a_deploy", [False, True])
async def test_a_restart_of_companion_processes_is_no_deploy_and_ends_none(
    autojump: MockClock, during_a_deploy: bool
) -> None:
    processes = {"worker": ProcessSettings(run="work")}
    scene = Scene(config=config(processes=processes), behaviours={"slow": Behaviour(boots_after=3)})
    async with trio.open_nursery() as agents:
        await scene.start(agents)
        await started(scene)
        if during_a_deploy:
            scene.turn("slow")
            await trio.sleep(1)
        scene.restart("worker")
        await trio.sleep(10)
        (restarting,) = scene.events.named("process.restarting")
        assert restarting["instances"] == 1
        assert len(scene.events.named("deploy.requested")) == 1 + during_a_deploy
        assert len(scene.events.named("deploy.succeeded")) == 1 + during_a_deploy
        await scene.stop()
