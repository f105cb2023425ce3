"""The lifecycle of a generation: launch, check, live until superseded, drain, stop, reap. One straight coroutine."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.deploy.failures import INTERRUPTED
from rainbowd.deploy.generations.draining import Drainer
from rainbowd.deploy.generations.events import GenerationEvents
from rainbowd.deploy.generations.liveness import probe_liveness
from rainbowd.deploy.generations.readiness import until_ready
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from rainbowd.config import Drain
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.companions import Companions
    from rainbowd.deploy.interfaces import App
    from rainbowd.deploy.launch_plan import LaunchPlan

log = get_logger()


class EndReason(enum.Enum):
    """The reason why a generation no longer serves."""

    SUPERSEDED = enum.auto()  # or its time as the standby is over
    DROPPED = enum.auto()  # before it was live
    DIED = enum.auto()  # its processes have exited
    REFUSING = enum.auto()  # it runs, but has refused connections for a second


class LifecycleOwner(Protocol):
    """The generations that a lifecycle is one of."""

    on_unresponsive: Callable[[Lifecycle], None]
    """Called with the live one or the canary on every failed check once ``health.liveness`` allows no more."""
    companions: Companions
    """The companion processes, which end before their generation does."""

    @property
    def drain(self) -> Drain:
        """The drain settings of the config in force."""

    def on_crash(self, lifecycle: Lifecycle) -> None:
        """Handle a crash of the live generation or the canary, as soon as it is known."""


class Lifecycle:
    """One generation, from its first process to its last.

    ``AdoptedLifecycle`` is the rest of a lifecycle that an earlier agent began.

    Args:
        plan: what is launched.
        generation_id: the id of the generation.
        context: see ``DeployContext``.
        owner: the generations that it is one of.
        deploy_id: the id of the deploy that it is launched for; None for a relaunch after a crash.

    Attributes:
        plan: what is launched.
        id: the id of the generation, which is in the roster from the creation of its processes to their end.
        ready: set once the check has passed or failed.
        failure: why the check failed; None if it has passed.
        crash: why it crashed while it was live; None if it did not.
        is_adopted: whether an earlier agent has launched it.
    """

    is_adopted = False

    def __init__(
        self,
        plan: LaunchPlan,
        generation_id: int,
        context: DeployContext,
        owner: LifecycleOwner,
        *,
        deploy_id: str | None = None,
    ) -> None:
        self.plan = plan
        self.id = generation_id
        self.ready = trio.Event()
        self.failure: DeployFailed | None = None
        self.crash: str | None = None
        self._context = context
        self._roster = context.roster
        self._owner = owner
        self._events = GenerationEvents(context.recorder, generation_id, plan.release)
        self._deploy_id = deploy_id
        self._candidacy = trio.CancelScope()
        self._end_reason: EndReason | None = None
        self._app: App | None = None
        self._woken = trio.Event()
        self._warm_since = self._warm_until = math.inf

    @property
    def is_candidate(self) -> bool:
        """Whether it has passed its check, and can be switched to."""
        return self.failure is None and self._end_reason is None and self.ready.is_set()

    @property
    def last_check(self) -> str | None:
        """The result of its last health check; None before the first has returned."""
        return None if self._app is None else self._app.last_check.result

    @property
    def live_seconds(self) -> float:
        """How long it has been live, by the monotonic clock; 0 if it never was."""
        since = self._events.live_since
        return 0.0 if since is None else trio.current_time() - since

    @property
    def warm_for_seconds(self) -> float:
        """How long it has been the standby; 0 if it is not."""
        return max(0.0, trio.current_time() - self._warm_since)

    async def run(self) -> None:
        """Run the generation to its end; no failure of it leaves this coroutine."""
        try:
            async with self._open() as app:
                generation = self._register(app)
                try:
                    await self._run_phases(app, generation)
                    await self._owner.companions.until_ended(self.id)
                    if generation.state is State.DRAINING and generation.holders:  # for old assets, since then
                        await self._drainer.run(self._owner.drain, trio.current_time())
                finally:
                    if self._context.ownership.covers(is_adopted=self.is_adopted):
                        with trio.CancelScope(shield=True):  # bounded by kill_after
                            await self._retire(app, generation)
                    else:
                        self._hand_over(app, generation)
        except DeployFailed as failure:
            self._set_ready(failure)
        except Exception as bug:
            log.error("bug: a generation's lifecycle broke", exc_info=bug)
            self._set_ready(DeployFailed(f"internal error: {bug!r}"))
        finally:
            self._set_ready(DeployFailed(INTERRUPTED))

    def stop(self, reason: EndReason) -> None:
        """End the current phase, so that it drains and stops; only the first call counts.

        Args:
            reason: why the generation no longer serves.
        """
        if self._end_reason is None:
            self._end_reason = reason
            self._wake()
            self._candidacy.cancel()

    def switched(self) -> None:
        """Record that the generation is live; called right after the switch."""
        self._warm_since = self._warm_until = math.inf
        self._events.live()

    def has_share(self, share_percent: float) -> None:
        """Record that the generation gets a share of the clients; called right after that."""
        self._events.canary(share_percent)

    def last_lines(self) -> list[str]:
        """Return the app's last lines, oldest first."""
        return [] if self._app is None else self._app.last_lines()

    def stay_warm(self, seconds: float) -> None:
        """Stay as the standby for ``seconds`` from now on."""
        now = trio.current_time()
        self._warm_until = now + seconds
        if self._warm_since == math.inf:
            self._warm_since = now
            self._events.standby(seconds)
        self._wake()

    # --- the beginning --------------------------------------------------------------------------------------------

    def _open(self) -> AbstractAsyncContextManager[App]:
        return self._context.host.launcher.launch(self.plan, self.id, self._context.stop_now)

    def _register(self, app: App) -> Generation:
        """Add the generation to the roster, before its app runs."""
        self._app = app
        generation = self._make_generation(app)
        generation.on_advance, generation.last_check = app.note, app.last_check
        generation.on_refusing = lambda: self.stop(EndReason.REFUSING)
        generation.processes = self._owner.companions.statuses_of(self.id)
        self._drainer = Drainer(generation)
        self._roster.add(generation)
        return generation

    def _make_generation(self, app: App) -> Generation:
        started_at = self._context.host.now()
        return Generation(self.id, self.plan.release, app.address, started_at=started_at, pid=app.pid)

    async def _run_phases(self, app: App, generation: Generation) -> None:
        self._set_ready(await self._check_readiness(app))
        if self.failure is None:
            await self._serve(app, generation)
            await self._drain(generation)

    # --- candidate ------------------------------------------------------------------------------------------------

    async def _check_readiness(self, app: App) -> DeployFailed | None:
        """Start the app and wait until it is healthy; return why it is not, or None."""
        app.open_gate()
        self._events.launched(app, self._deploy_id)
        failure = await until_ready(app, self._candidacy, is_adopted=False)
        if failure is None:
            self._events.healthy()
        return failure

    def _set_ready(self, failure: DeployFailed | None) -> None:
        if not self.ready.is_set():
            self.failure = failure
            self.ready.set()

    # --- live, draining -------------------------------------------------------------------------------------------

    async def _serve(self, app: App, generation: Generation) -> None:
        """Be live and standby, in turn, until it is neither."""
        status: int | None = None
        async with trio.open_nursery() as nursery:

            async def watch_exit() -> None:
                nonlocal status
                status = await app.ended()
                self.stop(EndReason.DIED)

            nursery.start_soon(watch_exit)
            nursery.start_soon(_follow_main, app, generation)
            nursery.start_soon(self._probe_liveness, app, generation)
            await self._until_stopped()
            nursery.cancel_scope.cancel()
        if self._end_reason in {EndReason.DIED, EndReason.REFUSING} and generation.is_serving:
            reason = describe_exit(status) if self._end_reason is EndReason.DIED else "refuses connections"
            self.crash = reason
            self._events.crashed(reason, app.last_lines(), exit_status=status)
            self._owner.on_crash(self)

    async def _probe_liveness(self, app: App, generation: Generation) -> None:
        await probe_liveness(
            app,
            self.plan.config.health,
            is_serving=lambda: generation.is_serving,
            on_unresponsive=lambda: self._owner.on_unresponsive(self),
        )

    async def _until_stopped(self) -> None:
        """Wait until it is superseded, dropped or dead, or its time as the standby is over."""
        while self._end_reason is None:
            self._woken = trio.Event()
            with trio.move_on_at(self._warm_until):
                await self._woken.wait()
            if trio.current_time() >= self._warm_until:
                self.stop(EndReason.SUPERSEDED)

    def _wake(self) -> None:
        self._woken.set()

    async def _drain(self, generation: Generation) -> None:
        """Let the requests of a superseded generation finish."""
        is_ending = self._end_reason in {EndReason.SUPERSEDED, EndReason.DROPPED}
        if generation.state in {State.STANDBY, State.CANARY} and is_ending:
            self._roster.advance(generation, State.DRAINING)
        if generation.state is State.DRAINING:
            self._events.draining()
            await self._drainer.run(self._owner.drain, trio.current_time())

    # --- the end --------------------------------------------------------------------------------------------------

    async def _retire(self, app: App, generation: Generation) -> None:
        """Stop every process of the generation, and record how they ended."""
        if generation.state is not State.STOPPING:
            self._roster.advance(generation, State.STOPPING)
        self._events.stopping()
        report = await app.end(self._context.stop_now)
        await self._owner.companions.until_ended(self.id)
        self._roster.advance(generation, State.RETIRED)
        self._events.retired(report, generation.requests)

    def _hand_over(self, app: App, generation: Generation) -> None:
        """Leave the generation as it is to another agent."""
        generation.on_advance = generation.on_idle = generation.on_refusing = None
        app.leave()


async def _follow_main(app: App, generation: Generation) -> None:
    """Publish the main process, which can change: a daemon forks, or a server starts a new master."""
    while True:
        generation.pid = await app.main_changed(generation.pid)
