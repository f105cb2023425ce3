"""The canary: a candidate that gets a share of the clients, step by step, before it goes live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.progress import Step
from rainbowd.deploy.failures import CanaryFailed
from rainbowd.deploy.generations.error_watch import ErrorWatch, counts_of

if TYPE_CHECKING:
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.progress import Progress
    from rainbowd.deploy.generations.error_rate import Counts
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.roster import Generation


_CHECK_SECONDS = 1.0
"""How often the canary is compared again: the live generation's rate falls without an error of the canary."""


class Canary:
    """The canary of one deploy.

    Args:
        candidate: has passed its health check.
        context: see ``DeployContext``.
        generations: gives it a share, or drops it.
        progress: shows the steps.

    Attributes:
        watch: counts its requests and errors.
        until_seconds: the end of the current step, in seconds since the epoch.
    """

    def __init__(
        self, candidate: Lifecycle, context: DeployContext, generations: Generations, progress: Progress
    ) -> None:
        config = candidate.plan.config
        generation = context.roster.generations[candidate.id]
        self.until_seconds = 0.0
        self._share_percent = 0.0
        self._candidate = candidate
        self._rules = config.canary
        self._context = context
        self._generations = generations
        self._progress = progress
        self._live: Generation | None = context.roster.live
        self._live_begin = counts_of(self._live)
        self._failure: CanaryFailed | None = None
        self._has_failed = trio.Event()
        self._begun_at = trio.current_time()
        self.watch = ErrorWatch(generation, config.bake, self._counts_of_live, self._fail_by_errors, where="without it")

    async def run(self) -> None:
        """Give the candidate its shares; if it fails or this is cancelled, it gets no further request.

        Raises:
            CanaryFailed: it has failed.
        """
        self._generations.on_crash_of[self._candidate.id] = self._fail_by_crash
        try:
            for share_percent in self._rules.steps:
                await self._take_step(share_percent)
        except BaseException:
            self._generations.drop(self._candidate)
            raise
        finally:
            del self._generations.on_crash_of[self._candidate.id]
            self.watch.close()

    async def _take_step(self, share_percent: float) -> None:
        self.until_seconds = self._context.host.now() + self._rules.seconds
        self._share_percent = share_percent
        self._generations.give_share(self._candidate, share_percent, self._rules.by)
        self._progress.begin(Step.CANARY)
        deadline = trio.current_time() + self._rules.seconds
        while trio.current_time() < deadline and not self._has_failed.is_set():
            with trio.move_on_at(min(deadline, trio.current_time() + _CHECK_SECONDS)):
                await self._has_failed.wait()
            self.watch.check()
        if self._failure is not None:
            raise self._failure

    def _counts_of_live(self) -> Counts:
        """Return what the live generation has served meanwhile; one that was launched since began at zero."""
        live = self._context.roster.live
        if live is not self._live:
            return counts_of(live)
        return counts_of(live).since(self._live_begin)

    def fail(self, reason: str, output: list[str] | None = None) -> None:
        """End the canary as a failure; only the first end counts.

        Args:
            reason: what the release did wrong, in words.
            output: the app's last lines.
        """
        if not self._has_failed.is_set():
            seconds = trio.current_time() - self._begun_at
            self._failure = CanaryFailed(
                f"the canary failed after {seconds:.1f} s: {reason}", self._share_percent, output
            )
            self._has_failed.set()

    def _fail_by_errors(self) -> None:
        self.fail(self.watch.describe())

    def _fail_by_crash(self) -> Lifecycle | None:
        self.fail(f"the app {self._candidate.crash}", self._candidate.last_lines())
        return None
