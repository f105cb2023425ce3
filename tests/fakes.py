"""A host without processes, for tests of the supervisor on virtual time."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.address import Address, TcpAddress
from rainbowd.config import Config, Drain
from rainbowd.deploy.context import DeployContext
from rainbowd.deploy.deploys.supervisor import Supervisor
from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.generations.agent_ownership import Ownership
from rainbowd.deploy.hook_call import HookCall, HookResult
from rainbowd.deploy.host.state_files import undecided
from rainbowd.deploy.interfaces import App, RecordedGeneration, UndecidedDeploys
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.process import ExitReport, Leftovers
from rainbowd.deploy.records import DeployMemory
from rainbowd.deploy.watch.file_state import FileState, Stamp, link_changed, trigger_touched
from rainbowd.deploy.watch.restart_file import RestartRequest
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.roster import LastCheck, Roster, State
from tests.fake_companions import FakeCompanions
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

EPOCH = 1_000_000_000.0


class Events(list[dict[str, Any]]):
    """The events that were recorded, in order; takes the place of the recorder."""

    is_killed = False

    def __init__(self) -> None:
        self.on_status_change: list[Callable[[], None]] = []

    def status_changed(self) -> None:
        """Call the observers of the status."""
        for observer in self.on_status_change:
            observer()

    def record(self, event: str, **fields: object) -> None:
        """Append an event, unless the agent was killed."""
        if not self.is_killed:
            self.append({"event": event, **fields})
            self.status_changed()

    def named(self, *names: str) -> list[dict[str, Any]]:
        """Return the events of these names."""
        return [event for event in self if event["event"] in names]


@dataclass
class Behaviour:
    """The behaviour of the apps of one release; times are seconds from their launch.

    Attributes:
        boots_after: until the app is healthy; infinite for never.
        unhealthy_after: until its check gives up.
        first_check_after: until its first check has returned, with 503.
        exits_after: until it exits by itself, with ``status``.
        stops_after: from the request to stop to its exit.
        port_taken: how many of its launches find their port taken.
        stranger: the program that holds the port; empty if it is not known.
        launch_error: why it cannot be launched at all; None if it can.
        check_error: what its check raises; None for nothing.
        is_silent: whether it no longer answers, after it was healthy.
    """

    boots_after: float = 1.0
    unhealthy_after: float = math.inf
    first_check_after: float = 0.0
    exits_after: float = math.inf
    status: int = 1
    stops_after: float = 0.1
    port_taken: int = 0
    stranger: str = ""
    launch_error: str | None = None
    check_error: Exception | None = None
    is_silent: bool = False


class FakeApp:
    """The processes of one generation, which outlive an agent that is killed."""

    def __init__(self, host: FakeHost, generation_id: int, plan: LaunchPlan, behaviour: Behaviour) -> None:
        self.host = host
        self.id = generation_id
        self.plan = plan
        self.behaviour = behaviour
        self.address: Address = TcpAddress("127.0.0.1", 20000 + generation_id)
        self.pid = self.main_pid = 1000 + generation_id
        self.last_check = LastCheck()
        self.opened_at: float | None = None
        self.ended_times = 0
        self.is_adopted = False
        self.is_left = False
        self._died = trio.Event()
        self._status: int | None = None

    def note(self, state: State, live_at: float | None) -> None:
        if self.host.is_killed:
            return
        if state is State.RETIRED:
            self.host.records.pop(self.id, None)
        else:
            record = self.host.records[self.id]
            self.host.records[self.id] = replace(record, state=state, live_at=live_at, since=trio.current_time())

    def open_gate(self) -> None:
        self.opened_at = trio.current_time()

    def die(self, status: int = -9) -> None:
        """Die, as if somebody else had killed it."""
        self._status = status
        self._died.set()

    @property
    def has_died(self) -> bool:
        if self.opened_at is None:  # its gate was never opened
            return True
        return self._died.is_set() or trio.current_time() >= self.opened_at + self.behaviour.exits_after

    async def check(self) -> None:
        behaviour = self.behaviour
        if behaviour.check_error is not None:
            raise behaviour.check_error
        if self.is_adopted:
            await trio.sleep(0.01)
            if behaviour.is_silent:
                raise DeployFailed("no answer")
            return
        checked_after = min(behaviour.first_check_after, behaviour.boots_after, behaviour.unhealthy_after)
        await trio.sleep(checked_after)
        self.last_check.result = "answered 503"
        await trio.sleep(min(behaviour.boots_after, behaviour.unhealthy_after) - checked_after)
        if behaviour.unhealthy_after < behaviour.boots_after:
            raise DeployFailed("not healthy in time")
        if behaviour.port_taken > 0:
            behaviour.port_taken -= 1
            raise PortTaken("a stranger answers", holder=behaviour.stranger)

    async def is_alive(self) -> bool:
        await trio.sleep(0.01)
        return not self.has_died

    async def main_changed(self, known: int | None) -> int:
        if self.main_pid == known:
            await trio.sleep_forever()
        return self.main_pid

    async def probe(self) -> str | None:
        await trio.sleep(0.01)
        return "no answer" if self.behaviour.is_silent else None

    async def ended(self) -> int | None:
        if self.opened_at is None:
            return None
        with trio.move_on_at(self.opened_at + self.behaviour.exits_after):
            await self._died.wait()
            return None if self.is_adopted else self._status
        return None if self.is_adopted else self.behaviour.status

    def port_is_taken(self) -> bool:
        return False

    def last_lines(self) -> list[str]:
        return [f"last words of {self.id}"]

    def leave(self) -> None:
        self.is_left = True

    async def end(self, stop_now: trio.Event) -> ExitReport:
        if self.host.is_killed:
            return ExitReport(None, killed=False, left=[])
        if self.host.before_end is not None:
            self.host.before_end(self)
        with trio.move_on_after(self.behaviour.stops_after):
            await stop_now.wait()
        if self.host.is_killed:  # the next agent must stop it
            return ExitReport(None, killed=False, left=[])
        self.ended_times += 1
        status = -9 if stop_now.is_set() else 0
        return ExitReport(None if self.is_adopted else status, killed=stop_now.is_set(), left=[])


@dataclass(frozen=True)
class FakeRecord:
    """The record of one generation; times are virtual."""

    state: State
    since: float
    started_at: float
    live_at: float | None = None


@dataclass
class FakeHost:
    """The files, the behaviour of the releases, and what outlives an agent.

    Attributes:
        link: the release that the files name; None for none.
        behaviours: by the release's name; any other release is healthy after a second.
        before_end: called when an app is asked to stop; None for nothing.
        is_killed: whether the agent was killed: nothing that it still does has any effect.
    """

    link: Path | None = Path("/releases/a")
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    config: Config = field(default_factory=lambda: Config(run="app", health=None, warmup=0, drain=Drain()))
    config_error: str | None = None
    gone: set[str] = field(default_factory=set)
    made: dict[str, int] = field(default_factory=dict)
    look_again: Stamp | None = None
    apps: list[FakeApp] = field(default_factory=list)
    open_launches: int = 0
    hooks: list[HookCall] = field(default_factory=list)
    hook_seconds: float = 0.0
    hook_failure: str | None = None
    hooks_at_once: int = 0
    last_number: int = 0
    last_left: int = 0
    turns: int = 0
    touches: int = 0
    records: dict[int, FakeRecord] = field(default_factory=dict)
    memory: DeployMemory = field(default_factory=DeployMemory)
    journal: Events = field(default_factory=Events)
    before_end: Callable[[FakeApp], None] | None = None
    companions: FakeCompanions = field(default_factory=FakeCompanions)
    is_killed: bool = False

    @property
    def desired_state(self) -> FakeHost:
        return self

    @property
    def launcher(self) -> FakeHost:
        return self

    @property
    def companion_launcher(self) -> FakeCompanions:
        return self.companions

    @property
    def previous_run(self) -> FakeHost:
        return self

    def now(self) -> float:
        return EPOCH + trio.current_time()

    def named_release(self) -> Path | None:
        return self.link

    def file_state(self) -> FileState | None:
        link, trigger_touched = (
            self.look_again or Stamp(1, self.turns, 0),
            (Stamp(2, self.touches, 0),) if self.touches else (),
        )
        return FileState(self.link, None, link, None, trigger_touched, None)

    def release_exists(self, release: Path) -> bool:
        return release.name not in self.gone

    def directory_identity(self, release: Path) -> list[int] | None:
        return [self.made.get(release.name, 0)] if self.release_exists(release) else None

    def launch_plan(self, release: Path | None = None) -> LaunchPlan:
        if self.config_error is not None:
            raise DeployFailed(self.config_error)
        release = release or self.link
        if release is None or release.name in self.gone:
            raise DeployFailed("the release does not exist")
        return LaunchPlan(release, self.config, {})

    def next_generation_id(self) -> int:
        self.last_number += 1
        return self.last_number

    async def run_hook(
        self, call: HookCall, cancel: trio.Event, stop_now: trio.Event, on_line: Callable[[str], None]
    ) -> HookResult:
        self.hooks.append(call)
        on_line(f"{call.hook} begins")
        self.hooks_at_once += 1
        with trio.move_on_after(self.hook_seconds):
            await cancel.wait()
            await trio.sleep(0.5)  # until it has stopped
            self.hooks_at_once -= 1
            return HookResult(-15, ["dropped"], "was dropped")
        self.hooks_at_once -= 1
        return HookResult(1 if self.hook_failure else 0, [f"{call.hook} says"], self.hook_failure)

    @contextlib.asynccontextmanager
    async def launch(self, plan: LaunchPlan, generation_id: int, stop_now: trio.Event) -> AsyncIterator[App]:
        behaviour = self.behaviours.get(plan.release.name, Behaviour())
        if plan.release.name in self.gone:
            raise DeployFailed("its directory is gone")
        if behaviour.launch_error is not None:
            raise DeployFailed(behaviour.launch_error)
        app = FakeApp(self, generation_id, plan, behaviour)
        self.apps.append(app)
        self.records[generation_id] = FakeRecord(State.STARTING, trio.current_time(), self.now())
        async with self._holding(app):
            yield app

    @contextlib.asynccontextmanager
    async def _holding(self, app: FakeApp) -> AsyncIterator[None]:
        self.open_launches += 1
        try:
            async with trio.open_nursery():
                yield
        finally:
            self.open_launches -= 1
            if not (self.is_killed or app.is_left):
                assert app.id not in self.records

    # --- what outlives an agent -------------------------------------------------------------------------------

    def read_memory(self) -> DeployMemory:
        return DeployMemory.decode(self.memory.encode())

    def store_memory(self, memory: DeployMemory) -> None:
        if not self.is_killed:
            self.memory = memory

    def recorded_generations(self) -> list[RecordedGeneration]:
        self.last_left = self.last_number
        return [self._describe(app) for app in self.apps if app.id in self.records]

    def _describe(self, app: FakeApp) -> RecordedGeneration:
        record = self.records[app.id]
        for_seconds = trio.current_time() - record.since
        return RecordedGeneration(app.id, app.plan, record.state, for_seconds, record.started_at, record.live_at)

    @contextlib.asynccontextmanager
    async def adopt(self, recorded: RecordedGeneration, stop_now: trio.Event) -> AsyncIterator[App]:
        app = next(app for app in self.apps if app.id == recorded.id)
        app.is_adopted, app.is_left = True, False
        app.ended_times = 0  # the agent before was killed before it had ended all, so this one ends it once more
        async with self._holding(app):
            yield app

    async def undecided_deploys(self) -> UndecidedDeploys:
        await trio.sleep(0.01)
        return undecided(self.journal, self.last_left)

    async def find_leftovers(self, spared: Collection[int]) -> Leftovers:
        await trio.sleep(0.01)
        return Leftovers({})

    async def end_leftovers(self, leftovers: Leftovers, stop_now: trio.Event) -> None:
        await trio.sleep(0.01)


class Holding:
    """A request in flight, which holds a lease."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.was_cut = False
        generation = scene.roster.lease(self)
        assert generation is not None
        self.generation = generation

    def client_identity(self, by: str) -> bytes:
        return by.encode()

    def cut(self) -> None:
        self.was_cut = True
        self.end()

    def end(self) -> None:
        self.generation.release_lease(self)

    def follow(self, roster: Roster) -> None:
        """Hold the same generation in the roster of another agent."""
        there = roster.generations.get(self.generation.id)
        if there is not None and there is not self.generation:
            for theirs, ours in ((there.holders, self.generation.holders), (there.tunnels, self.generation.tunnels)):
                if self in ours:
                    theirs.add(self)
            self.generation = there


