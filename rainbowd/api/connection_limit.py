"""The connections that the API has at most, and which of them makes way for a new one.

Anyone on the machine can connect.  So a connection has a sure place only while a call with the token is served on it.
All others make way for a newcomer, the longest without such a call first: silent ones, those with half a request, and
those that wait to hear that their token is wrong.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

EVICTION_SECONDS = 0.005
"""From one eviction to the next: newcomers cost no more than two hundred connections a second."""


class Place:
    """One connection's place.

    Attributes:
        scope: of all that is done for the connection; cancelled when it has to make way.
        since: when it was taken, or when the last call with the token was over, in trio's time.
        calls: how many calls with the token are served on it now.
        is_over: its connection is closed; the place stays taken for a while, which limits the pace of newcomers.
    """

    def __init__(self, places: Places) -> None:
        self.scope = trio.CancelScope()
        self.since = trio.current_time()
        self.calls = 0
        self.is_over = False
        self._places = places

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the place while a call with the token is served."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.since = trio.current_time()
            self._places.changed()

    def leave(self) -> None:
        """Give the place back; nothing happens if another connection has it already."""
        self._places.remove(self)


class Places:
    """All places; ``limit`` of them at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[Place, None] = {}
        self._waiting = trio.lowlevel.ParkingLot()
        self._next_eviction = -math.inf

    async def take(self) -> Place:
        """Return a place for a new connection, as soon as there is one or another connection made way."""
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
        """Look again whether a newcomer can have a place."""
        self._waiting.unpark_all()
