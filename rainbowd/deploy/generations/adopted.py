"""The rest of a life that an earlier agent began.

It comes in where it was: to be live again it is checked again, a standby goes on being one, a draining one has the rest
of its time, and all others are at their end.
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
    """A life that goes on.

    Args:
        left: what is on record of it.
        on_death: see ``Lifecycle``.
    """

    is_left = True

    def __init__(
        self, left: LeftGeneration, surroundings: LifecycleContext, *, on_death: Callable[[Lifecycle], None]
    ) -> None:
        super().__init__(left.plan, left.number, surroundings, on_death=on_death)
        self._left = left
        self._is_taken_back = False

    def switched(self) -> None:
        """It is live now: again, or because it was a standby until now."""
        was_warm, self._warm_until = self._warm_until < math.inf, math.inf
        if was_warm:
            self._chronicle.live()
        else:
            self._tell()

    def _open(self) -> AbstractAsyncContextManager[App]:
        return self._around.world.adopt(self._left, self._around.hurry)

    def _make(self, app: App) -> Generation:
        """What is to be live again is on record as live while it is checked."""
        left, known = self._left, self._roster.generations.get(self.number)
        self._is_taken_back = known is not None  # from an agent that failed: nothing has changed for anybody
        return known or Generation(
            self.number,
            self.plan.release,
            app.address,
            started_at=left.started_at,
            pid=app.pid,
            live_at=left.live_at,
            state=State.STARTING if left.state is State.LIVE else left.state,
        )

    async def _go_through(self, app: App) -> None:
        if self._left.state is State.LIVE:
            await super()._go_through(app)
        elif self._left.state is State.STANDBY and await app.is_alive():
            self._tell()
            await self._stay_warm_on(app)
        elif self._left.state is State.DRAINING and await app.is_alive():
            self._tell()
            await self._drain_on(app)
        await self._around.ownership.until_complete()

    async def _prove(self, app: App) -> DeployFailed | None:
        if self._left.is_handed_over and await app.is_alive():
            return None
        failure = await until_ready(app, self._candidacy, is_left=True)
        if failure is not None:
            self._chronicle.crashed(failure.reason, failure.output)
        return failure

    async def _stay_warm_on(self, app: App) -> None:
        self._warm_until = trio.current_time() + self._left.warm_seconds - self._left.for_seconds
        self._decide(None)
        await self._serve(app)
        await self._drain()

    async def _drain_on(self, app: App) -> None:
        """Whoever had requests on it may be gone, or have handed them over."""
        since, rules = trio.current_time() - self._left.for_seconds, self._around.drain()
        if not self._left.is_handed_over:
            with trio.move_on_at(since + rules.timeout):
                await app.ended()
                return
        await self._draining.run(rules, since)

    def _tell(self) -> None:
        assert self.generation is not None
        left = self._left
        self._chronicle.adopted(self.generation, left.state, left.for_seconds, is_news=not self._is_taken_back)