class Scene:
    """A supervisor on a fake host, and the next one after it was killed.

    Attributes:
        nursery: runs the lifecycle of each generation.
    """

    def __init__(self, **host: Any) -> None:
        self.host = FakeHost(**host)
        self.events = self.host.journal
        self.configs: list[Config] = []
        self.live_seen: list[int | None] = []
        self.roster: Roster
        self.supervisor: Supervisor
        self.nursery: trio.Nursery
        self._over: trio.Event | None = None

    # --- agents -----------------------------------------------------------------------------------------------

    async def start(self, agents: trio.Nursery) -> None:
        """Start an agent."""
        assert self._over is None
        self.events.record("agent.started")
        self.roster = Roster()
        await self._supervise(agents)

    async def _supervise(self, agents: trio.Nursery, *, is_handed_over: bool = False) -> None:
        await agents.start(self._run, is_handed_over)

    async def hand_over(self, timeout_seconds: float) -> bool:
        """Hand over once the agent is idle, and return whether it was in time."""
        assert self._over is not None
        with trio.move_on_after(timeout_seconds) as scope:
            while not self.supervisor.is_idle:  # noqa: ASYNC110 - as the agent does
                await trio.sleep(0.02)
        if scope.cancelled_caught:
            return False
        self.supervisor.hand_over()
        self.nursery.cancel_scope.cancel()
        await self._over.wait()
        self._over = None
        return True

    async def take_over(self, agents: trio.Nursery, holdings: Sequence[Holding] = ()) -> None:
        """Start another agent in place of one that has handed over, with the leases that it left."""
        self.roster = Roster()

        def follow() -> None:
            for holding in holdings:
                holding.follow(self.roster)

        self.roster.observe(follow)
        await self._supervise(agents, is_handed_over=True)

    async def take_back(self, agents: trio.Nursery) -> None:
        """Continue in the agent that has handed over."""
        await self._supervise(agents, is_handed_over=True)

    async def _run(self, is_handed_over: bool, *, task_status: trio.TaskStatus[None]) -> None:
        self._over = trio.Event()
        async with trio.open_nursery() as self.nursery:
            recorder: Any = self.events
            context = DeployContext(self.roster, recorder, self.host, Ownership(), self.nursery, trio.Event())
            self.supervisor = Supervisor(context, self.host.config, self.configs.append, is_handed_over=is_handed_over)
            self.roster.observe(self._look)
            self.nursery.start_soon(self.supervisor.run)
            self.nursery.start_soon(self._watch, self.supervisor)
            task_status.started()
        self._over.set()

    async def _watch(self, supervisor: Supervisor) -> None:
        """Request a deploy if the files have changed since the last outcome, as the watcher does."""
        await supervisor.started.wait()
        seen, now = supervisor.seen, self.host.file_state()
        if seen is not None and now is not None:
            if link_changed(seen, now):
                supervisor.request(Trigger(kind="symlink"))
            if trigger_touched(seen, now):
                supervisor.request(Trigger(kind="file"))

    async def stop(self) -> None:
        """Stop the agent, and wait for its end."""
        assert self._over is not None
        self.supervisor.stop()
        self.nursery.cancel_scope.cancel()
        await self._over.wait()
        self._over = None
        self.events.record("agent.stopped")

    async def kill(self) -> None:
        """Kill the agent; the processes that it launched go on."""
        assert self._over is not None
        self.host.is_killed = self.host.companions.is_killed = self.events.is_killed = True
        self.supervisor.stop_now()
        self.nursery.cancel_scope.cancel()
        await self._over.wait()
        self._over = None
        self.host.is_killed = self.host.companions.is_killed = self.events.is_killed = False

    @property
    def has_agent(self) -> bool:
        return self._over is not None

    # --- what is seen and done --------------------------------------------------------------------------------

    def _look(self) -> None:
        live = self.roster.live.id if self.roster.live is not None else None
        if not self.live_seen or self.live_seen[-1] != live:
            self.live_seen.append(live)
        states = [generation.state.value for generation in self.roster.generations.values()]
        assert states.count("live") == (live is not None), states

    @property
    def live(self) -> int | None:
        return self.roster.live.id if self.roster.live is not None else None

    def states(self) -> dict[int, str]:
        """Return the state of every generation that is not retired."""
        return {generation_id: generation.state.value for generation_id, generation in self.roster.generations.items()}

    def ask(self, kind: str = "file", **fields: Any) -> None:
        """Request a deploy; without an agent, the next one finds the trigger file touched."""
        if kind == "file":
            self.host.touches += 1
        if self._over is not None:
            self.supervisor.request(Trigger(kind=kind, **fields))

    def restart(self, process: str) -> None:
        """Request that companion processes are started again; without an agent, nobody takes the request."""
        if self._over is not None:
            self.supervisor.restart(RestartRequest(process, "0123456789ab", "me"))

    def turn(self, release: str, **fields: Any) -> None:
        self.host.link = Path("/releases") / release
        self.host.turns += 1
        self.host.look_again = None
        self.ask("symlink", **fields)

    def restore(self, release: str, turns: int) -> None:
        """Restore the link with its old mtime, as ``release_link.restore`` does."""
        self.host.link, self.host.look_again = Path("/releases") / release, Stamp(3, turns, 0)
        self.ask("symlink")

    def app(self, generation_id: int) -> FakeApp:
        return next(app for app in self.host.apps if app.id == generation_id)

    def story(self) -> list[str]:
        """Return the names of the events, each with its generation if it has one."""
        named = [event for event in self.events if not event["event"].startswith("agent.")]
        return [f"{event['event']} {event.get('generation') or ''}".strip() for event in named]

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events.named("deploy.failed")]


