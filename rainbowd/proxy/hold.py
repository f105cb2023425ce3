"""Requests that are held while no generation is live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.broadcast import Broadcast
from rainbowd.http1 import Refusal
from rainbowd.proxy.tally import Tally

if TYPE_CHECKING:
    from rainbowd.config import Hold
    from rainbowd.proxy.admission import Admission
    from rainbowd.roster import Generation, LeaseHolder, Roster

RETRY_AFTER_SECONDS = 5
_RECONNECT_SECONDS = 0.05
"""The delay between a refused connect and the next one."""


class Interruptible(Protocol):
    """An object that an exchange waits on, and can be interrupted at."""

    def interrupt(self, exception: BaseException) -> bool:
        """Raise ``exception`` in the current or next wait; return whether there is a current one."""


class HeldRequest:
    """The wait of one request, which can consist of several parts.

    Args:
        timeout_seconds: the limit for all parts together.

    Attributes:
        was_refused: whether the live generation refused the connection.
    """

    __slots__ = ("_exception", "_scope", "was_refused")

    def __init__(self, timeout_seconds: float = math.inf) -> None:
        self.was_refused = False
        self._exception: BaseException | None = None
        self._scope = trio.CancelScope(deadline=trio.current_time() + timeout_seconds)

    def interrupt(self, exception: BaseException) -> bool:
        """End the wait, and raise ``exception`` in it."""
        self._exception = exception
        self._scope.cancel()
        return True

    async def wait(self, changed: Broadcast, seconds: float = math.inf) -> None:
        """Wait until ``changed`` is notified, for at most ``seconds``.

        Raises:
            Refusal: the time limit for all parts has passed.
        """
        scope = self._scope
        with scope, trio.move_on_after(seconds):
            await changed.wait()
        if self._exception is not None:  # even if the change came at the same moment
            raise self._exception
        if scope.cancelled_caught:
            raise unavailable("Nothing answered in time.")
        self._scope = trio.CancelScope(deadline=scope.deadline)


class HeldRequests:
    """All requests that are held.

    Args:
        roster: gives the leases.
        admission: may refuse requests, or make them wait although a generation is live.

    Attributes:
        held: the number of requests that were held so far.
        tally: the number of requests that are held, with those of the other processes that serve together.
        is_stopping: whether requests are refused instead of held.
    """

    def __init__(self, roster: Roster, admission: Admission) -> None:
        self._roster = roster
        self._admission = admission
        self._changed = Broadcast()
        self._waiting: set[HeldRequest] = set()
        self.held = 0
        self.tally = Tally()
        self.is_stopping = False
        roster.observe_serving(self.wake)

    def __len__(self) -> int:
        return len(self._waiting)

    def stop(self) -> None:
        """Refuse all held requests, and those that would be held."""
        self.is_stopping = True
        self.wake()

    def wake(self) -> None:
        """Make all held requests check again, after a change."""
        self._changed.notify()

    async def lease(self, holder: LeaseHolder, waiting: HeldRequest, limit: Hold) -> Generation:
        """Wait until a generation is live, and return it with a lease for ``holder``.

        Args:
            holder: gets the lease.
            waiting: the wait of this request.
            limit: how many requests may be held.

        Raises:
            Refusal: no generation is live in time, the site is in maintenance, or too many requests are held already.
        """
        self._admission.check(holder)
        if self.tally.total(len(self._waiting)) >= limit.limit:
            raise unavailable("Too many requests are waiting for the app.")
        self._waiting.add(waiting)
        self.tally.set(len(self._waiting))
        self.held += 1
        try:
            while True:
                if waiting.was_refused:
                    await waiting.wait(self._changed, _RECONNECT_SECONDS)
                    waiting.was_refused = False
                if self.is_stopping:
                    raise unavailable("The server is stopping.")
                generation = self._roster.lease(holder)
                if generation is not None:
                    return generation
                self._admission.check(holder)
                if self._admission.pause_seconds is None and not self._roster.is_launch_due:
                    raise unavailable("The app is not running.")
                await waiting.wait(self._changed)
        finally:
            self._waiting.discard(waiting)
            self.tally.set(len(self._waiting))


def unavailable(text: str) -> Refusal:
    """Return the 503 with ``text`` for a request that cannot be served now, and may be sent again later."""
    return Refusal(503, text, retry_after_seconds=RETRY_AFTER_SECONDS)
