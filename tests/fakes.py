"""A world without processes, for tests on virtual time: what the supervisor does is done here in its place."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.address import Address, TcpAddress
from rainbowd.config import Config, Drain
from rainbowd.deploy.process import Ending
from rainbowd.deploy.seam import App, HookCall, HookEnding, Plan, PortTaken
from rainbowd.deploy.supervisor import Supervisor
from rainbowd.deploy.watch import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EPOCH = 1_000_000_000.0


class Events(list[dict[str, Any]]):
    """In the place of the recorder: what was told, in order."""

    def record(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.append({"event": event, **fields})

    def named(self, *names: str) -> list[dict[str, Any]]:
        """Those of these names."""
        return [event for event in self if event["event"] in names]


@dataclass
class Behaviour:
    """How the apps of one release behave; times in seconds from their launch.

    Attributes:
        boots_after: until healthy; infinite for never.
        unhealthy_after: until the check gives up.
        exits_after: until it exits by itself, with ``status``.
        stops_after: from being told to end to its end.
        port_taken: how many of its launches find their port taken.
        launch_error: why it cannot be launched at all.
    """

    boots_after: float = 1.0
    unhealthy_after: float = math.inf
    exits_after: float = math.inf
    status: int = 1
    stops_after: float = 0.1
    port_taken: int = 0
    launch_error: str | None = None
    check_error: Exception | None = None


class FakeApp:
    """One launch."""

    def __init__(self, number: int, plan: Plan, behaviour: Behaviour) -> None:
        self.number = number
        self.plan = plan
        self.behaviour = behaviour
        self.address: Address = TcpAddress("127.0.0.1", 20000 + number)
        self.pid = 1000 + number
        self.opened_at: float | None = None
        self.ended_times = 0
        self._died = trio.Event()
        self._status: int | None = None

    def open_gate(self) -> None:
        self.opened_at = trio.current_time()

    def die(self, status: int = -9) -> None:
        """As if killed by somebody else."""
        self._status = status
        self._died.set()

    async def check(self) -> None:
        behaviour = self.behaviour
        if behaviour.check_error is not None:
            raise behaviour.check_error
        await trio.sleep(min(behaviour.boots_after, behaviour.unhealthy_after))
        if behaviour.unhealthy_after < behaviour.boots_after:
            raise DeployFailed("not healthy in time")
        if behaviour.port_taken > 0:
            behaviour.port_taken -= 1
            raise PortTaken("a stranger answers")

    async def ended(self) -> int | None:
        assert self.opened_at is not None
        with trio.move_on_at(self.opened_at + self.behaviour.exits_after):
            await self._died.wait()
            return self._status
        return self.behaviour.status

    def port_is_taken(self) -> bool:
        return False

    def last_lines(self) -> list[str]:
        return [f"last words of {self.number}"]

    async def end(self, hurry: trio.Event) -> Ending:
        self.ended_times += 1
        with trio.move_on_after(self.behaviour.stops_after):
            await hurry.wait()
            return Ending(-9, killed=True, left=[])
        return Ending(0, killed=False, left=[])


@dataclass
class FakeWorld:
    """What the files name, and how what they name behaves.

    Attributes:
        link: the release that is named; None for none.
        behaviours: by release; a good one where it has none.
    """

    link: Path | None = Path("/releases/a")
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    config: Config = field(default_factory=lambda: Config(run="app", health=None, warmup=0, drain=Drain()))
    config_error: str | None = None
    apps: list[FakeApp] = field(default_factory=list)
    open_launches: int = 0
    hooks: list[HookCall] = field(default_factory=list)
    hook_seconds: float = 0.0
    hook_failure: str | None = None
    hooks_at_once: int = 0
    last_number: int = 0

    def now(self) -> float:
        return EPOCH + trio.current_time()

    def named(self) -> Path | None:
        return self.link

    def plan(self) -> Plan:
        if self.config_error is not None:
            raise DeployFailed(self.config_error)
        if self.link is None:
            raise DeployFailed("the release does not exist")
        return Plan(self.link, self.config, {})

    def next_number(self) -> int:
        self.last_number += 1
        return self.last_number

    async def run_hook(self, call: HookCall, drop: trio.Event, hurry: trio.Event) -> HookEnding:
        self.hooks.append(call)
        self.hooks_at_once += 1
        with trio.move_on_after(self.hook_seconds):
            await drop.wait()
            await trio.sleep(0.5)  # it takes its time to end
            self.hooks_at_once -= 1
            return HookEnding(-15, ["dropped"], "was dropped")
        self.hooks_at_once -= 1
        return HookEnding(1 if self.hook_failure else 0, [f"{call.hook} says"], self.hook_failure)

    @contextlib.asynccontextmanager
    async def launch(self, plan: Plan, number: int) -> AsyncIterator[App]:
        behaviour = self.behaviours.get(plan.release.name, Behaviour())
        if behaviour.launch_error is not None:
            raise DeployFailed(behaviour.launch_error)
        app = FakeApp(number, plan, behaviour)
        self.apps.append(app)
        self.open_launches += 1
        try:
            async with trio.open_nursery():
                yield app
        finally:
            self.open_launches -= 1


class Holding:
    """Somebody with a lease."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.was_cut = False
        generation = scene.roster.lease(self)
        assert generation is not None
        self.generation = generation

    def cut(self) -> None:
        self.was_cut = True
        self.end()

    def end(self) -> None:
        self.generation.release_lease(self)


class Scene:
    """A supervisor at work in a fake world."""

    def __init__(self, **world: Any) -> None:
        self.world = FakeWorld(**world)
        self.roster = Roster()
        self.events = Events()
        self.configs: list[Config] = []
        self.live_seen: list[int | None] = []
        self.lives: trio.Nursery
        self.supervisor = Supervisor(
            self.roster,
            self.events,  # type: ignore[arg-type]
            self.world,
            self.world.config,
            self.configs.append,
        )
        self.roster.observe(self._look)

    def _look(self) -> None:
        live = self.roster.live.id if self.roster.live is not None else None
        if not self.live_seen or self.live_seen[-1] != live:
            self.live_seen.append(live)
        states = [generation.state.value for generation in self.roster.generations.values()]
        assert states.count("live") == (live is not None), states

    @property
    def live(self) -> int | None:
        return self.roster.live.id if self.roster.live is not None else None

    def ask(self, kind: str = "file", **fields: Any) -> None:
        self.supervisor.request(Trigger(kind=kind, **fields))

    def turn(self, release: str) -> None:
        self.world.link = Path("/releases") / release
        self.ask("symlink")

    def app(self, number: int) -> FakeApp:
        return next(app for app in self.world.apps if app.number == number)

    def story(self) -> list[str]:
        """The names of the events, with the generation where there is one."""
        return [f"{event['event']} {event.get('generation') or ''}".strip() for event in self.events]

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events.named("deploy.failed")]


@contextlib.asynccontextmanager
async def playing(**world: Any) -> AsyncIterator[Scene]:
    """A scene whose supervisor runs; at the end everything that was launched has ended, once."""
    scene = Scene(**world)
    async with trio.open_nursery() as lives:
        scene.lives = lives
        lives.start_soon(scene.supervisor.run, lives)
        yield scene
        scene.supervisor.stop()
        lives.cancel_scope.cancel()
    assert scene.world.open_launches == 0
    assert [app.number for app in scene.world.apps if app.ended_times != 1] == []
    assert scene.roster.generations == {}
    assert scene.roster.live is None
