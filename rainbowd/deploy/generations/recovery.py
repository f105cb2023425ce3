"""Launches that nobody asked for, one behind the other, because nothing that should be live is."""

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

    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import Host, LaunchPlan

_MISSING_SECONDS = 0.5
TRIGGER_SECONDS = 2.0
"""In which a trigger is seen, with the turn of the link that its note names."""

log = get_logger()


class Recovery:
    """At most one is under way; whatever becomes live ends it.

    Args:
        world: reads the files.
        launch: launches a plan as a task of a nursery, and returns the life that is healthy.
        switch: makes such a life live.
        on_change: called when ``is_due`` changes.
        last_good: returns the release that was live last and is still there; None if there is none.

    Attributes:
        is_due: a launch is under way or about to be, so that requests may be held for it.
        back_off: before each launch.
    """

    def __init__(
        self,
        world: Host,
        launch: Callable[[LaunchPlan, trio.Nursery], Awaitable[Lifecycle]],
        switch: Callable[[Lifecycle], None],
        on_change: Callable[[], None],
        last_good: Callable[[], Path | None],
    ) -> None:
        self.is_due = False
        self.back_off = Backoff()
        self._world = world
        self._launch = launch
        self._switch = switch
        self._on_change = on_change
        self._last_good = last_good
        self._scope: trio.CancelScope | None = None

    @property
    def is_under_way(self) -> bool:
        """Something is being launched, or will be."""
        return self._scope is not None

    def begin(self, recover: Callable[[], Awaitable[None]], lives: trio.Nursery) -> None:
        """Run ``recover`` as a task of ``lives`` until something is live."""
        scope = self._scope = trio.CancelScope()
        self.set_due(due=True)

        async def run() -> None:
            with scope:
                await recover()

        lives.start_soon(run)

    def end(self) -> None:
        """What is to be live is, or nothing is to be any more."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
        self.set_due(due=False)

    def set_due(self, *, due: bool) -> None:
        """Say whether requests may be held."""
        self.is_due = due
        self._on_change()

    async def of_dead(self, dead: Lifecycle, lives: trio.Nursery) -> None:
        """Launch what ``dead`` was launched from until that is live; if its directory is gone, what was live before."""
        lived_seconds, plan = dead.live_for_seconds, dead.plan
        while True:
            await trio.sleep(self.back_off.after(lived_seconds))
            lived_seconds = 0.0
            if not self._world.is_there(plan.release):
                plan = self._instead_of(plan)
            if await self.relaunch(plan, lives):
                return

    def _instead_of(self, gone: LaunchPlan) -> LaunchPlan:
        """What to launch as the release of ``gone`` is not there any more; ``gone`` itself if there is nothing else."""
        last = self._last_good()
        if last is None:
            return gone
        try:
            plan = self._world.plan(last)
        except DeployFailed as failure:
            log.warning("the release that was live before cannot be launched", reason=failure.reason)
            return gone
        log.warning("the live release's directory is gone", release=gone.release, launching=last)
        return plan

    async def of_failed(self, last: Path | None, lives: trio.Nursery) -> bool:
        """Launch what was live last; whether that went well. If not, it is time to try again what failed.

        Args:
            last: that release; None where there is none but what failed.
            lives: the nursery for its life.
        """
        if last is not None:
            try:
                if await self.relaunch(self._world.plan(last), lives):
                    return True
            except DeployFailed as failure:  # it does not exist any more
                log.warning("what was live last cannot be launched", reason=failure.reason)
        self.set_due(due=False)
        await trio.sleep(self.back_off.after(0.0))
        await self._until_named()
        return False

    async def _until_named(self) -> None:
        """Wait for a missing release; its coming is also a trigger, which goes first, and need not be guessed then."""
        while self._world.named() is None:
            while self._world.named() is None:  # noqa: ASYNC110 - no event says that it has come
                await trio.sleep(_MISSING_SECONDS)
            await trio.sleep(TRIGGER_SECONDS)

    async def relaunch(self, plan: LaunchPlan, lives: trio.Nursery) -> bool:
        """Launch ``plan`` without a deploy, and switch to it; whether that went well."""
        self.set_due(due=True)
        scope = self._scope
        try:
            life = await self._launch(plan, lives)
        except DeployFailed as failure:
            log.error("a relaunch failed", release=plan.release, reason=failure.reason, output=failure.output)
            self.set_due(due=False)
            return False
        if self._scope is scope:
            self._switch(life)
        else:  # something else went live in the same instant
            life.end(EndReason.DROPPED)
        return True
