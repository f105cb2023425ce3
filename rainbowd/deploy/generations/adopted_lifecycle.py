"""The rest of a lifecycle that an earlier agent began.

It continues in the state that was recorded. A live generation is checked again before it gets requests, a standby stays
the standby, a draining one has the rest of its timeout, and any other is stopped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.lifecycle import Lifecycle
from rainbowd.deploy.generations.readiness import until_ready
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.lifecycle import LifecycleOwner
    from rainbowd.deploy.interfaces import App, RecordedGeneration
    from rainbowd.errors import DeployFailed


class AdoptedLifecycle(Lifecycle):
    """A lifecycle that continues under another agent.

    Args:
        recorded: the generation, in the state that it should have.
        context: see ``DeployContext``.
        owner: the generations that it is one of.
    """

    is_adopted = True

    def __init__(self, recorded: RecordedGeneration, context: DeployContext, owner: LifecycleOwner) -> None:
        super().__init__(recorded.plan, recorded.id, context, owner)
        self._recorded = recorded
        self._is_taken_back = False

    def switched(self) -> None:
        """Record that the generation is live: again, or for the first time after it was the standby."""
        was_warm = self._warm_until < math.inf
        self._warm_since = self._warm_until = math.inf
        if was_warm:
            self._events.live()
        else:
            self._record_adoption(self._roster.generations[self.id])

    def _open(self) -> AbstractAsyncContextManager[App]:
        return self._context.host.launcher.adopt(self._recorded, self._context.stop_now)

    def _make_generation(self, app: App) -> Generation:
        """Return the generation for the roster; one that was live starts as a candidate while it is checked."""
        recorded, known = self._recorded, self._roster.generations.get(self.id)
        self._is_taken_back = known is not None  # from a new agent that failed: for everybody else nothing changed
        return known or Generation(
            self.id,
            self.plan.release,
            app.address,
            started_at=recorded.started_at,
            pid=app.pid,
            live_at=recorded.live_at,
            state=State.STARTING if recorded.state is State.LIVE else recorded.state,
        )

    async def _run_phases(self, app: App, generation: Generation) -> None:
        if self._recorded.state is State.LIVE:
            await super()._run_phases(app, generation)
        elif self._recorded.state is State.STANDBY and await app.is_alive():
            self._record_adoption(generation)
            await self._continue_standby(app, generation)
        elif self._recorded.state is State.DRAINING and await app.is_alive():
            self._record_adoption(generation)
            await self._continue_draining(app)
        await self._context.ownership.until_complete()

    async def _check_readiness(self, app: App) -> DeployFailed | None:
        if self._recorded.is_handed_over and await app.is_alive():
            return None
        failure = await until_ready(app, self._candidacy, is_adopted=True)
        if failure is not None:
            self._events.crashed(failure.reason, failure.output)
        return failure

    async def _continue_standby(self, app: App, generation: Generation) -> None:
        self._warm_since = trio.current_time() - self._recorded.for_seconds
        self._warm_until = self._warm_since + self._recorded.warm_seconds
        self._set_ready(None)
        await self._serve(app, generation)
        await self._drain(generation)

    async def _continue_draining(self, app: App) -> None:
        """Wait for the rest of the drain timeout; after a kill, nobody knows which requests the app still serves."""
        since, settings = trio.current_time() - self._recorded.for_seconds, self._owner.drain
        if not self._recorded.is_handed_over:
            with trio.move_on_at(since + settings.timeout):
                await app.ended()
                return
        await self._drainer.run(settings, since)

    def _record_adoption(self, generation: Generation) -> None:
        recorded = self._recorded
        self._events.adopted(generation, recorded.state, recorded.for_seconds, is_news=not self._is_taken_back)
