"""The bake: the watch over a release after it went live, with the previous generation kept warm to go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.failures import RolledBack
from rainbowd.deploy.generations.error_watch import ErrorWatch
from rainbowd.deploy.records import BakeRecord
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.generations.error_rate import Counts
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle

_CHECK_SECONDS = 1.0
"""How often it is checked that the previous generation is still there, and that the companion processes stay."""
_BOTH_ENDED = "; the previous generation has ended, too, and its release is launched again"
PROCESS_EXITS = 3
"""How many exits of one companion process fail the bake."""

log = get_logger()


class Bake:
    """The bake of one deploy, which is live.

    Args:
        new, previous: the lifecycles of the live generation, and of the one to go back to.
        context: see ``DeployContext``.
        generations: goes back.
        before: the requests and errors of the previous generation in its last seconds of being live.
        past_seconds: how long an earlier agent has watched already.

    Attributes:
        watch: counts the requests and errors since the switch.
        until_seconds: the end of the bake, in seconds since the epoch.
        seconds: how long the release was watched, once ``run`` has returned.
    """

    def __init__(
        self,
        new: Lifecycle,
        previous: Lifecycle,
        context: DeployContext,
        generations: Generations,
        before: Counts,
        *,
        past_seconds: float = 0.0,
    ) -> None:
        rules = new.plan.config.bake
        self._generation = context.roster.generations[new.id]
        self.watch = ErrorWatch(
            self._generation, rules, lambda: before, self._fail_by_errors, where="before the switch"
        )
        self.seconds = past_seconds
        self._left_seconds = max(0.0, rules.seconds - past_seconds)
        self.until_seconds = context.host.now() + self._left_seconds
        self._new = new
        self._previous = previous
        self._generations = generations
        self._begun_at = trio.current_time() - past_seconds
        self._failure: RolledBack | None = None
        self._is_over = trio.Event()

    @property
    def previous_release(self) -> Path:
        """The release to go back to."""
        return self._previous.plan.release

    def release_previous(self, seconds: float) -> None:
        """Keep the previous generation warm for ``seconds`` from now on, as it is no longer needed for the bake."""
        self._generations.keep_standby(self._previous, seconds)

    def end(self) -> None:
        """End the bake now, as a success if it has not failed."""
        self._is_over.set()

    def fail(self, reason: str, output: list[str] | None = None) -> None:
        """End the bake as a failure; only the first end counts.

        Args:
            reason: what the release did wrong, in words.
            output: the app's last lines.
        """
        if not self._is_over.is_set():
            seconds = trio.current_time() - self._begun_at
            self._failure = RolledBack(
                f"rolled back after {seconds:.1f} s: {reason}",
                self._previous.id,
                output,
                bake_seconds=round(seconds, 3),
            )
            self._is_over.set()

    async def run(self) -> None:
        """Watch the release until the end of the bake; if it fails, the previous generation is live again.

        Raises:
            RolledBack: it has failed.
            DeployFailed: it has failed, and the previous generation has ended, too.
        """
        self._generations.on_crash_of[self._new.id] = self._fail_by_crash
        try:
            await self._watch()
        finally:
            del self._generations.on_crash_of[self._new.id]
            self.watch.close()
            self.seconds = round(trio.current_time() - self._begun_at, 3)
        failure = self._failure
        if failure is not None and not self._generations.go_back(self._new, self._previous):
            raise DeployFailed(failure.reason + _BOTH_ENDED, failure.output)
        if failure is not None:
            raise failure

    async def _watch(self) -> None:
        deadline = trio.current_time() + self._left_seconds
        while trio.current_time() < deadline and not self._is_over.is_set():
            with trio.move_on_at(min(deadline, trio.current_time() + _CHECK_SECONDS)):
                await self._is_over.wait()
            self._check_processes()
            if self._generations.standby is not self._previous and not self._is_over.is_set():
                log.warning("the previous generation has ended, so there is nothing to go back to: the bake ends")
                return

    def _check_processes(self) -> None:
        for process in self._generation.processes:
            if process.exits >= PROCESS_EXITS:
                reason = f"its process {process.name}.{process.instance} exited {process.exits} times"
                self.fail(reason, process.last_output)

    def _fail_by_errors(self) -> None:
        self.fail(self.watch.describe())

    def _fail_by_crash(self) -> Lifecycle:
        """Return the generation to go back to, which is launched again if it has ended, too."""
        self.fail(f"the app {self._new.crash}", self._new.last_lines())
        return self._previous


def remember_bake(memory: MemoryFile, deploy: Deploy, new: int, previous: int, before: Counts) -> None:
    """Store the bake of ``deploy``, so that the next agent can continue it.

    Args:
        memory: stores it.
        deploy: has no outcome yet.
        new: the id of the live generation.
        previous: the id of the one to go back to.
        before: the counts of the previous generation.
    """
    record = BakeRecord(
        deploy=deploy.id,
        generation=new,
        previous=previous,
        requests=before.requests,
        errors=before.errors,
        trigger=deploy.trigger,
        note=deploy.note,
        requested_at_seconds=deploy.requested_at_seconds or 0.0,
        past_release=None if memory.content.previous_release is None else str(memory.content.previous_release),
        link_change=deploy.link_change,
        sight_before=memory.content.sight,
    )
    deploy.file_state_before = memory.content.sight
    # An agent that continues must not take the link and the trigger of this deploy for another request.
    sight = {} if deploy.file_state is None else {"sight": deploy.file_state}
    memory.change(bake=record, **sight)