@contextlib.asynccontextmanager
async def playing(**host: Any) -> AsyncIterator[Scene]:
    """Yield a scene with an agent; at the end every app has ended once, and the journal is consistent."""
    async with acting(**host) as (scene, agents):
        await scene.start(agents)
        yield scene


@contextlib.asynccontextmanager
async def acting(**host: Any) -> AsyncIterator[tuple[Scene, trio.Nursery]]:
    """Yield a scene without an agent yet, and the nursery for its agents."""
    scene = Scene(**host)
    async with trio.open_nursery() as agents:
        yield scene, agents
        if not scene.has_agent:
            await scene.start(agents)
        await scene.stop()
    assert scene.host.open_launches == 0
    assert [app.id for app in scene.host.apps if app.ended_times != 1] == []
    assert scene.host.records == {}
    assert scene.host.companions.open_companions == 0
    assert scene.host.companions.running() == []
    assert scene.roster.generations == {}
    assert scene.roster.live is None
    assert problems(scene.events) == []


def deploy_context(host: FakeHost, events: Events, nursery: Any = None, roster: Roster | None = None) -> DeployContext:
    """Return a context for a part of the deploying that is tested alone."""
    recorder: Any = events
    return DeployContext(roster or Roster(), recorder, host, Ownership(), nursery, trio.Event())
