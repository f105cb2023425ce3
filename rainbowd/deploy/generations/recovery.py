"""Relaunches that no deploy has requested, one after another, while nothing is live that should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.backoff import Backoff
from rainbowd.deploy.generations.lifecycle import EndReason
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.launch_plan import LaunchPlan

_POLL_SECONDS = 0.5
TRIGGER_SECONDS = 2.0
"""How long a trigger may take to be seen, together with the link change that it belongs to."""

log = get_logger()


class Recovery:
    """The relaunching after a crash or a failed deploy; at most one runs, until a generation is live.

    Args:
        context: see ``DeployContext``.
        memory: knows the release that was live last.
        launch: launches a plan, and returns the lifecycle once it is healthy.
        switch: makes the generation of such a lifecycle live.

    Attributes:
        is_launch_expected: whether a launch is under way or about to begin, so that requests may be held for it.
        backoff: the delay before each launch.
    """

    def __init__(
        self,
        context: DeployContext,
        memory: MemoryFile,
        *,
        launch: Callable[[LaunchPlan], Awaitable[Lifecycle]],
        switch: Callable[[Lifecycle], object],
    ) -> None:
        self.is_launch_expected = False
        self.backoff = Backoff()
        self._desired_state = context.host.desired_state
        self._roster = context.roster
        self._nursery = context.nursery
        self._memory = memory
        self._launch = launch
        self._switch = switch
        self._scope: trio.CancelScope | None = None

    @property
    def is_running(self) -> bool:
        """Whether a relaunch is under way, or waits for its turn."""
        return self._scope is not None

    def start(self, recover: Callable[[], Awaitable[None]]) -> None:
        """Run ``recover`` as a task until ``stop`` is called."""
        scope = self._scope = trio.CancelScope()
        self.is_launch_expected = True

        async def run() -> None:
            with scope:
                await recover()

        self._nursery.start_soon(run)

    def stop(self) -> None:
        """Stop relaunching, because a generation is live or none should be."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
        self._expect_no_launch()

    async def relaunch_crashed(self, crashed: Lifecycle) -> None:
        """Launch the plan of ``crashed`` until it is live; if its release is gone, launch the one that was live before.

        Args:
            crashed: the lifecycle of the generation that crashed.
        """
        lived_seconds, plan = crashed.live_seconds, crashed.plan
        while True:
            await trio.sleep(self.backoff.next_delay_seconds(lived_seconds))
            lived_seconds = 0.0
            if not self._desired_state.release_exists(plan.release):
                plan = self._instead_of(plan)
            if await self.relaunch(plan):
                return

    def _instead_of(self, gone: LaunchPlan) -> LaunchPlan:
        """Return the plan to launch because the release of ``gone`` no longer exists; ``gone`` if there is no other."""
        last = self._memory.last_good_release()
        if last is None:
            return gone
        try:
            plan = self._desired_state.launch_plan(last)
        except DeployFailed as failure:
            log.warning("cannot launch the previous release", reason=failure.reason)
            return gone
        log.warning(
            "the live release no longer exists; launching the previous release", release=gone.release, launching=last
        )
        return plan

    async def relaunch_last_good(self, last: Path | None) -> bool:
        """Launch the release that was live last; if that fails, wait until what failed may be tried again.

        Args:
            last: that release; None if only the release that failed was ever live.

        Returns:
            Whether it is live.
        """
        if last is not None:
            try:
                if await self.relaunch(self._desired_state.launch_plan(last)):
                    return True
            except DeployFailed as failure:  # it no longer exists
                log.warning("cannot launch the release that was live last", reason=failure.reason)
        self._expect_no_launch()
        await trio.sleep(self.backoff.next_delay_seconds(0.0))
        await self._until_named()
        return False

    async def _until_named(self) -> None:
        """Wait until the files name a release that exists; if its trigger is seen first, that deploy ends the wait."""
        while self._desired_state.named_release() is None:
            while self._desired_state.named_release() is None:  # noqa: ASYNC110 - no event reports a new release
                await trio.sleep(_POLL_SECONDS)
            await trio.sleep(TRIGGER_SECONDS)

    async def relaunch(self, plan: LaunchPlan) -> bool:
        """Launch ``plan`` without a deploy, and switch to it.

        Args:
            plan: what to launch.

        Returns:
            Whether it was launched.
        """
        self.is_launch_expected = True
        scope = self._scope
        try:
            lifecycle = await self._launch(plan)
        except DeployFailed as failure:
            log.error("relaunch failed", release=plan.release, reason=failure.reason, output=failure.output)
            self._expect_no_launch()
            return False
        if self._scope is scope:
            self._switch(lifecycle)
        else:  # another generation became live in the same instant
            lifecycle.stop(EndReason.DROPPED)
        return True

    def _expect_no_launch(self) -> None:
        """Let held requests know that they wait in vain, if a launch was expected."""
        if self.is_launch_expected:
            self.is_launch_expected = False
            self._roster.notify_observers()
