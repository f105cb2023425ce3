"""Time limits of connections, kept by looking now and then instead of by a timer each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rainbowd.proxy.connection import Connection

_TICK_SECONDS = 0.1
"""How late a limit may be noticed."""


class Deadlines:
    """Connections by the tick in which they are looked at next.

    A limit that is put off costs nothing: the connection stays where it is, and moves on when it is looked at.  Only
    one that comes earlier has it moved at once.
    """

    def __init__(self) -> None:
        self._by_tick: dict[int, set[Connection]] = {}

    def watch(self, connection: Connection) -> None:
        """Look at ``connection`` when its deadline, sooner than what it is watched until, is over."""
        self.unwatch(connection)
        connection.watched_until = connection.deadline
        self._by_tick.setdefault(_tick(connection.deadline), set()).add(connection)

    def unwatch(self, connection: Connection) -> None:
        """Look at it no more."""
        if connection.watched_until < math.inf:
            tick = _tick(connection.watched_until)
            connection.watched_until = math.inf
            watched = self._by_tick[tick]
            watched.discard(connection)
            if not watched:
                del self._by_tick[tick]

    async def run(self) -> None:
        """Expire what is over, until cancelled."""
        tick = _tick(time.monotonic())
        while True:
            await trio.sleep(_TICK_SECONDS)
            now_seconds = time.monotonic()
            while tick < _tick(now_seconds):
                self._check(tick, now_seconds)
                tick += 1

    def _check(self, tick: int, now_seconds: float) -> None:
        for connection in list(self._by_tick.get(tick, ())):
            self.unwatch(connection)
            if connection.deadline <= now_seconds:
                connection.expire()
            elif connection.deadline < math.inf:
                self.watch(connection)


def _tick(seconds: float) -> int:
    return int(seconds / _TICK_SECONDS)
