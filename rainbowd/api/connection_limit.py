"""The limit of the API's connections, and which connection is closed for a new one.

Anyone on the machine can connect.  So a connection is sure to stay only while a request with the token is served on it.
The others are closed for new ones, the longest without such a request first: idle ones, those with half a request, and
those that wait for the answer that their token is wrong.
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


class Place:
    """The place of one connection among those that the limit allows.

    Attributes:
        scope: of everything that is done for the connection; cancelled when it is evicted.
        since: when the place was taken, or when the last request with the token ended, in trio's time.
        calls: how many requests with the token are served on it now.
        is_over: whether its connection is closed; the place stays taken for a while to slow down new connections.
    """

    def __init__(self, places: Places) -> None:
        self.scope = trio.CancelScope()
        self.since = trio.current_time()
        self.calls = 0
        self.is_over = False
        self._places = places

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the place while a request with the token is served."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.since = trio.current_time()
            self._places.changed()

    def leave(self) -> None:
        """Release the place, if the connection was not evicted before."""
        self._places.remove(self)


class Places:
    """The places of all connections, at most ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[Place, None] = {}
        self._waiting = trio.lowlevel.ParkingLot()
        self._next_eviction = -math.inf

    async def take(self) -> Place:
        """Return a place for a new connection, as soon as one is free or another connection can be evicted."""
        while len(self._taken) >= self._limit:
            victims = [place for place in self._taken if not place.calls]
            if not victims:
                await self._waiting.park()
            elif trio.current_time() < self._next_eviction:
                await trio.sleep_until(self._next_eviction)
            else:
                self._next_eviction = trio.current_time() + EVICTION_SECONDS
                self._evict(min(victims, key=lambda place: (not place.is_over, place.since)))
        place = Place(self)
        self._taken[place] = None
        return place

    def _evict(self, place: Place) -> None:
        self.remove(place)
        place.scope.cancel()

    def remove(self, place: Place) -> None:
        """Free a place, if it is still taken."""
        if self._taken.pop(place, self) is None:
            self.changed()

    def changed(self) -> None:
        """Wake the new connections that wait for a place."""
        self._waiting.unpark_all()
