"""Launches that nobody asked for, one behind the other, because nothing that should be live is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.backoff import BackOff
from rainbowd.deploy.life import End
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rainbowd.deploy.life import Life
    from rainbowd.deploy.seam import Plan

log = get_logger()


class Recovery:
    """At most one is under way; whatever becomes live ends it.

    Args:
        launch: launches a plan as a task of a nursery, and returns the life that is healthy.
        switch: makes such a life live.
        on_change: called when ``is_due`` changes.

    Attributes:
        is_due: a launch is under way or about to be, so that requests may be held for it.
        back_off: before each launch.
    """

    def __init__(
        self,
        launch: Callable[[Plan, trio.Nursery], Awaitable[Life]],
        switch: Callable[[Life], None],
        on_change: Callable[[], None],
    ) -> None:
        self.is_due = False
        self.back_off = BackOff()
        self._launch = launch
        self._switch = switch
        self._on_change = on_change
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

    async def of_dead(self, dead: Life, lives: trio.Nursery) -> None:
        """Launch what ``dead`` was launched from until that is live."""
        lived_seconds = dead.live_for_seconds
        while True:
            await trio.sleep(self.back_off.after(lived_seconds))
            lived_seconds = 0.0
            if await self.relaunch(dead.plan, lives):
                return

    async def relaunch(self, plan: Plan, lives: trio.Nursery) -> bool:
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
            life.end(End.DROPPED)
        return True
