"""A generation's life: launch, check, live until superseded, drain, stop, reap.  One straight coroutine."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.draining import Drainer
from rainbowd.deploy.generations.events import GenerationEvents
from rainbowd.deploy.generations.liveness import probe_liveness
from rainbowd.deploy.generations.readiness import until_ready
from rainbowd.deploy.interfaces import INTERRUPTED
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from rainbowd.config import Drain
    from rainbowd.deploy.generations.ownership import Ownership
    from rainbowd.deploy.interfaces import App, Host, LaunchPlan
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

log = get_logger()


class EndReason(enum.Enum):
    """Why a generation does not go on."""

    SUPERSEDED = enum.auto()  # or its time as standby is over
    DROPPED = enum.auto()  # while a candidate
    DIED = enum.auto()
    REFUSING = enum.auto()  # alive, but its address refused connections for a second


@dataclass(frozen=True)
class LifecycleContext:
    """What all lives have in common.

    Attributes:
        drain: how to drain, as the config says by then.
        hurry: no more patience once this is set.
        ownership: of the generations.
        on_silence: called each time that a live one has missed as many checks in a row as ``health.liveness`` allows.
    """

    roster: Roster
    recorder: Recorder
    world: Host
    drain: Callable[[], Drain]
    hurry: trio.Event
    ownership: Ownership
    on_silence: Callable[[Lifecycle], None]


class Lifecycle:
    """One generation, from its first process to its last; for one that an earlier agent launched see ``Adopted``.

    Args:
        on_death: called the moment that it is known to be dead while it was live.
        deploy: the deploy that it is launched for; None for a relaunch, as another one died, and this takes its place.

    Attributes:
        generation: None until there is something to launch.
        ready: set when the check has passed or failed.
        failure: why it failed; None where it passed.
        crash: why it died or was given up while it was live; None as long as it was not.
        is_left: an earlier agent launched it.
    """

    is_left = False

    def __init__(
        self,
        plan: LaunchPlan,
        number: int,
        surroundings: LifecycleContext,
        *,
        on_death: Callable[[Lifecycle], None],
        deploy: str | None = None,
    ) -> None:
        self.plan = plan
        self.number = number
        self.generation: Generation | None = None
        self.ready = trio.Event()
        self.failure: DeployFailed | None = None
        self.crash: str | None = None
        self._around = surroundings
        self._roster = surroundings.roster
        self._chronicle = GenerationEvents(surroundings.recorder, number, plan.release)
        self._on_death = on_death
        self._deploy = deploy
        self._candidacy = trio.CancelScope()
        self._end: EndReason | None = None
        self._app: App | None = None
        self._nudged = trio.Event()
        self._warm_until = math.inf

    @property
    def is_candidate(self) -> bool:
        """It passed its check, and may be switched to."""
        return self.failure is None and self._end is None and self.ready.is_set()

    @property
    def is_warm(self) -> bool:
        """It is a standby, and may be switched to."""
        return self.is_candidate and self.generation is not None and self.generation.state is State.STANDBY

    @property
    def last_check(self) -> str | None:
        """What its last health check got; None before the first one has come back."""
        return None if self._app is None else self._app.last_check

    @property
    def live_for_seconds(self) -> float:
        """How long it has been live, by the monotonic clock; 0 if it never was."""
        since = self._chronicle.live_since
        return 0.0 if since is None else trio.current_time() - since

    async def run(self) -> None:
        """All of it. No failure of a generation leaves this coroutine."""
        try:
            async with self._open() as app:
                self._enlist(app)
                try:
                    await self._go_through(app)
                finally:
                    if self._around.ownership.covers(is_adopted=self.is_left):
                        with trio.CancelScope(shield=True):  # bounded by kill_after
                            await self._retire(app)
                    else:
                        self._leave(app)
        except DeployFailed as failure:
            self._decide(failure)
        except Exception as bug:
            log.error("bug: a generation's life broke", exc_info=bug)
            self._decide(DeployFailed(f"internal error: {bug!r}"))
        finally:
            self._decide(DeployFailed(INTERRUPTED))

    def end(self, why: EndReason) -> None:
        """It does not go on; what is said first counts."""
        if self._end is None:
            self._end = why
            self._nudge()
            self._candidacy.cancel()

    def switched(self) -> None:
        """It is live now; the supervisor calls this behind the switch."""
        self._warm_until = math.inf
        self._chronicle.live()

    def stay_warm(self, seconds: float) -> None:
        """It is standby now; the supervisor calls this behind the switch."""
        self._warm_until = trio.current_time() + seconds
        self._chronicle.standby(seconds)
        self._nudge()

    # --- entering -------------------------------------------------------------------------------------------------

    def _open(self) -> AbstractAsyncContextManager[App]:
        return self._around.world.launch(self.plan, self.number, self._around.hurry)

    def _enlist(self, app: App) -> None:
        """From here on the roster knows it."""
        self._app = app
        generation = self._make(app)
        generation.on_advance = lambda: app.note(generation.state, generation.live_at)
        generation.on_refusing = lambda: self.end(EndReason.REFUSING)
        self._draining = Drainer(generation)
        self.generation = generation
        self._roster.add(generation)

    def _make(self, app: App) -> Generation:
        started_at = self._around.world.now()
        return Generation(self.number, self.plan.release, app.address, started_at=started_at, pid=app.pid)

    async def _go_through(self, app: App) -> None:
        self._decide(await self._prove(app))
        if self.failure is None:
            await self._serve(app)
            await self._drain()

    # --- candidate ------------------------------------------------------------------------------------------------

    async def _prove(self, app: App) -> DeployFailed | None:
        """Run until healthy, or until it is known why it is not."""
        app.open_gate()
        self._chronicle.launched(app, self._deploy)
        failure = await until_ready(app, self._candidacy, is_left=False)
        if failure is None:
            self._chronicle.healthy()
        return failure

    def _decide(self, failure: DeployFailed | None) -> None:
        if not self.ready.is_set():
            self.failure = failure
            self.ready.set()

    # --- live, draining -------------------------------------------------------------------------------------------

    async def _serve(self, app: App) -> None:
        """Live and standby, in turn, until neither any more."""
        assert self.generation is not None
        status: int | None = None
        async with trio.open_nursery() as nursery:

            async def watch_end() -> None:
                nonlocal status
                status = await app.ended()
                self.end(EndReason.DIED)

            nursery.start_soon(watch_end)
            nursery.start_soon(self._follow_main, app)
            nursery.start_soon(
                probe_liveness, app, self.plan.config.health, self._is_live, lambda: self._around.on_silence(self)
            )
            await self._until_over()
            nursery.cancel_scope.cancel()
        if self._end in {EndReason.DIED, EndReason.REFUSING} and self.generation.state is State.LIVE:
            why = describe_exit(status) if self._end is EndReason.DIED else "refuses connections"
            self.crash = why
            self._chronicle.crashed(why, app.last_lines(), exit_status=status)
            self._on_death(self)

    async def _follow_main(self, app: App) -> None:
        """Show the main process, which may become another one: a daemon, or a new master."""
        assert self.generation is not None
        while True:
            self.generation.pid = await app.main_changed(self.generation.pid)

    async def _until_over(self) -> None:
        """Until superseded, dropped or dead, or its time as standby is over."""
        while self._end is None:
            self._nudged = trio.Event()
            with trio.move_on_at(self._warm_until):
                await self._nudged.wait()
            if trio.current_time() >= self._warm_until:
                self.end(EndReason.SUPERSEDED)

    def _on_silence(self) -> None:
        self._around.on_silence(self)

    def _is_live(self) -> bool:
        return self.generation is self._roster.live

    def _nudge(self) -> None:
        self._nudged.set()

    async def _drain(self) -> None:
        """Superseded, it still finishes what it has."""
        generation = self.generation
        assert generation is not None
        if generation.state is State.STANDBY and self._end is EndReason.SUPERSEDED:
            self._roster.advance(generation, State.DRAINING)
        if generation.state is State.DRAINING:
            self._chronicle.draining()
            await self._draining.run(self._around.drain(), trio.current_time())

    # --- the end --------------------------------------------------------------------------------------------------

    async def _retire(self, app: App) -> None:
        """End every process of it, and say how it went."""
        generation = self.generation
        assert generation is not None
        if generation.state is not State.STOPPING:
            self._roster.advance(generation, State.STOPPING)
        self._chronicle.stopping()
        ending = await app.end(self._around.hurry)
        self._roster.advance(generation, State.RETIRED)
        self._chronicle.retired(ending, generation.requests)

    def _leave(self, app: App) -> None:
        """It goes on as it is, under another agent."""
        generation = self.generation
        assert generation is not None
        generation.on_advance = generation.on_idle = generation.on_refusing = None
        app.leave()
