"""Requests that wait while nothing is live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.http1 import Refusal

if TYPE_CHECKING:
    from rainbowd.config import Hold
    from rainbowd.roster import Generation, LeaseHolder, Roster

RETRY_AFTER_SECONDS = 5
_RECONNECT_SECONDS = 0.05
"""After a refused connect, how long until the next."""


class Interruptible(Protocol):
    """What a task waits on, and can be interrupted at."""

    def interrupt(self, exception: BaseException) -> bool:
        """Raise ``exception`` in the task that waits, or in the next; whether one waited."""


class HeldRequest:
    """One request's wait, in as many parts as it takes.

    Args:
        timeout_seconds: how long it may take in all.

    Attributes:
        was_refused: what is live refused the connection.
    """

    __slots__ = ("_exception", "_scope", "was_refused")

    def __init__(self, timeout_seconds: float = math.inf) -> None:
        self.was_refused = False
        self._exception: BaseException | None = None
        self._scope = trio.CancelScope(deadline=trio.current_time() + timeout_seconds)

    def interrupt(self, exception: BaseException) -> bool:
        """Raise ``exception`` instead of waiting on."""
        self._exception = exception
        self._scope.cancel()
        return True

    async def wait(self, changed: trio.Event, seconds: float = math.inf) -> None:
        """Wait for ``changed``, for ``seconds`` at the most.

        Raises:
            Refusal: the time is over in which all of the wait has to end.
        """
        scope = self._scope
        with scope, trio.move_on_after(seconds):
            await changed.wait()
        if self._exception is not None:  # also where the change came in the same moment
            raise self._exception
        if scope.cancelled_caught:
            raise nothing_live("Nothing answered in time.")
        self._scope = trio.CancelScope(deadline=scope.deadline)


class HeldRequests:
    """All requests that wait.

    Attributes:
        held: how many ever had to.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._changed = trio.Event()
        self._waiting: set[HeldRequest] = set()
        self.held = 0
        self.is_stopping = False
        roster.observe(self.wake)

    def __len__(self) -> int:
        return len(self._waiting)

    def wake(self) -> None:
        """Look again: something changed."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def lease(self, holder: LeaseHolder, waiting: HeldRequest, limit: Hold) -> Generation:
        """A lease for ``holder``, as soon as something is live.

        Raises:
            Refusal: nothing will be live in time, or too many wait already.
        """
        if len(self._waiting) >= limit.limit:
            raise nothing_live("Too many requests wait for the app already.")
        self._waiting.add(waiting)
        self.held += 1
        try:
            while True:
                if waiting.was_refused:
                    await waiting.wait(self._changed, _RECONNECT_SECONDS)
                    waiting.was_refused = False
                if self.is_stopping:
                    raise nothing_live("The server is stopping.")
                generation = self._roster.lease(holder)
                if generation is not None:
                    return generation
                if not self._roster.is_launch_due:
                    raise nothing_live("The app is not running.")
                await waiting.wait(self._changed)
        finally:
            self._waiting.discard(waiting)


def nothing_live(text: str) -> Refusal:
    """The answer where there is no generation to ask."""
    return Refusal(503, text, retry_after_seconds=RETRY_AFTER_SECONDS)
