"""The promise, whatever happens in whatever order: driven at random, on virtual time, in a world without processes."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from rainbowd.config import Bake, Canary, Config, Drain, Health, Liveness, ProcessSettings
from rainbowd.roster import State
from tests.bugs import no_bugs
from tests.fake_companions import CompanionBehaviour
from tests.fakes import Behaviour, Holding, Scene, acting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes import FakeApp

    Step = tuple[tuple[str, Any], float]

DRAIN = Drain(timeout=20, tunnels=5)
ZOO: dict[str, Callable[[], Behaviour]] = {
    "a": Behaviour,
    "b": Behaviour,
    "slow": partial(Behaviour, boots_after=7, stops_after=12),
    "never": partial(Behaviour, boots_after=math.inf, unhealthy_after=10),
    "dead": partial(Behaviour, exits_after=0.1),
    "mortal": partial(Behaviour, exits_after=4),
    "unlucky": partial(Behaviour, port_taken=3),
    "absent": partial(Behaviour, launch_error="run: command not found: x"),
}

ACTIONS = st.one_of(
    st.tuples(st.just("turn"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("turn"), st.sampled_from(sorted(ZOO))),
    st.tuples(st.sampled_from(["touch", "signal"]), st.none()),
    st.tuples(st.sampled_from(["lease", "tunnel", "release", "refuse"]), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 2)),
    st.tuples(st.just("end companion"), st.integers(0, 3)),
    st.tuples(st.just("restart"), st.sampled_from(["worker", "beat", "unknown"])),
    st.tuples(st.just("kill"), st.sampled_from([0.0, 1.0, 30.0])),
    st.tuples(st.sampled_from(["kill", "stop", "start"]), st.none()),
    st.tuples(st.just("upgrade"), st.booleans()),
    st.tuples(st.just("silence"), st.booleans()),
    st.tuples(st.just("standby"), st.sampled_from([100, 3, 0])),
    st.tuples(st.just("limit"), st.sampled_from([10, 2, 3])),
    st.tuples(st.just("broken"), st.booleans()),
    st.tuples(st.just("bake"), st.sampled_from([0, 3, 30])),
    st.tuples(st.just("canary"), st.sampled_from([(), (50,), (5, 25)])),
    st.tuples(st.just("errors"), st.sampled_from([1, 10])),
)
STEPS = st.tuples(ACTIONS, st.sampled_from([2.5, 0.0, 0.005, 0.02, 0.5, 1.01, 1.5, 15.0, 70.0]))
"""What is done, and for how long nothing else is."""


PROCESSES = {
    "worker": ProcessSettings(run="work", instances=2),
    "beat": ProcessSettings(run="tick", overlap=False),
}
COMPANIONS = {"worker": CompanionBehaviour(stops_after=8), "beat": CompanionBehaviour(stops_after=3)}
"""Workers finish a job when they are asked to end; ``FakeCompanions.check`` allows no second scheduler meanwhile."""


def config(**changes: object) -> Config:
    health = Health(path="/up", liveness=Liveness(interval=2, failures=2))
    return Config(run="app", health=health, drain=DRAIN, processes=PROCESSES, **changes)  # type: ignore[arg-type]


SETTINGS: dict[str, Callable[[Any], dict[str, object]]] = {
    "standby": lambda seconds: {"standby": seconds},
    "limit": lambda count: {"max_generations": count},
    "bake": lambda seconds: {"bake": Bake(seconds=seconds)},
    "canary": lambda steps: {"canary": Canary(steps=steps, seconds=2)},
}


class Play:
    """What is done to a scene, and who has leases in it."""

    def __init__(self, scene: Scene, agents: trio.Nursery) -> None:
        self.scene = scene
        self.agents = agents
        self.holdings: list[Holding] = []
        self.is_stopping = False
        scene.host.before_end = self.told_to_end

    def told_to_end(self, app: FakeApp) -> None:
        """None that still serves is told to end while it holds a request, unless all ends."""
        if app.has_died or self.is_stopping:
            return
        held = [one for one in self.holdings if one.generation.id == app.id and one in one.generation.holders]
        refused = self.scene.events.named("generation.crashed")
        assert not held or any(event["generation"] == app.id for event in refused)

    async def step(self, name: str, value: Any) -> None:
        scene, host = self.scene, self.scene.host
        if name == "upgrade":
            await self.upgrade(fails=value)
        elif name in {"kill", "stop", "start"}:
            await self.agent(name, value)
        elif name in {"turn", "restart"}:
            (scene.turn if name == "turn" else scene.restart)(value)
        elif name in {"touch", "signal"}:
            scene.ask("signal" if name == "signal" else "file")
        elif name in {"crash", "end companion", "errors"}:
            self.crash(name, value)
        elif name == "silence":
            for release in ("a", "b"):
                host.behaviours[release] = Behaviour(is_silent=value)
        elif name == "broken":
            host.config_error = "broken" if value else None
        elif name in SETTINGS:
            host.config = host.config.model_copy(update=SETTINGS[name](value))
        else:
            self.client(name)

    def crash(self, name: str, index: int) -> None:
        """One of those that run dies, or those that serve fail requests."""
        if name == "errors":
            self.errors(index)
            return
        apps = [app for app in self.scene.host.apps if not app.has_died and not app.ended_times]
        running = apps if name == "crash" else self.scene.host.companions.running()
        for process in running[index : index + 1]:
            process.die()

    def errors(self, count: int) -> None:
        """Those that serve fail requests."""
        for generation in list(self.scene.roster.generations.values()):
            for _ in range(count * generation.is_serving):
                generation.requests += 1
                generation.count_error("GET /: 500")

    async def agent(self, name: str, start_after: float | None) -> None:
        """An agent ends or begins; one that is killed may soon be followed by another."""
        if name == "start":
            if not self.scene.has_agent:
                self.is_stopping = False
                await self.scene.start(self.agents)
        elif self.scene.has_agent:
            self.is_stopping = name == "stop"
            self.holdings.clear()
            await (self.scene.stop() if name == "stop" else self.scene.kill())
            if start_after is not None:
                await trio.sleep(start_after)
                await self.agent("start", None)

    async def upgrade(self, *, fails: bool) -> None:
        """Another agent takes over where nothing is under way for once, or fails to."""
        if not self.scene.has_agent or not await self.scene.hand_over(timeout_seconds=100):
            return
        if fails:
            await self.scene.take_back(self.agents)
        else:
            await self.scene.take_over(self.agents, self.holdings)

    def client(self, name: str) -> None:
        """Somebody asks, or has been answered."""
        scene = self.scene
        if not scene.has_agent:
            return
        if name == "release":
            for holding in self.holdings[:1]:
                holding.end()
            del self.holdings[:1]
        elif scene.roster.live is not None and name == "refuse":
            now = trio.current_time()
            generation = scene.roster.live
            for tenth in range(11):
                generation.on_connect_refused(now + tenth / 10)
        elif scene.roster.live is not None:
            holding = Holding(scene)
            assert holding.generation.state in {State.LIVE, State.CANARY}
            self.holdings.append(holding)
            if name == "tunnel":
                holding.generation.become_tunnel(holding)


async def play(steps: list[Step]) -> None:
    behaviours = {name: make() for name, make in ZOO.items()}
    with no_bugs():
        await play_until_the_end(steps, behaviours)


async def play_until_the_end(steps: list[Step], behaviours: dict[str, Behaviour]) -> None:
    async with acting(behaviours=behaviours, config=config(standby=30)) as (scene, agents):
        done = Play(scene, agents)
        scene.host.companions.companion_behaviours.update(COMPANIONS)
        await scene.start(agents)
        for (name, value), pause_seconds in steps:
            await done.step(name, value)
            await trio.sleep(pause_seconds)
        await all_is_well(done)
        done.is_stopping = True


async def all_is_well(done: Play) -> None:
    """Once nothing is wrong any more, what the files name is live, and is alone when all leases have ended."""
    scene = done.scene
    await done.step("broken", value=False)
    await done.step("silence", value=False)
    for app in scene.host.apps:
        app.behaviour.is_silent = False
    await done.step("start", None)
    while done.holdings:
        await done.step("release", None)
    scene.turn("b")
    scene.ask()
    await trio.sleep(250)
    live = scene.roster.live
    assert live is not None
    assert live.release.name == "b"
    assert scene.states() == {live.id: "live"}
    assert not scene.app(live.id).has_died
    running = sorted((one.generation_id, str(one.instance)) for one in scene.host.companions.running())
    assert running == [(live.id, "beat.1"), (live.id, "worker.1"), (live.id, "worker.2")]
    assert all(one.signals <= 1 for one in scene.host.companions.companions)


@pytest.mark.parametrize("length", [8, pytest.param(40, marks=pytest.mark.long)])
def test_the_promise_holds_in_whatever_order_things_happen(length: int) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, max_size=length))
    @example([(("turn", "a"), 2.5), (("restart", "worker"), 2.5), (("kill", 0.0), 2.5)])
    @example([(("turn", "a"), 2.5), (("crash", 0), 0.0), (("kill", 0.0), 2.5), (("kill", 0.0), 2.5)])
    def check(steps: list[Step]) -> None:
        trio.run(play, steps, clock=MockClock(autojump_threshold=0))

    check()
