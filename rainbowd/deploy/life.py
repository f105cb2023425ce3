"""A generation's life: launch, check, live until superseded, drain, stop, reap.  One straight coroutine.

One that an earlier agent launched comes in where it was: to be live again it is checked again, a standby goes on
being one, a draining one has the rest of its time, and all others are at their end.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.draining import Draining
from rainbowd.deploy.exits import describe_exit
from rainbowd.deploy.liveness import listen
from rainbowd.deploy.seam import INTERRUPTED, PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from rainbowd.config import Drain
    from rainbowd.deploy.ownership import Ownership
    from rainbowd.deploy.seam import App, Left, Plan, World
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

log = get_logger()


class End(enum.Enum):
    """Why a generation does not go on."""

    SUPERSEDED = enum.auto()  # or its time as standby is over
    DROPPED = enum.auto()  # while a candidate
    DIED = enum.auto()
    REFUSING = enum.auto()  # alive, but its address refused connections for a second


class Life:
    """One generation, from its first process to its last.

    Args:
        drain: how to drain, as the config says by then.
        hurry: no more patience once this is set.
        ownership: of it, and of all others.
        on_death: called the moment that a live generation is known to be dead.
        on_silence: called each time that a live one has missed as many checks in a row as ``health.liveness`` allows.
        left: what is on record of it where an earlier agent launched it.
        deploy: the deploy that it is launched for; None for a relaunch, as another one died, and this takes its place.

    Attributes:
        generation: None until there is something to launch.
        ready: set when the check has passed or failed.
        failure: why it failed; None where it passed.
        live_for_seconds: how long it has been live, by the monotonic clock.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        *,
        roster: Roster,
        recorder: Recorder,
        world: World,
        drain: Callable[[], Drain],
        hurry: trio.Event,
        ownership: Ownership,
        on_death: Callable[[Life], None],
        on_silence: Callable[[Life], None],
        left: Left | None = None,
        deploy: str | None = None,
    ) -> None:
        self.plan = plan
        self.number = number
        self.generation: Generation | None = None
        self.ready = trio.Event()
        self.failure: DeployFailed | None = None
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._drain_rules = drain
        self._hurry = hurry
        self._ownership = ownership
        self._on_death = on_death
        self._on_silence = on_silence
        self._left = left
        self._deploy = deploy
        self._candidacy = trio.CancelScope()
        self._end: End | None = None
        self._nudged = trio.Event()
        self._warm_until = math.inf
        self._launched_at: float | None = None  # these by the monotonic clock
        self._healthy_at: float | None = None
        self._switched_at: float | None = None
        self._draining_at: float | None = None
        self._is_taken_back = False

    @property
    def is_left(self) -> bool:
        """An earlier agent launched it."""
        return self._left is not None

    @property
    def is_candidate(self) -> bool:
        """It passed its check, and may be switched to."""
        return self.failure is None and self._end is None and self.ready.is_set()

    @property
    def is_warm(self) -> bool:
        """It is a standby, and may be switched to."""
        return self.is_candidate and self.generation is not None and self.generation.state is State.STANDBY

    @property
    def live_for_seconds(self) -> float:
        """How long it has been live, by the monotonic clock; 0 if it never was."""
        return 0.0 if self._switched_at is None else trio.current_time() - self._switched_at

    async def run(self) -> None:
        """All of it. No failure of a generation leaves this coroutine."""
        try:
            async with self._open() as app:
                self._enlist(app)
                try:
                    await self._go_through(app)
                    if self.is_left:
                        await self._ownership.until_complete()
                finally:
                    if self._ownership.covers(is_adopted=self.is_left):
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

    def end(self, why: End) -> None:
        """It does not go on; what is said first counts."""
        if self._end is None:
            self._end = why
            self._nudge()
            self._candidacy.cancel()

    def switched(self) -> None:
        """It is live now; the supervisor calls this behind the switch."""
        was_warm, self._warm_until = self._warm_until < math.inf, math.inf
        self._switched_at = trio.current_time()
        if self._left is not None and not was_warm:
            self._switched_at -= self._left.for_seconds
            self._record_adopted(State.LIVE)
            return
        self._record(
            "generation.live",
            boot_seconds=_seconds(self._launched_at, self._healthy_at),
            switch_seconds=None if was_warm else _seconds(self._healthy_at, self._switched_at),
        )

    def stay_warm(self, seconds: float) -> None:
        """It is standby now; the supervisor calls this behind the switch."""
        self._warm_until = trio.current_time() + seconds
        self._record("generation.standby", seconds=seconds)
        self._nudge()

    # --- entering -------------------------------------------------------------------------------------------------

    def _open(self) -> AbstractAsyncContextManager[App]:
        if self._left is not None:
            return self._world.adopt(self._left, self._hurry)
        return self._world.launch(self.plan, self.number, self._hurry)

    def _enlist(self, app: App) -> None:
        """From here on the roster knows it; what is to be live again is on record as live while it is checked."""
        left = self._left
        known = self._roster.generations.get(self.number)
        self._is_taken_back = known is not None  # from an agent that failed: nothing has changed for anybody
        generation = known or Generation(
            self.number,
            self.plan.release,
            app.address,
            started_at=self._world.now() if left is None else left.started_at,
            pid=app.pid,
            live_at=None if left is None else left.live_at,
            state=State.STARTING if left is None or left.state is State.LIVE else left.state,
        )
        generation.on_advance = lambda: app.note(generation.state, generation.live_at)
        generation.on_refusing = lambda: self.end(End.REFUSING)
        self._draining = Draining(generation)
        self.generation = generation
        self._roster.add(generation)

    async def _go_through(self, app: App) -> None:
        if self._left is None or self._left.state is State.LIVE:
            await self._prove(app)
            if self.failure is None:
                await self._serve(app)
                await self._drain()
        elif self._left.state in {State.STANDBY, State.DRAINING} and await app.is_alive():
            self._record_adopted(self._left.state)
            await self._go_on(app, self._left)

    async def _go_on(self, app: App, left: Left) -> None:
        """What an earlier agent kept warm or was draining has the rest of its time."""
        if left.state is State.STANDBY:
            self._warm_until = trio.current_time() + left.warm_seconds - left.for_seconds
            self._decide(None)
            await self._serve(app)
            await self._drain()
        else:
            self._draining_at = trio.current_time() - left.for_seconds
            if left.is_handed_over:
                await self._draining.run(self._drain_rules(), self._draining_at)
                return
            with trio.move_on_at(self._draining_at + self._drain_rules().timeout):
                await app.ended()

    # --- candidate ------------------------------------------------------------------------------------------------

    async def _prove(self, app: App) -> None:
        """Run until healthy; ``failure`` says why it is not."""
        if self._left is None:
            self._launched_at = trio.current_time()
            app.open_gate()
            self._record(
                "generation.launched",
                deploy=self._deploy,
                relaunch=self._deploy is None,
                address=str(app.address),
                pid=app.pid,
            )
        failure = await self._check(app)
        if failure is not None:
            failure.output = failure.output or app.last_lines()
        if failure is None and self._left is None:
            self._healthy_at = trio.current_time()
            self._record("generation.healthy")
        elif failure is not None and self._left is not None:
            self._record("generation.crashed", exit_status=None, reason=failure.reason, output=failure.output)
        self._decide(failure)

    async def _check(self, app: App) -> DeployFailed | None:
        """The check against the process's own end and against being dropped, whichever comes first."""
        if self._left is not None and self._left.is_handed_over and await app.is_alive():
            return None
        failure: DeployFailed | None = DeployFailed("dropped before it was ready")
        with self._candidacy:
            async with trio.open_nursery() as nursery:

                async def watch_end() -> None:
                    nonlocal failure
                    failure = self._why_ended(app, await app.ended())
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch_end)
                try:
                    await app.check()
                    failure = None
                except DeployFailed as error:
                    failure = error
                nursery.cancel_scope.cancel()
        return failure

    def _why_ended(self, app: App, status: int | None) -> DeployFailed:
        if self._left is not None:
            return DeployFailed("the app ended while no agent ran")
        said = f"the app {describe_exit(status)} before it was ready"
        return PortTaken(f"{said}; a stranger holds its port") if app.port_is_taken() else DeployFailed(said)

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
                self.end(End.DIED)

            nursery.start_soon(watch_end)
            nursery.start_soon(listen, app, self.plan.config.health, self._is_live, lambda: self._on_silence(self))
            await self._until_over()
            nursery.cancel_scope.cancel()
        if self._end in {End.DIED, End.REFUSING} and self.generation.state is State.LIVE:
            why = describe_exit(status) if self._end is End.DIED else "refuses connections"
            self._record("generation.crashed", exit_status=status, reason=why, output=app.last_lines())
            self._on_death(self)

    async def _until_over(self) -> None:
        """Until superseded, dropped or dead, or its time as standby is over."""
        while self._end is None:
            self._nudged = trio.Event()
            with trio.move_on_at(self._warm_until):
                await self._nudged.wait()
            if trio.current_time() >= self._warm_until:
                self.end(End.SUPERSEDED)

    def _is_live(self) -> bool:
        return self.generation is self._roster.live

    def _nudge(self) -> None:
        self._nudged.set()

    async def _drain(self) -> None:
        """Superseded, it still finishes what it has."""
        generation = self.generation
        assert generation is not None
        if generation.state is State.STANDBY and self._end is End.SUPERSEDED:
            self._roster.advance(generation, State.DRAINING)
        if generation.state is State.DRAINING:
            self._draining_at = trio.current_time()
            self._record("generation.draining")
            await self._draining.run(self._drain_rules(), self._draining_at)

    # --- the end --------------------------------------------------------------------------------------------------

    async def _retire(self, app: App) -> None:
        """End every process of it, and say how it went."""
        generation = self.generation
        assert generation is not None
        if generation.state is not State.STOPPING:
            self._roster.advance(generation, State.STOPPING)
        drain_seconds = _seconds(self._draining_at, trio.current_time())
        ending = await app.end(self._hurry)
        self._roster.advance(generation, State.RETIRED)
        self._record(
            "generation.retired",
            exit_status=ending.exit_status,
            killed=ending.killed,
            drain_seconds=drain_seconds or 0.0,
            requests=generation.requests,
            left=ending.left,
        )

    def _leave(self, app: App) -> None:
        """It goes on as it is, under another agent."""
        generation = self.generation
        assert generation is not None
        generation.on_advance = generation.on_idle = generation.on_refusing = None
        app.leave()

    def _record_adopted(self, state: State) -> None:
        generation = self.generation
        assert generation is not None
        if not self._is_taken_back:
            self._record("generation.adopted", state=state.value, address=str(generation.address), pid=generation.pid)

    def _record(self, event: str, **fields: object) -> None:
        assert self.generation is not None
        log.info(event, generation=self.generation.id, release=str(self.plan.release), **fields)
        self._recorder.record(event, generation=self.generation.id, release=self.plan.release, **fields)


def _seconds(since: float | None, until: float | None) -> float | None:
    return None if since is None or until is None else round(until - since, 3)
