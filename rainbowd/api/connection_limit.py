"""The limit of the API's connections, and the choice of the connection that is closed for a new one.

Anyone on the machine can connect.  So a connection is certain to stay only while a request with the token is served on
it.  The others are closed for new ones, the longest without such a request first: idle connections, those with half a
request, and those that wait for the response that their token is wrong.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

EVICTION_SECONDS = 0.005
"""Between two evictions: new connections close at most two hundred others a second."""


class Admission:
    """One of the connections that the limit admits.

    Attributes:
        scope: the cancel scope of all tasks for the connection; cancelled when the connection is evicted.
        since: when the connection was admitted, or when its last request with the token ended, in trio's time.
        calls: the number of requests with the token that are served on it now.
        is_over: whether the connection is closed; it counts for a while longer, to slow down new connections.
    """

    def __init__(self, limit: ConnectionLimit) -> None:
        self.scope = trio.CancelScope()
        self.since = trio.current_time()
        self.calls = 0
        self.is_over = False
        self._limit = limit

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the connection from being evicted while a request with the token is served."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.since = trio.current_time()
            self._limit.notify()

    def end(self) -> None:
        """Count the connection no longer, unless it was evicted before."""
        self._limit.remove(self)


class ConnectionLimit:
    """The connections that are admitted, at most ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: dict[Admission, None] = {}
        self._waiting = trio.lowlevel.ParkingLot()
        self._next_eviction = -math.inf

    async def admit(self) -> Admission:
        """Admit a new connection as soon as there is room, or another connection can be evicted."""
        while len(self._admitted) >= self._limit:
            victims = [admission for admission in self._admitted if not admission.calls]
            if not victims:
                await self._waiting.park()
            elif trio.current_time() < self._next_eviction:
                await trio.sleep_until(self._next_eviction)
            else:
                self._next_eviction = trio.current_time() + EVICTION_SECONDS
                self._evict(min(victims, key=lambda victim: (not victim.is_over, victim.since)))
        admission = Admission(self)
        self._admitted[admission] = None
        return admission

    def _evict(self, admission: Admission) -> None:
        self.remove(admission)
        admission.scope.cancel()

    def remove(self, admission: Admission) -> None:
        """Count a connection no longer, if it still counts."""
        if self._admitted.pop(admission, self) is None:
            self.notify()

    def notify(self) -> None:
        """Wake the new connections that wait to be admitted."""
        self._waiting.unpark_all()
