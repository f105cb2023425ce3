"""The rest of a lifecycle that an earlier agent began.

It continues in the state that was recorded. A live generation is checked again before it gets requests, a standby stays
the standby, a draining one has the rest of its timeout, and any other is stopped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.lifecycle import Lifecycle, LifecycleContext
from rainbowd.deploy.generations.readiness import until_ready
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from rainbowd.deploy.interfaces import App, LeftGeneration
    from rainbowd.errors import DeployFailed


class AdoptedLifecycle(Lifecycle):
    """A lifecycle that continues under another agent.

    Args:
        left: the record of the generation.
        context: what it shares with the others.
        on_crash: see ``Lifecycle``.
    """

    is_adopted = True

    def __init__(
        self, left: LeftGeneration, context: LifecycleContext, *, on_crash: Callable[[Lifecycle], None]
    ) -> None:
        super().__init__(left.plan, left.number, context, on_crash=on_crash)
        self._left = left
        self._is_taken_back = False

    def switched(self) -> None:
        """Record that the generation is live: again, or for the first time after it was the standby."""
        was_warm, self._warm_until = self._warm_until < math.inf, math.inf
        if was_warm:
            self._events.live()
        else:
            self._record_adoption()

    def _open(self) -> AbstractAsyncContextManager[App]:
        return self._context.host.adopt(self._left, self._context.stop_now)

    def _make_generation(self, app: App) -> Generation:
        """Return the generation for the roster; one that was live starts as a candidate while it is checked."""
        left, known = self._left, self._roster.generations.get(self.id)
        self._is_taken_back = known is not None  # from a new agent that failed: for everybody else nothing changed
        return known or Generation(
            self.id,
            self.plan.release,
            app.address,
            started_at=left.started_at,
            pid=app.pid,
            live_at=left.live_at,
            state=State.STARTING if left.state is State.LIVE else left.state,
        )

    async def _run_phases(self, app: App) -> None:
        if self._left.state is State.LIVE:
            await super()._run_phases(app)
        elif self._left.state is State.STANDBY and await app.is_alive():
            self._record_adoption()
            await self._continue_standby(app)
        elif self._left.state is State.DRAINING and await app.is_alive():
            self._record_adoption()
            await self._continue_draining(app)
        await self._context.ownership.until_complete()

    async def _check_readiness(self, app: App) -> DeployFailed | None:
        if self._left.is_handed_over and await app.is_alive():
            return None
        failure = await until_ready(app, self._candidacy, is_adopted=True)
        if failure is not None:
            self._events.crashed(failure.reason, failure.output)
        return failure

    async def _continue_standby(self, app: App) -> None:
        self._warm_until = trio.current_time() + self._left.warm_seconds - self._left.for_seconds
        self._set_ready(None)
        await self._serve(app)
        await self._drain()

    async def _continue_draining(self, app: App) -> None:
        """Wait for the rest of the drain timeout; after a kill, nobody knows which requests the app still serves."""
        since, settings = trio.current_time() - self._left.for_seconds, self._context.drain()
        if not self._left.is_handed_over:
            with trio.move_on_at(since + settings.timeout):
                await app.ended()
                return
        await self._drainer.run(settings, since)

    def _record_adoption(self) -> None:
        assert self.generation is not None
        left = self._left
        self._events.adopted(self.generation, left.state, left.for_seconds, is_news=not self._is_taken_back)
