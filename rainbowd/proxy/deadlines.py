"""Time limits of connections, checked once a tick instead of by a timer for each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rainbowd.proxy.connection import Connection

_TICK_SECONDS = 0.1
"""The interval of the checks, by which a limit can be late."""


class Deadlines:
    """The connections by the tick in which they are checked next.

    Moving a deadline to a later time costs nothing: the connection keeps its place and is moved when it is checked.
    Only an earlier deadline moves the connection at once.
    """

    def __init__(self) -> None:
        self._by_tick: dict[int, set[Connection]] = {}
        self._next_tick = _tick(time.monotonic())

    def watch(self, connection: Connection) -> None:
        """Check ``connection`` at its deadline, which is earlier than its next check so far."""
        self.unwatch(connection)
        connection.watched_until = connection.deadline
        self._by_tick.setdefault(_tick(connection.deadline), set()).add(connection)

    def unwatch(self, connection: Connection) -> None:
        """Stop checking the deadline of ``connection``; idempotent."""
        if connection.watched_until < math.inf:
            tick = _tick(connection.watched_until)
            connection.watched_until = math.inf
            watched = self._by_tick[tick]
            watched.discard(connection)
            if not watched:
                del self._by_tick[tick]

    async def run(self) -> None:
        """Call ``expire`` of each connection whose deadline has passed, until cancelled."""
        while True:
            await trio.sleep(_TICK_SECONDS)
            now_seconds = time.monotonic()
            while self._next_tick < _tick(now_seconds):
                self._check(self._next_tick, now_seconds)
                self._next_tick += 1

    def _check(self, tick: int, now_seconds: float) -> None:
        for connection in list(self._by_tick.get(tick, ())):
            self.unwatch(connection)
            if connection.deadline <= now_seconds:
                connection.expire()
            elif connection.deadline < math.inf:
                self.watch(connection)


def _tick(seconds: float) -> int:
    return int(seconds / _TICK_SECONDS)
